"""How much unique work a contribution shows, against what is usual in the round.

The gap (own minus random gain) of a trainer is noise in a run's first rounds, when everything learns the same, and
clear later. So the factor of a round's pay holds the gap of this round against the round's usual one, and the
discounted mean of a trainer's gaps against the usual mean. Refused is what is far below either, the more strictly the
clearer the usual one is; what is paid is in proportion to what the mean lets expect. The mean is clear first; this
round's ends the pay of whoever stops to work.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from emerit.protocol.manifest import ScoringSpec
from emerit.scoring.history import Standing
from emerit.scoring.measurement import Measurement, weighted_median
from emerit.scoring.trust import say

CLEAR_Z: Final = 4.0
LEAST_SHARE: Final = 0.02
NEGATIVE_Z: Final = 2.0
GAIN_CAP: Final = 1.25
GAIN_Z: Final = 2.0
CAP_NEEDED: Final = 3


@dataclass(frozen=True)
class Usual:
    """A usual gap and the usual error of one trainer's, in nats; None and 0 when nothing was measured."""

    value: float | None = None
    error: float = 0.0

    @property
    def clear(self) -> bool:
        """Whether the usual gap is well above one trainer's measuring error.

        At the limit of 4 errors an honest gap falls below a quarter of the usual one once in 740 times.
        """
        return self.value is not None and self.value > 0 and self.value >= CLEAR_Z * self.error

    def lenient(self, gap: float, floor: float, error: float) -> float:
        """Return min(1, (gap + doubt) / usual), and 0 below `floor`; 1 where nothing is usual.

        The doubt is what the usual gap lacks to be clear of a trainer's `error`: where it is above 4 errors there is
        none, and of less than one error it leaves next to nothing of the test.
        """
        if self.value is None or self.value <= 0:
            return 1.0
        ratio = (gap + max(0.0, CLEAR_Z * error - self.value)) / self.value
        return 0.0 if ratio <= 0 or ratio < floor else min(1.0, ratio)

    def expected(self, gap: float, error: float) -> float:
        """Return the estimate, in [`LEAST_SHARE`, 1], of what share of the usual gap u there is behind a measured one.

        1 + (gap / u - 1) * u^2 / (u^2 + error^2): drawn from what was measured towards the usual one by how little was
        learned (James and Stein, 1961; Efron and Morris, JASA 70, 1975, with u for the spread of trainers). Where u is
        two errors, a measured gap of 0 leaves a fifth; who has none is left more on average, as no share is below 0.
        """
        if self.value is None or self.value <= 0:
            return 1.0
        spread = math.hypot(self.value, error)
        return max(LEAST_SHARE, min(1.0, 1 + (gap - self.value) / spread * (self.value / spread)))


@dataclass(frozen=True)
class GapReference:
    """The round's usual figures, as medians of the originals: `round` of this round's gap, `mean` of the mean gaps.

    `gain` and `gain_error` are the same of the gain that is paid for; `trusted` says whether they are of trainers
    that the last consensus paid, and `originals` of how many.
    """

    round: Usual = Usual()
    mean: Usual = Usual()
    gain: float | None = None
    gain_error: float = 0.0
    trusted: bool = False
    originals: int = 0

    @property
    def bad(self) -> bool:
        """Whether the round is bad for all: usual work raises the loss, or helps its own data less than other data.

        By more than one trainer's measuring error, and as measured of trainers that were paid before: a crowd of
        newcomers cannot spoil a round. Then the fault is no single trainer's, and nothing that is measured goes into
        anybody's history.
        """
        if not self.trusted or self.round.value is None or self.gain is None:
            return False
        return self.round.value < -self.round.error or self.gain < -self.gain_error

    @property
    def harm(self) -> float:
        """The gain, 0 or less, below which a contribution does harm: that of usual work in a round bad for all."""
        return min(0.0, self.gain) if self.bad and self.gain is not None else 0.0

    @property
    def most_gain(self) -> float:
        """The largest gain that is paid in a round: a quarter above the usual one, or two errors where that is more.

        Trainers with one codec, one norm and one machine each come out alike. Whoever gains several times as much has
        sent something else, such as a plain gradient in the first rounds, and pay by the square would give him most of
        the round. With fewer than three originals nothing is usual.
        """
        if self.gain is None or self.originals < CAP_NEEDED:
            return float("inf")
        usual = max(0.0, self.gain)
        return max(GAIN_CAP * usual, usual + GAIN_Z * self.gain_error)

    def factor(self, measurement: Measurement, standing: Standing, spec: ScoringSpec) -> float:
        """Return the share of its pay, in [0, 1], that a contribution's gap leaves it; `standing` includes this round.

        Neither gap may be below `spec.gap_floor` of the usual one with all doubt added, and what is paid is at most
        what each leaves then and what the mean lets expect. A mean of fewer rounds than usual, as a newcomer's is, is
        known less well, by as much as rounds of usual error would be, not by its own error, which whoever sends noise
        can have as large as he likes. Where
        neither usual gap is clear, a gap that is below zero by more than two of its errors leaves nothing.
        """
        if not (self.round.clear or self.mean.clear) and measurement.gap < -NEGATIVE_Z * measurement.gap_se:
            return 0.0
        this_round = self.round.lenient(measurement.gap, spec.gap_floor, self.round.error)
        if not standing.rounds_sum:
            return this_round
        error = max(self.mean.error, self.round.error * standing.error_share(spec.history_decay))
        of_all = self.mean.lenient(standing.gap, spec.gap_floor, error)
        return min(this_round, of_all, self.mean.expected(standing.gap, error))

    def with_means(self, standings: Mapping[int, Standing], consensus: Mapping[int, int]) -> GapReference:
        """Return the reference with the median of the mean gaps of these standings, by slot."""
        slots = [slot for slot, standing in standings.items() if standing.rounds_sum > 0]
        if not slots:
            return self
        gaps, errors = zip(*((standings[slot].gap, standings[slot].gap_se) for slot in slots), strict=True)
        weights = _weights(slots, consensus)[0]
        return replace(self, mean=Usual(weighted_median(gaps, weights), weighted_median(errors, weights)))


def gap_reference(
    measurements: Collection[Measurement], excluded: Collection[int], consensus: Mapping[int, int]
) -> GapReference:
    """Return the usual figures of the originals of a round, as the trainers tell them that were paid last.

    `excluded` are the slots that are duplicates in this round, `consensus` the last consensus weights by slot
    (`emerit.scoring.trust.say`). Without any weight (the first round) every original counts the same. So newcomers in
    any number cannot move the reference of those whose work was paid.
    """
    originals = [item for item in measurements if item.slot not in excluded]
    if not originals:
        return GapReference()
    weights, trusted = _weights([item.slot for item in originals], consensus)
    return GapReference(
        round=Usual(
            weighted_median([item.gap for item in originals], weights),
            weighted_median([item.gap_se for item in originals], weights),
        ),
        gain=weighted_median([item.gain for item in originals], weights),
        gain_error=weighted_median([item.gain_se for item in originals], weights),
        trusted=trusted,
        originals=len(originals),
    )


def _weights(slots: Collection[int], consensus: Mapping[int, int]) -> tuple[list[float], bool]:
    """Return how much each slot counts, and whether that is by trust; all alike where nobody was paid."""
    weights = [float(weight) for weight in say(slots, consensus).values()]
    return (weights, True) if any(weights) else ([1.0] * len(weights), False)
