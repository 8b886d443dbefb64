from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.challenges import (
    Settled,
    also_proven,
    equivocates,
    find_fault,
    find_faults,
    find_leaf_fault,
    is_previous_leaf,
    judge_coverage,
    judge_weight,
    next_demand,
    previous_leaf,
)
from emerit.protocol.registry import Members
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.settlement_tree import SettlementTree, verify
from emerit.protocol.types import (
    ZERO_HASH,
    Fault,
    Header,
    Leaf,
    PreviousLeaf,
    Role,
    Tree,
    pack_lanes,
    unpack_lanes,
)
from tests.unit.protocol.builders import ROUND, Plain, address, facts_of, inputs_for, leaf, settled, some_inputs

T, V = Role.TRAINER, Role.VALIDATOR


def rebuilt(original: Settled, leaves: tuple[Leaf, ...], **sums: int) -> Settled:
    """Return a settlement whose root fits these leaves and whose other fields are the original's."""
    tree = replace(original.header.tree, root=SettlementTree(leaves).root, **sums)
    return Settled(replace(original.header, tree=tree), leaves)


def with_leaf(original: Settled, mutated: Leaf) -> Settled:
    leaves = list(original.leaves)
    leaves[mutated.index] = mutated
    return rebuilt(original, tuple(leaves))


def kinds(wrong: Settled, inputs: SettlementInputs) -> dict[int, set[Fault]]:
    found: dict[int, set[Fault]] = {}
    for challenge in find_faults(wrong, facts_of(inputs)):
        found.setdefault(challenge.index, set()).add(challenge.fault)
    return found


def detailed(leaf: Leaf, **change: Any) -> Leaf:
    return replace(leaf, detail=replace(leaf.detail, **change))


def other_lane(item: Leaf, slot: int, code: int) -> Leaf:
    row = list(unpack_lanes(item.detail.row))
    row[slot] = code if code != row[slot] else code ^ 1
    return detailed(item, row=pack_lanes(row))


@settings(max_examples=300)
@given(some_inputs())
def test_an_honest_settlement_has_no_fault(inputs: SettlementInputs) -> None:
    honest = settled(settle(inputs))
    assert find_faults(honest, facts_of(inputs)) == ()
    assert find_fault(honest, facts_of(inputs)) is None


@given(some_inputs(), st.data())
def test_every_field_of_a_leaf_has_its_fault(inputs: SettlementInputs, data: st.DataObject) -> None:
    check_every_field(inputs, data)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@settings(max_examples=1000)
@given(some_inputs(), st.data())
def test_every_field_of_many_leaves_has_its_fault(inputs: SettlementInputs, data: st.DataObject) -> None:
    check_every_field(inputs, data)


def check_every_field(inputs: SettlementInputs, data: st.DataObject) -> None:
    honest = settled(settle(inputs))
    item = honest.leaves[data.draw(st.integers(0, len(honest.leaves) - 1))]
    is_trainer = inputs.members.entries[item.index].role == T
    uint64 = st.integers(0, (1 << 64) - 1)
    uint128 = st.integers(0, (1 << 128) - 1)

    def differs(strategy: st.SearchStrategy[int], value: int) -> int:
        return data.draw(strategy.filter(lambda drawn: drawn != value))

    detail = item.detail
    mutations: list[tuple[Fault, Leaf]] = [
        (Fault.IDENTITY, replace(item, account=address(99))),
        (Fault.AMOUNT, replace(item, cumulative_amount_wei=differs(uint128, item.cumulative_amount_wei))),
        (
            Fault.WEIGHT if is_trainer else Fault.COVERAGE,
            detailed(item, weight=differs(st.one_of(uint64, st.integers(0, 10)), detail.weight)),
        ),
        (Fault.REPUTATION, detailed(item, reputation=differs(uint64, detail.reputation))),
        (Fault.ROW, other_lane(item, data.draw(st.integers(0, 15)), data.draw(st.integers(0, 0xFFFF)))),
        (Fault.SUM, detailed(item, weight_before=differs(uint64, detail.weight_before))),
        (Fault.SUM, detailed(item, amount_before_wei=differs(uint128, detail.amount_before_wei))),
    ]
    for fault, mutated in mutations:
        if fault == Fault.SUM:
            found = kinds(with_leaf(honest, mutated), inputs)
            assert fault in found[item.index], "seen from the left, or as the first leaf"
        else:
            assert fault in kinds(with_leaf(honest, mutated), inputs).get(item.index, set()), fault


