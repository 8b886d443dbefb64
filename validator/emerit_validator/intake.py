"""Fetch and fast-check a round's contributions as they are revealed.

Every reveal ends as an accepted update, a refusal with a code, or `unavailable`: a blob that this validator could
not fetch is not held against its author; the validator abstains. A blob that does not come is tried again until one
deadline for all, and never keeps a worker from the others: first tries go before second ones, and among equals those
before whom the last consensus paid more.
"""

from __future__ import annotations

import heapq
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import structlog

from emerit.codec.blob import decode_blob
from emerit.codec.update import SparseUpdate
from emerit.errors import EmeritError, RefusedError, UnavailableError
from emerit.protocol.assignment import trainer_capacity
from emerit.protocol.types import ContributionReveal
from emerit.run.context import RunContext
from emerit.run.contributions import expected_blob, most_blob_bytes
from emerit.run.node import NodeLoop
from emerit.scoring import reasons
from emerit.scoring.fast_checks import check_not_empty

log = structlog.get_logger("emerit.validator")

FETCH_WORKERS = 16
FETCH_SECONDS = 5.0
# A try that fails at once (no daemon) takes this long all the same.
LEAST_TRY_SECONDS = 0.5
# How often a waiting intake looks at the stop flag and writes the heartbeat.
LOOK_SECONDS = 0.5
MOST_SECONDS = 15.0
# What a validator that comes back late in the phase still gets, for blobs that are near.
LATE_SECONDS = 2.0


def intake_seconds(phase_seconds: int, elapsed_seconds: float = 0.0) -> float:
    """Return how long a validator waits for contributions: a quarter of the phase from its start, 15 s at most."""
    whole = min(MOST_SECONDS, phase_seconds / 4)
    return max(whole - elapsed_seconds, min(LATE_SECONDS, whole))


@dataclass(order=True, frozen=True)
class _Wanted:
    """One blob that is to be fetched; the least one is tried first."""

    tries: int
    unpaid: int
    place: int
    reveal: ContributionReveal = field(compare=False)
    account: str = field(compare=False)


@dataclass
class Intake:
    """One round's contributions at one validator; `close` ends its threads, at the latest when it is collected.

    Attributes:
        trust: consensus weight of a trainer slot in the last settled round, which is the order of fetching.
        accepted: decoded updates by trainer slot.
        refused: reason code by trainer slot, for blobs that broke a rule and slots that the corpus has no room for.
        unavailable: trainer slots whose blob did not come in time.
        cids: CID by trainer slot, of everything that was revealed.
    """

    context: RunContext
    loop: NodeLoop
    round: int
    base_state_root: bytes
    trust: dict[int, int]
    accepted: dict[int, SparseUpdate] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unavailable: set[int] = field(default_factory=set)
    cids: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with nothing under way; threads come with the first blob."""
        self._change = threading.Condition()
        self._closed = threading.Event()
        self._end: float | None = None
        self._queue: list[_Wanted] = []
        self._open: set[int] = set()
        self._tries: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(FETCH_WORKERS, thread_name_prefix="fetch")

    def take(self, reveals: list[ContributionReveal]) -> None:
        """Start fetching what is new; returns at once."""
        fresh = [reveal for reveal in reveals if reveal.slot not in self.cids]
        if not fresh:
            return
        members = self.context.client.members_in(self.round)
        accounts = {entry.slot: entry.account for entry in members.active_trainers()}
        manifest = self.context.manifest
        capacity = trainer_capacity(
            manifest.training.assigned_sequences,
            manifest.corpus.train_sequences,
            manifest.scoring.random_sequences,
        )
        for reveal in fresh:
            self.cids[reveal.slot] = reveal.cid
            if reveal.slot >= capacity:
                self.refused[reveal.slot] = reasons.NO_ROOM
                continue
            unpaid = -self.trust.get(reveal.slot, 0)
            with self._change:
                self._open.add(reveal.slot)
                self._submit(_Wanted(0, unpaid, len(self.cids), reveal, accounts[reveal.slot]))

    def collect(self, seconds: float) -> None:
        """Wait for the fetches under way, `seconds` from now at most; what has not come then is unavailable.

        Returns at once when the node is told to stop.
        """
        end = time.monotonic() + seconds
        with self._change:
            self._end = end
        while not self.loop.stop.is_set():
            with self._change:
                missing = len(self._open)
                if not missing or time.monotonic() >= end:
                    break
                self._change.wait(min(LOOK_SECONDS, end - time.monotonic()))
            self.loop.heartbeat(f"the bytes of {missing} contributions")
        self.close()
        for attempt in self._tries:
            if attempt.done() and not attempt.cancelled():
                attempt.result()  # an error that nobody foresaw must not pass for a blob that did not come

    def close(self) -> None:
        """End the threads without waiting for them; results that come later are not looked at."""
        with self._change:
            if self._closed.is_set():
                return
            self._closed.set()
            self.unavailable |= self._open
            self._open.clear()
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self.unavailable:
            log.warning("unavailable", round=self.round, slots=sorted(self.unavailable))

    def _submit(self, wanted: _Wanted) -> None:
        heapq.heappush(self._queue, wanted)
        self._tries.append(self._pool.submit(self._try_next))

    def _try_next(self) -> None:
        """Try the blob that comes first in the queue now, whichever it was when this was submitted."""
        with self._change:
            if self._closed.is_set():
                return
            wanted = heapq.heappop(self._queue)
            seconds = FETCH_SECONDS if self._end is None else min(FETCH_SECONDS, self._end - time.monotonic())
        if seconds <= 0:
            return
        slot, began = wanted.reveal.slot, time.monotonic()
        try:
            update = self._fetch(wanted, seconds)
        except RefusedError as error:
            log.warning("refused", round=self.round, slot=slot, **error.as_dict())
            self._decide(slot, refused=error.code)
        except UnavailableError as error:
            log.debug("not there yet", round=self.round, slot=slot, tries=wanted.tries + 1, **error.as_dict())
            self._closed.wait(max(0.0, began + LEAST_TRY_SECONDS - time.monotonic()))
            with self._change:
                if not self._closed.is_set():
                    self._submit(replace(wanted, tries=wanted.tries + 1))
        except EmeritError as error:
            log.error("intake failed", round=self.round, slot=slot, **error.as_dict())
            self._decide(slot)
        else:
            if self._decide(slot, accepted=update):
                self._pin(wanted.reveal.cid)

    def _decide(self, slot: int, *, accepted: SparseUpdate | None = None, refused: str = "") -> bool:
        """Keep what became of a slot's contribution, unavailable if neither; False when it comes too late to count."""
        with self._change:
            if self._closed.is_set():
                return False
            if accepted is not None:
                self.accepted[slot] = accepted
            elif refused:
                self.refused[slot] = refused
            else:
                self.unavailable.add(slot)
            self._open.discard(slot)
            self._change.notify_all()
            return True

    def _fetch(self, wanted: _Wanted, seconds: float) -> SparseUpdate:
        limit = most_blob_bytes(self.context.manifest, self.round)
        blob = self.context.fetch(wanted.reveal.cid, wanted.reveal.content_hash, limit, seconds)
        expected = expected_blob(self.context, self.round, wanted.account, self.base_state_root)
        _, update = decode_blob(blob, expected, limit)
        check_not_empty(update)
        return update

    def _pin(self, cid: str) -> None:
        try:
            self.context.store.pin(cid, FETCH_SECONDS)
        except EmeritError as error:
            log.warning("a contribution could not be pinned here", round=self.round, cid=cid, **error.as_dict())
