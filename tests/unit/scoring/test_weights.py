from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol import minifloat
from emerit.scoring import reasons
from emerit.scoring.clusters import Clusters, Pair, Stale, Threshold, connect
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.usual_gain import MOST_SHARE, UsualGain
from emerit.scoring.weights import RoundScores, Verdict, score_round
from tests.unit.scoring.builders import SPEC, measured

ALONE = Clusters()


def with_a_name(balance: float = 1.0) -> Standing:
    return Standing(0.03, 1e-6, 3.0, balance, usual_gain_sum=0.03, usual_gain_variance_sum=1e-6)


def alike(*slots: int) -> Clusters:
    limit = Threshold(0.3, 0.01, 0.5)
    return connect([Pair(a, b, 0.8, 0.8, "copy") for a, b in combinations(sorted(slots), 2)], limit, limit)


def score(
    *items: Measurement,
    clusters: Clusters = ALONE,
    history: ScoreHistory | None = None,
    consensus: dict[int, int] | None = None,
) -> RoundScores:
    order = {item.slot: item.slot for item in items}
    return score_round(
        {item.slot: item for item in items}, clusters, order, history or ScoreHistory(), consensus or {}, SPEC
    )


def paid_weights(scores: RoundScores) -> dict[int, int]:
    return {slot: verdict.weight_value for slot, verdict in scores.verdicts.items() if verdict.weight_value > 1}


def test_weight_is_the_third_power_of_the_share_of_the_usual_score_times_the_gap_factor() -> None:
    scores = score(measured(0), measured(1), measured(2, gap=0.003), measured(3, gain=0.005))
    assert scores.verdicts[0].code == "paid"
    assert scores.verdicts[0].weight_value == 100_000_000
    assert scores.verdicts[2].gap_factor == pytest.approx(0.5)
    assert scores.verdicts[2].weight_value == pytest.approx(50_000_000, abs=1)
    learned = 0.3**2 / (0.3**2 + 0.05**2)  # a usual score of 20 errors
    assert scores.verdicts[3].weight_value == pytest.approx((1 - 0.5 * learned) ** 3 * 10**8, abs=1)
    assert [scores.verdicts[3].score_usual, scores.verdicts[3].score_usual_se] == [0.01, 0.0005]


def test_pay_is_at_least_2_units() -> None:
    items = {0: measured(0, gain=1.0), 1: measured(1, gain=0.0016, gap=0.0018)}
    spec = replace(SPEC, power=4.0, weight_unit=1e-7)
    verdict = score_round(items, ALONE, {0: 0, 1: 1}, ScoreHistory(), {0: 9}, spec).verdicts[1]
    assert (verdict.code, verdict.weight_value) == ("paid", 2)


def test_a_lane_holds_the_most_that_any_run_can_pay() -> None:
    smallest_unit, most_power, least_probability = 1e-9, 4.0, 1 / 16
    assert MOST_SHARE**most_power / least_probability / smallest_unit < minifloat.MAX_VALUE
    assert replace(SPEC, power=most_power, weight_unit=smallest_unit)
    for beyond in ({"power": 4.1}, {"weight_unit": 0.9e-9}):
        with pytest.raises(RefusedError):
            replace(SPEC, **beyond)


def test_a_copy_pair_earns_what_one_honest_trainer_earns() -> None:
    scores = score(measured(0), measured(1), measured(2), measured(3, gap=0.0), clusters=alike(2, 3))
    assert [scores.verdicts[slot].code for slot in range(4)] == ["paid", "paid", "paid", "duplicate"]
    weights = paid_weights(scores)
    assert weights.get(2, 0) + weights.get(3, 0) == weights[0]
    assert scores.verdicts[3].weight_value == 1
    assert scores.verdicts[2].cluster == scores.verdicts[3].cluster == 0
    assert scores.verdicts[0].cluster is None


@pytest.mark.parametrize("copies", [2, 5, 20])
def test_twenty_copies_earn_what_one_honest_trainer_earns(copies: int) -> None:
    items = [measured(0), measured(1), *(measured(2 + number) for number in range(copies))]
    weights = paid_weights(score(*items, clusters=alike(*range(2, 2 + copies))))
    assert set(weights) == {0, 1, 2}
    assert weights[2] == weights[0]


