"""Scoring within a time budget, and with contributions made to break it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.run.state import StateFollower
from emerit.scoring.sample import CERTAIN, Sample
from emerit_validator.intake import Intake
from emerit_validator.scorer import Scorer, by_slot, load_history
from emerit_validator.seeds import RoundSeeds
from emerit_validator.weighing import Scored
from tests.unit.validator.stage import ROOT, VALUES, Client, Store, context, loop, update

SLOTS = 6
OWNERS = {slot: 20 + slot for slot in range(SLOTS)}
SEEDS = RoundSeeds(4, bytes(32), bytes([1]) * 32, SLOTS, {slot: slot for slot in range(SLOTS)}, OWNERS)
CONSENSUS = {0: 10, 1: 500, 2: 0, 3: 900, 4: 0, 5: 20}


@dataclasses.dataclass
class Bench:
    scorer: Scorer
    intake: Intake
    state: StateFollower
    measured: list[int] = dataclasses.field(default_factory=list)

    def score(
        self,
        deadline: float = math.inf,
        consensus: dict[int, int] | None = None,
        stop_after: int = 99,
        seeds: RoundSeeds = SEEDS,
    ) -> Scored | None:
        self.measured.clear()
        return self.scorer.score(
            seeds,
            self.state,
            self.intake,
            CONSENSUS if consensus is None else consensus,
            deadline=deadline,
            on_progress=lambda done, total: self.measured.append(done),
            stopped=lambda: len(self.measured) >= stop_after,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    store, client = Store(), Client()
    run = context(store, client)
    scorer = Scorer(run, run.dataset(tmp_path / "corpus"), tmp_path)
    accepted = {slot: update(slot) for slot in range(SLOTS)}
    intake = Intake(run, loop(client, tmp_path), 4, ROOT, {}, accepted=accepted)
    return Bench(scorer, intake, StateFollower(run, tmp_path, VALUES, None, ROOT, 0))


def test_what_there_is_no_time_for_is_an_abstention_and_the_order_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    # The clock as the scorer sees it: one second for each contribution measured.
    monkeypatch.setattr(time, "monotonic", lambda: start + len(bench.measured))
    order = (3, 1, 5, 0, 2, 4)
    seeds = dataclasses.replace(SEEDS, sample=Sample(order, dict.fromkeys(order, CERTAIN)))
    scored = bench.score(deadline=start + 3, seeds=seeds)
    monkeypatch.undo()
    assert scored is not None and bench.measured == [1, 2, 3]
    abstained = {slot for slot in range(SLOTS) if scored.vector[2 + slot] == minifloat.ABSTAIN}
    assert abstained == {0, 2, 4}
    record = json.loads(scored.evidence)
    assert {slot: record["trainers"][str(slot)]["reason"] for slot in abstained} == dict.fromkeys(
        abstained, "unmeasured"
    )
    assert set(scored.scores.history.standings) == {1, 3, 5}


def test_with_time_enough_everybody_is_measured(bench: Bench) -> None:
    scored = bench.score()
    assert scored is not None and bench.measured == [1, 2, 3, 4, 5, 6]
    assert minifloat.ABSTAIN not in scored.vector[2:]


def test_only_a_stop_gives_no_vector(bench: Bench) -> None:
    assert bench.score(stop_after=2) is None
    scored = bench.score(deadline=0.0)
    assert scored is not None
    assert set(scored.vector[2:]) == {minifloat.ABSTAIN} and scored.vector[0] != minifloat.ABSTAIN


def test_the_health_lane_abstains_until_the_state_before_is_known(bench: Bench) -> None:
    first = bench.score()
    bench.state.previous = VALUES
    second = bench.score()
    assert first is not None and second is not None
    assert first.vector[1] == minifloat.ABSTAIN and json.loads(first.evidence)["health"] is None
    assert second.vector[1] == 0 and json.loads(second.evidence)["health"] == 0
    assert first.vector[2:] == second.vector[2:]


@pytest.mark.parametrize("consensus", [{}, CONSENSUS, dict.fromkeys(range(3), 10**6)])
def test_a_majority_of_scales_next_to_nothing_crashes_nobody(bench: Bench, consensus: dict[int, int]) -> None:
    for slot in range(3):
        scales = np.zeros_like(bench.intake.accepted[slot].scales)
        scales[0] = 1
        bench.intake.accepted[slot] = dataclasses.replace(bench.intake.accepted[slot], scales=scales)
    scored = bench.score(consensus=consensus)
    assert scored is not None and len(scored.vector) == 2 + SLOTS


def test_the_history_goes_with_the_trainer_not_with_the_slot(bench: Bench, tmp_path: Path) -> None:
    scored = bench.score()
    assert scored is not None
    bench.scorer.remember(4, scored)
    assert load_history(tmp_path) == bench.scorer.history
    known = bench.scorer.history.of_rounds_before(5)
    assert set(known.standings) == set(OWNERS.values())
    moved = by_slot(known, {0: OWNERS[3], 3: 99})  # slot 3 was given out again, its trainer came back in slot 0
    assert dict(moved.standings) == {0: known.of(OWNERS[3])}


def test_a_sample_alone_is_measured_and_says_how_likely_that_was(bench: Bench) -> None:
    whole = bench.score()
    chances = {slot: CERTAIN * (1 + slot % 2) // 4 for slot in range(SLOTS)} | {9: CERTAIN}
    sampled = bench.score(seeds=dataclasses.replace(SEEDS, sample=Sample((4, 1, 9), chances)))
    assert whole is not None and sampled is not None
    assert bench.measured == [1, 2]  # slot 9 was revealed and could not be fetched
    record = json.loads(sampled.evidence)
    assert abs(record["measured_share"] - (3 * 0.25 + 3 * 0.5 + 1) / 7) < 1e-9
    assert {slot: view["share"] for slot, view in record["trainers"].items()} == {
        str(slot): (1 + slot % 2) / 4 for slot in range(SLOTS)
    }
    assert json.loads(whole.evidence)["measured_share"] == 1.0
    reasons = {int(slot): view["reason"] for slot, view in record["trainers"].items()}
    assert {slot for slot, reason in reasons.items() if reason == "unmeasured"} == {0, 2, 3, 5}
    assert all(sampled.vector[2 + slot] == minifloat.ABSTAIN for slot in (0, 2, 3, 5))


def test_the_gradient_says_something_of_everybody_and_pays_nobody(bench: Bench) -> None:
    scored = bench.score()
    late = bench.score(deadline=0.0)
    assert scored is not None and late is not None
    views = json.loads(scored.evidence)["trainers"].values()
    assert len(views) == SLOTS and all(type(view["first_order"]) is float for view in views)
    assert all(("first-order" in view["flags"]) == (view["first_order"] < 0) for view in views)
    signs = [(view["first_order"] > 0) == (view["s"] > 0) for view in views if abs(view["s"]) > 3 * view["se"]]
    assert all(signs)
    assert all(view["first_order"] is None for view in json.loads(late.evidence)["trainers"].values())


def test_what_was_paid_in_the_last_settled_round_is_not_paid_again(bench: Bench) -> None:
    assert bench.score() is not None
    round_4 = dict(bench.intake.accepted)
    paid = dict.fromkeys(range(SLOTS), 10**6)
    bench.intake.round = 5
    bench.intake.accepted = {slot: update(100 + slot) for slot in range(SLOTS)} | {2: round_4[3]}
    for settled, consensus, expected in ((3, paid, set()), (4, {**paid, 3: 1}, set()), (4, paid, {2})):
        bench.scorer.recent.keep(4, round_4)
        seeds = dataclasses.replace(SEEDS, round=5, settled_round=settled)
        scored = bench.score(consensus=consensus, seeds=seeds)
        assert scored is not None
        record = json.loads(scored.evidence)
        assert {item["slot"] for item in record["similarity"]["stale"]} == expected
        assert {int(slot) for slot, view in record["trainers"].items() if "stale" in view["flags"]} == expected
        assert all(scored.vector[2 + slot] <= 1 for slot in expected)


def test_the_last_aggregate_is_known_from_the_state_alone(bench: Bench) -> None:
    sent = bench.intake.accepted[4]
    bench.state.previous = VALUES.copy()
    bench.state.values = VALUES.copy()
    bench.state.values[sent.indices] -= sent.values().astype(np.int32)
    scored = bench.score()
    assert scored is not None
    stale = json.loads(scored.evidence)["similarity"]["stale"]
    assert [(item["slot"], item["source"]) for item in stale] == [(4, -1)]


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    assert load_history(tmp_path).round == -1
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(StateError, match="history-corrupt"):
        load_history(tmp_path)
