"""A corpus from text to blobs: split, tokenizer, shards, each on IPFS by its hash. Nothing is ever in memory whole."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emerit.data import (
    BpeTokenizer,
    ByteTokenizer,
    Part,
    Shard,
    ShardedCorpus,
    Text,
    Tokenizer,
    find_corpus,
    find_files,
    least_corpus_tokens,
    plan_split,
    shard_corpus,
)
from emerit.data.datasets import dataset_texts
from emerit.errors import UsageError
from emerit.ipfs.client import BlobStore
from emerit.protocol.manifest import BYTE_TOKENS, MAX_TOKENS, TOKENIZERS, CorpusSpec, ShardSpec, TokenizerSpec
from emerit.protocol.presets import BYTES, Preset

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class CutCorpus:
    """A corpus cut for a preset, its shards on disk: ready to publish, as long as their folder is there."""

    tokenizer: Tokenizer
    shards: ShardedCorpus
    context: int
    shard_sequences: int
    dataset: str
    dataset_sha256: str


def check_tokenizer(name: str, vocabulary: int) -> None:
    """Check a sponsor's choice of tokenizer before any text is read.

    Raises:
        UsageError: `tokenizer-unknown`, `vocabulary-invalid`.
    """
    if name not in TOKENIZERS:
        known = " and ".join(TOKENIZERS)
        raise UsageError("tokenizer-unknown", f"There is no tokenizer {name!r}.", f"Known: {known}.")
    least, most = (BYTE_TOKENS, BYTE_TOKENS) if name == "bytes" else (BYTE_TOKENS + 1, MAX_TOKENS)
    if not least <= vocabulary <= most:
        raise UsageError(
            "vocabulary-invalid",
            f"The tokenizer {name} cannot have {vocabulary} tokens.",
            f"Use {least}." if least == most else f"Use --vocabulary with a number from {least} to {most}.",
        )


@contextmanager
def cut_corpus(
    paths: Sequence[Path], dataset: str, base: Preset, tokenizer: str, vocabulary: int, on_step: OnStep
) -> Iterator[CutCorpus]:
    """Read, split, tokenize and cut a corpus into a folder that is there within the context.

    The text comes from files, or from the data set of that name where one is given.

    Raises:
        UsageError: `corpus-too-small`, `text-not-utf8`, `vocabulary-too-large`, and those of reading the corpus.
        PreconditionError: the data set is not installed, or invalid.
    """
    with tempfile.TemporaryDirectory(prefix="emerit-corpus-") as name:
        folder = Path(name)
        on_step("reading the corpus")
        texts, source_sha256 = _texts(paths, dataset, folder)
        context, shard_sequences = base.model.context, base.shard_sequences
        _check_bytes(texts, context, shard_sequences)
        plan = plan_split(texts)
        made = _tokenizer(tokenizer, vocabulary, plan.train, on_step)
        on_step("cutting the corpus into shards")
        shards = shard_corpus(plan, made, context, shard_sequences, folder)
        yield CutCorpus(made, shards, context, shard_sequences, dataset, source_sha256)


def publish_corpus(store: BlobStore, corpus: CutCorpus, on_step: OnStep) -> CorpusSpec:
    """Add all shards to IPFS; raises UnavailableError when it does not answer."""
    return CorpusSpec(
        sequence_tokens=corpus.context + 1,
        shard_sequences=corpus.shard_sequences,
        train_sequences=corpus.shards.train_sequences,
        validation_sequences=corpus.shards.validation_sequences,
        train_shards=_publish(store, corpus.shards.train, "training", on_step),
        validation_shards=_publish(store, corpus.shards.validation, "held-out", on_step),
        token_bytes=1 if corpus.tokenizer.name == "bytes" else 2,
        dataset=corpus.dataset,
        dataset_sha256=corpus.dataset_sha256,
    )


def publish_tokenizer(store: BlobStore, tokenizer: Tokenizer) -> TokenizerSpec:
    """Add the tokenizer's file to IPFS, if it has one."""
    if not isinstance(tokenizer, BpeTokenizer):
        return BYTES
    data = tokenizer.to_bytes()
    return TokenizerSpec("bpe", tokenizer.vocabulary, store.add(data), hashlib.sha256(data).hexdigest())


def _texts(paths: Sequence[Path], dataset: str, folder: Path) -> tuple[Sequence[Text], str]:
    if dataset:
        return dataset_texts(dataset, folder)
    return (find_corpus(paths[0]) if len(paths) == 1 else find_files(paths)), ""


def _check_bytes(texts: Sequence[Text], context: int, shard_sequences: int) -> None:
    """A text has no more tokens than bytes, so most that are too small are found before they are tokenized."""
    total_bytes, needed = sum(text.size_bytes for text in texts), least_corpus_tokens(context, shard_sequences)
    if total_bytes < needed:
        raise UsageError(
            "corpus-too-small",
            f"The text has {total_bytes} bytes; shards of {shard_sequences} sequences of {context} tokens need about "
            f"{needed} tokens.",
            "Add text, or choose a smaller preset.",
        )


def _tokenizer(name: str, vocabulary: int, train: Sequence[Part], on_step: OnStep) -> Tokenizer:
    if name == "bytes":
        return ByteTokenizer()
    on_step(f"training a tokenizer of {vocabulary} tokens on the training text")
    return BpeTokenizer.train((piece for part in train for piece in part.pieces()), vocabulary)


def _publish(store: BlobStore, shards: Sequence[Shard], part: str, on_step: OnStep) -> tuple[ShardSpec, ...]:
    on_step(f"adding {len(shards)} shards of {part} text to IPFS")
    return tuple(ShardSpec(store.add(shard.data), shard.sha256, shard.sequences) for shard in shards)
