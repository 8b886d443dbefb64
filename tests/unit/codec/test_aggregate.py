from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.codec import Aggregate, decode_aggregate, encode_aggregate, largest_aggregate_bytes
from emerit.errors import RefusedError, UsageError

LIMIT = 1 << 22
HEADER_BYTES = 32


@st.composite
def aggregates(draw: st.DrawFn) -> Aggregate:
    size = draw(st.one_of(st.integers(1, 100), st.integers(4000, 9000)))
    positions = np.array(sorted(draw(st.sets(st.integers(0, size - 1), max_size=60))), dtype=np.int64)
    nonzero = st.integers(-(2**31), 2**31 - 1).filter(bool)
    values = draw(st.lists(nonzero, min_size=1, max_size=9))
    deltas = np.array([values[draw(st.integers(0, len(values) - 1))] for _ in positions], dtype=np.int32)
    return Aggregate(draw(st.integers(0, 2**32 - 1)), size, positions, deltas)


def encoded(aggregate: Aggregate) -> bytes:
    return encode_aggregate(aggregate.round, aggregate.size, aggregate.positions, aggregate.deltas)


def example() -> Aggregate:
    rng = np.random.default_rng(4)
    positions = np.flatnonzero(rng.random(9000) < 0.2)
    return Aggregate(3, 9000, positions, rng.choice([-70_000, -9, 5, 9, 300_000], len(positions)).astype(np.int32))


def refusal(data: bytes, size: int = 9000, max_bytes: int = LIMIT, round: int | None = None) -> str:
    with pytest.raises(RefusedError) as caught:
        decode_aggregate(data, size, max_bytes, round)
    return caught.value.code


@given(aggregates())
def test_an_aggregate_comes_back(aggregate: Aggregate) -> None:
    decoded = decode_aggregate(encoded(aggregate), aggregate.size, LIMIT, aggregate.round)
    assert decoded == aggregate
    assert decoded.positions.dtype == np.int64
    assert decoded.deltas.dtype == np.int32


def test_dense_and_empty_aggregates_come_back() -> None:
    dense = Aggregate(0, 5000, np.arange(5000), np.arange(1, 5001, dtype=np.int32))
    assert decode_aggregate(encoded(dense), 5000, LIMIT) == dense
    empty = Aggregate(0, 5000, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32))
    assert decode_aggregate(encoded(empty), 5000, LIMIT) == empty


def assert_refused_or_canonical(data: bytes, original: Aggregate) -> None:
    try:
        decoded = decode_aggregate(data, original.size, LIMIT)
    except RefusedError as error:
        assert error.code.startswith("aggregate-")
    else:
        assert encoded(decoded) == data


@settings(max_examples=60)
@given(aggregates(), st.data())
def test_every_flipped_bit_is_refused_or_another_aggregate(aggregate: Aggregate, data: st.DataObject) -> None:
    good = encoded(aggregate)
    start = data.draw(st.integers(0, 8 * len(good) - 1))
    for bit in range(start, min(8 * len(good), start + 64)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert_refused_or_canonical(bytes(flipped), aggregate)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 40))
def test_arbitrary_bytes_are_refused_or_canonical(body: bytes, count: int) -> None:
    original = example()
    assert refusal(body).startswith("aggregate-")
    header = struct.pack("<4sHHIIQQ", b"EMRA", 1, 0, 0, 3, 9000, count)
    assert_refused_or_canonical(header + body, original)
    assert_refused_or_canonical(header + struct.pack("<3H", 2, 1, 0) + body, original)


@given(aggregates(), st.data())
def test_cut_and_lengthened_aggregates_are_refused(aggregate: Aggregate, data: st.DataObject) -> None:
    good = encoded(aggregate)
    with pytest.raises(RefusedError):
        decode_aggregate(good[: data.draw(st.integers(0, len(good) - 1))], aggregate.size, LIMIT)
    with pytest.raises(RefusedError):
        decode_aggregate(good + b"\0", aggregate.size, LIMIT)


