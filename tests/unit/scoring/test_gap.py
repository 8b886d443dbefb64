from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol.presets import PRESETS
from emerit.scoring.gap import GapReference, gap_reference
from emerit.scoring.history import Standing
from emerit.scoring.usual_gain import UsualGain
from emerit.scoring.usual_gap import LEAST_SHARE, UsualGap
from tests.unit.scoring.builders import measured

SPEC = PRESETS["demo"].scoring
CLEAR = GapReference(UsualGap(0.004, 0.001))
NEW = Standing()


def standing(gap: float, usual: UsualGap, own_error: float = 0.001) -> Standing:
    assert usual.value is not None
    return Standing(
        rounds_sum=2.0,
        gap_sum=gap * 2.0,
        gap_variance_sum=(own_error * 2.0) ** 2,
        usual_gap_sum=usual.value * 2.0,
        usual_gap_variance_sum=(usual.error * 2.0) ** 2,
    )


@pytest.mark.parametrize(
    ("gap", "factor"),
    [(0.008, 1.0), (0.004, 1.0), (0.002, 0.5), (0.00101, 0.2525), (0.00099, 0.0), (0.0, 0.0), (-1.0, 0.0)],
)
def test_half_the_usual_gap_earns_half_and_under_a_quarter_nothing(gap: float, factor: float) -> None:
    assert CLEAR.factor(measured(0, gap=gap), NEW, SPEC) == pytest.approx(factor)


@pytest.mark.parametrize(("gap", "factor"), [(0.004, 1.0), (0.002, 0.5), (0.0009, 0.0)])
def test_the_mean_over_rounds_is_held_against_the_usual_mean(gap: float, factor: float) -> None:
    usual = UsualGap(0.004, 0.00001)
    found = GapReference(usual).factor(measured(0, gap=0.004), standing(gap, usual), SPEC)
    assert found == pytest.approx(factor, abs=1e-4)


def test_the_lesser_of_both_counts() -> None:
    usual = UsualGap(0.004, 0.00001)
    reference = GapReference(usual)
    assert reference.factor(measured(0, gap=0.003), standing(0.002, usual), SPEC) == pytest.approx(0.5, abs=1e-4)
    assert reference.factor(measured(0, gap=0.002), standing(0.003, usual), SPEC) == pytest.approx(0.5, abs=1e-4)


def test_rounds_are_held_against_what_was_usual_in_them() -> None:
    gaps, missed = (0.02, 0.01, 0.005), 1
    always, sometimes = NEW, NEW
    for number, gap in enumerate(gaps):
        usual = UsualGap(gap, 0.00001)
        always = always.after(measured(0, gap=gap), SPEC, gap=usual)
        sometimes = sometimes if number == missed else sometimes.after(measured(0, gap=gap), SPEC, gap=usual)
    last = GapReference(UsualGap(gaps[-1], 0.00001))
    newcomer = NEW.after(measured(0, gap=gaps[-1]), SPEC, gap=last.usual)
    for each in (always, sometimes, newcomer):
        assert last.factor(measured(0, gap=gaps[-1]), each, SPEC) == pytest.approx(1.0)


@pytest.mark.parametrize(("error", "left"), [(0.004, 0.5), (0.002, 0.2), (0.008, 0.8)])
def test_what_an_unclear_mean_lets_expect_is_paid(error: float, left: float) -> None:
    usual = UsualGap(0.004, error)
    assert usual.expected(0.004) == 1.0
    assert usual.expected(0.0) == pytest.approx(left)
    assert usual.expected(0.002) == pytest.approx((1 + left) / 2)
    assert usual.expected(-1.0) == LEAST_SHARE
    assert usual.expected(1.0) == 1.0


