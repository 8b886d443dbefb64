"""Feedback graphs: directed, weighted, checked once when they are made, in one order whatever the order of the input.

An edge (i, j, w) is what i says of j's work. Only ratios of a node's positive weights count: a walk at i goes to j
with probability w_ij / sum_k w_ik (Nasrulin, Ishmaev and Pouwelse, arXiv 2207.09950). A negative weight is a dislike;
no walk takes it, and it counts only from the point of view of the node that it comes from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from numbers import Integral, Real
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emerit.errors import RefusedError, UsageError

Node: TypeAlias = int | str
WeightedEdge: TypeAlias = tuple[Node, Node, float]
Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

SELF_EDGE: Final = "self-edge"
ZERO_EDGE: Final = "zero-edge"
# Half a character: no text, so it could be neither printed nor stored.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Steps:
    """Where walks go: the positive edges by (source, target), n nodes numbered from 0.

    Attributes:
        size: n.
        source: int64[edges], ascending.
        target: int64[edges].
        probability: float64[edges], 1 in all for every source.
        starts: int64[n + 1]; the edges of node i are those in [starts[i], starts[i + 1]).
    """

    size: int
    source: Places
    target: Places
    probability: Floats
    starts: Places


@dataclass(frozen=True)
class Graph:
    """A checked feedback graph; make one with `from_edges` or `from_arrays`.

    Attributes:
        nodes: Names in order: integers ascending, then strings ascending. A node's place here is its number.
        source: int64[edges], numbers, ascending; ties by target.
        target: int64[edges].
        weight: float64[edges], finite, never 0.
        dropped: How many edges of the input were left out, by code (`self-edge`, `zero-edge`).
    """

    nodes: Sequence[Node]
    source: Places
    target: Places
    weight: Floats
    dropped: Mapping[str, int]

    @classmethod
    def from_edges(cls, edges: Iterable[Sequence[object]], nodes: Iterable[Node] = ()) -> Graph:
        """Return the graph of [source, target, weight] triples.

        Weights of the same pair add up. Edges to oneself say nothing and are left out, as are those of weight 0;
        their nodes stay. The result does not depend on the order of the input.

        Args:
            edges: Triples; a node is an integer or a string of whole characters, a weight a finite real number.
            nodes: Nodes that need not have an edge.

        Raises:
            RefusedError: `graph-edge`, `graph-weight`, `graph-empty`.
        """
        if not isinstance(edges, Iterable):
            raise RefusedError(
                "graph-edge", f"{edges!r} is no list of edges.", "Give [source, target, weight] triples."
            )
        together: dict[tuple[Node, Node], list[float]] = {}
        known: dict[Node, None] = {_node(node, "a node"): None for node in nodes}
        own = 0
        for number, edge in enumerate(edges):
            source, target, weight = _triple(edge, number)
            known[source] = known[target] = None
            if source == target:
                own += 1
            else:
                together.setdefault((source, target), []).append(weight)
        names = sorted(known, key=lambda node: (isinstance(node, str), node))
        place = {node: at for at, node in enumerate(names)}
        pairs = sorted((place[source], place[target], _total(each)) for (source, target), each in together.items())
        columns = np.array(pairs, dtype=np.float64).reshape(-1, 3)
        return cls._made(names, columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2], own)

    @classmethod
    def from_arrays(cls, source: Places, target: Places, weight: Floats, size: int) -> Graph:
        """Return the graph on nodes 0 to size - 1 of int64[edges] sources and targets and float64[edges] weights.

        For large graphs; it means the same as `from_edges`, but refuses a pair that stands twice.

        Raises:
            RefusedError: `graph-edge`, `graph-weight`, `graph-empty`.
        """
        if not all(np.issubdtype(np.asarray(ends).dtype, np.integer) for ends in (source, target)):
            raise RefusedError("graph-edge", "Sources and targets are no integers.", "Give int64 arrays.")
        source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
        weight = np.asarray(weight, dtype=np.float64)
        if not (source.shape == target.shape == weight.shape and source.ndim == 1):
            raise RefusedError("graph-edge", "Sources, targets and weights differ in length.", "Give one of each.")
        if len(source) and not (min(source.min(), target.min()) >= 0 and max(source.max(), target.max()) < size):
            raise RefusedError("graph-edge", f"An edge has an end outside 0 to {size - 1}.", "Number nodes from 0.")
        if not np.isfinite(weight).all():
            raise RefusedError("graph-weight", "A weight is not a finite number.", "Leave out what is unknown.")
        others = np.flatnonzero(source != target)
        key = source[others] * np.int64(size) + target[others]
        order = np.argsort(key, kind="stable")
        if len(key) > 1 and (np.diff(key[order]) == 0).any():
            raise RefusedError("graph-edge", "A pair of nodes has two edges.", "Add their weights up first.")
        kept = others[order]
        columns = (source[kept], target[kept], weight[kept])
        return cls._made(range(size), *columns, own=len(source) - len(others))

    @classmethod
    def _made(cls, nodes: Sequence[Node], source: Places, target: Places, weight: Floats, own: int) -> Graph:
        if not len(nodes):
            raise RefusedError("graph-empty", "The graph has no node.", "Give at least one edge or node.")
        kept = weight != 0
        counts = {SELF_EDGE: own, ZERO_EDGE: int((~kept).sum())}
        dropped = {code: count for code, count in counts.items() if count}
        return cls(nodes, source[kept], target[kept], weight[kept], dropped)

    def place(self, node: Node) -> int:
        """Return the number of a node.

        Raises:
            UsageError: `reputation-node`.
        """
        found = self._places.get(node) if isinstance(node, Hashable) else None
        if found is None or isinstance(node, bool):
            raise UsageError("reputation-node", f"The graph has no node {node!r}.", "Name a node of an edge.")
        return found

    @cached_property
    def _places(self) -> dict[Node, int]:
        return {node: at for at, node in enumerate(self.nodes)}

    @cached_property
    def steps(self) -> Steps:
        """The walk's steps over the positive edges; a share too small for a float is no edge."""
        size, positive = len(self.nodes), self.weight > 0
        source, target, weight = self.source[positive], self.target[positive], self.weight[positive]
        with np.errstate(over="ignore"):
            totals = sums(source, weight, size)
        if not np.isfinite(totals).all():
            largest = np.zeros(size)
            np.maximum.at(largest, source, weight)
            weight = weight / largest[source]
            totals = sums(source, weight, size)
        with np.errstate(under="ignore"):
            probability = weight / totals[source]
        kept = probability > 0
        if not kept.all():
            source, target, probability = source[kept], target[kept], probability[kept]
        starts = np.zeros(size + 1, dtype=np.int64)
        np.cumsum(np.bincount(source, minlength=size), out=starts[1:])
        return Steps(size, source, target, probability, starts)

    def dislikes(self, node: int) -> list[tuple[int, float]]:
        """Return (number of the disliked, |weight|) for the negative edges of a node, by number."""
        at = np.flatnonzero((self.source == node) & (self.weight < 0))
        return [(int(self.target[each]), -float(self.weight[each])) for each in at]


