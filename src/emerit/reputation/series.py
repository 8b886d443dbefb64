"""Sums over all walks, by power iteration with a certified error, the same to the last bit on every machine.

Both sums are solutions of z = first + M z with a matrix M of non-negative entries whose norm is at most a < 1:

    visits   G[s, v]: expected visits to v of a walk from s that goes on with probability a (personalised
             PageRank before it is normalised); M = a P^T, errors in the 1-norm
    hitting  P(a walk from x ever reaches g), for all x; M = a P with g's row cleared, errors in the largest entry

The terms x_k = M^k first soon all have one direction, x_(k+1) = r x_k nearly, so the rest of the series is summed as
a geometric one. The residual of that guess is (x_(k+1) - r x_k) / (1 - r), and its norm / (1 - a) bounds the error,
whatever r is. On a random graph this takes 28 steps for 1e-10 where 142 terms would be needed.

Determinism: products, sums in the order of the edges (`bincount`, `cumsum`) and comparisons of float64 are all there
is; no matrix library, no reduction whose order depends on the machine. So the result is one that IEEE 754 defines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from emerit.reputation.graph import Floats, Steps, sums

TOLERANCE: Final = 1e-10
FINEST_TOLERANCE: Final = 1e-14


@dataclass(frozen=True)
class Solution:
    """A sum over walks.

    Attributes:
        values: float64[n].
        error: Bound of the error: of the sum of all entries' for visits, of each entry for hitting.
        iterations: How often every edge was looked at.
    """

    values: Floats
    error: float
    iterations: int


def visits_from(
    steps: Steps, start: int, continue_: float, tolerance: float = TOLERANCE, warm: Floats | None = None
) -> Solution:
    """Return the expected visits of a walk from `start`, itself included at 1 or more.

    Args:
        steps: The graph's steps.
        start: Number of the node where walks begin.
        continue_: a, the probability to go on at each step: 1 - alpha of arXiv 2207.09950.
        tolerance: Bound of the error that is asked for.
        warm: float64[n], the solution of a similar graph to begin from. The result is then as exact, but not the
            same to the last bit: settlement never uses it.
    """
    weighted = continue_ * steps.probability

    def step(term: Floats) -> Floats:
        return sums(steps.target, term[steps.source] * weighted, steps.size)

    first = np.zeros(steps.size)
    first[start] = 1.0
    if warm is None:
        return _series(first, step, _one_norm, continue_, tolerance)
    rest = _series(first + step(warm) - warm, step, _one_norm, continue_, tolerance)
    return Solution(warm + rest.values, rest.error, rest.iterations + 1)


def hitting_of(
    steps: Steps, goal: int, continue_: float, avoid: Sequence[int] = (), tolerance: float = TOLERANCE
) -> Solution:
    """Return for every node the probability that a walk from it reaches `goal`, and none of `avoid` before."""
    weighted = continue_ * steps.probability
    for node in (goal, *avoid):
        weighted[steps.starts[node] : steps.starts[node + 1]] = 0.0

    def step(term: Floats) -> Floats:
        return sums(steps.source, term[steps.target] * weighted, steps.size)

    first = np.zeros(steps.size)
    first[goal] = 1.0
    return _series(first, step, _largest, continue_, tolerance)


def total(values: Floats) -> float:
    """Return the sum of float64[n], one after the other."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def _one_norm(values: Floats) -> float:
    return total(np.abs(values))


def _largest(values: Floats) -> float:
    return float(np.abs(values).max())


def _series(
    first: Floats, step: Callable[[Floats], Floats], norm: Callable[[Floats], float], a: float, tolerance: float
) -> Solution:
    """Return sum_k M^k first, with the rest of the series as a geometric one."""
    term, size = first, norm(first)
    done = np.zeros_like(first)
    most = 2 if a == 0 else 2 + math.ceil(math.log(tolerance * (1 - a) / max(size, 1.0)) / math.log(a))
    for iteration in range(1, most + 1):
        following = step(term)
        following_size = norm(following)
        plain = following_size / (1 - a)
        if plain <= tolerance:
            return Solution(done + term, plain, iteration)
        ratio = min(following_size / size, a)
        guess = norm(following - ratio * term) / ((1 - ratio) * (1 - a))
        if guess <= tolerance:
            return Solution(done + term / (1 - ratio), guess, iteration)
        done += term
        term, size = following, following_size
    return Solution(done + term, size / (1 - a), most)
