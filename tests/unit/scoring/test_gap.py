from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.scoring.gap import GapReference, gap_reference
from tests.unit.scoring.builders import measured

CLEAR = GapReference(0.004, 0.001)


@pytest.mark.parametrize(
    ("gap", "factor"),
    [(0.008, 1.0), (0.004, 1.0), (0.002, 0.5), (0.00101, 0.2525), (0.00099, 0.0), (0.0, 0.0), (-1.0, 0.0)],
)
def test_half_the_usual_gap_earns_half_and_under_a_quarter_nothing(gap: float, factor: float) -> None:
    assert CLEAR.factor(measured(0, gap=gap), 0.25) == pytest.approx(factor)


def test_no_gap_earns_nothing_even_without_a_floor() -> None:
    assert CLEAR.factor(measured(0, gap=0.0), 0.0) == 0.0


@pytest.mark.parametrize("value", [-0.004, 0.0, 0.0024])
def test_penalty_is_waived_where_the_usual_gap_is_within_two_and_a_half_errors(value: float) -> None:
    reference = GapReference(value, 0.001)
    assert not reference.clear
    for gap in (0.01, 0.0, -0.001):
        assert reference.factor(measured(0, gap=gap, se=0.001), 0.25) == 1.0
    assert reference.factor(measured(0, gap=-0.01, se=0.001), 0.25) == 0.0


def test_reference_is_the_median_of_those_that_were_paid_and_are_originals() -> None:
    gaps = {0: 0.001, 1: 0.004, 2: 0.005, 3: 0.05, 4: 0.06, 5: 0.0}
    items = [measured(slot, gap=gap) for slot, gap in gaps.items()]
    assert gap_reference(items, {5}, {0: 900, 1: 1000, 2: 1100, 5: 10**9}).value == pytest.approx(0.004)
    assert gap_reference(items, {5}, {}).value == pytest.approx(0.005)
    assert gap_reference(items, {5}, {0: 1, 3: 1}).value == pytest.approx(0.005)


@pytest.mark.parametrize("newcomers", [1, 10, 200])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_200_newcomers_move_the_reference_by_nothing(newcomers: int, gap: float) -> None:
    paid = [measured(slot, gap=0.005) for slot in range(3)]
    crowd = [measured(3 + slot, gap=gap, se=0.5) for slot in range(newcomers)]
    alone = gap_reference(paid, (), {})
    assert gap_reference(paid + crowd, (), {0: 50, 1: 50, 2: 50}) == replace(alone, trusted=True)


def test_without_measurements_there_is_no_reference() -> None:
    empty = gap_reference([], (), {})
    assert empty.value is None and not empty.clear
    assert empty.factor(measured(0, gap=0.001), 0.25) == 1.0


@pytest.mark.parametrize(("gain", "gap", "bad"), [(0.01, 0.006, False), (0.01, -0.004, True), (-0.01, 0.006, True)])
def test_a_round_is_bad_for_all_only_where_paid_trainers_work_is(gain: float, gap: float, bad: bool) -> None:
    items = [measured(slot, gain=gain, gap=gap) for slot in range(4)]
    assert gap_reference(items, (), dict.fromkeys(range(4), 100)).bad is bad
    assert not gap_reference(items, (), {}).bad
    crowd = [measured(slot, gain=-1.0, gap=-1.0) for slot in range(10, 30)]
    assert gap_reference([*items, *crowd], (), dict.fromkeys(range(4), 100)).bad is bad
