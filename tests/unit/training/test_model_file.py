from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file

from emerit.data.bpe import BpeTokenizer
from emerit.data.tokens import ByteTokenizer
from emerit.errors import StateError
from emerit.ipfs.cid import cid_of
from emerit.model import FlatModel, Gpt, table_hash, tensor_table
from emerit.protocol.manifest import TokenizerSpec
from emerit.protocol.presets import BYTES, preset
from emerit.training import ModelState, initial_values, read_model, state_root, to_float, write_model
from emerit.training.model_file import ExportedModel
from emerit.training.storage import read_tensors, write_tensors

TINY = preset("tiny").model
VALUES = initial_values(TINY, b"seed")
ROOT = "0x" + state_root(VALUES, table_hash(TINY)).hex()
ORIGIN = {"run": "0x1", "chain_id": 31337, "round": 7, "settled_rounds": 6}


def exported(values: NDArray[np.int32], momentum: NDArray[np.int32] | None = None) -> ExportedModel:
    return ExportedModel(TINY, BYTES, ByteTokenizer(), ModelState(values, momentum))


MODEL = exported(VALUES)


def test_an_exported_model_is_usable_without_emerit(tmp_path: Path) -> None:
    path, config_path = write_model(tmp_path / "model.safetensors", MODEL, ORIGIN)
    tensors = load_file(path)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == dict(tensor_table(TINY))
    model, flat = Gpt(TINY), FlatModel(TINY)
    model.load_state_dict(tensors)
    flat.load(to_float(VALUES))
    tokens = torch.arange(TINY.context)[None]
    with torch.no_grad():
        assert torch.equal(model(tokens), flat.module(tokens))
    config = json.loads(config_path.read_text())
    assert config_path.name == "config.json" and config["file"] == "model.safetensors"
    assert config["model"]["d_model"] == TINY.d_model
    assert {name: config[name] for name in ORIGIN} == ORIGIN
    assert (config["state_root"], config["tokenizer"]["name"], config["weights"]) == (ROOT, "bytes", "float32")


@pytest.mark.parametrize("exact", [False, True])
def test_it_comes_back_from_the_file_alone(tmp_path: Path, exact: bool) -> None:
    path, config_path = write_model(tmp_path / "model.safetensors", MODEL, ORIGIN, exact=exact)
    config_path.unlink()
    found = read_model(path)
    assert (found.spec, found.tokenizer.name, found.verified) == (TINY, "bytes", exact)
    assert np.array_equal(found.weights, to_float(VALUES))
    assert found.config["run"] == "0x1" and found.config["state_root"] == ROOT


def test_the_exact_file_holds_the_state_itself(tmp_path: Path) -> None:
    path, _ = write_model(tmp_path / "model.safetensors", MODEL, ORIGIN, exact=True)
    tensors = load_numpy(path)
    flat = np.concatenate([tensors[entry.name].ravel() for entry in tensor_table(TINY)])
    assert flat.dtype == np.int32 and np.array_equal(flat, VALUES)


@pytest.mark.parametrize("exact", [False, True])
def test_of_a_momentum_the_root_is_there(tmp_path: Path, exact: bool) -> None:
    momentum = np.arange(len(VALUES), dtype=np.int32)
    path, _ = write_model(tmp_path / "model.safetensors", exported(VALUES, momentum), ORIGIN, exact=exact)
    found = read_model(path)
    assert found.verified == exact and np.array_equal(found.weights, to_float(VALUES))
    assert found.config["state_root"] == "0x" + state_root(VALUES, table_hash(TINY), momentum).hex()
    tensors, metadata = read_tensors(path)
    config = {**json.loads(metadata["emerit"]), "momentum_root": "0x" + "11" * 32}
    write_tensors(path, tensors, {**metadata, "emerit": json.dumps(config)})
    if exact:
        _assert_refused(path, "state root")


def test_a_tokenizer_of_byte_pairs_comes_along(tmp_path: Path) -> None:
    tokenizer = BpeTokenizer([(104, 101), (108, 108), (256, 257)])
    data = tokenizer.to_bytes()
    spec = TokenizerSpec("bpe", tokenizer.vocabulary, cid_of(data), hashlib.sha256(data).hexdigest())
    model = replace(MODEL, tokenizer_spec=spec, tokenizer=tokenizer)
    path, _ = write_model(tmp_path / "model.safetensors", model, ORIGIN)
    found = read_model(path)
    assert found.tokenizer.encode(b"hello").tolist() == [258, 111]
    tensors, metadata = read_tensors(path)
    for wrong in (tensors["tokenizer_file"][:-1], tensors["tokenizer_file"].astype(np.int32)):
        write_tensors(path, {**tensors, "tokenizer_file": wrong}, metadata)
        _assert_refused(path)


def test_an_exact_file_whose_values_have_another_root_is_refused(tmp_path: Path) -> None:
    lying = {**ORIGIN, "state_root": "0x" + "00" * 32}
    path, _ = write_model(tmp_path / "model.safetensors", MODEL, lying, exact=True)
    _assert_refused(path, "state root")


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    one, _ = write_model(tmp_path / "one" / "m.safetensors", MODEL, ORIGIN)
    two, _ = write_model(tmp_path / "two" / "m.safetensors", MODEL, dict(reversed(ORIGIN.items())))
    assert one.read_bytes() == two.read_bytes()


def test_other_files_are_refused(tmp_path: Path) -> None:
    path, config_path = write_model(tmp_path / "model.safetensors", MODEL, ORIGIN)
    tensors, metadata = read_tensors(path)
    config = json.loads(metadata["emerit"])
    changes = [
        {"format": "other"},
        {"weights": "float16"},
        {"weights": "int32"},
        {"weights": ["float32"]},
        *({"model": {**config["model"], **wrong}} for wrong in ({"d_model": 64}, {"d_model": -32}, {"more": 1})),
        {"model": 5},
        {"tokenizer": "bytes"},
        {"tokenizer": {**config["tokenizer"], "name": "bpe"}},
    ]
    configs = [{**config, **change} for change in changes]
    configs += [{key: config[key] for key in config if key != gone} for gone in ("model", "tokenizer", "state_root")]
    texts = ["no json", "[]", "[" * 100_000, *map(json.dumps, configs)]
    bad: list[dict[str, str]] = [{}, *({"emerit": text} for text in texts)]
    for change in bad:
        write_tensors(path, tensors, change)
        _assert_refused(path)
    write_tensors(path, {**tensors, "extra": np.zeros(1, np.float32)}, metadata)
    _assert_refused(path, "tensors")
    path.write_bytes(b"x")
    _assert_refused(path)
    _assert_refused(tmp_path / "absent.safetensors")
    assert config_path.exists()


def test_values_of_another_model_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="state-size"):
        write_model(tmp_path / "model.safetensors", exported(VALUES[:-1]), ORIGIN)
    assert list(tmp_path.iterdir()) == []


def _assert_refused(path: Path, words: str = "model-file-invalid") -> None:
    with pytest.raises(StateError, match=words) as refused:
        read_model(path)
    assert refused.value.code == "model-file-invalid"
