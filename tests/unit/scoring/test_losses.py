from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from emerit.codec import compress
from emerit.errors import UsageError
from emerit.model import FlatModel
from emerit.protocol.presets import PRESETS
from emerit.scoring.losses import TrialStep, sequence_losses
from emerit.training.state import initial_values, to_float

TINY = PRESETS["tiny"].model


class Bigram(nn.Module):
    """Logits that depend on the last token only, and a record of the batch shapes seen."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(256, 256, generator=torch.Generator().manual_seed(3)))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, tokens: Tensor) -> Tensor:
        self.shapes.append(tuple(tokens.shape))
        return self.table[tokens]


def some_tokens(count: int, length: int = TINY.context + 1) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, length), dtype=np.uint8)


def gpt() -> FlatModel:
    model = FlatModel(TINY)
    model.load(to_float(initial_values(TINY, b"losses")))
    return model


def test_loss_is_the_mean_negative_log_likelihood_in_nats() -> None:
    model, tokens = Bigram(), some_tokens(3, 9)
    logits = model.table.detach().double().numpy()
    log_likelihood = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = [-np.mean([log_likelihood[a, b] for a, b in pairwise(row)]) for row in tokens]
    losses = sequence_losses(model, tokens)
    assert losses.dtype == np.float64
    assert losses == pytest.approx(np.array(expected), abs=1e-6)


def test_uniform_model_costs_log_256() -> None:
    model = FlatModel(TINY)
    assert sequence_losses(model.module, some_tokens(2)) == pytest.approx(math.log(256), abs=1e-6)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 40])
def test_every_batch_has_the_same_shape(count: int) -> None:
    model = Bigram()
    assert len(sequence_losses(model, some_tokens(count, 5))) == count
    assert set(model.shapes) == {(8, 4)}


def test_loss_of_a_sequence_does_not_depend_on_the_others_to_the_last_bit() -> None:
    model, tokens = gpt(), some_tokens(37)
    together = sequence_losses(model.module, tokens)
    assert together[:5].tobytes() == sequence_losses(model.module, tokens[:5]).tobytes()


def test_the_models_mode_and_gradients_are_left_alone() -> None:
    model = Bigram()
    model.train()
    sequence_losses(model, some_tokens(2, 5))
    assert model.training and model.table.grad is None


@pytest.mark.parametrize(
    "tokens",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((2, 1), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((2, 5), np.int64),
    ],
)
def test_other_shapes_and_types_are_refused(tokens: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError) as caught:
        sequence_losses(Bigram(), tokens)
    assert caught.value.code == "sequences-shape"


def test_trial_step_subtracts_the_fraction_of_sign_times_scale() -> None:
    dense = np.zeros(10, np.float32)
    dense[[2, 7]] = [0.5, -0.25]
    update, sent = compress(dense, 5, 1)
    flat = torch.ones(10)
    with TrialStep(flat, update, 0.2):
        assert flat.numpy() == pytest.approx(1 - 0.2 * sent)
    assert flat.numpy().tobytes() == np.ones(10, np.float32).tobytes()


@settings(max_examples=40)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=40, max_size=40),
    st.integers(0, 2**32 - 1),
    st.floats(1e-6, 1.0),
)
def test_trial_step_restores_every_bit(weights: list[float], seed: int, step: float) -> None:
    update, _ = compress(np.random.default_rng(seed).standard_normal(40).astype(np.float32), 16, 5)
    flat = torch.tensor(weights, dtype=torch.float32)
    before = flat.numpy().tobytes()
    with TrialStep(flat, update, step):
        pass
    assert flat.numpy().tobytes() == before


def test_trial_step_restores_after_an_exception_and_can_be_used_again() -> None:
    model = gpt()
    before = model.flat.numpy().tobytes()
    update, _ = compress(np.random.default_rng(1).standard_normal(model.flat.numel()).astype(np.float32), 4096, 256)
    trial = TrialStep(model.flat, update, 0.2)
    for _ in range(2):
        with pytest.raises(KeyError), trial:
            assert model.flat.numpy().tobytes() != before
            raise KeyError("in the middle")
        assert model.flat.numpy().tobytes() == before


def test_an_update_without_scales_changes_nothing() -> None:
    model = gpt()
    before = model.flat.numpy().tobytes()
    update, _ = compress(np.zeros(model.flat.numel(), np.float32), 4096, 256)
    with TrialStep(model.flat, update, 1.0):
        assert model.flat.numpy().tobytes() == before
