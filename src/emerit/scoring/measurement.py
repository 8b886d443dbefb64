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
    assigned to its author; both are paired (the same sequences before and after), with standard errors. `whole_gain`
    is the drop on the random sequences at the whole outer step, times the trial fraction; None where it was not tried.
    `adjusted` is the gap and its error less what the round's common step explains (`adjusted_gap`), None without one.
    """

    slot: int
    random_gain: float
    random_se: float
    own_gain: float
    own_se: float
    whole_gain: float | None = None
    whole_se: float = 0.0
    adjusted: tuple[float, float] | None = None

    @property
    def gain(self) -> float:
        """What is paid for: the gain on random sequences at the trial step, or at the whole one where that is less.

        Along a straight line the loss of an honest update bends upwards a little; one that overshoots has most of its
        gain at the trial step and less, or harm, at the step with which it lands.
        """
        return self.random_gain if self.whole_gain is None else min(self.random_gain, self.whole_gain)

    @property
    def gain_se(self) -> float:
        """Standard error of `gain`."""
        return self.random_se if self.whole_gain is None or self.random_gain <= self.whole_gain else self.whole_se

    @property
    def gap(self) -> float:
        """Own minus random gain: what only somebody who trained on the assigned data can show."""
        return self.own_gain - self.random_gain if self.adjusted is None else self.adjusted[0]

    @property
    def gap_se(self) -> float:
        """Standard error of the gap; the two samples are independent."""
        return math.hypot(self.own_se, self.random_se) if self.adjusted is None else self.adjusted[1]

    @property
    def gap_z(self) -> float:
        """The gap in units of its error; 0 for an update that changes nothing (gap and error both 0)."""
        if self.gap_se > 0:
            return self.gap / self.gap_se
        return math.copysign(math.inf, self.gap) if self.gap else 0.0

    @property
    def finite(self) -> bool:
        """Whether every figure is a finite number."""
        measured = (self.random_gain, self.random_se, self.own_gain, self.own_se, self.gain, self.gain_se)
        return all(map(math.isfinite, (*measured, self.gap, self.gap_se)))


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of float64[n], n >= 2, and its standard error; neither is finite where a value is not."""
    with np.errstate(invalid="ignore"):
        return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def adjusted_gap(
    random: NDArray[np.float64],
    own: NDArray[np.float64],
    common_random: NDArray[np.float64],
    common_own: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the gap of a contribution and its standard error, with the round's common step as a control variate.

    `random` float64[n] and `own` float64[m] are the drops of the contribution on each sequence, `common_*` those of the
    step that all of the round make together on the same ones. What a sequence gains by what everybody has learned says
    nothing of whose work it was, but is most of the noise of a gap, above all in a run's first rounds. So b * common is
    taken off both sides, b being the slope of `random` on `common_random` (control variates: Lavenberg and Welch,
    Management Science 27, 1981). The common step knows an author's text by a share of one in the number of trainers,
    so that share of every gap is lost, alike for all.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        spread = common_random - common_random.mean()
        square = float(spread @ spread)
        slope = float(spread @ random) / square if square > 0 else 0.0
        on_random, random_se = mean_and_error(random - slope * common_random)
        on_own, own_se = mean_and_error(own - slope * common_own)
    return on_own - on_random, math.hypot(own_se, random_se)


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
