"""How much unique work a contribution shows, against what is usual in the round.

The gap (own minus random gain) of a trainer is noise in a run's first rounds, when everything learns the same,
and clear later. In the 0.84M demo run with 64 sequences a side the honest gaps were below 1.1 standard errors in
rounds 0 and 1, 3 in round 3, and 6 to 12 from round 6 on, where copies, mixtures and noise stayed within 2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from emerit.protocol.settlement_tree import payable
from emerit.scoring.measurement import Measurement, weighted_median

CLEAR_Z: Final = 2.5
NEGATIVE_Z: Final = 2.0


@dataclass(frozen=True)
class GapReference:
    """The round's usual gap and the usual error of one gap, in nats; None and 0 when nothing was measured.

    `gain` and `gain_error` are the same of the gain on random sequences; `trusted` says whether they are of trainers
    that the last consensus paid.
    """

    value: float | None
    error: float
    gain: float | None = None
    gain_error: float = 0.0
    trusted: bool = False

    @property
    def bad(self) -> bool:
        """Whether the round is bad for all: usual work raises the loss, or helps its own data less than other data.

        By more than one trainer's measuring error, and as measured of trainers that were paid before: a crowd of
        newcomers cannot spoil a round. Then the fault is no single trainer's, and nothing that is measured goes into
        anybody's history.
        """
        if not self.trusted or self.value is None or self.gain is None:
            return False
        return self.value < -self.error or self.gain < -self.gain_error

    @property
    def clear(self) -> bool:
        """Whether the usual gap is well above one trainer's measuring error.

        At the limit of 2.5 errors an honest gap falls below a quarter of the reference once in thirty times.
        """
        return self.value is not None and self.value > 0 and self.value >= CLEAR_Z * self.error

    def factor(self, measurement: Measurement, floor: float) -> float:
        """Return the share of its pay, in [0, 1], that a contribution's gap leaves it.

        min(1, gap / reference), and 0 below `floor`. Where the reference is not clear, the gap does not
        tell honest work from other work, so the penalty is waived for the whole round: 1, unless the gap is below
        zero by more than two of its errors.
        """
        if self.value is None or not self.clear:
            return 0.0 if measurement.gap < -NEGATIVE_Z * measurement.gap_se else 1.0
        ratio = measurement.gap / self.value
        return 0.0 if ratio <= 0 or ratio < floor else min(1.0, ratio)


def gap_reference(
    measurements: Collection[Measurement], excluded: Collection[int], consensus: Mapping[int, int]
) -> GapReference:
    """Return the median gap of the originals, weighted by the last consensus.

    `excluded` are the slots that are duplicates in this round, `consensus` the last consensus weights by slot; a
    weight up to 1, which is not paid, counts as none. Without any weight (the first round) every original counts
    the same. So newcomers in any number cannot move the reference of those whose work was paid.
    """
    originals = [item for item in measurements if item.slot not in excluded]
    if not originals:
        return GapReference(None, 0.0)
    weights = [float(payable(consensus.get(item.slot, 0))) for item in originals]
    trusted = any(weights)
    if not trusted:
        weights = [1.0] * len(originals)
    return GapReference(
        weighted_median([item.gap for item in originals], weights),
        weighted_median([item.gap_se for item in originals], weights),
        weighted_median([item.random_gain for item in originals], weights),
        weighted_median([item.random_se for item in originals], weights),
        trusted,
    )
