"""A model of a user's own, from a package that is really installed, in a real training round."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from emerit.codec.compress import compress
from emerit.errors import PreconditionError
from emerit.model import FlatModel, parameter_count, table_hash, tensor_table
from emerit.plugins import MODELS
from emerit.protocol.manifest import ModelSpec
from emerit.protocol.presets import PRESETS, preset
from emerit.run.ready import check_own_model
from emerit.scoring.losses import sequence_losses
from emerit.training import InnerTrainer, initial_values, state_root, to_float
from emerit.training.aggregate import aggregate, apply_aggregate
from tests.unit.packages import MODEL, install

TINY = preset("tiny")


def own_spec(folder: Path, patch: pytest.MonkeyPatch, source: str = MODEL) -> ModelSpec:
    digest = install(patch, folder, "own_model", source, MODELS, "bigram = own_model:Architecture")
    return dataclasses.replace(TINY.model, architecture="bigram", source_sha256=digest)


def test_presets_have_the_parameters_that_their_names_say() -> None:
    counts = {name: parameter_count(item.model) for name, item in PRESETS.items()}
    assert counts == {
        "tiny": 21_600,
        "400k": 417_560,
        "demo": 836_736,
        "small": 3_279_104,
        "10m": 11_015_040,
        "45m": 45_279_936,
        "124m": 123_587_328,
    }
    for name, count in counts.items():
        if stated := re.fullmatch(r"(\d+)([km])", name):
            said = int(stated[1]) * {"k": 10**3, "m": 10**6}[stated[2]]
            assert 0.9 * said <= count <= 1.15 * said


def test_presets_have_the_shape_of_their_kind() -> None:
    gpt2 = PRESETS["124m"].model
    assert (gpt2.layers, gpt2.heads, gpt2.d_model, gpt2.context) == (12, 12, 768, 1024)
    for item in PRESETS.values():
        assert item.model == item.for_tokens(item.vocabulary).model
        assert item.model.preset == item.name


def test_a_model_of_ones_own_trains_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = own_spec(tmp_path, monkeypatch)
    assert [entry.name for entry in tensor_table(spec)] == ["gain", "out", "table"]
    check_own_model(spec)
    start = initial_values(spec, b"seed")
    assert start.size == parameter_count(spec) == 2 * 256 * 32 + 32
    assert np.all(start[:32] == 1 << 24)
    assert 0.9 < start[32:].astype(np.float64).std() / (1 << 20) < 1.1
    text = np.tile(np.frombuffer(b"the sea and ", dtype=np.uint8), 40)
    tokens = np.stack([text[at : at + 33] for at in range(8)])
    training = dataclasses.replace(TINY.training, warmup_steps=0, inner_steps=60, learning_rate=2e-2)
    result = InnerTrainer(spec, training, b"private").run_round(0, start, tokens)
    assert result.losses[-1] < 0.9 * result.losses[0]
    update, _ = compress(result.delta, 4096, 256)
    step = aggregate([update], dataclasses.replace(TINY.outer, divisor_floor=1))
    after = apply_aggregate(start, *step)
    model = FlatModel(spec)
    losses = []
    for values in (start, after):
        model.load(to_float(values))
        losses.append(sequence_losses(model.module, tokens).mean())
    assert losses[1] < losses[0] - 0.1
    assert state_root(after, table_hash(spec)) != state_root(start, table_hash(spec))


def test_the_table_of_ones_own_model_is_bound_by_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own_spec(tmp_path, monkeypatch)
    tables = [table_hash(first)]
    second = own_spec(tmp_path, monkeypatch, MODEL.replace('"gain"', '"a_gain"').replace("self.gain", "self.a_gain"))
    tables.append(table_hash(second))
    assert tables[0] != tables[1]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('("gain", (spec.d_model,))', '("gain", (spec.d_model, 1))', "its table says gain"),
        ('("gain", (spec.d_model,))', '("gain", ())', "has the shape"),
        ('("gain", (spec.d_model,))', '("gain", (0,))', "has the shape"),
        ('("gain", (spec.d_model,))', '("gain", (1.5,))', "has the shape"),
        ('("gain", (spec.d_model,))', '("out", (spec.d_model,))', "the same name"),
        ('("gain", (spec.d_model,))', '("../gain", (spec.d_model,))', "no name of a tensor"),
        ('("gain", (spec.d_model,))', '("gain", (1 << 37,))', "more than"),
        ("def tensors", "def tables", "no method tensors"),
        ("(1 << 24, 0) if", "(1.0, 0) if", "not two integers"),
        ("(1 << 24, 0) if", "(1 << 24, -1) if", "out of range"),
        ("@ self.out.T", "", "not logits"),
        ("@ self.out.T", "@ self.out", "does not run"),
        ("self.out = nn", "self.same = self.table; self.out = nn", "same is not there"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(
    old: str, new: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in MODEL
    spec = own_spec(tmp_path, monkeypatch, MODEL.replace(old, new))
    with pytest.raises(PreconditionError, match=re.escape(words)) as caught:
        initial_values(spec, b"seed")
        check_own_model(spec)
    assert caught.value.code == "architecture-invalid"


def test_a_node_without_the_model_or_with_another_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = own_spec(tmp_path, monkeypatch)
    absent = dataclasses.replace(spec, architecture="trigram")
    with pytest.raises(PreconditionError, match="plugin-missing"):
        FlatModel(absent)
    other = dataclasses.replace(spec, source_sha256="00" * 32)
    for use in (FlatModel, parameter_count, table_hash):
        with pytest.raises(PreconditionError, match="plugin-differs"):
            use(other)