def test_each_broken_part_is_named() -> None:
    good = encoded(example())

    def patched(at: int, value: bytes) -> bytes:
        return good[:at] + value + good[at + len(value) :]

    assert refusal(good, max_bytes=len(good) - 1) == "aggregate-too-large"
    assert refusal(b"EMRA") == "aggregate-truncated"
    assert refusal(patched(0, b"EMRT")) == "aggregate-magic"
    assert refusal(patched(4, b"\x09")) == "aggregate-version"
    assert refusal(patched(6, b"\x01")) == "aggregate-extension"
    assert refusal(patched(8, b"\x01")) == "aggregate-extension"
    assert refusal(good, round=4) == "aggregate-wrong-round"
    assert refusal(good, size=9001) == "aggregate-shape"
    assert refusal(patched(24, struct.pack("<Q", 9001))) == "aggregate-shape"
    assert refusal(patched(24, struct.pack("<Q", 9000))) == "aggregate-truncated"
    assert refusal(good + b"\0") == "aggregate-trailing"
    tables = HEADER_BYTES + 6
    assert refusal(patched(tables, struct.pack("<I", 0))) == "aggregate-table"
    assert refusal(patched(tables, struct.pack("<I", 2**31 + 1))) == "aggregate-table"
    assert refusal(patched(tables, struct.pack("<II", 9, 9))) == "aggregate-table"


def test_a_delta_of_zero_cannot_be_listed() -> None:
    one = np.array([5], dtype=np.int64)
    with pytest.raises(UsageError, match="a listed delta is 0"):
        encode_aggregate(0, 10, one, np.array([0], dtype=np.int32))
    good = bytearray(encode_aggregate(0, 10, one, np.array([7], dtype=np.int32)))
    table = HEADER_BYTES + 2
    assert good[table] == 7
    good[table] = 0
    assert refusal(bytes(good), size=10) == "aggregate-table"


def test_an_unused_or_missing_table_is_refused() -> None:
    header = struct.pack("<4sHHIIQQ", b"EMRA", 1, 0, 0, 0, 9000, 0)
    assert refusal(header + struct.pack("<3HI", 1, 0, 0, 7)) == "aggregate-table"
    one = bytearray(encode_aggregate(0, 9000, np.array([5]), np.array([7], dtype=np.int32)))
    one[HEADER_BYTES : HEADER_BYTES + 4] = struct.pack("<2H", 0, 1)
    assert refusal(bytes(one)) == "aggregate-table"


def test_the_smallest_delta_has_no_positive_twin() -> None:
    good = bytearray(encode_aggregate(0, 10, np.array([5]), np.array([-(2**31)], dtype=np.int32)))
    sign = HEADER_BYTES + 2 + 4
    assert good[sign] == 1
    good[sign] = 0
    assert refusal(bytes(good), size=10) == "aggregate-table"


@pytest.mark.parametrize(
    "change",
    [
        {"positions": np.array([3, 3])},
        {"positions": np.array([4, 3])},
        {"positions": np.array([-1, 3])},
        {"positions": np.array([3, 10])},
        {"positions": np.array([3])},
        {"positions": np.array([3, 4], dtype=np.int32)},
        {"deltas": np.array([3, 4])},
        {"size": 0},
    ],
)
def test_what_is_no_aggregate_is_not_encoded(change: dict[str, object]) -> None:
    good = Aggregate(0, 10, np.array([3, 4]), np.array([1, 2], dtype=np.int32))
    encoded(good)
    with pytest.raises(UsageError, match="aggregate-invalid"):
        encoded(replace(good, **change))


def test_few_magnitudes_make_a_short_blob() -> None:
    """Four senders at k = 256, half of them at the median scale: far below 32 bits a delta."""
    rng = np.random.default_rng(8)
    size = 50 * 4096
    total = np.zeros(size, dtype=np.int64)
    count = np.zeros(size, dtype=np.int64)
    for scale in (300_001, 300_001, 250_007, 200_003):
        mask = rng.random(size) < 1 / 16
        total += mask * rng.choice([-1, 1], size) * scale
        count += mask
    positions = np.flatnonzero(total)
    deltas = (total[positions] // count[positions]).astype(np.int32)
    data = encode_aggregate(0, size, positions, deltas)
    assert 8 * len(data) / len(positions) < 9.5


@given(st.integers(1, 20_000), st.integers(0, 2**32 - 1), st.booleans())
def test_no_aggregate_is_longer_than_its_bound(size: int, seed: int, far_apart: bool) -> None:
    random = np.random.default_rng(seed)
    most = int(random.integers(1, size + 1))
    count = int(random.integers(most // 2, most + 1))
    positions = np.sort(random.permutation(size)[:count]).astype(np.int64)
    if far_apart and count:
        positions = np.arange(size - count, size)
    deltas = random.integers(1, 2**31 - 1, count).astype(np.int32)
    length = len(encode_aggregate(3, size, positions, deltas))
    assert length <= largest_aggregate_bytes(size, most)
    assert largest_aggregate_bytes(size, count) <= 1.06 * length + 0.3 * count + 200
