"""What happened in a run, from its events: fetched once, kept, and right after a reorganisation of the chain."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from emerit.chain.abi import Abi, AbiEvent
from emerit.chain.records import Attestation, Block, CommitEvent, Log, SettledRound
from emerit.chain.rpc import Chain
from emerit.errors import UnavailableError
from emerit.protocol.types import ContributionReveal, Header, WeightReveal

Record = CommitEvent | ContributionReveal | WeightReveal | Attestation | SettledRound
R = TypeVar("R", CommitEvent, ContributionReveal, WeightReveal, Attestation)

_MARKS: Final = 64
_ATTEMPTS: Final = 8
_SCAN_BLOCKS: Final = 5_000


@dataclass(frozen=True, slots=True)
class _Kept:
    block: int
    record: Record


class RunEvents:
    """The events of one run, brought up to date with every read.

    A read asks for the head, and for logs only when the head moved. The block that the cache was last brought
    to is compared by hash; when it is no longer part of the chain, the cache goes back to the newest of its
    last 64 marks that still is (or to the run's start) and reads on from there. What was fetched counts only
    once the head is seen to be unchanged, so a reorganisation in between cannot mix two histories.

    Settled headers are kept for good; the rest of a round only for `keep_rounds` rounds, after which it is
    fetched again when asked for. `generation` counts the reorganisations seen. Safe to share between threads.
    """

    def __init__(
        self,
        chain: Chain,
        run: str,
        abi: Abi,
        span_of_round: Callable[[int], tuple[int, int] | None],
        keep_rounds: int = 8,
    ) -> None:
        """`span_of_round(r)` gives the blocks in which round r was open (both included), None before it opens."""
        self._chain = chain
        self._run = run
        self._readers = _readers(abi)
        self._topics = (tuple(self._readers),)
        self._span_of_round = span_of_round
        self._keep_rounds = keep_rounds
        self._lock = threading.Lock()
        self.generation = 0
        self._clear()

    def of_round(self, kind: type[R], round: int) -> list[R]:
        """Return a round's records of one kind, in the order of the chain.

        Raises UnavailableError `chain-unsettled` when the chain keeps changing under the reads.
        """
        with self._lock:
            self._refresh()
            kept = self._rounds.get(round, ())
            if round >= self._whole_from:
                return [each.record for each in kept if isinstance(each.record, kind)]
        return [each for each in self._fetch_round(round) if isinstance(each, kind)]

    def settled(self, from_round: int = 0) -> list[SettledRound]:
        """Return the settled rounds from `from_round` on. Raises as `of_round`."""
        with self._lock:
            self._refresh()
            records = (each.record for each in self._settled)
            return [each for each in records if isinstance(each, SettledRound) and each.header.round >= from_round]

    # ---- keeping up

    def _clear(self) -> None:
        self._marks: deque[Block] = deque(maxlen=_MARKS)
        self._rounds: dict[int, list[_Kept]] = {}
        self._settled: list[_Kept] = []
        self._whole_from = 0

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
                self._keep(logs)
                self._marks.append(head)
                return True
        if mark is not None and not self._is_part_of_chain(mark):
            self._go_back()
            return False
        return self._scan(mark, head)

    def _scan(self, mark: Block | None, head: Block) -> bool:
        """Fetch everything behind the mark, up to and with the head."""
        if mark is None:
            span = self._span_of_round(0)
            if span is None:
                return True
            start = span[0]
        else:
            start = mark.number + 1
        found: list[Log] = []
        while start <= head.number:
            end = min(head.number, start + _SCAN_BLOCKS - 1)
            found += self._chain.logs(self._run, start, end, self._topics)
            start = end + 1
        if not self._is_part_of_chain(head):
            return False
        # Nothing is kept before the last call to the chain has succeeded: a failure in between must not be kept twice.
        self._keep(found)
        self._marks.append(head)
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
        self._settled = [each for each in self._settled if each.block <= block]

    def _keep(self, logs: Sequence[Log]) -> None:
        for log in logs:
            record, round = self._read(log)
            if record is None:
                continue
            kept = _Kept(log.block_number, record)
            if isinstance(record, SettledRound):
                self._settled.append(kept)
            elif round >= self._whole_from:
                self._rounds.setdefault(round, []).append(kept)
        if self._rounds:
            self._whole_from = max(self._whole_from, max(self._rounds) - self._keep_rounds + 1)
            for number in [each for each in self._rounds if each < self._whole_from]:
                del self._rounds[number]

    def _read(self, log: Log) -> tuple[Record | None, int]:
        reader = self._readers.get(log.topics[0]) if log.topics else None
        if reader is None:
            return None, 0
        event, make = reader
        values = event.decode(log)
        return make(values, log), values["round"]

    def _fetch_round(self, round: int) -> list[Record]:
        span = self._span_of_round(round)
        if span is None:
            return []
        topics = (*self._topics, round.to_bytes(32, "big"))
        records = (self._read(log)[0] for log in self._chain.logs(self._run, *span, topics))
        return [record for record in records if record is not None]


_Make = Callable[[dict[str, Any], Log], Record]


def _readers(abi: Abi) -> dict[bytes, tuple[AbiEvent, _Make]]:
    """Return, by topic, the events that are kept and how a record is made of each."""
    makers: dict[str, _Make] = {
        "ContributionCommitted": lambda v, _: CommitEvent(v["round"], v["index"], v["commitment"]),
        "ContributionRevealed": lambda v, _: ContributionReveal(
            v["round"], v["index"], v["slot"], v["contentHash"], v["cid"]
        ),
        "WeightsRevealed": lambda v, _: WeightReveal(
            v["round"], v["slot"], v["index"], v["vector"], v["evidenceHash"], v["evidenceCid"]
        ),
        "Attested": lambda v, _: Attestation(v["round"], v["slot"], v["headerHash"], v["aggregateCid"]),
        "Settled": lambda v, log: SettledRound(
            Header.from_abi(v["header"]), v["aggregateCid"], v["headerHash"], log.block_number, log.tx_hash
        ),
    }
    return {abi.events[name].topic: (abi.events[name], make) for name, make in makers.items()}
