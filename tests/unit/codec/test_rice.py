from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec.rice import (
    gaps_of,
    pack_fields,
    pack_quotients,
    pack_remainders,
    places_of,
    rice_parameter,
    unpack_fields,
)


@pytest.mark.parametrize(("length", "kept", "r"), [(4096, 32, 6), (4096, 64, 5), (4096, 128, 4), (4096, 256, 3)])
def test_parameter_of_the_measured_densities(length: int, kept: int, r: int) -> None:
    assert rice_parameter(length, kept) == r


@given(st.integers(1, 1 << 20), st.data())
def test_parameter_is_the_cheapest(length: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, length))

    def cost(r: int) -> float:
        x = math.exp(2**r * math.log1p(-kept / length)) if kept < length else 0.0
        return r + 1 + x / (1 - x)

    best = min(cost(r) for r in range(24))
    assert cost(rice_parameter(length, kept)) <= best * (1 + 1e-6)


def test_half_of_the_positions_are_a_bit_mask() -> None:
    mask = np.random.default_rng(3).random(1000) < 0.5
    mask[-1] = True
    places = np.flatnonzero(mask)
    assert rice_parameter(1000, len(places)) == 0
    gaps = gaps_of(places, np.array([len(places)]))
    assert pack_quotients(gaps, 0) == np.packbits(mask, bitorder="little").tobytes()
    assert pack_remainders(gaps, 0) == b""


@given(st.lists(st.sets(st.integers(0, 50)), max_size=8))
def test_places_come_back_from_gaps(groups: list[set[int]]) -> None:
    counts = np.array([len(group) for group in groups], dtype=np.int64)
    places = np.array([place for group in groups for place in sorted(group)], dtype=np.int64)
    gaps = gaps_of(places, counts)
    assert np.all(gaps >= 0)
    assert np.array_equal(places_of(gaps, counts), places)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2**20 - 1)), max_size=50))
def test_fields_of_any_width_come_back(fields: list[tuple[int, int]]) -> None:
    widths = np.array([width for width, _ in fields], dtype=np.int64)
    values = np.array([value % (1 << width) for width, value in fields], dtype=np.int64)
    packed = np.frombuffer(pack_fields(values, widths), dtype=np.uint8)
    assert len(packed) == -(-int(widths.sum()) // 8)
    bits = np.unpackbits(packed, count=int(widths.sum()), bitorder="little")
    assert np.array_equal(unpack_fields(bits, widths), values)
