"""A vote to take back, and who is shut out for it afterwards, replayed: honest ones to the bit, and lies named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from emerit.codec.aggregate import encode_aggregate
from emerit.codec.take_back import TakeBack, encode_take_back
from emerit.protocol import minifloat
from emerit.run.ledger import Ledger
from emerit.run.state import StateFollower
from emerit.scoring.agreement import SAME
from emerit.scoring.recent import Recent
from emerit.scoring.vector import evidence_bytes
from emerit.training.aggregate import aggregate
from emerit.training.outer import outer_step
from emerit.training.state import ModelState
from emerit_validator.inquest import find_suspects, shut_out_until
from emerit_validator.intake import Intake
from emerit_validator.replay import ReplayedVote, Replayer
from emerit_validator.scorer import Scorer
from emerit_validator.seeds import round_seeds
from tests.unit.validator.stage import ROOT, TABLE, VALUES, Store, blob, context, loop, reveal, update
from tests.unit.validator.test_replay import SLOTS, Honest, Past

BAD, UNDONE, AFTER, LATER = 4, 5, 6, 7
CULPRIT = 1


class Harmed(Past):
    """A run in which one trainer alone made the aggregate of round 4, which round 5 took back."""

    def params(self) -> Any:
        return SimpleNamespace(initial_state_root=ROOT)

    def opened(self, number: int) -> Any:
        return SimpleNamespace(round=number, assign_seed=bytes([number]) * 32)

    def attestations(self, number: int) -> list[Any]:
        return []

    def members_in(self, number: int, registry: object = None) -> Any:
        return super().members_in(number)

    def settle(self, number: int, data: bytes, root: bytes, cid: str) -> None:
        body = SimpleNamespace(state_root=root, aggregate_hash=hashlib.sha256(data).digest())
        header = SimpleNamespace(body=body)
        item = SimpleNamespace(round=number, header=header, header_hash=bytes([number]) * 32, aggregate_cid=cid)
        self.settled_rounds.append(item)


class Run(Honest):
    """Four rounds of an honest validator, published."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.client = folder, Store(), Harmed()
        self.store.over.set()
        self.run = context(self.store, self.client)
        self.scorer = Scorer(self.run, self.run.dataset(folder / "corpus"), folder)
        state = StateFollower(self.run, folder, VALUES, None, ROOT, 0)
        first = self.score(BAD, state)
        alone = [minifloat.encode(50), 0, *(minifloat.encode(9 * (slot == CULPRIT)) for slot in range(60))]
        self.publish(tuple(alone), first.evidence, BAD)
        state = self.go_on(state)
        taken_back = self.score(UNDONE, state)
        self.publish(taken_back.vector, taken_back.evidence, UNDONE)
        self.client.settle(UNDONE, encode_take_back(TakeBack(UNDONE, BAD, ROOT)), ROOT, "")
        state = StateFollower(self.run, folder, VALUES, None, ROOT, 2)
        self.scorer.recent = Recent()  # as after a restart: the pay chain, which would tell who was paid, is empty here
        for number in (AFTER, LATER):
            scored = self.score(number, state)
            self.publish(scored.vector, scored.evidence, number)
        self.replayer = Replayer(self.run, folder / "replay", folder / "corpus", lambda _: None)

    def go_on(self, state: StateFollower) -> StateFollower:
        """Settle round 4 with the culprit's contribution alone."""
        outer = self.run.manifest.outer
        step = aggregate([self.sent(BAD, CULPRIT)], outer)
        values = outer_step(ModelState(VALUES), *step, outer)[0]
        data = encode_aggregate(BAD, len(VALUES), *step)
        self.client.settle(BAD, data, values.root(TABLE), self.store.add(data))
        return StateFollower(self.run, self.folder, values.values, VALUES, values.root(TABLE), 1)

    def sent(self, number: int, slot: int) -> Any:
        item = update(10 * number + slot)
        huge = np.full_like(item.scales, 0x9800)
        return dataclasses.replace(item, scales=huge) if (number, slot) == (BAD, CULPRIT) else item

    def score(self, number: int, state: StateFollower) -> Any:
        blobs = {slot: blob(slot, self.sent(number, slot), number) for slot in range(SLOTS)}
        self.client.sent[number] = [reveal(slot, data) for slot, data in blobs.items()]
        for data in blobs.values():
            self.store.add(data)
        watch, ledger = loop(self.client, self.folder), Ledger(cast(Any, self.client))
        suspects = find_suspects(self.run, watch, ledger, number, ROOT) if number == AFTER else None
        intake = Intake(self.run, watch, number, ROOT, {})
        intake.take(self.client.sent[number])
        intake.collect(60)
        seeds = round_seeds(
            self.run.client,
            number,
            bytes([number]) * 32,
            bytes([100 + number]) * 32,
            set(range(SLOTS)),
            ledger.coverage(number),
            {},
            ledger.last_judged(number),
        )
        scored = self.scorer.score(
            seeds,
            state,
            intake,
            ledger.trust(number),
            deadline=1e18,
            on_progress=lambda *_: None,
            stopped=lambda: False,
            suspects=suspects,
        )
        assert scored is not None
        self.scorer.remember(number, scored)
        return scored

    def told(self, number: int) -> dict[str, Any]:
        """What the validator published of a round."""
        record: dict[str, Any] = json.loads(self.store.blobs[self.client.weights[number].evidence_cid])
        return record

    def tell(self, number: int, change: Callable[[dict[str, Any]], None]) -> ReplayedVote:
        """Publish other evidence beside the same vector, and replay it."""
        record = self.told(number)
        change(record)
        vector = np.frombuffer(self.client.weights[number].vector, ">u2")
        self.publish(tuple(map(int, vector)), evidence_bytes(record), number)
        return self.replay(number)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("harm"))


