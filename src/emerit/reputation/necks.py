"""Necks of single nodes, at any size, by power iteration.

The walks to g that pass u first are at most visits[u] * P(u reaches g), so one solution for g leaves few u, often
none, that can take a share of the threshold; each of those costs one more solution, on the graph without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emerit.reputation.graph import Steps
from emerit.reputation.series import Solution, hitting_of

# Shares that agree to 12 digits are the same share: what equals the threshold on paper reaches it.
SAME_SHARE = 1e-12


@dataclass(frozen=True)
class Neck:
    """The largest share of a node's walks that pass one other node.

    Attributes:
        share: The neck, or its upper bound where that is below what was asked for.
        through: The number of the other node; -1 where only a bound is known or there is none.
    """

    share: float
    through: int


def least_share(threshold: float) -> float:
    """Return what a neck has to be above to reach the threshold: it counts as reached if 12 digits agree."""
    return threshold - SAME_SHARE / 2


def neck_of(steps: Steps, ego: int, goal: int, visits: Solution, continue_: float, at_least: float) -> Neck:
    """Return a node's neck if it is `at_least` that, else an upper bound below it.

    Args:
        steps: The graph's steps.
        ego: Where walks begin.
        goal: Another node, reached from the ego.
        visits: Expected visits from the ego (`series.visits_from`).
        continue_: The probability to go on at each step.
        at_least: The share from which on the neck is wanted exactly.
    """
    # A node that walks visit v times in the mean is reached with a probability of at least v (1 - a).
    fine = 1e-14 * max(float(visits.values[goal]) * (1 - continue_), 1e-280)
    reach = hitting_of(steps, goal, continue_, tolerance=fine).values
    whole = float(reach[ego])
    if whole <= 0.0:
        return Neck(0.0, -1)
    bounds = np.minimum((visits.values + visits.error) * reach / whole, 1.0)
    bounds[[ego, goal]] = 0.0
    best, through = 0.0, -1
    for node in np.argsort(-bounds, kind="stable"):
        if bounds[node] < max(at_least - SAME_SHARE, best) or bounds[node] == 0.0:
            break
        past = hitting_of(steps, goal, continue_, avoid=(int(node),), tolerance=fine).values
        share = 1.0 - float(past[ego]) / whole
        if share > best + SAME_SHARE:
            best, through = share, int(node)
        if best >= 1.0 - SAME_SHARE:
            break
    if best > least_share(at_least):
        return Neck(best, through)
    return Neck(max(best, min(float(bounds.max()), at_least - SAME_SHARE)), -1)
