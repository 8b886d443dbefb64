from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.trust import say


def test_nobody_counts_more_than_most_that_were_paid() -> None:
    assert say([0, 1, 2, 3, 4], {0: 10, 1: 20, 2: 9_000, 3: 1, 7: 5}) == {0: 10, 1: 20, 2: 20, 3: 0, 4: 0}


def test_without_pay_nobody_counts() -> None:
    assert say([0, 1], {}) == {0: 0, 1: 0}
    assert say([], {0: 5}) == {}


@given(st.lists(st.integers(2, 100), min_size=3, max_size=9), st.integers(2, 2**43))
def test_one_of_three_or_more_that_were_paid_never_has_half_of_the_say(weights: list[int], huge: int) -> None:
    told = say(range(len(weights) + 1), dict(enumerate([*weights, huge])))
    paid = [*weights, huge]
    assert told[len(weights)] == min(huge, statistics.median_low(paid))
    assert told[len(weights)] <= sum(told.values()) / 2