def test_a_copy_on_other_data_earns_0_though_similarity_missed_it() -> None:
    scores = score(measured(0), measured(1), measured(2), measured(3, gap=0.0005))
    assert (scores.verdicts[3].code, scores.verdicts[3].weight_value) == ("low-gap", 0)


def test_one_machine_behind_two_identities_earns_less_than_a_third_of_an_honest_machine() -> None:
    # Half the work on each assignment: half the gap each, and the score falls as compute^0.6.
    half = 0.01 * 0.5**0.6
    scores = score(*(measured(slot) for slot in range(4)), *(measured(4 + n, gain=half, gap=0.003) for n in range(2)))
    weights = paid_weights(scores)
    assert (weights[4] + weights[5]) / weights[0] == pytest.approx(0.299, abs=0.01)


def test_noise_earns_0_and_is_not_applied() -> None:
    honest = [measured(slot) for slot in range(4)]
    harmful = score(*honest, measured(4, gain=-0.002, gap=0.0)).verdicts[4]
    assert (harmful.code, harmful.weight_value) == ("negative-score", 0)
    harmless = score(*honest, measured(4, gain=0.0003, gap=0.0)).verdicts[4]
    assert (harmless.code, harmless.weight_value) == ("not-significant", 0)
    lucky = score(*honest, measured(4, gain=0.002, gap=0.0)).verdicts[4]
    assert (lucky.code, lucky.weight_value) == ("low-gap", 0)
    slightly_negative = score(*honest, measured(4, gain=-0.0003, gap=0.0)).verdicts[4]
    assert (slightly_negative.code, slightly_negative.weight_value) == ("negative-score", 0)


def test_bad_luck_of_somebody_with_a_clear_gap_is_admissible_and_unpaid() -> None:
    verdict = score(*(measured(slot) for slot in range(4)), measured(4, gain=0.0003)).verdicts[4]
    assert (verdict.code, verdict.weight_value) == ("not-significant", 1)


def test_one_harmful_round_after_ten_good_ones_earns_0() -> None:
    history = ScoreHistory().with_standings({0: with_a_name()})
    verdict = score(measured(0, gain=-0.0016), measured(1), measured(2), history=history).verdicts[0]
    assert verdict.score is not None and verdict.score > 0
    assert (verdict.code, verdict.weight_value) == ("negative-score", 0)


def test_one_noisy_round_after_ten_good_ones_is_still_paid() -> None:
    history = ScoreHistory().with_standings({0: with_a_name()})
    items = (measured(0, gain=-0.0005), measured(1), measured(2))
    assert score(*items, history=history).verdicts[0].code == "paid"


def test_merit_of_rounds_in_which_all_gained_much_is_worth_no_more_in_later_ones() -> None:
    consensus, history = dict.fromkeys(range(3), 1000), ScoreHistory()
    for gain in (0.1, 0.01, 0.01, 0.01):
        there = (0, 1, 2) if gain == 0.01 else range(4)
        history = score(*(measured(slot, gain) for slot in there), history=history, consensus=consensus).history
    items = [measured(slot) for slot in range(5)]  # one was away since the first round, one has just come
    verdicts = score(*items, history=history, consensus=consensus).verdicts
    scores = [verdicts[slot].score for slot in (0, 3, 4)]
    assert scores == pytest.approx([0.0227, 0.0514, 0.01], abs=1e-4)
    assert {verdicts[slot].weight_value for slot in range(5)} == {10**8}


def played(
    gains: Callable[[int], dict[int, float]], *, falls_by: float = 0.7, rounds: int = 20, honest: int = 9
) -> list[dict[int, float]]:
    """Return each round's pay by slot over the honest mean; slots from `honest` on gain as `gains` says."""
    history, consensus, pay = ScoreHistory(), {}, []
    draws = iter(NormalDist().samples(rounds * 2 * (honest + 3), seed=1))
    for number in range(rounds):
        usual = max(0.3 * falls_by**number, 0.004)
        error = 0.05 * usual
        told = dict.fromkeys(range(honest), 1.0) | gains(number)
        items = [measured(slot, share * usual + error * next(draws), se=error) for slot, share in told.items()]
        scores = score(*items, history=history, consensus=consensus)
        history, consensus = scores.history, paid_weights(scores)
        mean = sum(consensus.get(slot, 0) for slot in range(honest)) / honest
        pay.append({slot: consensus.get(slot, 0) / mean for slot in told})
    return pay


