from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.codec import (
    HEADER_BYTES,
    BlobHeader,
    SparseUpdate,
    decode_blob,
    encode_blob,
    kept_total,
    largest_blob_bytes,
    rice_parameter,
)
from emerit.errors import RefusedError, UsageError
from tests.unit.codec.builders import EXPECTED, expectation, uniform_update, updates

LIMIT = 1 << 20


def encoded(update: SparseUpdate) -> bytes:
    return encode_blob(expectation(update).header(), update)


def refusal(data: bytes, max_bytes: int = LIMIT) -> str:
    with pytest.raises(RefusedError) as caught:
        decode_blob(data, EXPECTED, max_bytes)
    return caught.value.code


@pytest.fixture(scope="module")
def blob() -> bytes:
    return encoded(uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k))


@given(updates())
def test_an_update_comes_back(update: SparseUpdate) -> None:
    expected = expectation(update)
    data = encode_blob(expected.header(), update)
    header, decoded = decode_blob(data, expected, LIMIT)
    assert header == expected.header()
    assert decoded == update
    decoded.check()
    assert len(data) <= largest_blob_bytes(update.size, update.chunk, update.k)


def written_out(update: SparseUpdate) -> bytes:
    """Encode entry by entry as the layout in `emerit.codec.blob` says."""
    r = rice_parameter(update.chunk, update.k)
    signs, low, high = "", "", ""
    before = {}
    for entry, index in enumerate(update.indices.tolist()):
        chunk, place = divmod(index, update.chunk)
        if update.scales[chunk]:
            gap = place - before.get(chunk, -1) - 1
            before[chunk] = place
            signs += "1" if update.levels[entry] < 0 else "0"
            low += "".join(str(gap >> bit & 1) for bit in range(r))
            high += "0" * (gap >> r) + "1"
    header = struct.pack("<4sHHIQ", b"EMRT", 2, 1, 0, EXPECTED.chain_id)
    header += bytes.fromhex(EXPECTED.run[2:]) + struct.pack("<I", EXPECTED.round) + bytes.fromhex(EXPECTED.account[2:])
    header += EXPECTED.base_state_root + EXPECTED.table_hash
    header += struct.pack("<QII", update.size, update.chunk, update.k)
    scales = b"".join(struct.pack("<H", scale) for scale in update.scales)
    parts = [int(bits[::-1] or "0", 2).to_bytes(-(-len(bits) // 8), "little") for bits in (signs, low, high)]
    return header + scales + b"".join(parts)


@given(updates())
def test_the_layout_is_the_documented_one(update: SparseUpdate) -> None:
    assert encoded(update) == written_out(update)


@settings(max_examples=60)
@given(updates(), st.data())
def test_every_flipped_bit_is_refused_or_another_contribution(update: SparseUpdate, data: st.DataObject) -> None:
    good = encoded(update)
    start = data.draw(st.integers(0, 8 * len(good) - 1))
    for bit in range(start, min(8 * len(good), start + 64)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << (bit % 8)
        assert_refused_or_canonical(bytes(flipped), update)


def test_every_flipped_bit_of_one_blob(blob: bytes) -> None:
    update = uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k)
    accepted = 0
    for bit in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << (bit % 8)
        accepted += assert_refused_or_canonical(bytes(flipped), update)
    assert accepted > kept_total(EXPECTED.size, EXPECTED.chunk, EXPECTED.k)


def assert_refused_or_canonical(data: bytes, original: SparseUpdate) -> bool:
    """Return whether the data was accepted, having checked that it is then the encoding of another update."""
    try:
        header, decoded = decode_blob(data, expectation(original), LIMIT)
    except RefusedError as error:
        assert error.code.startswith("blob-")
        return False
    assert decoded != original
    assert encode_blob(header, decoded) == data
    return True


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert refusal(data).startswith("blob-")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_a_good_header(body: bytes) -> None:
    expected = replace(EXPECTED, size=40, chunk=16, k=3)
    good = encode_blob(expected.header(), uniform_update(40, 16, 3))
    data = good[:HEADER_BYTES] + body
    try:
        header, update = decode_blob(data, expected, LIMIT)
    except RefusedError as error:
        assert error.code.startswith("blob-")
    else:
        assert encode_blob(header, update) == data


@given(updates(), st.data())
def test_cut_spliced_and_lengthened_blobs_are_refused_or_canonical(update: SparseUpdate, data: st.DataObject) -> None:
    good = encoded(update)
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(RefusedError):
        decode_blob(good[:cut], expectation(update), LIMIT)
    with pytest.raises(RefusedError):
        decode_blob(good + data.draw(st.binary(min_size=1, max_size=9)), expectation(update), LIMIT)
    start = data.draw(st.integers(0, len(good)))
    patch = data.draw(st.binary(max_size=8))
    mutated = good[:start] + patch + good[start + len(patch) :]
    try:
        header, decoded = decode_blob(mutated, expectation(update), LIMIT)
    except RefusedError as error:
        assert error.code.startswith("blob-")
    else:
        assert encode_blob(header, decoded) == mutated


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("codec_id", 2, "blob-codec"),
        ("chain_id", 1, "blob-wrong-chain"),
        ("run", EXPECTED.account, "blob-wrong-run"),
        ("round", 8, "blob-wrong-round"),
        ("account", EXPECTED.run, "blob-wrong-author"),
        ("base_state_root", bytes(32), "blob-wrong-base"),
        ("table_hash", bytes(32), "blob-wrong-table"),
        ("size", 999, "blob-shape"),
        ("chunk", 63, "blob-shape"),
        ("k", 7, "blob-shape"),
    ],
)
def test_what_differs_from_the_expectation_is_named(blob: bytes, field: str, value: object, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_blob(blob, replace(EXPECTED, **{field: value}), LIMIT)
    assert caught.value.code == code


def test_each_broken_part_is_named(blob: bytes) -> None:
    def patched(at: int, value: bytes) -> bytes:
        return blob[:at] + value + blob[at + len(value) :]

    chunks = -(-EXPECTED.size // EXPECTED.chunk)
    assert refusal(blob, len(blob) - 1) == "blob-too-large"
    assert refusal(b"") == "blob-truncated"
    assert refusal(blob[: HEADER_BYTES + 3]) == "blob-truncated"
    assert refusal(blob[:-1]) == "blob-truncated"
    assert refusal(patched(0, b"EMRA")) == "blob-magic"
    assert refusal(patched(4, b"\x01")) == "blob-version"
    assert refusal(patched(8, b"\x01")) == "blob-extension"
    assert refusal(patched(HEADER_BYTES, b"\xff\xff")) == "blob-scale"
    assert refusal(blob + b"\0") == "blob-trailing"
    assert refusal(patched(HEADER_BYTES + 2 * (chunks - 1), b"\0\0")) in ("blob-trailing", "blob-gaps", "blob-padding")
    assert refusal(patched(len(blob) - 1, b"\xff")) == "blob-padding"
    signs_end = HEADER_BYTES + 2 * chunks + -(-kept_total(1000, 64, 8) // 8)
    assert kept_total(1000, 64, 8) % 8
    assert refusal(patched(signs_end - 1, bytes([blob[signs_end - 1] | 0x80]))) == "blob-padding"
    assert refusal(blob[:-4] + bytes(20) + b"\x01") in ("blob-gaps", "blob-padding")


def test_a_size_that_is_only_declared_allocates_nothing(blob: bytes) -> None:
    size = 1 << 39
    header = bytearray(blob[:HEADER_BYTES])
    struct.pack_into("<Q", header, HEADER_BYTES - 16, size)
    assert refusal(bytes(header)) == "blob-shape"
    with pytest.raises(RefusedError, match="blob-truncated"):
        decode_blob(bytes(header), replace(EXPECTED, size=size), LIMIT)


def test_silent_chunks_cost_their_scale_only() -> None:
    update = SparseUpdate(
        size=10,
        chunk=4,
        k=2,
        indices=np.array([0, 1, 4, 5, 8]),
        levels=np.ones(5, dtype=np.int8),
        scales=np.zeros(3, dtype=np.uint16),
    )
    data = encoded(update)
    assert len(data) == HEADER_BYTES + 6
    assert decode_blob(data, expectation(update), LIMIT)[1] == update


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0, 1, 4, 6, 8])},
        {"indices": np.array([1, 0, 4, 5, 8])},
        {"indices": np.array([0, 1, 2, 5, 8])},
        {"indices": np.array([0, 1, 4, 5, 10])},
        {"indices": np.array([0, 1, 4, 5])},
        {"indices": np.array([0, 1, 4, 5, 8], dtype=np.int32)},
        {"levels": np.array([1, 1, -1, 1, 1], dtype=np.int8)},
        {"levels": np.array([1, 0, 1, 1, 1], dtype=np.int8)},
        {"scales": np.array([5, 0, 0xFFFF], dtype=np.uint16)},
        {"scales": np.array([5, 0], dtype=np.uint16)},
        {"k": 3},
    ],
)
def test_an_update_that_is_not_in_its_one_form_is_not_encoded(change: dict[str, object]) -> None:
    update = SparseUpdate(
        size=10,
        chunk=4,
        k=2,
        indices=np.array([0, 1, 4, 5, 8]),
        levels=np.ones(5, dtype=np.int8),
        scales=np.array([5, 0, 7], dtype=np.uint16),
    )
    encoded(update)
    with pytest.raises(UsageError, match="update-invalid"):
        encoded(replace(update, **change))


