"""Which contributions of a round are copies or parts of one another, or of what came before.

Two figures of a pair: the *overlap* of the kept positions and the |cosine| of the signed values. Rounds of up to
`EXACT_UPDATES` are compared exactly, pair by pair; larger ones by count sketches and a sample (`sketch`), and every
pair that these bring up is then compared exactly (`compare`). Both tails are suspicious.

**Copies** are alike far beyond what is usual in the round (`usual`): no constant would do, as honest trainers of the
0.84M demo model (k = 256 of 4096) overlap by 0.45 to 0.49 with |cosine| 0.49 to 0.53 in the first round and by 0.08
in the last, while two copies that each moved a tenth of their entries overlap by 0.81 throughout.

What is usual is learned from the pairs between trainers that the last consensus paid, each pair with the smaller
of the two weights: newcomers in any number then have no say. Before there are three of them all count the same, and
the limit stays further from the median. Updates whose positions agree with nobody's beyond chance (random noise) have
no say. Where fewer than three are left nothing can be learned, and only near-identity is a copy.

**Splits**: the odd and even halves of one large update share nothing, while any two independent updates share
about k / chunk, and honest ones of a round share more. A pair that shares less than a quarter of what the less
sociable of the two shares with most others (at least of what chance gives) is a split, if at least 64 shared entries
were due by chance (one in 10^11 independent pairs has so few) and if both share the usual amount with the others.
Without the last condition a single update on positions that nobody uses would be "a split" of every honest one.

**Stale** contributions are to one that was paid and applied in the last rounds (the author's own or another's), or to
the last aggregate, what a copy is to its original. Only that counts: an update that nobody judged, or that found no
room, goes back into its trainer's error feedback and may honestly come again.

|cosine|, so that a sign-flipped copy counts. FoolsGold's accumulated histories are not used: honest trainers on
alike data look alike there (measured: weight 0 for six of six).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.scoring.clusters import COPY, SPLIT, Clusters, Groups, Pair, Stale, Threshold, connect
from emerit.scoring.compare import (
    Compared,
    Likeness,
    Vector,
    compare_exactly,
    compare_pairs,
    vector_of,
)
from emerit.scoring.measurement import weighted_median
from emerit.scoring.sketch import Sketches, compare_by_sketch, sketch
from emerit.scoring.trust import say
from emerit.scoring.usual import Usual

EXACT_UPDATES: Final = 24
"""Up to so many updates all pairs are compared exactly, which costs less than sketching them."""
AGGREGATE: Final = -1
"""The slot under which the last aggregate stands among earlier contributions."""
WITNESSES_NEEDED: Final = 3
SPLIT_SHARE: Final = 0.25
SPLIT_DUE: Final = 64.0
ORDINARY_SHARE: Final = 0.5
_CANDIDATE_ERRORS: Final = 5.0
_NOISE_DEVIATIONS: Final = 4.0


@dataclass(frozen=True)
class Earlier:
    """What a contribution may repeat: one that `slot` was paid for in the last rounds, or the last aggregate."""

    slot: int
    content: SparseUpdate | Vector

    @property
    def vector(self) -> Vector:
        """Its entries."""
        return self.content if isinstance(self.content, Vector) else vector_of(self.content)


def overlap(first: SparseUpdate, second: SparseUpdate) -> float:
    """Return |I_a and I_b| / min(|I_a|, |I_b|) over the kept positions of two updates of one shape.

    Entries whose value is 0 do not count (level 0, or a placeholder); 0.0 if either has no others.
    """
    return _pair(first, second).overlap


def abs_cosine(first: SparseUpdate, second: SparseUpdate) -> float:
    """Return the absolute cosine of two updates of one shape as signed vectors; 0.0 if either is all zero."""
    return _pair(first, second).cosine


def find_clusters(
    updates: Mapping[int, SparseUpdate],
    trust: Mapping[int, int],
    chunk: int,
    k: int,
    *,
    seed: bytes | None = None,
    earlier: Sequence[Earlier] = (),
) -> Clusters:
    """Compare all updates of a round (by trainer slot, scales clipped) and cluster those that belong together.

    `trust` has the last round's consensus weight of a slot; weights up to 1, which are not paid, count as none.
    `chunk` and `k` are those of the codec in this round. `seed` (32 bytes that nobody knew before the reveals) keys the
    sketches of a large round; without it every round is compared exactly, one pass over an update's entries for each
    pair. `earlier` is what the updates may repeat.
    """
    slots = sorted(updates)
    places = [updates[slot] for slot in slots]
    sketches = None
    if seed is not None and len(slots) > EXACT_UPDATES:
        sketches = sketch(map(vector_of, places), len(places), seed)
        compared = compare_by_sketch(places, sketches, seed)
    else:
        compared = compare_exactly(places)
    usual, weights = _usual(compared, slots, trust, k / chunk)
    limits = usual.threshold(compared.overlap), usual.threshold(compared.cosine, chance=0.0)
    typical = _typical_rates(compared, weights)
    tell = 2 * k <= chunk  # supports that cover half of the vector agree by chance; there the cosine alone decides
    candidates = _candidates(compared, typical, limits, tell=tell)
    found = _verified(compared, places, candidates, limits, tell=tell)
    pairs = []
    for (a, b), like in found.items():
        if (tell and like.overlap > limits[0].limit) or like.cosine > limits[1].limit:
            pairs.append(Pair(slots[a], slots[b], like.overlap, like.cosine, COPY))
        elif _is_split(like.shared / max(compared.due[a, b], 1.0), compared.due[a, b], min(typical[a], typical[b])):
            pairs.append(Pair(slots[a], slots[b], like.overlap, like.cosine, SPLIT))
    stale = _stale(places, slots, sketches, usual, earlier, seed)
    return connect(pairs, *limits, stale)


def _pair(first: SparseUpdate, second: SparseUpdate) -> Likeness:
    both = (vector_of(first), vector_of(second))
    return compare_pairs(lambda place: both[place], [(0, 1)])[0, 1]


def _usual(
    compared: Compared, slots: Sequence[int], trust: Mapping[int, int], chance: float
) -> tuple[Usual, NDArray[np.float64]]:
    """Return who tells what is usual, and the weights float64[n] of what each of all says."""
    informative = _informative(compared, chance)
    weights = np.array(list(say(slots, trust).values()), dtype=np.float64)
    witnesses = [place for place in informative if weights[place] > 0]
    trusted = len(witnesses) >= WITNESSES_NEEDED
    if not trusted:
        weights, witnesses = np.ones(len(slots)), informative
    return Usual(witnesses, weights, compared.entries, chance, trusted=trusted), weights


def _informative(compared: Compared, chance: float) -> list[int]:
    """Return the places of the updates that agree with at least one other beyond chance.

    In positions; where most positions are sent they say nothing, and agreement is in direction: random signs have a
    cosine of about 1 / sqrt(entries).
    """
    entries = np.maximum(compared.entries, 1)
    if 2 * chance > 1:
        error = np.hypot(1 / np.sqrt(entries), compared.error)
        level = compared.cosine > (_NOISE_DEVIATIONS * error)[:, None]
    else:
        error = np.hypot(np.sqrt(chance * (1 - chance) / entries), compared.error)
        level = compared.overlap > (chance + _NOISE_DEVIATIONS * error)[:, None]
    np.fill_diagonal(level, False)
    return [int(place) for place in np.flatnonzero(level.any(axis=1))]


def _candidates(
    compared: Compared, typical: NDArray[np.float64], limits: tuple[Threshold, Threshold], *, tell: bool
) -> list[tuple[int, int]]:
    """Return the pairs of places that may be beyond a limit, as far as the comparison can tell."""
    margin = _CANDIDATE_ERRORS * compared.error
    alike = compared.cosine > limits[1].limit - margin
    if tell:
        alike |= compared.overlap > limits[0].limit - margin
    # The sampled rate of a split is off by less than its own limit: `sketch.SAMPLE_DUE` sees to it.
    slack = 2.0 if compared.error else 1.0
    lower = np.minimum.outer(typical, typical)
    strange = (compared.due >= SPLIT_DUE) & (lower >= ORDINARY_SHARE)
    strange &= compared.rate < slack * SPLIT_SHARE * np.maximum(lower, 1.0)
    return [(int(a), int(b)) for a, b in np.argwhere(np.triu(alike | strange, 1))]


def _verified(
    compared: Compared,
    places: Sequence[SparseUpdate],
    candidates: Collection[tuple[int, int]],
    limits: tuple[Threshold, Threshold],
    *,
    tell: bool,
) -> dict[tuple[int, int], Likeness]:
    """Return the candidates' exact figures.

    A pair whose sketches are beyond a limit by more than they can err keeps those figures if both are already
    connected by exact ones: among m clones m - 1 comparisons tell that they are, not m * (m - 1) / 2.
    """
    known = {
        (a, b): Likeness(
            round(compared.rate[a, b] * compared.due[a, b]), float(compared.overlap[a, b]), float(compared.cosine[a, b])
        )
        for a, b in candidates
    }
    if not compared.error:
        return known
    margin = _CANDIDATE_ERRORS * compared.error
    groups = Groups()
    redundant = {
        (a, b)
        for (a, b), like in known.items()
        if (like.cosine > limits[1].limit + margin or (tell and like.overlap > limits[0].limit + margin))
        and not groups.join(a, b)
    }
    exact = compare_pairs(lambda place: vector_of(places[place]), set(known) - redundant)
    return known | exact


def _is_split(rate: float, due: float, lower: float) -> bool:
    """Return whether a pair shares far less than both do with others; `rate` and `lower` are multiples of chance."""
    return due >= SPLIT_DUE and lower >= ORDINARY_SHARE and rate < SPLIT_SHARE * max(1.0, lower)


def _typical_rates(compared: Compared, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[n]: how often an update shares entries with most others, as a multiple of chance.

    The least of its rates does not count, as it is the one that is asked about. 1 where no other is left that has a
    say and with whom chance shares enough to tell.
    """
    count = len(weights)
    typical = np.ones(count)
    for place in range(count):
        known = (compared.due[place] >= SPLIT_DUE) & (weights > 0)
        known[place] = False
        if known.any():
            known[np.argmin(np.where(known, compared.rate[place], np.inf))] = False
        if known.any():
            typical[place] = weighted_median(compared.rate[place, known].tolist(), weights[known].tolist())
    return typical


