"""Between text and tokens: the one place that knows a run's tokenizer by its name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emerit.errors import UsageError


def encode_text(tokenizer: str, text: bytes) -> NDArray[np.uint8]:
    """Return the tokens [n] of a text; raises UsageError `tokenizer-unknown`."""
    _check(tokenizer)
    return np.frombuffer(text, dtype=np.uint8)


def decode_text(tokenizer: str, tokens: Iterable[int]) -> bytes:
    """Return the text of tokens, which need not be whole characters; raises UsageError `tokenizer-unknown`."""
    _check(tokenizer)
    return bytes(int(token) for token in tokens)


def _check(tokenizer: str) -> None:
    if tokenizer != "bytes":
        raise UsageError(
            "tokenizer-unknown",
            f"This version does not know the tokenizer {tokenizer[:64]!r}.",
            "Install the version of emerit that the model was made with.",
        )
