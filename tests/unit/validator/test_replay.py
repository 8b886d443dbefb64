"""A validator's weights replayed: honest ones to the bit, and each way to cheat with them named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emerit.errors import UsageError
from emerit.protocol.commitments import pack_vector
from emerit.protocol.types import ContributionReveal, WeightReveal
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.scoring.agreement import ABSTAINED, DIFFERS, SAME, WITHIN
from emerit.scoring.basis import read_basis
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.vector import evidence_bytes
from emerit_validator.intake import Intake
from emerit_validator.replay import ReplayedVote, Replayer
from emerit_validator.scorer import Scorer
from emerit_validator.seeds import round_seeds
from emerit_validator.weighing import Figures, Recorded, Taken, weigh
from tests.unit.validator.stage import OWN, ROOT, SLOT, VALUES, Client, Store, blob, context, loop, reveal, update

SLOTS = 4
FIRST, LAST = 4, 5


class Past(Client):
    """A run in which two rounds were scored and neither settled, so that the state is the initial one."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[int, list[ContributionReveal]] = {}
        self.weights: dict[int, WeightReveal] = {}

    def opened(self, number: int) -> Any:
        return SimpleNamespace(assign_seed=bytes([number]) * 32)

    def drawn(self, number: int) -> bytes | None:
        return bytes([100 + number]) * 32

    def reveals(self, number: int) -> list[ContributionReveal]:
        return self.sent[number]

    def pay_chain(self) -> list[Any]:
        return []

    def weight_reveals(self, number: int) -> list[Any]:
        return [self.weights[number]] if number in self.weights else []


class Honest:
    """Two rounds of an honest validator, published; `publish` puts something else in the place of the second."""

    def __init__(self, folder: Path) -> None:
        self.store, self.client = Store(), Past()
        self.store.over.set()  # what is not there is not waited for
        self.run: RunContext = context(self.store, self.client)
        self.replayer = Replayer(self.run, folder / "replay", folder / "corpus", lambda _: None)
        scorer = Scorer(self.run, self.run.dataset(folder / "corpus"), folder)
        state = StateFollower(self.run, folder, VALUES, None, ROOT, 0)
        for number in (FIRST, LAST):
            blobs = {slot: blob(slot, update(10 * number + slot), number) for slot in range(SLOTS)}
            blobs[2] = blob(2, update(7), number - 1)  # made for another round
            self.client.sent[number] = [reveal(slot, data) for slot, data in blobs.items()]
            for data in blobs.values():
                self.store.add(data)
            intake = Intake(self.run, loop(self.client, folder), number, ROOT, {})
            intake.take(self.client.sent[number])
            intake.collect(60)
            seeds = round_seeds(
                self.run.client,
                number,
                bytes([number]) * 32,
                bytes([100 + number]) * 32,
                set(range(SLOTS)),
                (0, 0),
                {},
                None,
            )
            scored = scorer.score(
                seeds, state, intake, {}, deadline=1e18, on_progress=lambda *_: None, stopped=lambda: False
            )
            assert scored is not None
            scorer.remember(number, scored)
            self.seeds, self.intake, self.scored = seeds, intake, scored
            self.publish(scored.vector, scored.evidence, number)

    def publish(self, vector: tuple[int, ...], evidence: bytes, number: int = LAST) -> None:
        digest, cid = hashlib.sha256(evidence).digest(), self.store.add(evidence)
        self.client.weights[number] = WeightReveal(number, SLOT, pack_vector(vector), digest, cid)

    def vote(self, change: Callable[[Figures], Figures], taken: Taken | None = None) -> None:
        """Publish what follows from other figures, all of it in agreement with itself."""
        record = json.loads(self.scored.evidence)
        basis = read_basis(record["basis"])
        slopes = {int(s): v["first_order"] for s, v in record["trainers"].items() if v["first_order"] is not None}
        clusters = self.replayer._clusters(self.replayer._prepare(LAST), self.kept(), basis)
        figures = Figures(basis.base_loss, None, basis.measured, basis.before, clusters, (), slopes)
        scored = weigh(self.run.manifest, self.seeds, taken or self.intake, {}, change(figures))
        self.publish(scored.vector, scored.evidence)

    def kept(self) -> Recorded:
        it = self.intake
        return Recorded(it.accepted, it.refused, it.unavailable, it.cids)

    def replay(self, number: int = LAST) -> ReplayedVote:
        (vote,) = self.replayer.round(number)
        return vote

    def put_back(self) -> Iterator[None]:
        """Let a test publish something else, and put back what was published before it."""
        blobs, weights = dict(self.store.blobs), dict(self.client.weights)
        yield
        self.store.blobs, self.client.weights = blobs, weights


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return Honest(tmp_path_factory.mktemp("replay"))