def mean_pay(pay: list[dict[int, float]], slot: int, first: int) -> float:
    return sum(item[slot] for item in pay[first:]) / len(pay[first:])


@pytest.mark.parametrize(("falls_by", "slack_pay", "later"), [(0.7, 0.51, 0.45), (0.8, 0.41, 0.34), (0.9, 0.34, 0.27)])
def test_what_merit_of_the_first_three_rounds_is_worth_where_only_gains_tell(
    falls_by: float, slack_pay: float, later: float
) -> None:
    slack = played(lambda number: {9: 1.0 if number < 3 else 0.6}, falls_by=falls_by)
    always = played(lambda _: {9: 0.6}, falls_by=falls_by)
    assert mean_pay(always, 9, 3) == pytest.approx(0.21, abs=0.02)
    assert (mean_pay(slack, 9, 3), mean_pay(slack, 9, 12)) == pytest.approx((slack_pay, later), abs=0.02)


@pytest.mark.parametrize(("falls_by", "pay", "later"), [(0.7, 0.48, 0.55), (0.8, 0.63, 0.72), (0.9, 0.76, 0.88)])
def test_what_a_first_round_without_any_gain_costs_honest_work_later(falls_by: float, pay: float, later: float) -> None:
    unlucky = played(lambda number: {9: float(number > 0)}, falls_by=falls_by)
    assert (mean_pay(unlucky, 9, 3), mean_pay(unlucky, 9, 12)) == pytest.approx((pay, later), abs=0.02)


@pytest.mark.parametrize(("errors", "pay"), [(1.0, 0.0), (0.5, 0.06), (0.3, 0.37)])
def test_what_three_of_ten_are_paid_for_small_harm_in_late_rounds(errors: float, pay: float) -> None:
    history, consensus, harmful, honest = ScoreHistory(), {}, 0.0, 0.0
    draws = iter(NormalDist().samples(60 * 20, seed=2))
    for number in range(60):
        items = []
        for slot in range(10):
            gain, gap = (errors, errors) if slot < 7 else (-errors, 0.0)
            gain, gap = gain + next(draws), gap + next(draws)
            items.append(Measurement(slot, gain, 1.0, gain + gap, 1.0, adjusted=(gap, 1.0)))
        scores = score(*items, history=history, consensus=consensus)
        history, consensus = scores.history, paid_weights(scores)
        if number >= 10 and consensus:
            harmful += sum(consensus.get(slot, 0) for slot in range(7, 10)) / 3 / sum(consensus.values())
            honest += sum(consensus.get(slot, 0) for slot in range(7)) / 7 / sum(consensus.values())
    assert harmful / honest == pytest.approx(pay, abs=0.05)


def test_whoever_gained_four_times_as_much_beside_one_other_trainer_is_paid_as_others_are_later() -> None:
    history, consensus = ScoreHistory(), {}
    for number in range(6):
        usual, others, times = 0.3 * 0.7**number, range(9 if number else 1), 1.0 if number else 4.0
        items = [*(measured(slot, usual, se=0.001) for slot in others), measured(9, times * usual, se=0.001)]
        scores = score(*items, history=history, consensus=consensus)
        history, consensus = scores.history, paid_weights(scores)
    assert consensus[9] / consensus[0] == pytest.approx(1.08, abs=0.02)


def test_whoever_sends_next_to_nothing_takes_no_pay_from_the_only_other_trainer() -> None:
    history, consensus, idle = ScoreHistory(), {}, 0
    for _ in range(5):
        scores = score(measured(0), measured(1, gain=1e-9, gap=0.0, se=1e-9), history=history, consensus=consensus)
        history, consensus = scores.history, paid_weights(scores)
        assert scores.verdicts[0].code == "paid"
        idle += consensus.get(1, 0)
    assert idle < 0.02 * 5 * consensus[0]


