"""A model's loss on held-out text: nats a token and bits a byte, each with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emerit.data.shards import cut_sequences
from emerit.data.tokens import Tokenizer, Tokens
from emerit.errors import UsageError
from emerit.scoring.losses import sequence_losses


@dataclass(frozen=True)
class HeldOutLoss:
    """What a model's loss is on some text, and how sure that is.

    Attributes:
        loss: nats a token, over all tokens that were predicted.
        loss_se: its standard error, sequences taken as independent; None with a single sequence.
        bits_per_byte: the same loss by bytes of text, which compares across tokenizers.
        tokens: how many tokens were predicted; `bytes` is how long their text is.
    """

    loss: float
    loss_se: float | None
    bits_per_byte: float
    bits_per_byte_se: float | None
    tokens: int
    bytes: int
    sequences: int


def cut_text(tokens: Tokens, context: int) -> list[Tokens]:
    """Return a text as rows [n, context + 1] and, if something is left, one shorter row [1, m].

    Every token but the first is predicted exactly once. Raises UsageError `text-too-short` below two tokens.
    """
    if len(tokens) < 2:
        raise UsageError("text-too-short", "A loss needs a text of at least two tokens.", "Give a longer text.")
    whole = np.ascontiguousarray(cut_sequences(tokens, context))
    rest = tokens[len(whole) * context :]
    return [part for part in (whole, rest[None]) if part.shape[0] and part.shape[1] > 1]


def held_out_loss(model: torch.nn.Module, groups: Sequence[Tokens], tokenizer: Tokenizer) -> HeldOutLoss:
    """Measure a model on groups of sequences, [n, m + 1] each; the first token of each is only read.

    Raises:
        UsageError: `sequences-shape` when there is no sequence.
    """
    nats, tokens, sizes = [], [], []
    for group in groups:
        length = group.shape[1] - 1
        nats.append(sequence_losses(model, group) * length)
        tokens.append(np.full(len(group), length, dtype=np.float64))
        sizes.append(tokenizer.token_lengths[group[:, 1:]].sum(axis=1).astype(np.float64))
    if not nats:
        raise UsageError("sequences-shape", "There is no sequence to measure.", "Pass at least one.")
    sums, counts, lengths = np.concatenate(nats), np.concatenate(tokens), np.concatenate(sizes)
    loss, loss_se = _ratio(sums, counts)
    bits, bits_se = _ratio(sums / math.log(2), lengths)
    return HeldOutLoss(loss, loss_se, bits, bits_se, int(counts.sum()), int(lengths.sum()), len(sums))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> tuple[float, float | None]:
    """Return sum(above) / sum(below) and its standard error, linearised (Cochran, Sampling Techniques, 6.4)."""
    total, n = float(below.sum()), len(above)
    if total <= 0:
        return math.nan, None
    value = float(above.sum()) / total
    if n < 2:
        return value, None
    residuals = above - value * below
    return value, math.sqrt(n / (n - 1) * float((residuals**2).sum())) / total
