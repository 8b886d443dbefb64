"""Explanations of a leaf's reputation: they end at the leaf's number, and their parts add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol.presets import preset
from emerit.protocol.reputation import Vote, next_reputation, trainer_visits, validator_visits
from emerit.reputation.explain import Explanation, explain_trainer, explain_validator, from_validator

SPEC = preset("demo").reputation


def parts_add_up(told: Explanation) -> None:
    assert told.undecayed - told.transitivity_took - told.connectivity_took == told.visits
    assert told.before - told.epoch_took + told.epoch_added == told.reputation
    for part in (told.undecayed, told.transitivity_took, told.connectivity_took, told.epoch_took, told.epoch_added):
        assert part >= 0


@given(
    st.dictionaries(st.integers(0, 15), st.tuples(st.integers(1, 65535), st.integers(0, 1 << 40)), max_size=6),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 45),
    st.integers(0, 10**9),
)
def test_the_explanation_of_a_trainer_ends_at_its_leaf(
    given_out: dict[int, tuple[int, int]], weight: int, others: int, before: int
) -> None:
    votes = {slot: Vote(*vote) for slot, vote in given_out.items()}
    total = weight + others
    told = explain_trainer(votes, weight, total, len(votes), before, SPEC)
    visits = trainer_visits(list(votes.values()), weight, total, len(votes), SPEC)
    assert told.visits == visits
    assert told.reputation == next_reputation(before, visits, SPEC)
    parts_add_up(told)
    carried = sum(path.visits for path in told.paths)
    assert visits + told.connectivity_took - len(told.paths) <= carried <= visits + told.connectivity_took
    assert 10**9 - len(told.paths) <= sum(path.share for path in told.paths) <= 10**9 or not told.paths


@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans(), st.integers(0, 10**9))
def test_the_explanation_of_a_validator_ends_at_its_leaf(stake: int, others: int, revealed: bool, before: int) -> None:
    told = explain_validator(stake, stake + others, revealed, before, SPEC)
    assert told.reputation == next_reputation(before, validator_visits(stake, stake + others, revealed, SPEC), SPEC)
    assert told.paths == ()
    parts_add_up(told)


def test_an_example_by_hand() -> None:
    votes = {0: Vote(90, 500), 1: Vote(5, 400), 2: Vote(4, 0), 3: Vote(1, 900)}
    told = explain_trainer(votes, 500, 1000, 4, 100_000_000, SPEC)
    assert [path.validator for path in told.paths] == [0, 1, 3]
    assert [path.confirmed for path in told.paths] == [500, 400, 500]
    assert told.undecayed == (90 * 500 + 5 * 400 + 1 * 500) * 10**9 // (100 * 1000)
    assert told.paths[0].share == 45_000 * 10**9 // 47_500
    assert told.connectivity_took == told.undecayed * 7225 // 10_000 - told.visits
    assert told.connectivity_took > 0


def test_a_validator_s_own_view() -> None:
    assert from_validator(400, 500, 1000, SPEC) == 340_000_000
    assert from_validator(900, 500, 1000, SPEC) == 425_000_000
    assert from_validator(0, 500, 1000, SPEC) == from_validator(1, 1, 0, SPEC) == 0
