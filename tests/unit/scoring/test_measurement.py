from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.scoring.measurement import Measurement, adjusted_gap, mean_and_error, weighted_median


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


def test_what_is_paid_for_is_the_lesser_of_trial_and_whole_step_with_its_own_error() -> None:
    item = Measurement(0, 0.010, 0.001, 0.015, 0.001, whole_gain=0.008, whole_se=0.002)
    assert (item.gain, item.gain_se) == (0.008, 0.002)
    item = Measurement(0, 0.010, 0.001, 0.015, 0.001, whole_gain=0.012, whole_se=0.002)
    assert (item.gain, item.gain_se) == (0.010, 0.001)
    assert not Measurement(0, 0.010, 0.001, 0.015, 0.001, whole_gain=-math.inf).finite


def test_what_the_common_step_explains_is_no_part_of_a_gap() -> None:
    random = np.random.default_rng(0)
    common_random, common_own = random.normal(1.0, 1.0, 64), random.normal(1.5, 1.0, 40)
    private_random, private_own = random.normal(0.0, 0.01, 64), random.normal(0.05, 0.01, 40)
    gap, error = adjusted_gap(
        0.3 * common_random + private_random, 0.3 * common_own + private_own, common_random, common_own
    )
    assert gap == pytest.approx(0.05, abs=4 * error)
    assert error < 0.01
    plain = Measurement(0, *mean_and_error(0.3 * common_random), *mean_and_error(0.3 * common_own))
    assert plain.gap_se > 5 * error


def test_the_common_step_itself_has_no_gap() -> None:
    random = np.random.default_rng(1)
    common_random, common_own = random.normal(1.0, 1.0, 64), random.normal(1.5, 1.0, 40)
    assert adjusted_gap(2 * common_random, 2 * common_own, common_random, common_own) == pytest.approx(
        (0, 0), abs=1e-12
    )


def test_a_common_step_without_effect_leaves_the_plain_gap() -> None:
    random = np.random.default_rng(2)
    left, right = random.normal(1.0, 1.0, 64), random.normal(1.5, 1.0, 40)
    plain = Measurement(0, *mean_and_error(left), *mean_and_error(right))
    assert adjusted_gap(left, right, np.zeros(64), np.zeros(40)) == pytest.approx((plain.gap, plain.gap_se))


@given(st.floats(0.1, 10), st.integers(0, 99))
def test_the_size_of_the_common_step_does_not_matter(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    four = [random.normal(1.0, 1.0, count) for count in (16, 8, 16, 8)]
    scaled = adjusted_gap(four[0], four[1], scale * four[2], scale * four[3])
    assert scaled == pytest.approx(adjusted_gap(*four))
