from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.errors import RefusedError, StateError
from emerit.protocol import minifloat
from emerit.protocol.merkle import payable, verify
from emerit.protocol.settlement import SettlementInputs, ValidatorOutcome, settle
from emerit.protocol.types import Leaf, Role, unpack_lanes
from tests.unit.protocol.builders import Plain, address, inputs_for, registry, some_inputs

T, V = Role.TRAINER, Role.VALIDATOR
PAID = ValidatorOutcome.PAID


def test_a_round_by_hand() -> None:
    votes = Plain((60, 40), ((3000, 1000), (3000, 1000))).votes()
    result = settle(inputs_for([T, V, V, T], votes, budget_wei=1000, validator_share_bps=2000))
    assert result.amounts_wei == (600, 120, 80, 200)
    assert [leaf.weight for leaf in result.leaves] == [3000, 0, 0, 1000]
    assert [leaf.cumulative_amount_wei for leaf in result.leaves] == [600, 120, 80, 200]
    assert unpack_lanes(result.leaves[0].row) == (3000, 3000) + (minifloat.ABSTAIN,) * 14
    assert result.leaves[1].row == bytes(32)
    # Visits: trainers 0.85^2 * share, validators 0.85 * share; a fifth of them enters the average.
    assert [leaf.reputation for leaf in result.leaves] == [108_375_000, 102_000_000, 68_000_000, 36_125_000]
    assert result.header.total_weight == 4000
    assert result.header.total_amount_wei == 1000
    assert result.header.leaf_count == 4


def test_amounts_add_to_what_was_earned_before_and_reputation_decays() -> None:
    votes = Plain((60,), ((3000, 0),)).votes()
    before = tuple(Leaf(i, address(i), 100 + i, 7, 10**9, bytes(32)) for i in range(2))
    result = settle(inputs_for([T, T, V], votes, before, budget_wei=1000))
    assert [leaf.cumulative_amount_wei for leaf in result.leaves] == [900, 101, 200]
    assert result.leaves[1].reputation == 800_000_000
    assert result.leaves[2].reputation == 170_000_000


def test_all_zero_pays_nobody_and_still_settles() -> None:
    votes = Plain((60, 40), ((0, 1), (0, 1))).votes()
    before = (Leaf(0, address(0), 55, 7, 100, bytes(32)),)
    result = settle(inputs_for([T, T, V, V], votes, before))
    assert result.amounts_wei == (0, 0, 0, 0)
    assert result.header.total_weight == 0
    assert result.header.total_amount_wei == 55
    assert result.validator_outcomes == (ValidatorOutcome.NOTHING_EARNED,) * 2
    assert result.leaves[1].weight == 1


def test_an_absent_validator_is_unpaid_and_its_part_stays_in_the_pool() -> None:
    votes = Plain((50, 50, 50), ((3000,), (3000,), None)).votes()
    result = settle(inputs_for([T, V, V, V], votes, budget_wei=1500))
    assert result.amounts_wei == (1200, 100, 100, 0)
    assert result.validator_outcomes == (PAID, PAID, ValidatorOutcome.NO_REVEAL)
    assert result.leaves[3].reputation == 0
    assert unpack_lanes(result.leaves[0].row)[2] == minifloat.ABSTAIN


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
    assert result.validator_outcomes == (outcome, PAID, PAID, PAID)
    assert (result.amounts_wei[2] > 0) is (outcome == PAID)


def test_abstaining_where_two_thirds_did_not_vote_is_no_fault() -> None:
    weights = ((9, None), (9, None), (9, 9))
    result = settle(inputs_for([T, T, V, V, V], Plain((10, 10, 10), weights).votes()))
    assert result.validator_outcomes == (PAID, PAID, PAID)
    assert result.weights == (9, 0)


def test_a_small_base_loss_has_a_tolerance_of_one() -> None:
    plain = Plain((10, 10, 10), ((9,), (9,), (9,)), base=(100, 101, 102))
    result = settle(inputs_for([T, V, V, V], plain.votes()))
    assert result.validator_outcomes == (PAID, PAID, PAID)
    plain = replace(plain, base=(100, 101, 103))
    outcomes = settle(inputs_for([T, V, V, V], plain.votes())).validator_outcomes
    assert outcomes == (PAID, PAID, ValidatorOutcome.BASE_LOSS_OFF)


@settings(max_examples=300)
@given(some_inputs())
def test_no_more_than_the_budget_is_paid_and_nobody_s_total_falls(inputs: SettlementInputs) -> None:
    result = settle(inputs)
    assert 0 <= sum(result.amounts_wei) <= inputs.budget_wei
    assert all(amount >= 0 for amount in result.amounts_wei)
    for leaf in inputs.previous_leaves:
        assert result.leaves[leaf.index].cumulative_amount_wei >= leaf.cumulative_amount_wei
    before = sum(leaf.cumulative_amount_wei for leaf in inputs.previous_leaves)
    assert result.header.total_amount_wei == before + sum(result.amounts_wei)


