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
from emerit.training.state import to_float
from emerit_validator.inquest import FILE, Exclusions, Suspects
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
        suspects: Suspects | None = None,
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
            suspects=suspects,
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


# ---- harm


def damaged() -> np.ndarray:
    """Weights that predict worse than no training at all."""
    return VALUES + np.random.default_rng(1).integers(-(1 << 23), 1 << 23, len(VALUES)).astype(np.int32)


def test_after_a_harmful_aggregate_nothing_is_measured_and_everybody_gets_0(bench: Bench) -> None:
    bench.state.values, bench.state.previous = damaged(), VALUES
    del bench.intake.accepted[5]
    bench.intake.unavailable.add(4)
    bench.intake.refused[5] = "blob-gaps"
    bench.scorer.remember(3, bench_scored(bench))
    scored = bench.score()
    assert scored is not None and bench.measured == []
    limit = bench.scorer.context.manifest.rollback_units
    assert scored.vector[2:] == (0,) * SLOTS and minifloat.decode(scored.vector[1]) > limit
    assert minifloat.decode(scored.vector[0]) * 1e-7 == pytest.approx(
        json.loads(scored.evidence)["base_loss"], rel=1e-3
    )
    reasons = {int(slot): view["reason"] for slot, view in json.loads(scored.evidence)["trainers"].items()}
    assert reasons == dict.fromkeys(range(5), "taken-back") | {5: "blob-gaps"}
    before = bench.scorer.history.of_rounds_before(4)
    bench.scorer.remember(4, scored)
    assert bench.scorer.history.of_rounds_before(5) == before


def bench_scored(bench: Bench) -> Scored:
    """What the bench's contributions are worth at the state before."""
    values, previous = bench.state.values, bench.state.previous
    bench.state.values, bench.state.previous = VALUES, None
    scored = bench.score()
    bench.state.values, bench.state.previous = values, previous
    assert scored is not None
    return scored


def test_a_state_without_a_finite_loss_is_voted_back_too(bench: Bench) -> None:
    bench.state.values, bench.state.previous = damaged(), VALUES
    model, good = bench.scorer.measuring.model, to_float(VALUES)[0]
    model.module.register_forward_hook(
        lambda _module, _inputs, logits: logits * (1.0 if model.flat[0] == good else math.nan)
    )
    scored = bench.score()
    assert scored is not None and scored.vector[2:] == (0,) * SLOTS
    assert json.loads(scored.evidence)["base_loss"] == 1000.0


def test_a_run_without_a_limit_never_votes_so(bench: Bench) -> None:
    bench.state.values, bench.state.previous = damaged(), VALUES
    manifest = bench.scorer.context.manifest
    off = dataclasses.replace(manifest, rollback=dataclasses.replace(manifest.rollback, limit_nats=0.0))
    bench.scorer.context = dataclasses.replace(bench.scorer.context, manifest=off)
    scored = bench.score()
    assert scored is not None and len(bench.measured) == SLOTS
    assert minifloat.decode(scored.vector[1]) > manifest.rollback_units


def test_who_made_an_aggregate_harmful_is_shut_out_for_the_stated_rounds(bench: Bench, tmp_path: Path) -> None:
    huge = dataclasses.replace(update(3), scales=np.full_like(update(3).scales, 0x9800))
    scored = bench.score(suspects=Suspects(2, {3: huge}, {3: OWNERS[3]}))
    assert scored is not None
    record = json.loads(scored.evidence)
    assert record["leave_one_out"]["guilty"] == [3] and record["leave_one_out"]["round"] == 2
    assert record["trainers"]["3"]["reason"] == "harmful" and scored.vector[2 + 3] == 0
    assert scored.scores.history.of(3).balance == -1
    bench.scorer.remember(4, scored)
    last = 4 + bench.scorer.context.manifest.rollback.exclusion_rounds - 1
    again = Scorer(bench.scorer.context, bench.scorer.dataset, tmp_path)
    assert again.exclusions.until == {OWNERS[3]: last}
    assert again.exclusions.by_slot(last, {7: OWNERS[3], 3: 99}) == {7: last}
    assert not again.exclusions.by_slot(last + 1, OWNERS)
    bench.scorer = again
    later = bench.score(seeds=dataclasses.replace(SEEDS, round=last))
    after = bench.score(seeds=dataclasses.replace(SEEDS, round=last + 1))
    assert later is not None and after is not None
    assert later.scores.verdicts[3].code == "harmful" != after.scores.verdicts[3].code


def test_an_innocent_member_is_not_shut_out(bench: Bench) -> None:
    still = dataclasses.replace(update(3), scales=np.full_like(update(3).scales, 1))
    scored = bench.score(suspects=Suspects(2, {3: still}, {3: OWNERS[3]}))
    assert scored is not None and scored.exclusions == Exclusions()
    assert json.loads(scored.evidence)["leave_one_out"]["guilty"] == []


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"a": 1}', b'{"1": null}'])
def test_a_damaged_list_of_the_shut_out_is_reported(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(StateError, match="history-corrupt"):
        Exclusions.load(tmp_path)
