from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from emerit.data import (
    CorpusSplit,
    Document,
    build_shards,
    cut_sequences,
    cut_shards,
    least_corpus_tokens,
    split_documents,
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
