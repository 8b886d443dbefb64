"""How far a node has come that applies many settled rounds, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class CatchUp:
    """Tells of a long catch-up through `tell`, at most once in `every_seconds`; called with (applied, total).

    The time left is from the pace since the first call, so what a checkpoint skipped does not count.
    """

    tell: Callable[[str], None]
    every_seconds: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _began: tuple[float, int] | None = field(default=None, init=False)
    _told: float = field(default=float("-inf"), init=False)

    def __call__(self, applied: int, total: int) -> None:
        """Take note of a round applied; says nothing of a node that is only one round behind."""
        now = self.clock()
        if self._began is None:
            if applied >= total:
                return
            self._began = (now, applied)
        if applied < total and now - self._told < self.every_seconds:
            return
        self._told = now
        since, first = self._began
        pace = (now - since) / (applied - first) if applied > first else None
        self.tell(progress_text(applied, total, None if pace is None else pace * (total - applied)))
        if applied >= total:
            self._began, self._told = None, float("-inf")


def progress_text(applied: int, total: int, seconds_left: float | None) -> str:
    """Return such as `round 41 of 97, about 6 min left`; without the time where it is not known, or over."""
    text = f"round {applied} of {total}"
    if seconds_left is None or applied >= total:
        return text
    return f"{text}, about {_duration(seconds_left)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
