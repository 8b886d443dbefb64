"""Reading a chain that may change under us: what an index that stands at one block must do to reach the head.

Near the head blocks are read one by one: their headers from the head down by parent hash until they meet the
index, then each block's logs by the block's hash, so what is read is one history even while the chain changes.
Far below the head whole ranges are read at once, and count only if the range's last block was the same before and
after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from emerit.chain.records import Block, Log


class ReadableChain(Protocol):
    """What is asked of a chain; `emerit.chain.rpc.Chain` has it."""

    @property
    def chain_id(self) -> int:
        """The chain's id."""

    def head(self) -> Block:
        """Return the latest block."""

    def block(self, which: int | str = "latest") -> Block | None:
        """Return a block by number, or None."""

    def logs(self, address: str | Sequence[str], from_block: int, to_block: int) -> list[Log]:
        """Return the logs of a range, both ends included."""

    def logs_of_block(self, address: str | Sequence[str], block_hash: bytes) -> list[Log] | None:
        """Return the logs of the block with this hash, or None when the chain does not have it."""


@dataclass(frozen=True, slots=True)
class Spans:
    """How far an index looks: `near` blocks below the head are read one by one; of the last `kept` blocks every
    mark is kept, and of those below one at every multiple of `stride`, which is also the most read at once."""

    near: int = 32
    kept: int = 256
    stride: int = 2048


class ChainMovedError(Exception):
    """The chain changed while it was read; what was read must be thrown away."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A block that the index has taken in. The mark before its first block has an empty hash."""

    number: int
    hash: bytes

    @property
    def is_origin(self) -> bool:
        """Whether nothing has been taken in up to here."""
        return not self.hash


@dataclass(frozen=True, slots=True)
class Change:
    """What brings an index forward: drop all above `shared`, then add `logs` and `marks` (ascending).

    `complete` says that this reaches the head.
    """

    shared: Mark
    marks: tuple[Mark, ...]
    logs: tuple[Log, ...]
    complete: bool

    @property
    def end(self) -> Mark:
        """Where the index stands afterwards."""
        return self.marks[-1] if self.marks else self.shared


class Follower:
    """Plans the next change of an index over the logs of `addresses`."""

    def __init__(self, chain: ReadableChain, addresses: Sequence[str], spans: Spans) -> None:
        self._chain = chain
        self._addresses = list(addresses)
        self._spans = spans

    def next_change(self, newest: Mark, marks: Callable[[], Sequence[Mark]]) -> Change | None:
        """Return what follows `newest`; None when the index stands at the head.

        `marks()` gives all marks of the index in ascending order, the origin first; it is asked for only when
        `newest` is no longer part of the chain. Costs two requests for each new block near the head.

        Raises:
            ChainMovedError: the chain changed meanwhile; ask again.
            UnavailableError: the chain did not answer.
        """
        head = self._chain.head()
        if head.hash == newest.hash:
            return None
        follows = head.number == newest.number + 1 and head.parent_hash == newest.hash
        shared = newest if follows or self._has(newest) else self._newest_shared(marks())
        if head.number - shared.number > self._spans.near:
            return self._range(shared, head)
        change = self._walk(shared, head)
        return None if change.end == newest else change

    def _has(self, mark: Mark) -> bool:
        if mark.is_origin:
            return True
        block = self._chain.block(mark.number)
        return block is not None and block.hash == mark.hash

    def _newest_shared(self, marks: Sequence[Mark]) -> Mark:
        """Return the newest mark that the chain has; one that it has implies all before, so halving finds it."""
        low, high = 0, len(marks) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._has(marks[middle]):
                low = middle
            else:
                high = middle - 1
        return marks[low]

    def _walk(self, shared: Mark, head: Block) -> Change:
        blocks = [head] if head.number > shared.number else []
        while blocks and blocks[-1].number > shared.number + 1:
            parent = self._chain.block(blocks[-1].number - 1)
            if parent is None or parent.hash != blocks[-1].parent_hash:
                raise ChainMovedError
            blocks.append(parent)
        below = blocks[-1].parent_hash if blocks else head.hash
        if not shared.is_origin and below != shared.hash:
            raise ChainMovedError
        blocks.reverse()
        logs: list[Log] = []
        for block in blocks:
            found = self._chain.logs_of_block(self._addresses, block.hash)
            if found is None:
                raise ChainMovedError
            logs += found
        marks = tuple(Mark(block.number, block.hash) for block in blocks)
        return Change(shared, marks, tuple(logs), complete=True)

    def _range(self, shared: Mark, head: Block) -> Change:
        """Take in up to the next multiple of the stride, so that marks there remain for reorganisations."""
        stride = self._spans.stride
        last = min(head.number - self._spans.near, (shared.number // stride + 1) * stride)
        block = self._chain.block(last)
        if block is None or not self._has(shared):
            raise ChainMovedError
        end = Mark(last, block.hash)
        logs = self._chain.logs(self._addresses, shared.number + 1, last)
        if not self._has(end) or not _one_history(logs, end):
            raise ChainMovedError
        return Change(shared, (end,), tuple(logs), complete=False)


def _one_history(logs: Sequence[Log], end: Mark) -> bool:
    """Return whether no two logs, nor a log and the end, name different blocks of one number."""
    known = {end.number: end.hash}
    return all(known.setdefault(log.block_number, log.block_hash) == log.block_hash for log in logs)
