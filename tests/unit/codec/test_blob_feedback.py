"""Peer feedback in the header of a blob: one encoding, bounded, refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec import (
    FEEDBACK_BYTES,
    HEADER_BYTES,
    BlobExpectation,
    SparseUpdate,
    decode_blob,
    encode_blob,
    largest_blob_bytes,
    read_header,
)
from emerit.errors import RefusedError
from emerit.protocol.feedback import MOST_PEERS, Feedback
from tests.unit.codec.builders import EXPECTED, expectation, uniform_update, updates

LIMIT = 1 << 20
FILE = Path(__file__).resolve().parents[2] / "vectors" / "peer_feedback.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="ascii"))["blobs"]
SHARED = BlobExpectation(
    chain_id=VECTORS["expected"]["chainId"],
    run=VECTORS["expected"]["run"],
    round=VECTORS["expected"]["round"],
    account=VECTORS["expected"]["account"],
    base_state_root=bytes.fromhex(VECTORS["expected"]["baseStateRoot"][2:]),
    table_hash=bytes.fromhex(VECTORS["expected"]["tableHash"][2:]),
    size=VECTORS["expected"]["size"],
    chunk=VECTORS["expected"]["chunk"],
    k=VECTORS["expected"]["k"],
    most_feedback=VECTORS["expected"]["mostFeedback"],
)


@st.composite
def said(draw: st.DrawFn, most: int = MOST_PEERS) -> tuple[Feedback, ...]:
    indices = sorted(draw(st.sets(st.integers(0, (1 << 32) - 1), max_size=most)))
    return tuple(Feedback(index, draw(st.integers(-(1 << 31), (1 << 31) - 1))) for index in indices)


@given(updates(), said())
def test_feedback_comes_back_and_lengthens_the_blob_by_itself_alone(
    update: SparseUpdate, items: tuple[Feedback, ...]
) -> None:
    expected = replace(expectation(update), most_feedback=MOST_PEERS)
    data = encode_blob(expected.header(items), update)
    header, decoded = decode_blob(data, expected, LIMIT)
    assert (header.feedback, decoded) == (items, update)
    assert encode_blob(header, decoded) == data
    assert read_header(data[: HEADER_BYTES + FEEDBACK_BYTES * MOST_PEERS], MOST_PEERS) == header
    plain = encode_blob(expected.header(), update)
    assert len(data) == len(plain) + FEEDBACK_BYTES * len(items)
    assert data[:8] == plain[:8] and data[HEADER_BYTES + FEEDBACK_BYTES * len(items) :] == plain[HEADER_BYTES:]


def test_the_longest_blob_has_the_most_feedback() -> None:
    without = largest_blob_bytes(1000, 64, 8)
    assert largest_blob_bytes(1000, 64, 8, most_feedback=3) == without + 3 * FEEDBACK_BYTES


@given(said(4), st.integers(0, 3))
def test_more_than_the_run_allows_is_refused(items: tuple[Feedback, ...], most: int) -> None:
    update = uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k)
    data = encode_blob(EXPECTED.header(items), update)
    expected = replace(EXPECTED, most_feedback=most)
    if len(items) <= most:
        assert decode_blob(data, expected, LIMIT)[0].feedback == items
        return
    with pytest.raises(RefusedError) as caught:
        decode_blob(data, expected, LIMIT)
    assert caught.value.code == "blob-extension"


def test_every_flipped_bit_of_the_feedback_is_refused_or_says_something_else() -> None:
    update = uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k)
    expected = replace(EXPECTED, most_feedback=2)
    data = encode_blob(expected.header((Feedback(4, -7), Feedback(5, 1))), update)
    accepted = 0
    for bit in [*range(64, 96), *range(8 * HEADER_BYTES, 8 * (HEADER_BYTES + 2 * FEEDBACK_BYTES))]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            header, decoded = decode_blob(bytes(flipped), expected, LIMIT)
        except RefusedError as error:
            assert error.code.startswith("blob-")
            continue
        accepted += 1
        assert decoded == update and encode_blob(header, decoded) == bytes(flipped) != data
    assert accepted > 64


@pytest.mark.parametrize("items", [(Feedback(2, 0), Feedback(1, 0)), (Feedback(1, 0), Feedback(1, 1))])
def test_another_order_is_not_encoded(items: tuple[Feedback, ...]) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        EXPECTED.header(items)
    with pytest.raises(RefusedError, match="value-invalid"):
        EXPECTED.header(tuple(Feedback(at, 0) for at in range(MOST_PEERS + 1)))


@pytest.mark.parametrize("case", VECTORS["accepted"], ids=lambda case: f"{len(case['feedback'])} peers")
def test_the_shared_blobs(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["blob"][2:])
    header, update = decode_blob(data, SHARED, LIMIT)
    assert [[item.index, item.value] for item in header.feedback] == case["feedback"]
    assert encode_blob(header, update) == data


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["code"])
def test_the_shared_refusals(case: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_blob(bytes.fromhex(case["blob"][2:]), SHARED, LIMIT)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize(("length", "code"), [(0, "blob-truncated"), (143, "blob-truncated"), (150, "blob-truncated")])
def test_a_header_that_ends_early_is_refused(length: int, code: str) -> None:
    data = bytes.fromhex(VECTORS["accepted"][1]["blob"][2:])
    with pytest.raises(RefusedError) as caught:
        read_header(data[:length], 2)
    assert caught.value.code == code
