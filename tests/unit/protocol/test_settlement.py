from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.errors import RefusedError, StateError
from emerit.protocol import minifloat
from emerit.protocol.registry import Members
from emerit.protocol.settlement import Settlement, SettlementInputs, ValidatorOutcome, settle
from emerit.protocol.settlement_tree import payable, verify
from emerit.protocol.types import Role, unpack_lanes
from tests.unit.protocol.builders import ROUND, Plain, inputs_for, inputs_of, leaf, members_of, some_inputs

T, V = Role.TRAINER, Role.VALIDATOR
PAID = ValidatorOutcome.PAID


def outcomes(result: Settlement) -> tuple[ValidatorOutcome, ...]:
    """Return the outcomes in the order of the validators' slots."""
    return tuple(result.validator_outcomes[slot] for slot in sorted(result.validator_outcomes))


def test_a_round_by_hand() -> None:
    votes = Plain((60, 40), ((3000, 1000), (3000, 1000))).votes()
    result = settle(inputs_for([T, V, V, T], votes, budget_wei=1000, validator_share_bps=2000))
    assert result.amounts_wei == (600, 120, 80, 200)
    assert [leaf.detail.weight for leaf in result.leaves] == [3000, 0, 0, 1000]
    assert [leaf.cumulative_amount_wei for leaf in result.leaves] == [600, 120, 80, 200]
    assert unpack_lanes(result.leaves[0].detail.row) == (3000, 3000) + (minifloat.ABSTAIN,) * 14
    assert unpack_lanes(result.leaves[1].detail.row) == (minifloat.encode(1_000_000),) * 2 + (minifloat.ABSTAIN,) * 14
    assert [leaf.detail.weight_before for leaf in result.leaves] == [0, 3000, 3000, 3000]
    assert [leaf.detail.amount_before_wei for leaf in result.leaves] == [0, 600, 720, 800]
    # Visits: trainers 0.85^2 * share, validators 0.85 * share; a fifth of them enters the average.
    assert [leaf.detail.reputation for leaf in result.leaves] == [108_375_000, 102_000_000, 68_000_000, 36_125_000]
    assert result.header.tree.total_weight == 4000
    assert result.header.tree.total_amount_wei == 1000
    assert result.header.tree.leaf_count == 4


def test_amounts_add_to_what_was_earned_before_and_reputation_decays() -> None:
    votes = Plain((60,), ((3000, 0),)).votes()
    before = [leaf(i, 100 + i, 7, 10**9) for i in range(2)]
    result = settle(inputs_for([T, T, V], votes, before, budget_wei=1000))
    assert [leaf.cumulative_amount_wei for leaf in result.leaves] == [900, 101, 200]
    assert result.leaves[1].detail.reputation == 800_000_000
    assert result.leaves[2].detail.reputation == 170_000_000


def test_all_zero_pays_nobody_and_still_settles() -> None:
    votes = Plain((60, 40), ((0, 1), (0, 1))).votes()
    before = [leaf(0, 55, 7, 100)]
    result = settle(inputs_for([T, T, V, V], votes, before))
    assert result.amounts_wei == (0, 0, 0, 0)
    assert result.header.tree.total_weight == 0
    assert result.header.tree.total_amount_wei == 55
    assert outcomes(result) == (ValidatorOutcome.NOTHING_EARNED,) * 2
    assert result.leaves[1].detail.weight == 1


def test_an_absent_validator_is_unpaid_and_its_part_stays_in_the_pool() -> None:
    votes = Plain((50, 50, 50), ((3000,), (3000,), None)).votes()
    result = settle(inputs_for([T, V, V, V], votes, budget_wei=1500))
    assert result.amounts_wei == (1200, 100, 100, 0)
    assert outcomes(result) == (PAID, PAID, ValidatorOutcome.NO_REVEAL)
    assert result.leaves[3].detail.reputation == 0
    assert result.leaves[3].detail.weight == 1, "it missed the trainer with index 0"
    assert unpack_lanes(result.leaves[0].detail.row)[2] == minifloat.ABSTAIN


