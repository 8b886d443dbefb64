"""What the API fetches from IPFS beside its other work: validators' evidence, and trainers' feedback on each other.

Both explain and move no money, so nobody waits for them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from emerit.codec.blob import FEEDBACK_BYTES, HEADER_BYTES
from emerit.errors import EmeritError, RefusedError
from emerit.indexer.index import Index
from emerit.protocol.feedback import Feedback
from emerit.protocol.types import ContributionReveal, WeightReveal
from emerit.run.wide_view import feedback_in
from emerit.scoring.evidence import FIGURES, read_evidence

log = structlog.get_logger("emerit.api")

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0

Fetch = Callable[[str, bytes], bytes]
T = TypeVar("T")
W = TypeVar("W")


@dataclass(slots=True)
class _Wanted(Generic[W]):
    what: W
    cid: str
    round: int
    tries: int = 0
    next_try: float = 0.0
    refused: bool = False


class Book(ABC, Generic[W, T]):
    """Small records behind hashes that are on chain: what is wanted, what is there, what was refused for good.

    `fetch(cid, sha256)` returns verified bytes. What has been fetched once is read from the index afterwards. What
    is not there is tried again after a pause that doubles, new rounds first, so that one who publishes nothing costs
    one deadline now and then. Safe to share between threads.
    """

    kind = ""

    def __init__(self, index: Index, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._index, self._fetch, self._clock = index, fetch, clock
        self._lock = threading.Lock()
        self._wanted: dict[bytes, _Wanted[W]] = {}
        self._records: dict[bytes, T] = {}

    def records(self) -> Mapping[bytes, T]:
        """Return all that is there, checked, by the hash that is on chain."""
        with self._lock:
            return dict(self._records)

    def state(self, sha256: bytes) -> str:
        """Return `available`, `refused` (it can never be used) or `missing` (it is tried again)."""
        with self._lock:
            if sha256 in self._records:
                return "available"
            wanted = self._wanted.get(sha256)
            return "refused" if wanted is not None and wanted.refused else "missing"

    def load_next(self) -> bool:
        """Try to get one that is due; False when none is."""
        due = self._next_due()
        if due is None:
            return False
        sha256, wanted = due
        try:
            record = self._read(sha256, wanted.cid, wanted.what)
        except EmeritError as error:
            self._postpone(wanted, error)
            return True
        with self._lock:
            if self._wanted.pop(sha256, None) is not None:
                self._records[sha256] = record
        return True

    def _want(self, sha256: bytes, cid: str, round_number: int, what: W) -> None:
        with self._lock:
            if sha256 not in self._records and sha256 not in self._wanted:
                self._wanted[sha256] = _Wanted(what, cid, round_number)

    @abstractmethod
    def _read(self, sha256: bytes, cid: str, what: W) -> T:
        """Return a checked record, from the index or by `fetch`; raises EmeritError."""

    def _next_due(self) -> tuple[bytes, _Wanted[W]] | None:
        now = self._clock()
        with self._lock:
            due = [(h, w) for h, w in self._wanted.items() if not w.refused and w.next_try <= now]
        return min(due, key=lambda pair: (pair[1].tries, -pair[1].round), default=None)

    def _postpone(self, wanted: _Wanted[W], error: EmeritError) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2**wanted.tries, LONGEST_PAUSE_SECONDS)
        with self._lock:
            wanted.refused = isinstance(error, RefusedError)
            wanted.next_try = self._clock() + pause
            wanted.tries += 1
        if wanted.tries == 1:
            log.warning(f"{self.kind} not available", round=wanted.round, cid=ascii(wanted.cid), **error.as_dict())


class EvidenceBook(Book[None, Mapping[str, Any]]):
    """The evidence of a run: what is shown of the records that `emerit.scoring.evidence.read_evidence` gives."""

    kind = "evidence"

    def want(self, reveals: Iterable[WeightReveal]) -> None:
        """Ask for the evidence of these reveals; asking again changes nothing."""
        for reveal in reveals:
            self._want(reveal.evidence_hash, reveal.evidence_cid, reveal.round, None)

    def _read(self, sha256: bytes, cid: str, what: None) -> Mapping[str, Any]:
        data = self._index.evidence(sha256)
        if data is None:
            data = self._fetch(cid, sha256)
            record = _kept(read_evidence(data))
            self._index.keep_evidence(sha256, data)
            return record
        return _kept(read_evidence(data))


class FeedbackBook(Book[tuple[str, int], tuple[Feedback, ...]]):
    """What the trainers of a run said of each other, from the headers of their contributions' blobs.

    The whole blob is fetched, because the hash on chain is that of all its bytes; its header is what the index keeps.
    Of the rounds that are no longer wanted nothing stays in memory.
    """

    kind = "feedback"

    def __init__(
        self, index: Index, fetch: Fetch, run: str, most_feedback: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(index, fetch, clock)
        self._run, self._most = run, most_feedback

    def want(self, contributions: Iterable[tuple[ContributionReveal, str]]) -> None:
        """Ask for the headers of these contributions, each with its author's account, and for no others any more."""
        wanted = list(contributions) if self._most else []
        for reveal, account in wanted:
            self._want(reveal.content_hash, reveal.cid, reveal.round, (account, reveal.round))
        names = {reveal.content_hash for reveal, _ in wanted}
        with self._lock:
            self._wanted = {key: each for key, each in self._wanted.items() if key in names}
            self._records = {key: each for key, each in self._records.items() if key in names}

    def _read(self, sha256: bytes, cid: str, what: tuple[str, int]) -> tuple[Feedback, ...]:
        data = self._index.header(sha256)
        if data is None:
            data = self._fetch(cid, sha256)[: HEADER_BYTES + FEEDBACK_BYTES * self._most]
            self._index.keep_header(sha256, data)
        return feedback_in(data, self._most, self._run, *what)


def _kept(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a checked record that is shown, so that memory does not hold what strangers add."""
    names = (*FIGURES, "cluster", "reason")
    return {"trainers": {slot: {name: view[name] for name in names} for slot, view in record["trainers"].items()}}
