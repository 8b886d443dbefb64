"""The integer rule against an independent personalised PageRank of the explicit graph."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emerit.protocol.manifest import ReputationSpec
from emerit.protocol.presets import preset
from emerit.protocol.settlement_tree import payable
from emerit.reputation import Graph, compute
from emerit.reputation.seed_graph import (
    REPUTATION_ONE,
    SEED,
    Edge,
    Vote,
    edges_for,
    next_reputation,
    trainer_node,
    trainer_visits,
    validator_node,
    validator_visits,
)
from tests.unit.house.tree import ROOT

SPEC = preset("demo").reputation
NO_NECK = ReputationSpec(850_000_000, 0, 10**9, 17, 10**9)


def dense_visits(edges: tuple[Edge, ...], continue_probability: float) -> dict[str, float]:
    """Expected visits to every node of walks from the seed: its row of (I - a P)^-1."""
    nodes = sorted({SEED, *(edge.source for edge in edges), *(edge.target for edge in edges)})
    place = {node: at for at, node in enumerate(nodes)}
    transition = np.zeros((len(nodes), len(nodes)))
    for edge in edges:
        transition[place[edge.source], place[edge.target]] += edge.weight
    totals = transition.sum(axis=1, keepdims=True)
    transition = np.divide(transition, totals, out=np.zeros_like(transition), where=totals > 0)
    visits = np.linalg.solve(np.eye(len(nodes)) - continue_probability * transition.T, np.eye(len(nodes))[place[SEED]])
    return {node: float(visits[at]) for node, at in place.items()}


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[int], list[int], list[dict[int, int]]]:
    """Stakes, consensus weights, and what each validator gave (a missing trainer: it abstained)."""
    trainers = draw(st.integers(1, 5))
    stakes = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=6))
    size = draw(st.sampled_from([5, 1000, 1 << 40]))
    weights = [draw(st.integers(0, size)) for _ in range(trainers)]
    given_out = [
        {slot: draw(st.integers(0, size)) for slot in range(trainers) if draw(st.integers(0, 4))} for _ in stakes
    ]
    return stakes, weights, given_out


@given(rounds())
def test_the_integers_are_personalised_pagerank(
    case: tuple[list[int], list[int], list[dict[int, int]]],
) -> None:
    stakes, weights, given_out = case
    total = sum(payable(weight) for weight in weights)
    for slot, weight in enumerate(weights):
        voting = {v: row for v, row in enumerate(given_out) if slot in row}
        votes = [Vote(stakes[v], row[slot]) for v, row in voting.items()]
        value = trainer_visits(votes, weight, total, len(stakes), NO_NECK)
        if not voting or total == 0:
            assert value == 0
            continue
        exact = dense_visits(edges_for(voting, stakes, weights), 0.85).get(trainer_node(slot), 0.0)
        assert abs(value - exact * REPUTATION_ONE) < 2


@given(rounds())
def test_a_validator_s_visits_are_personalised_pagerank(
    case: tuple[list[int], list[int], list[dict[int, int]]],
) -> None:
    stakes, weights, given_out = case
    exact = dense_visits(edges_for(dict(enumerate(given_out)), stakes, weights), 0.85)
    for slot, stake in enumerate(stakes):
        value = validator_visits(stake, sum(stakes), True, NO_NECK)
        assert abs(value - exact[validator_node(slot)] * REPUTATION_ONE) < 2


@given(rounds())
def test_all_trainers_together_get_at_most_what_walks_carry(
    case: tuple[list[int], list[int], list[dict[int, int]]],
) -> None:
    stakes, weights, given_out = case
    total = sum(payable(weight) for weight in weights)
    visits = 0
    for slot, weight in enumerate(weights):
        votes = [Vote(stakes[v], row[slot]) for v, row in enumerate(given_out) if slot in row]
        visits += trainer_visits(votes, weight, total, len(stakes), SPEC)
    assert 0 <= visits <= 722_500_000


def test_a_graph_by_hand() -> None:
    edges = edges_for({0: {0: 50, 1: 10}, 1: {0: 200}}, [3, 1], [100, 20])
    assert edges == (
        Edge(SEED, "validator-0", 3),
        Edge(SEED, "validator-1", 1),
        Edge("validator-0", "trainer-0", 50),
        Edge("validator-0", "trainer-1", 10),
        Edge("validator-0", "sink", 60),
        Edge("validator-1", "trainer-0", 100),
        Edge("validator-1", "sink", 20),
    )


@pytest.mark.parametrize(
    ("votes", "staked", "cut"),
    [
        ([Vote(10, 100), Vote(10, 0), Vote(10, 0), Vote(10, 0)], 4, True),
        ([Vote(90, 100), Vote(5, 100), Vote(4, 100), Vote(1, 100)], 4, True),
        ([Vote(89, 100), Vote(5, 100), Vote(4, 100), Vote(2, 100)], 4, False),
        ([Vote(10, 100), Vote(10, 0), Vote(10, 0)], 3, False),
        ([Vote(10, 100)], 4, True),
    ],
)
def test_who_hangs_on_one_validator_is_cut(votes: list[Vote], staked: int, cut: bool) -> None:
    whole = trainer_visits(votes, 100, 200, staked, NO_NECK)
    assert whole > 0
    assert trainer_visits(votes, 100, 200, staked, SPEC) == (whole // 2 if cut else whole)


def test_no_walk_without_weight_or_votes() -> None:
    assert trainer_visits([], 100, 200, 4, SPEC) == 0
    assert trainer_visits([Vote(10, 1)], 1, 0, 4, SPEC) == 0
    assert trainer_visits([Vote(10, 0)], 100, 200, 4, SPEC) == 0
    assert trainer_visits([Vote(10, 1)], 100, 200, 4, SPEC) == 0
    assert validator_visits(10, 20, False, SPEC) == 0
    assert validator_visits(0, 0, True, SPEC) == 0


def test_the_running_average_moves_by_its_weight() -> None:
    assert next_reputation(1000, 2000, SPEC) == 1200
    assert next_reputation(1000, 0, SPEC) == 800
    assert next_reputation(REPUTATION_ONE, REPUTATION_ONE, SPEC) == REPUTATION_ONE


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_running_average_stays_between_old_and_new(old: int, visits: int) -> None:
    value = next_reputation(old, visits, SPEC)
    assert min(old, visits) - 1 <= value <= max(old, visits)


def decided_by_a_hair(votes: list[Vote], weight: int) -> bool:
    """Whether the largest flow is so near nine tenths, and not equal, that 12 digits do not tell."""
    flows = [vote.stake * payable(min(vote.weight, weight)) for vote in votes]
    share = Fraction(max(flows, default=0), sum(flows) or 1)
    return share != Fraction(9, 10) and abs(share - Fraction(9, 10)) < Fraction(1, 10**12)


@given(rounds(), st.booleans())
def test_the_leaf_s_integers_are_the_engine_s_reputation(
    case: tuple[list[int], list[int], list[dict[int, int]]], lopsided: bool
) -> None:
    stakes, weights, given_out = case
    stakes = [9 * sum(stakes), *stakes] if lopsided else stakes
    given_out = [{slot: max(weight, 1) for slot, weight in enumerate(weights)}, *given_out] if lopsided else given_out
    total = sum(payable(weight) for weight in weights)
    for slot, weight in enumerate(weights):
        voting = {v: row for v, row in enumerate(given_out) if slot in row}
        votes = [Vote(stakes[v], row[slot]) for v, row in voting.items()]
        assume(not decided_by_a_hair(votes, weight))
        leaf = trainer_visits(votes, weight, total, len(stakes), SPEC)
        edges = [(edge.source, edge.target, edge.weight) for edge in edges_for(voting, stakes, weights)]
        graph = Graph.from_edges(edges, nodes=[SEED, trainer_node(slot)])
        # Where too few validators have a stake, nobody's neck counts.
        decay = 0.5 if len(stakes) >= SPEC.neck_min_validators else 0.0
        for base in ("visits", "hitting"):
            found = compute(graph, SEED, base=base, connectivity_decay=decay, threshold=0.9)
            at = graph.place(trainer_node(slot))
            cut = found.necks is not None and bool(found.necks.cut[at])
            exact = float(found.measure[at]) * (0.5 if cut else 1.0) * REPUTATION_ONE
            # The leaf rounds down, twice where it cuts.
            assert exact - 1.001 - cut < leaf < exact + 0.001


def vectors() -> list[dict[str, Any]]:
    """Trainers of tests/vectors/reputation_seed.json, which the contracts' tests read too, in rounds with weight."""
    data = json.loads((ROOT / "tests/vectors/reputation_seed.json").read_text())
    assert data["spec"]["continuePpb"] == 850_000_000 and data["spec"]["neckThresholdPpb"] == 900_000_000
    assert data["spec"]["connectivityDecayPpb"] == 500_000_000
    return [case | {"neckFrom": data["spec"]["neckMinValidators"]} for case in data["trainers"] if case["visits"]]