@pytest.fixture(autouse=True)
def put_back(run: Run) -> Iterator[None]:
    """Every test begins with what the honest validator published."""
    yield from run.put_back()


def wrong(vote: ReplayedVote) -> set[tuple[int, str]]:
    assert vote.error is None and not vote.agrees, vote.error
    return {(item.lane, item.what) for item in vote.beyond}


def test_a_vote_to_take_back_is_replayed_to_the_bit(run: Run) -> None:
    vote = run.replay(UNDONE)
    assert vote.agrees and vote.identical, vote.as_dict()
    assert {lane.verdict for lane in vote.lanes} == {SAME}
    assert any("votes to take the last aggregate back" in note for note in vote.notes)
    assert run.told(UNDONE)["trainers"]["0"]["reason"] == "taken-back"


@pytest.mark.parametrize("health", ["50.0", "0.0"])
def test_a_vote_to_take_back_without_that_harm_is_named(run: Run, health: str) -> None:
    def other(record: dict[str, Any]) -> None:
        record["health"] = float(health)
        record["basis"]["health"] = health

    assert (1, "health") in wrong(run.tell(UNDONE, other))


def test_harm_where_nothing_was_applied_is_named(run: Run) -> None:
    def other(record: dict[str, Any]) -> None:
        record["health"] = 0.0
        record["basis"]["health"] = "0.0"

    assert (1, "health") in wrong(run.tell(AFTER, other))


def test_who_did_harm_is_found_again_and_is_shut_out_in_the_rounds_after(run: Run) -> None:
    until = shut_out_until(run.run.manifest, AFTER)
    for number in (AFTER, LATER):
        assert run.told(number)["trainers"][str(CULPRIT)]["reason"] == "harmful"
        assert run.told(number)["basis"]["shut_out"] == {str(CULPRIT): until}
        vote = run.replay(number)
        assert vote.agrees and vote.identical, vote.as_dict()
        assert any("did not look" in note for note in vote.notes) is (number == LATER)


def test_whoever_is_shut_out_without_a_finding_is_named(run: Run) -> None:
    def another(record: dict[str, Any]) -> None:
        record["basis"]["shut_out"]["0"] = 99

    assert (2, "shut out until") in wrong(run.tell(LATER, another))
    assert (2 + CULPRIT, "shut out until") in wrong(run.tell(LATER, lambda record: record["basis"].update(shut_out={})))


def test_another_finding_is_named(run: Run) -> None:
    def guiltless(record: dict[str, Any]) -> None:
        record["leave_one_out"]["guilty"] = []

    found = wrong(run.tell(AFTER, guiltless))
    assert {(-1, "guilty"), (2 + CULPRIT, "shut out until")} <= found
    assert (-1, "harm of all") in wrong(run.tell(AFTER, lambda record: record["leave_one_out"].update(harm=0.5)))
    assert (-1, "taken back") in wrong(run.tell(AFTER, lambda record: record["leave_one_out"].update(round=2)))


def test_a_finding_in_another_format_cannot_be_replayed(run: Run) -> None:
    vote = run.tell(AFTER, lambda record: record["leave_one_out"].update(guilty=["1"]))
    assert vote.error is not None and vote.error.code == "evidence-invalid"


def test_a_finding_is_its_word_when_what_was_taken_back_is_gone(run: Run) -> None:
    run.store.blobs.pop(run.client.sent[BAD][CULPRIT].cid)
    vote = run.replay(AFTER)
    assert vote.agrees and any("its word" in note for note in vote.notes)


def test_a_round_whose_weights_were_not_revealed_shuts_nobody_out(run: Run, tmp_path: Path) -> None:
    scorer = Scorer(run.run, run.scorer.dataset, tmp_path)
    scorer.history, scorer.exclusions = run.scorer.history, run.scorer.exclusions
    scorer.forget()
    assert scorer.exclusions.until, "found in a round before the newest"
    scorer.history = dataclasses.replace(scorer.history, round=AFTER)
    scorer.forget()
    assert not scorer.exclusions.until