@pytest.mark.parametrize(
    ("base", "row", "outcome"),
    [
        (1_000_000, (9, 9), PAID),
        (1_000_704, (9, 9), PAID),
        (1_000_960, (9, 9), ValidatorOutcome.BASE_LOSS_OFF),
        (None, (9, 9), ValidatorOutcome.BASE_LOSS_MISSING),
        (1_000_000, (9, None), ValidatorOutcome.NOT_COVERED),
    ],
)
def test_what_a_validator_must_do(base: int | None, row: tuple[int | None, ...], outcome: str) -> None:
    """Codes near a million are 256 apart: the median is 999,936, its tolerance 977, three steps are within."""
    weights = (row, (9, 9), (9, 9), (9, 9))
    plain = Plain((10, 10, 10, 10), weights, base=(base, 1_000_000, 1_000_000, 1_000_000))
    result = settle(inputs_for([T, T, V, V, V, V], plain.votes()))
    assert outcomes(result) == (outcome, PAID, PAID, PAID)
    assert (result.amounts_wei[2] > 0) is (outcome == PAID)


def test_abstaining_where_two_thirds_did_not_vote_is_no_fault() -> None:
    weights = ((9, None), (9, None), (9, 9))
    result = settle(inputs_for([T, T, V, V, V], Plain((10, 10, 10), weights).votes()))
    assert outcomes(result) == (PAID, PAID, PAID)
    assert result.weights == (9, 0)


def test_a_small_base_loss_has_a_tolerance_of_one() -> None:
    plain = Plain((10, 10, 10), ((9,), (9,), (9,)), base=(100, 101, 102))
    result = settle(inputs_for([T, V, V, V], plain.votes()))
    assert outcomes(result) == (PAID, PAID, PAID)
    plain = replace(plain, base=(100, 101, 103))
    result = settle(inputs_for([T, V, V, V], plain.votes()))
    assert outcomes(result) == (PAID, PAID, ValidatorOutcome.BASE_LOSS_OFF)


@settings(max_examples=300)
@given(some_inputs())
def test_no_more_than_the_budget_is_paid_and_nobody_s_total_falls(inputs: SettlementInputs) -> None:
    result = settle(inputs)
    assert 0 <= sum(result.amounts_wei) <= inputs.budget_wei
    assert all(amount >= 0 for amount in result.amounts_wei)
    for before in inputs.previous_leaves:
        assert result.leaves[before.index].cumulative_amount_wei >= before.cumulative_amount_wei
    total = sum(before.cumulative_amount_wei for before in inputs.previous_leaves)
    assert result.header.tree.total_amount_wei == total + sum(result.amounts_wei)


@given(some_inputs())
def test_the_order_of_reveals_does_not_matter(inputs: SettlementInputs) -> None:
    again = replace(inputs, vectors=dict(reversed(list(inputs.vectors.items()))))
    assert settle(again).header == settle(inputs).header


@given(some_inputs())
def test_every_leaf_is_proved_and_reputation_stays_in_range(inputs: SettlementInputs) -> None:
    result = settle(inputs)
    assert len(result.leaves) == len(inputs.members.entries)
    for item, entry in zip(result.leaves, inputs.members.entries, strict=True):
        assert (item.index, item.account) == (entry.index, entry.account)
        assert verify(result.header.tree, item, result.tree.proof(item.index))
        assert 0 <= item.detail.reputation <= 10**9
    assert result.header.tree.total_weight == sum(payable(weight) for weight in result.weights)


@given(some_inputs())
def test_running_totals_lead_from_zero_to_the_header_s(inputs: SettlementInputs) -> None:
    result = settle(inputs)
    weight = amount_wei = 0
    for item, entry in zip(result.leaves, inputs.members.entries, strict=True):
        assert (item.detail.weight_before, item.detail.amount_before_wei) == (weight, amount_wei)
        weight += payable(item.detail.weight) if entry.role == T else 0
        amount_wei += item.cumulative_amount_wei
    assert (result.header.tree.total_weight, result.header.tree.total_amount_wei) == (weight, amount_wei)


@given(some_inputs())
def test_relabelling_validators_only_relabels_the_rows(inputs: SettlementInputs) -> None:
    """Turn the validators' slots round: everybody earns the same."""
    members = inputs.members
    last = len(members.stake_lanes) - 1
    entries = tuple(replace(e, slot=last - e.slot) if e.role == V else e for e in members.entries)
    turned = Members(members.round, entries, members.trainer_slots, members.stake_lanes[::-1], members.seats[::-1])
    vectors = {last - slot: codes for slot, codes in inputs.vectors.items()}
    first, second = settle(inputs), settle(replace(inputs, members=turned, vectors=vectors))
    assert first.weights == second.weights
    assert first.amounts_wei == second.amounts_wei
    assert first.validator_outcomes == {last - slot: what for slot, what in second.validator_outcomes.items()}
    for one, two in zip(first.leaves, second.leaves, strict=True):
        assert (one.detail.weight, one.detail.reputation) == (two.detail.weight, two.detail.reputation)
        assert unpack_lanes(one.detail.row) == unpack_lanes(two.detail.row)[::-1]


