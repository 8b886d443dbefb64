from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec import SparseUpdate
from emerit.errors import RefusedError
from emerit.protocol import minifloat
from emerit.scoring.fast_checks import check_not_empty, clip_scales
from emerit.scoring.measurement import weighted_median
from emerit.scoring.trust import say
from tests.unit.scoring.builders import honest, noise

PAID = {0: 4_000_000, 1: 5_000_000, 2: 3_000_000, 3: 4_500_000}


def with_scale(update: SparseUpdate, code: int) -> SparseUpdate:
    return replace(update, scales=np.full_like(update.scales, code))


def strength(update: SparseUpdate) -> float:
    """Sum of the magnitudes of an update: what it can move."""
    return float(np.abs(update.values()).sum())


def test_scales_fifty_times_the_honest_ones_count_as_the_rounds_level() -> None:
    updates = {slot: honest(slot) for slot in (3, 1, 8)}
    shout = replace(honest(5), scales=(honest(5).scales + (6 << 11)).astype(np.uint16))
    clipped = clip_scales({**updates, 5: shout}, {})
    median = np.sort(np.stack([update.scale_units() for update in (*updates.values(), shout)]), axis=0)[1]
    assert list(clipped) == [1, 3, 5, 8]
    assert clipped[5].scale_units() == pytest.approx(0.9 * median, rel=1e-3)
    assert (clipped[5].scale_units() < shout.scale_units() / 50).all()
    assert all((clipped[slot].scales <= clipped[5].scales).all() for slot in clipped)
    assert (clipped[5].indices == shout.indices).all()


def test_nine_newcomers_with_tiny_scales_take_nothing_from_four_paid_trainers() -> None:
    updates = {slot: honest(slot) for slot in PAID}
    crowd = {slot: with_scale(noise(slot), 1) for slot in range(4, 13)}
    alone = clip_scales(updates, PAID)
    weighted = clip_scales({**updates, **crowd}, PAID)
    by_heads = clip_scales({**updates, **crowd}, {})
    for slot in PAID:
        assert weighted[slot] == alone[slot]
        # Counting heads, the crowd would have left less than a thousandth of everybody's effect.
        assert strength(by_heads[slot]) < 0.001 * strength(alone[slot])
        assert strength(weighted[slot]) > 0.8 * strength(updates[slot])


def test_a_scale_of_one_unit_is_left_and_what_is_below_nine_tenths_of_the_median_is_not_touched() -> None:
    assert clip_scales({0: with_scale(honest(0), 1)}, {})[0].scales.tolist() == [1] * len(honest(0).scales)
    few = {slot: with_scale(honest(slot), code) for slot, code in enumerate((1000, 1010, 890, 910, 1000))}
    assert [int(update.scales[0]) for update in clip_scales(few, {}).values()] == [900, 900, 890, 900, 900]


def test_nine_newcomers_with_huge_scales_are_clipped_to_the_level_of_the_paid() -> None:
    updates = {slot: honest(slot) for slot in PAID}
    crowd = {slot: with_scale(noise(slot), minifloat.MAX_CODE) for slot in range(4, 13)}
    clipped = clip_scales({**updates, **crowd}, PAID)
    most = max(strength(updates[slot]) for slot in PAID)
    assert all(strength(clipped[slot]) <= 1.01 * most for slot in crowd)
    assert strength(clip_scales({**updates, **crowd}, {})[4]) > 1000 * most


def test_a_weight_that_is_not_paid_has_no_say_and_without_any_weight_all_count_the_same() -> None:
    updates = {slot: with_scale(honest(slot), 100 * (slot + 1)) for slot in range(4)}
    assert clip_scales(updates, {0: 1, 1: 0, 3: 2})[3].scales[0] == 360
    assert clip_scales(updates, {0: 1, 1: 0, 3: 2})[0].scales[0] == 100
    assert clip_scales(updates, {0: 1, 9: 10**6})[3].scales[0] == 180


@given(
    st.lists(st.tuples(st.integers(0, minifloat.MAX_CODE), st.integers(0, 2**43)), min_size=1, max_size=9),
)
def test_the_level_is_nine_tenths_of_the_weighted_lower_median(items: list[tuple[int, int]]) -> None:
    updates = {slot: with_scale(honest(0), code) for slot, (code, _) in enumerate(items)}
    weights = [float(weight) for weight in say(range(len(items)), dict(enumerate(w for _, w in items))).values()]
    level = weighted_median([code for code, _ in items], weights if any(weights) else [1.0] * len(items))
    clipped = clip_scales(updates, {slot: weight for slot, (_, weight) in enumerate(items)})
    level_code = minifloat.encode(-(-9 * minifloat.decode(int(level)) // 10))
    assert [int(clipped[slot].scales[0]) for slot in clipped] == [min(code, level_code) for code, _ in items]


def test_an_empty_round_stays_empty() -> None:
    assert clip_scales({}, {}) == {}


def test_updates_of_two_shapes_are_refused() -> None:
    other = replace(honest(1), k=128)
    with pytest.raises(RefusedError, match="aggregate-shape"):
        clip_scales({0: honest(0), 1: other}, {})


def test_an_update_that_says_nothing_is_refused() -> None:
    check_not_empty(honest(0))
    check_not_empty(replace(honest(0), scales=np.array([0] * 9 + [1], dtype=np.uint16)))
    with pytest.raises(RefusedError, match="blob-empty"):
        check_not_empty(with_scale(honest(0), 0))
