from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.scoring.measurement import Measurement, mean_and_error, weighted_median


def test_gap_is_own_minus_random_with_the_error_of_two_independent_samples() -> None:
    item = Measurement(0, 0.010, 0.003, 0.015, 0.004)
    assert (item.gap, item.gap_se, item.gap_z) == pytest.approx((0.005, 0.005, 1.0))


@pytest.mark.parametrize("place", range(4))
def test_one_figure_that_is_not_finite_makes_the_measurement_so(place: int) -> None:
    figures = [0.1] * 4
    assert Measurement(0, *figures).finite
    figures[place] = math.nan
    assert not Measurement(0, *figures).finite


def test_losses_that_are_not_finite_give_figures_that_are_not() -> None:
    mean, error = mean_and_error(np.array([1.0, -math.inf, 2.0]))
    assert not math.isfinite(mean) and not math.isfinite(error)


VALUES = st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 100)), min_size=1, max_size=20)


@given(VALUES.filter(lambda pairs: any(weight for _, weight in pairs)))
def test_at_most_half_of_the_weight_lies_strictly_on_either_side_of_the_median(
    pairs: list[tuple[float, int]],
) -> None:
    median = weighted_median([value for value, _ in pairs], [weight for _, weight in pairs])
    total = sum(weight for _, weight in pairs)
    assert 2 * sum(weight for value, weight in pairs if value < median) < total
    assert 2 * sum(weight for value, weight in pairs if value > median) <= total
    assert (median, 0) in [(value, 0) for value, weight in pairs if weight]


def test_a_median_without_weight_is_refused() -> None:
    with pytest.raises(StateError):
        weighted_median([1.0], [0.0])