@pytest.mark.parametrize("usual", [1e-4, 0.0, -1e-4])
def test_honest_work_is_paid_where_nothing_is_left_to_gain(usual: float) -> None:
    error, history, codes = 0.001, ScoreHistory(), []
    draws = iter(NormalDist().samples(40 * 10, seed=3))
    for _ in range(40):
        items = [measured(slot, usual + error * next(draws), se=error) for slot in range(10)]
        scores = score(*items, history=history, consensus=dict.fromkeys(range(10), 10**8))
        history = scores.history
        codes += [(verdict.code, (verdict.score or 0.0) < 0) for verdict in scores.verdicts.values()]
    assert codes.count(("paid", True)) > 50, "scores below zero are within the doubt"
    assert sum(code == "paid" for code, _ in codes) >= 396


def test_honest_work_is_paid_alike_where_there_is_hardly_anything_to_gain() -> None:
    usual, error, random = 0.0005, 0.0005, NormalDist()
    history, pay, codes = ScoreHistory(), [0] * 10, []
    draws = iter(random.samples(40 * 10, seed=3))
    for _ in range(40):
        items = [measured(slot, usual + error * next(draws), se=error) for slot in range(10)]
        scores = score(*items, history=history, consensus=dict.fromkeys(range(10), 1000))
        history = scores.history
        codes += [verdict.code for verdict in scores.verdicts.values()]
        whole = sum(verdict.weight_value for verdict in scores.verdicts.values())
        pay = [have + scores.verdicts[slot].weight_value / whole / 4 for slot, have in enumerate(pay)]
    assert codes.count("paid") >= 399
    assert min(pay) > 0.7 and max(pay) < 1.3


def test_a_copier_with_a_past_of_large_gaps_is_no_original() -> None:
    consensus, history = dict.fromkeys(range(4), 1000), ScoreHistory()
    for _ in range(2):
        items = [measured(slot, gap=0.06) for slot in (0, 1, 2, 4)]
        history = score(*items, history=history, consensus=consensus).history
    items = [*(measured(slot) for slot in range(4)), measured(4, gap=0.0)]  # 3 is new, 4 sends what 3 has sent
    verdicts = score(*items, clusters=alike(3, 4), history=history, consensus=consensus).verdicts
    assert verdicts[4].gap_mean is not None and verdicts[3].gap_mean is not None
    assert verdicts[4].gap_mean > 5 * verdicts[3].gap_mean
    assert [verdicts[slot].code for slot in (3, 4)] == ["paid", "duplicate"]


def test_idle_rounds_on_old_merit_earn_0() -> None:
    history = ScoreHistory().with_standings({slot: with_a_name() for slot in range(3)})
    idle = Measurement(2, 0.0, 0.0, 0.0, 0.0)
    scores = score(measured(0), measured(1), idle, history=history)
    assert (scores.verdicts[2].code, scores.verdicts[2].weight_value) == ("low-gap", 0)


def test_balance_below_its_floor_excludes() -> None:
    history = ScoreHistory().with_standings({0: with_a_name(balance=-0.5)})
    verdict = score(measured(0, gap=0.0001), measured(1), history=history).verdicts[0]
    assert (verdict.code, verdict.weight_value) == ("low-balance", 0)


def test_a_copier_is_excluded_after_three_rounds_of_gaps_two_errors_below_zero() -> None:
    history, codes = ScoreHistory(), []
    for _ in range(3):
        gap = -2.0 * math.hypot(0.0005, 0.0005)
        scores = score(measured(0, gap=gap), measured(1), measured(2), history=history)
        history = scores.history
        codes.append(scores.verdicts[0].code)
    assert codes == ["low-gap", "low-balance", "low-balance"]


def test_first_round_without_a_clear_gap_pays_by_score_alone() -> None:
    items = [measured(slot, gain=0.18, gap=gap, se=0.003) for slot, gap in enumerate((0.001, -0.004, 0.002, -0.002))]
    scores = score(*items)
    assert not scores.reference.usual.clear
    assert {verdict.code for verdict in scores.verdicts.values()} == {"paid"}
    assert len(set(paid_weights(scores).values())) == 1


