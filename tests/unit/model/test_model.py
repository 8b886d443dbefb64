from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from emerit.errors import StateError, UsageError
from emerit.model import (
    FlatModel,
    Gpt,
    flat_parameters,
    hidden_width,
    load_flat,
    parameter_count,
    table_hash,
    tensor_table,
)
from emerit.protocol.presets import preset

TINY = preset("tiny").model
DEMO = preset("demo").model


@pytest.fixture
def values() -> np.ndarray:
    random = np.random.default_rng(7)
    return random.normal(0, 0.2, parameter_count(TINY)).astype(np.float32)


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(8).integers(0, 256, (3, TINY.context)))


def test_table_lists_every_parameter_once_in_sorted_order() -> None:
    for spec in (TINY, DEMO, replace(TINY, layers=11)):
        table = tensor_table(spec)
        shapes = {name: tuple(parameter.shape) for name, parameter in Gpt(spec).named_parameters()}
        assert [entry.name for entry in table] == sorted(shapes)
        assert dict(table) == shapes
        assert parameter_count(spec) == sum(parameter.numel() for parameter in Gpt(spec).parameters())


def test_demo_model_has_0_84_million_parameters() -> None:
    assert hidden_width(DEMO) == 352
    assert parameter_count(DEMO) == 836_736


def test_table_hash_is_the_hash_of_readable_text() -> None:
    lines = ["emerit/table/v1"]
    for name, shape in sorted((name, p.shape) for name, p in Gpt(TINY).named_parameters()):
        lines.append(name + " " + "x".join(str(size) for size in shape))
    assert table_hash(TINY) == hashlib.sha256("\n".join(lines).encode()).digest()
    assert table_hash(TINY) != table_hash(DEMO)


def test_forward_agrees_with_plain_numpy(values: np.ndarray, tokens: torch.Tensor) -> None:
    model = FlatModel(TINY)
    model.load(values)
    named = {name: p.detach().double().numpy() for name, p in model.module.named_parameters()}
    with torch.no_grad():
        logits = model.module(tokens).numpy()
    for row in range(len(tokens)):
        np.testing.assert_allclose(logits[row], _reference_logits(named, tokens[row].numpy()), atol=2e-4)


def test_a_token_never_sees_the_future(values: np.ndarray, tokens: torch.Tensor) -> None:
    model = FlatModel(TINY)
    model.load(values)
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % 256
    with torch.no_grad():
        before, after = model.module(tokens), model.module(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20:], after[:, 20:])


def test_shorter_sequences_fit_and_longer_ones_are_refused(values: np.ndarray, tokens: torch.Tensor) -> None:
    model = FlatModel(TINY)
    model.load(values)
    with torch.no_grad():
        torch.testing.assert_close(model.module(tokens[:, :5]), model.module(tokens)[:, :5])
    with pytest.raises(UsageError) as refused:
        model.module(torch.zeros((1, TINY.context + 1), dtype=torch.int64))
    assert refused.value.code == "sequence-too-long"


def test_flat_vector_and_module_are_the_same_memory(values: np.ndarray, tokens: torch.Tensor) -> None:
    model = FlatModel(TINY)
    model.load(values)
    other = Gpt(TINY)
    load_flat(other, values)
    with torch.no_grad():
        before = model.module(tokens)
        torch.testing.assert_close(before, other(tokens), rtol=0, atol=0)
        places = torch.tensor([0, 300, parameter_count(TINY) - 1])
        saved = model.flat[places].clone()
        model.flat[places] += 0.5
        assert not torch.equal(model.module(tokens), before)
        assert torch.equal(flat_parameters(model.module), model.flat)
        model.flat[places] = saved
        assert torch.equal(model.module(tokens), before)
        model.module.get_parameter("embedding")[3, 4] = 9.0
    embedding_at = 0
    for entry in tensor_table(TINY):
        if entry.name == "embedding":
            break
        embedding_at += entry.size
    assert model.flat[embedding_at + 3 * TINY.d_model + 4] == 9.0


def test_gradients_gather_in_one_vector(values: np.ndarray, tokens: torch.Tensor) -> None:
    model, other = FlatModel(TINY, trainable=True), Gpt(TINY)
    model.load(values)
    load_flat(other, values)
    assert model.gradient is not None
    model.module(tokens).square().mean().backward()
    other(tokens).square().mean().backward()
    gradients = dict(other.named_parameters())
    expected = torch.cat([gradients[entry.name].grad.flatten() for entry in tensor_table(TINY)])
    torch.testing.assert_close(model.gradient, expected)


def test_scoring_model_keeps_no_gradient() -> None:
    model = FlatModel(TINY)
    assert model.gradient is None
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_values_of_another_model_are_refused(values: np.ndarray) -> None:
    for load in (FlatModel(TINY).load, lambda flat: load_flat(Gpt(TINY), flat)):
        with pytest.raises(StateError) as refused:
            load(values[:-1])
        assert refused.value.code == "state-size"


def test_load_flat_inverts_flat_parameters(values: np.ndarray) -> None:
    model = Gpt(TINY)
    load_flat(model, torch.from_numpy(values))
    assert np.array_equal(flat_parameters(model).numpy(), values)


def _reference_logits(named: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """The transformer in float64 with loops, one sequence at a time, rotating pairs as complex numbers."""
    length, width, heads = len(tokens), TINY.d_model, TINY.heads
    half = width // heads // 2
    turns = np.exp(1j * np.outer(np.arange(length), 10_000.0 ** (-np.arange(half) / half)))

    def norm(stream: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return stream / np.sqrt((stream**2).mean(-1, keepdims=True) + 1e-5) * gain

    stream = named["embedding"][tokens]
    for layer in range(TINY.layers):
        block = {key.split(".")[-1]: value for key, value in named.items() if f"blocks.{layer}." in key}
        query, key, value = np.split(norm(stream, block["attention_norm"]) @ block["attention_in"].T, 3, axis=1)
        outputs = np.zeros((length, width))
        for head in range(heads):
            span = slice(head * 2 * half, (head + 1) * 2 * half)
            q, k = ((part[:, span][:, :half] + 1j * part[:, span][:, half:]) * turns for part in (query, key))
            scores = (q @ k.conj().T).real / np.sqrt(2 * half)
            scores[np.triu_indices(length, 1)] = -np.inf
            chances = np.exp(scores - scores.max(1, keepdims=True))
            outputs[:, span] = chances / chances.sum(1, keepdims=True) @ value[:, span]
        stream = stream + outputs @ block["attention_out"].T
        gate, linear = np.split(norm(stream, block["mlp_norm"]) @ block["mlp_in"].T, 2, axis=1)
        stream = stream + gate / (1 + np.exp(-gate)) * linear @ block["mlp_out"].T
    return norm(stream, named["final_norm"]) @ named["embedding"].T
