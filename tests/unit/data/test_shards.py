from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data import (
    BpeTokenizer,
    ByteTokenizer,
    CorpusSplit,
    Document,
    build_shards,
    cut_sequences,
    cut_shards,
    least_corpus_tokens,
    plan_split,
    shard_corpus,
    split_documents,
    stream_shards,
)
from emerit.errors import UsageError


def tokens(count: int) -> np.ndarray:
    return (np.arange(count) % 251).astype(np.uint8)


@pytest.mark.parametrize(("count", "sequences"), [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (13, 3)])
def test_neighbours_share_one_token(count: int, sequences: int) -> None:
    windows = cut_sequences(tokens(count), 4)
    assert windows.shape == (sequences, 5)
    for number, window in enumerate(windows):
        assert window.tolist() == list(range(4 * number, 4 * number + 5))


def test_shards_hold_all_sequences_in_order() -> None:
    text = tokens(1000)
    shards = cut_shards(text, 9, 50)
    assert [shard.sequences for shard in shards] == [50, 50, 11]
    assert b"".join(shard.data for shard in shards) == cut_sequences(text, 9).tobytes()
    for shard in shards:
        assert len(shard.data) == shard.sequences * 10
        assert shard.sha256 == hashlib.sha256(shard.data).hexdigest()


@given(st.lists(st.integers(0, 60), max_size=20), st.integers(1, 7), st.integers(1, 9), st.booleans())
def test_shards_do_not_depend_on_how_the_tokens_come(
    lengths: list[int], context: int, shard_sequences: int, wide: bool
) -> None:
    text = np.arange(sum(lengths)).astype(np.uint16 if wide else np.uint8)
    pieces = np.split(text, np.cumsum(lengths)[:-1]) if lengths else []
    assert list(stream_shards(pieces, context, shard_sequences)) == cut_shards(text, context, shard_sequences)
    held = sum(shard.sequences for shard in cut_shards(text, context, shard_sequences))
    assert held == max(0, len(text) - 1) // context


def test_wide_tokens_are_little_endian() -> None:
    [shard] = cut_shards(np.array([1, 2, 256, 40_000, 5], dtype=">u2"), 2, 10)
    assert shard.data == bytes([1, 0, 2, 0, 0, 1, 0, 1, 0x40, 0x9C, 5, 0])
    assert shard.sequences == 2


def test_no_more_than_two_shards_are_held_at_a_time() -> None:
    context, shard_sequences, taken = 8, 16, 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(1000):
            taken += 50
            yield np.zeros(50, dtype=np.uint16)

    written = 0
    for shard in stream_shards(stream(), context, shard_sequences):
        assert taken - written <= 2 * context * shard_sequences
        written += shard.sequences * context
    assert written == (50_000 - 1) // context * context


def test_a_corpus_is_cut_to_disk_as_in_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    texts = [Document(f"{n}", bytes(random.integers(97, 123, 900 + 13 * n, np.uint8))) for n in range(9)]
    made = shard_corpus(plan_split(texts), ByteTokenizer(), 8, 64, tmp_path)
    expected = build_shards(split_documents(texts), 8, 64)
    for ours, theirs in ((made.train, expected.train), (made.validation, expected.validation)):
        assert [(shard.sha256, shard.sequences) for shard in ours] == [(s.sha256, s.sequences) for s in theirs]
        assert [shard.data for shard in ours] == [shard.data for shard in theirs]
        assert all(isinstance(shard.content, Path) for shard in ours)


def test_a_corpus_of_too_few_tokens_is_refused_after_it_was_tokenized(tmp_path: Path) -> None:
    text = Document("a", b"the cat sat on the mat. " * 200)
    tokenizer = BpeTokenizer.train([text.data], 265)
    with pytest.raises(UsageError, match="corpus-too-small"):
        shard_corpus(plan_split([text]), tokenizer, 8, 200, tmp_path)


def test_a_corpus_of_the_stated_length_is_just_enough() -> None:
    for context, shard_sequences in ((8, 10), (32, 256), (128, 1024), (3, 1)):
        needed = least_corpus_tokens(context, shard_sequences)
        text = b"x" * (needed - 1) + b"\n"
        shards = build_shards(split_documents([Document("a", text)]), context, shard_sequences)
        assert shards.train[0].sequences == shard_sequences
        assert shards.validation_sequences >= min(64, shard_sequences)
        with pytest.raises(UsageError) as caught:
            build_shards(split_documents([Document("a", text[2:])]), context, shard_sequences)
        assert caught.value.code == "corpus-too-small"
        assert int(re.findall(r"need about (\d+)", caught.value.cause)[0]) == needed


def test_a_validation_shard_may_be_short() -> None:
    split = CorpusSplit(tokens(100_000), tokens(10_000), ())
    shards = build_shards(split, 32, 1024)
    assert [shard.sequences for shard in shards.validation] == [312]
    assert shards.train_sequences == 3124
