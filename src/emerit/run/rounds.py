"""A node's round is a state machine with one recorded outcome: `submitted`, `skipped(reason)`, `failed(code)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emerit.errors import EmeritError, StateError, UnavailableError
from emerit.run.node import NodeLoop
from emerit.telemetry import Metrics, RoundJournal

MAX_CONSECUTIVE_FAILURES = 5
RETRY_SECONDS = 1.0


@dataclass
class RoundBook:
    """Plays rounds and keeps their outcomes.

    What may pass by itself (a service that did not answer) is tried again while the round lasts, and skips it then; an
    error fails it, and five in a row stop the node with the reason; a state root that does not agree stops it at once.
    """

    loop: NodeLoop
    journal: RoundJournal
    metrics: Metrics
    log: Any
    failures: int = field(default=0, init=False)

    def play(self, number: int, action: Callable[[], tuple[str, str]]) -> None:
        """Play round `number` once and record its outcome.

        Raises:
            StateError: local state and chain do not agree.
            EmeritError: the fifth failure in a row.
        """
        if self.journal.has(number):
            return
        try:
            outcome, reason = self._persist(number, action)
            self.failures = 0
        except UnavailableError as error:
            outcome, reason = "skipped", error.code
            self.log.warning("round skipped", round=number, **error.as_dict())
        except StateError:
            raise
        except EmeritError as error:
            outcome, reason = "failed", error.code
            self.failures += 1
            self.log.error("round failed", round=number, **error.as_dict())
            if self.failures >= MAX_CONSECUTIVE_FAILURES:
                raise
        if self.loop.stop.is_set() and outcome == "skipped":
            return  # stopped in the middle: after a restart the round can still be played
        self.journal.record(number, outcome, reason)
        self.metrics.rounds_total.labels(outcome=outcome).inc()
        self.log.info("round done", round=number, outcome=outcome, reason=reason)

    def _persist(self, number: int, action: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        """Play until a service outage is over or the round is; the action takes up where it left off."""
        while True:
            try:
                return action()
            except UnavailableError as error:
                if self.loop.stop.wait(RETRY_SECONDS) or self.loop.status().round != number:
                    raise
                self.log.warning("trying again", round=number, **error.as_dict())