def _stale(
    places: Sequence[SparseUpdate],
    slots: Sequence[int],
    sketches: Sketches | None,
    usual: Usual,
    earlier: Sequence[Earlier],
    seed: bytes | None,
) -> tuple[Stale, ...]:
    """Return which updates are to something earlier what a copy is to its original, the most alike of each.

    Aggregates, a trainer's own earlier work and that of others are each compared with what is usual of their kind: two
    rounds' work of one trainer is more alike than that of two, by as much as its text is.
    """
    found: dict[int, Stale] = {}
    kinds: tuple[list[tuple[int, int]], ...] = ([], [], [])
    for place, slot in enumerate(slots):
        for number, old in enumerate(earlier):
            kinds[0 if old.slot == AGGREGATE else 1 if old.slot == slot else 2].append((place, number))
    against = _Against(places, earlier, sketches, seed) if earlier and places else None
    for pairs in filter(None, kinds):
        assert against is not None
        for (place, number), like in against.repeats(pairs, usual).items():
            item = Stale(slots[place], earlier[number].slot, like.overlap, like.cosine)
            known = found.get(item.slot)
            if known is None or max(item.overlap, item.cosine) > max(known.overlap, known.cosine):
                found[item.slot] = item
    return tuple(found[slot] for slot in sorted(found))


