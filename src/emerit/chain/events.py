"""What happened in a run, from its events: fetched once, kept, and right after a reorganisation of the chain."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, get_args

from emerit.chain.abi import Abi
from emerit.chain.event_readers import Readers, Record, RoundRecord, StoryRecord
from emerit.chain.records import Attestation, Block, ContributionCommit, Log
from emerit.chain.rpc import Chain
from emerit.chain.story import Story
from emerit.errors import UnavailableError
from emerit.protocol.types import ContributionReveal, WeightReveal

R = TypeVar("R", ContributionCommit, ContributionReveal, WeightReveal, Attestation)

_MARKS: Final = 64
_ATTEMPTS: Final = 8
_SCAN_BLOCKS: Final = 5_000


@dataclass(frozen=True, slots=True)
class _Kept:
    block: int
    record: RoundRecord


class RunEvents:
    """The events of one run, brought up to date with every read.

    A read asks for the head, and for logs only when the head moved. The block that the cache was last brought
    to is compared by hash; when it is no longer part of the chain, the cache goes back to the newest of its
    last 64 marks that still is (or to the run's start) and reads on from there. What was fetched counts only
    once the head is seen to be unchanged, so a reorganisation in between cannot mix two histories.

    What makes up the run's `Story` (openings, settlements, challenges) is kept for good; the rest of a round only for
    `keep_rounds` rounds, after which it is fetched again when asked for. `generation` counts the reorganisations seen.
    Safe to share between threads.
    """

    def __init__(self, chain: Chain, run: str, abi: Abi, start_block: Callable[[], int], keep_rounds: int = 8) -> None:
        """`start_block()` gives a block before which the run had no events; asked for once, with the first read."""
        self._chain = chain
        self._run = run
        self._readers = Readers(abi)
        self._topics = (self._readers.topics,)
        self._start_block = start_block
        self._keep_rounds = keep_rounds
        self._lock = threading.Lock()
        self.generation = 0
        self._clear()

    def story(self) -> Story:
        """Return what the run's rounds became, up to the chain's head.

        Raises UnavailableError `chain-unsettled` when the chain keeps changing under the reads.
        """
        with self._lock:
            self._refresh()
            return self._story

    def of_round(self, kind: type[R], round: int) -> list[R]:
        """Return a round's records of one kind, in the order of the chain. Raises as `story`."""
        with self._lock:
            self._refresh()
            kept = self._rounds.get(round, ())
            if round >= self._whole_from:
                return [each.record for each in kept if isinstance(each.record, kind)]
            span = self._story.span(round)
            head = self._marks[-1].number
        if span is None:
            return []
        return [each for each in self._fetch(round, span[0], span[1] or head) if isinstance(each, kind)]

    # ---- keeping up

    def _clear(self) -> None:
        self._marks: deque[Block] = deque(maxlen=_MARKS)
        self._rounds: dict[int, list[_Kept]] = {}
        self._whole_from = 0
        self._story = Story()

    def _refresh(self) -> None:
        for _ in range(_ATTEMPTS):
            if self._advance():
                return
        raise UnavailableError(
            "chain-unsettled",
            f"The head of the chain at {self._chain.display_url} keeps changing under our reads.",
            "Try again.",
        )

    def _advance(self) -> bool:
        """Bring the cache up to the head; False if the chain changed meanwhile and it must be tried again."""
        head = self._chain.head()
        mark = self._marks[-1] if self._marks else None
        if mark is not None and head.hash == mark.hash:
            return True
        if mark is not None and head.parent_hash == mark.hash:
            logs = self._chain.logs_of_block(self._run, head.hash, self._topics)
            if logs is not None:
                self._keep(logs, head)
                return True
        if mark is not None and not self._is_part_of_chain(mark):
            self._go_back()
            return False
        return self._scan(mark, head)

    def _scan(self, mark: Block | None, head: Block) -> bool:
        """Fetch everything behind the mark, up to and with the head."""
        start = self._start_block() if mark is None else mark.number + 1
        found: list[Log] = []
        while start <= head.number:
            end = min(head.number, start + _SCAN_BLOCKS - 1)
            found += self._chain.logs(self._run, start, end, self._topics)
            start = end + 1
        if not self._is_part_of_chain(head):
            return False
        # Nothing is kept before the last call to the chain has succeeded: a failure in between must not be kept twice.
        self._keep(found, head)
        return True

    def _is_part_of_chain(self, block: Block) -> bool:
        found = self._chain.block(block.number)
        return found is not None and found.hash == block.hash

    def _go_back(self) -> None:
        """Return to the newest mark that is still part of the chain."""
        self.generation += 1
        while self._marks and not self._is_part_of_chain(self._marks[-1]):
            self._marks.pop()
            self._drop_above(self._marks[-1].number if self._marks else -1)
        if not self._marks:
            self._clear()

    def _drop_above(self, block: int) -> None:
        self._rounds = {number: [each for each in kept if each.block <= block] for number, kept in self._rounds.items()}
        self._story = self._story.until(block)

    def _keep(self, logs: Sequence[Log], head: Block) -> None:
        story: list[tuple[int, StoryRecord]] = []
        for log in logs:
            record = self._readers.read(log)
            if isinstance(record, get_args(StoryRecord)):
                story.append((log.block_number, record))
            elif isinstance(record, get_args(RoundRecord)) and record.round >= self._whole_from:
                self._rounds.setdefault(record.round, []).append(_Kept(log.block_number, record))
        self._story = self._story.with_records(story)
        self._marks.append(head)
        if self._rounds:
            self._whole_from = max(self._whole_from, max(self._rounds) - self._keep_rounds + 1)
            for number in [each for each in self._rounds if each < self._whole_from]:
                del self._rounds[number]

    def _fetch(self, round: int, first: int, last: int) -> list[Record]:
        topics = (*self._topics, round.to_bytes(32, "big"))
        records = (self._readers.read(log) for log in self._chain.logs(self._run, first, last, topics))
        return [record for record in records if record is not None]
