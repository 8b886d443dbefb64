"""From text to manifest and back: what a sponsor publishes is what a node reads."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emerit.data import ByteTokenizer, bits_per_byte, cut_sequences, read_corpus, split_documents
from emerit.errors import PreconditionError, RefusedError, UsageError
from emerit.model.flat import FlatModel
from emerit.plugins import DATASETS, MODELS
from emerit.protocol.manifest import Manifest
from emerit.protocol.presets import clock
from emerit.run.context import RunContext
from emerit.run.create import RunPlan, build_manifest
from emerit.run.ready import check_ready
from emerit.scoring.losses import sequence_losses
from emerit.training import InnerTrainer, initial_values, to_float
from tests.unit.packages import DATASET, MODEL, install

WORDS = ["sea", "gull", "wind", "harbour", "sails", "mast", "and", "the", "over", "under", "größer"]


class Store:
    """Blobs by CID, and how large the largest request was allowed to be."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.limits: dict[str, int] = {}

    def add(self, data: bytes) -> str:
        cid = "b" + hashlib.sha256(data).hexdigest()
        self.blobs[cid] = data
        return cid

    def get(self, cid: str, *, max_bytes: int, **_more: Any) -> bytes:
        self.limits[cid] = max_bytes
        if len(self.blobs[cid]) > max_bytes:
            raise RefusedError("blob-too-large", "too large")
        return self.blobs[cid]


def text_folder(folder: Path, documents: int = 9, words: int = 4000) -> Path:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(4)
    for number in range(documents):
        text = " ".join(random.choice(WORDS, words)) + "\n"
        (folder / f"{number}.txt").write_text(text.replace("mast ", "mast\n"))
    return folder


def plan(folder: Path, **changes: Any) -> RunPlan:
    base = RunPlan("a-run", [folder], "tiny", clock("tiny"), b"\x05" * 32, 1)
    return dataclasses.replace(base, **changes)


def context(store: Store, manifest: Manifest) -> RunContext:
    return RunContext(SimpleNamespace(), store, SimpleNamespace(), manifest)  # type: ignore[arg-type]


def test_bytes_are_published_as_they_always_were(tmp_path: Path) -> None:
    store, folder = Store(), text_folder(tmp_path / "text")
    manifest = build_manifest(store, plan(folder))
    assert (manifest.tokenizer.name, manifest.model.vocabulary, manifest.corpus.token_bytes) == ("bytes", 256, 1)
    split = split_documents(read_corpus(folder))
    data = context(store, manifest).dataset(tmp_path / "cache")
    windows = cut_sequences(split.train, 32)
    assert data.train.count == manifest.corpus.train_sequences == len(windows)
    assert np.array_equal(data.sequences(np.arange(len(windows))), windows)
    assert isinstance(context(store, manifest).tokenizer(), ByteTokenizer)
    check_ready(context(store, manifest), "trainer")
    again = build_manifest(Store(), plan(folder))
    assert again.to_bytes() == manifest.to_bytes()


def test_a_run_of_byte_pairs_goes_from_text_to_loss(tmp_path: Path) -> None:
    store, folder = Store(), text_folder(tmp_path / "text", words=9000)
    manifest = build_manifest(store, plan(folder, tokenizer="bpe", vocabulary=300))
    assert (manifest.tokenizer.vocabulary, manifest.model.vocabulary, manifest.corpus.token_bytes) == (300, 320, 2)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert build_manifest(Store(), plan(folder, tokenizer="bpe", vocabulary=300)).to_bytes() == manifest.to_bytes()
    here = context(store, manifest)
    tokenizer = here.tokenizer()
    assert store.limits[manifest.tokenizer.cid] == manifest.tokenizer.max_file_bytes
    validation = here.dataset(tmp_path / "cache").validation
    tokens = validation.sequences(np.arange(validation.count))
    split = split_documents(read_corpus(folder))
    text = b"".join(tokenizer.decode(row[:-1]) for row in tokens)
    assert split.validation.tobytes().startswith(text) and len(text) > 0.95 * len(split.validation)
    check_ready(here, "validator")
    values = initial_values(manifest.model, manifest.initial_seed_bytes)
    trained = here.dataset(tmp_path / "cache").sequences(np.arange(8))
    result = InnerTrainer(manifest.model, manifest.training, b"private").run_round(0, values, trained)
    assert all(math.isfinite(loss) for loss in result.losses)
    model = FlatModel(manifest.model)
    model.load(to_float(values))
    loss = float(sequence_losses(model.module, tokens[:16]).mean())
    assert 5.0 < loss < 6.5
    assert bits_per_byte(loss, tokens[:16], tokenizer) < loss / math.log(2)