@given(some_inputs(), st.integers(1, 1000))
def test_totals_that_are_not_the_leaves_are_a_wrong_sum(inputs: SettlementInputs, more: int) -> None:
    honest = settled(settle(inputs))
    last = len(honest.leaves) - 1
    for name in ("total_weight", "total_amount_wei"):
        sums = {name: getattr(honest.header.tree, name) + more}
        assert Fault.SUM in kinds(rebuilt(honest, honest.leaves, **sums), inputs)[last]


@given(some_inputs(), st.data())
def test_a_thief_who_fits_the_sums_to_its_amount_is_found_by_the_amount(
    inputs: SettlementInputs, data: st.DataObject
) -> None:
    honest = settled(settle(inputs))
    at = data.draw(st.integers(0, len(honest.leaves) - 1))
    stolen = data.draw(st.integers(1, 10**18))
    leaves = list(honest.leaves)
    leaves[at] = replace(leaves[at], cumulative_amount_wei=leaves[at].cumulative_amount_wei + stolen)
    for after in range(at + 1, len(leaves)):
        leaves[after] = detailed(leaves[after], amount_before_wei=leaves[after].detail.amount_before_wei + stolen)
    total = honest.header.tree.total_amount_wei + stolen
    wrong = rebuilt(honest, tuple(leaves), total_amount_wei=total)
    assert kinds(wrong, inputs) == {at: {Fault.AMOUNT}}


def test_every_challenge_has_arguments_that_prove_it() -> None:
    """One of each kind, as the contract gets it: proofs hold, and what is needed for the verdict is there."""
    votes = Plain((10, 10, 10), ((9, 9), (9, 9), (9, None))).votes()
    inputs = inputs_for([T, V, T, V, V], votes, [leaf(0, 5), leaf(1, 6)])
    honest = settled(settle(inputs))
    wrong = {
        "challengeIdentity": replace(honest.leaves[1], account=address(9)),
        "challengeRow": other_lane(honest.leaves[2], 2, 9),
        "challengeWeight": detailed(honest.leaves[2], weight=8),
        "challengeCoverage": detailed(honest.leaves[4], weight=0),
        "challengeAmount": replace(honest.leaves[1], cumulative_amount_wei=7),
        "challengeReputation": detailed(honest.leaves[1], reputation=7),
        "challengeSum": detailed(honest.leaves[3], weight_before=7),
        "challengeFirstSum": detailed(honest.leaves[0], amount_before_wei=7),
        "challengeLastSum": detailed(honest.leaves[4], amount_before_wei=7),
    }
    for function, mutated in wrong.items():
        case = with_leaf(honest, mutated)
        challenges = {c.function: c for c in find_faults(case, facts_of(inputs)) if c.index == mutated.index}
        assert function in challenges, function
        opened, *shown = challenges[function].arguments
        assert opened.tree == case.header.tree
        for item, proof in zip(shown[::2], shown[1::2], strict=False):
            if isinstance(item, Leaf):
                assert verify(case.header.tree, item, proof)
        assert challenges[function].as_abi()[0] == opened.as_abi()
        last = shown[-1]
        if isinstance(last, PreviousLeaf):
            assert is_previous_leaf(case.header.body.previous, mutated.index, last)


def test_a_validator_that_is_not_seated_has_missed_all() -> None:
    inputs = inputs_for([V, T, V], Plain((10, 10), ((9,), (9,))).votes())
    members = inputs.members
    members = Members(ROUND, members.entries, 1, (10, 0), (0, 0))
    inputs = replace(inputs, members=members)
    honest = settled(settle(inputs))
    assert [item.detail.weight for item in honest.leaves] == [0, 9, 2]
    assert kinds(with_leaf(honest, detailed(honest.leaves[2], weight=0)), inputs) == {2: {Fault.COVERAGE}}


