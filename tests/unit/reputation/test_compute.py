"""MeritRank against fractions, against figures known by hand, and at its borders."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.errors import EmeritError
from emerit.reputation import compute, connectivity
from emerit.reputation.connectivity import Priority, exact_necks
from emerit.reputation.graph import Graph
from tests.unit.reputation.exact import Edges, hit, neck, small_graphs, triples, visits

A = Fraction(17, 20)


def furthest(found: Any, expected: list[Fraction]) -> float:
    return float(np.abs(np.array(found) - np.array([float(each) for each in expected])).max())


@settings(max_examples=40, deadline=None)
@given(small_graphs(negatives=True))
def test_both_measures_and_dislikes_are_what_fractions_say(case: tuple[Edges, int]) -> None:
    edges, size = case
    graph = Graph.from_edges(triples(edges), nodes=range(size))
    kept = [
        1 - sum((-w * hit(edges, size, A, node, b) for (a, b), w in edges.items() if a == 0 and w < 0), Fraction(0))
        for node in range(size)
    ]
    for base, measure in (
        ("visits", visits(edges, size, A, 0)),
        ("hitting", [hit(edges, size, A, 0, node) for node in range(size)]),
    ):
        scores = [m * k / sum(measure) for m, k in zip(measure, kept, strict=True)]
        found = compute(graph, 0, base=base)
        assert furthest(found.measure, measure) < 1e-10
        assert furthest(found.scores, scores) < 1e-10
        assert furthest(found.fixed * 1e-9, scores) < 1e-8


@settings(max_examples=40, deadline=None)
@given(small_graphs(), st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_necks_are_what_fractions_say(case: tuple[Edges, int], threshold: float) -> None:
    edges, size = case
    graph = Graph.from_edges(triples(edges), nodes=range(size))
    exact = [Fraction(0), *(neck(edges, size, A, 0, node) for node in range(1, size))]
    found = compute(graph, 0, connectivity_decay=0.5, threshold=threshold)
    assert found.necks is not None
    # A neck that equals the threshold reaches it: 9/10 is reached by 0.9.
    cut = [share > 0 and share >= Fraction(str(threshold)) for share in exact]
    assert found.necks.cut.tolist() == cut
    if threshold < 1:
        assert furthest(found.necks.share, exact) < 1e-10
    plain = compute(graph, 0).scores
    halved = [Fraction(float(score)) / (1 + each) for score, each in zip(plain, cut, strict=True)]
    assert furthest(found.scores, halved) < 1e-10


@settings(max_examples=30, deadline=None)
@given(small_graphs(), st.sampled_from([0.3, 0.5, 0.9]))
def test_single_necks_decide_as_all_pairs_do(case: tuple[Edges, int], threshold: float) -> None:
    edges, size = case
    graph = Graph.from_edges(triples(edges), nodes=range(size))
    found = compute(graph, 0, connectivity_decay=0.5, threshold=threshold)
    assert found.necks is not None
    priority = Priority(found.scores, size, ())
    some = connectivity.some_necks(graph.steps, 0, found.parameters, priority)
    assert some.known.all()
    assert some.cut.tolist() == found.necks.cut.tolist()
    assert (some.share > found.necks.share - 1e-9).all()
    assert np.abs(some.share - found.necks.share)[some.cut].sum() < 1e-9


def test_who_is_not_examined_is_not_decayed_and_counted_as_undecided() -> None:
    edges = [(0, 1, 9), (0, 2, 1), (1, 3, 9), (2, 3, 1), (3, 4, 1), (3, 5, 1), (4, 6, 1), (5, 6, 1)]
    graph = Graph.from_edges(edges)
    whole = compute(graph, 0, connectivity_decay=0.5, threshold=0.9)
    priority = Priority(compute(graph, 0).scores, 0, ())
    few = connectivity.some_necks(graph.steps, 0, whole.parameters, priority)
    # 4, 5 and 6 hang on 3 alone; 3 hangs on 1 for more than nine tenths, and only that needs examination.
    assert few.cut.tolist() == [False, False, False, False, True, True, True]
    assert few.known.tolist() == [True, True, True, False, True, True, True]
    asked = connectivity.some_necks(graph.steps, 0, whole.parameters, Priority(priority.scores, 0, [3]))
    assert whole.necks is not None
    assert asked.cut.tolist() == whole.necks.cut.tolist() == [False, False, False, True, True, True, True]
    assert exact_necks(graph.steps, 0, whole.parameters, priority).known.all()
    assert whole.undecided() == 0.0


# As in the tests of meritrank-python: 0 likes 1 and 2 and dislikes 3, whom 2 likes.
NEGATIVE = [(0, 1, 1), (0, 2, 1), (0, 3, -1), (2, 3, 1)]


def test_dislikes_as_the_reference_implementation_treats_them() -> None:
    found = compute(NEGATIVE, 0, base="hitting")
    reach = [1.0, 0.425, 0.425, 0.36125]
    whole = sum(reach)
    kept = [1 - 0.36125, 1.0, 1 - 0.85, 0.0]
    assert found.scores.tolist() == pytest.approx([r * k / whole for r, k in zip(reach, kept, strict=True)], abs=1e-12)
    # Others' dislikes change nothing from this point of view.
    assert compute([*NEGATIVE, (1, 2, -7)], 0, base="hitting").ranking() == found.ranking()


def test_a_disliked_node_can_fall_below_zero_and_decay_does_not_lift_it() -> None:
    edges = [(0, 1, 1), (1, 2, 1), (0, 2, -3)]
    plain, cut = compute(edges, 0), compute(edges, 0, connectivity_decay=0.9)
    assert plain[2] < 0
    assert cut[2] == plain[2]


def test_an_ego_without_edges_has_everything() -> None:
    for base in ("visits", "hitting"):
        found = compute([("a", "b", 1)], "b", base=base, connectivity_decay=0.5)
        assert found.ranking() == [("b", 10**9), ("a", 0)]
        assert found.necks is not None
        assert not found.necks.cut.any()


def test_walks_that_never_go_on_stay_with_the_ego() -> None:
    for base in ("visits", "hitting"):
        assert compute([(0, 1, 1)], 0, base=base, continue_=0.0).ranking() == [(0, 10**9), (1, 0)]


def test_walks_that_never_go_on_pass_nobody() -> None:
    graph = Graph.from_edges([(0, 1, 1), (0, 2, 1), (1, 2, 1), (2, 3, 1)])
    chosen = compute(graph, 0, continue_=0.0, connectivity_decay=0.5, threshold=0.5).parameters
    with np.errstate(all="raise"):
        some = connectivity.some_necks(graph.steps, 0, chosen, Priority(np.zeros(4), 4, [2]))
    assert some.known.all()
    assert some.cut.tolist() == [False, False, False, True]


def test_islands_have_no_reputation() -> None:
    found = compute([(0, 1, 1), (1, 0, 1), (2, 3, 9), (3, 2, 9), (2, 0, 5)], 0, connectivity_decay=0.5, threshold=0.5)
    assert found[2] == found[3] == 0
    assert found[0] + found[1] == 10**9


def test_a_chain_decays_by_powers_and_is_cut_from_its_second_node_on() -> None:
    found = compute([(at, at + 1, 1) for at in range(60)], 0, connectivity_decay=0.5)
    powers = [0.85**at for at in range(61)]
    expected = [p / sum(powers) * (0.5 if at > 1 else 1) for at, p in enumerate(powers)]
    assert found.scores.tolist() == pytest.approx(expected, abs=1e-12)
    assert found.necks is not None
    assert set(found.necks.through[2:].tolist()) == {1}


def test_ties_are_ranked_by_name() -> None:
    edges = [("ego", name, 1) for name in ("d", "b", "c", "a")] + [("ego", 7, 1)]
    assert [node for node, _ in compute(edges, "ego").ranking()] == ["ego", 7, "a", "b", "c", "d"]
    assert len({value for _, value in compute(edges, "ego").ranking()[1:]}) == 1


@settings(max_examples=30, deadline=None)
@given(small_graphs())
def test_a_warm_start_ends_where_a_cold_one_does(case: tuple[Edges, int]) -> None:
    edges, size = case
    before = compute(Graph.from_edges(triples(edges), nodes=range(size)), 0)
    changed = Graph.from_edges([*triples(edges), (0, 1, 5)], nodes=range(size))
    cold, warm = compute(changed, 0), compute(changed, 0, warm=before)
    assert furthest(warm.scores, [Fraction(float(each)) for each in cold.scores]) < 1e-9
    assert compute(changed, 0, warm=cold).iterations <= 2


@given(st.floats(0.0, 0.99), small_graphs())
def test_the_stated_error_holds(continue_: float, case: tuple[Edges, int]) -> None:
    edges, size = case
    graph = Graph.from_edges(triples(edges), nodes=range(size))
    rough = compute(graph, 0, continue_=continue_, tolerance=1e-3)
    fine = compute(graph, 0, continue_=continue_, tolerance=1e-14)
    assert np.abs(rough.scores - fine.scores).max() <= rough.error + fine.error + 1e-12


@pytest.mark.parametrize(
    "options",
    [
        {"base": "pagerank"},
        {"continue_": 1.0},
        {"continue_": -0.1},
        {"continue_": float("nan")},
        {"connectivity_decay": 1.1},
        {"connectivity_decay": float("nan")},
        {"threshold": 0.0},
        {"threshold": 1.01},
        {"walks": 0},
        {"walks": 1.5},
        {"walks": True},
        {"walks": 10, "seed": 0.5},
        {"continue_": "0.5"},
        {"threshold": None},
        {"tolerance": 0.0},
        {"examined": -1},
    ],
)
def test_parameters_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(EmeritError) as caught:
        compute([(0, 1, 1)], 0, **options)
    assert caught.value.code == "reputation-parameter"


@pytest.mark.parametrize("ego", [3, "0", True, None, [0]])
def test_an_ego_that_is_not_there_is_refused(ego: Any) -> None:
    with pytest.raises(EmeritError) as caught:
        compute([(0, 1, 1)], ego)
    assert caught.value.code == "reputation-node"


def test_other_errors_say_what_is_wrong() -> None:
    for weight in (-1e10, -1.7e308):
        for walks in (None, 10):
            with pytest.raises(EmeritError) as caught:
                compute([(0, 1, 1), (1, 2, 1), (0, 2, weight), (0, 3, weight)], 0, walks=walks)
            assert caught.value.code == "reputation-overflow"
    with pytest.raises(EmeritError) as caught:
        compute([(0, 1, 1)], 0, warm=compute([(0, 1, 1), (1, 2, 1)], 0))
    assert caught.value.code == "reputation-parameter"
    with pytest.raises(EmeritError) as caught:
        compute([(0, 1, 1)], 0, nodes=[5])
    assert caught.value.code == "reputation-node"


def test_a_result_reads_as_json() -> None:
    record = compute([("a", "b", 1), ("b", "c", 1)], "a", connectivity_decay=0.5).as_dict(limit=3)
    assert record["ego"] == "a"
    assert record["method"] == "exact"
    assert [row["node"] for row in record["nodes"]] == ["a", "b", "c"]
    assert record["nodes"][2]["through"] == "b"
    assert record["nodes"][2]["cut"] is True
