from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data.tokens import ByteTokenizer
from emerit.errors import UsageError
from emerit.model import FlatModel
from emerit.protocol.presets import preset
from emerit.scoring.heldout import cut_text, held_out_loss
from emerit.scoring.losses import sequence_losses
from emerit.training import initial_values, to_float

TINY = preset("tiny").model
TEXT = np.frombuffer(b"To be, or not to be, that is the question: " * 9, np.uint8)


@pytest.fixture(scope="module")
def model() -> FlatModel:
    flat = FlatModel(TINY)
    flat.load(to_float(initial_values(TINY, b"seed")))
    return flat


@given(st.integers(2, 200), st.integers(1, 40))
def test_every_token_but_the_first_is_predicted_once(size: int, context: int) -> None:
    tokens = np.arange(size, dtype=np.uint8)
    groups = cut_text(tokens, context)
    assert np.concatenate([group[:, 1:].ravel() for group in groups]).tolist() == list(range(1, size))
    for group in groups:
        assert 2 <= group.shape[1] <= context + 1
        assert (np.diff(group.astype(int), axis=1) == 1).all()


def test_a_text_without_a_second_token_has_no_loss() -> None:
    for text in (b"", b"a"):
        with pytest.raises(UsageError, match="text-too-short"):
            cut_text(np.frombuffer(text, np.uint8), 8)


def test_the_loss_is_that_of_all_tokens_however_the_text_is_cut(model: FlatModel) -> None:
    groups = cut_text(TEXT, TINY.context)
    found = held_out_loss(model.module, groups, ByteTokenizer())
    sums = np.concatenate([sequence_losses(model.module, group) * (group.shape[1] - 1) for group in groups])
    assert found.tokens == found.bytes == len(TEXT) - 1
    assert found.loss == pytest.approx(sums.sum() / (len(TEXT) - 1), rel=1e-12)
    assert found.bits_per_byte == pytest.approx(found.loss / math.log(2), rel=1e-12)
    assert found.bits_per_byte_se == pytest.approx(found.loss_se / math.log(2), rel=1e-12)
    assert found.sequences == len(sums) == -(-(len(TEXT) - 1) // TINY.context)


def test_with_sequences_of_one_length_the_error_is_the_plain_one(model: FlatModel) -> None:
    rows = cut_text(TEXT, TINY.context)[0]
    losses = sequence_losses(model.module, rows)
    found = held_out_loss(model.module, [rows], ByteTokenizer())
    assert found.loss == pytest.approx(losses.mean(), rel=1e-12)
    assert found.loss_se == pytest.approx(losses.std(ddof=1) / len(losses) ** 0.5, rel=1e-9)


def test_the_error_says_how_far_samples_differ(model: FlatModel) -> None:
    """Two hundred samples of sequences: the spread of their losses is what each says of itself."""
    random = np.random.default_rng(1)
    rows = random.integers(32, 127, (400, TINY.context + 1), dtype=np.int64).astype(np.uint8)
    rows[::2] = 101  # two kinds of text
    groups = [rows[random.integers(0, 400, 30)] for _ in range(200)]
    found = [held_out_loss(model.module, [group], ByteTokenizer()) for group in groups]
    spread = np.std([each.loss for each in found])
    assert np.mean([each.loss_se for each in found]) == pytest.approx(spread, rel=0.15)


def test_one_sequence_has_no_error(model: FlatModel) -> None:
    found = held_out_loss(model.module, [TEXT[None, :20]], ByteTokenizer())
    assert (found.sequences, found.tokens) == (1, 19)
    assert found.loss_se is None and found.bits_per_byte_se is None


def test_nothing_cannot_be_measured(model: FlatModel) -> None:
    with pytest.raises(UsageError, match="sequences-shape"):
        held_out_loss(model.module, [], ByteTokenizer())
