from __future__ import annotations

import math

import numpy as np
import pytest

from emerit.data import entropy_of, token_counts, unigram_entropy


def test_counts_of_any_shape() -> None:
    counts = token_counts(np.array([[1, 1], [255, 0]], dtype=np.uint8))
    assert counts.shape == (256,)
    assert counts[[0, 1, 255]].tolist() == [1, 2, 1]
    assert counts.sum() == 4


def test_entropy_by_hand() -> None:
    assert entropy_of(np.array([7, 7, 7], dtype=np.uint8)) == 0
    assert entropy_of(np.array([1, 2, 1, 2], dtype=np.uint8)) == pytest.approx(math.log(2))
    assert entropy_of(np.arange(256, dtype=np.uint8)) == pytest.approx(math.log(256))


def test_cross_entropy_by_hand() -> None:
    train = np.array([1, 1, 1, 2], dtype=np.uint8)
    heldout = np.array([1, 2, 3, 3], dtype=np.uint8)
    by_hand = -(math.log(4 / 260) + math.log(2 / 260) + 2 * math.log(1 / 260)) / 4
    assert unigram_entropy(train, heldout) == pytest.approx(by_hand)
    assert unigram_entropy(token_counts(train), heldout) == unigram_entropy(train, heldout)
    assert unigram_entropy(np.empty(0, dtype=np.uint8), heldout) == pytest.approx(math.log(256))


def test_no_distribution_beats_the_heldouts_own() -> None:
    rng = np.random.default_rng(2)
    heldout = rng.integers(0, 50, 5000).astype(np.uint8)
    for top in (10, 50, 256):
        assert unigram_entropy(rng.integers(0, top, 5000).astype(np.uint8), heldout) >= entropy_of(heldout)


def test_nothing_held_out_has_no_entropy() -> None:
    nothing = np.empty(0, dtype=np.uint8)
    assert math.isnan(entropy_of(nothing))
    assert math.isnan(unigram_entropy(nothing, nothing))
