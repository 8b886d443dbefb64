from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec.update import SparseUpdate
from emerit.errors import RefusedError, StateError
from emerit.protocol import minifloat
from emerit.protocol.manifest import OuterSpec
from emerit.training import (
    aggregate,
    aggregate_torch,
    apply_aggregate,
    apply_aggregate_torch,
    clip_scales,
    state_root,
)

INT32_MAX = 2**31 - 1
MakeUpdate = Callable[..., SparseUpdate]
shapes = st.tuples(st.integers(1, 90), st.integers(1, 40), st.integers(1, 40)).filter(lambda s: s[2] <= s[1])
outers = st.builds(
    OuterSpec,
    lr_numerator=st.sampled_from([1, 2, 3, 7, 65_536]),
    lr_denominator=st.sampled_from([1, 2, 5, 65_536]),
    divisor_floor=st.integers(1, 4),
    max_aggregated=st.just(16),
)


@given(
    st.integers(0, 2**32),
    st.integers(0, 6),
    shapes,
    outers,
    st.sampled_from([40, 3000, 0x9000, 0xFFFE]),
    st.sampled_from([0, 1, 127]),
)
def test_both_implementations_follow_the_rule(
    make_update: MakeUpdate,
    seed: int,
    count: int,
    shape: tuple[int, int, int],
    outer: OuterSpec,
    highest: int,
    level: int,
) -> None:
    random = np.random.default_rng(seed)
    updates = [make_update(random, *shape, highest_code=highest, highest_level=level) for _ in range(count)]
    expected = _reference(updates, outer)
    positions, deltas = aggregate(updates, outer)
    assert (positions.dtype, deltas.dtype) == (np.int64, np.int32)
    assert dict(zip(positions.tolist(), deltas.tolist(), strict=True)) == expected
    assert positions.tolist() == sorted(expected)
    torch_positions, torch_deltas = aggregate_torch(updates, outer)
    assert (torch_positions.dtype, torch_deltas.dtype) == (torch.int64, torch.int32)
    assert torch_positions.tolist() == positions.tolist()
    assert torch_deltas.tolist() == deltas.tolist()
    with mock.patch.dict(os.environ, {"EMERIT_KERNELS": "native"}):
        native_positions, native_deltas = aggregate(updates, outer, threads=2)
    assert native_positions.tolist() == positions.tolist()
    assert native_deltas.tolist() == deltas.tolist()


@given(st.integers(0, 2**32), st.permutations(range(5)))
def test_order_of_the_updates_does_not_matter(make_update: MakeUpdate, seed: int, order: list[int]) -> None:
    random = np.random.default_rng(seed)
    updates = [make_update(random, 300, 64, 16) for _ in range(5)]
    values = random.integers(-(2**31), 2**31, 300, dtype=np.int64).astype(np.int32)
    outer = OuterSpec(lr_numerator=3, lr_denominator=2, divisor_floor=2, max_aggregated=16)
    roots = set()
    for chosen in (updates, [updates[place] for place in order]):
        roots.add(state_root(apply_aggregate(values, *aggregate(chosen, outer)), b"T" * 32))
        moved = apply_aggregate_torch(torch.tensor(values), *aggregate_torch(chosen, outer))
        roots.add(state_root(moved.numpy(), b"T" * 32))
    assert len(roots) == 1


def test_thread_count_does_not_matter(make_update: MakeUpdate) -> None:
    random = np.random.default_rng(3)
    updates = [make_update(random, 300_000, 4096, 256) for _ in range(6)]
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    positions, deltas = aggregate(updates, outer)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            torch_positions, torch_deltas = aggregate_torch(updates, outer)
            assert np.array_equal(torch_positions.numpy(), positions)
            assert np.array_equal(torch_deltas.numpy(), deltas)
    finally:
        torch.set_num_threads(before)


def test_mean_is_over_senders_with_a_floor() -> None:
    """Position 0 has two senders, 1 has one; what a chunk with scale 0 names does not count."""
    updates = [
        _update([0, 2], [1, 1], [100, 0]),
        _update([0, 3], [1, -1], [100, 7]),
        _update([1, 2], [1, 1], [100, 0]),
    ]
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    assert _as_dict(aggregate(updates, outer)) == {0: 100, 1: 100}
    assert _as_dict(aggregate(updates, replace(outer, divisor_floor=2))) == {0: 100, 1: 50}
    only = [updates[1]]
    assert _as_dict(aggregate(only, outer)) == {0: 100, 3: -7}
    assert _as_dict(aggregate(only, replace(outer, divisor_floor=2))) == {0: 50, 3: -4}


def test_halves_round_away_from_zero_and_zeros_are_left_out() -> None:
    outer = OuterSpec(lr_numerator=1, lr_denominator=2, divisor_floor=1, max_aggregated=16)
    update = _update([0, 2, 4, 6], [1, -1, 1, -1], [1, 3, 5, 0])
    assert _as_dict(aggregate([update], outer)) == {0: 1, 2: -2, 4: 3}
    small = replace(outer, lr_denominator=3)
    assert _as_dict(aggregate([update], small)) == {2: -1, 4: 2}


def test_opposite_updates_cancel() -> None:
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    positions, deltas = aggregate([_update([0, 2], [1, 1], [9, 9]), _update([0, 2], [-1, 1], [9, 9])], outer)
    assert (positions.tolist(), deltas.tolist()) == ([2], [9])


