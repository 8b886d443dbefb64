from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.median import lower_weighted_median

pairs = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), min_size=1, max_size=8).filter(
    lambda items: any(stake for _, stake in items)
)


@given(pairs)
def test_it_is_the_lower_median_of_values_repeated_by_stake(items: list[tuple[int, int]]) -> None:
    repeated = sorted(value for value, stake in items for _ in range(stake))
    expected = repeated[(len(repeated) - 1) // 2]
    assert lower_weighted_median([v for v, _ in items], [s for _, s in items]) == expected


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(items: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(items, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert lower_weighted_median(*map(list, zip(*items, strict=True))) == lower_weighted_median(
        *map(list, zip(*shuffled, strict=True))
    )


@given(st.lists(st.integers(100, 200), min_size=1, max_size=8), pairs)
def test_less_than_half_of_the_stake_cannot_leave_the_range_of_the_others(
    honest: list[int], others: list[tuple[int, int]]
) -> None:
    stake_each = sum(stake for _, stake in others) // len(honest) + 1
    values = honest + [value * 1000 for value, _ in others]
    stakes = [stake_each] * len(honest) + [stake for _, stake in others]
    assert min(honest) <= lower_weighted_median(values, stakes) <= max(honest)


@pytest.mark.parametrize(("values", "stakes"), [([], []), ([1], [0]), ([1], []), ([1, 2], [2, -1])])
def test_a_median_of_nothing_is_refused(values: list[int], stakes: list[int]) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        lower_weighted_median(values, stakes)