@pytest.mark.parametrize(
    ("weight", "upheld"),
    [(0, {2, 3}), (1, {0}), (2, {1}), (3, set()), (4, {2}), (5, {2, 3, 4}), (6, {0, 1, 2, 3, 4})],
)
def test_which_witness_shows_a_wrong_coverage(weight: int, upheld: set[int]) -> None:
    """The validator (leaf 4) voted on the trainer 0, leaf 1 is a validator, and it missed the trainers 2 and 3.

    A field of 6 names no leaf of the five.
    """
    votes = Plain((10, 10, 10, 10), ((9, 9, 9), (9, None, None), (9, 9, 9), (9, 9, 9))).votes()
    inputs = inputs_for([T, V, T, T, V, V, V], votes)
    honest = settled(settle(inputs))
    assert honest.leaves[4].detail.weight == 3
    wrong = with_leaf(honest, detailed(honest.leaves[4], weight=weight))
    tree = Tree(wrong.header.tree.root, 0, 0, 5) if weight == 6 else wrong.header.tree
    found = {
        witness.index
        for witness in wrong.leaves[:5]
        if judge_coverage(facts_of(inputs), tree, wrong.leaves[4], witness).upheld
    }
    assert found == upheld


def test_a_malicious_leaf_beyond_every_type_is_judged_all_the_same() -> None:
    inputs = inputs_for([T, V], Plain((10,), ((9,),)).votes())
    honest = settled(settle(inputs))
    top = detailed(
        honest.leaves[0], weight=(1 << 64) - 1, weight_before=(1 << 64) - 1, amount_before_wei=(1 << 128) - 1
    )
    top = replace(top, cumulative_amount_wei=(1 << 128) - 1)
    found = kinds(with_leaf(honest, top), inputs)
    assert found[0] == {Fault.WEIGHT, Fault.AMOUNT, Fault.SUM}
    assert Fault.SUM in found[1]


def test_a_row_without_voting_stake_has_no_median() -> None:
    inputs = inputs_for([T, V, V], Plain((10, 0), ((9,), (9,))).votes())
    honest = settled(settle(inputs))
    row = pack_lanes([minifloat.ABSTAIN, 9], fill=minifloat.ABSTAIN)
    wrong = with_leaf(honest, detailed(honest.leaves[0], row=row))
    facts = facts_of(inputs)
    assert judge_weight(facts, wrong.leaves[0]).expected == 0
    assert kinds(wrong, inputs)[0] == {Fault.ROW, Fault.WEIGHT, Fault.REPUTATION}


def test_leaves_that_are_not_the_header_s_are_refused() -> None:
    honest = settled(settle(inputs_for([T, V], Plain((10,), ((9,),)).votes())))
    with pytest.raises(StateError, match="leaves-unknown"):
        Settled(honest.header, honest.leaves[:1])
    with pytest.raises(StateError, match="leaves-unknown"):
        Settled(replace(honest.header, tree=replace(honest.header.tree, root=ZERO_HASH)), honest.leaves)


def test_a_header_of_another_registry_is_refused() -> None:
    inputs = inputs_for([T, V], Plain((10,), ((9,),)).votes())
    other = settled(settle(inputs_for([T, V, V], Plain((10, 1), ((9,), (9,))).votes())))
    with pytest.raises(StateError, match="settlement-inconsistent"):
        find_fault(other, facts_of(inputs))


def test_the_last_leaf_is_opened_as_the_contract_takes_it() -> None:
    before = [leaf(0, 5), leaf(1, 6), leaf(2, 7)]
    inputs = inputs_for([T, V, T, T], Plain((10,), ((9, 9, 9),)).votes(), before)
    facts = facts_of(inputs)
    assert facts.previous is not None
    opening = previous_leaf(facts.previous, 3)
    assert (opening.tree, opening.proof) == (facts.previous.header.tree, ())
    assert is_previous_leaf(inputs.previous_hash, 3, opening)
    assert not is_previous_leaf(inputs.previous_hash, 3, PreviousLeaf())
    assert not is_previous_leaf(inputs.previous_hash, 3, replace(opening, cumulative_amount_wei=1))
    assert not is_previous_leaf(inputs.previous_hash, 3, replace(opening, proof=(ZERO_HASH,)))
    opening = previous_leaf(facts.previous, 1)
    assert is_previous_leaf(inputs.previous_hash, 1, opening)
    assert not is_previous_leaf(inputs.previous_hash, 2, opening)
    assert not is_previous_leaf(inputs.previous_hash, 1, replace(opening, account=address(9)))
    assert is_previous_leaf(ZERO_HASH, 1, previous_leaf(None, 1))
    assert not is_previous_leaf(ZERO_HASH, 1, opening)


