"""Graphs for `scripts/bench reputation`: synthetic interaction graphs, and Sybil attacks on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emerit.reputation import Graph
from emerit.reputation.graph import Floats, Places

EGO = 0
SEEDS = 10
ATTACK_WEIGHT = 20.0


@dataclass(frozen=True)
class Arrays:
    """A graph that can still be changed: ends and weights of its edges."""

    source: Places
    target: Places
    weight: Floats
    size: int

    def graph(self) -> Graph:
        """Return it checked."""
        return Graph.from_arrays(self.source, self.target, self.weight, self.size)

    def with_edges(self, edges: list[tuple[int, int, float]], size: int) -> Arrays:
        """Return it with more edges; those of the same ends as an old one replace it."""
        added = np.array(edges, dtype=np.float64).reshape(-1, 3)
        source, target = added[:, 0].astype(np.int64), added[:, 1].astype(np.int64)
        kept = ~np.isin(self.source * size + self.target, source * size + target)
        return Arrays(
            np.concatenate([self.source[kept], source]),
            np.concatenate([self.target[kept], target]),
            np.concatenate([self.weight[kept], added[:, 2]]),
            size,
        )

    def without_edges_of(self, node: int) -> Arrays:
        """Return it without the edges that leave a node."""
        kept = self.source != node
        return Arrays(self.source[kept], self.target[kept], self.weight[kept], self.size)


def interactions(nodes: int, edges: int, seed: int = 0) -> Arrays:
    """Return a graph with the shape of a forum's interactions: a few whom most speak of, and a third that answer.

    Node 0 is the ego; it knows the ten most spoken of. Popularity falls with the root of the rank; weights are those of
    likes, replies and mentions.
    """
    random = np.random.default_rng(seed)
    popularity = 1.0 / np.sqrt(np.arange(1, nodes))
    popularity /= popularity.sum()
    count = edges * 3 // 4
    source = 1 + random.integers(0, nodes - 1, count)
    target = 1 + random.choice(nodes - 1, count, p=popularity)
    answers = random.random(count) < 1 / 3
    source, target = np.concatenate([source, target[answers]]), np.concatenate([target, source[answers]])
    known = np.arange(1, SEEDS + 1)
    source, target = np.concatenate([source, np.zeros(SEEDS, int)]), np.concatenate([target, known])
    key = np.unique((source * nodes + target)[source != target])
    weight = random.choice([1.0, 2.0, 4.0, 8.0], len(key))
    return Arrays(key // nodes, key % nodes, weight, nodes)


def uniform_graph(nodes: int, edges: int, seed: int = 0) -> Arrays:
    """Return a graph for timing: sources at random, targets more often of low number."""
    random = np.random.default_rng(seed)
    source = random.integers(0, nodes, edges)
    target = (nodes * random.random(edges) ** 2).astype(np.int64)
    key = np.unique((source * nodes + target)[source != target])
    return Arrays(key // nodes, key % nodes, random.random(len(key)) + 0.1, nodes)


def attacker_of(graph: Arrays) -> int:
    """Return a node of middling popularity."""
    return graph.size // 3


def attacked(graph: Arrays, attack: str, sybils: int, bridges: int = 3) -> Arrays:
    """Return the graph after an attack by `attacker_of(graph)`.

    serial: the attacker speaks only of the first Sybil, each Sybil of the next.
    parallel: the attacker speaks only of the Sybils, and they of it.
    bridge: as serial and closed to a ring, and `bridges` honest nodes of middling popularity speak of Sybils too, as
        loudly as these of each other: no single node leads to the region any more.
    """
    attacker, first = attacker_of(graph), graph.size
    names = list(range(first, first + sybils))
    chain = list(zip([attacker, *names], names, strict=False))
    if attack == "parallel":
        ends = [(attacker, name) for name in names] + [(name, attacker) for name in names]
    elif attack == "serial":
        ends = chain
    else:
        ends = [*chain, (names[-1], attacker)]
    changed = graph.without_edges_of(attacker)
    edges = [(a, b, ATTACK_WEIGHT) for a, b in ends]
    if attack == "bridge":
        for at in range(bridges):
            edges.append((attacker + 1 + at, names[at * sybils // bridges], ATTACK_WEIGHT))
    return changed.with_edges(edges, graph.size + sybils)
