from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.consensus import Consensus, Votes, aggregated_slots, reach_consensus
from tests.unit.protocol.builders import Plain, some_votes


def weights(plain: Plain) -> tuple[int, ...]:
    return reach_consensus(plain.votes()).weights


def test_the_weight_is_the_stake_weighted_median() -> None:
    assert weights(Plain((10, 10, 10), ((5, 50), (7, 10), (9, 30)))) == (7, 30)
    assert weights(Plain((30, 10, 10), ((5, 50), (7, 10), (9, 30)))) == (5, 50)


def test_of_two_equal_stakes_the_lower_value_counts() -> None:
    assert weights(Plain((10, 10), ((5,), (9,)))) == (5,)


def test_two_thirds_of_all_stake_must_vote() -> None:
    just_enough = Plain((20, 20, 20), ((5,), (5,), None))
    assert weights(just_enough) == (5,)
    too_little = Plain((20, 20, 21), ((5,), (5,), None))
    assert weights(too_little) == (0,)
    assert reach_consensus(too_little.votes()).covered == (False,)


def test_refused_is_what_was_judged_to_be_worth_nothing() -> None:
    consensus = reach_consensus(Plain((20, 20, 20), ((0, 1, None, 0), (0, 1, None, 0), (0, 1, 0, 5))).votes())
    assert consensus.weights == (0, 1, 0, 0)
    assert [consensus.refused(slot) for slot in range(5)] == [True, False, False, True, False]


def test_abstaining_on_one_trainer_counts_only_there() -> None:
    assert weights(Plain((10, 10, 10), ((None, 4), (7, 4), (9, 4)))) == (7, 4)
    assert weights(Plain((10, 10, 10), ((None, 4), (None, 4), (9, 4)))) == (0, 4)


def test_a_validator_without_stake_has_no_say() -> None:
    votes = Plain((10, 0), ((5,), (500,))).votes()
    assert reach_consensus(votes).weights == (5,)
    assert votes.row(0) == (5,) + (minifloat.ABSTAIN,) * 15


def test_a_slot_without_a_member_has_no_weight() -> None:
    votes = replace(Plain((10,), ((5, 6),)).votes(), occupied=frozenset({0}))
    assert votes.row(1) == (minifloat.ABSTAIN,) * 16
    assert reach_consensus(votes).weights == (5, 0)
    assert reach_consensus(votes).covered == (True, False)


def test_no_stake_no_weight() -> None:
    consensus = reach_consensus(Votes(2, (0, 0), {0: (1, 1, 1, 1)}, frozenset({0, 1})))
    assert consensus == Consensus((0, 0), (False, False), None)


def test_the_total_leaves_out_weight_one() -> None:
    assert reach_consensus(Plain((10,), ((5, 1, 6),)).votes()).total_weight == 11


def test_the_base_loss_is_the_median_of_those_who_gave_one() -> None:
    plain = Plain((10, 10, 10, 10), ((5,), (5,), None, (5,)), base=(100, 300, 200, None))
    assert reach_consensus(plain.votes()).base_loss == 100


@given(some_votes())
def test_the_order_of_reveals_does_not_matter(votes: Votes) -> None:
    reversed_vectors = dict(reversed(list(votes.vectors.items())))
    assert reach_consensus(replace(votes, vectors=reversed_vectors)) == reach_consensus(votes)


@given(some_votes())
def test_every_weight_was_given_by_a_validator_with_stake(votes: Votes) -> None:
    consensus = reach_consensus(votes)
    for slot, weight in enumerate(consensus.weights):
        if weight:
            assert minifloat.encode(weight) in votes.row(slot)
            assert slot in votes.occupied


@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(1000, 2000)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, minifloat.MAX_CODE)), max_size=6),
)
def test_an_honest_majority_of_stake_bounds_the_weight(
    honest: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    spare = sum(stake for stake, _ in others) - sum(stake for stake, _ in honest)
    stakes = [stake for stake, _ in honest] + [stake for stake, _ in others]
    stakes[0] += max(0, spare + 1)
    given_codes = [code for _, code in honest] + [code for _, code in others]
    votes = Votes(1, tuple(stakes), {v: (0, 0, code) for v, code in enumerate(given_codes)}, frozenset({0}))
    weight = reach_consensus(votes).weights[0]
    truth = [minifloat.decode(code) for _, code in honest]
    assert min(truth) <= weight <= max(truth)


@pytest.mark.parametrize(
    ("weights", "limit", "slots"),
    [
        ((0, 5, 9, 1, 5), 3, (1, 2, 4)),
        ((0, 5, 9, 1, 5), 2, (1, 2)),
        ((0, 5, 9, 1, 5), 16, (1, 2, 3, 4)),
        ((0, 0), 16, ()),
        ((), 16, ()),
    ],
)
def test_the_largest_weights_are_aggregated(weights: tuple[int, ...], limit: int, slots: tuple[int, ...]) -> None:
    consensus = Consensus(weights, tuple(True for _ in weights), None)
    assert aggregated_slots(consensus, limit) == slots


@pytest.mark.parametrize(
    "change",
    [
        {"trainer_slots": 257},
        {"trainer_slots": 2},
        {"stake_lanes": (65536,)},
        {"stake_lanes": (1,) * 17},
        {"stake_lanes": ()},
        {"vectors": {0: (0, 0, 65536)}},
        {"vectors": {0: (0, 0, -1)}},
        {"vectors": {-1: (0, 0, 0)}},
        {"occupied": frozenset({1})},
    ],
)
def test_votes_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    good = Votes(1, (10,), {0: (0, 0, 5)}, frozenset({0}))
    with pytest.raises(StateError, match="votes-inconsistent"):
        replace(good, **change)  # type: ignore[arg-type]
