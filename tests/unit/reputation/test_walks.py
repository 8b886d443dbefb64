"""Walks as the oracle: what they count agrees with the closed forms within the error that their number predicts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.reputation import Graph, Reputation, compute
from emerit.reputation.walks import pair_counts, traces, uniform
from tests.unit.reputation.exact import Edges, small_graphs, triples

WALKS = 20_000
# Of a few hundred comparisons of each run none is expected to be this many standard errors off.
SIGMAS = 6.0


@settings(max_examples=25, deadline=None)
@given(small_graphs(negatives=True), st.sampled_from(["visits", "hitting"]), st.integers(0, 2**64 - 1))
def test_walks_agree_with_the_closed_forms(case: tuple[Edges, int], base: str, seed: int) -> None:
    edges, size = case
    graph = Graph.from_edges(triples(edges), nodes=range(size))
    exact = compute(graph, 0, base=base, connectivity_decay=0.5, threshold=0.7)
    walked = compute(graph, 0, base=base, connectivity_decay=0.5, threshold=0.7, walks=WALKS, seed=seed)
    one_walk = np.sqrt(np.maximum(exact.measure, exact.measure**2))
    assert (np.abs(walked.measure - exact.measure) <= SIGMAS * 2 * one_walk / np.sqrt(WALKS)).all()
    assert exact.necks is not None
    assert walked.necks is not None
    hits = WALKS * exact.measure
    seen = hits > 100
    off = np.abs(walked.necks.share - exact.necks.share)[seen]
    assert (off <= SIGMAS * 0.5 / np.sqrt(hits[seen] / 3)).all()
    undecayed, counted = compute(graph, 0, base=base), compute(graph, 0, base=base, walks=WALKS, seed=seed)
    assert np.abs(undecayed.scores - counted.scores).max() <= SIGMAS * counted.error


def test_the_error_shrinks_with_the_root_of_the_walks() -> None:
    edges = [(0, 1, 2), (0, 2, 1), (1, 3, 1), (2, 3, 4), (3, 0, 1)]
    few, many = compute(edges, 0, walks=1_000), compute(edges, 0, walks=100_000)
    assert few.error / many.error == pytest.approx(10, rel=0.1)
    assert np.abs(many.scores - compute(edges, 0).scores).max() < 5 * many.error


@given(st.integers(0, 2**70), st.integers(0, 100))
def test_random_numbers_depend_on_seed_walk_and_step_alone(seed: int, step: int) -> None:
    together = uniform(seed, np.arange(50), step)
    alone = [float(uniform(seed, np.array([walk]), step)[0]) for walk in range(50)]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < 1)).all()


def test_random_numbers_are_spread_evenly_and_not_tied_to_their_neighbours() -> None:
    numbers = np.array([uniform(7, np.arange(2000), step) for step in range(50)])
    counts = np.bincount((numbers.ravel() * 100).astype(int), minlength=100)
    assert ((counts - 1000) ** 2 / 1000).sum() < 160
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015
    other_seed = np.array([uniform(8, np.arange(2000), step) for step in range(50)])
    assert abs(np.corrcoef(numbers.ravel(), other_seed.ravel())[0, 1]) < 0.015


def test_walks_are_the_same_alone_and_in_batches() -> None:
    graph = Graph.from_edges([(0, 1, 2), (0, 2, 1), (1, 2, 1), (2, 0, 1), (2, 1, 3)])
    few = next(traces(graph.steps, 0, 0.85, 100, 3))
    batches = list(traces(graph.steps, 0, 0.85, 70_000, 3))
    assert len(batches) == 2
    first = batches[0].walk < 100
    assert np.array_equal(batches[0].node[first], few.node)
    assert np.array_equal(batches[0].step[first], few.step)
    assert sum(each.walks for each in batches) == 70_000


def test_long_walks_come_in_small_batches_and_change_nothing() -> None:
    graph = Graph.from_edges([(at, (at + step) % 30, 1) for at in range(30) for step in (1, 7)])
    many = list(traces(graph.steps, 0, 0.9999, 500, 3))
    assert [each.walks for each in many] == [419, 81]
    assert max(len(each.node) for each in many) < 10 * 419 / (1 - 0.9999)
    alone = next(traces(graph.steps, 0, 0.9999, 2, 3))
    first = many[0].walk < 2
    assert np.array_equal(many[0].node[first], alone.node)


def test_pairs_are_counted_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph.from_edges([(at, (at + step) % 30, 1) for at in range(30) for step in (1, 7)])
    walks = next(traces(graph.steps, 0, 0.9, 300, 3))
    ((keys, times),) = pair_counts(walks, 0)
    monkeypatch.setattr("emerit.reputation.walks._BATCH_PAIRS", 100)
    parts = list(pair_counts(walks, 0))
    assert len(parts) > 10
    together = np.bincount(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
    assert np.array_equal(np.flatnonzero(together), keys)
    assert np.array_equal(together[keys], times)
    # Whoever is met first, second, ... is followed by all that come after, but for the ego.
    chain = next(traces(Graph.from_edges([(0, 1, 1), (1, 2, 1), (2, 3, 1)]).steps, 0, 0.9999, 1, 0))
    ((keys, times),) = pair_counts(chain, 0)
    assert keys.tolist() == [1 * 4 + 2, 1 * 4 + 3, 2 * 4 + 3]
    assert times.tolist() == [1, 1, 1]


def test_the_same_seed_gives_the_same_result_and_another_another() -> None:
    edges = [(0, 1, 2), (0, 2, 1), (1, 2, 1), (2, 0, 1)]

    def walked(seed: int) -> Reputation:
        return compute(edges, 0, walks=1000, seed=seed)

    assert np.array_equal(walked(1).fixed, walked(1).fixed)
    assert not np.array_equal(walked(1).fixed, walked(2).fixed)


def test_walks_take_edges_by_their_weights() -> None:
    found = compute([(0, 1, 3), (0, 2, 1)], 0, continue_=0.9, walks=100_000, base="hitting")
    assert found.measure.tolist() == pytest.approx([1, 0.675, 0.225], abs=0.007)
    assert found.as_dict()["method"] == "walks"


def test_hitting_on_a_large_graph_is_walked() -> None:
    found = compute([(0, at, 1) for at in range(1, 4_002)], 0, base="hitting", connectivity_decay=0.5)
    assert found.parameters.walks == 100_000
    assert found.error > 0
    assert abs(float(found.scores[0]) - 1 / 1.85) < 10 * found.error