def test_scales_are_clipped_to_the_lower_median() -> None:
    updates = [_update([0, 2], [1, 1], scales) for scales in ([10, 5], [60_000, 6], [30, 7], [20, 65_534])]
    assert [update.scales.tolist() for update in clip_scales(updates)] == [[10, 5], [20, 6], [20, 6], [20, 6]]
    assert updates[1].scales.tolist() == [60_000, 6]
    assert clip_scales([]) == []
    assert clip_scales(updates[:1]) == updates[:1]


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_one_sender_cannot_outgrow_the_others(make_update: MakeUpdate, seed: int, count: int) -> None:
    """However large one scale is, the largest entry of the step stays within what the median scale gives."""
    random = np.random.default_rng(seed)
    updates = [make_update(random, 64, 64, 16) for _ in range(2 * count + 1)]
    giant = replace(updates[0], scales=np.array([0xFFFE], dtype=np.uint16))
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    _, deltas = aggregate([giant, *updates[1:]], outer)
    honest = max(int(update.scale_units()[0]) for update in updates[1:])
    assert abs(deltas.astype(np.int64)).max(initial=0) <= honest


def test_giant_scales_saturate() -> None:
    outer = OuterSpec(lr_numerator=65_536, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    updates = [_update([0, 2], [1, -1], [0xFFFE, 0xFFFE]) for _ in range(256)]
    positions, deltas = aggregate(updates, outer)
    assert deltas.tolist() == [INT32_MAX, -INT32_MAX]
    values = np.array([-5, 0, 5, 0], dtype=np.int32)
    assert apply_aggregate(values, positions, deltas).tolist() == [-(2**31), 0, INT32_MAX, 0]
    moved = apply_aggregate_torch(torch.tensor(values), torch.tensor(positions), torch.tensor(deltas))
    assert moved.tolist() == [-(2**31), 0, INT32_MAX, 0]


def test_applying_leaves_the_old_state_alone() -> None:
    values = np.array([1, 2, 3], dtype=np.int32)
    moved = apply_aggregate(values, np.array([2]), np.array([10], dtype=np.int32))
    assert (values.tolist(), moved.tolist(), moved.dtype) == ([1, 2, 3], [1, 2, -7], np.int32)
    unmoved = apply_aggregate(values, np.empty(0, np.int64), np.empty(0, np.int32))
    assert unmoved.tolist() == values.tolist()
    assert not np.shares_memory(unmoved, values)


@pytest.mark.parametrize("place", [3, -1])
def test_positions_outside_the_state_are_refused(place: int) -> None:
    with pytest.raises(StateError) as refused:
        apply_aggregate(np.zeros(3, np.int32), np.array([place]), np.array([1], dtype=np.int32))
    assert refused.value.code == "aggregate-position"


def test_updates_of_different_shapes_are_refused(make_update: MakeUpdate) -> None:
    random = np.random.default_rng(0)
    mixed = [make_update(random, 100, 50, 5), make_update(random, 100, 50, 6)]
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    for combine in (aggregate, aggregate_torch):
        with pytest.raises(RefusedError) as refused:
            combine(mixed, outer)
        assert refused.value.code == "aggregate-shape"


def test_who_sends_nothing_of_a_position_counts_as_its_sender() -> None:
    """A level of 0 is a statement: the mean is over all who sent the position."""
    updates = [_update([0, 2], [2, 1], [100, 9]), _update([0, 2], [0, 1], [100, 9])]
    outer = OuterSpec(lr_numerator=1, lr_denominator=1, divisor_floor=1, max_aggregated=16)
    assert _as_dict(aggregate(updates, outer)) == {0: 100, 2: 9}


def _update(indices: list[int], signs: list[int], scales: list[int]) -> SparseUpdate:
    """An update with chunks of two entries, one of them kept."""
    return SparseUpdate(
        2 * len(scales),
        2,
        1,
        np.array(indices, dtype=np.int64),
        np.array(signs, dtype=np.int8),
        np.array(scales, dtype=np.uint16),
    )


def _as_dict(step: tuple[np.ndarray, np.ndarray]) -> dict[int, int]:
    return dict(zip(step[0].tolist(), step[1].tolist(), strict=True))


def _reference(updates: list[SparseUpdate], outer: OuterSpec) -> dict[int, int]:
    """The rule of the module, one position at a time, with exact fractions."""
    named: dict[int, list[int]] = {}
    for update in updates:
        for index, level in zip(update.indices.tolist(), update.levels.tolist(), strict=True):
            chunk = index // update.chunk
            if not update.scales[chunk]:
                continue
            codes = sorted(int(other.scales[chunk]) for other in updates)
            code = min(int(update.scales[chunk]), codes[(len(codes) - 1) // 2])
            scale = int(minifloat.decode_array(np.array([code], dtype=np.uint16))[0])
            named.setdefault(index, []).append(max(-INT32_MAX, min(level * scale, INT32_MAX)))
    step = {}
    for index, amounts in named.items():
        divisor = max(len(amounts), outer.divisor_floor) * outer.lr_denominator
        exact = Fraction(sum(amounts) * outer.lr_numerator, divisor)
        size = min(int(abs(exact) + Fraction(1, 2)), INT32_MAX)
        if size:
            step[index] = size if exact > 0 else -size
    return step
