"""Robust aggregation from the literature, for comparison: rules that look at updates only and measure no loss.

Each is written from its paper. Two things are the same for all, so that only the rule is compared. A coordinate is
averaged over those that sent it, as the run does: of plain sparse vectors a median is nearly zero. And whoever is in
the aggregate is paid: alike where a rule only chooses, by its weight where it weighs. Rules that must know how many
attack are told (`attacker_count`); in a run nobody knows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import UNIT
from emerit.lab.defence import FULL_WEIGHT, Defence, Opinion, Step, equal_weights, integer_step, weighted_step
from emerit.lab.view import Seen

WEISZFELD_STEPS = 100
WEISZFELD_TOLERANCE = 1e-9
CLIPPING_STEPS = 3


class Mean(Defence):
    """Everybody counts the same."""

    name = "mean"
    source = "McMahan et al., FedAvg, arXiv 1602.05629"
    says = "The mean of all updates; everybody is paid alike."

    def weigh(self, seen: Seen) -> Opinion:
        """Pay all alike."""
        return equal_weights(seen)

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average without any clipping."""
        return weighted_step(seen, dict.fromkeys(slots, 1.0))


class _Coordinatewise(Defence):
    """A rule for each coordinate by itself; it chooses nobody, so it pays all alike."""

    def weigh(self, seen: Seen) -> Opinion:
        """Pay all alike."""
        return equal_weights(seen)

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Apply the rule to the values that were sent, and weaken coordinates that few have sent."""
        outer = seen.arena.manifest.outer
        stacked = sent_values(seen, slots)
        counts = np.sum(~np.isnan(stacked), axis=0)
        places = np.flatnonzero(counts)
        step = np.zeros(stacked.shape[1])
        step[places] = self.of_columns(stacked[:, places], attacker_count(seen))
        share = counts / np.maximum(counts, outer.divisor_floor)
        return integer_step(step * share * outer.lr_numerator / outer.lr_denominator)

    @abstractmethod
    def of_columns(self, values: NDArray[np.float64], f: int) -> NDArray[np.float64]:
        """Return one value for each column of float64[n, m], in which NaN was not sent and f rows may be bad."""


class CoordinateMedian(_Coordinatewise):
    """The middle value."""

    name = "coordinate-median"
    source = "Yin et al., arXiv 1803.01498"
    says = "The median of each coordinate over those that sent it; everybody is paid alike."

    def of_columns(self, values: NDArray[np.float64], f: int) -> NDArray[np.float64]:
        """Return the medians."""
        return np.asarray(np.nanmedian(values, axis=0), dtype=np.float64)


class TrimmedMean(_Coordinatewise):
    """The mean without the extremes."""

    name = "trimmed-mean"
    source = "Yin et al., arXiv 1803.01498"
    says = "The mean of each coordinate without the f largest and the f smallest values, if so many sent it."

    def of_columns(self, values: NDArray[np.float64], f: int) -> NDArray[np.float64]:
        """Return the means of what is left; of at most 2 f values the median."""
        ordered = np.sort(values, axis=0)
        counts = np.sum(~np.isnan(values), axis=0)
        trim = np.minimum(f, (counts - 1) // 2)
        row = np.arange(len(values))[:, None]
        kept = (row >= trim) & (row < counts - trim)
        return np.where(kept, np.nan_to_num(ordered), 0.0).sum(axis=0) / np.maximum(kept.sum(axis=0), 1)


class Krum(Defence):
    """The update that is closest to the others."""

    name = "krum"
    source = "Blanchard et al., Machine learning with adversaries, NeurIPS 2017"
    says = "The one update whose n - f - 2 nearest are nearest; it alone is paid."
    several = False

    def weigh(self, seen: Seen) -> Opinion:
        """Pay the chosen."""
        slots = sorted(seen.updates)
        if not slots:
            return equal_weights(seen)
        scores = krum_scores(squared_distances(dense_rows(seen, slots)), attacker_count(seen))
        best = np.argsort(scores, kind="stable")[: max(1, len(slots) - attacker_count(seen)) if self.several else 1]
        return equal_weights(seen, sorted(slots[int(at)] for at in best))

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average the chosen."""
        return weighted_step(seen, dict.fromkeys(slots, 1.0))


class MultiKrum(Krum):
    """The n - f updates that are closest to the others."""

    name = "multi-krum"
    says = "The n - f updates of the best Krum scores; they are paid alike."
    several = True