def decayed(epochs: Sequence[Iterable[Sequence[object]]], keep: float) -> Graph:
    """Return the graph of several epochs' edges, where an edge loses 1 - keep of its weight in each epoch.

    Epoch decay as in arXiv 2207.09950, on the weights. It makes reputation follow present work; the authors found,
    and docs/reputation.md shows, that it does not help against Sybils.

    Args:
        epochs: Edges of every epoch, the oldest first; each as in `Graph.from_edges`.
        keep: In [0, 1].

    Raises:
        UsageError: `reputation-parameter`.
        RefusedError: As `Graph.from_edges`.
    """
    if not 0 <= keep <= 1:
        raise UsageError("reputation-parameter", f"{keep} of an epoch is kept.", "Keep a share from 0 to 1.")
    newest = len(epochs) - 1

    def aged(age: int, edges: Iterable[Sequence[object]]) -> Iterable[tuple[Node, Node, float]]:
        factor = keep**age
        for number, edge in enumerate(edges):
            source, target, weight = _triple(edge, number)
            yield source, target, weight * factor

    return Graph.from_edges(chain.from_iterable(aged(newest - at, edges) for at, edges in enumerate(epochs)))


def sums(place: Places, values: Floats, size: int) -> Floats:
    """Return float64[size]: for each place the sum of its float64[k] values, added up in the order they come in."""
    return np.bincount(place, values, size).astype(np.float64, copy=False)


def _triple(edge: Sequence[object], number: int) -> WeightedEdge:
    if isinstance(edge, str | bytes) or not isinstance(edge, Sequence) or len(edge) != 3:
        raise RefusedError("graph-edge", f"Edge {number} is no triple.", "Write edges as [source, target, weight].")
    source, target, weight = edge
    where = f"edge {number}"
    if isinstance(weight, bool | str) or not isinstance(weight, Real):
        raise RefusedError("graph-weight", f"The weight of {where} is no number.", "Use a finite number.")
    try:
        value = float(weight)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise RefusedError("graph-weight", f"The weight of {where} is not finite.", "Leave out what is unknown.")
    return _node(source, where), _node(target, where), value


def _node(node: object, where: str) -> Node:
    if isinstance(node, str) and (node.isascii() or not _SURROGATE.search(node)):
        return node
    if isinstance(node, Integral) and not isinstance(node, bool):
        return int(node)
    raise RefusedError("graph-edge", f"In {where}, {node!r} is no node.", "Name nodes by integers or strings.")


def _total(weights: list[float]) -> float:
    """Return the exactly rounded sum: the same in whatever order."""
    if len(weights) == 1:
        return weights[0]
    try:
        return math.fsum(weights)
    except OverflowError:
        raise RefusedError(
            "graph-weight", "The weights of a pair add up to more than a number can hold.", "Use smaller weights."
        ) from None