@given(some_inputs(), st.integers(0, 3))
def test_an_empty_round_keeps_every_total(inputs: SettlementInputs, rounds: int) -> None:
    inputs = replace(inputs, vectors={})
    result = settle(inputs)
    for _ in range(rounds):
        result = settle(replace(inputs, previous_leaves=result.leaves))
    before = sum(leaf.cumulative_amount_wei for leaf in inputs.previous_leaves)
    assert result.header.tree.total_amount_wei == before


def test_who_is_not_active_keeps_the_leaf_and_earns_nothing() -> None:
    """The trainer with slot 0 left before the round, and another has its slot; so with validator slot 0."""
    members = members_of([T, T, V, V], (10, 10))
    entries = [replace(entry, slot=0) for entry in members.entries]
    entries[0] = replace(entries[0], active_until=ROUND)
    entries[2] = replace(entries[2], active_until=ROUND)
    members = Members(ROUND, tuple(entries), 1, (10,), (3,))
    before = [leaf(i, 100, 7, 10**9) for i in range(4)]
    result = settle(inputs_of(members, {0: (9, 0, 3000)}, before, budget_wei=1000))
    assert [item.cumulative_amount_wei for item in result.leaves] == [100, 900, 100, 300]
    assert [item.detail.weight for item in result.leaves] == [0, 3000, 2, 0]
    nobody = (minifloat.ABSTAIN,) * 16
    assert [unpack_lanes(item.detail.row)[0] for item in result.leaves] == [0xFFFF, 3000 + 0, 0xFFFF, 9]
    assert unpack_lanes(result.leaves[0].detail.row) == unpack_lanes(result.leaves[2].detail.row) == nobody
    assert [item.detail.reputation for item in result.leaves][::2] == [800_000_000] * 2
    assert dict(result.validator_outcomes) == {0: PAID}


def test_a_wrong_account_that_nobody_challenged_keeps_its_amount_for_the_index() -> None:
    stolen = replace(leaf(0, 100), account=leaf(9).account)
    result = settle(inputs_for([T, V], Plain((10,), ((0,),)).votes(), [stolen]))
    assert result.leaves[0].account == leaf(0).account
    assert result.leaves[0].cumulative_amount_wei == 100


def test_a_missed_trainer_is_named_by_its_leaf() -> None:
    weights = ((9, 9, None), (9, None, 9), (9, 9, 9), (9, 9, 9))
    result = settle(inputs_for([V, T, V, T, T, V, V], Plain((10, 10, 10, 10), weights).votes()))
    assert [leaf.detail.weight for leaf in result.leaves if leaf.index in (0, 2, 5, 6)] == [5, 4, 0, 0]


def test_the_run_s_largest_round_fits_the_types() -> None:
    top = minifloat.MAX_CODE
    plain = Plain((1,), ((0,) * 256,)).votes()
    lanes = {v: (top, top, *[top] * 256) for v in range(16)}
    votes = replace(plain, stake_lanes=(65535,) * 16, vectors=lanes)
    result = settle(inputs_for([T] * 256 + [V] * 16, votes, budget_wei=(1 << 128) - 1))
    assert result.header.tree.total_weight == 256 * minifloat.MAX_VALUE
    assert result.header.tree.total_amount_wei < 1 << 128


def test_a_total_beyond_uint128_is_refused() -> None:
    before = [leaf(0, (1 << 128) - 1)]
    with pytest.raises(RefusedError, match="value-invalid"):
        settle(inputs_for([T, V], Plain((1,), ((9,),)).votes(), before))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"members": members_of([T, V], (1,))}, "votes-inconsistent"),
        ({"members": members_of([T, T, V, V], (1, 1))}, "votes-inconsistent"),
        ({"round": ROUND + 1}, "settlement-inconsistent"),
        ({"previous_leaves": (leaf(1),)}, "settlement-inconsistent"),
        ({"previous_leaves": tuple(leaf(i) for i in range(4))}, "settlement-inconsistent"),
        ({"validator_share_bps": 10_001}, "settlement-inconsistent"),
        ({"budget_wei": -1}, "settlement-inconsistent"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, object], code: str) -> None:
    good = inputs_for([T, V, V], Plain((1, 1), ((9,), (9,))).votes())
    with pytest.raises(StateError, match=code):
        replace(good, **change)  # type: ignore[arg-type]
