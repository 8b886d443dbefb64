"""The hint beside a settlement: where its aggregate, and a checkpoint of the state that it starts from, may be found.

The contract takes a text of at most 128 bytes with `attest` and `settleSigned` and puts it into the event, unread and
unsigned. It is the CID of the round's aggregate, or that CID, one space, and the CID of a checkpoint of the state
before the round. Neither is trusted: the header has the aggregate's hash and the state's root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HINT_BYTES: Final = 128
"""What the contracts take; `CidTooLong` beyond."""

_CID: Final = re.compile(r"[A-Za-z0-9]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Hint:
    """A hint taken apart; both parts are a stranger's words."""

    aggregate_cid: str
    checkpoint_cid: str | None = None

    @classmethod
    def parse(cls, text: str) -> Hint:
        """Take a hint apart; whatever does not look like two CIDs counts as the CID of an aggregate alone."""
        aggregate, _, checkpoint = text.partition(" ")
        if len(text) <= MAX_HINT_BYTES and _CID.fullmatch(aggregate) and _CID.fullmatch(checkpoint):
            return cls(aggregate, checkpoint)
        return cls(text)

    def __str__(self) -> str:
        """Return the text for the contract; a checkpoint that does not fit beside the aggregate is left out."""
        both = f"{self.aggregate_cid} {self.checkpoint_cid}"
        return both if self.checkpoint_cid and len(both) <= MAX_HINT_BYTES else self.aggregate_cid
