"""Scores as integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emerit.reputation.fixed_point import ranked, to_fixed


def test_a_half_goes_up() -> None:
    # These are halves of a part once multiplied, in float64.
    halves = np.array([5e-10, -5e-10, 2.5e-9, 4.5e-9])
    assert ((halves * 1e9) % 1 == 0.5).all()
    assert to_fixed(halves).tolist() == [1, 0, 3, 5]


@given(st.floats(-4, 4))
def test_it_is_the_nearest(score: float) -> None:
    assert abs(int(to_fixed(np.array([score]))[0]) - score * 1e9) <= 0.5 + abs(score * 1e9) * 2e-16


@given(st.lists(st.integers(-3, 3)))
def test_ranks_are_stable(values: list[int]) -> None:
    order = ranked(np.array(values, dtype=np.int64)).tolist()
    assert order == sorted(range(len(values)), key=lambda at: (-values[at], at))