def test_fifty_newcomers_with_giant_gaps_take_nothing_from_the_gap_factor_of_the_paid() -> None:
    paid = [measured(slot) for slot in range(3)]
    crowd = [measured(3 + slot, gain=0.001, gap=0.5) for slot in range(50)]
    scores = score(*paid, *crowd, consensus={0: 10**6, 1: 10**6, 2: 10**6})
    assert [scores.verdicts[slot].gap_factor for slot in range(3)] == [1.0, 1.0, 1.0]
    unweighted = score(*paid, *crowd)
    assert unweighted.verdicts[0].gap_factor == 0.0


def test_means_are_held_against_what_was_usual_in_the_same_rounds_and_no_gap_counts_for_much_more() -> None:
    consensus, history, decay = dict.fromkeys(range(3), 1000), ScoreHistory(), SPEC.history_decay
    for usual in (0.02, 0.01):
        items = [*(measured(slot, gap=usual) for slot in range(3)), measured(3, gap=10 * usual)]
        items += [measured(4, gap=usual)] if usual == 0.01 else []
        scores = score(*items, history=history, consensus=consensus)
        history = scores.history
    mean = (decay * 0.02 + 0.01) / (decay + 1)
    verdicts = scores.verdicts
    assert [verdicts[slot].gap_usual for slot in (0, 3, 4)] == pytest.approx([mean, mean, 0.01])
    assert [verdicts[slot].gap_mean for slot in (0, 3, 4)] == pytest.approx([mean, 1.25 * mean, 0.01])
    assert [verdicts[slot].gap_factor for slot in (0, 3, 4)] == pytest.approx([1.0, 1.0, 1.0])


def test_a_round_in_which_nothing_is_usual_enters_no_history() -> None:
    clusters = Clusters(stale=(Stale(0, 0, 0.9, 0.9), Stale(1, 1, 0.9, 0.9)))
    scores = score(measured(0, gap=1.0), measured(1, gap=1.0), clusters=clusters)
    assert not any(standing.rounds_sum for standing in scores.history.standings.values())


