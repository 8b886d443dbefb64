"""Rounds are those of a run: real blobs, real settlement, a state that everybody could compute."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emerit.lab.arena import Arena, Corpus, lab_preset
from emerit.lab.attack import Attack, ValidatorAttack
from emerit.lab.catalogue import attacks, defences
from emerit.lab.cells import Laboratory
from emerit.lab.defence import Opinion, Step
from emerit.lab.defences.ours import Ours
from emerit.lab.play import BUDGET_WEI, Played, play
from emerit.lab.settings import OURS
from emerit.lab.view import Seen, VoteView
from emerit.model.table import parameter_count
from emerit.plugins import MODELS
from emerit.protocol import minifloat
from emerit.protocol.types import RESERVED_LANES
from emerit.scoring.take_back import take_back_vector
from tests.unit.lab.builders import arena_of, game, played, small
from tests.unit.packages import MODEL, install

HONEST = ("honest-half-batch", "honest-non-iid")


def test_the_same_seed_gives_the_same_rounds_and_another_seed_others(corpus: Corpus) -> None:
    first, again, other = (played(small("copy-noise", rounds=1, seed=seed), corpus) for seed in (3, 3, 4))
    assert first == again
    assert first.state_root != other.state_root


def test_what_was_played_survives_json(corpus: Corpus) -> None:
    one = played(small("free-rider-zeros", rounds=1), corpus)
    assert Played.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_training_lowers_the_held_out_loss(corpus: Corpus) -> None:
    losses = [record.loss for record in played(small(rounds=3), corpus).rounds]
    assert losses[-1] < losses[0] < np.log(256)


def test_the_labs_own_model_is_small() -> None:
    assert parameter_count(lab_preset().model) <= 100_000


@pytest.mark.parametrize("name", [name for name in attacks() if name not in HONEST])
def test_every_attack_plays_and_no_round_pays_more_than_its_budget(name: str, corpus: Corpus) -> None:
    rounds = played(small(name), corpus).rounds
    assert len(rounds) == 2
    for record in rounds:
        assert 0 <= sum(record.amounts_wei) <= BUDGET_WEI
        assert all(amount >= 0 for amount in record.amounts_wei)


@pytest.mark.parametrize("name", HONEST)
def test_unlike_trainers_send_something_in_every_round(name: str, corpus: Corpus) -> None:
    assert all(set(record.weights) == set(range(6)) for record in played(small(name), corpus).rounds)


@pytest.mark.parametrize("name", [name for name in defences() if name != OURS])
def test_every_defence_pays_and_moves_the_model(name: str, corpus: Corpus) -> None:
    match = game(small("sign-flip", name), corpus)
    root = match.root
    records = [match.round(number) for number in range(2)]
    assert match.root != root
    assert sum(records[0].amounts_wei) > 0 or name == "gauntlet"  # which pays nobody before anybody is rated


def test_assignments_do_not_meet_each_other_or_the_evaluation(corpus: Corpus) -> None:
    for name in ("none", "honest-non-iid"):
        arena: Arena = arena_of(small(name), corpus)
        given = [set(arena.assigned(1, slot).tolist()) for slot in range(6)]
        drawn = set(arena.random_sequences(1).tolist())
        assert len(drawn) == arena.manifest.scoring.random_sequences
        assert sum(map(len, given)) == len(set().union(*given))
        assert not drawn & set().union(*given)
        assert all(set(arena.own_sample(1, slot).tolist()) <= given[slot] for slot in range(6))


def test_bytes_that_are_no_blob_are_refused_with_a_code(corpus: Corpus) -> None:
    class Garbage(Attack):
        name, source, says = "garbage", "this test", "Sends bytes."

        def contribute(self, view: object) -> dict[int, bytes]:
            return {slot: b"EMRT" for slot in view.slots}  # type: ignore[attr-defined]

    settings = small("free-rider-noise", rounds=1)
    result = play(arena_of(settings, corpus), Garbage(), game(settings, corpus).defence)
    codes = [result.rounds[0].codes[slot] for slot in result.attackers]
    assert codes == ["blob-truncated"] * len(result.attackers)
    assert [result.rounds[0].amounts_wei[slot] for slot in result.attackers] == [0] * len(result.attackers)


def test_a_validator_that_reveals_nothing_is_not_paid(corpus: Corpus) -> None:
    class Silent(ValidatorAttack):
        name, source, says = "silent", "this test", "Reveals nothing."

        def vote(self, view: object) -> dict[int, tuple[int, ...]]:
            return {}

    settings = small("validator-lazy", rounds=1)
    result = play(arena_of(settings, corpus), Silent(), game(settings, corpus).defence)
    assert result.attacking_validators == [3]
    assert result.rounds[0].validator_outcomes == ["paid", "paid", "paid", "no-reveal"]
    assert result.rounds[0].amounts_wei[6 + 3] == 0


def test_idle_slots_send_nothing_and_earn_nothing(corpus: Corpus) -> None:
    record = played(small(rounds=1, idle=2), corpus).rounds[0]
    assert set(record.weights) == {0, 1, 2, 3}
    assert record.amounts_wei[4:6] == [0, 0]


def test_another_model_and_other_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "site", "their_bigram", MODEL, MODELS, "bigram = their_bigram:Architecture")
    text = tmp_path / "poem.txt"
    text.write_text("".join(f"{number}: the sea, the sea and the seagulls over it; " for number in range(2000)))
    settings = small("copy-exact", rounds=1, architecture="bigram", corpus=str(text))
    cell = Laboratory().cell(settings)
    assert set(cell.played.rounds[0].weights) == set(range(6))
    assert cell.played.final_loss < np.log(256)


# ---- harmful aggregates


class Damaging(Ours):
    """The run's own rules, but that one round's aggregate is a large random step."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.bad = bad

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        if seen.number != self.bad:
            return super().combine(seen, slots)
        size = seen.values.size
        deltas = np.random.default_rng(1).integers(1, 1 << 25, size).astype(np.int32)
        return np.arange(size), np.where(np.arange(size) % 2 == 0, deltas, -deltas).astype(np.int32)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_harmful_aggregate_is_taken_back_to_the_bit_and_nobody_is_paid(bad: int, corpus: Corpus) -> None:
    defence = Damaging(bad)
    match = game(small(), corpus, defence)
    roots = [match.root]
    records = []
    for number in range(bad + 3):
        records.append(match.round(number))
        roots.append(match.root)
    assert [record.took_back for record in records] == [False] * (bad + 1) + [True, False]
    assert roots[bad + 2] == roots[bad] != roots[bad + 1]
    # What was paid must not come again, whatever became of it.
    assert sorted(defence.recent.paid) == list(range(bad + 1))
    taken = records[bad + 1]
    limit = match.arena.manifest.rollback.limit_nats
    assert records[bad].harm_nats < limit < taken.harm_nats
    assert sum(taken.amounts_wei) == 0 and set(taken.weights.values()) == {0}
    assert set(taken.codes.values()) == {"taken-back"}
    assert records[bad].loss > records[bad + 2].loss and sum(records[bad + 2].amounts_wei) > 0
    assert defence._rollback.found is not None and defence._rollback.found.guilty == ()
    assert Played.from_dict(json.loads(json.dumps(Played([], [], 0, 0, records, 0.0, "").to_dict()))).rounds == records


