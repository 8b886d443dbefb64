from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.scoring.clusters import Clusters, Pair, Threshold, connect
from emerit.scoring.gap import GapReference
from emerit.scoring.history import ScoreHistory
from emerit.scoring.measurement import Measurement
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import Verdict, score_round
from tests.unit.scoring.builders import SPEC, measured

VERDICTS = {0: Verdict(0, "paid", 90_250_000), 2: Verdict(2, "duplicate", 1), 3: Verdict(3, "unavailable")}


def test_vector_has_base_loss_health_and_a_lane_for_each_trainer() -> None:
    vector = weight_vector(5, VERDICTS, 2.5, 0.001, {3}, SPEC)
    assert len(vector) == 7
    assert minifloat.decode(vector[0]) == pytest.approx(2.5 / SPEC.loss_unit, rel=2**-12)
    assert minifloat.decode(vector[1]) == pytest.approx(10_000, rel=2**-12)
    assert minifloat.decode(vector[2]) == pytest.approx(90_250_000, rel=2**-12)
    assert vector[3:] == (0, 1, minifloat.ABSTAIN, 0)


def test_a_health_that_is_not_known_is_an_abstention() -> None:
    vector = weight_vector(1, {}, 2.5, None, (), SPEC)
    assert vector[1] == minifloat.ABSTAIN and minifloat.ABSTAIN not in (vector[0], vector[2])


@pytest.mark.parametrize("loss", [math.nan, math.inf, -0.1])
def test_a_loss_that_is_no_loss_is_refused(loss: float) -> None:
    for base, health in ((loss, 0.0), (2.0, loss)):
        with pytest.raises(StateError) as caught:
            weight_vector(1, {}, base, health, (), SPEC)
        assert caught.value.code == "loss-out-of-range"


def explained() -> dict[str, object]:
    measurements = {
        0: measured(0),
        1: measured(1),
        2: measured(2, gap=0.0),
        4: Measurement(4, math.nan, math.inf, 0.0, 0.0),
    }
    limit = Threshold(0.3, 0.01, 0.5)
    clusters = connect([Pair(1, 2, 0.81, 0.8, "copy")], limit, limit)
    scores = score_round(measurements, clusters, dict.fromkeys(range(5), 0), ScoreHistory(), {}, SPEC, unavailable={3})
    return evidence(
        round_number=7,
        eval_seed=bytes(range(32)),
        base_loss=2.123456789123,
        health=0.0,
        measurements=measurements,
        verdicts=scores.verdicts,
        clusters=clusters,
        cids={0: "bafy0", 1: "bafy1", 2: "bafy2", 3: "bafy3"},
        reference=scores.reference,
    )


def test_evidence_says_for_each_trainer_what_was_measured_and_why() -> None:
    record = json.loads(evidence_bytes(explained()))
    assert record["round"] == 7 and record["seed"] == bytes(range(32)).hex()
    assert record["base_loss"] == 2.123456789
    assert record["gap_reference"]["gap"] == pytest.approx(0.006)
    assert set(record["trainers"]) == {"0", "1", "2", "3", "4"}
    first = record["trainers"]["0"]
    assert (first["s"], first["se"], first["own"]) == pytest.approx((0.01, 0.0005, 0.016))
    assert first["reason"] == "paid" and first["cid"] == "bafy0" and first["cluster"] is None
    copy = record["trainers"]["2"]
    assert (copy["reason"], copy["cluster"], copy["flags"], copy["weight"]) == ("duplicate", 0, ["copy"], 1)
    assert record["trainers"]["3"]["reason"] == "unavailable" and record["trainers"]["3"]["s"] is None
    assert record["trainers"]["4"]["reason"] == "not-finite" and record["trainers"]["4"]["s"] is None
    assert record["similarity"]["pairs"] == [{"slots": [1, 2], "overlap": 0.81, "cosine": 0.8, "kind": "copy"}]
    assert record["similarity"]["overlap"]["limit"] == 0.5


def test_evidence_is_canonical_and_finite() -> None:
    data = evidence_bytes(explained())
    assert data == evidence_bytes(explained())
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(StateError) as caught:
        evidence_bytes({"a": [{"b": math.nan}]})
    assert caught.value.code == "evidence-not-finite"


@given(st.floats(-1e3, 1e3))
def test_floats_are_rounded_to_a_billionth_and_zero_has_no_sign(value: float) -> None:
    text = evidence_bytes({"x": value}).decode()
    assert abs(json.loads(text)["x"] - value) <= 0.5000001e-9
    assert "-0.0}" not in text


def test_evidence_stays_under_a_mebibyte_when_all_256_trainers_are_copies() -> None:
    limit = Threshold(0.3, 0.01, 0.5)
    clusters = connect(
        [Pair(a, b, 0.812345678912, 0.8, "copy") for a in range(256) for b in range(a + 1, 256)], limit, limit
    )
    measurements = {slot: measured(slot, gain=0.01 + slot / 1e7) for slot in range(256)}
    scores = score_round(measurements, clusters, {}, ScoreHistory(), {}, SPEC)
    record = evidence(
        round_number=1,
        eval_seed=bytes(32),
        base_loss=2.0,
        health=0.0,
        measurements=measurements,
        verdicts=scores.verdicts,
        clusters=clusters,
        cids=dict.fromkeys(range(256), "b" * 64),
    )
    assert len(evidence_bytes(record)) < 1 << 20
    assert record["similarity"]["pairs_found"] == 256 * 255 // 2
    assert sum(verdict.weight_value > 1 for verdict in scores.verdicts.values()) == 1


def test_a_round_without_contributions_can_be_explained() -> None:
    record = evidence(
        round_number=0,
        eval_seed=bytes(32),
        base_loss=5.5,
        health=0.0,
        measurements={},
        verdicts={},
        clusters=Clusters(),
        cids={},
        reference=GapReference(),
    )
    assert json.loads(evidence_bytes(record))["trainers"] == {}