def test_everybody_without_a_measurement_has_a_verdict_too() -> None:
    scores = score_round(
        {1: measured(1), 2: Measurement(2, math.nan, 0.0, 0.0, 0.0)},
        alike(1, 3),
        {0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
        ScoreHistory(),
        {},
        SPEC,
        refused={3: "blob-truncated"},
        unavailable={4},
        unmeasured={5},
    )
    found = {slot: (verdict.code, verdict.weight_value) for slot, verdict in scores.verdicts.items()}
    assert found == {
        0: ("not-revealed", 0),
        1: ("paid", found[1][1]),
        2: ("not-finite", 0),
        3: ("blob-truncated", 0),
        4: ("unavailable", 0),
        5: ("unmeasured", 0),
    }
    assert set(scores.history.standings) == {1}
    assert scores.verdicts[0].score is None
    assert all(verdict.reason for verdict in scores.verdicts.values())


def test_an_unmeasured_round_leaves_the_history_alone() -> None:
    history = ScoreHistory().with_standings({0: with_a_name(balance=0.4)})
    scores = score_round({}, ALONE, {0: 0}, history, {}, SPEC, unavailable={0})
    assert scores.history == history


def _doubt(verdict: Verdict) -> float:
    return UsualGain(verdict.score_usual, verdict.score_usual_se or 0.0).doubt


FIGURE = st.floats(-0.1, 0.1, allow_nan=False)
ERROR = st.floats(0.0, 0.05, allow_nan=False)


@given(
    st.lists(st.tuples(FIGURE, FIGURE, ERROR, ERROR), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.lists(st.integers(0, 10**6), min_size=8, max_size=8),
    st.lists(st.builds(Standing, FIGURE, ERROR, st.floats(0.5, 3.0), st.floats(-1, 1)), max_size=8),
)
def test_rules_that_hold_for_every_round(
    figures: list[tuple[float, float, float, float]],
    similar: set[int],
    consensus: list[int],
    standings: list[Standing],
) -> None:
    items = [Measurement(slot, gain, se, own, own_se) for slot, (gain, own, se, own_se) in enumerate(figures)]
    clusters = alike(*(slot for slot in similar if slot < len(items)))
    history = ScoreHistory().with_standings(dict(enumerate(standings)))
    scores = score(*items, clusters=clusters, history=history, consensus=dict(enumerate(consensus)))
    assert set(scores.verdicts) == {item.slot for item in items}
    for item in items:
        verdict = scores.verdicts[item.slot]
        assert verdict.code in reasons.REASONS
        assert 0 <= verdict.weight_value <= minifloat.MAX_VALUE
        assert (verdict.weight_value >= 2) == (verdict.code == reasons.PAID)
        assert verdict.score is not None and verdict.gap_factor is not None and 0 <= verdict.gap_factor <= 1
        if item.random_gain < scores.reference.harm - 3 * item.random_se or verdict.score < -_doubt(verdict):
            assert verdict.weight_value == 0
    paid = {slot for slot, verdict in scores.verdicts.items() if verdict.weight_value >= 2}
    assert len(paid & similar) <= 1


@given(st.permutations(range(5)))
def test_weights_do_not_depend_on_the_order_of_the_measurements(order: list[int]) -> None:
    items = {slot: measured(slot, gain=0.01 + 0.001 * slot, gap=0.004 + 0.001 * slot) for slot in range(5)}
    again = {slot: items[slot] for slot in order}
    ranks = {slot: slot for slot in order}
    first = score_round(items, ALONE, dict(enumerate(range(5))), ScoreHistory(), {}, SPEC)
    assert score_round(again, ALONE, ranks, ScoreHistory(), {}, SPEC) == first


def test_power_and_z_come_from_the_manifest() -> None:
    items, order = {0: measured(0), 1: measured(1), 2: measured(2, gain=0.002)}, {slot: slot for slot in range(3)}
    verdicts = [
        score_round(items, ALONE, order, ScoreHistory(), {}, replace(SPEC, power=power, z=z, weight_unit=1e-9)).verdicts
        for power, z in ((1.0, 3.9), (2.0, 3.9), (1.0, 4.1))
    ]
    learned = 0.3**2 / (0.3**2 + 0.05**2)
    share = 1 - 0.8 * learned
    assert [each[2].weight_value for each in verdicts[:2]] == [round(share * 1e9), round(share**2 * 1e9)]
    assert verdicts[2][2].code == "not-significant"


def test_a_round_that_is_bad_for_all_changes_nobodys_history() -> None:
    known = ScoreHistory({slot: with_a_name(balance=0.5) for slot in range(4)})
    order, consensus = {slot: slot for slot in range(4)}, dict.fromkeys(range(4), 1000)
    good = {slot: measured(slot) for slot in range(4)}
    harmful = {slot: measured(slot, gain=-0.01, gap=-0.01) for slot in range(4)}
    for items, same in ((good, False), (harmful, True), ({**good, 3: harmful[3]}, False)):
        after = score_round(items, Clusters(), order, known, consensus, SPEC).history
        assert (after.standings == known.standings) is same
    assert after.of(3).balance < known.of(3).balance


def test_the_measured_of_a_sample_are_paid_for_those_that_were_not() -> None:
    order = {slot: slot for slot in range(6)}
    items = {slot: measured(slot) for slot in range(3)}
    whole, sampled = (
        score_round(items, Clusters(), order, ScoreHistory(), {}, SPEC, unmeasured={3, 4, 5}, shares=shares).verdicts
        for shares in (None, {0: 0.5, 1: 0.25, 2: 1.0})
    )
    for slot in range(3):
        assert abs(sampled[slot].weight_value - (2, 4, 1)[slot] * whole[slot].weight_value) <= 2
    assert {sampled[slot].code for slot in (3, 4, 5)} == {"unmeasured"}


def test_a_stale_contribution_is_refused_and_no_reference() -> None:
    clusters = Clusters(stale=(Stale(1, 0, 0.9, 0.9),))
    items = {slot: measured(slot, gap=0.02 if slot == 1 else 0.006) for slot in range(4)}
    scores = score_round(items, clusters, {slot: slot for slot in range(4)}, ScoreHistory(), {1: 10**9}, SPEC)
    assert (scores.verdicts[1].code, scores.verdicts[1].weight_value) == ("stale", 0)
    assert scores.reference.usual.value == pytest.approx(0.006)
    assert scores.verdicts[0].code == "paid"