def test_a_data_set_of_ones_own_becomes_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = install(monkeypatch, tmp_path / "site", "poem_texts", DATASET, DATASETS, "poems = poem_texts:poems")
    store = Store()
    manifest = build_manifest(store, plan(tmp_path, paths=[], dataset="poems"))
    assert (manifest.corpus.dataset, manifest.corpus.dataset_sha256) == ("poems", digest)
    tokens = context(store, manifest).dataset(tmp_path / "cache").sequences(np.arange(2))
    assert tokens[0].tobytes().startswith(b"poem 0: the sea")
    with pytest.raises(PreconditionError, match="plugin-missing"):
        build_manifest(store, plan(tmp_path, paths=[], dataset="prose"))


@pytest.mark.parametrize(
    "body",
    [
        "poems = 7",
        "def poems():\n    return 7",
        "def poems():\n    return []",
        "def poems():\n    yield 'no pair'",
        "def poems():\n    yield ('a', 7)",
        "def poems():\n    yield (7, 'a')",
        "def poems():\n    yield ('a', 'x')\n    yield ('a', 'y')",
        "def poems():\n    yield ('a', b'')",
    ],
)
def test_a_data_set_that_is_none_is_refused(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "site", "poem_texts", body + "\n", DATASETS, "poems = poem_texts:poems")
    with pytest.raises(PreconditionError, match="dataset-invalid"):
        build_manifest(Store(), plan(tmp_path, paths=[], dataset="poems"))


def test_a_model_of_ones_own_is_named_and_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = install(monkeypatch, tmp_path / "site", "own_model", MODEL, MODELS, "bigram = own_model:Architecture")
    store, folder = Store(), text_folder(tmp_path / "text")
    manifest = build_manifest(store, plan(folder, architecture="bigram"))
    assert (manifest.model.architecture, manifest.model.source_sha256) == ("bigram", digest)
    check_ready(context(store, manifest), "trainer")
    install(monkeypatch, tmp_path / "site", "own_model", MODEL + "#\n", MODELS, "bigram = own_model:Architecture")
    with pytest.raises(PreconditionError, match="plugin-differs"):
        check_ready(context(store, manifest), "trainer")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tokenizer": "words"}, "tokenizer-unknown"),
        ({"tokenizer": "bytes", "vocabulary": 512}, "vocabulary-invalid"),
        ({"tokenizer": "bpe", "vocabulary": 256}, "vocabulary-invalid"),
        ({"tokenizer": "bpe", "vocabulary": 65_537}, "vocabulary-invalid"),
        ({"tokenizer": "bpe", "vocabulary": 60_000}, "vocabulary-too-large"),
        ({"preset": "demo"}, "corpus-too-small"),
        ({"expected_trainers": 256}, "corpus-too-small"),
        ({"preset": "giant"}, "preset-unknown"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_published(
    changes: dict[str, Any], code: str, tmp_path: Path
) -> None:
    store, folder = Store(), text_folder(tmp_path / "text", documents=2, words=5000)
    with pytest.raises(UsageError) as caught:
        build_manifest(store, plan(folder, **changes))
    assert caught.value.code == code
    assert caught.value.fix
    assert not store.blobs
