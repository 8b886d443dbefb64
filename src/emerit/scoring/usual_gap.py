"""A usual gap and one trainer's error of it: what a gap is held against, and what it then lets expect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

CLEAR_Z: Final = 4.0
LEAST_SHARE: Final = 0.02
MOST: Final = 1.25


def somewhat_above(usual: float, times: float, error: float) -> float:
    """Return `times` a usual figure (0 if it is below that), or an `error` more than it where that is larger."""
    usual = max(0.0, usual)
    return max(times * usual, usual + error)


@dataclass(frozen=True)
class UsualGap:
    """A usual gap and the usual error of one trainer's, in nats; None and 0 when nothing was measured."""

    value: float | None = None
    error: float = 0.0

    @property
    def clear(self) -> bool:
        """Whether the usual gap is well above one trainer's measuring error.

        At the limit of 4 errors an honest gap falls below a quarter of the usual one once in 740 times.
        """
        return self.value is not None and self.value > 0 and self.value >= CLEAR_Z * self.error

    @property
    def most(self) -> float:
        """The largest gap that enters a history: a quarter above the usual one, or an error where that is more.

        So nobody puts a gap by in one round for another without work; work itself has no more than the usual gap.
        """
        return math.inf if self.value is None else somewhat_above(self.value, MOST, self.error)

    def lenient(self, gap: float, floor: float) -> float:
        """Return min(1, (gap + doubt) / usual), and 0 below `floor`; 1 where nothing is usual.

        The doubt is what the usual gap lacks to be clear: where it is above 4 errors there is none, and of less than
        one error it leaves next to nothing of the test.
        """
        if self.value is None or self.value <= 0:
            return 1.0
        ratio = (gap + max(0.0, CLEAR_Z * self.error - self.value)) / self.value
        return 0.0 if ratio <= 0 or ratio < floor else min(1.0, ratio)

    def expected(self, gap: float) -> float:
        """Return the estimate, in [`LEAST_SHARE`, 1], of what share of the usual gap u there is behind a measured one.

        1 + (gap / u - 1) * u^2 / (u^2 + error^2): drawn from what was measured towards the usual one by how little was
        learned (James and Stein, 1961; Efron and Morris, JASA 70, 1975, with u for the spread of trainers). Where u is
        two errors, a measured gap of 0 leaves a fifth; who has none is left more on average, as no share is below 0.
        """
        if self.value is None or self.value <= 0:
            return 1.0
        spread = math.hypot(self.value, self.error)
        return max(LEAST_SHARE, min(1.0, 1 + (gap - self.value) / spread * (self.value / spread)))


UNKNOWN_GAP: Final = UsualGap()