def test_a_wrong_account_that_nobody_challenged_is_a_base_all_the_same() -> None:
    stolen = replace(leaf(0, 100), account=address(9))
    inputs = inputs_for([T, V], Plain((10,), ((9,),)).votes(), [stolen])
    honest = settled(settle(inputs))
    assert find_faults(honest, facts_of(inputs)) == ()
    assert honest.leaves[0].cumulative_amount_wei > 100
    wrong = with_leaf(honest, replace(honest.leaves[0], cumulative_amount_wei=10**20))
    assert Fault.AMOUNT in kinds(wrong, inputs)[0]


def test_the_header_before_must_be_the_one_that_is_named() -> None:
    inputs = inputs_for([T, V], Plain((10,), ((9,),)).votes(), [leaf(0)])
    honest = settled(settle(inputs))
    with pytest.raises(StateError, match="settlement-inconsistent"):
        find_fault(honest, replace(facts_of(inputs), previous=None))


def test_what_is_an_equivocation() -> None:
    first = settle(inputs_for([T, V], Plain((10,), ((9,),)).votes())).header

    def other(**change: Any) -> Header:
        return replace(first, body=replace(first.body, **change))

    assert equivocates(first, other(state_root=ZERO_HASH))
    assert equivocates(first, replace(first, tree=replace(first.tree, total_weight=1)))
    assert not equivocates(first, first)
    for change in (
        {"run": address(1)},
        {"round": 1},
        {"attempt": 1},
        {"previous": bytes([9]) * 32},
        {"reveals": ZERO_HASH},
        {"budget_wei": 1},
    ):
        assert not equivocates(first, other(**change)), change


# Leaves that nobody published


def many(count: int) -> tuple[SettlementInputs, Settled]:
    inputs = inputs_for([T] * (count - 1) + [V], Plain((10,), (tuple(range(2, count + 1)),)).votes())
    return inputs, settled(settle(inputs))


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
@given(st.data())
def test_few_demands_lead_to_the_wrong_leaf(count: int, data: st.DataObject) -> None:
    inputs, own = many(count)
    at = data.draw(st.integers(0, count - 1))
    theirs = with_leaf(own, detailed(own.leaves[at], reputation=12345))
    answered: dict[int, tuple[bytes, ...]] = {}
    for _ in range(own.tree.depth + 1):
        index = next_demand(own.tree, answered)
        assert index is not None
        if theirs.leaves[index] != own.leaves[index]:
            break
        answered[index] = theirs.tree.proof(index)
    assert index == at
    shown = {at: (theirs.leaves[at], theirs.tree.proof(at))}
    challenge = find_leaf_fault(theirs.header, shown, facts_of(inputs))
    assert challenge is not None and challenge.fault == Fault.REPUTATION


def test_nothing_is_demanded_of_an_honest_tree() -> None:
    _, own = many(5)
    assert next_demand(own.tree, {}) == 0
    assert next_demand(own.tree, {0: own.tree.proof(0)}) is None
    assert next_demand(SettlementTree([]), {}) is None


@pytest.mark.parametrize("count", [2, 5, 8, 13])
def test_our_own_leaves_help_to_prove_what_needs_two(count: int) -> None:
    """The last leaf but one is shown alone: its wrong running total needs its neighbour."""
    inputs, own = many(count)
    for at in range(1, count):
        theirs = with_leaf(own, detailed(own.leaves[at], weight_before=own.leaves[at].detail.weight_before + 1))
        shown = {at: (theirs.leaves[at], theirs.tree.proof(at))}
        known = also_proven(own, shown)
        assert set(known) == set(range(count))
        for item, proof in known.values():
            assert verify(theirs.header.tree, item, proof)
        challenge = find_leaf_fault(theirs.header, known, facts_of(inputs))
        assert challenge is not None and challenge.fault == Fault.SUM
        assert find_faults(theirs, facts_of(inputs))[0] == challenge
