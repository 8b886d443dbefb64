"""The shared vectors of reputation on any graph (tests/vectors/reputation_graph.json)."""

from __future__ import annotations

from typing import Any

from vector_tools import number

from emerit.reputation import Node, compute

Edge = tuple[Node, Node, float]


def case(name: str, edges: list[Edge], ego: Node, **options: Any) -> dict[str, Any]:
    """One graph, how its reputation is computed, and what it is."""
    found = compute(edges, ego, **options)
    return {
        "name": name,
        "edges": [list(edge) for edge in edges],
        "ego": ego,
        "options": options,
        "reputation": [list(row) for row in found.ranking()],
    }


def random_edges(nodes: int, count: int, seed: int) -> list[Edge]:
    """Distinct edges with weights that a float holds exactly."""
    edges: dict[tuple[int, int], float] = {}
    for at in range(count):
        source, target = number(nodes, 60, seed, at, 0), number(nodes, 60, seed, at, 1)
        if source != target:
            edges[source, target] = (1 + number(64, 60, seed, at, 2)) / 8
    return [(source, target, weight) for (source, target), weight in edges.items()]


def graph_vectors() -> dict[str, Any]:
    """Small shapes that can be checked by hand, and random graphs."""
    chain: list[Edge] = [(at, at + 1, 1) for at in range(8)]
    disliked: list[Edge] = [(0, 1, 1), (0, 2, 1), (0, 3, -1), (2, 3, 1)]
    seed: list[Edge] = [("seed", f"validator-{v}", 90 if v == 0 else 5) for v in range(3)]
    seed += [(f"validator-{v}", "trainer", 100) for v in range(3)] + [("validator-0", "friend", 100)]
    bridge: list[Edge] = [*random_edges(12, 40, 1), (3, "attacker", 2)]
    bridge += [("attacker", f"sybil-{at}", 1) for at in range(5)] + [(f"sybil-{at}", "attacker", 1) for at in range(5)]
    cases = [
        case("chain", chain, 0),
        case("chain, cut", chain, 0, connectivity_decay=0.5),
        case("tie", [("ego", name, 1) for name in ("d", "b", "a")], "ego"),
        case("ego without edges", [("a", "b", 1)], "b"),
        case("dislikes, visits", disliked, 0),
        case("dislikes, hitting", disliked, 0, base="hitting"),
        case("seed graph, a friend of one validator", seed, "seed", connectivity_decay=0.5, threshold=0.9),
        case("Sybils behind a bridge", bridge, 0, connectivity_decay=0.9, threshold=1.0),
    ]
    for at in range(4):
        edges = random_edges(30, 90, 2 + at)
        for base in ("visits", "hitting"):
            options = {"base": base, "continue_": 0.85 - at / 4, "connectivity_decay": 0.5, "threshold": 1 - at / 10}
            cases.append(case(f"random {at}, {base}", edges, edges[0][0], **options))
    return {"cases": cases}
