from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.scoring.history import HistoryRecord, ScoreHistory, Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.usual_gain import UsualGain
from emerit.scoring.usual_gap import UsualGap
from tests.unit.scoring.builders import SPEC, measured

FIGURE = st.floats(-10, 10, allow_nan=False)
ERROR = st.floats(0, 10, allow_nan=False)
ROUNDS = st.just(0.0) | st.floats(1, 10, allow_nan=False)
STANDINGS = st.builds(
    Standing, gain_sum=FIGURE, variance_sum=ERROR, rounds_sum=ROUNDS, balance=st.floats(-1, 1, allow_nan=False)
)


def test_an_unmeasured_trainer_starts_at_zero() -> None:
    empty = ScoreHistory().of(7)
    assert (empty.score, empty.score_se, empty.balance) == (0.0, 0.0, 0.0)


def test_score_is_the_discounted_mean_and_its_error() -> None:
    spec = replace(SPEC, history_decay=0.5)
    standing = Standing()
    for gain, error in ((0.4, 0.04), (0.2, 0.02), (0.1, 0.01)):
        standing = standing.after(measured(0, gain=gain, se=error), spec)
    assert standing.score == pytest.approx((0.25 * 0.4 + 0.5 * 0.2 + 0.1) / 1.75)
    assert standing.score_se == pytest.approx(math.sqrt((0.25 * 0.04) ** 2 + (0.5 * 0.02) ** 2 + 0.01**2) / 1.75)


@given(rounds=st.integers(1, 40), decay=st.sampled_from((0.0, 0.5, 0.7, 0.95, 1.0)))
def test_what_was_usual_is_remembered_as_gains_and_gaps_are(rounds: int, decay: float) -> None:
    spec, standing = replace(SPEC, history_decay=decay), Standing()
    assert (standing.usual_gain, standing.usual_gap) == (UsualGain(), UsualGap())
    for number in range(rounds):
        gain = gap = 0.01 / (1 + number)
        item = Measurement(0, gain, 0.003, gain + gap, 0.004)
        standing = standing.after(item, spec, gain=UsualGain(gain, 0.003), gap=UsualGap(gap, 0.005))
    assert standing.usual_gain.value == pytest.approx(standing.score)
    assert standing.usual_gain.error == pytest.approx(standing.score_se)
    assert standing.gap_above_usual == pytest.approx(0.0, abs=1e-15)
    assert standing.usual_gap.value == pytest.approx(standing.gap)
    assert standing.usual_gap.error == pytest.approx(standing.gap_se)


def test_twenty_equal_rounds_shrink_the_error_and_keep_the_score() -> None:
    standing = Standing()
    for _ in range(20):
        standing = standing.after(measured(0, gain=0.01, se=0.005), SPEC)
    assert standing.score == pytest.approx(0.01)
    assert standing.score_se == pytest.approx(0.005 * math.sqrt(0.15 / 1.85) * 1.04, rel=1e-2)


@pytest.mark.parametrize(("z", "share"), [(1.5, 0.5), (30.0, 1.0), (-1.5, -0.5), (-30.0, -1.0), (0.0, 0.0)])
def test_balance_moves_by_its_rate_towards_a_third_of_z(z: float, share: float) -> None:
    item = measured(0, gap=z * math.sqrt(2) * 0.001, se=0.001)
    assert Standing(balance=0.4).after(item, SPEC).balance == pytest.approx(0.7 * 0.4 + 0.3 * share)


def test_an_update_that_changes_nothing_has_neither_gap_nor_balance() -> None:
    item = measured(0, gain=0.0, gap=0.0, se=0.0)
    assert item.gap_z == 0.0
    assert Standing().after(item, SPEC).balance == 0.0


@given(st.lists(st.tuples(FIGURE, FIGURE, ERROR), max_size=30))
def test_balance_stays_in_range_and_errors_stay_real(rounds: list[tuple[float, float, float]]) -> None:
    standing = Standing()
    for gain, gap, error in rounds:
        standing = standing.after(measured(0, gain=gain, gap=gap, se=error), SPEC)
    assert -1 <= standing.balance <= 1
    assert standing.score_se >= 0


@given(st.dictionaries(st.integers(0, 255), STANDINGS, max_size=5))
def test_history_survives_json_to_the_last_bit(standings: dict[int, Standing]) -> None:
    history = ScoreHistory().with_standings(standings)
    text = json.dumps(history.to_dict(), allow_nan=False)
    assert ScoreHistory.from_dict(json.loads(text)) == history


def test_history_is_not_changed_by_a_new_round() -> None:
    old = ScoreHistory().with_standings({1: Standing(balance=0.5)})
    new = old.with_standings({2: Standing()})
    assert set(old.standings) == {1} and set(new.standings) == {1, 2}


ENTRY = asdict(Standing(gain_sum=0.1, variance_sum=0.1, rounds_sum=1.0))


def test_the_entry_that_is_spoilt_below_is_read() -> None:
    assert ScoreHistory.from_dict({"version": 4, "trainers": {"1": ENTRY}}).of(1).rounds_sum == 1.0


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"version": 4},
        {"version": 3, "trainers": {}},
        {"version": 4, "trainers": {}, "more": 1},
        {"version": 4, "trainers": []},
        {"version": 4, "trainers": {"x": ENTRY}},
        {"version": 4, "trainers": {"-1": ENTRY}},
        {"version": 4, "trainers": {"01": ENTRY}},
        {"version": 4, "trainers": {"1": {**ENTRY, "more": 1.0}}},
        {"version": 4, "trainers": {"1": {"balance": 0.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "balance": "0"}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "balance": True}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "balance": 1.5}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "gain_sum": math.nan}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "gain_sum": math.inf}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "variance_sum": -1.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "gap_variance_sum": -1.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "usual_gain_variance_sum": -1.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "usual_gap_variance_sum": -1.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "rounds_sum": -1.0}}},
        {"version": 4, "trainers": {"1": {**ENTRY, "rounds_sum": 0.5}}},
        {"version": 4, "trainers": {"1": 3}},
    ],
)
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(StateError) as caught:
        ScoreHistory.from_dict(data)
    assert caught.value.code == "history-corrupt"


def test_a_round_that_is_scored_again_starts_from_the_history_before_it() -> None:
    record = HistoryRecord()
    for number in (4, 5):
        scored = record.of_rounds_before(number).with_standings({0: Standing(rounds_sum=float(number))})
        record = record.with_round(number, scored)
    assert record.of_rounds_before(6).of(0).rounds_sum == 5.0
    assert record.of_rounds_before(5).of(0).rounds_sum == 4.0
    again = record.with_round(5, record.of_rounds_before(5).with_standings({1: Standing(rounds_sum=5.0)}))
    assert again.of_rounds_before(5) == record.of_rounds_before(5)
    assert again.after.of(0).rounds_sum == 4.0 and again.after.of(1).rounds_sum == 5.0
    assert HistoryRecord.from_dict(json.loads(json.dumps(again.to_dict()))) == again


@pytest.mark.parametrize("data", [None, {}, {"round": "1", "before": {}, "after": {}}, {"version": 4, "trainers": {}}])
def test_a_record_of_another_form_is_named(data: object) -> None:
    with pytest.raises(StateError, match="history-corrupt"):
        HistoryRecord.from_dict(data)
