"""How well tokens can be guessed from their frequencies alone: the figures a model must beat, in nats a token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.data.tokens import Tokens
from emerit.protocol.manifest import BYTE_TOKENS


def token_counts(tokens: NDArray[np.integer[Any]], vocabulary: int = BYTE_TOKENS) -> NDArray[np.int64]:
    """Return int64[vocabulary]: how often each token occurs in `tokens`, of any shape."""
    return np.bincount(np.ravel(tokens), minlength=vocabulary).astype(np.int64)


def unigram_entropy(
    train_tokens_or_counts: NDArray[np.integer[Any]], heldout: Tokens, vocabulary: int = BYTE_TOKENS
) -> float:
    """Return the cross-entropy of the held-out tokens under the training frequencies, in nats a token.

    Frequencies are smoothed by adding one to every count. The first argument is uint8 or uint16 tokens or, in any other
    integer type, their counts, one for each of the vocabulary. NaN when nothing is held out.
    """
    counts = train_tokens_or_counts.astype(np.int64)
    if train_tokens_or_counts.dtype in (np.uint8, np.uint16):
        counts = token_counts(train_tokens_or_counts, vocabulary)
    smoothed = counts + 1.0
    return _mean_surprise(token_counts(heldout, vocabulary), smoothed / smoothed.sum())


def entropy_of(heldout: Tokens) -> float:
    """Return the held-out tokens' own unigram entropy in nats a token: the least that any unigram model can reach."""
    counts = token_counts(heldout)
    return _mean_surprise(counts, counts / max(1, counts.sum()))


def _mean_surprise(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    seen = counts > 0
    if not seen.any():
        return float("nan")
    return float(-(counts[seen] * np.log(probabilities[seen])).sum() / counts.sum())