def test_never_twice_in_a_row(corpus: Corpus) -> None:
    class Crying(Ours):
        def weigh(self, seen: Seen) -> Opinion:
            vector = take_back_vector(seen.arena.settings.trainers, 5.0, 9.0, seen.arena.manifest.scoring)
            return Opinion(vector, {})

    match = game(small(), corpus, Crying())
    assert [match.round(number).took_back for number in range(5)] == [False, True, False, True, False]


@pytest.mark.parametrize(("fraction", "caused"), [(0.5, False), (0.75, True)])
def test_half_of_the_validators_cannot_have_an_aggregate_taken_back(
    fraction: float, caused: bool, corpus: Corpus
) -> None:
    class Alarm(ValidatorAttack):
        name, source, says = "alarm", "this test", "Says in every round that the last aggregate did harm."

        def vote(self, view: VoteView) -> dict[int, tuple[int, ...]]:
            vector = (view.honest_vector[0], minifloat.MAX_CODE, *[0] * (len(view.honest_vector) - 2))
            return dict.fromkeys(view.slots, vector)

    settings = small("validator-lazy", rounds=2, fraction=fraction)
    result = play(arena_of(settings, corpus), Alarm(), Ours())
    assert len(result.attacking_validators) == 4 * fraction
    assert [record.took_back for record in result.rounds] == [False, caused]


class Admitting(Ours):
    """Finds harm by the run's own rules, and lets everything else in."""

    def weigh(self, seen: Seen) -> Opinion:
        opinion = super().weigh(seen)
        if "taken-back" in opinion.codes.values():
            return opinion
        codes = opinion.codes
        weights = [0 if codes.get(slot) == "harmful" else 100 for slot in range(seen.arena.settings.trainers)]
        return Opinion((*opinion.vector[:RESERVED_LANES], *map(minifloat.encode, weights)), codes)


def test_what_is_good_at_the_trial_step_and_harmful_at_the_full_one_is_taken_back_and_shut_out(corpus: Corpus) -> None:
    match = game(small("trial-step", rounds=10, seed=3), corpus, Admitting())
    rollback = replace(match.arena.manifest.rollback, limit_nats=0.01)  # so tiny a model takes little harm
    match.arena = replace(match.arena, manifest=replace(match.arena.manifest, rollback=rollback))
    records = [match.round(number) for number in range(7)]
    assert [record.took_back for record in records] == [False] * 5 + [True, False]
    assert records[4].loss > records[3].loss and records[5].loss == records[3].loss
    shut_out = [slot for slot, code in records[6].codes.items() if code == "harmful"]
    assert shut_out and set(shut_out) <= set(match.cast.attackers)
    assert all(records[6].weights[slot] == 0 for slot in shut_out)
