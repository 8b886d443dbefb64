"""Validators' evidence, fetched beside the API's other work: evidence explains, so nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from emerit.errors import EmeritError, RefusedError
from emerit.indexer.index import Index
from emerit.protocol.types import WeightReveal
from emerit.scoring.evidence import read_evidence

log = structlog.get_logger("emerit.api")

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0

FIGURES: Final = ("s", "se", "own", "own_se", "gap", "gap_se", "gap_factor", "b", "score", "score_se")

Fetch = Callable[[str, bytes], bytes]


@dataclass(slots=True)
class _Wanted:
    cid: str
    round: int
    tries: int = 0
    next_try: float = 0.0
    refused: bool = False


class EvidenceBook:
    """The evidence of a run by its hash: what is wanted, what is there, what was refused for good.

    `fetch(cid, sha256)` returns verified bytes. What has been fetched once is read from the index afterwards. What
    is not there is tried again after a pause that doubles, new rounds first, so that a validator who publishes
    nothing costs one deadline now and then. Safe to share between threads.
    """

    def __init__(self, index: Index, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._index, self._fetch, self._clock = index, fetch, clock
        self._lock = threading.Lock()
        self._wanted: dict[bytes, _Wanted] = {}
        self._records: dict[bytes, Mapping[str, Any]] = {}

    def want(self, reveals: Iterable[WeightReveal]) -> None:
        """Ask for the evidence of these reveals; asking again changes nothing."""
        with self._lock:
            for reveal in reveals:
                known = reveal.evidence_hash in self._records or reveal.evidence_hash in self._wanted
                if not known:
                    self._wanted[reveal.evidence_hash] = _Wanted(reveal.evidence_cid, reveal.round)

    def records(self) -> Mapping[bytes, Mapping[str, Any]]:
        """Return all that is there: checked records (`emerit.scoring.evidence.read_evidence`) by their hash."""
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
            record = self._read(sha256, wanted.cid)
        except EmeritError as error:
            self._postpone(wanted, error)
            return True
        with self._lock:
            self._records[sha256] = record
            del self._wanted[sha256]
        return True

    def _next_due(self) -> tuple[bytes, _Wanted] | None:
        now = self._clock()
        with self._lock:
            due = [(h, w) for h, w in self._wanted.items() if not w.refused and w.next_try <= now]
        return min(due, key=lambda pair: (pair[1].tries, -pair[1].round), default=None)

    def _read(self, sha256: bytes, cid: str) -> Mapping[str, Any]:
        data = self._index.evidence(sha256)
        if data is None:
            data = self._fetch(cid, sha256)
            record = _kept(read_evidence(data))
            self._index.keep_evidence(sha256, data)
            return record
        return _kept(read_evidence(data))

    def _postpone(self, wanted: _Wanted, error: EmeritError) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2**wanted.tries, LONGEST_PAUSE_SECONDS)
        with self._lock:
            wanted.refused = isinstance(error, RefusedError)
            wanted.next_try = self._clock() + pause
            wanted.tries += 1
        if wanted.tries == 1:
            log.warning("evidence not available", round=wanted.round, cid=ascii(wanted.cid), **error.as_dict())


def _kept(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a checked record that is shown, so that memory does not hold what strangers add."""
    names = (*FIGURES, "cluster", "reason")
    return {"trainers": {slot: {name: view[name] for name in names} for slot, view in record["trainers"].items()}}
