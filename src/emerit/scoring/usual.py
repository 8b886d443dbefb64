"""How alike the honest updates of a round are, and from where on two are a copy: learned from the round itself.

The limit of a figure is the larger of

- the median m of the witnesses' pairs plus 6 * max(MAD, floor), and
- their 83 % quantile plus 6 * floor, so that a group of trainers on alike data is no group of copies. Pairs of
  colluders are fewer than 17 % of all as long as less than 40 % collude (0.4 squared), and 1 of 6 for 2 Sybils among 4;

but it stays between a third of the way from m to identity (0.4 of it where nobody was paid yet, as odd strangers can
then pull the median down) and half of it, at most 0.95. The lower bound leaves whoever replaced most of a copy to the
loss (half replaced scores about half) and to the gap; the upper ones make sure that no spread makes near-identity
usual, not even in a round full of copies. All bounds are shares of the way from the round's own median, so they hold
for any model and density. The floor is the largest standard error that an overlap of updates of this size can have,
and at least 0.02.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.scoring.clusters import Threshold
from emerit.scoring.measurement import weighted_median, weighted_quantile

SPREADS: Final = 6.0
SPREAD_FLOOR: Final = 0.02
HIGH_QUANTILE: Final = 0.83
TRUSTED_SHARE: Final = 1 / 3
UNTRUSTED_SHARE: Final = 0.4
HIGHEST_SHARE: Final = 0.5
HIGHEST_LIMIT: Final = 0.95
PAIRS_NEEDED: Final = 3
UNKNOWN_SHARE: Final = 0.75
UNKNOWN_COSINE: Final = 0.9


@dataclass(frozen=True)
class Usual:
    """Who tells what is usual: `witnesses` are places of updates, `weights` float64[n] how much each of all n says.

    `entries` int64[n] are the updates' sizes, `chance` the overlap of two random ones. `trusted` says whether the
    witnesses are trainers that the consensus paid.
    """

    witnesses: Sequence[int]
    weights: NDArray[np.float64]
    entries: NDArray[np.int64]
    chance: float
    trusted: bool

    def threshold(self, values: NDArray[np.float64], chance: float | None = None) -> Threshold:
        """Return usual level, spread and limit of a figure float64[n, n] of pairs; `chance` is its level for noise."""
        pairs = list(combinations(self.witnesses, 2))
        levels = [float(values[a, b]) for a, b in pairs]
        say = [float(min(self.weights[a], self.weights[b])) for a, b in pairs]
        return self._learned(levels, say, self.chance if chance is None else chance)

    def threshold_of(
        self, values: Mapping[tuple[int, int], float], chance: float, *, near_identity: bool = False
    ) -> Threshold:
        """Return the same for a figure of pairs of an update's place and an earlier one's number.

        The limit is halfway from the median to identity, or `near_identity` (`Threshold.near_identity`): honest work of
        two rounds differs by more than that of one.
        """
        witnesses = set(self.witnesses)
        known = {pair: value for pair, value in values.items() if pair[0] in witnesses}
        learned = self._learned(list(known.values()), [float(self.weights[place]) for place, _ in known], chance)
        if learned.median is None:
            return learned
        halfway = learned.median + HIGHEST_SHARE * (1 - learned.median)
        limit = learned.near_identity if near_identity else halfway
        return Threshold(learned.median, learned.spread, min(limit, HIGHEST_LIMIT))

    def _learned(self, levels: Sequence[float], say: Sequence[float], chance: float) -> Threshold:
        if len(levels) < PAIRS_NEEDED:
            # Nothing to learn from. Positions of copies agree beyond what any honest pair was seen to; directions of
            # dense updates may agree by much in a run's first steps.
            return Threshold(None, None, chance + UNKNOWN_SHARE * (1 - chance) if chance else UNKNOWN_COSINE)
        median = weighted_median(levels, say)
        spread = weighted_median([abs(level - median) for level in levels], say)
        # Half of 1 / sqrt(m) is the largest standard error that a share of m entries can have.
        # Witnesses whose scales were clipped to nothing have no entries at all.
        entries = max(1.0, float(np.median(self.entries[list(self.witnesses)])))
        floor = max(SPREAD_FLOOR, 0.5 / math.sqrt(entries))
        limit = median + SPREADS * max(spread, floor)
        limit = max(limit, weighted_quantile(levels, say, HIGH_QUANTILE) + SPREADS * floor)
        way = 1 - median
        lowest = median + (TRUSTED_SHARE if self.trusted else UNTRUSTED_SHARE) * way
        return Threshold(median, spread, min(max(lowest, min(limit, median + HIGHEST_SHARE * way)), HIGHEST_LIMIT))
