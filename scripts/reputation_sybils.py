"""Sybil experiments for `scripts/bench reputation`, after arXiv 2207.09950: what an attacker's region gains.

The gain is (R'(attacker and Sybils, after) - R'(attacker, before)) / R'(attacker, before), with R' in visits of a walk,
not shares, because that is what the bound a / (1 - a) speaks of. The attacker gives all its weight to its Sybils.
The graphs: two of a forum's shape (`reputation_graphs.interactions`), and the wide graph of a run that the lab plays
(`reputation_lab.lab_graph`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from reputation_graphs import EGO, Arrays, attacked, attacker_of, interactions

from emerit.reputation import compute
from emerit.reputation.graph import Floats

# As the busiest week and the whole of the forum that the authors used: nodes, edges.
SHAPES = {"291x1528": (291, 1_528), "2057x35853": (2_057, 35_853)}
DENSE_SHAPE = "291x1528"
ATTACKS = ("serial", "parallel", "bridge")
ALPHAS = (0.01, 0.05, 0.15, 0.4, 0.8)
BETAS = (0.0, 0.5, 0.9)
SYBILS = (1, 3, 10, 30, 100, 300)
BRIDGES = (1, 3, 10)

Table = dict[str, dict[str, dict[str, float]]]


def sybil_gains() -> dict[str, dict[str, Any]]:
    """Return gains by graph and base, attack, alpha, beta and number of Sybils; and by number of bridges."""
    found: dict[str, dict[str, Any]] = {}
    for shape, (nodes, edges) in SHAPES.items():
        graph = interactions(nodes, edges)
        for base in ("visits", "hitting") if shape == DENSE_SHAPE else ("visits",):
            found[f"{shape} {base}"] = {attack: by_alpha(graph, base, attack) for attack in ATTACKS}
    from reputation_lab import lab_graph  # torch takes seconds to import

    played = lab_graph()
    for base in ("visits", "hitting"):
        found[f"lab {base}"] = {attack: by_alpha(played, base, attack) for attack in ATTACKS}
    graph = interactions(*SHAPES[DENSE_SHAPE])
    found["bridges"] = {
        str(bridges): gain(graph, attacked(graph, "bridge", 100, bridges), "visits", 0.15)[0] for bridges in BRIDGES
    }
    return found


def by_alpha(graph: Arrays, base: str, attack: str) -> Table:
    """Return gains by alpha, beta and number of Sybils."""
    result: Table = {}
    for alpha in ALPHAS:
        rows: dict[str, dict[str, float]] = {str(beta): {} for beta in BETAS}
        for sybils in SYBILS:
            if attack == "bridge" and sybils < max(BRIDGES):
                continue
            for beta, value in zip(BETAS, gain(graph, attacked(graph, attack, sybils), base, alpha), strict=True):
                rows[str(beta)][str(sybils)] = value
        result[str(alpha)] = rows
    return result


def gain(before: Arrays, after: Arrays, base: str, alpha: float) -> list[float]:
    """Return the gain for each beta."""
    attacker = attacker_of(before)
    region = np.array([attacker, *range(before.size, after.size)])
    held, have = (reputation(graph, base, alpha) for graph in (before, after))
    return [float(have[at][region].sum() - held[at][attacker]) / float(held[at][attacker]) for at in range(len(BETAS))]


def reputation(graph: Arrays, base: str, alpha: float) -> list[Floats]:
    """Return every node's visits after connectivity decay, for each beta."""
    found = compute(graph.graph(), EGO, base=base, continue_=1 - alpha, connectivity_decay=1.0)
    assert found.necks is not None
    return [found.measure * np.where(found.necks.cut, 1 - beta, 1.0) for beta in BETAS]
