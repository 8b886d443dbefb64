"""The wide graph: the seed graph with what trainers say of each other, over the last rounds, and why one stands where.

Protocol seed -> validators (by stake) -> trainers (by confirmed weight) as in `emerit.reputation.seed_graph`, and
trainer -> trainer by peer feedback (`emerit.protocol.feedback`). Nobody can verify what a trainer says of another, so
nothing that is paid, applied or proved on chain depends on this graph. MeritRank on it is for readers, from whichever
participant's point of view they trust.

A round's edges lose part of their weight with every later round (epoch decay, arXiv 2207.09950). Every source is scaled
to one in all: walks see ratios alone, and a dislike (negative feedback, which counts only from its author's point of
view) is then the share of all that this trainer said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emerit.protocol.reputation import REPUTATION_ONE
from emerit.reputation.graph import Graph, WeightedEdge
from emerit.reputation.result import Reputation
from emerit.reputation.seed_graph import SEED
from emerit.reputation.series import total


@dataclass(frozen=True)
class RoundVoices:
    """What was said in one settled round, as (who, of whom, how much), by name.

    Attributes:
        seed: Edges of the seed graph; weights count within their source and round.
        feedback: What trainers said of each other, in loss units; negative where a contribution raised the loss.
    """

    seed: tuple[WeightedEdge, ...]
    feedback: tuple[WeightedEdge, ...] = ()


@dataclass(frozen=True)
class WidePath:
    """One way into a node.

    Attributes:
        source: Who spoke of it.
        said: Which part of all that it says of anybody, in parts of REPUTATION_ONE.
        visits: What came this way, in parts of REPUTATION_ONE of a walk.
    """

    source: str
    said: int
    visits: int


@dataclass(frozen=True)
class WideExplanation:
    """How a node's reputation on the wide graph came about, in parts of REPUTATION_ONE.

    Attributes:
        paths: Who spoke of it and was visited, the largest part first.
        begins: 1 walk begins here where the node is the ego, else 0.
        visits: Expected visits of a walk.
        share: Its share of all nodes' visits.
        disliked_took: What the ego's dislikes took off the share.
        connectivity_took: What connectivity decay took then.
        through: The node that (nearly) all of its walks pass, if it was cut for that.
        reputation: What is left.
    """

    paths: tuple[WidePath, ...]
    begins: int
    visits: int
    share: int
    disliked_took: int
    connectivity_took: int
    through: str | None
    reputation: int


def wide_graph(rounds: Sequence[RoundVoices], keep: float, nodes: Iterable[str] = ()) -> Graph:
    """Return the graph of several rounds' voices; a round's weights are times `keep` for each round since.

    Args:
        rounds: The oldest first.
        keep: In [0, 1].
        nodes: Names that are there even if nobody speaks of them.

    Raises:
        RefusedError: `graph-weight` for a weight that is not finite.
    """
    together: dict[tuple[str, str], list[float]] = {}
    factor = 1.0
    for voices in reversed(rounds):
        for source, target, weight in [*_shares(voices.seed), *voices.feedback]:
            together.setdefault((str(source), str(target)), []).append(weight * factor)
        factor *= keep
    edges = {ends: math.fsum(weights) for ends, weights in together.items()}
    said: dict[str, list[float]] = {}
    for (source, _), weight in edges.items():
        said.setdefault(source, []).append(abs(weight))
    totals = {source: math.fsum(weights) for source, weights in said.items()}
    scaled = ((a, b, weight / totals[a]) for (a, b), weight in edges.items() if totals[a] > 0)
    return Graph.from_edges(scaled, [SEED, *nodes])


def explain_wide(found: Reputation, node: str) -> WideExplanation:
    """Return why a node has its reputation in a result on the wide graph (base `visits`).

    Raises:
        UsageError: `reputation-node`.
    """
    at, chosen, steps = found.graph.place(node), found.parameters, found.graph.steps
    into = np.flatnonzero(steps.target == at)
    carried = [
        (found.measure[steps.source[edge]] * chosen.continue_ * steps.probability[edge], int(edge)) for edge in into
    ]
    paths = tuple(
        WidePath(str(found.graph.nodes[steps.source[edge]]), _parts(steps.probability[edge]), _parts(visits))
        for visits, edge in sorted(carried, key=lambda pair: (-pair[0], pair[1]))
        if visits > 0
    )
    share, score = float(found.measure[at]) / total(found.measure), float(found.scores[at])
    left = 1.0 - chosen.connectivity_decay
    is_cut = found.necks is not None and bool(found.necks.cut[at]) and (score > 0 or left == score == 0)
    disliked = score if not is_cut else share if left == 0 else score / left
    through = int(found.necks.through[at]) if is_cut and found.necks is not None else -1
    reputation = int(found.fixed[at])
    kept = max(_parts(disliked), reputation)  # so that the parts add up after rounding
    whole = max(_parts(share), kept)
    return WideExplanation(
        paths=paths,
        begins=int(at == found.ego),
        visits=_parts(found.measure[at]),
        share=whole,
        disliked_took=whole - kept,
        connectivity_took=kept - reputation,
        through=str(found.graph.nodes[through]) if through >= 0 else None,
        reputation=reputation,
    )


def _shares(edges: Iterable[WeightedEdge]) -> list[WeightedEdge]:
    """Return edges with each source's weights, which are not negative, scaled to one in all."""
    known = [(source, target, float(weight)) for source, target, weight in edges if weight > 0]
    totals: dict[object, float] = {}
    for source, _, weight in known:
        totals[source] = totals.get(source, 0.0) + weight
    return [(source, target, weight / totals[source]) for source, target, weight in known]


def _parts(value: float) -> int:
    return math.floor(float(value) * REPUTATION_ONE + 0.5)
