from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import UsageError
from emerit.model import FlatModel, Gpt
from emerit.model.sample import SeededUniforms, WindowShape, pick_token, sample_tokens
from emerit.protocol.presets import preset
from emerit.training import initial_values, to_float

TINY = preset("tiny").model
PROMPT = list(b"ROMEO:\n")
SHAPE = WindowShape(TINY.context, TINY.vocabulary)


@pytest.fixture(scope="module")
def model() -> Gpt:
    flat = FlatModel(TINY)
    flat.load(to_float(initial_values(TINY, b"seed")) * 8)  # far from uniform
    return flat.module


def test_the_uniform_numbers_are_the_same_for_ever() -> None:
    """PCG64 XSL-RR by hand, from the state that numpy makes of the seed."""
    state = np.random.PCG64(7).state["state"]
    multiplier, mask = 0x2360ED051FC65DA44385DF649FCCF645, (1 << 128) - 1
    numbers, expected = SeededUniforms(7), []
    word = state["state"]
    for _ in range(5):
        word = (word * multiplier + state["inc"]) & mask
        mixed, turn = (word >> 64 ^ word) & (1 << 64) - 1, word >> 122
        expected.append((((mixed >> turn) | (mixed << (64 - turn))) & (1 << 64) - 1) >> 11)
    assert [numbers.draw() * 2**53 for _ in range(5)] == expected
    assert SeededUniforms(0).draw() == 0.6369616873214543  # as numpy.random.default_rng(0).random()


def test_a_seed_decides_the_text(model: Gpt) -> None:
    texts = [sample_tokens(model, SHAPE, PROMPT, 60, 0.8, seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 60 and all(0 <= token < 256 for token in texts[0])


def test_temperature_zero_takes_the_likeliest(model: Gpt) -> None:
    assert sample_tokens(model, SHAPE, PROMPT, 20, 0, 1) == sample_tokens(model, SHAPE, PROMPT, 20, 0, 2)
    assert sample_tokens(model, SHAPE, PROMPT, 20, 0, 1) == sample_tokens(model, SHAPE, PROMPT, 20, 1e-9, 3)


def test_longer_texts_than_the_context_are_read_from_their_end(model: Gpt) -> None:
    long = list(range(32, 32 + TINY.context + 20))
    assert sample_tokens(model, SHAPE, long, 10, 0.8, 1) == sample_tokens(
        model, SHAPE, long[-TINY.context :], 10, 0.8, 1
    )
    assert len(sample_tokens(model, SHAPE, PROMPT, TINY.context * 2, 0.8, 1)) == TINY.context * 2


def test_what_stands_for_no_token_is_never_written(model: Gpt) -> None:
    """The vocabulary of a model is padded; of the 256 here only 90 are tokens."""
    written = sample_tokens(model, WindowShape(TINY.context, 90), PROMPT, 200, 2.0, 1)
    assert max(written) < 90 < max(sample_tokens(model, SHAPE, PROMPT, 200, 2.0, 1))
    with pytest.raises(UsageError, match="prompt-foreign"):
        sample_tokens(model, WindowShape(TINY.context, 60), PROMPT, 1, 2.0, 1)


def test_each_token_is_told(model: Gpt) -> None:
    told: list[int] = []
    assert sample_tokens(model, SHAPE, PROMPT, 5, 0.8, 1, told.append) == told


@pytest.mark.parametrize("prompt", [[], [3, 256], [-1]])
def test_prompts_that_cannot_be_gone_on_from(model: Gpt, prompt: list[int]) -> None:
    with pytest.raises(UsageError, match="prompt-foreign" if prompt else "prompt-empty"):
        sample_tokens(model, SHAPE, prompt, 5, 0.8, 1)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9), st.floats(0.2, 3), st.integers(0, 2**20))
def test_a_token_is_picked_by_its_chance(logits: list[float], temperature: float, seed: int) -> None:
    """The uniform number falls into the token's stretch of the cumulated chances."""
    values, uniform = np.array(logits), SeededUniforms(seed).draw()
    chances = np.exp((values - values.max()) / temperature)
    edges = np.concatenate([[0], np.cumsum(chances / chances.sum())])
    token = pick_token(values, temperature, uniform)
    assert edges[token] - 1e-12 <= uniform <= edges[token + 1] + 1e-12


def test_how_often_tokens_come() -> None:
    uniforms, logits = SeededUniforms(3), np.log([0.7, 0.2, 0.1])
    counts = np.bincount([pick_token(logits, 1.0, uniforms.draw()) for _ in range(20_000)], minlength=3)
    assert np.abs(counts / 20_000 - [0.7, 0.2, 0.1]).max() < 0.015


def test_rounding_never_picks_a_token_that_is_not_there() -> None:
    assert pick_token(np.array([0.0, -800.0]), 1.0, 1 - 2.0**-53) == 0
    assert pick_token(np.array([1.0, 1.0]), 0, 0.9) == 0
