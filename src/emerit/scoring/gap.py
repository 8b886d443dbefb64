"""How much unique work a contribution shows, against what is usual in the round.

The gap (own minus random gain) of a trainer is noise in a run's first rounds, when everything learns the same, and
clear later. So the factor of a round's pay holds the gap of this round against the round's usual one, and the
discounted mean of a trainer's gaps against the mean of what was usual in the same rounds. Refused is what is far below
either, the more strictly the clearer the usual one is; what is paid is in proportion to what the mean lets expect. The
mean is clear first; this round's ends the pay of whoever stops to work.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emerit.protocol.manifest import ScoringSpec
from emerit.scoring.history import Standing
from emerit.scoring.measurement import Measurement, weighted_median
from emerit.scoring.trust import say
from emerit.scoring.usual_gain import CLEAR_Z, UNKNOWN_GAIN, UsualGain
from emerit.scoring.usual_gap import UNKNOWN_GAP, UsualGap, somewhat_above

NEGATIVE_Z: Final = 2.0
GAIN_Z: Final = 2.0
MOST_GAIN: Final = 1.1


@dataclass(frozen=True)
class GapReference:
    """The round's usual figures, as medians of the originals: `usual` of the gap, `gain` of the gain that is paid for.

    `trusted` says whether they are of trainers that the last consensus paid. `most_gain` is the largest gain that is
    paid in the round, in nats per token.
    """

    usual: UsualGap = UNKNOWN_GAP
    gain: UsualGain = UNKNOWN_GAIN
    trusted: bool = False
    most_gain: float = math.inf

    @property
    def bad(self) -> bool:
        """Whether the round is bad for all: usual work raises the loss, or helps its own data less than other data.

        By more than one trainer's measuring error, and as measured of trainers that were paid before: a crowd of
        newcomers cannot spoil a round. Then the fault is no single trainer's, and nothing that is measured goes into
        anybody's history.
        """
        if not self.trusted or self.usual.value is None or self.gain.value is None:
            return False
        return self.usual.value < -self.usual.error or self.gain.value < -self.gain.error

    @property
    def harm(self) -> float:
        """The gain, 0 or less, below which a contribution does harm: that of usual work in a round bad for all."""
        return min(0.0, self.gain.value) if self.bad and self.gain.value is not None else 0.0

    def factor(self, measurement: Measurement, standing: Standing, spec: ScoringSpec) -> float:
        """Return the share of its pay, in [0, 1], that a contribution's gap leaves it; `standing` includes this round.

        Neither gap may be below `spec.gap_floor` of the usual one with all doubt added, and what is paid is at most
        what each leaves then and what the mean lets expect. Where neither usual gap is clear, a gap that is below zero
        by more than two of its errors leaves nothing.
        """
        mean = standing.usual_gap
        if not (self.usual.clear or mean.clear) and measurement.gap < -NEGATIVE_Z * measurement.gap_se:
            return 0.0
        this_round = self.usual.lenient(measurement.gap, spec.gap_floor)
        return min(this_round, mean.lenient(standing.gap, spec.gap_floor), mean.expected(standing.gap))


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
    gain = UsualGain(
        weighted_median([item.gain for item in originals], weights),
        weighted_median([item.gain_se for item in originals], weights),
    )
    return GapReference(
        usual=UsualGap(
            weighted_median([item.gap for item in originals], weights),
            weighted_median([item.gap_se for item in originals], weights),
        ),
        gain=gain,
        trusted=trusted,
        most_gain=_most_gain(originals, gain),
    )


def _most_gain(originals: Sequence[Measurement], gain: UsualGain) -> float:
    """Return the largest gain that is paid in a round: a tenth above the usual one, or two errors where that is more.

    Trainers with one codec, one norm and one machine each come out alike. Whoever gains several times as much has
    sent something else, such as a plain gradient in the first rounds, and pay by the third power would give him most of
    the round. Of two originals the lesser is the usual one, and it may be next to nothing, with an error to match: then
    the other may have as much as is clear by four of its own. One original is alone.
    """
    if gain.value is None or len(originals) == 1:
        return math.inf
    if len(originals) == 2:
        return somewhat_above(gain.value, MOST_GAIN, CLEAR_Z * max(item.gain_se for item in originals))
    return somewhat_above(gain.value, MOST_GAIN, GAIN_Z * gain.error)


def _weights(slots: Collection[int], consensus: Mapping[int, int]) -> tuple[list[float], bool]:
    """Return how much each slot counts, and whether that is by trust; all alike where nobody was paid."""
    weights = [float(weight) for weight in say(slots, consensus).values()]
    return (weights, True) if any(weights) else ([1.0] * len(weights), False)
