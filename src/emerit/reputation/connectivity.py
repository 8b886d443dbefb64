"""Whose walks hang on one other node: the necks of a whole graph, by whichever way is exact and quick enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.reputation.cuts import heads
from emerit.reputation.dense import DENSE_NODES, Reaches, all_necks, dense_error, reaches
from emerit.reputation.fixed_point import ranked, to_fixed
from emerit.reputation.graph import Floats, Places, Steps
from emerit.reputation.necks import SAME_SHARE, least_share, neck_of
from emerit.reputation.result import Necks, Parameters
from emerit.reputation.series import visits_from
from emerit.reputation.walks import Trace, first_visits, pair_counts

EXAMINED: Final = 100


@dataclass(frozen=True)
class Priority:
    """Whose necks are looked for on a large graph: the highest of float64[n] scores, and the nodes `wanted`."""

    scores: Floats
    examined: int
    wanted: Sequence[int]


def exact_necks(
    steps: Steps, ego: int, chosen: Parameters, priority: Priority, between: Reaches | None = None
) -> Necks:
    """Return the necks from the ego.

    At a threshold of 1 by dominators. Below it, for all pairs up to DENSE_NODES reached nodes (`between`, if that is
    known already); on larger graphs by `priority`, besides those whom a dominator or a direct edge decides.
    """
    share, through, reached = _dominated(steps, ego)
    if chosen.threshold >= 1.0:
        # Whoever is not dominated has a neck below 1; how far below was not asked.
        share[reached & (through < 0)] = np.nextafter(1.0, 0.0)
        share[ego] = 0.0
        return Necks(share, through, through >= 0, np.ones(steps.size, dtype=np.bool_))
    nodes = np.flatnonzero(reached)
    if len(nodes) <= DENSE_NODES:
        between = reaches(steps, nodes, ego, chosen.continue_) if between is None else between
        return _all_pairs(steps, between, chosen, (share, through))
    return some_necks(steps, ego, chosen, priority)


def _dominated(steps: Steps, ego: int) -> tuple[Floats, Places, NDArray[np.bool_]]:
    """Return necks and through whom for the nodes that one other node dominates (else 0 and -1), and who is reached."""
    head = heads(steps, ego)
    reached = head >= 0
    dominated = reached & (head != np.arange(steps.size))
    return dominated.astype(np.float64), np.where(dominated, head, -1), reached


def _all_pairs(steps: Steps, between: Reaches, chosen: Parameters, known: tuple[Floats, Places]) -> Necks:
    share, through = known
    nodes, dominated = between.nodes, through >= 0
    ego = int(nodes[between.ego])
    found, by = all_necks(between)
    free = ~dominated[nodes]
    share[nodes[free]], through[nodes[free]] = found[free], by[free]
    border = least_share(chosen.threshold)
    doubtful = nodes[free & (nodes != ego) & (np.abs(found - border) < dense_error(chosen.continue_))]
    if len(doubtful):
        visits = visits_from(steps, ego, chosen.continue_)
        for goal in doubtful.tolist():
            neck = neck_of(steps, ego, goal, visits, chosen.continue_, chosen.threshold)
            share[goal], through[goal] = neck.share, neck.through
    cut = dominated | (share > least_share(chosen.threshold))
    return Necks(share, through, cut, np.ones(steps.size, dtype=np.bool_))


def some_necks(steps: Steps, ego: int, chosen: Parameters, priority: Priority) -> Necks:
    """Return the necks of those whom a dominator or a direct edge decides, or who have priority, at any size."""
    share, through, _ = _dominated(steps, ego)
    dominated = through >= 0
    visits = visits_from(steps, ego, chosen.continue_)
    # A first step from the ego passes nobody, so a neighbour's neck is at most 1 - a P[s, g] / H[s, g].
    bound = np.ones(steps.size)
    direct = np.arange(steps.starts[ego], steps.starts[ego + 1])
    neighbours = steps.target[direct]
    most = np.minimum(visits.values[neighbours] + visits.error, 1.0)
    at_once = np.divide(chosen.continue_ * steps.probability[direct], most, out=np.zeros(len(direct)), where=most > 0)
    bound[neighbours] = 1.0 - at_once
    decided = dominated | (bound < chosen.threshold - SAME_SHARE) | (visits.values <= 0)
    decided[ego] = True
    free = ~dominated
    share[free] = np.where(visits.values[free] > 0, bound[free], 0.0)
    share[ego] = 0.0
    highest = [at for at in ranked(to_fixed(priority.scores)).tolist() if not decided[at]]
    highest = highest[: priority.examined]
    for goal in dict.fromkeys([*highest, *(at for at in priority.wanted if not decided[at])]):
        neck = neck_of(steps, ego, goal, visits, chosen.continue_, chosen.threshold)
        share[goal], through[goal], decided[goal] = neck.share, neck.through, True
    cut = dominated | (decided & (share > least_share(chosen.threshold)))
    return Necks(share, through, cut, decided)


class SampledNecks:
    """Necks as counted on walks, a batch at a time."""

    def __init__(self, size: int, ego: int) -> None:
        """Begin without walks on n = size nodes."""
        self._size, self._ego = size, ego
        self._hits = np.zeros(size, dtype=np.int64)
        self._keys = np.zeros(0, dtype=np.int64)
        self._times: Places = np.zeros(0, dtype=np.int64)

    def add(self, found: Trace) -> None:
        """Count a batch of walks."""
        self._hits += np.bincount(found.node[first_visits(found)], minlength=self._size)
        for keys, times in pair_counts(found, self._ego):
            self._keys, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
            upto = np.zeros(len(self._keys), dtype=np.int64)
            np.add.at(upto, place, np.concatenate([self._times, times]))
            self._times = upto

    def necks(self, threshold: float) -> Necks:
        """Return the necks of all that was counted."""
        size, ego, hits, keys, times = self._size, self._ego, self._hits, self._keys, self._times
        goals = keys % size
        largest = np.zeros(size, dtype=np.int64)
        np.maximum.at(largest, goals, times)
        through = np.full(size, -1, dtype=np.int64)
        best = times == largest[goals]
        # From the last to the first, so that the lowest number stays.
        through[goals[best][::-1]] = (keys[best] // size)[::-1]
        share = np.divide(largest, hits, out=np.zeros(size), where=hits > 0)
        share[ego], through[ego] = 0.0, -1
        cut = (hits > 0) & (share > least_share(threshold))
        return Necks(share, through, cut, np.ones(size, dtype=np.bool_))
