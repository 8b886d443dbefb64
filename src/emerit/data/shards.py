"""Tokens cut into sequences, and sequences into shards: the files that a run publishes.

Sequence n is tokens [n * context, n * context + context + 1): windows do not overlap, but the last token of one,
which is only predicted, is the first of the next, which is only read. So every token but the first is predicted
exactly once. A shard is its sequences one after the other, [sequences, context + 1], nothing else; a token is a uint8,
or a little-endian uint16 where the vocabulary is larger than 256.

Tokens come as a stream and shards go to disk one by one, so that neither is ever in memory whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emerit.data.corpus import HELDOUT_PERCENT, CorpusSplit, Part, SplitPlan
from emerit.data.tokens import Tokenizer, Tokens
from emerit.errors import UsageError

LEAST_VALIDATION_SEQUENCES = 64


@dataclass(frozen=True)
class Shard:
    """One file of a corpus: its bytes, or where they lie; the SHA-256 of them in hex; how many sequences it holds."""

    content: bytes | Path = field(repr=False)
    sha256: str
    sequences: int

    @property
    def data(self) -> bytes:
        """The shard's bytes."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


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


def cut_sequences(tokens: Tokens, context: int) -> Tokens:
    """Return [n, context + 1], a view: every whole sequence of the tokens; what is left at the end is dropped."""
    count = sequence_count(len(tokens), context)
    if count == 0:
        return np.empty((0, context + 1), dtype=tokens.dtype)
    return np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[: count * context : context]


def token_stream(parts: Iterable[Part], tokenizer: Tokenizer) -> Iterator[Tokens]:
    """Yield the tokens of the parts in order, piece by piece; raises as `Part.pieces` and `Tokenizer.encode`."""
    for part in parts:
        for piece in part.pieces():
            yield tokenizer.encode(piece)


def stream_shards(stream: Iterable[Tokens], context: int, shard_sequences: int) -> Iterator[Shard]:
    """Yield the tokens as shards of `shard_sequences` sequences; the last may hold fewer. Memory: about two shards."""
    step = shard_sequences * context
    waiting: list[Tokens] = []
    held = 0
    for tokens in stream:
        waiting.append(tokens)
        held += len(tokens)
        if held <= step:
            continue
        joined = np.concatenate(waiting)
        whole = (held - 1) // step * step
        for start in range(0, whole, step):
            yield _shard(cut_sequences(joined[start : start + step + 1], context))
        waiting, held = [joined[whole:].copy()], held - whole
    if sequence_count(held, context):
        yield _shard(cut_sequences(np.concatenate(waiting), context))


def cut_shards(tokens: Tokens, context: int, shard_sequences: int) -> list[Shard]:
    """Return tokens in memory as shards; see `stream_shards`."""
    return list(stream_shards([tokens], context, shard_sequences))


def build_shards(split: CorpusSplit, context: int, shard_sequences: int) -> ShardedCorpus:
    """Return the shards of a small corpus of bytes, in memory; raises as `check_enough`."""
    corpus = ShardedCorpus(
        train=cut_shards(split.train, context, shard_sequences),
        validation=cut_shards(split.validation, context, shard_sequences),
    )
    check_enough(corpus, len(split.train) + len(split.validation), context, shard_sequences)
    return corpus


def shard_corpus(
    plan: SplitPlan, tokenizer: Tokenizer, context: int, shard_sequences: int, folder: Path
) -> ShardedCorpus:
    """Tokenize and cut a corpus of any size; the shards lie in `folder`, an existing one, until they are published.

    Raises:
        UsageError: `corpus-too-small`, and what reading and encoding raise.
    """
    counted = 0

    def counting(parts: Sequence[Part]) -> Iterator[Tokens]:
        nonlocal counted
        for tokens in token_stream(parts, tokenizer):
            counted += len(tokens)
            yield tokens

    def stored(parts: Sequence[Part]) -> list[Shard]:
        return [_stored(shard, folder) for shard in stream_shards(counting(parts), context, shard_sequences)]

    corpus = ShardedCorpus(train=stored(plan.train), validation=stored(plan.validation))
    check_enough(corpus, counted, context, shard_sequences)
    return corpus


def check_enough(corpus: ShardedCorpus, tokens: int, context: int, shard_sequences: int) -> None:
    """Check that there is one full shard to train on, and one to validate with; of the latter 64 sequences do.

    Raises UsageError `corpus-too-small`, which says how many tokens of text are needed.
    """
    least_validation = min(shard_sequences, LEAST_VALIDATION_SEQUENCES)
    if corpus.train_sequences < shard_sequences or corpus.validation_sequences < least_validation:
        raise UsageError(
            "corpus-too-small",
            f"The text makes {tokens} tokens; shards of {shard_sequences} sequences of {context} tokens need about "
            f"{least_corpus_tokens(context, shard_sequences)}.",
            "Add text, or choose a smaller preset.",
        )


def least_corpus_tokens(context: int, shard_sequences: int) -> int:
    """Return how many tokens one text needs for `check_enough` (with whole documents held out it can be more)."""
    train = shard_sequences * context + 1
    validation = min(shard_sequences, LEAST_VALIDATION_SEQUENCES) * context + 1
    return max(-(-train * 100 // (100 - HELDOUT_PERCENT)), -(-validation * 100 // HELDOUT_PERCENT))


def _stored(shard: Shard, folder: Path) -> Shard:
    path = folder / f"{shard.sha256}.shard"
    path.write_bytes(shard.data)
    return Shard(path, shard.sha256, shard.sequences)


def _shard(sequences: Tokens) -> Shard:
    data = np.ascontiguousarray(sequences, dtype=sequences.dtype.newbyteorder("<")).tobytes()
    return Shard(data, hashlib.sha256(data).hexdigest(), len(sequences))
