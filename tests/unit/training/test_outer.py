from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from emerit.errors import RefusedError, StateError
from emerit.protocol.manifest import OuterSpec
from emerit.protocol.presets import preset
from emerit.training import (
    ModelState,
    TorchState,
    apply_aggregate,
    initial_state,
    outer_step,
    outer_step_torch,
    root_with_momentum,
    state_root,
    state_root_torch,
    undo_step,
    undo_step_torch,
)
from emerit.training import outer as outer_module
from emerit.training.outer import Lost, remainder_type

LOW, HIGH = -(2**31), 2**31 - 1
TABLE = b"T" * 32
# Saturation lies at the ends, rounding ties near 0.
edge = st.one_of(
    st.integers(-12, 12), st.integers(HIGH - 3, HIGH), st.integers(LOW + 1, LOW + 4), st.integers(LOW + 1, HIGH)
)
weights = st.one_of(edge, st.just(LOW))
fractions = st.one_of(
    st.sampled_from([(1, 2), (9, 10), (1, 65_536), (65_535, 65_536), (127, 255), (254, 255), (255, 256)]),
    st.integers(2, 65_536).flatmap(lambda low: st.tuples(st.integers(1, min(low - 1, 65_535)), st.just(low))),
)
momenta = st.builds(lambda mu, nesterov: OuterSpec(1, 1, 1, 16, mu[0], mu[1], nesterov), fractions, st.booleans())
PLAIN = OuterSpec(1, 1, 1, 16)
entries = st.lists(st.tuples(weights, edge, edge), min_size=1, max_size=40)


def rounded(value: Fraction) -> int:
    size = int(abs(value) + Fraction(1, 2))
    return size if value > 0 else -size


def by_hand(theta: int, velocity: int, delta: int, outer: OuterSpec) -> tuple[int, int]:
    """The rule on single numbers, with exact fractions."""
    mu = Fraction(outer.momentum_numerator, outer.momentum_denominator)
    velocity = max(-HIGH, min(HIGH, rounded(mu * velocity) + delta))
    step = delta + rounded(mu * velocity) if outer.nesterov else velocity
    return max(LOW, min(HIGH, theta - step)), velocity


def case(rows: list[tuple[int, int, int]], outer: OuterSpec) -> tuple[ModelState, np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=np.int64)
    positions = np.flatnonzero(table[:, 2])
    state = ModelState(table[:, 0].astype(np.int32), table[:, 1].astype(np.int32) if outer.has_momentum else None)
    return state, positions, table[positions, 2].astype(np.int32)


def as_torch(state: ModelState) -> TorchState:
    momentum = None if state.momentum is None else torch.tensor(state.momentum)
    return TorchState(torch.tensor(state.values), momentum)


def same(left: ModelState, right: ModelState) -> bool:
    """Compare to the bit, types included."""
    pairs = ((left.values, right.values), (left.momentum, right.momentum))
    return all(
        one is other is None
        or (
            one is not None
            and other is not None
            and one.dtype == other.dtype == np.int32
            and np.array_equal(one, other)
        )
        for one, other in pairs
    )


@given(entries, momenta)
@example([(LOW, HIGH, HIGH), (HIGH, -HIGH, -HIGH), (0, 5, 0), (0, -5, 0)], OuterSpec(1, 1, 1, 16, 9, 10, True))
def test_a_step_follows_the_rule_and_can_be_undone_to_the_bit(
    rows: list[tuple[int, int, int]], outer: OuterSpec
) -> None:
    before, positions, deltas = case(rows, outer)
    after, lost = outer_step(before, positions, deltas, outer)
    assert after.momentum is not None
    assert list(zip(after.values.tolist(), after.momentum.tolist(), strict=True)) == [
        by_hand(*row, outer) for row in rows
    ]
    assert same(undo_step(after, positions, deltas, lost, outer), before)
    assert lost.remainders is not None and lost.remainders.dtype == remainder_type(outer)


@given(st.lists(st.tuples(weights, st.just(0), edge), min_size=1, max_size=40))
def test_without_momentum_it_is_the_plain_subtraction(rows: list[tuple[int, int, int]]) -> None:
    before, positions, deltas = case(rows, PLAIN)
    after, lost = outer_step(before, positions, deltas, PLAIN)
    assert after.momentum is None and lost.remainders is None
    assert np.array_equal(after.values, apply_aggregate(before.values, positions, deltas))
    assert after.values.tolist() == [max(LOW, min(HIGH, row[0] - row[2])) for row in rows]
    assert same(undo_step(after, positions, deltas, lost, PLAIN), before)
    assert after.root(TABLE) == state_root(after.values, TABLE)


@given(entries, st.one_of(momenta, st.just(PLAIN)))
def test_both_implementations_agree(rows: list[tuple[int, int, int]], outer: OuterSpec) -> None:
    before, positions, deltas = case(rows, outer)
    arguments = (torch.tensor(positions), torch.tensor(deltas))
    after, lost = outer_step(before, positions, deltas, outer)
    after_torch, lost_torch = outer_step_torch(as_torch(before), *arguments, outer)
    assert state_root_torch(after_torch, TABLE) == after.root(TABLE)
    assert after_torch.values.tolist() == after.values.tolist()
    excess = lost_torch.weights.numpy()
    assert np.array_equal(np.flatnonzero(excess), lost.weight_places)
    assert np.array_equal(excess[lost.weight_places], lost.weight_excess)
    if lost.remainders is not None:
        assert lost_torch.remainders is not None and lost_torch.remainders.tolist() == lost.remainders.tolist()
    back = undo_step_torch(after_torch, *arguments, lost_torch, outer)
    assert state_root_torch(back, TABLE) == before.root(TABLE)


