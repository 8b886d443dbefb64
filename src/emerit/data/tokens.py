"""Tokenizers: text to tokens and back, and what a loss a token is in bits a byte.

A tokenizer here is exact: `decode(encode(text))` is the text. That of bytes needs no file; that of byte-pair encoding
(`emerit.data.bpe`) is its list of merges, which every node checks against the manifest's hash before it reads it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emerit.errors import UsageError
from emerit.protocol.manifest import BYTE_TOKENS

Tokens = NDArray[np.unsignedinteger[Any]]
"""Tokens as they lie in shards: uint8 for bytes, uint16 for every other vocabulary."""


class Tokenizer(Protocol):
    """Text to tokens and back.

    Attributes:
        name: as in the manifest.
        vocabulary: how many tokens there are; ids go from 0 below that.
        token_lengths: int64[vocabulary], how many bytes of text each token is.
    """

    name: str
    vocabulary: int
    token_lengths: NDArray[np.int64]

    def encode(self, text: bytes) -> Tokens:
        """Return the tokens of UTF-8 text; raises UsageError `text-not-utf8` where that matters and it is not."""

    def decode(self, tokens: NDArray[np.integer[Any]]) -> bytes:
        """Return the bytes that tokens stand for; raises UsageError `token-range` for ids that there are not."""


class ByteTokenizer:
    """One byte is one token; any bytes will do."""

    name = "bytes"
    vocabulary = BYTE_TOKENS

    def __init__(self) -> None:
        self.token_lengths = np.ones(BYTE_TOKENS, dtype=np.int64)

    def encode(self, text: bytes) -> Tokens:
        """Return uint8[len(text)]."""
        return np.frombuffer(text, dtype=np.uint8)

    def decode(self, tokens: NDArray[np.integer[Any]]) -> bytes:
        """Return the bytes; raises UsageError `token-range`."""
        check_tokens(tokens, self.vocabulary)
        return np.asarray(tokens).astype(np.uint8).tobytes()


def check_tokens(tokens: NDArray[np.integer[Any]], vocabulary: int) -> None:
    """Raise UsageError `token-range` unless every token is in [0, vocabulary)."""
    values = np.asarray(tokens)
    if values.size and (values.min() < 0 or values.max() >= vocabulary):
        raise UsageError(
            "token-range",
            f"There are tokens outside the vocabulary of {vocabulary}.",
            "Use the tokenizer that the model was trained with.",
        )


def bits_per_byte(nats_per_token: float, tokens: Tokens, tokenizer: Tokenizer) -> float:
    """Return a mean loss in nats per token as bits per byte of the predicted text.

    `tokens` [n, T + 1] are the sequences that it was measured on, of which all but each first are predicted. With this,
    losses of models with different tokenizers can be compared. NaN when nothing was predicted. Tokens of a padded
    vocabulary that stand for nothing count no bytes.
    """
    counts = np.bincount(tokens[:, 1:].ravel(), minlength=tokenizer.vocabulary)[: tokenizer.vocabulary]
    text_bytes = int((counts * tokenizer.token_lengths).sum())
    if not text_bytes:
        return math.nan
    return nats_per_token * tokens[:, 1:].size / (math.log(2) * text_bytes)