@pytest.mark.parametrize("case", vectors(), ids=lambda case: f"{case['visits']} visits")
def test_the_vectors_that_solidity_reads_are_the_engine_s_reputation(case: dict[str, Any]) -> None:
    weight, total = int(case["weight"]), int(case["totalWeight"])
    edges: list[tuple[str, str, float]] = []
    for v, (stake, given_weight) in enumerate(zip(case["stakes"], case["given"], strict=True)):
        confirmed = min(int(given_weight), weight)
        edges += [(SEED, f"v{v}", stake), (f"v{v}", "trainer", confirmed), (f"v{v}", "rest", total - confirmed)]
    graph = Graph.from_edges([edge for edge in edges if edge[2]])
    decay = 0.5 if case["stakedValidators"] >= case["neckFrom"] else 0.0
    found = compute(graph, SEED, connectivity_decay=decay, threshold=0.9)
    at = graph.place("trainer")
    cut = found.necks is not None and bool(found.necks.cut[at])
    exact = float(found.measure[at]) * (0.5 if cut else 1.0) * REPUTATION_ONE
    # The leaf rounds down, twice where it cuts.
    assert exact - 1.001 - cut < case["visits"] < exact + 0.001


def test_the_engine_and_the_leaf_cut_at_exactly_the_threshold() -> None:
    stakes, weights = [90, 5, 3, 2], [100]
    votes = [Vote(stake, 100) for stake in stakes]
    edges = edges_for({v: {0: 100} for v in range(4)}, stakes, weights)
    graph = Graph.from_edges([(edge.source, edge.target, edge.weight) for edge in edges])
    found = compute(graph, SEED, connectivity_decay=0.5, threshold=0.9)
    assert found.necks is not None
    assert found.necks.share[graph.place("trainer-0")] == pytest.approx(0.9, abs=1e-12)
    assert found.necks.cut[graph.place("trainer-0")]
    assert trainer_visits(votes, 100, 100, 4, SPEC) == 850_000_000**2 // 10**9 // 2
