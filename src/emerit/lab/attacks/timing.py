"""Attacks that change with time, or choose what to train on."""

from __future__ import annotations

from collections.abc import Mapping

from emerit.lab.arena import Text
from emerit.lab.attack import Attack, Sent
from emerit.lab.attacks.updates import scaled
from emerit.lab.machine import Machine
from emerit.lab.view import RoundView


class Selective(Attack):
    """Honest steps on text of its own choice."""

    name = "selective"
    source = "docs/economics.md (unique-work gap)"
    says = "Trains honestly, on random text of the corpus like that of the evaluation instead of its assigned text."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Train on other text under each identity."""
        return {
            slot: view.machines[place].work(view.number, view.values, view.other_text(len(view.assigned[slot])))
            for place, slot in enumerate(view.slots)
        }


class Intermittent(Attack):
    """A reputation first, betrayal then."""

    name = "intermittent"
    source = "on-off attacks: Sun, Han and Liu, IEEE Communications Magazine 46(2), 2008"
    says = "Works honestly for the first half of the rounds, then sends its work with every sign turned."
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Work, or betray."""
        work = {slot: view.honest(place) for place, slot in enumerate(view.slots)}
        betrays = 2 * view.number >= view.rounds
        return {slot: scaled(update, -1.0) if betrays else update for slot, update in work.items()}


class LateJoiner(Attack):
    """Comes late, with work on what an old seed assigned."""

    name = "late-joiner"
    source = "docs/protocol.md (assignment by seed)"
    says = "Joins after a third of the rounds and trains on what the seed of the first round gave it."

    def __init__(self) -> None:
        """Start before the first round."""
        self._old: Mapping[int, Text] = {}

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send nothing at first, then work on old text."""
        self._old = self._old or view.assigned
        if 3 * view.number < view.rounds:
            return {}
        return {
            slot: view.machines[place].work(view.number, view.values, self._old[slot])
            for place, slot in enumerate(view.slots)
        }


class Absentee(Attack):
    """Takes its merit of a run's first rounds, in which all gain most, to later ones."""

    name = "absentee"
    source = "docs/economics.md (scores over rounds)"
    says = "Works honestly in the first three rounds and then in every fifth only; the rest it stays away."
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Work, or send nothing."""
        if view.number >= 3 and view.number % 5:
            return {}
        return {slot: view.honest(place) for place, slot in enumerate(view.slots)}


class Slacker(Attack):
    """Earns a name in a run's first rounds, in which all gain most, and works a third as much from then on."""

    name = "slacker"
    source = "docs/economics.md (scores over rounds)"
    says = "Works honestly in the first three rounds, then on a third of its batches."
    works = True

    def __init__(self) -> None:
        """Start without memory."""
        self._smaller: list[Machine] = []

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Work, or work less."""
        if view.number < 3:
            return {slot: view.honest(place) for place, slot in enumerate(view.slots)}
        if not self._smaller:
            seeds = [view.arena.private_seed(slot) for slot in view.slots]
            self._smaller = [Machine(view.manifest, seed, 1 / 3) for seed in seeds]
        return {
            slot: machine.work(view.number, view.values, view.assigned[slot])
            for slot, machine in zip(view.slots, self._smaller, strict=True)
        }
