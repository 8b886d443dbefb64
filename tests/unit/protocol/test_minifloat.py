from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol import minifloat

ALL_CODES = np.arange(minifloat.MAX_CODE + 1)


def test_a_larger_code_is_a_larger_value_over_all_codes() -> None:
    values = minifloat.decode_array(ALL_CODES)
    assert np.all(np.diff(values) > 0)
    assert values[0] == 0 and values[-1] == minifloat.MAX_VALUE


def test_every_code_decodes_and_encodes_to_itself() -> None:
    values = minifloat.decode_array(ALL_CODES)
    assert np.array_equal(minifloat.encode_array(values), ALL_CODES)
    assert [minifloat.decode(int(code)) for code in ALL_CODES[::97]] == values[::97].tolist()


def test_small_integers_are_exact() -> None:
    assert [minifloat.encode(value) for value in range(4096)] == list(range(4096))


@given(st.integers(0, minifloat.MAX_VALUE + 1000))
def test_encoding_takes_the_nearest_value_and_the_upper_of_two(value: int) -> None:
    table = minifloat.decode_array(ALL_CODES)
    code = minifloat.encode(value)
    distances = np.abs(table - value)
    nearest = np.flatnonzero(distances == distances.min())
    assert code == nearest[-1]


@given(st.integers(0, 1 << 64), st.integers(0, 1 << 64))
def test_encoding_is_monotone_and_idempotent(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert minifloat.encode(low) <= minifloat.encode(high) <= minifloat.MAX_CODE
    assert minifloat.encode(minifloat.decode(minifloat.encode(low))) == minifloat.encode(low)


@given(st.integers(4096, minifloat.MAX_VALUE))
def test_the_relative_error_is_at_most_one_part_in_4096(value: int) -> None:
    assert abs(minifloat.decode(minifloat.encode(value)) - value) * 4096 <= value


@given(st.lists(st.integers(0, (1 << 63) - 1)))
def test_arrays_agree_with_numbers(values: list[int]) -> None:
    array = minifloat.encode_array(np.array(values, dtype=np.int64))
    assert array.dtype == np.int64
    assert array.tolist() == [minifloat.encode(value) for value in values]
    assert minifloat.decode_array(array).tolist() == [minifloat.decode(code) for code in array.tolist()]


def test_the_largest_unsigned_numbers_saturate() -> None:
    values = np.array([(1 << 64) - 1, 1 << 63], dtype=np.uint64)
    assert minifloat.encode_array(values).tolist() == [minifloat.MAX_CODE] * 2


@pytest.mark.parametrize("code", [-1, minifloat.ABSTAIN, 1 << 16])
def test_what_is_no_code_is_refused(code: int) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        minifloat.decode(code)
    with pytest.raises(RefusedError, match="value-invalid"):
        minifloat.decode_array(np.array([0, code]))


def test_negative_and_fractional_values_are_refused() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        minifloat.encode(-1)
    with pytest.raises(RefusedError, match="value-invalid"):
        minifloat.encode_array(np.array([3, -1]))
    with pytest.raises(RefusedError, match="value-invalid"):
        minifloat.encode_array(np.array([1.0]))
