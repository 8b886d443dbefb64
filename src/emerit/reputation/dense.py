"""Closed forms from one dense inverse: unique visits of all nodes, and every node's neck, on graphs of some thousand.

With G = (I - a P)^-1 (G[x, y]: expected visits to y of a walk from x that goes on with probability a):

    H[x, y] = G[x, y] / G[y, y]                           a walk from x ever reaches y
    B[u, g] = (H[s, u] - H[s, g] H[g, u])                 a walk from s reaches u, and not g before
              / (1 - H[u, g] H[g, u])
    neck(g) = max_u B[u, g] H[u, g] / H[s, g]             the largest share of the walks to g that pass one other node

The neck is the ratio of the authors' connectivity decay (arXiv 2207.09950), on first visits.

I - a P is inverted as its transpose: that is diagonally dominant by columns, so elimination exchanges no rows, no two
numbers of opposite sign are added off the diagonal, and small entries keep their relative precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.reputation.graph import Floats, Places, Steps

DENSE_NODES: Final = 4_000
_BLOCK_ENTRIES: Final = 1 << 22


@dataclass(frozen=True)
class Reaches:
    """Probabilities between the nodes that the ego reaches.

    Attributes:
        nodes: int64[k], their numbers in the graph, ascending.
        ego: The ego's place among them.
        chance: float64[k, k], H above.
    """

    nodes: Places
    ego: int
    chance: NDArray[np.float64]


def dense_error(continue_: float) -> float:
    """Return more than the matrix library's error in any entry of H; the condition is at most (1 + a) / (1 - a)."""
    return 2e-14 / (1.0 - continue_)


def reaches(steps: Steps, nodes: Places, ego: int, continue_: float) -> Reaches:
    """Return H between int64[k] nodes, ascending and closed under steps; k^3 operations, 16 k^2 bytes."""
    count = len(nodes)
    place = np.full(steps.size, -1, dtype=np.int64)
    place[nodes] = np.arange(count)
    inner = place[steps.source] >= 0
    transposed = np.eye(count)
    transposed[place[steps.target[inner]], place[steps.source[inner]]] -= continue_ * steps.probability[inner]
    visits = np.linalg.inv(transposed).T
    chance = np.maximum(visits, 0.0) / np.diagonal(visits)
    np.fill_diagonal(chance, 1.0)
    return Reaches(nodes, int(place[ego]), chance)


def all_necks(found: Reaches) -> tuple[Floats, Places]:
    """Return float64[k] necks and int64[k] the number of the node each has it from, -1 where there is none.

    Of several nodes with the same neck to 12 digits it is the one of lowest number.
    """
    chance, ego, count = found.chance, found.ego, len(found.nodes)
    from_ego = chance[ego]
    necks, through = np.zeros(count), np.full(count, -1, dtype=np.int64)
    width = max(1, _BLOCK_ENTRIES // count)
    for begin in range(0, count, width):
        goals = np.arange(begin, min(begin + width, count))
        onward, back = chance[:, goals], chance[goals, :].T
        share = from_ego[:, None] - from_ego[goals] * back
        share *= onward
        own = onward * back
        own[goals, goals - begin] = 0.0
        share /= 1.0 - own
        with np.errstate(divide="ignore", invalid="ignore"):
            share /= from_ego[goals]
        share[goals, goals - begin] = 0.0
        share[ego] = 0.0
        share = np.clip(np.nan_to_num(share), 0.0, 1.0)
        best = share.max(axis=0)
        first = np.argmax(share >= best - 1e-12, axis=0)
        necks[goals] = best
        through[goals] = np.where(best > 0, found.nodes[first], -1)
    necks[ego], through[ego] = 0.0, -1
    return necks, through
