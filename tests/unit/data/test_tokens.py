from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data import BpeTokenizer, ByteTokenizer, bits_per_byte
from emerit.errors import UsageError


@given(st.binary(max_size=100))
def test_bytes_are_their_own_tokens(data: bytes) -> None:
    tokens = ByteTokenizer().encode(data)
    assert tokens.dtype == np.uint8
    assert tokens.tolist() == list(data)
    assert ByteTokenizer().decode(tokens) == data


def test_a_token_that_is_no_byte_is_refused() -> None:
    for wrong in (256, -1):
        with pytest.raises(UsageError, match="token-range"):
            ByteTokenizer().decode(np.array([65, wrong]))


def test_a_loss_of_bytes_is_the_same_in_other_units() -> None:
    tokens = np.zeros((3, 9), dtype=np.uint8)
    assert bits_per_byte(math.log(2), tokens, ByteTokenizer()) == pytest.approx(1.0)
    assert bits_per_byte(math.log(256), tokens, ByteTokenizer()) == pytest.approx(8.0)


def test_longer_tokens_carry_more_bytes() -> None:
    tokenizer = BpeTokenizer([(97, 98), (256, 99)])  # ab, abc
    tokens = np.array([[97, 257, 256, 100], [256, 257, 257, 257]], dtype=np.uint16)
    predicted_bytes = (3 + 2 + 1) + 9
    assert bits_per_byte(2.0, tokens, tokenizer) == pytest.approx(2.0 * 6 / math.log(2) / predicted_bytes)
    assert math.isnan(bits_per_byte(1.0, tokens[:, :1], tokenizer))
    padding = np.full((1, 3), 300, dtype=np.uint16)
    assert math.isnan(bits_per_byte(1.0, padding, tokenizer))