@given(gap=st.floats(-3.0, 3.0), more=st.floats(0.0, 1.0), error=st.floats(0.0, 20.0), doubt=st.floats(0.0, 5.0))
def test_more_work_is_never_paid_less_and_an_unclear_lack_costs_no_more_than_a_clear_one(
    gap: float, more: float, error: float, doubt: float
) -> None:
    usual = UsualGap(1.0, error)
    share = usual.expected(gap)
    assert LEAST_SHARE <= share <= 1.0
    assert share <= usual.expected(gap + more)
    assert share <= UsualGap(1.0, error + doubt).expected(gap) + 1e-12 or gap > 1.0
    assert share >= min(1.0, gap) - 1e-12


@pytest.mark.parametrize("gap", [-1e308, -1.0, 0.0, 1e-320, 1.0, 1e308])
@pytest.mark.parametrize(("value", "error"), [(1e-320, 1.0), (1e-300, 1e300), (1e300, 1e-300), (5e-324, 0.0)])
def test_figures_of_any_size_give_a_share(value: float, error: float, gap: float) -> None:
    assert LEAST_SHARE <= UsualGap(value, error).expected(gap) <= 1.0


def test_a_newcomers_mean_has_the_doubt_of_its_one_round() -> None:
    usual, measurement = UsualGap(0.004, 0.002), measured(0, gap=0.0, se=0.002)
    reference, known = GapReference(usual), NEW
    newcomer = NEW.after(measurement, SPEC, gap=usual)
    for _ in range(8):
        known = known.after(measurement, SPEC, gap=usual)
    assert newcomer.usual_gap == usual
    assert 0 < reference.factor(measurement, newcomer, SPEC) < reference.factor(measurement, NEW, SPEC)
    assert reference.factor(measurement, known, SPEC) == 0.0


def test_nobody_gets_doubt_by_a_noisy_update() -> None:
    usual = UsualGap(0.004, 0.002)
    clean, noisy = NEW, NEW
    for _ in range(5):
        clean = clean.after(measured(0, gap=0.0005, se=0.0), SPEC, gap=usual)
        noisy = noisy.after(measured(0, gap=0.0005, se=0.1), SPEC, gap=usual)
        measurement = measured(0, gap=0.004, se=0.1)
        found = [GapReference(usual).factor(measurement, each, SPEC) for each in (clean, noisy)]
        assert found[0] == found[1] < 1


def test_in_a_bad_round_who_has_a_history_is_held_to_it_and_a_newcomer_to_nothing() -> None:
    reference = GapReference(UsualGap(-0.004, 0.001), gain=UsualGain(-1.0, 0.0), trusted=True)
    known = standing(0.0, UsualGap(0.004, 0.0001))
    assert reference.bad
    assert reference.factor(measured(0, gap=-0.001, se=0.001), known, SPEC) == 0.0
    assert reference.factor(measured(0, gap=-0.001, se=0.001), NEW, SPEC) == 1.0


def test_no_gap_earns_nothing_even_without_a_floor() -> None:
    assert CLEAR.factor(measured(0, gap=0.0), NEW, replace(SPEC, gap_floor=0.0)) == 0.0


@pytest.mark.parametrize("value", [-0.004, 0.0, 0.0007])
def test_penalty_is_waived_where_the_usual_gap_is_far_from_clear(value: float) -> None:
    reference = GapReference(UsualGap(value, 0.001))
    assert not reference.usual.clear
    for gap in (0.01, 0.0, -0.001):
        assert reference.factor(measured(0, gap=gap, se=0.001), NEW, SPEC) == 1.0
    assert reference.factor(measured(0, gap=-0.01, se=0.001), NEW, SPEC) == 0.0


def test_a_gap_that_is_nearly_clear_is_held_against_it_in_part() -> None:
    reference = GapReference(UsualGap(0.0025, 0.001))
    assert reference.factor(measured(0, gap=0.0025, se=0.001), NEW, SPEC) == 1.0
    assert reference.factor(measured(0, gap=0.0, se=0.001), NEW, SPEC) == pytest.approx(0.6)
    assert reference.factor(measured(0, gap=-0.0009, se=0.001), NEW, SPEC) == 0.0


