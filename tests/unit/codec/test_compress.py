from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec import UNIT, SparseUpdate, compress, kept_per_chunk, kept_total
from emerit.errors import StateError, UsageError
from tests.unit.codec.builders import random_dense, updates


@given(st.integers(1, 400), st.integers(1, 90), st.data())
def test_keeps_the_largest_and_lower_indices_first(size: int, chunk: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, chunk))
    dense = np.round(random_dense(size, data.draw(st.integers(0, 1000))) * 2).astype(np.float32)
    update, _ = compress(dense, chunk, k)
    for number, start in enumerate(range(0, size, chunk)):
        part = np.abs(dense[start : start + chunk])
        kept = max(1, k * len(part) // chunk)
        best = sorted(sorted(range(len(part)), key=lambda at, part=part: (-part[at], at))[:kept])
        mine = update.indices[update.entry_chunks() == number] - start
        if update.scales[number]:
            assert mine.tolist() == best
        else:
            assert mine.tolist() == list(range(kept))


def test_scale_is_the_mean_of_what_is_kept() -> None:
    dense = np.zeros(8, dtype=np.float32)
    dense[[1, 3]] = [3 * UNIT, -6 * UNIT]
    dense[[4, 7]] = [-0.5, 0.25]
    update, sent = compress(dense, 4, 2)
    assert update.scale_units()[0] in (4, 5)
    assert update.scale_units()[1] == 0.375 / UNIT
    assert update.indices.tolist() == [1, 3, 4, 7]
    assert update.levels.tolist() == [1, -1, -1, 1]
    assert sent[[4, 7]].tolist() == [-0.375, 0.375]
    assert np.array_equal(sent, update.dense())


@given(updates())
def test_what_is_sent_is_exactly_what_the_update_says(update: SparseUpdate) -> None:
    update.check()
    again, sent = compress(update.dense(), update.chunk, update.k)
    assert np.array_equal(sent, update.dense())
    assert np.array_equal(again.scales, update.scales)
    assert again == update
    assert np.array_equal(update.dense()[update.indices] / UNIT, update.values())


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-9, -1e-9, 1e-45])
def test_a_chunk_too_small_to_send_has_one_form(value: float) -> None:
    dense = np.full(10, value, dtype=np.float32)
    dense[0:4] = [1, -1, 0, 0]
    update, sent = compress(dense, 4, 2)
    assert update.scales.tolist()[1:] == [0, 0]
    assert update.indices.tolist() == [0, 1, 4, 5, 8]
    assert update.levels.tolist() == [1, -1, 1, 1, 1]
    assert update.live().tolist() == [True, True, False, False, False]
    assert not sent[4:].any()


def test_a_huge_value_saturates() -> None:
    update, sent = compress(np.full(3, 3e38, dtype=np.float32), 3, 3)
    assert update.scales.tolist() == [0xFFFE]
    assert np.all(np.isfinite(sent))


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    dense = random_dense(100, 1)
    dense[77] = bad
    with pytest.raises(StateError, match="1 entries that are not finite") as caught:
        compress(dense, 10, 2)
    assert caught.value.code == "update-not-finite"


def test_impossible_arguments_are_refused() -> None:
    for size, chunk, k in ((10, 4, 0), (10, 4, 5), (10, 0, 0), (0, 4, 1)):
        with pytest.raises(UsageError, match="codec-shape"):
            compress(np.zeros(size, dtype=np.float32), chunk, k)
    with pytest.raises(UsageError, match="codec-dtype"):
        compress(np.zeros(4), 4, 1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="codec-dtype"):
        compress(np.zeros((2, 2), dtype=np.float32), 4, 1)


@given(st.integers(1, 10_000), st.integers(1, 500), st.data())
def test_kept_total_is_the_sum(size: int, chunk: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, chunk))
    assert kept_total(size, chunk, k) == kept_per_chunk(size, chunk, k).sum()


def test_the_input_is_left_alone_and_strides_do_not_matter() -> None:
    wide = random_dense(2000, 5)
    view = wide[::2]
    copy = view.copy()
    assert compress(view, 64, 8)[0] == compress(copy, 64, 8)[0]
    assert np.array_equal(view, copy)


def test_error_feedback_sends_everything_in_time() -> None:
    target = random_dense(512, 9)
    error = np.zeros_like(target)
    total = np.zeros_like(target)
    for _ in range(400):
        error += target
        _, sent = compress(error, 64, 8)
        error -= sent
        total += sent
    assert np.abs(total / 400 - target).max() < 0.1


def test_updates_compare_by_value() -> None:
    first, _ = compress(random_dense(100, 1), 10, 2)
    assert first == compress(random_dense(100, 1), 10, 2)[0]
    assert first != compress(random_dense(100, 2), 10, 2)[0]
    assert first != "an update"
