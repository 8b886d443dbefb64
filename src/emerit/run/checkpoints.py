"""Checkpoints on IPFS: published by validators, and where a newcomer looks for one that it can trust.

A validator in round r publishes the state that the round starts from, when r follows `every_rounds` settled rounds or a
multiple of them, and names its CID in the hint beside r's settlement. The hint is nobody's word: what it leads to is
used only if it is, byte by byte, the checkpoint of the state whose root was settled, so it need not be signed.

A checkpoint of more than 32 MiB lies in IPFS in parts of that size; its CID is then that of a list of theirs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from emerit.chain.records import SettledRound
from emerit.errors import EmeritError, RefusedError
from emerit.ipfs.client import BlobStore
from emerit.protocol.hints import Hint
from emerit.protocol.manifest import ModelSpec
from emerit.run.context import RunContext
from emerit.run.rollback import take_back_at
from emerit.training.checkpoint import checkpoint_bytes, checkpoint_size, read_checkpoint
from emerit.training.state import ModelState

log = structlog.get_logger("emerit.node")

PART_BYTES: Final = 32 << 20
# A node that was named a wrong or withheld checkpoint gives up after so many states, and so many CIDs for each.
MOST_STATES: Final = 4
MOST_CIDS: Final = 3
_LIST_HEAD: Final = "emerit-checkpoint-parts-1"
_LIST_LINE_BYTES: Final = 130
_LEAST_SECONDS: Final = 20.0
_SLOWEST_BYTES_A_SECOND: Final = 500_000


def is_due(settled: int, every_rounds: int) -> bool:
    """Return whether the state after so many settled rounds is one that is published."""
    return every_rounds > 0 and settled > 0 and settled % every_rounds == 0


def publish(store: BlobStore, spec: ModelSpec, state: ModelState, settled: int, root: bytes) -> list[str]:
    """Store and pin the checkpoint of a state; return its CID, then those of its parts if it has any.

    Raises:
        UnavailableError: the IPFS daemon did not answer.
    """
    data = checkpoint_bytes(spec, state, settled, root)
    parts = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
    cids = [store.add(part) for part in parts]
    if len(cids) == 1:
        return cids
    return [store.add("\n".join([_LIST_HEAD, *cids, ""]).encode("ascii")), *cids]


def newest(context: RunContext, chain: Sequence[SettledRound], have: int) -> tuple[int, ModelState] | None:
    """Return the newest checkpoint that can be had and verified: settled rounds and state; None without one.

    Looks only for one that is at least a checkpoint's distance ahead of `have` settled rounds: what is nearer is
    sooner replayed. The older ones follow when the newest is wrong, withheld, or too large. The state that the next
    settled round left by taking an aggregate back is passed over: from it nobody gets to the one before.

    Args:
        chain: the run's state chain, the first settlement of each round in order.
    """
    every, spec = context.manifest.checkpoint.every_rounds, context.manifest.model
    has_momentum = context.manifest.outer.has_momentum
    # What is known of the state after n settled rounds is in the header that settles the next one.
    tried = 0
    first = context.params.initial_state_root
    places = [
        place
        for place in range(len(chain) - 1, 0, -1)
        if is_due(place, every) and place - have >= every and take_back_at(chain, place, first) is None
    ]
    for place in places[:MOST_STATES]:
        root = chain[place - 1].header.body.state_root
        for cid in _named(context, chain[place]):
            tried += 1
            try:
                data = _fetch(context, cid, checkpoint_size(spec, has_momentum, place))
                return place, read_checkpoint(spec, has_momentum, data, place, root)
            except EmeritError as error:
                log.warning("a checkpoint cannot be used", settled=place, cid=cid, **error.as_dict())
    if tried:
        log.warning("no checkpoint can be used; replaying every round", tried=tried)
    return None


def _named(context: RunContext, item: SettledRound) -> Iterator[str]:
    """Yield the CIDs that a settlement and its signers name, those that most name first."""
    signers = [a for a in context.client.attestations(item.round) if a.header_hash == item.header_hash]
    hints = [Hint.parse(text).checkpoint_cid for text in [*(a.aggregate_cid for a in signers), item.aggregate_cid]]
    counted = Counter(cid for cid in hints if cid is not None)
    yield from (cid for cid, _ in counted.most_common(MOST_CIDS))


def _fetch(context: RunContext, cid: str, size: int) -> bytes:
    """Fetch a file of `size` bytes, in parts if it must have been published in parts.

    Raises:
        RefusedError: `blob-too-large` and others of the store; `checkpoint-invalid` for a list that is none.
        UnavailableError: nobody delivered it in time.
    """
    count = -(-size // PART_BYTES)
    if count == 1:
        return _get(context, cid, size)
    lines = _get(context, cid, (count + 1) * _LIST_LINE_BYTES).split(b"\n")
    names = [line.decode("ascii") for line in lines[1:-1] if re.fullmatch(rb"[A-Za-z0-9]{1,128}", line)]
    if lines[0] != _LIST_HEAD.encode("ascii") or len(names) != count or len(lines) != count + 2:
        raise RefusedError("checkpoint-invalid", "It is not a list of a checkpoint's parts.", "Take another one.")
    return b"".join(_get(context, name, PART_BYTES) for name in names)


def _get(context: RunContext, cid: str, max_bytes: int) -> bytes:
    seconds = _LEAST_SECONDS + max_bytes / _SLOWEST_BYTES_A_SECOND
    return context.store.get(cid, max_bytes=max_bytes, deadline_seconds=seconds, canonical=True)
