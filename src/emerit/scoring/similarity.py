"""Which contributions of a round are copies or parts of one another.

Two figures of a pair, both exact: the *overlap* of the kept positions and the |cosine| of the signed values.
Both tails are suspicious.

**Copies** are alike far beyond what is usual in the round: above median + 6 * max(MAD, floor) over all pairs, but
never above the point half way from the median to identity, nor above 0.95 or below 0.5. Honest trainers of the
0.84M demo model (k = 256 of 4096) overlap by 0.45 to 0.49 with |cosine| 0.49 to 0.53 in the first round and by 0.08
in the last, so no constant would do; two copies that each moved a tenth of their entries overlap by 0.81
throughout. The lower bound says that whoever replaced half of a copy is left to the loss (it scores about half) and
to the gap; the upper bounds, that no spread makes near-identity usual, not even in a round full of copies.

What is usual is learned from the pairs between trainers that the last consensus paid, each pair with the smaller
of the two weights: newcomers in any number then have no say. Before there are three of them all count the same, and
as odd strangers can then pull the median down, the lower bound is 0.65. Updates whose positions agree with nobody's
beyond chance (random noise) have no say unless nearly all are like that. A round with fewer than five updates has no
usual level: there 0.9 holds.

**Splits**: the odd and even halves of one large update share nothing, while any two independent updates share
about k / chunk. A pair that shares less than a quarter of that is a split, if at least 64 shared entries were due
(by chance one in 10^11 independent pairs has so few) and if both share the usual amount with the others. Without
the last condition a single update on positions that nobody uses would be "a split" of every honest one.

|cosine|, so that a sign-flipped copy counts. FoolsGold's accumulated histories are not used: honest trainers on
alike data look alike there (measured: weight 0 for six of six).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate, chunk_lengths
from emerit.protocol.settlement_tree import payable
from emerit.scoring.clusters import COPY, SPLIT, Clusters, Pair, Threshold, connect
from emerit.scoring.measurement import weighted_median

SPREADS: Final = 6.0
SPREAD_FLOOR: Final = 0.02
LOWEST_LIMIT: Final = 0.5
LOWEST_UNTRUSTED_LIMIT: Final = 0.65
HIGHEST_LIMIT: Final = 0.95
FEW_UPDATES: Final = 5
FEW_LIMIT: Final = 0.9
WITNESSES_NEEDED: Final = 3
SPLIT_SHARE: Final = 0.25
SPLIT_DUE: Final = 64.0
ORDINARY_SHARE: Final = 0.5
_NOISE_DEVIATIONS: Final = 4.0


def overlap(first: SparseUpdate, second: SparseUpdate) -> float:
    """Return |I_a and I_b| / min(|I_a|, |I_b|) over the kept positions of two updates of one shape.

    Entries whose value is 0 do not count (level 0, or a placeholder); 0.0 if either has no others.
    """
    return float(_compare([first, second]).overlap[0, 1])


def abs_cosine(first: SparseUpdate, second: SparseUpdate) -> float:
    """Return the absolute cosine of two updates of one shape as signed vectors; 0.0 if either is all zero."""
    return float(_compare([first, second]).cosine[0, 1])


def find_clusters(updates: Mapping[int, SparseUpdate], trust: Mapping[int, int], chunk: int, k: int) -> Clusters:
    """Compare all updates of a round (by trainer slot, scales clipped) and cluster those that belong together.

    `trust` has the last round's consensus weight of a slot; weights up to 1, which are not paid, count as none.
    `chunk` and `k` are those of the codec in this round. Costs one pass over an update's entries for each pair.
    """
    slots = sorted(updates)
    compared = _compare([updates[slot] for slot in slots])
    informative = _informative(compared, k / chunk)
    weights = np.array([payable(trust.get(slot, 0)) for slot in slots], dtype=np.float64)
    witnesses = [place for place in informative if weights[place] > 0]
    lowest = LOWEST_LIMIT
    if len(witnesses) < WITNESSES_NEEDED:
        weights, lowest = np.ones(len(slots)), LOWEST_UNTRUSTED_LIMIT
        witnesses = informative if len(informative) >= WITNESSES_NEEDED else list(range(len(slots)))
    usual = _Usual(witnesses, weights, compared.entries, lowest)
    overlap_limit, cosine_limit = usual.threshold(compared.overlap), usual.threshold(compared.cosine)
    pairs = []
    for a, b in combinations(range(len(slots)), 2):
        shared, cosine = float(compared.overlap[a, b]), float(compared.cosine[a, b])
        # Supports that cover half of the vector agree by chance; there the cosine alone decides.
        if (shared > overlap_limit.limit and 2 * k <= chunk) or cosine > cosine_limit.limit:
            pairs.append(Pair(slots[a], slots[b], shared, cosine, COPY))
        elif _is_split(compared, a, b, weights):
            pairs.append(Pair(slots[a], slots[b], shared, cosine, SPLIT))
    return connect(pairs, overlap_limit, cosine_limit)


@dataclass(frozen=True)
class _Compared:
    """All pairs of n updates, float64[n, n] each: overlap, |cosine|, shared entries, those due by chance.

    `entries` int64[n] counts the entries that are not placeholders.
    """

    overlap: NDArray[np.float64]
    cosine: NDArray[np.float64]
    shared: NDArray[np.float64]
    due: NDArray[np.float64]
    entries: NDArray[np.int64]


def _compare(updates: Sequence[SparseUpdate]) -> _Compared:
    count = len(updates)
    values = [update.values().astype(np.float64) for update in updates]
    entries = np.array([np.count_nonzero(part) for part in values], dtype=np.int64)
    norms = np.array([np.sqrt(part @ part) for part in values], dtype=np.float64)
    shared, dots = np.zeros((count, count)), np.zeros((count, count))
    spread = np.zeros(updates[0].size if updates else 0)
    for a, update in enumerate(updates):
        spread[update.indices] = values[a]
        for b in range(a + 1, count):
            products = spread[updates[b].indices] * values[b]
            # A shared position is a product that is not 0.
            shared[a, b] = shared[b, a] = np.count_nonzero(products)
            dots[a, b] = dots[b, a] = products.sum()
        spread[update.indices] = 0.0
    smaller = np.minimum.outer(entries, entries)
    lengths = np.outer(norms, norms)
    return _Compared(
        np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0),
        np.divide(np.abs(dots), lengths, out=np.zeros_like(dots), where=lengths > 0),
        shared,
        _due(updates, values),
        entries,
    )


def _due(updates: Sequence[SparseUpdate], values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return float64[n, n]: entries that two independent updates share, a_c * b_c / length_c over the chunks c.

    a_c and b_c count the entries with a value; with top-k codecs each is k_c or 0.
    """
    if not updates:
        return np.zeros((0, 0))
    kept = updates[0].kept()
    starts = np.cumsum(kept) - kept
    used = np.stack([np.add.reduceat(part != 0, starts, dtype=np.float64) for part in values])
    result: NDArray[np.float64] = (used / chunk_lengths(updates[0].size, updates[0].chunk)) @ used.T
    return result


