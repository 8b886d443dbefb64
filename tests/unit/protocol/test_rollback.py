"""When a round takes the last aggregate back, what it pays, and that nobody can challenge that."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol import minifloat
from emerit.protocol.challenges import Settled, find_fault, find_faults
from emerit.protocol.consensus import Votes, reach_consensus
from emerit.protocol.rollback import takes_back
from emerit.protocol.settlement import ValidatorOutcome, settle
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Fault, Role
from tests.unit.protocol.builders import facts_of, inputs_for, leaf, settled

LIMIT = 1000
HARM, FINE = minifloat.encode(5 * LIMIT), minifloat.encode(LIMIT)
A = minifloat.ABSTAIN
ROLES = (Role.TRAINER, Role.TRAINER, Role.VALIDATOR, Role.VALIDATOR, Role.VALIDATOR)

lanes = st.lists(st.sampled_from([0, 1, 7, 4000, A]), min_size=2, max_size=2).map(tuple)
healths = st.sampled_from([0, FINE, FINE + 1, HARM, A])
vectors = st.tuples(st.just(50), healths, st.one_of(st.just((0, 0)), lanes)).map(lambda v: (v[0], v[1], *v[2]))


def votes(stakes: tuple[int, ...], *given: tuple[int, ...] | None) -> Votes:
    found = {slot: (50, *vector) for slot, vector in enumerate(given) if vector is not None}
    return Votes(2, stakes, found, frozenset({0, 1}))


def test_more_than_half_of_all_stake_takes_it_back() -> None:
    back, fine = (HARM, 0, 0), (0, 4, 4)
    assert takes_back(votes((10, 10, 10), back, back, fine), LIMIT)
    assert not takes_back(votes((10, 10, 20), back, back, fine), LIMIT)  # just half
    assert not takes_back(votes((10, 10, 10), back, fine, fine), LIMIT)
    assert takes_back(votes((21, 10, 10), back, fine, fine), LIMIT)
    assert not takes_back(votes((10, 10), None, back), LIMIT)  # the absent have a say, and the quorum is missed


def test_two_thirds_must_have_revealed() -> None:
    assert not takes_back(votes((60, 40), (HARM, 0, 0), None), LIMIT)
    assert takes_back(votes((67, 33), (HARM, 0, 0), None), LIMIT)


def test_only_above_the_limit_without_any_weight_and_where_it_is_possible() -> None:
    assert not takes_back(votes((10,), (FINE, 0, 0)), LIMIT)
    assert takes_back(votes((10,), (FINE + 1, 0, 0)), LIMIT)
    for vector in ((HARM, 1, 0), (HARM, 0, A), (A, 0, 0)):
        assert not takes_back(votes((10,), vector), LIMIT)
    assert not takes_back(votes((10,), (HARM, 0, 0)), 0)
    assert not takes_back(votes((10,), (HARM, 0, 0)), LIMIT, is_possible=False)
    assert not takes_back(votes((0,), (HARM, 0, 0)), LIMIT)
    assert not takes_back(votes(()), LIMIT)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.one_of(st.none(), vectors)), min_size=1, max_size=16),
    st.booleans(),
)
def test_half_of_the_stake_cannot_cause_it_and_where_it_is_caused_every_weight_is_0(
    members: list[tuple[int, tuple[int, ...] | None]], all_votes: bool
) -> None:
    stakes = tuple(stake for stake, _ in members)
    given = {slot: vector for slot, (_, vector) in enumerate(members) if vector is not None}
    if all_votes:
        given = {slot: (50, HARM, 0, 0) if slot % 3 else vector for slot, vector in given.items()}
    found = Votes(2, stakes, given, frozenset({0, 1}))
    caused = takes_back(found, LIMIT)
    voting = sum(stakes[slot] for slot, v in given.items() if v[1] != A and v[1] > FINE and v[2:] == (0, 0))
    if 2 * voting <= sum(stakes):
        assert not caused
    if caused:
        assert reach_consensus(found).weights == (0, 0)


def test_such_a_round_pays_nobody_and_keeps_what_was_earned() -> None:
    found = votes((10, 10, 10), (HARM, 0, 0), (HARM, 0, 0), (A, 4000, 4000))
    assert takes_back(found, LIMIT)
    before = [leaf(index, 100 + index) for index in range(5)]
    before = [
        dataclasses.replace(
            each,
            detail=dataclasses.replace(
                each.detail, amount_before_wei=sum(item.cumulative_amount_wei for item in before[:place])
            ),
        )
        for place, each in enumerate(before)
    ]
    inputs = inputs_for(ROLES, found, before)
    result = settle(inputs)
    assert set(result.amounts_wei) == {0} and result.weights == (0, 0)
    assert [each.cumulative_amount_wei for each in result.leaves] == [100, 101, 102, 103, 104]
    assert set(result.validator_outcomes.values()) <= {ValidatorOutcome.NOTHING_EARNED, ValidatorOutcome.NOT_COVERED}
    assert find_faults(settled(result), facts_of(inputs)) == ()


@pytest.mark.parametrize("what", ["amount", "weight"])
def test_paying_somebody_in_it_falls(what: str) -> None:
    inputs = inputs_for(ROLES, votes((10, 10, 10), *[(HARM, 0, 0)] * 3))
    result = settle(inputs)
    first = result.leaves[0]
    detail = dataclasses.replace(first.detail, weight=5) if what == "weight" else first.detail
    wrong = dataclasses.replace(first, cumulative_amount_wei=7 if what == "amount" else 0, detail=detail)
    more = wrong.cumulative_amount_wei, (5 if what == "weight" else 0)
    leaves = [wrong] + [
        dataclasses.replace(
            each,
            detail=dataclasses.replace(each.detail, amount_before_wei=more[0], weight_before=more[1]),
        )
        for each in result.leaves[1:]
    ]
    tree = dataclasses.replace(
        result.header.tree, root=SettlementTree(leaves).root, total_amount_wei=more[0], total_weight=more[1]
    )
    header = dataclasses.replace(result.header, tree=tree)
    fault = find_fault(Settled(header, tuple(leaves)), facts_of(inputs))
    assert fault is not None and fault.fault is Fault[what.upper()]
