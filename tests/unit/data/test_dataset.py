from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emerit.data import Dataset, Fetch, Shard, ShardedCorpus, build_shards, cut_sequences, cut_shards
from emerit.data.corpus import CorpusSplit
from emerit.errors import RefusedError, UnavailableError, UsageError
from emerit.protocol.manifest import CorpusSpec, ShardSpec

CONTEXT = 8


def corpus() -> tuple[CorpusSplit, ShardedCorpus]:
    rng = np.random.default_rng(6)
    split = CorpusSplit(rng.integers(0, 256, 2000, np.uint8), rng.integers(0, 256, 600, np.uint8), ())
    return split, build_shards(split, CONTEXT, 60)


def cid_of(shard: Shard) -> str:
    return f"bafy{shard.sha256[:20]}"


def spec_of(shards: ShardedCorpus) -> CorpusSpec:
    def specs(part: list[Shard]) -> tuple[ShardSpec, ...]:
        return tuple(ShardSpec(cid_of(shard), shard.sha256, shard.sequences) for shard in part)

    return CorpusSpec(
        sequence_tokens=CONTEXT + 1,
        shard_sequences=60,
        train_sequences=shards.train_sequences,
        validation_sequences=shards.validation_sequences,
        train_shards=specs(shards.train),
        validation_shards=specs(shards.validation),
    )


class Store:
    """Serves shards by CID and counts what was asked for."""

    def __init__(self, shards: ShardedCorpus) -> None:
        self.blobs = {cid_of(shard): shard.data for shard in shards.train + shards.validation}
        self.asked: list[str] = []

    def fetch(self, cid: str, sha256: str, max_bytes: int) -> bytes:
        self.asked.append(cid)
        assert max_bytes == len(self.blobs[cid]) or cid == "bad"
        return self.blobs[cid]


def unreachable(cid: str, sha256: str, max_bytes: int) -> bytes:
    raise UnavailableError("ipfs-timeout", f"Nobody answered for {cid}.")


def open_dataset(folder: Path, fetch: Fetch) -> Dataset:
    return Dataset(spec_of(corpus()[1]), folder, fetch)


def test_sequences_are_those_of_the_text(tmp_path: Path) -> None:
    split, shards = corpus()
    data = open_dataset(tmp_path, Store(shards).fetch)
    ids = np.array([248, 0, 61, 61, 119, 120, 3])
    windows = cut_sequences(split.train, CONTEXT)
    assert data.train.count == len(windows) == 249
    assert np.array_equal(data.sequences(ids), windows[ids])
    assert np.array_equal(data.train.sequences(np.arange(249)), windows)
    assert np.array_equal(data.validation.sequences(np.arange(74)), cut_sequences(split.validation, CONTEXT))
    assert data.sequences(np.empty(0, dtype=np.int64)).shape == (0, CONTEXT + 1)


def test_only_what_is_needed_is_fetched_and_only_once(tmp_path: Path) -> None:
    _, shards = corpus()
    store = Store(shards)
    data = open_dataset(tmp_path / "cache", store.fetch)
    data.sequences(np.array([60, 119]))
    assert store.asked == [cid_of(shards.train[1])]
    data.train.prefetch()
    data.train.prefetch()
    assert len(store.asked) == len(shards.train) == 5
    again = open_dataset(tmp_path / "cache", unreachable)
    assert np.array_equal(again.sequences(np.arange(249)), data.sequences(np.arange(249)))
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".shard"] * 5


def test_ids_outside_the_corpus_are_refused(tmp_path: Path) -> None:
    data = open_dataset(tmp_path, unreachable)
    for bad in (-1, 249):
        with pytest.raises(UsageError, match="sequence-range"):
            data.sequences(np.array([0, bad]))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: data[:-1], "shard-length"),
        (lambda data: data + b"x", "shard-length"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "shard-hash"),
    ],
)
def test_a_wrong_shard_is_never_used_or_stored(tmp_path: Path, spoil: object, code: str) -> None:
    _, shards = corpus()
    store = Store(shards)
    assert callable(spoil)

    def fetch(cid: str, sha256: str, max_bytes: int) -> bytes:
        return spoil(store.fetch(cid, sha256, max_bytes))

    with pytest.raises(RefusedError) as caught:
        open_dataset(tmp_path, fetch).sequences(np.array([0]))
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damaged", [b"", b"short", bytes(60 * 9)])
def test_a_damaged_cache_is_repaired(tmp_path: Path, damaged: bytes) -> None:
    split, shards = corpus()
    (tmp_path / f"{shards.train[0].sha256}.shard").write_bytes(damaged)
    with pytest.raises(UnavailableError):
        open_dataset(tmp_path, unreachable).sequences(np.array([0]))
    store = Store(shards)
    data = open_dataset(tmp_path, store.fetch)
    assert np.array_equal(data.sequences(np.array([5]))[0], cut_sequences(split.train, CONTEXT)[5])
    assert len(store.asked) == 1


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        open_dataset(tmp_path, Store(corpus()[1]).fetch).sequences(np.array([0]))
    assert not list(tmp_path.iterdir())


def wide(top: int) -> tuple[np.ndarray, ShardedCorpus, CorpusSpec]:
    """A corpus of two-byte tokens below `top`, one of them top - 1."""
    tokens = (np.arange(2000) * 7919 % (top - 1)).astype(np.uint16)
    tokens[1234] = top - 1
    shards = ShardedCorpus(cut_shards(tokens, CONTEXT, 60), cut_shards(tokens[:600], CONTEXT, 60))
    return tokens, shards, replace(spec_of(shards), token_bytes=2)


def test_wide_tokens_are_read_as_they_were_cut(tmp_path: Path) -> None:
    tokens, shards, spec = wide(1 << 16)
    data = Dataset(spec, tmp_path, Store(shards).fetch)
    assert data.sequences(np.arange(3)).dtype == np.uint16
    assert np.array_equal(data.sequences(np.arange(249)), cut_sequences(tokens, CONTEXT))
    again = Dataset(spec, tmp_path, unreachable)
    assert np.array_equal(again.sequences(np.array([248])), cut_sequences(tokens, CONTEXT)[[248]])


def test_a_token_that_the_model_has_not_is_refused(tmp_path: Path) -> None:
    _, shards, spec = wide(1000)
    Dataset(spec, tmp_path / "fits", Store(shards).fetch, vocabulary=1000).train.prefetch()
    data = Dataset(spec, tmp_path, Store(shards).fetch, vocabulary=999)
    data.sequences(np.array([0]))
    with pytest.raises(RefusedError, match="shard-token"):
        data.sequences(np.array([1234 // CONTEXT]))


def test_shards_are_mapped_not_read(tmp_path: Path) -> None:
    data = open_dataset(tmp_path, Store(corpus()[1]).fetch)
    data.train.prefetch()
    assert all(isinstance(rows, np.memmap) for rows in data.train._open.values())


def test_the_result_is_the_callers_own(tmp_path: Path) -> None:
    data = open_dataset(tmp_path, Store(corpus()[1]).fetch)
    first = data.sequences(np.array([1]))
    first[:] = 0
    assert data.sequences(np.array([1])).any()
