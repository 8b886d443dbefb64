from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data.text import decode_text, encode_text
from emerit.errors import UsageError


@given(st.binary())
def test_bytes_come_back(text: bytes) -> None:
    tokens = encode_text("bytes", text)
    assert tokens.dtype == np.uint8 and tokens.tolist() == list(text)
    assert decode_text("bytes", tokens) == decode_text("bytes", list(text)) == text


def test_a_tokenizer_of_another_version_is_named() -> None:
    for ask in (lambda: encode_text("bpe" * 99, b""), lambda: decode_text("bpe" * 99, [])):
        with pytest.raises(UsageError, match="tokenizer-unknown"):
            ask()
