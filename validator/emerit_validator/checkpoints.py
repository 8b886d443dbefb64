"""A validator's part in checkpoints: publish the state when one is due, name it in the hint, let go of old ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from emerit.errors import EmeritError
from emerit.files import replace_file
from emerit.protocol.hints import Hint
from emerit.run.checkpoints import is_due, publish
from emerit.run.context import RunContext
from emerit.run.state import StateFollower

log = structlog.get_logger("emerit.validator")

KEPT: Final = 2
FILE: Final = "checkpoints.json"


@dataclass
class CheckpointKeeper:
    """Publishes the settled state after every C rounds and keeps the last two; what it keeps survives a restart.

    Checkpoints help newcomers and nobody is paid for one: what fails here is logged, and never fails a round.
    """

    context: RunContext
    folder: Path
    _kept: list[list[str]] = field(init=False)
    _published: tuple[int, bytes, str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Read which checkpoints are pinned: for each, its CID and those of its parts, the oldest first."""
        try:
            self._kept = [[str(cid) for cid in cids] for cids in json.loads((self.folder / FILE).read_bytes())]
        except (FileNotFoundError, ValueError, TypeError):
            self._kept = []  # at worst a few blobs stay pinned

    def tend(self, state: StateFollower) -> None:
        """Publish the state if it is one that is due, and unpin what is old; does nothing for one already published."""
        every = self.context.manifest.checkpoint.every_rounds
        if not is_due(state.settled, every) or self._has_published(state):
            return
        try:
            cids = publish(self.context.store, self.context.manifest.model, state.state, state.settled, state.root)
            self._published = state.settled, state.root, cids[0]
            log.info("checkpoint published", settled=state.settled, cid=cids[0])
            self._keep(cids)
        except EmeritError as error:
            log.warning("no checkpoint this time", settled=state.settled, **error.as_dict())

    def hint(self, aggregate_cid: str, state: StateFollower) -> str:
        """Return the hint for the settlement of a round that starts from this state."""
        cid = self._published[2] if self._published is not None and self._has_published(state) else None
        return str(Hint(aggregate_cid, cid))

    def _has_published(self, state: StateFollower) -> bool:
        """Whether the last one is of this state; its root alone comes again where an aggregate was taken back."""
        return self._published is not None and self._published[:2] == (state.settled, state.root)

    def _keep(self, cids: list[str]) -> None:
        """Note what was pinned before anything is unpinned, so that nothing is forgotten in a crash."""
        self._kept = [each for each in self._kept if each[0] != cids[0]] + [cids]
        self._save()
        while len(self._kept) > KEPT:
            still = {cid for each in self._kept[1:] for cid in each}
            for cid in self._kept[0]:
                if cid not in still:
                    self.context.store.unpin(cid)
            del self._kept[0]
            self._save()

    def _save(self) -> None:
        replace_file(self.folder / FILE, json.dumps(self._kept).encode())
