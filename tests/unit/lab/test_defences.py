"""The rules from the literature, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emerit.lab.arena import Corpus
from emerit.lab.defences.classic import (
    TrimmedMean,
    foolsgold_weights,
    krum_scores,
    squared_distances,
    weiszfeld,
)
from emerit.lab.defences.gauntlet import Rating, clipped_to_median_norm, rated
from tests.unit.lab.builders import game, small


def cloud(seed: int, n: int = 9, size: int = 40) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((n, size))


@given(st.integers(0, 1000))
def test_distances_are_those_between_rows(seed: int) -> None:
    rows = cloud(seed, 5)
    direct = ((rows[:, None] - rows[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(squared_distances(rows), direct, atol=1e-9)


@given(st.integers(0, 1000))
def test_krum_leaves_out_what_is_far_away(seed: int) -> None:
    rows = cloud(seed)
    rows[:2] += 50
    assert set(np.argsort(krum_scores(squared_distances(rows), 2))[-2:]) == {0, 1}


@given(st.integers(0, 1000))
def test_the_geometric_median_balances_unit_vectors(seed: int) -> None:
    rows = cloud(seed)
    weights = weiszfeld(rows)
    point = (weights[:, None] * rows).sum(axis=0) / weights.sum()
    pulls = (rows - point) / np.linalg.norm(rows - point, axis=1, keepdims=True)
    assert np.linalg.norm(pulls.sum(axis=0)) < 1e-3
    assert 0 < weights.min() <= weights.max() == 1.0


@given(st.integers(0, 1000), st.integers(0, 4))
def test_a_trimmed_mean_of_full_columns_is_the_textbooks(seed: int, f: int) -> None:
    values = cloud(seed)
    expected = np.sort(values, axis=0)[f : len(values) - f].mean(axis=0)
    np.testing.assert_allclose(TrimmedMean().of_columns(values, f), expected)


def test_a_trimmed_mean_counts_only_what_was_sent() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [5.0, 7.0], [9.0, np.nan]])
    np.testing.assert_allclose(TrimmedMean().of_columns(values, 1), [5.0, 7.0])


def test_foolsgold_gives_nothing_to_those_who_are_alike() -> None:
    rows = cloud(1)
    rows[7] = rows[8]
    weights = foolsgold_weights(rows)
    assert weights[7] == weights[8] == 0.0
    assert weights[:7].min() > 0.5


@given(st.permutations(range(5)))
def test_ratings_follow_the_order_of_a_match(order: list[int]) -> None:
    after = rated({}, {slot: float(-place) for place, slot in enumerate(order)})
    means = [after[slot].mu for slot in order]
    assert means == sorted(means, reverse=True)
    assert all(rating.sigma < Rating().sigma for rating in after.values())
    assert sum(means) == pytest.approx(5 * Rating().mu)


def test_norms_are_clipped_to_the_median(corpus: Corpus) -> None:
    seen = game(small("inflated-scale"), corpus)._reveals(0)
    clipped = clipped_to_median_norm(seen.updates)
    norms = sorted(np.linalg.norm(update.values()) for update in seen.updates.values())
    assert max(np.linalg.norm(update.values()) for update in clipped.values()) <= np.median(norms)