@pytest.fixture(autouse=True)
def put_back(honest: Honest) -> Iterator[None]:
    """Every test begins with what the honest validator published."""
    yield from honest.put_back()


def verdicts(vote: ReplayedVote) -> list[str]:
    return [lane.verdict for lane in vote.lanes[: 2 + SLOTS]]


def wrong(vote: ReplayedVote) -> set[tuple[int, str]]:
    assert vote.error is None and not vote.agrees
    return {(item.lane, item.what) for item in vote.beyond}


@pytest.mark.parametrize("number", [FIRST, LAST])
def test_honest_weights_are_replayed_to_the_bit(honest: Honest, number: int) -> None:
    vote = honest.replay(number)
    assert vote.agrees and vote.identical and not vote.differences and not vote.notes
    assert verdicts(vote) == [SAME, ABSTAINED, SAME, SAME, SAME, SAME]
    reasons = {slot: view["reason"] for slot, view in json.loads(honest.scored.evidence)["trainers"].items()}
    assert reasons["2"] == "blob-wrong-round", "a refused one is among them"
    assert vote.as_dict()["lanes"][2]["slot"] == 0


def test_a_weight_that_does_not_follow_is_named(honest: Honest) -> None:
    favoured = list(honest.scored.vector)
    favoured[3] += 1
    honest.publish(tuple(favoured), honest.scored.evidence)
    vote = honest.replay()
    assert wrong(vote) == {(3, "code")}
    assert verdicts(vote) == [SAME, ABSTAINED, SAME, DIFFERS, SAME, SAME]


def test_figures_beyond_the_tolerance_are_named_and_those_within_are_not(honest: Honest) -> None:
    def more(share: float) -> Callable[[Figures], Figures]:
        def change(figures: Figures) -> Figures:
            old = figures.measured[1]
            new = replace(old, random_gain=old.random_gain + share * old.random_se)
            return replace(figures, measured={**figures.measured, 1: new})

        return change

    honest.vote(more(0.2))
    assert wrong(honest.replay()) == {(3, "s")}
    honest.vote(more(0.05))
    vote = honest.replay()
    assert vote.agrees and not vote.identical
    assert verdicts(vote)[3] in (SAME, WITHIN)
    assert [(item.lane, item.what, item.beyond) for item in vote.differences] == [(3, "s", False)]


def test_a_history_that_does_not_go_on_is_named(honest: Honest) -> None:
    def richer(figures: Figures) -> Figures:
        standings = dict(figures.history.standings)
        standings[1] = replace(standings[1], gain_sum=standings[1].gain_sum + 1)
        return replace(figures, history=ScoreHistory(standings))

    honest.vote(richer)
    assert wrong(honest.replay()) == {(3, "history")}
    honest.vote(lambda figures: replace(figures, history=ScoreHistory({0: figures.history.of(0)})))
    assert wrong(honest.replay()) == {(3, "history"), (5, "history")}, "the rest was dropped"
    honest.vote(lambda figures: replace(figures, history=ScoreHistory()))
    vote = honest.replay()
    assert vote.agrees and any("anew" in note for note in vote.notes)


def test_a_first_round_has_no_history(honest: Honest) -> None:
    honest.client.weights.pop(FIRST)
    assert wrong(honest.replay()) == {(2 + slot, "history") for slot in (0, 1, 3)}


def test_the_history_is_not_held_against_evidence_that_is_gone(honest: Honest) -> None:
    honest.store.blobs.pop(honest.client.weights[FIRST].evidence_cid)
    vote = honest.replay()
    assert vote.agrees and vote.identical
    assert len(vote.notes) == 1 and "not held against round 4" in vote.notes[0]