@pytest.mark.parametrize(
    ("value", "error", "most"), [(0.004, 0.0, 0.005), (0.004, 0.003, 0.007), (-0.004, 0.003, 0.003)]
)
def test_a_gap_enters_the_history_up_to_a_quarter_or_an_error_above_the_usual(
    value: float, error: float, most: float
) -> None:
    usual = UsualGap(value, error)
    assert usual.most == pytest.approx(most)
    for gap in (-1.0, most / 2, most, 1.0):
        assert NEW.after(measured(0, gap=gap), SPEC, gap=usual).gap == pytest.approx(min(gap, most))
    assert NEW.after(measured(0, gap=1.0), SPEC).gap == pytest.approx(1.0)


def test_the_usual_gain_and_a_tenth_more_is_paid_at_most() -> None:
    items = [measured(slot, gain=gain, se=0.0001) for slot, gain in enumerate((0.01, 0.012, 0.1))]
    assert gap_reference(items, (), {}).most_gain == pytest.approx(0.0132)
    assert gap_reference(items[:1], (), {}).most_gain == float("inf")
    two = [measured(0, gain=0.01, se=0.002), measured(1, gain=0.03, se=0.001)]
    assert gap_reference(two, (), {}).most_gain == pytest.approx(0.018)
    nothing_beside = [measured(0, gain=1e-9, se=1e-9), measured(1, gain=0.01, se=0.001)]
    assert gap_reference(nothing_beside, (), {}).most_gain == pytest.approx(0.004)
    noisy = [measured(slot, gain=0.001, se=0.001) for slot in range(3)]
    assert gap_reference(noisy, (), {}).most_gain == pytest.approx(0.003)


def test_reference_is_the_median_of_those_that_were_paid_and_are_originals() -> None:
    gaps = {0: 0.001, 1: 0.004, 2: 0.005, 3: 0.05, 4: 0.06, 5: 0.0}
    items = [measured(slot, gap=gap) for slot, gap in gaps.items()]
    assert gap_reference(items, {5}, {0: 900, 1: 1000, 2: 1100, 5: 10**9}).usual.value == pytest.approx(0.004)
    assert gap_reference(items, {5}, {}).usual.value == pytest.approx(0.005)
    assert gap_reference(items, {5}, {0: 1, 3: 1}).usual.value == pytest.approx(0.005)


@pytest.mark.parametrize("newcomers", [1, 10, 200])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_200_newcomers_move_the_reference_by_nothing(newcomers: int, gap: float) -> None:
    paid = [measured(slot, gap=0.005) for slot in range(3)]
    crowd = [measured(3 + slot, gap=gap, se=0.5) for slot in range(newcomers)]
    alone = gap_reference(paid, (), {})
    with_crowd = gap_reference(paid + crowd, (), {0: 50, 1: 50, 2: 50})
    assert with_crowd == replace(alone, trusted=True)


def test_without_measurements_there_is_no_reference() -> None:
    empty = gap_reference([], (), {})
    assert empty.usual.value is None and not empty.usual.clear
    assert empty.factor(measured(0, gap=0.001), NEW, SPEC) == 1.0


@pytest.mark.parametrize(("gain", "gap", "bad"), [(0.01, 0.006, False), (0.01, -0.004, True), (-0.01, 0.006, True)])
def test_a_round_is_bad_for_all_only_where_paid_trainers_work_is(gain: float, gap: float, bad: bool) -> None:
    items = [measured(slot, gain=gain, gap=gap) for slot in range(4)]
    assert gap_reference(items, (), dict.fromkeys(range(4), 100)).bad is bad
    assert not gap_reference(items, (), {}).bad
    crowd = [measured(slot, gain=-1.0, gap=-1.0) for slot in range(10, 30)]
    assert gap_reference([*items, *crowd], (), dict.fromkeys(range(4), 100)).bad is bad
