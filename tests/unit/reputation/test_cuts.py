"""Who is cut off by one node: against taking every node out in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.reputation.cuts import heads, search_tree
from emerit.reputation.dominators import immediate_dominators
from emerit.reputation.graph import Graph, Steps


def reached(edges: set[tuple[int, int]], without: int | None = None) -> set[int]:
    found, waiting = {0}, [0]
    while waiting:
        node = waiting.pop()
        fresh = {b for a, b in edges if a == node and b != without} - found
        found |= fresh
        waiting += fresh
    return found


def steps_of(edges: set[tuple[int, int]], size: int) -> Steps:
    return Graph.from_edges([(a, b, 1) for a, b in edges], nodes=range(size)).steps


@st.composite
def shapes(draw: st.DrawFn) -> tuple[set[tuple[int, int]], int]:
    size = draw(st.integers(1, 16))
    ends = st.integers(0, size - 1)
    return draw(st.sets(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]), max_size=3 * size)), size


@given(shapes())
def test_dominators_are_who_cannot_be_gone_around(case: tuple[set[tuple[int, int]], int]) -> None:
    edges, size = case
    everyone = reached(edges)
    found = immediate_dominators(steps_of(edges, size), 0)
    lost = {u: everyone - reached(edges, without=u) for u in everyone - {0}}
    for node in range(size):
        if node not in everyone or node == 0:
            assert found[node] == (0 if node == 0 else -1)
            continue
        above = {u for u in lost if u != node and node in lost[u]}
        # The immediate one is the dominator that all other dominators dominate.
        nearest = max(above, key=lambda u: sum(u in lost[other] for other in above), default=0)
        assert found[node] == nearest


@given(shapes(), st.integers(0, 3))
def test_heads_are_the_first_dominators(case: tuple[set[tuple[int, int]], int], rounds: int) -> None:
    edges, size = case
    everyone = reached(edges)
    lost = {u: everyone - reached(edges, without=u) for u in everyone - {0}}
    for found in (heads(steps_of(edges, size), 0), heads(steps_of(edges, size), 0, rounds=rounds)):
        for node in range(size):
            above = {u for u in lost if u != node and node in lost[u]}
            first = [u for u in above if not any(u in lost[other] for other in above - {u})]
            assert found[node] == ((first[0] if first else node) if node in everyone else -1)


def test_a_graph_that_needs_many_rounds_is_handed_over() -> None:
    size = 400
    # 1 reaches all directly, and 2 walks up the ladder: each round frees one node more.
    edges = {(0, 1), (0, 2), (2, 3)} | {(1, at) for at in range(3, size)} | {(at, at + 1) for at in range(3, size - 1)}
    found = heads(steps_of(edges, size), 0)
    assert found.tolist() == list(range(size))


@pytest.mark.parametrize("rounds", [0, 64])
def test_a_long_chain_has_one_head(rounds: int) -> None:
    size = 3000
    found = heads(steps_of({(at, at + 1) for at in range(size - 1)}, size), 0, rounds=rounds)
    assert found.tolist() == [0] + [1] * (size - 1)


@given(shapes())
def test_the_search_tree_reaches_who_can_be_reached(case: tuple[set[tuple[int, int]], int]) -> None:
    edges, size = case
    tree = search_tree(steps_of(edges, size), 0)
    assert set(tree.order.tolist()) == reached(edges)
    assert len(np.unique(tree.order)) == len(tree.order)
    for node in tree.order[1:].tolist():
        assert (int(tree.parent[node]), node) in edges
