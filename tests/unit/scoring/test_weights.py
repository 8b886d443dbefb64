from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol import minifloat
from emerit.scoring import reasons
from emerit.scoring.clusters import Clusters, Pair, Stale, Threshold, connect
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.usual_gain import UsualGain
from emerit.scoring.weights import RoundScores, Verdict, score_round
from tests.unit.scoring.builders import SPEC, measured

ALONE = Clusters()


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


def test_pay_is_at_least_2_units_and_at_most_what_a_lane_can_hold() -> None:
    small, huge = (
        score_round(
            {0: measured(0, gain=1.0), 1: measured(1, gain=gain, gap=gap)},
            ALONE,
            {0: 0, 1: 1},
            ScoreHistory(),
            {0: 9},
            replace(SPEC, power=4.0),
            shares={1: probability},
        ).verdicts[1]
        for gain, gap, probability in ((0.0016, 0.0018, 1.0), (1e6, 1.0, 0.1))
    )
    assert (small.code, small.weight_value) == ("paid", 2)
    assert (huge.code, huge.weight_value) == ("paid", minifloat.MAX_VALUE)


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
    history = ScoreHistory().with_standings({0: Standing(0.03, 1e-6, 3.0, 1.0)})
    verdict = score(measured(0, gain=-0.0016), measured(1), history=history).verdicts[0]
    assert verdict.score is not None and verdict.score > 0
    assert (verdict.code, verdict.weight_value) == ("negative-score", 0)


def test_one_noisy_round_after_ten_good_ones_is_still_paid() -> None:
    history = ScoreHistory().with_standings({0: Standing(0.03, 1e-6, 3.0, 1.0)})
    assert score(measured(0, gain=-0.0005), measured(1), history=history).verdicts[0].code == "paid"


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
    history = ScoreHistory().with_standings({slot: Standing(0.03, 1e-6, 3.0, 1.0) for slot in range(3)})
    idle = Measurement(2, 0.0, 0.0, 0.0, 0.0)
    scores = score(measured(0), measured(1), idle, history=history)
    assert (scores.verdicts[2].code, scores.verdicts[2].weight_value) == ("low-gap", 0)


def test_balance_below_its_floor_excludes() -> None:
    history = ScoreHistory().with_standings({0: Standing(0.03, 1e-6, 3.0, -0.5)})
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
    history = ScoreHistory().with_standings({0: Standing(0.03, 1e-6, 3.0, 0.4)})
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
    known = ScoreHistory({slot: Standing(0.02, 1e-8, 2.0, 0.5) for slot in range(4)})
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
