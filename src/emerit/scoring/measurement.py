"""What is measured of one contribution, and the two statistics that scoring rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.errors import StateError


@dataclass(frozen=True)
class Measurement:
    """What one contribution alone does at the trial step, in nats per token; positive numbers lower the loss.

    `random_gain` is the mean drop on the round's random sequences, `own_gain` that on a sample of the sequences
    assigned to its author; both are paired (the same sequences before and after), with standard errors.
    """

    slot: int
    random_gain: float
    random_se: float
    own_gain: float
    own_se: float

    @property
    def gap(self) -> float:
        """Own minus random gain: what only somebody who trained on the assigned data can show."""
        return self.own_gain - self.random_gain

    @property
    def gap_se(self) -> float:
        """Standard error of the gap; the two samples are independent."""
        return math.hypot(self.own_se, self.random_se)

    @property
    def gap_z(self) -> float:
        """The gap in units of its error; 0 for an update that changes nothing (gap and error both 0)."""
        if self.gap_se > 0:
            return self.gap / self.gap_se
        return math.copysign(math.inf, self.gap) if self.gap else 0.0

    @property
    def finite(self) -> bool:
        """Whether every figure is a finite number."""
        return all(map(math.isfinite, (self.random_gain, self.random_se, self.own_gain, self.own_se)))


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of float64[n], n >= 2, and its standard error; neither is finite where a value is not."""
    with np.errstate(invalid="ignore"):
        return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the smallest value x such that the values <= x carry at least half of the weight.

    Weights are not negative; with equal ones this is the lower median. Raises StateError `median-without-weight`
    when there is no positive weight.
    """
    return weighted_quantile(values, weights, 0.5)


def weighted_quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """Return the smallest value x such that the values <= x carry at least `share`, in (0, 1], of the weight.

    Raises StateError `median-without-weight`, as `weighted_median`.
    """
    needed = sum(weights) * share
    seen = 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        seen += weight
        if weight > 0 and seen >= needed:
            return value
    raise StateError("median-without-weight", "A median of values without weight is not defined.", "Report this.")