@given(some_inputs())
def test_the_order_of_reveals_does_not_matter(inputs: SettlementInputs) -> None:
    vectors = dict(reversed(list(inputs.votes.vectors.items())))
    again = replace(inputs, votes=replace(inputs.votes, vectors=vectors))
    assert settle(again).header == settle(inputs).header


@given(some_inputs())
def test_every_leaf_is_proved_and_reputation_stays_in_range(inputs: SettlementInputs) -> None:
    result = settle(inputs)
    assert len(result.leaves) == len(inputs.entries)
    for leaf, entry in zip(result.leaves, inputs.entries, strict=True):
        assert (leaf.index, leaf.account) == (entry.index, entry.account)
        assert verify(result.header, leaf, result.tree.proof(leaf.index))
        assert 0 <= leaf.reputation <= 10**9
    assert result.header.total_weight == sum(payable(weight) for weight in result.weights)


@given(some_inputs())
def test_relabelling_validators_only_relabels_the_result(inputs: SettlementInputs) -> None:
    """Turn the validators' slots round: trainers earn the same, each validator keeps its own."""
    votes = inputs.votes
    last = len(votes.stake_lanes) - 1
    turned = replace(
        votes,
        stake_lanes=votes.stake_lanes[::-1],
        vectors={last - slot: codes for slot, codes in votes.vectors.items()},
    )
    inputs = replace(inputs, previous_leaves=())
    first, second = settle(inputs), settle(replace(inputs, votes=turned))
    assert first.weights == second.weights
    assert first.validator_outcomes == second.validator_outcomes[::-1]
    trainers = [entry.index for entry in inputs.entries if entry.role == T]
    validators = [entry.index for entry in inputs.entries if entry.role == V]
    for one, two in zip(trainers + validators, trainers + validators[::-1], strict=True):
        assert first.amounts_wei[one] == second.amounts_wei[two]
        assert first.leaves[one].reputation == second.leaves[two].reputation


@given(some_inputs(), st.integers(0, 3))
def test_an_empty_round_keeps_every_total(inputs: SettlementInputs, rounds: int) -> None:
    nothing = replace(inputs.votes, vectors={}, revealed_slots=frozenset())
    result = settle(replace(inputs, votes=nothing))
    for _ in range(rounds):
        result = settle(replace(inputs, votes=nothing, previous_leaves=result.leaves))
    before = sum(leaf.cumulative_amount_wei for leaf in inputs.previous_leaves)
    assert result.header.total_amount_wei == before


def test_the_run_s_largest_round_fits_the_types() -> None:
    top = minifloat.MAX_CODE
    plain = Plain((1,), ((0,) * 256,)).votes()
    lanes = {v: (top, top, *[top] * 256) for v in range(16)}
    votes = replace(plain, stake_lanes=(65535,) * 16, vectors=lanes)
    result = settle(inputs_for([T] * 256 + [V] * 16, votes, budget_wei=(1 << 128) - 1))
    assert result.header.total_weight == 256 * minifloat.MAX_VALUE
    assert result.header.total_amount_wei < 1 << 128


def test_a_total_beyond_uint128_is_refused() -> None:
    before = (Leaf(0, address(0), (1 << 128) - 1, 0, 0, bytes(32)),)
    with pytest.raises(RefusedError, match="value-invalid"):
        settle(inputs_for([T, V], Plain((1,), ((9,),)).votes(), before))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"entries": registry([T, V, V])[::-1]}, "registry-inconsistent"),
        ({"entries": registry([T, V])}, "settlement-inconsistent"),
        ({"entries": registry([T, T, V, V])}, "settlement-inconsistent"),
        ({"previous_leaves": (Leaf(0, address(9), 0, 0, 0, bytes(32)),)}, "settlement-inconsistent"),
        ({"previous_leaves": (Leaf(1, address(0), 0, 0, 0, bytes(32)),)}, "settlement-inconsistent"),
        (
            {"previous_leaves": tuple(Leaf(i, address(i), 0, 0, 0, bytes(32)) for i in range(4))},
            "settlement-inconsistent",
        ),
        ({"validator_share_bps": 10_001}, "settlement-inconsistent"),
        ({"budget_wei": -1}, "settlement-inconsistent"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, object], code: str) -> None:
    good = inputs_for([T, V, V], Plain((1, 1), ((9,), (9,))).votes())
    with pytest.raises(StateError, match=code):
        replace(good, **change)  # type: ignore[arg-type]
