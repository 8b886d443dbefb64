"""Tokens cut into sequences, and sequences into shards: the files that a run publishes.

Sequence n is tokens [n * context, n * context + context + 1): windows do not overlap, but the last token of one,
which is only predicted, is the first of the next, which is only read. So every token but the first is predicted
exactly once. A shard is its sequences one after the other, uint8[sequences, context + 1], nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.data.corpus import HELDOUT_PERCENT, CorpusSplit
from emerit.errors import UsageError

LEAST_VALIDATION_SEQUENCES = 64


@dataclass(frozen=True)
class Shard:
    """One file of a corpus: its bytes, the SHA-256 of them in hex, how many sequences it holds."""

    data: bytes
    sha256: str
    sequences: int


@dataclass(frozen=True)
class ShardedCorpus:
    """The shards of both parts, in the order of their sequences."""

    train: list[Shard]
    validation: list[Shard]

    @property
    def train_sequences(self) -> int:
        """Sequences to train on."""
        return sum(shard.sequences for shard in self.train)

    @property
    def validation_sequences(self) -> int:
        """Sequences held out."""
        return sum(shard.sequences for shard in self.validation)


def sequence_count(tokens: int, context: int) -> int:
    """Return how many sequences of context + 1 tokens can be cut from `tokens` tokens."""
    return max(0, tokens - 1) // context


def cut_sequences(tokens: NDArray[np.uint8], context: int) -> NDArray[np.uint8]:
    """Return uint8[n, context + 1], a view: every whole sequence of the tokens; what is left at the end is dropped."""
    count = sequence_count(len(tokens), context)
    if count == 0:
        return np.empty((0, context + 1), dtype=np.uint8)
    return np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[: count * context : context]


def cut_shards(tokens: NDArray[np.uint8], context: int, shard_sequences: int) -> list[Shard]:
    """Return the tokens as shards of `shard_sequences` sequences; the last may hold fewer."""
    sequences = cut_sequences(tokens, context)
    parts = (sequences[at : at + shard_sequences] for at in range(0, len(sequences), shard_sequences))
    return [_shard(part) for part in parts]


def build_shards(split: CorpusSplit, context: int, shard_sequences: int) -> ShardedCorpus:
    """Return the shards of a corpus for a model that reads `context` tokens.

    There must be one full shard to train on, and one to validate with; of the latter 64 sequences do.

    Raises UsageError `corpus-too-small`, which says how many bytes of text are needed.
    """
    least_validation = min(shard_sequences, LEAST_VALIDATION_SEQUENCES)
    if (
        sequence_count(len(split.train), context) < shard_sequences
        or sequence_count(len(split.validation), context) < least_validation
    ):
        needed = least_corpus_bytes(context, shard_sequences)
        raise UsageError(
            "corpus-too-small",
            f"The text has {len(split.train) + len(split.validation)} bytes; shards of {shard_sequences} sequences "
            f"of {context} tokens need about {needed}.",
            "Add text, or choose a smaller preset.",
        )
    return ShardedCorpus(
        train=cut_shards(split.train, context, shard_sequences),
        validation=cut_shards(split.validation, context, shard_sequences),
    )


def least_corpus_bytes(context: int, shard_sequences: int) -> int:
    """Return how many bytes one text needs for `build_shards` (with whole documents held out it can be more)."""
    train = shard_sequences * context + 1
    validation = min(shard_sequences, LEAST_VALIDATION_SEQUENCES) * context + 1
    return max(-(-train * 100 // (100 - HELDOUT_PERCENT)), -(-validation * 100 // HELDOUT_PERCENT))


def _shard(sequences: NDArray[np.uint8]) -> Shard:
    data = np.ascontiguousarray(sequences).tobytes()
    return Shard(data, hashlib.sha256(data).hexdigest(), len(sequences))