def test_a_header_for_another_update_is_not_encoded() -> None:
    with pytest.raises(UsageError, match="update-invalid"):
        encode_blob(EXPECTED.header(), uniform_update(1001, 64, 8))


def test_header_fields_must_fit() -> None:
    fields = vars(EXPECTED.header())
    BlobHeader(**fields)
    for name, value in (("chain_id", 1 << 64), ("round", -1), ("run", "0x12"), ("table_hash", b"short")):
        with pytest.raises(RefusedError, match="value-invalid"):
            BlobHeader(**{**fields, name: value})


@pytest.mark.parametrize(("k", "most_bits"), [(64, 8.9), (256, 6.6)])
def test_bits_per_kept_value(k: int, most_bits: float) -> None:
    size = 256 * 4096
    data = encoded(uniform_update(size, 4096, k))
    assert 8 * len(data) / kept_total(size, 4096, k) <= most_bits


@given(updates())
def test_the_longest_blob_is_within_its_bound_and_reached(update: SparseUpdate) -> None:
    """Kept entries at the end of every chunk make the longest gaps."""
    ends = np.minimum((np.arange(update.chunks) + 1) * update.chunk, update.size)
    kept = update.kept()
    within = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
    worst = replace(
        update,
        indices=np.repeat(ends - kept, kept) + within,
        scales=np.full(update.chunks, 9, dtype=np.uint16),
    )
    bound = largest_blob_bytes(update.size, update.chunk, update.k)
    length = len(encoded(worst))
    assert bound - update.chunks <= length <= bound
