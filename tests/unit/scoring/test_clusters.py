from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.clusters import Clusters, Pair, Stale, Threshold, connect

LIMIT = Threshold(None, None, 0.9)


def linked(*pairs: tuple[int, int]) -> Clusters:
    return connect([Pair(min(a, b), max(a, b), 0.95, 0.95, "copy") for a, b in pairs], LIMIT, LIMIT)


def clique(members: range) -> Clusters:
    return linked(*combinations(members, 2))


def test_components_are_numbered_by_their_lowest_slot() -> None:
    clusters = linked((7, 9), (2, 5), (5, 8))
    assert clusters.cluster_of == {2: 0, 5: 0, 8: 0, 7: 1, 9: 1}
    assert clusters.members(0) == (2, 5, 8)
    assert clusters.kinds() == dict.fromkeys((2, 5, 7, 8, 9), ("copy",))


def exact(gaps: Mapping[int, float], error: float = 0.0) -> dict[int, tuple[float, float]]:
    return {slot: (gap, error) for slot, gap in gaps.items()}


def test_of_two_copies_the_one_with_the_clearly_larger_own_gap_stays() -> None:
    gaps = {1: 0.001, 2: 0.006}
    assert linked((1, 2)).duplicates(exact(gaps, 0.0017), {1: 0, 2: 1}) == {1}
    assert linked((1, 2)).duplicates(exact(gaps, 0.0018), {1: 0, 2: 1}) == {2}


def test_gaps_that_do_not_differ_are_decided_by_the_earlier_commitment() -> None:
    assert linked((1, 2)).duplicates(exact({1: 0.006, 2: 0.006}), {1: 1, 2: 0}) == {1}
    assert linked((1, 2)).duplicates({}, {1: 0}) == {2}
    assert linked((1, 2)).duplicates({}, {}) == {2}


def test_who_trains_on_a_rivals_text_and_commits_first_is_no_original() -> None:
    learned = Threshold(0.4, 0.02, 0.6)
    gaps = exact({1: 0.002, 2: 0.0}, 0.0015)
    for likeness, left_out in ((0.65, 2), (0.9, 1)):
        pair = Pair(1, 2, likeness, likeness, "copy")
        assert connect([pair], learned, learned).duplicates(gaps, {2: 0, 1: 1}) == {left_out}


def test_whoever_is_sent_again_by_another_and_is_like_his_own_last_work_is_no_duplicate() -> None:
    pairs = [Pair(1, 2, 0.95, 0.95, "copy"), Pair(2, 3, 0.95, 0.95, "copy")]
    clusters = connect(pairs, LIMIT, LIMIT, (Stale(2, 1, 0.9, 0.9),))
    assert clusters.cluster_of == {1: 0, 2: 0, 3: 0}
    assert clusters.duplicates(exact({1: 0.0, 2: 0.006, 3: 0.0}), {2: 0, 1: 1, 3: 2}) == frozenset()


def test_an_unmeasured_copy_never_beats_a_measured_one() -> None:
    assert linked((1, 2)).duplicates({2: (-0.01, 0.5)}, {1: 0, 2: 1}) == {1}


@given(st.integers(2, 9), st.lists(st.floats(-1, 1), min_size=9, max_size=9))
def test_any_number_of_copies_of_one_update_leaves_one_original(count: int, gaps: list[float]) -> None:
    own_gap = dict(enumerate(gaps[:count]))
    originals = set(range(count)) - clique(range(count)).duplicates(exact(own_gap), {})
    assert len(originals) == 1
    assert own_gap[originals.pop()] == max(own_gap.values())


def test_resembling_six_rivals_costs_the_resembler_and_no_rival() -> None:
    star = linked(*((0, rival) for rival in range(1, 7)))
    gaps = {0: 1.0} | dict.fromkeys(range(1, 7), 0.006)
    assert star.duplicates(exact(gaps), {slot: slot for slot in range(7)}) == {0}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] != pair[1]), max_size=30),
    st.lists(st.floats(-1, 1), min_size=10, max_size=10),
    st.permutations(range(10)),
    st.floats(0, 1),
)
def test_no_two_originals_are_similar_and_every_cluster_keeps_one(
    edges: list[tuple[int, int]], gaps: list[float], order: list[int], error: float
) -> None:
    clusters = linked(*edges)
    duplicates = clusters.duplicates(exact(dict(enumerate(gaps)), error), dict(enumerate(order)))
    assert all(pair.first in duplicates or pair.second in duplicates for pair in clusters.pairs)
    for number in set(clusters.cluster_of.values()):
        assert set(clusters.members(number)) - duplicates
    assert duplicates <= set(clusters.cluster_of)