def _informative(compared: _Compared, chance: float) -> list[int]:
    """Return the places of the updates that agree with at least one other beyond chance.

    In positions; where most positions are sent they say nothing, and agreement is in direction: random signs have a
    cosine of about 1 / sqrt(entries).
    """
    if 2 * chance > 1:
        level = compared.cosine > (_NOISE_DEVIATIONS / np.sqrt(np.maximum(compared.entries, 1)))[:, None]
    else:
        error = np.sqrt(chance * (1 - chance) / np.maximum(compared.entries, 1))
        level = compared.overlap > (chance + _NOISE_DEVIATIONS * error)[:, None]
    np.fill_diagonal(level, False)
    return [int(place) for place in np.flatnonzero(level.any(axis=1))]


@dataclass(frozen=True)
class _Usual:
    """Who tells what is usual: `witnesses` are places of updates, `weights` float64[n] how much each of all n says."""

    witnesses: Sequence[int]
    weights: NDArray[np.float64]
    entries: NDArray[np.int64]
    lowest: float

    def threshold(self, values: NDArray[np.float64]) -> Threshold:
        """Return the usual level of the pair values float64[n, n], and the limit above which a pair is a copy."""
        if len(self.entries) < FEW_UPDATES:
            return Threshold(None, None, FEW_LIMIT)
        pairs = list(combinations(self.witnesses, 2))
        levels = [float(values[a, b]) for a, b in pairs]
        say = [float(min(self.weights[a], self.weights[b])) for a, b in pairs]
        median = weighted_median(levels, say)
        spread = weighted_median([abs(level - median) for level in levels], say)
        # Half of 1 / sqrt(m) is the largest standard error that a share of m entries can have.
        # Witnesses whose scales were clipped to nothing have no entries at all.
        entries = max(1.0, float(np.median(self.entries[list(self.witnesses)])))
        sampling = 0.5 / math.sqrt(entries)
        limit = median + SPREADS * max(spread, SPREAD_FLOOR, sampling)
        return Threshold(median, spread, max(self.lowest, min(limit, (1 + median) / 2, HIGHEST_LIMIT)))


def _is_split(compared: _Compared, a: int, b: int, weights: NDArray[np.float64]) -> bool:
    due = compared.due[a, b]
    if due < SPLIT_DUE or compared.shared[a, b] >= SPLIT_SHARE * due:
        return False
    others = [place for place in range(len(weights)) if place not in (a, b) and weights[place] > 0]
    return _is_ordinary(compared, a, others, weights) and _is_ordinary(compared, b, others, weights)


def _is_ordinary(compared: _Compared, place: int, others: Iterable[int], weights: NDArray[np.float64]) -> bool:
    """Return whether an update shares with most others at least half of what is due by chance."""
    known = [other for other in others if compared.due[place, other] >= SPLIT_DUE]
    if not known:
        return True
    shares = [float(compared.shared[place, other] / compared.due[place, other]) for other in known]
    return weighted_median(shares, [float(weights[other]) for other in known]) >= ORDINARY_SHARE
