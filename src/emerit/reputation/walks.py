"""Random walks: the definition itself, sampled. The independent check of the closed forms, and what is left for them.

Random numbers are a hash of seed, walk and step (the finaliser of SplitMix64: Steele, Lea and Flood, OOPSLA 2014), so
walk number 17 is the same walk whatever is computed beside it and in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.reputation.graph import Floats, Places, Steps, sums

_BATCH: Final = 1 << 16
# So many visits, and pairs of visits, are held at once; a single walk may be longer.
_BATCH_VISITS: Final = 1 << 22
_BATCH_PAIRS: Final = 1 << 22
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11))
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Trace:
    """What walks visited, ordered by walk, then by step.

    Attributes:
        walks: How many walks there are.
        size: Number of nodes.
        walk: int64[visits].
        node: int64[visits].
        step: int64[visits], 0 at the ego.
    """

    walks: int
    size: int
    walk: Places
    node: Places
    step: Places


def uniform(seed: int, walk: Places, step: int) -> Floats:
    """Return float64[k] in [0, 1), the random numbers of int64[k] walks at a step."""
    start = _mixed(walk.astype(np.uint64) ^ _mixed(np.array([seed % (1 << 64)], dtype=np.uint64) + _GOLDEN))
    advance = np.array([(step + 1) * int(_GOLDEN) % (1 << 64)], dtype=np.uint64)
    return (_mixed(start + advance) >> _SHIFTS[3]).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> _SHIFTS[0])) * _FACTORS[0]
    state = (state ^ (state >> _SHIFTS[1])) * _FACTORS[1]
    return state ^ (state >> _SHIFTS[2])


def traces(steps: Steps, ego: int, continue_: float, walks: int, seed: int) -> Iterator[Trace]:
    """Yield that many walks from the ego in batches: 65,536, or as many as make four million visits in the mean.

    A walk goes on with probability `continue_`, and then to a neighbour by the edges' weights; it ends where no edge
    leads on.
    """
    # Node i's edges have keys in (i, i + 1], so that one search finds the edge of node and random number together.
    within = np.cumsum(steps.probability)
    before = np.concatenate([[0.0], within])[steps.starts[steps.source]] if len(within) else within
    keys = steps.source.astype(np.float64) + np.minimum(within - before, 1.0)
    # The rest of the work is by batch, so that memory does not grow with the number of walks or with their length.
    width = max(1, min(_BATCH, int(_BATCH_VISITS * (1.0 - continue_))))
    for begin in range(0, walks, width):
        yield _batch(steps, keys, ego, continue_, np.arange(begin, min(begin + width, walks)), seed)


def _batch(steps: Steps, keys: Floats, ego: int, continue_: float, numbers: Places, seed: int) -> Trace:
    last = steps.starts[1:] - 1
    leads_on = np.diff(steps.starts) > 0
    walk, node = numbers, np.full(len(numbers), ego, dtype=np.int64)
    taken = [(walk, node)]
    while len(walk):
        chance = uniform(seed, walk, len(taken) - 1)
        goes = np.flatnonzero((chance < continue_) & leads_on[node])
        walk, chance, node = walk[goes], chance[goes] / max(continue_, 1e-300), node[goes]
        edge = np.minimum(np.searchsorted(keys, node + chance, side="right"), last[node])
        node = steps.target[np.maximum(edge, steps.starts[node])]
        taken.append((walk, node))
    step = np.repeat(np.arange(len(taken)), [len(each) for each, _ in taken])
    walk, node = np.concatenate([each for each, _ in taken]), np.concatenate([each for _, each in taken])
    order = np.argsort(walk, kind="stable")
    return Trace(len(numbers), steps.size, walk[order] - numbers[0], node[order], step[order])


def first_visits(found: Trace) -> Places:
    """Return the places in the trace, ascending, where a walk meets a node for the first time."""
    key = found.walk * np.int64(found.size) + found.node
    return np.sort(np.unique(key, return_index=True)[1])


@dataclass(frozen=True)
class Counts:
    """Sums over walks of what each visits; of each node at most one visit a walk, if so asked.

    Attributes:
        hits: float64[n]: visits.
        squares: float64[n]: squares of a walk's visits to the node.
        length_squares: Sum of the squares of a walk's visits to all nodes.
    """

    hits: Floats
    squares: Floats
    length_squares: float

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both."""
        squares = self.length_squares + other.length_squares
        return Counts(self.hits + other.hits, self.squares + other.squares, squares)


def counts(found: Trace, unique: bool) -> Counts:
    """Return the counts of a trace, with at most one visit to a node in a walk if `unique`."""
    if unique:
        chosen = first_visits(found)
        hits = squares = np.bincount(found.node[chosen], minlength=found.size).astype(np.float64)
        lengths = np.bincount(found.walk[chosen], minlength=found.walks)
    else:
        key, times = np.unique(found.walk * np.int64(found.size) + found.node, return_counts=True)
        node, often = key % found.size, times.astype(np.float64)
        hits, squares = sums(node, often, found.size), sums(node, often * often, found.size)
        lengths = np.bincount(found.walk, minlength=found.walks)
    return Counts(hits, squares, float((lengths.astype(np.float64) ** 2).sum()))


def disliked_counts(found: Trace, disliked: int, unique: bool) -> Floats:
    """Return float64[n]: visits to each node no later than the walk's last visit to the disliked one."""
    end = np.full(found.walks, -1, dtype=np.int64)
    at = np.flatnonzero(found.node == disliked)
    np.maximum.at(end, found.walk[at], found.step[at])
    chosen = first_visits(found) if unique else np.arange(len(found.node))
    before = chosen[found.step[chosen] <= end[found.walk[chosen]]]
    return np.bincount(found.node[before], minlength=found.size).astype(np.float64)


def pair_counts(found: Trace, ego: int) -> Iterator[tuple[Places, Places]]:
    """Yield int64[pairs] keys u * n + g and how many walks met u, then g, for the first time each; u not the ego.

    A key may come more than once; its counts add up.
    """
    chosen = first_visits(found)
    walk, node = found.walk[chosen], found.node[chosen]
    # In a walk's list of nodes each is followed by all that come after it.
    length = np.bincount(walk, minlength=found.walks)
    ends = np.cumsum(length)
    after = ends[walk] - np.arange(len(walk)) - 1
    after[node == ego] = 0
    upto = np.cumsum(after)
    borders = np.searchsorted(upto, np.arange(_BATCH_PAIRS, int(upto[-1]), _BATCH_PAIRS), side="left") + 1
    for begin, end in pairwise(np.unique([0, *borders.tolist(), len(walk)]).tolist()):
        part = after[begin:end]
        first = np.repeat(np.arange(begin, end), part)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(part) - part, part)
        yield np.unique(node[first] * np.int64(found.size) + node[second], return_counts=True)
