from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol.presets import PRESETS
from emerit.scoring.gap import LEAST_SHARE, GapReference, Usual, gap_reference
from emerit.scoring.history import Standing
from tests.unit.scoring.builders import measured

SPEC = PRESETS["demo"].scoring
CLEAR = GapReference(Usual(0.004, 0.001))
NEW = Standing()


def standing(gap: float, error: float = 0.001, rounds: float = 2.0) -> Standing:
    return Standing(rounds_sum=rounds, gap_sum=gap * rounds, gap_variance_sum=(error * rounds) ** 2)


@pytest.mark.parametrize(
    ("gap", "factor"),
    [(0.008, 1.0), (0.004, 1.0), (0.002, 0.5), (0.00101, 0.2525), (0.00099, 0.0), (0.0, 0.0), (-1.0, 0.0)],
)
def test_half_the_usual_gap_earns_half_and_under_a_quarter_nothing(gap: float, factor: float) -> None:
    assert CLEAR.factor(measured(0, gap=gap), NEW, SPEC) == pytest.approx(factor)


@pytest.mark.parametrize(("gap", "factor"), [(0.004, 1.0), (0.002, 0.5), (0.0009, 0.0)])
def test_the_mean_over_rounds_is_held_against_the_usual_mean(gap: float, factor: float) -> None:
    reference = GapReference(Usual(0.004, 0.00001), Usual(0.004, 0.00001))
    assert reference.factor(measured(0, gap=0.004), standing(gap), SPEC) == pytest.approx(factor, abs=1e-4)


def test_the_lesser_of_both_counts() -> None:
    reference = GapReference(Usual(0.004, 0.00001), Usual(0.004, 0.00001))
    assert reference.factor(measured(0, gap=0.003), standing(0.002), SPEC) == pytest.approx(0.5, abs=1e-4)
    assert reference.factor(measured(0, gap=0.002), standing(0.003), SPEC) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("error", "left"), [(0.004, 0.5), (0.002, 0.2), (0.008, 0.8)])
def test_what_an_unclear_mean_lets_expect_is_paid(error: float, left: float) -> None:
    usual = Usual(0.004, error)
    assert usual.expected(0.004, error) == 1.0
    assert usual.expected(0.0, error) == pytest.approx(left)
    assert usual.expected(0.002, error) == pytest.approx((1 + left) / 2)
    assert usual.expected(-1.0, error) == LEAST_SHARE
    assert usual.expected(1.0, error) == 1.0


@given(gap=st.floats(-3.0, 3.0), more=st.floats(0.0, 1.0), error=st.floats(0.0, 20.0), doubt=st.floats(0.0, 5.0))
def test_more_work_is_never_paid_less_and_an_unclear_lack_costs_no_more_than_a_clear_one(
    gap: float, more: float, error: float, doubt: float
) -> None:
    usual = Usual(1.0, 1.0)
    share = usual.expected(gap, error)
    assert LEAST_SHARE <= share <= 1.0
    assert share <= usual.expected(gap + more, error)
    assert usual.expected(gap, error) <= usual.expected(gap, error + doubt) + 1e-12 or gap > 1.0
    assert share >= min(1.0, gap) - 1e-12


@pytest.mark.parametrize("gap", [-1e308, -1.0, 0.0, 1e-320, 1.0, 1e308])
@pytest.mark.parametrize(("value", "error"), [(1e-320, 1.0), (1e-300, 1e300), (1e300, 1e-300), (5e-324, 0.0)])
def test_figures_of_any_size_give_a_share(value: float, error: float, gap: float) -> None:
    assert LEAST_SHARE <= Usual(value, error).expected(gap, error) <= 1.0


def test_a_newcomers_mean_has_the_doubt_of_its_one_round() -> None:
    reference = GapReference(Usual(0.004, 0.002), Usual(0.004, 0.0005))
    newcomer, known = standing(0.0, rounds=1.0), standing(0.0, rounds=3.0)
    measurement = measured(0, gap=0.001, se=0.002)
    assert 0 < reference.factor(measurement, newcomer, SPEC) < reference.factor(measurement, NEW, SPEC)
    assert reference.factor(measurement, known, SPEC) == 0.0


def test_nobody_gets_doubt_by_a_noisy_update() -> None:
    reference = GapReference(Usual(0.004, 0.002), Usual(0.004, 0.0005))
    measurement = measured(0, gap=0.004, se=0.1)
    for rounds in (1.0, 1.7, 3.0):
        clean, noisy = standing(0.0005, error=0.0, rounds=rounds), standing(0.0005, error=0.1, rounds=rounds)
        assert reference.factor(measurement, noisy, SPEC) == reference.factor(measurement, clean, SPEC)


def test_a_newcomer_without_history_after_a_bad_round_is_not_held_to_the_mean() -> None:
    reference = GapReference(Usual(-0.004, 0.001), Usual(0.004, 0.0001), gain=-1.0, trusted=True, originals=4)
    assert reference.bad and reference.factor(measured(0, gap=-0.001, se=0.001), NEW, SPEC) == 1.0


def test_no_gap_earns_nothing_even_without_a_floor() -> None:
    assert CLEAR.factor(measured(0, gap=0.0), NEW, replace(SPEC, gap_floor=0.0)) == 0.0


@pytest.mark.parametrize("value", [-0.004, 0.0, 0.0007])
def test_penalty_is_waived_where_the_usual_gap_is_far_from_clear(value: float) -> None:
    reference = GapReference(Usual(value, 0.001))
    assert not reference.round.clear
    for gap in (0.01, 0.0, -0.001):
        assert reference.factor(measured(0, gap=gap, se=0.001), NEW, SPEC) == 1.0
    assert reference.factor(measured(0, gap=-0.01, se=0.001), NEW, SPEC) == 0.0


def test_a_gap_that_is_nearly_clear_is_held_against_it_in_part() -> None:
    reference = GapReference(Usual(0.0025, 0.001))
    assert reference.factor(measured(0, gap=0.0025, se=0.001), NEW, SPEC) == 1.0
    assert reference.factor(measured(0, gap=0.0, se=0.001), NEW, SPEC) == pytest.approx(0.6)
    assert reference.factor(measured(0, gap=-0.0009, se=0.001), NEW, SPEC) == 0.0


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
    assert empty.factor(measured(0, gap=0.001), NEW, SPEC) == 1.0


@pytest.mark.parametrize(("gain", "gap", "bad"), [(0.01, 0.006, False), (0.01, -0.004, True), (-0.01, 0.006, True)])
def test_a_round_is_bad_for_all_only_where_paid_trainers_work_is(gain: float, gap: float, bad: bool) -> None:
    items = [measured(slot, gain=gain, gap=gap) for slot in range(4)]
    assert gap_reference(items, (), dict.fromkeys(range(4), 100)).bad is bad
    assert not gap_reference(items, (), {}).bad
    crowd = [measured(slot, gain=-1.0, gap=-1.0) for slot in range(10, 30)]
    assert gap_reference([*items, *crowd], (), dict.fromkeys(range(4), 100)).bad is bad
