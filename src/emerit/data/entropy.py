"""How well bytes can be guessed from their frequencies alone: the figures a model must beat, in nats a token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 256


def byte_counts(tokens: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return int64[256]: how often each byte occurs in `tokens`, of any shape."""
    return np.bincount(np.ravel(tokens), minlength=VOCABULARY).astype(np.int64)


def unigram_entropy(train_tokens_or_counts: NDArray[np.uint8] | NDArray[np.int64], heldout: NDArray[np.uint8]) -> float:
    """Return the cross-entropy of the held-out bytes under the training frequencies, in nats a token.

    Frequencies are smoothed by adding one to every count. The first argument is uint8 tokens or, in any other
    integer type, their 256 counts. NaN when nothing is held out.
    """
    counts = train_tokens_or_counts.astype(np.int64)
    if train_tokens_or_counts.dtype == np.uint8:
        counts = np.bincount(np.ravel(counts), minlength=VOCABULARY)
    smoothed = counts + 1.0
    return _mean_surprise(byte_counts(heldout), smoothed / smoothed.sum())


def entropy_of(heldout: NDArray[np.uint8]) -> float:
    """Return the held-out bytes' own unigram entropy in nats a token: the least that any unigram model can reach."""
    counts = byte_counts(heldout)
    return _mean_surprise(counts, counts / max(1, counts.sum()))


def _mean_surprise(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    seen = counts > 0
    if not seen.any():
        return float("nan")
    return float(-(counts[seen] * np.log(probabilities[seen])).sum() / counts.sum())