class GeometricMedian(Defence):
    """The point with the smallest sum of distances."""

    name = "geometric-median"
    source = "Chen, Su and Xu, arXiv 1705.05491; Pillutla, Kakade and Harchaoui, arXiv 1912.13445 (Weiszfeld)"
    says = "A weighted mean, the weights those of the geometric median; pay by weight."

    def weigh(self, seen: Seen) -> Opinion:
        """Pay by weight."""
        slots = sorted(seen.updates)
        return (
            by_weight(seen, dict(zip(slots, weiszfeld(dense_rows(seen, slots)), strict=True)))
            if slots
            else (equal_weights(seen))
        )

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average with the weights."""
        return weighted_step(seen, dict(zip(slots, weiszfeld(dense_rows(seen, slots)), strict=True)))


class CentredClipping(Defence):
    """Steps towards the mean, each update's part of it clipped around the last step."""

    name = "centred-clipping"
    source = "Karimireddy, He and Jaggi, Learning from history, arXiv 2012.10333"
    says = (
        "The last step plus the mean of differences to it, clipped at their median norm; pay by what is left of each."
    )

    def weigh(self, seen: Seen) -> Opinion:
        """Pay by the clipping factor."""
        slots = sorted(seen.updates)
        return (
            by_weight(seen, dict(zip(slots, self._factors(seen, slots), strict=True)))
            if slots
            else (equal_weights(seen))
        )

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average with the clipping factors."""
        return weighted_step(seen, dict(zip(slots, self._factors(seen, slots), strict=True)))

    def _factors(self, seen: Seen, slots: Sequence[int]) -> NDArray[np.float64]:
        rows = dense_rows(seen, slots)
        if not len(rows):
            return np.ones(0)
        centre = seen.past[-1].step.astype(np.float64) if seen.past else np.zeros(rows.shape[1])
        factors = np.ones(len(rows))
        for _ in range(CLIPPING_STEPS):
            distances = np.maximum(np.linalg.norm(rows - centre, axis=1), 1e-30)
            factors = np.minimum(1.0, np.median(distances) / distances)
            centre = centre + (factors[:, None] * (rows - centre)).mean(axis=0)
        return factors


class FoolsGold(Defence):
    """Less for those who have always looked alike."""

    name = "foolsgold"
    source = "Fung, Yoon and Beschastnikh, arXiv 1808.04866"
    says = "Weights from the cosines of accumulated updates: who resembles somebody gets little; pay by weight."

    def __init__(self) -> None:
        """Start with empty histories."""
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._weights: dict[int, float] = {}

    def weigh(self, seen: Seen) -> Opinion:
        """Add the round to the histories and pay by weight."""
        slots = sorted(seen.updates)
        for slot, row in zip(slots, dense_rows(seen, slots), strict=True):
            self._sums[slot] = self._sums.get(slot, 0.0) + row
        self._weights = {}
        if slots:
            found = foolsgold_weights(np.stack([self._sums[slot] for slot in slots]))
            self._weights = dict(zip(slots, (float(weight) for weight in found), strict=True))
        return by_weight(seen, self._weights)

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average with the weights."""
        return weighted_step(seen, {slot: self._weights[slot] for slot in slots})


def attacker_count(seen: Seen) -> int:
    """Return how many attack, at most what leaves a majority of the updates: what these rules have to be told."""
    f = seen.arena.settings.identities(seen.arena.settings.trainers)
    return max(0, min(f, (len(seen.updates) - 1) // 2))


def dense_rows(seen: Seen, slots: Sequence[int]) -> NDArray[np.float64]:
    """Return float64[n, P]: the updates of these slots as vectors."""
    return np.array([seen.updates[slot].dense() for slot in slots], dtype=np.float64)


def sent_values(seen: Seen, slots: Sequence[int]) -> NDArray[np.float64]:
    """Return float64[n, P] in units of 2^-24, NaN where an update sent nothing."""
    size = len(seen.values)
    stacked = np.full((len(slots), size), np.nan)
    for row, slot in zip(stacked, slots, strict=True):
        update = seen.updates[slot]
        row[update.indices] = np.where(update.live(), update.values().astype(np.float64), np.nan)
    return stacked


def by_weight(seen: Seen, weights: Mapping[int, float]) -> Opinion:
    """Return the opinion that pays in proportion to weights in [0, 1]; below a thousandth is nothing."""
    whole = {slot: round(weight * FULL_WEIGHT) if weight >= 1e-3 else 0 for slot, weight in weights.items()}
    codes = {slot: "weighed" if whole[slot] else "left-out" for slot in whole} | dict(seen.refused)
    return Opinion.of_weights(seen.arena.settings.trainers, whole, codes)


def squared_distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[n, n] of the rows of float64[n, P]."""
    gram = rows @ rows.T
    lengths = np.diag(gram)
    return np.maximum(0.0, lengths[:, None] + lengths[None, :] - 2 * gram)


def krum_scores(distances: NDArray[np.float64], f: int) -> NDArray[np.float64]:
    """Return float64[n]: each one's sum of squared distances to its n - f - 2 nearest (at least one)."""
    n = len(distances)
    nearest = np.sort(distances, axis=1)[:, 1 : 1 + max(1, n - f - 2)]
    return np.asarray(nearest.sum(axis=1), dtype=np.float64)


def weiszfeld(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[n], the largest 1: the weights with which the rows' mean is their geometric median."""
    weights = np.ones(len(rows))
    if not len(rows):
        return weights
    centre = rows.mean(axis=0)
    for _ in range(WEISZFELD_STEPS):
        distances = np.maximum(np.linalg.norm(rows - centre, axis=1), UNIT)
        weights = 1.0 / distances
        moved = (weights[:, None] * rows).sum(axis=0) / weights.sum()
        shift = float(np.linalg.norm(moved - centre))
        centre = moved
        if shift <= WEISZFELD_TOLERANCE * max(1.0, float(np.linalg.norm(centre))):
            break
    return np.asarray(weights / weights.max(), dtype=np.float64)


def foolsgold_weights(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[n] in [0, 1] from accumulated updates float64[n, P]: cosines, pardon, logit with kappa 1."""
    n = len(sums)
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-30)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 0.0)
    if n < 2:
        return np.ones(n)
    highest = np.maximum(cosine.max(axis=1), 1e-5)
    pardon = np.minimum(1.0, highest[:, None] / highest[None, :])
    weights = np.clip(1.0 - (cosine * pardon).max(axis=1), 0.0, 1.0)
    weights = np.clip(weights / max(float(weights.max()), 1e-30), 1e-9, 0.99)
    return np.clip(np.log(weights / (1 - weights)) + 0.5, 0.0, 1.0)