@given(st.integers(0, 2**32), momenta, st.integers(1, 5))
def test_several_rounds_are_taken_back_one_by_one(seed: int, outer: OuterSpec, rounds: int) -> None:
    random = np.random.default_rng(seed)
    state = ModelState(*(random.integers(-HIGH, HIGH, 50, endpoint=True).astype(np.int32) for _ in range(2)))
    done = []
    for _ in range(rounds):
        positions = np.flatnonzero(random.random(50) < 0.5)
        deltas = random.integers(1, HIGH, len(positions), endpoint=True).astype(np.int32)
        after, lost = outer_step(state, positions, deltas, outer)
        done.append((state, positions, deltas, lost))
        state = after
    for before, positions, deltas, lost in reversed(done):
        state = undo_step(state, positions, deltas, lost, outer)
        assert same(state, before)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    outer = OuterSpec(1, 1, 1, 16, 9, 10, True)
    before = ModelState(*(random.integers(LOW + 1, HIGH, 1000, dtype=np.int64).astype(np.int32) for _ in range(2)))
    positions = np.flatnonzero(random.random(1000) < 0.3)
    deltas = random.integers(-HIGH, HIGH, len(positions)).astype(np.int32)
    whole, _ = outer_step(before, positions, deltas, outer)
    for block in (1, 7, 500, 1000, 1001):
        monkeypatch.setattr(outer_module, "_BLOCK", block)
        after, lost = outer_step(before, positions, deltas, outer)
        assert same(after, whole)
        assert len(lost.weight_places) > 0 and np.all(np.diff(lost.weight_places) > 0)
        assert same(undo_step(after, positions, deltas, lost, outer), before)


def test_an_empty_aggregate_still_moves_what_has_momentum() -> None:
    nothing = np.empty(0, np.int64), np.empty(0, np.int32)
    state = ModelState(np.array([100, 100], np.int32), np.array([20, 0], np.int32))
    after, _ = outer_step(state, *nothing, OuterSpec(1, 1, 1, 16, 1, 2, False))
    assert (after.values.tolist(), after.momentum.tolist() if after.momentum is not None else None) == (
        [90, 100],
        [10, 0],
    )
    after, _ = outer_step(state, *nothing, OuterSpec(1, 1, 1, 16, 1, 2, True))
    assert after.values.tolist() == [95, 100]


def test_halves_round_away_from_zero_and_small_momenta_stay() -> None:
    outer = OuterSpec(1, 1, 1, 16, 9, 10, False)
    nothing = np.empty(0, np.int64), np.empty(0, np.int32)
    state = ModelState(np.zeros(4, np.int32), np.array([15, -15, 5, 6], np.int32))
    after, _ = outer_step(state, *nothing, outer)
    assert after.momentum is not None
    assert after.momentum.tolist() == [14, -14, 5, 5]


def test_the_root_covers_the_momentum_only_where_there_is_one() -> None:
    spec = preset("tiny").model
    plain = initial_state(spec, b"seed", PLAIN)
    assert plain.momentum is None
    assert plain.root(TABLE) == state_root(plain.values, TABLE)
    state = initial_state(spec, b"seed", OuterSpec(1, 1, 1, 16, 9, 10, True))
    assert state.momentum is not None and not state.momentum.any()
    expected = root_with_momentum(state_root(state.values, TABLE), state_root(state.momentum, TABLE))
    assert state.root(TABLE) == expected != plain.root(TABLE)
    moved = state.momentum.copy()
    moved[-1] = 1
    assert ModelState(state.values, moved).root(TABLE) != expected


def test_what_does_not_fit_is_refused() -> None:
    outer = OuterSpec(1, 1, 1, 16, 9, 10, True)
    state = ModelState(np.array([5, HIGH], np.int32), np.array([3, 4], np.int32))
    for positions in ([2], [-1, 0]):
        for spec, start in ((outer, state), (PLAIN, ModelState(state.values))):
            with pytest.raises(StateError, match="aggregate-position"):
                outer_step(start, np.array(positions), np.ones(len(positions), np.int32), spec)
    nothing = np.empty(0, np.int64), np.empty(0, np.int32)
    after, lost = outer_step(state, *nothing, outer)
    empty = (np.empty(0, np.int64),) * 4
    bad = [Lost(*empty), Lost(*empty, np.zeros(1, np.int8)), Lost(*empty, np.array([1, 1], np.int8))]
    bad.append(Lost(np.array([0]), np.array([2**40]), *empty[:2], lost.remainders))
    for each in bad:
        with pytest.raises(StateError, match="undo-unfit"):
            undo_step(after, *nothing, each, outer)


def test_momenta_of_one_and_more_are_refused() -> None:
    for numerator, denominator, nesterov in ((1, 1, False), (3, 2, True), (0, 1, True), (-1, 2, False), (1, 0, False)):
        with pytest.raises(RefusedError, match="manifest-invalid"):
            OuterSpec(1, 1, 1, 16, numerator, denominator, nesterov)
    with pytest.raises(RefusedError, match="must be true or false"):
        OuterSpec(1, 1, 1, 16, 1, 2, 1)  # type: ignore[arg-type]
