from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.usual_gain import LEAST_SHARE, MOST_SHARE, UNKNOWN_GAIN, UsualGain

ERROR = st.floats(0.0, 1e3, allow_nan=False)
GAIN = st.floats(-1e3, 1e3, allow_nan=False)
USUAL = st.builds(UsualGain, GAIN, ERROR)


@pytest.mark.parametrize(
    ("score", "error", "share"),
    [(0.02, 0.0, 2.0), (0.005, 0.0, 0.5), (0.005, 0.001, 0.55), (0.0, 0.003, 0.5), (0.005, 0.01, 0.9587)],
)
def test_a_score_is_drawn_to_the_usual_one_by_how_little_was_learned(score: float, error: float, share: float) -> None:
    assert UsualGain(0.01, error).share(score) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "error", "doubt"),
    [
        (0.01, 0.002, 0.0),
        (0.01, 0.003, 0.002),
        (0.0001, 0.003, 0.0119),
        (0.0, 0.003, 0.012),
        (-0.0001, 0.003, 0.0121),
        (-0.01, 0.002, 0.016),
        (-1.0, 0.002, 0.016),
    ],
)
def test_the_doubt_is_what_the_usual_gain_lacks_to_four_errors(value: float, error: float, doubt: float) -> None:
    assert UsualGain(value, error).doubt == pytest.approx(doubt)


def test_nothing_usual_is_no_measure() -> None:
    for usual in (UNKNOWN_GAIN, UsualGain(0.0, 0.0), UsualGain(-0.01, 0.0)):
        assert (usual.share(5.0), usual.doubt) == (1.0, 0.0)


def test_where_most_do_nothing_those_who_work_are_paid_by_what_they_gain() -> None:
    idle = UsualGain(0.0, 0.005)
    assert 1 < idle.share(0.01) < idle.share(0.05) < MOST_SHARE


@given(USUAL, GAIN, GAIN)
def test_a_larger_score_has_no_smaller_share(usual: UsualGain, first: float, second: float) -> None:
    less, more = usual.share(min(first, second)), usual.share(max(first, second))
    assert LEAST_SHARE <= less <= more <= MOST_SHARE


@given(st.floats(1e-6, 1.0), st.floats(0.0, 1e3), st.floats(-2.0, 4.0))
def test_no_estimate_is_further_from_the_usual_than_the_score(value: float, error: float, times: float) -> None:
    usual = UsualGain(value, error)
    if error <= value:
        assert abs(usual.share(times * value) - 1) <= abs(times - 1) + 1e-9


@given(st.floats(1e-6, 1.0), st.floats(0.0, 2.0))
def test_honest_work_fails_the_test_only_where_its_score_is_three_errors_below_the_usual(
    value: float, errors: float
) -> None:
    error = errors * value
    usual = UsualGain(value, error)
    assert value - 2.99 * error - error + usual.doubt > 0 or error == 0
