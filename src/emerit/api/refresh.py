"""The API's two loops: one follows the chain, one fetches from IPFS. And what they tell about their health."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from emerit.api.app import Health
from emerit.api.collect import Collector
from emerit.api.evidence import EvidenceBook, FeedbackBook
from emerit.api.snapshot import Snapshot
from emerit.errors import EmeritError
from emerit.indexer.index import Index
from emerit.telemetry import Metrics

log = structlog.get_logger("emerit.api")

STALL_SECONDS: Final = 60.0
EVIDENCE_POLL_SECONDS: Final = 0.5


@dataclass
class Pulse:
    """When the refresh loop last gave a sign of life: each request to the chain is one, and each turn.

    A first reading of a long chain takes many requests, so a loop that is busy is told from one that hangs.
    """

    clock: Callable[[], float] = time.monotonic
    thread: threading.Thread | None = None
    last: float = 0.0

    def beat(self) -> None:
        """Note a sign of life, if this is the thread that is watched."""
        if self.thread is None or self.thread is threading.current_thread():
            self.last = self.clock()

    def alive(self) -> bool:
        """Return whether the thread runs and gave a sign within the last minute."""
        running = self.thread is not None and self.thread.is_alive()
        return running and self.clock() - self.last < STALL_SECONDS


@dataclass
class Refresher:
    """Keeps the newest snapshot; a failure is shown in `/readyz` and tried again.

    A fault of the program itself ends the thread, and `/livez` fails at once.
    """

    collector: Collector
    index: Index
    evidence: EvidenceBook
    feedback: FeedbackBook
    metrics: Metrics
    every_seconds: float
    pulse: Pulse = field(default_factory=Pulse)
    stop: threading.Event = field(default_factory=threading.Event)
    trouble: str = "starting"

    def __post_init__(self) -> None:
        """Start with no snapshot."""
        self._snapshot: Snapshot | None = None
        self._reputation: tuple[Snapshot | None, dict[str, int]] = (None, {})
        self._threads = [
            threading.Thread(target=self._refresh, name="refresh", daemon=True),
            threading.Thread(target=self._fetch_evidence, name="evidence", daemon=True),
        ]

    def start(self) -> None:
        """Start both loops."""
        self.pulse.thread = self._threads[0]
        self.pulse.last = self.pulse.clock()
        for thread in self._threads:
            thread.start()

    def end(self, deadline_seconds: float) -> None:
        """Tell the loops to stop and wait for them, but not longer than that: they leave nothing half done."""
        self.stop.set()
        until = time.monotonic() + deadline_seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def turn(self) -> None:
        """Refresh once.

        Raises EmeritError, see `Collector.collect`.
        """
        snapshot, step = self.collector.collect()
        self._snapshot = snapshot
        self.metrics.indexer_head_block.set(step.head)
        if step.rolled_back_blocks:
            self.metrics.indexer_reorgs_total.inc()
        self.metrics.progress()
        self.trouble = snapshot.trouble.code if snapshot.trouble else "ok"

    def snapshot(self) -> Snapshot | None:
        """Return the newest snapshot, None before the first."""
        return self._snapshot

    def reputation_on_chain(self, account: str) -> int:
        """Return what the Reputation contract answers; asked at most once per account and snapshot.

        Raises UnavailableError when the chain does not answer.
        """
        now, (of, known) = self._snapshot, self._reputation
        if of is not now or now is None:
            self._reputation = (now, known := {})
        if account not in known and now is not None:
            known[account] = now.context.client.reputation_of(account)
        return known.get(account, 0)

    def _refresh(self) -> None:
        while not self.stop.is_set():
            try:
                self.turn()
            except EmeritError as error:
                if self.trouble != error.code:
                    log.warning("refresh failed", **error.as_dict())
                self.trouble = error.code
            self.pulse.beat()
            self.stop.wait(self.every_seconds)

    def _fetch_evidence(self) -> None:
        while not self.stop.is_set():
            if not (self.evidence.load_next() or self.feedback.load_next()):
                self.stop.wait(EVIDENCE_POLL_SECONDS)


def health_of(refresher: Refresher, probes: dict[str, Callable[[], object]]) -> Health:
    """Return what the health routes ask; each probe raises EmeritError when its service does not answer."""

    def checks() -> dict[str, str]:
        found = {"refresh": refresher.trouble}
        for name, probe in probes.items():
            try:
                probe()
                found[name] = "ok"
            except EmeritError as error:
                found[name] = error.code
        return found

    return Health(refresher.pulse.alive, checks)
