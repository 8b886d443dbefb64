"""Attacks do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from emerit.codec.update import SparseUpdate
from emerit.lab.arena import Corpus
from emerit.lab.attack import Sent
from emerit.lab.attacks.harmful import TARGET, TRIGGER, poisoned
from emerit.lab.attacks.updates import jittered, moved, scaled
from emerit.lab.catalogue import attacks
from emerit.lab.view import RoundView
from emerit.scoring.similarity import abs_cosine, overlap
from tests.unit.lab.builders import game, small


class Seen:
    """An attack's view of a round, and what it sends in it."""

    def __init__(self, name: str, corpus: Corpus, rounds: int = 1) -> None:
        match = game(small(name, rounds=max(2, rounds)), corpus)
        for number in range(rounds - 1):
            match.round(number)
        attack = match.cast.trainers_attack
        assert attack is not None
        self.view: RoundView = match._view(
            rounds - 1,
            {
                slot: machine.work(rounds - 1, match.state.values, match._assigned(rounds - 1, slot))
                for slot, machine in match.cast.workers.items()
            },
        )
        self.sent: dict[int, Sent] = dict(attack.contribute(self.view))

    def updates(self) -> list[SparseUpdate]:
        found = [item for _, item in sorted(self.sent.items()) if isinstance(item, SparseUpdate)]
        assert len(found) == len(self.sent) > 0
        return found


@pytest.fixture(scope="module")
def noise(corpus: Corpus) -> Seen:
    return Seen("free-rider-noise", corpus)


def test_names_are_kebab_case_and_everything_is_explained() -> None:
    for name, kind in attacks().items():
        assert name == kind.name and name == name.lower() and " " not in name and "_" not in name
        assert kind.says.endswith(".") and kind.source


def test_moving_a_share_leaves_the_rest(noise: Seen) -> None:
    update = next(iter(noise.view.others.values()))
    for share in (0.0, 0.1, 0.5):
        changed = moved(noise.view, update, share)
        changed.check()
        assert overlap(update, changed) == pytest.approx(1 - share, abs=0.02)


def test_scaling_and_jitter_keep_positions(noise: Seen) -> None:
    update = next(iter(noise.view.others.values()))
    for changed in (scaled(update, 0.5), scaled(update, -10.0), jittered(noise.view, update)):
        changed.check()
        assert overlap(update, changed) == 1.0
        assert abs_cosine(update, changed) > 0.99
    assert np.array_equal(scaled(update, -1.0).values(), -update.values())


def test_noise_has_an_honest_size_and_no_direction(noise: Seen) -> None:
    honest = next(iter(noise.view.others.values()))
    for update in noise.updates():
        assert np.linalg.norm(update.dense()) == pytest.approx(np.linalg.norm(honest.dense()))
        assert abs_cosine(update, honest) < 0.1


def test_copies_resemble_their_victims(corpus: Corpus) -> None:
    for name, least in (("copy-exact", 1.0), ("copy-noise", 0.85), ("copy-scaled", 1.0), ("copy-half", 0.45)):
        seen = Seen(name, corpus)
        best = max(overlap(seen.updates()[0], other) for other in seen.view.others.values())
        assert best >= least, name


def test_stale_work_is_what_somebody_sent_before(corpus: Corpus) -> None:
    seen = Seen("copy-stale", corpus, rounds=2)
    last = seen.view.past[-1].updates
    assert max(overlap(seen.updates()[0], last[slot]) for slot in seen.view.others) == 1.0


def test_halves_share_nothing_and_planted_ones_a_tenth(corpus: Corpus) -> None:
    first, second = Seen("sybil-halves", corpus).updates()
    assert overlap(first, second) == 0.0
    first, second = Seen("sybil-halves-planted", corpus).updates()
    assert overlap(first, second) == pytest.approx(0.1, abs=0.01)


def test_inner_product_manipulation_points_against_the_honest(corpus: Corpus) -> None:
    for name in ("ipm", "sign-flip"):
        seen = Seen(name, corpus)
        mean = seen.view.others_dense().mean(axis=0)
        assert float(seen.updates()[0].dense() @ mean) < 0, name


def test_a_plain_gradient_points_down(corpus: Corpus) -> None:
    seen = Seen("plain-gradient", corpus)
    slot = seen.view.slots[0]
    assert float(seen.updates()[0].dense() @ seen.view.gradient(seen.view.assigned[slot])) > 0


def test_a_backdoor_is_in_half_of_the_text() -> None:
    text = np.zeros((4, 33), dtype=np.uint8)
    changed = poisoned(text)
    assert changed[0, : len(TRIGGER + TARGET)].tobytes() == TRIGGER + TARGET
    assert not changed[1].any() and not text.any()


def test_late_joiners_are_not_there_at_first(corpus: Corpus) -> None:
    assert Seen("late-joiner", corpus).sent == {}
    assert len(Seen("late-joiner", corpus, rounds=2).sent) == 2
