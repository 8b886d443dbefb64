"""Graphs from strangers: what is refused, what is left out, and that order says nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import EmeritError
from emerit.reputation import Graph, compute, decayed


@pytest.mark.parametrize(
    ("edges", "code"),
    [
        ([], "graph-empty"),
        ([[1, 2]], "graph-edge"),
        ([[1, 2, 3, 4]], "graph-edge"),
        (["abc"], "graph-edge"),
        ([7], "graph-edge"),
        ([[1.5, 2, 1]], "graph-edge"),
        ([[True, 2, 1]], "graph-edge"),
        ([[None, 2, 1]], "graph-edge"),
        ([["\ud800", 2, 1]], "graph-edge"),
        (None, "graph-edge"),
        (7, "graph-edge"),
        ([[1, 2, math.nan]], "graph-weight"),
        ([[1, 2, math.inf]], "graph-weight"),
        ([[1, 2, -math.inf]], "graph-weight"),
        ([[1, 2, 10**400]], "graph-weight"),
        ([[1, 2, "3"]], "graph-weight"),
        ([[1, 2, True]], "graph-weight"),
        ([[1, 2, None]], "graph-weight"),
        ([[1, 2, 1j]], "graph-weight"),
        ([[1, 2, 1.7e308], [1, 2, 1.7e308]], "graph-weight"),
    ],
)
def test_what_is_no_graph_is_refused(edges: Any, code: str) -> None:
    with pytest.raises(EmeritError) as caught:
        Graph.from_edges(edges)
    assert caught.value.code == code
    assert caught.value.cause
    assert caught.value.fix


def test_edges_to_oneself_and_of_weight_zero_are_left_out_and_counted() -> None:
    graph = Graph.from_edges([("a", "a", 5), ("a", "b", 1), ("b", "c", 0), ("b", "b", -1)])
    assert list(graph.nodes) == ["a", "b", "c"]
    assert graph.weight.tolist() == [1.0]
    assert graph.dropped == {"self-edge": 2, "zero-edge": 1}
    assert compute(graph, "a")["c"] == 0


def test_weights_of_a_pair_add_up() -> None:
    graph = Graph.from_edges([(0, 1, 0.1), (0, 1, 0.2), (0, 2, 5), (0, 2, -5), (0, 3, 1), (0, 3, -3)])
    assert graph.weight.tolist() == [math.fsum([0.1, 0.2]), -2.0]
    assert graph.dropped == {"zero-edge": 1}


def test_nodes_are_ordered_integers_first() -> None:
    assert list(Graph.from_edges([("b", 10, 1), (9, "a", 1)], nodes=["z"]).nodes) == [9, 10, "a", "b", "z"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(1e-3, 1e3)), min_size=1), st.randoms())
def test_the_order_of_edges_says_nothing(edges: list[tuple[int, int, float]], random: Any) -> None:
    mixed = list(edges)
    random.shuffle(mixed)
    ego = edges[0][0]
    assert np.array_equal(compute(edges, ego).fixed, compute(mixed, ego).fixed)


def test_arrays_and_triples_make_the_same_graph() -> None:
    source, target, weight = np.array([2, 0, 0, 1]), np.array([1, 2, 1, 1]), np.array([3.0, -1.0, 2.0, 1.0])
    one = Graph.from_arrays(source, target, weight, 4)
    other = Graph.from_edges(zip(source.tolist(), target.tolist(), weight.tolist(), strict=True), nodes=range(4))
    assert list(one.nodes) == list(other.nodes)
    assert one.dropped == other.dropped
    for name in ("source", "target", "weight"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("source", "target", "weight", "size", "code"),
    [
        ([0, 1], [1], [1.0], 2, "graph-edge"),
        ([0], [2], [1.0], 2, "graph-edge"),
        ([-1], [1], [1.0], 2, "graph-edge"),
        ([0], [1], [math.nan], 2, "graph-weight"),
        ([0, 0], [1, 1], [1.0, 2.0], 2, "graph-edge"),
        ([], [], [], 0, "graph-empty"),
    ],
)
def test_arrays_are_checked(source: list[int], target: list[int], weight: list[float], size: int, code: str) -> None:
    with pytest.raises(EmeritError) as caught:
        Graph.from_arrays(np.array(source, dtype=np.int64), np.array(target, dtype=np.int64), np.array(weight), size)
    assert caught.value.code == code


def test_weights_that_would_overflow_together_keep_their_ratios() -> None:
    huge = compute([(0, 1, 1.6e308), (0, 2, 0.8e308), (0, 3, 1.6e308)], 0)
    plain = compute([(0, 1, 2), (0, 2, 1), (0, 3, 2)], 0)
    assert huge.ranking() == plain.ranking()


def test_a_share_too_small_for_a_number_is_no_edge() -> None:
    tiny = compute([(0, 1, 1e308), (0, 2, 5e-324), (2, 3, 1)], 0, connectivity_decay=0.5)
    assert tiny.ranking()[:2] == compute([(0, 1, 1)], 0).ranking()
    assert tiny[2] == tiny[3] == 0


def test_epochs_decay() -> None:
    graph = decayed([[("a", "b", 8)], [("a", "b", 1), ("a", "c", 4)], [("a", "c", 1)]], keep=0.5)
    assert graph.weight.tolist() == [8 / 4 + 1 / 2, 4 / 2 + 1]
    assert decayed([[("a", "b", 8)], [("a", "c", 4)]], keep=0.0).weight.tolist() == [4.0]
    with pytest.raises(EmeritError) as caught:
        decayed([[("a", "b", 8)]], keep=1.5)
    assert caught.value.code == "reputation-parameter"


def test_nodes_may_be_any_integers_and_any_text() -> None:
    graph = Graph.from_edges([(np.int64(3), "\U0001f600", 1), ("\U0001f600", "e\u0301", 2), (3, -(10**30), 1)])
    assert graph.nodes == [-(10**30), 3, "e\u0301", "\U0001f600"]
    assert all(type(node) in (int, str) for node in graph.nodes)


def test_arrays_of_other_types_mean_the_same_and_fractions_are_no_nodes() -> None:
    wanted = compute([(0, 1, 2), (1, 2, 1)], 0).fixed.tolist()
    for kind in (np.int32, np.uint64):
        arrays = np.array([0, 1], dtype=kind), np.array([1, 2], dtype=kind), np.array([2, 1])
        assert compute(Graph.from_arrays(*arrays, 3), 0).fixed.tolist() == wanted
    with pytest.raises(EmeritError) as caught:
        Graph.from_arrays(np.array([0.5]), np.array([1.0]), np.array([1.0]), 2)
    assert caught.value.code == "graph-edge"
