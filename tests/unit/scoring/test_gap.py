from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.scoring.gap import GapReference, Usual, gap_reference
from emerit.scoring.history import Standing
from tests.unit.scoring.builders import measured

CLEAR = GapReference(Usual(0.004, 0.001))
NEW = Standing()


def standing(gap: float, error: float = 0.001, rounds: float = 2.0) -> Standing:
    return Standing(rounds_sum=rounds, gap_sum=gap * rounds, gap_variance_sum=(error * rounds) ** 2)


@pytest.mark.parametrize(
    ("gap", "factor"),
    [(0.008, 1.0), (0.004, 1.0), (0.002, 0.5), (0.00101, 0.2525), (0.00099, 0.0), (0.0, 0.0), (-1.0, 0.0)],
)
def test_half_the_usual_gap_earns_half_and_under_a_quarter_nothing(gap: float, factor: float) -> None:
    assert CLEAR.factor(measured(0, gap=gap), NEW, 0.25) == pytest.approx(factor)


@pytest.mark.parametrize(("gap", "factor"), [(0.004, 1.0), (0.002, 0.5), (0.0009, 0.0)])
def test_the_mean_over_rounds_is_held_against_the_usual_mean(gap: float, factor: float) -> None:
    reference = GapReference(Usual(0.004, 0.004), Usual(0.004, 0.001))
    assert reference.factor(measured(0, gap=0.004), standing(gap), 0.25) == pytest.approx(factor)


def test_the_lesser_of_both_counts() -> None:
    reference = replace(CLEAR, mean=Usual(0.004, 0.001))
    assert reference.factor(measured(0, gap=0.003), standing(0.002), 0.25) == pytest.approx(0.5)
    assert reference.factor(measured(0, gap=0.002), standing(0.003), 0.25) == pytest.approx(0.5)


def test_a_newcomers_mean_has_the_doubt_of_its_one_round() -> None:
    reference = GapReference(Usual(0.004, 0.002), Usual(0.004, 0.001))
    newcomer = standing(0.0, error=0.002, rounds=1.0)
    assert reference.factor(measured(0, gap=0.0), newcomer, 0.25) == pytest.approx((3.5 * 0.002 - 0.004) / 0.004)
    assert reference.factor(measured(0, gap=0.0), standing(0.0), 0.25) == 0.0


def test_nobody_gets_more_doubt_than_one_usual_round_by_a_noisy_update() -> None:
    reference = GapReference(Usual(0.004, 0.001), Usual(0.004, 0.0005))
    assert reference.factor(measured(0, gap=0.004), standing(0.0, error=0.1), 0.25) == 0.0


def test_no_gap_earns_nothing_even_without_a_floor() -> None:
    assert CLEAR.factor(measured(0, gap=0.0), NEW, 0.0) == 0.0


@pytest.mark.parametrize("value", [-0.004, 0.0, 0.0007])
def test_penalty_is_waived_where_the_usual_gap_is_far_from_clear(value: float) -> None:
    reference = GapReference(Usual(value, 0.001))
    assert not reference.round.clear
    for gap in (0.01, 0.0, -0.001):
        assert reference.factor(measured(0, gap=gap, se=0.001), NEW, 0.25) == 1.0
    assert reference.factor(measured(0, gap=-0.01, se=0.001), NEW, 0.25) == 0.0


def test_a_gap_that_is_nearly_clear_is_held_against_it_in_part() -> None:
    reference = GapReference(Usual(0.0025, 0.001))
    assert reference.factor(measured(0, gap=0.0025, se=0.001), NEW, 0.25) == 1.0
    assert reference.factor(measured(0, gap=0.0, se=0.001), NEW, 0.25) == pytest.approx(0.4)
    assert reference.factor(measured(0, gap=-0.0009, se=0.001), NEW, 0.25) == 0.0


def test_the_usual_gain_and_a_quarter_more_is_paid_at_most() -> None:
    items = [measured(slot, gain=gain, se=0.0001) for slot, gain in enumerate((0.01, 0.012, 0.1))]
    assert gap_reference(items, (), {}).most_gain == pytest.approx(0.015)
    assert gap_reference(items[:2], (), {}).most_gain == float("inf")
    noisy = [measured(slot, gain=0.001, se=0.001) for slot in range(3)]
    assert gap_reference(noisy, (), {}).most_gain == pytest.approx(0.003)


def test_reference_is_the_median_of_those_that_were_paid_and_are_originals() -> None:
    gaps = {0: 0.001, 1: 0.004, 2: 0.005, 3: 0.05, 4: 0.06, 5: 0.0}
    items = [measured(slot, gap=gap) for slot, gap in gaps.items()]
    assert gap_reference(items, {5}, {0: 900, 1: 1000, 2: 1100, 5: 10**9}).round.value == pytest.approx(0.004)
    assert gap_reference(items, {5}, {}).round.value == pytest.approx(0.005)
    assert gap_reference(items, {5}, {0: 1, 3: 1}).round.value == pytest.approx(0.005)


@pytest.mark.parametrize("newcomers", [1, 10, 200])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_200_newcomers_move_the_reference_by_nothing(newcomers: int, gap: float) -> None:
    paid = [measured(slot, gap=0.005) for slot in range(3)]
    crowd = [measured(3 + slot, gap=gap, se=0.5) for slot in range(newcomers)]
    alone = gap_reference(paid, (), {})
    with_crowd = gap_reference(paid + crowd, (), {0: 50, 1: 50, 2: 50})
    assert with_crowd == replace(alone, trusted=True, originals=3 + newcomers)


def test_without_measurements_there_is_no_reference() -> None:
    empty = gap_reference([], (), {})
    assert empty.round.value is None and not empty.round.clear
    assert empty.factor(measured(0, gap=0.001), NEW, 0.25) == 1.0


@pytest.mark.parametrize(("gain", "gap", "bad"), [(0.01, 0.006, False), (0.01, -0.004, True), (-0.01, 0.006, True)])
def test_a_round_is_bad_for_all_only_where_paid_trainers_work_is(gain: float, gap: float, bad: bool) -> None:
    items = [measured(slot, gain=gain, gap=gap) for slot in range(4)]
    assert gap_reference(items, (), dict.fromkeys(range(4), 100)).bad is bad
    assert not gap_reference(items, (), {}).bad
    crowd = [measured(slot, gain=-1.0, gap=-1.0) for slot in range(10, 30)]
    assert gap_reference([*items, *crowd], (), dict.fromkeys(range(4), 100)).bad is bad
