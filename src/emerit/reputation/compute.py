"""MeritRank from one node's point of view: the function that everything else calls.

A node's score is its share of what a walk from the ego visits (Nasrulin, Ishmaev and Pouwelse, arXiv 2207.09950; the
closed forms are derived in docs/reputation.md):

    m(v)   expected visits (`visits`, personalised PageRank) or the chance of a visit (`hitting`) of a walk that goes
           on with probability a at each step; a = 1 - alpha, the transitivity decay
    R(v)   m(v) (1 - sum_n |w_n| H[v, n]) / sum_u m(u), over the nodes n that the ego dislikes: every node that a
           walk visits no later than its last visit to n answers for it
    R'(v)  R(v) (1 - beta) where R(v) > 0 and the neck of v, the largest share of its walks that pass one other node
           than the ego, is the threshold or more; else R(v). Nothing is given to others instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Final

import numpy as np

from emerit.errors import RefusedError, UsageError
from emerit.reputation.connectivity import EXAMINED, Priority, SampledNecks, exact_necks
from emerit.reputation.cuts import search_tree
from emerit.reputation.dense import DENSE_NODES, Reaches, dense_error, reaches
from emerit.reputation.fixed_point import to_fixed
from emerit.reputation.graph import Floats, Graph, Node, Steps
from emerit.reputation.result import Necks, Parameters, Reputation
from emerit.reputation.series import FINEST_TOLERANCE, TOLERANCE, Solution, hitting_of, total, visits_from
from emerit.reputation.walks import Counts, counts, disliked_counts, traces

BASES: Final = ("visits", "hitting")
MOST_CONTINUE: Final = 0.9999
MOST_WALKS: Final = 10**8
MOST_DISLIKE: Final = 1e9
LARGE_GRAPH_WALKS: Final = 100_000
# Chances of a visit are rounded to this before they are shared out, so that a matrix library's last bits are gone.
HITTING_QUANTUM: Final = 1e-10


def compute(
    graph: Graph | Iterable[Sequence[object]],
    ego: Node,
    *,
    base: str = "visits",
    continue_: float = 0.85,
    connectivity_decay: float = 0.0,
    threshold: float = 1.0,
    walks: int | None = None,
    seed: int = 0,
    nodes: Sequence[Node] = (),
    examined: int = EXAMINED,
    tolerance: float = TOLERANCE,
    warm: Reputation | None = None,
) -> Reputation:
    """Return every node's reputation from the point of view of `ego`.

    The fixed-point result of `visits` and `hitting` without `walks` and `warm` is the same on every machine. A node
    that cannot be reached has 0; an ego without positive edges has everything.

    Args:
        graph: A graph, or [source, target, weight] triples (see `Graph.from_edges`).
        ego: The node whose point of view it is.
        base: `visits` or `hitting`. The latter is exact up to 4,000 reached nodes, and sampled by walks above.
        continue_: In [0, 0.9999]: the probability that a walk goes on; 0.85 as in the reference implementation.
        connectivity_decay: beta in [0, 1]; 0 leaves necks out.
        threshold: In (0, 1]. 1 is exact at any size; less is exact up to 4,000 reached nodes, above for `nodes` and
            the `examined` highest, and `Reputation.undecided` says how much score is not decided.
        walks: Sample that many walks instead.
        seed: Of the walks.
        nodes: Nodes whose necks are wanted in any case.
        examined: How many of the highest are examined on larger graphs at a threshold below 1.
        tolerance: Bound of the error of all visits together.
        warm: An earlier result on a similar graph with as many nodes, to begin from.

    Raises:
        UsageError: `reputation-node`, `reputation-parameter`.
        RefusedError: `graph-edge`, `graph-weight`, `graph-empty`, `reputation-overflow`.
    """
    found = graph if isinstance(graph, Graph) else Graph.from_edges(graph)
    chosen = Parameters(base, continue_, connectivity_decay, threshold, walks, seed)
    _check(chosen, tolerance, examined)
    start = found.place(ego)
    wanted = [found.place(node) for node in nodes]
    if walks is None and base == "hitting" and len(search_tree(found.steps, start).order) > DENSE_NODES:
        chosen = Parameters(base, continue_, connectivity_decay, threshold, LARGE_GRAPH_WALKS, seed)
    if chosen.walks is not None:
        return _sampled(found, start, chosen)
    if warm is not None and len(warm.measure) != len(found.nodes):
        raise UsageError("reputation-parameter", "The earlier result has other nodes.", "Begin without it.")
    between = None
    if base == "visits":
        begin = None if warm is None or warm.parameters.base != "visits" else warm.measure
        visits = visits_from(found.steps, start, continue_, tolerance, begin)
        rounded = visits.values
    else:
        between = reaches(found.steps, np.sort(search_tree(found.steps, start).order), start, continue_)
        visits, rounded = _hitting(found.steps, between, continue_)
    kept = _kept_after_dislikes(found, start, continue_)
    whole = total(visits.values)
    scores = visits.values * kept / whole
    necks = None
    if connectivity_decay > 0:
        necks = exact_necks(found.steps, start, chosen, Priority(scores, examined, wanted), between)
    decay = _decay(necks, connectivity_decay)
    scores = _times(scores, decay)
    fixed = to_fixed(_times(rounded * kept / total(rounded), decay))
    error = 2 * visits.error * max(1.0, float(np.abs(kept).max())) / whole
    return Reputation(found, start, chosen, visits.values, scores, fixed, necks, error, visits.iterations)


def _check(chosen: Parameters, tolerance: float, examined: int) -> None:
    def need(holds: bool, cause: str, fix: str) -> None:
        if not holds:
            raise UsageError("reputation-parameter", cause, fix)

    for number in (chosen.continue_, chosen.connectivity_decay, chosen.threshold, tolerance):
        need(isinstance(number, Real), f"{number!r} is no number.", "Give the parameters of reputation as numbers.")
    need(chosen.base in BASES, f"There is no base measure {chosen.base!r}.", f"Use {' or '.join(BASES)}.")
    need(
        0 <= chosen.continue_ <= MOST_CONTINUE, f"Walks go on with probability {chosen.continue_}.", "Use 0 to 0.9999."
    )
    decay, threshold = chosen.connectivity_decay, chosen.threshold
    need(0 <= decay <= 1, f"The connectivity decay is {decay}.", "Use 0 to 1.")
    need(0 < threshold <= 1, f"The threshold of connectivity is {threshold}.", "Use a share above 0, to 1.")
    if chosen.walks is not None:
        whole = isinstance(chosen.walks, int) and not isinstance(chosen.walks, bool)
        need(whole and 0 < chosen.walks <= MOST_WALKS, f"There are {chosen.walks} walks.", f"Use 1 to {MOST_WALKS}.")
        need(isinstance(chosen.seed, int), f"The seed of the walks is {chosen.seed!r}.", "Use an integer.")
    need(FINEST_TOLERANCE <= tolerance < 1, f"The tolerance is {tolerance}.", "Use 1e-14 to 1.")
    need(examined >= 0, f"{examined} nodes are examined.", "Use 0 or more.")


def _hitting(steps: Steps, between: Reaches, continue_: float) -> tuple[Solution, Floats]:
    """Return every node's chance of a visit, and the same rounded to HITTING_QUANTUM.

    Where the matrix library's error could decide the rounding, power iteration does instead.
    """
    chances, ego = between.chance[between.ego], int(between.nodes[between.ego])
    parts = chances / HITTING_QUANTUM
    near = np.abs(parts - np.floor(parts) - 0.5) < dense_error(continue_) / HITTING_QUANTUM
    for at in np.flatnonzero(near):
        exact = hitting_of(steps, int(between.nodes[at]), continue_, tolerance=FINEST_TOLERANCE)
        parts[at] = exact.values[ego] / HITTING_QUANTUM
    values, rounded = np.zeros(steps.size), np.zeros(steps.size)
    values[between.nodes], rounded[between.nodes] = chances, np.floor(parts + 0.5) * HITTING_QUANTUM
    return Solution(values, len(parts) * dense_error(continue_), 0), rounded


def _kept_after_dislikes(graph: Graph, ego: int, continue_: float) -> Floats:
    """Return float64[n]: what each node keeps of its share, 1 - sum_n |w_n| H[v, n]."""
    kept = np.ones(len(graph.nodes))
    for disliked, weight in _dislikes(graph, ego):
        kept -= weight * hitting_of(graph.steps, disliked, continue_, tolerance=FINEST_TOLERANCE).values
    return kept


def _dislikes(graph: Graph, ego: int) -> list[tuple[int, float]]:
    found = graph.dislikes(ego)
    if not math.fsum(min(weight, 2 * MOST_DISLIKE) for _, weight in found) <= MOST_DISLIKE:
        raise RefusedError(
            "reputation-overflow", "The ego dislikes more than scores can hold.", "Dislike with less than 10^9 in all."
        )
    return found


def _decay(necks: Necks | None, connectivity_decay: float) -> Floats | None:
    return None if necks is None else np.where(necks.cut, 1.0 - connectivity_decay, 1.0)


def _times(scores: Floats, decay: Floats | None) -> Floats:
    """Return scores after connectivity decay; who is below zero already stays there."""
    return scores if decay is None else np.where(scores > 0, scores * decay, scores)


def _sampled(graph: Graph, ego: int, chosen: Parameters) -> Reputation:
    """Return the same from walks."""
    unique = chosen.base == "hitting"
    walks = chosen.walks or LARGE_GRAPH_WALKS
    dislikes = _dislikes(graph, ego)
    size = len(graph.nodes)
    seen, lost = Counts(np.zeros(size), np.zeros(size), 0.0), np.zeros(size)
    narrow = SampledNecks(size, ego) if chosen.connectivity_decay > 0 else None
    for batch in traces(graph.steps, ego, chosen.continue_, walks, chosen.seed):
        seen = seen + counts(batch, unique)
        for disliked, weight in dislikes:
            lost += weight * disliked_counts(batch, disliked, unique)
        if narrow is not None:
            narrow.add(batch)
    whole = total(seen.hits)
    necks = None if narrow is None else narrow.necks(chosen.threshold)
    scores = _times((seen.hits - lost) / whole, _decay(necks, chosen.connectivity_decay))
    error = _standard_error(seen, walks) * (1.0 + sum(weight for _, weight in dislikes))
    return Reputation(graph, ego, chosen, seen.hits / walks, scores, to_fixed(scores), necks, error)


def _standard_error(seen: Counts, walks: int) -> float:
    """Return at least the largest standard error of a share: that of the node's count, and that of all counts."""
    mean, length = seen.hits / walks, total(seen.hits) / walks
    spread = np.sqrt(np.maximum(seen.squares / walks - mean**2, 0.0) / walks)
    whole = math.sqrt(max(seen.length_squares / walks - length**2, 0.0) / walks)
    return float((spread + mean / length * whole).max()) / length
