"""Which differences of a replay are too much, and why those that are not cannot move the consensus."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol.median import lower_weighted_median
from emerit.protocol.minifloat import ABSTAIN
from emerit.scoring.agreement import (
    ABSTAINED,
    DIFFERS,
    LEAST_NATS,
    SAME,
    WITHIN,
    Difference,
    compare_lanes,
    evidence_differences,
    figure_differences,
    gain_tolerance,
)
from emerit.scoring.basis import Basis
from emerit.scoring.measurement import Measurement

ITEM = Measurement(3, 0.01, 0.002, 0.02, 0.004)
BASIS = Basis(3.5, 0.0, {3: ITEM})


def found(theirs: Basis, ours: Basis = BASIS) -> dict[str, bool]:
    """What differs, and whether it is beyond the tolerance."""
    return {item.what: item.beyond for item in figure_differences(theirs, ours, {}, {})}


def with_gain(gain: float) -> Basis:
    return replace(BASIS, measured={3: replace(ITEM, random_gain=gain)})


@given(st.floats(-1, 1))
def test_a_gain_may_differ_by_a_tenth_of_its_error(off: float) -> None:
    gain = ITEM.random_gain + off * 0.001
    differs = abs(gain - ITEM.random_gain)
    assert found(with_gain(gain)) == ({"s": differs > 0.1 * ITEM.random_se} if differs else {})


def test_the_tolerance_is_of_the_replays_error_and_has_a_floor() -> None:
    wide = replace(BASIS, measured={3: replace(ITEM, random_gain=0.02, random_se=1.0)})
    assert found(wide) == {"s": True, "se": True}, "whoever claims a large error gains nothing"
    assert (
        gain_tolerance(replace(ITEM, random_se=0.0)) == gain_tolerance(replace(ITEM, random_se=math.nan)) == LEAST_NATS
    )


def test_the_reserved_lanes_may_differ_by_a_hundred_thousandth_of_the_loss() -> None:
    assert found(replace(BASIS, base_loss=3.50003, health=3e-5)) == {"base loss": False, "health": False}
    assert found(replace(BASIS, base_loss=3.50004, health=4e-5)) == {"base loss": True, "health": True}
    assert found(replace(BASIS, health=None)) == {}, "who does not know it abstains"


def test_a_destroyed_model_has_no_loss_on_any_machine() -> None:
    destroyed = replace(BASIS, measured={3: replace(ITEM, random_gain=math.nan)})
    assert found(destroyed, with_gain(-math.inf)) == {}
    assert found(destroyed) == {"s": True} and found(BASIS, destroyed) == {"s": True}


def test_what_the_gradient_says_is_measured_too() -> None:
    differences = list(figure_differences(BASIS, BASIS, {3: 0.01, 5: 1.0}, {3: 0.0103, 5: 2.0}))
    assert [(item.lane, item.what, item.beyond) for item in differences] == [(5, "first order", True)]


def test_each_lane_gets_one_verdict() -> None:
    revealed, derived, replayed = (7, 8, 9, ABSTAIN, 10, 11), (7, 8, 9, ABSTAIN, 12, 11), (7, 9, 9, 5, 10, 11)
    wrong = Difference(5, "s", "1", "2", 1.0, 0.5)
    fine = Difference(1, "health", "1", "2", 0.1, 0.5)
    lanes, broken = compare_lanes(revealed, derived, replayed, [wrong, fine])
    assert [lane.verdict for lane in lanes] == [SAME, WITHIN, SAME, ABSTAINED, DIFFERS, DIFFERS]
    assert [(item.lane, item.have, item.want, item.beyond) for item in broken] == [(4, "10", "12", True)]
    assert lanes[4].as_dict()["slot"] == 2 and lanes[1].as_dict()["slot"] is None


def test_evidence_must_follow_from_its_figures_but_for_rounding_of_likenesses() -> None:
    record = {
        "round": 4,
        "similarity": {"overlap": {"limit": 0.5}},
        "trainers": {"3": {"flags": ["copy"], "first_order": 0.5, "weight": 7}},
    }

    def paths(**changes: object) -> list[str]:
        return [item.what for item in evidence_differences(record | changes, record)]

    assert paths() == paths(similarity={"overlap": {"limit": 0.5000005}}) == []
    assert paths(similarity={"overlap": {"limit": 0.51}}) == ["similarity.overlap.limit"]
    view = {"flags": ["copy", "first-order"], "first_order": -0.5, "weight": 7}
    assert paths(trainers={"3": view}) == [], "first order is held against its own tolerance"
    assert paths(trainers={"3": view | {"weight": 8}}) == ["trainers.3.weight"]
    assert paths(trainers={"3": view | {"flags": []}}) == ["trainers.3.flags"]
    assert paths(trainers={}) == ["trainers.3"] and paths(round=True, more=1) == ["more", "round"]


@pytest.mark.parametrize("honest_stake", [6, 8, 11])
@given(data=st.data())
def test_the_median_absorbs_what_is_within_the_tolerance(honest_stake: int, data: st.DataObject) -> None:
    """With more than half of the stake within the tolerance of the truth, so is the median, whatever the rest says."""
    truth, tolerance = 1_000_000, data.draw(st.integers(0, 1000))
    near = st.integers(truth - tolerance, truth + tolerance)
    honest = data.draw(st.lists(near, min_size=honest_stake, max_size=honest_stake))
    others = data.draw(st.lists(st.integers(0, 2_000_000), min_size=11 - honest_stake, max_size=11 - honest_stake))
    assert abs(lower_weighted_median([*honest, *others], [1] * 11) - truth) <= tolerance
