"""A usual gain and one trainer's error of it: what a score is held against, and what share of the usual it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLEAR_Z: Final = 4.0
SPREAD: Final = 0.3
LEAST_SHARE: Final = 0.01
MOST_SHARE: Final = 4.0


@dataclass(frozen=True)
class UsualGain:
    """A usual gain u and the usual error of one trainer's, in nats per token; None and 0 when nothing was measured."""

    value: float | None = None
    error: float = 0.0

    @property
    def doubt(self) -> float:
        """What the usual gain lacks to be clear of zero, in nats per token: max(0, 4 errors - u), 8 errors at most.

        So much is allowed to a score that is tested: of honest work, whose score is u give or take its error, one in
        740 fails then at most where z is 1, however little there is to gain, and where chance has put u below zero.
        """
        if self.value is None:
            return 0.0
        clear = CLEAR_Z * self.error
        return max(0.0, clear - max(self.value, -clear))

    def share(self, score: float) -> float:
        """Return the estimate, in [`LEAST_SHARE`, `MOST_SHARE`], of how much of the usual gain u is behind a score.

        1 + (score / u - 1) * t^2 / (t^2 + error^2), with t = `SPREAD` * u: drawn towards the usual one by how little
        was learned (James and Stein, 1961; Efron and Morris, JASA 70, 1975), t being by how much trainers with alike
        machines may differ. A gain of less than its error counts as that; 1 where nothing is usual.
        """
        usual = 0.0 if self.value is None else max(self.value, self.error)
        if usual <= 0:
            return 1.0
        told = SPREAD**2 / (SPREAD**2 + (self.error / usual) ** 2)
        return max(LEAST_SHARE, min(MOST_SHARE, 1 + (score / usual - 1) * told))


UNKNOWN_GAIN: Final = UsualGain()