class _Against:
    """A round's updates beside earlier ones: exactly where nothing was sketched, else by sketches first.

    Vectors are made as they are needed: those of all that is remembered would take as much memory again.
    """

    def __init__(
        self,
        places: Sequence[SparseUpdate],
        earlier: Sequence[Earlier],
        sketches: Sketches | None,
        seed: bytes | None,
    ) -> None:
        self._places, self._earlier = places, earlier
        shape = (len(places), len(earlier))
        self._exact: dict[tuple[int, int], Likeness] = {}
        if sketches is None or seed is None:
            self._compare(list(np.ndindex(shape)))
            self._overlap = np.array([self._exact[pair].overlap for pair in np.ndindex(shape)]).reshape(shape)
            self._cosine = np.array([self._exact[pair].cosine for pair in np.ndindex(shape)]).reshape(shape)
            self._margin = np.zeros(len(earlier))
        else:
            old = sketch((item.vector for item in earlier), len(earlier), seed)
            self._overlap, self._cosine = sketches.against(old)
            # An aggregate has more entries than an update, so its overlaps are less exact.
            sizes = np.maximum(1.0, old.entries / max(1.0, float(np.median(sketches.entries))))
            self._margin = _CANDIDATE_ERRORS * sketches.error * np.sqrt(sizes)

    def repeats(self, pairs: Sequence[tuple[int, int]], usual: Usual) -> dict[tuple[int, int], Likeness]:
        """Return those of the pairs (place, number of the earlier one), all of one kind, that are too much alike."""
        first = self._earlier[pairs[0][1]].vector
        chance = len(first.indices) / max(first.size, 1)
        # Whoever was not in the aggregate has what it holds still to send, and is honestly much more like it.
        near = self._earlier[pairs[0][1]].slot == AGGREGATE
        known = [{pair: float(figure[pair]) for pair in pairs} for figure in (self._overlap, self._cosine)]
        overlap = usual.threshold_of(known[0], chance, near_identity=near).limit
        cosine = usual.threshold_of(known[1], 0.0, near_identity=near).limit
        tell = 2 * chance <= 1

        def alike(pair: tuple[int, int]) -> bool:
            margin = self._margin[pair[1]]
            return bool(self._cosine[pair] > cosine - margin or (tell and self._overlap[pair] > overlap - margin))

        candidates = [pair for pair in pairs if alike(pair)]
        self._compare([pair for pair in candidates if pair not in self._exact])
        found = {pair: self._exact[pair] for pair in candidates}
        return {pair: like for pair, like in found.items() if (tell and like.overlap > overlap) or like.cosine > cosine}

    def _compare(self, pairs: Sequence[tuple[int, int]]) -> None:
        count = len(self._places)

        def vector(place: int) -> Vector:
            return vector_of(self._places[place]) if place < count else self._earlier[place - count].vector

        likes = compare_pairs(vector, [(place, count + number) for place, number in pairs])
        self._exact |= {(place, number - count): like for (place, number), like in likes.items()}
