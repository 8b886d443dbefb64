"""A vote survives crashes, lost answers and stop signals, and is never changed once it may be on chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emerit.chain.transactions import Sender
from emerit.errors import UnavailableError
from emerit.protocol.assignment import overlapped_seed
from emerit.protocol.types import Phase
from emerit.run.pending import load_pending
from emerit.run.state import StateFollower
from emerit.scoring.rating import Rating
from emerit.scoring.sample import CERTAIN, Sample, Standing
from emerit.telemetry import Metrics
from emerit_validator.ballot import Ballot, scoring_seconds
from emerit_validator.intake import Intake
from emerit_validator.scorer import RoundSeeds, Scored, Scorer
from tests.unit.validator.stage import OWN, ROOT, TINY, VALUES, Client, Store, context, loop, update


@dataclass
class Stage:
    client: Client
    store: Store
    ballot: Ballot
    intake: Intake
    state: StateFollower

    def vote(self) -> object:
        return self.ballot.vote(4, self.intake, self.state, {})

    def restarted(self, folder: Path) -> Stage:
        """The same node in a new process: only the folder and the chain are still there."""
        return stage(folder, self.client, self.store)

    def enter(self, phase: Phase) -> None:
        self.client.phase = phase


def stage(folder: Path, client: Client | None = None, store: Store | None = None) -> Stage:
    client, store = client or Client(), store or Store()
    run = context(store, client)
    node = loop(client, folder)
    scorer = Scorer(run, run.dataset(folder / "corpus"), folder)
    ballot = Ballot(run, cast(Sender, None), folder, node, Metrics("validator"), OWN, scorer)
    accepted = {slot: update(slot) for slot in (0, 1)}
    intake = Intake(run, node, 4, ROOT, {}, accepted=accepted, cids=dict.fromkeys(accepted, "bafkqaaa"))
    return Stage(client, store, ballot, intake, StateFollower(run, folder, VALUES, None, ROOT, 0))


def test_a_vote_is_committed_and_revealed_as_it_was(tmp_path: Path) -> None:
    it = stage(tmp_path)
    pending = it.ballot.vote(4, it.intake, it.state, {})
    assert pending is not None and len(it.client.commitments) == 1
    it.client.events = [lambda: None, lambda: it.enter(Phase.WEIGHT_REVEAL)]
    it.ballot.reveal(pending)
    assert it.client.revealed == [pending.vector]
    it.ballot.reveal(pending)
    assert it.client.revealed == [pending.vector]


def test_killed_between_keeping_and_committing_the_same_vote_is_sent(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.client.phase = Phase.TRAIN  # so that the commitment does not arrive
    it.client.events = [lambda: it.enter(Phase.SCORE), lambda: None]
    before = it.client.commit_weights
    it.client.commit_weights = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        it.vote()
    kept = load_pending(tmp_path)
    assert kept is not None and it.client.commitments == []
    it.client.commit_weights = before  # type: ignore[method-assign]
    again = it.restarted(tmp_path)
    assert again.ballot.resume(it.client.status()) == kept
    assert len(it.client.commitments) == 1
    it.enter(Phase.WEIGHT_REVEAL)
    again.ballot.reveal(kept)
    assert it.client.revealed == [kept.vector]


def test_an_answer_that_was_lost_is_no_second_vote(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.client.lose_next_answer = True
    with pytest.raises(UnavailableError):
        it.vote()
    kept = load_pending(tmp_path)
    stale = it.client.status()
    assert it.ballot.resume(stale) == kept
    assert len(it.client.commitments) == 1


def test_already_committed_is_success_when_the_chain_shows_our_commitment(tmp_path: Path) -> None:
    it = stage(tmp_path)
    before = it.client.status()
    it.client.lose_next_answer = True
    with pytest.raises(UnavailableError):
        it.vote()
    # The status from before the commitment: the chain refuses a second one, and then shows the first.
    assert it.ballot.resume(before) == load_pending(tmp_path)


def test_a_kept_vote_is_revealed_after_a_restart_in_the_reveal_phase(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.vote()
    it.enter(Phase.WEIGHT_REVEAL)
    again = it.restarted(tmp_path)
    kept = again.ballot.resume(it.client.status())
    assert kept is not None
    again.ballot.reveal(kept)
    assert it.client.revealed == [kept.vector]


@pytest.mark.parametrize("phase", [Phase.WEIGHT_REVEAL, Phase.SETTLE])
def test_a_kept_vote_that_never_arrived_is_too_late_after_the_phase(tmp_path: Path, phase: Phase) -> None:
    it = stage(tmp_path)
    it.vote()
    it.client.commitments.clear()
    it.enter(phase)
    assert it.ballot.resume(it.client.status()) is None


def test_a_vote_of_another_round_is_not_taken_up(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.vote()
    it.client.round, it.client.commitments = 5, []
    assert it.ballot.resume(it.client.status()) is None


def test_a_round_that_is_scored_twice_counts_once_in_the_history(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.vote()
    once = it.ballot.scorer.history.after
    assert once.of(0).rounds_sum == 1.0
    again = it.restarted(tmp_path)
    it.client.commitments.clear()
    again.vote()
    assert again.ballot.scorer.history.after == once
    assert again.ballot.scorer.history.of_rounds_before(5).of(0).rounds_sum == 1.0


def test_a_first_stop_signal_still_reveals_and_a_second_does_not(tmp_path: Path) -> None:
    it = stage(tmp_path)
    pending = it.ballot.vote(4, it.intake, it.state, {})
    assert pending is not None
    it.ballot.loop.stop.set()
    it.client.events = [lambda: None] * 3 + [lambda: it.enter(Phase.WEIGHT_REVEAL)]
    it.ballot.reveal(pending)
    assert it.client.revealed == [pending.vector]
    it.enter(Phase.SCORE)
    it.client.revealed.clear()
    it.ballot.loop.hurry.set()
    it.ballot.reveal(pending)
    assert it.client.revealed == []


def test_a_node_that_was_told_to_stop_does_not_wait_longer_than_the_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emerit_validator.ballot.GRACE_SECONDS", 0.05)
    it = stage(tmp_path)
    pending = it.ballot.vote(4, it.intake, it.state, {})
    assert pending is not None
    it.client.ends_in_seconds = 0  # and yet the chain never leaves the phase
    it.ballot.loop.stop.set()
    it.ballot.reveal(pending)
    assert it.client.revealed == []


def test_a_fifth_of_the_time_left_is_kept_for_committing_and_three_seconds_at_least() -> None:
    client, found = Client(), []
    for left in (90, 30, 10, 3, -5):
        client.ends_in_seconds = left
        found.append(scoring_seconds(client.status()))
    assert found == [72.0, 24.0, 7.0, 0.0, 0.0]


def test_with_hardly_any_time_left_the_vote_abstains_and_is_committed_all_the_same(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.client.ends_in_seconds = 2
    pending = it.ballot.vote(4, it.intake, it.state, {})
    assert pending is not None and len(it.client.commitments) == 1
    lanes = [int.from_bytes(pending.vector[at : at + 2], "big") for at in range(0, len(pending.vector), 2)]
    assert lanes[2:4] == [0xFFFF, 0xFFFF]
    assert TINY.scoring.loss_unit * lanes[0] > 0


@pytest.mark.parametrize("overlap", [0, 1])
def test_it_scores_by_the_seed_that_assigned_the_work(tmp_path: Path, overlap: int) -> None:
    it = stage(tmp_path)
    made = it.ballot.context.manifest
    training = replace(made.training, overlap_rounds=overlap)
    it.ballot.context = replace(it.ballot.context, manifest=replace(made, training=training))
    before = bytes([9]) * 32
    it.client.opened = lambda number: SimpleNamespace(assign_seed=before) if number == 3 else None  # type: ignore[attr-defined]
    seen: list[bytes] = []
    it.ballot.scorer.score = lambda seeds, *_, **__: seen.append(seeds.assign_seed)  # type: ignore[assignment,func-returns-value]
    assert it.vote() is None
    assert seen == [overlapped_seed(before) if overlap else bytes(32)]


class Watched(Scorer):
    """A scorer that notes the seeds of the round that it is given."""

    seeds: RoundSeeds

    def score(self, seeds: RoundSeeds, *rest: Any, **named: Any) -> Scored | None:
        self.seeds = seeds
        return super().score(seeds, *rest, **named)


@pytest.mark.parametrize("best", [0, 1])
def test_what_settled_rounds_say_of_the_trainers_decides_who_is_measured_first(tmp_path: Path, best: int) -> None:
    it = stage(tmp_path)
    scorer = Watched(it.ballot.context, it.ballot.scorer.dataset, tmp_path)
    it.ballot.scorer = scorer
    standings = {slot: Standing(10**6 if slot == best else 5, Rating()) for slot in (0, 1)}
    assert it.ballot.vote(4, it.intake, it.state, {}, (1, 2), standings) is not None
    assert scorer.seeds.sample == Sample((best, 1 - best), {0: CERTAIN, 1: CERTAIN})