def test_what_was_not_fetched_or_not_measured_is_its_word(honest: Honest) -> None:
    taken = replace(honest.kept(), accepted={0: honest.intake.accepted[0], 1: honest.intake.accepted[1]})
    taken = replace(taken, unavailable={3})
    # Fewer were accepted, so that scales are clipped to another level: measured again, slot 0 alone.
    record = honest.replayer._measure(honest.replayer._prepare(LAST), taken, [0]).losses
    honest.vote(lambda figures: replace(figures, measured={0: record.measurements[0]}), taken)
    honest.store.blobs.pop(honest.intake.cids[3])
    vote = honest.replay()
    assert vote.agrees, vote.beyond
    assert verdicts(vote) == [SAME, ABSTAINED, SAME, ABSTAINED, SAME, ABSTAINED]
    assert ["[3]" in note for note in vote.notes] == [True, False] and "[1]" in vote.notes[1]


def test_a_refusal_without_a_cause_is_named(honest: Honest) -> None:
    accepted = {slot: item for slot, item in honest.intake.accepted.items() if slot != 3}
    taken = replace(honest.kept(), accepted=accepted, refused={**honest.intake.refused, 3: "undecodable"})
    record = honest.replayer._measure(honest.replayer._prepare(LAST), taken, [0, 1]).losses
    honest.vote(lambda figures: replace(figures, measured=record.measurements), taken)
    vote = honest.replay()
    assert wrong(vote) == {(5, "refusal")}
    assert verdicts(vote) == [SAME, ABSTAINED, SAME, SAME, SAME, DIFFERS]
    honest.store.blobs.pop(honest.intake.cids[3])
    gone = honest.replay()
    assert gone.agrees and any("its word" in note for note in gone.notes)


def test_measuring_what_one_has_not_is_named(honest: Honest) -> None:
    extra = Measurement(2, 1.0, 0.1, 2.0, 0.1)
    honest.vote(lambda figures: replace(figures, measured={**figures.measured, 2: extra}))
    assert (-1, "measured") in wrong(honest.replay())


def test_what_is_gone_is_said_and_not_held_against_anybody(honest: Honest) -> None:
    honest.store.blobs.pop(honest.intake.cids[1])
    vote = honest.replay()
    assert vote.error is not None and vote.error.code == "contribution-gone" and not vote.agrees
    honest.store.blobs.pop(honest.client.weights[LAST].evidence_cid)
    vote = honest.replay()
    assert vote.error is not None and (vote.error.code, vote.error.exit_code) == ("evidence-gone", 75)


def test_evidence_that_does_not_say_what_it_rests_on_cannot_be_replayed(honest: Honest) -> None:
    record = json.loads(honest.scored.evidence)
    del record["basis"]
    honest.publish(honest.scored.vector, evidence_bytes(record))
    vote = honest.replay()
    assert vote.error is not None and vote.error.code == "evidence-basis"


def test_evidence_that_says_something_else_than_its_figures_is_named(honest: Honest) -> None:
    record = json.loads(honest.scored.evidence)
    record["trainers"]["1"]["reason"] = "low-gap"
    honest.publish(honest.scored.vector, evidence_bytes(record))
    assert wrong(honest.replay()) == {(-1, "trainers.1.reason")}


def test_a_round_without_weights_cannot_be_replayed(honest: Honest) -> None:
    honest.client.weights.pop(LAST)
    with pytest.raises(UsageError, match="no-weights-revealed"):
        honest.replayer.round(LAST)
    with pytest.raises(UsageError, match="no-weights-revealed"):
        honest.replayer.round(FIRST, replace(OWN, slot=SLOT + 1))


def test_a_standing_has_a_place_in_every_lane(honest: Honest) -> None:
    """Standings of slots that nobody has say something of nobody."""
    honest.vote(
        lambda figures: replace(figures, history=figures.history.with_standings({200: Standing(1.0, 0.1, 1.0, 0.0)}))
    )
    assert (-1, "history") in wrong(honest.replay())
