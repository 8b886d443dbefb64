"""The bytes that stand in an aggregate's place where the last one is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec.aggregate import decode_aggregate
from emerit.codec.take_back import TAKE_BACK_BYTES, TakeBack, decode_take_back, encode_take_back
from emerit.errors import RefusedError, UsageError

ITEM = TakeBack(7, 5, bytes(range(32)))
BYTES = encode_take_back(ITEM)
items = st.builds(
    lambda rounds, root: TakeBack(max(rounds), min(rounds), root),
    st.sets(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
    st.binary(min_size=32, max_size=32),
)


def test_every_byte_is_said() -> None:
    assert BYTES.hex() == "454d5242" + "0100" + "0000" + "00000000" + "07000000" + "05000000" + bytes(range(32)).hex()


@given(items)
def test_what_was_encoded_comes_back(item: TakeBack) -> None:
    assert decode_take_back(encode_take_back(item), item.round) == item


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_have_this_one_form(data: bytes) -> None:
    for candidate in (data, BYTES[:8] + data, BYTES[:12] + data):
        try:
            found = decode_take_back(candidate)
        except RefusedError:
            continue
        assert encode_take_back(found) == candidate


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BYTES[:-1], "truncated"),
        (BYTES + b"\0", "too-large"),
        (b"EMRA" + BYTES[4:], "magic"),
        (BYTES[:4] + b"\x02" + BYTES[5:], "version"),
        (BYTES[:6] + b"\x01" + BYTES[7:], "extension"),
        (BYTES[:8] + b"\x01" + BYTES[9:], "extension"),
        (BYTES[:12] + b"\x08" + BYTES[13:], "wrong-round"),
        (BYTES[:16] + b"\x07" + BYTES[17:], "wrong-round"),
    ],
)
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=f"aggregate-{reason}"):
        decode_take_back(data, 7)


def test_it_is_no_aggregate_and_names_an_earlier_round() -> None:
    assert len(BYTES) == TAKE_BACK_BYTES == 52
    with pytest.raises(RefusedError, match="aggregate-magic"):
        decode_aggregate(BYTES, 10, 100)
    for item in (TakeBack(5, 5, bytes(32)), TakeBack(5, 6, bytes(32)), TakeBack(5, 4, b"")):
        with pytest.raises(UsageError, match="aggregate-invalid"):
            encode_take_back(item)
