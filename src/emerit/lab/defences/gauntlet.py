"""Gauntlet, the rules of Templar, as its source had them in 2025: what a peer with the same purpose does.

Each contribution is tried at 0.2 of the step on eight sequences of its own text and eight random ones, all scales
clipped to the median norm. The relative gain on random text is a match of an OpenSkill rating; own against random gain
is a sign, averaged; rank and average multiply to a score, and pay is in the score's square. Who overlaps with somebody
by 0.4 loses half, by 0.5 all; the later one is to blame.

Not here: the penalty for a model that is out of step (in the lab nobody is) and burnt emissions. Its times are those of
runs of thousands of rounds; here the average moves by 0.3 a round instead of 0.05, and the warm-ups of ten and twenty
windows are two rounds, or almost nobody would be paid in a whole experiment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from emerit.codec.update import SparseUpdate
from emerit.lab.defence import Defence, Opinion, Step, weighted_step
from emerit.lab.defences.classic import by_weight
from emerit.lab.view import Seen
from emerit.model.flat import FlatModel
from emerit.protocol.minifloat import encode_array
from emerit.scoring.losses import TrialStep, sequence_losses
from emerit.scoring.similarity import overlap
from emerit.training.state import to_float

TRIAL = 0.2
SEQUENCES = 8
SIGN_RATE = 0.3
LEAST_SIGN = 0.1
WARM_UP_ROUNDS = 2
HALVED_OVERLAP, RESET_OVERLAP = 0.4, 0.5
BETA, TAU = 7.0, 0.1
FIRST_MU, FIRST_SIGMA = 25.0, 25.0 / 3


@dataclass(frozen=True)
class Rating:
    """Skill as a normal distribution; `ordinal` is what it is surely above."""

    mu: float = FIRST_MU
    sigma: float = FIRST_SIGMA

    @property
    def ordinal(self) -> float:
        """The lower end: mu - 3 sigma."""
        return self.mu - 3 * self.sigma


class Gauntlet(Defence):
    """Rank by loss, sign of own against random, overlap of positions."""

    name = "gauntlet"
    source = "Templar / Gauntlet, arXiv 2505.21684"
    says = "OpenSkill rank of the gain on random text, times the averaged sign of own against random gain, squared."

    def __init__(self) -> None:
        """Start with nobody rated."""
        self._ratings: dict[int, Rating] = {}
        self._signs: dict[int, float] = {}
        self._model: FlatModel | None = None

    def weigh(self, seen: Seen) -> Opinion:
        """Try every contribution and pay by the square of its score."""
        gains = self._gains(seen)
        for slot, (own, random) in gains.items():
            before = self._signs.get(slot, 0.0)
            self._signs[slot] = (1 - SIGN_RATE) * before + SIGN_RATE * (1.0 if own > random else -1.0)
        self._ratings |= rated(self._ratings, {slot: random for slot, (_, random) in gains.items()})
        if seen.number >= WARM_UP_ROUNDS:
            self._punish(seen)
        scores = {slot: self._score(slot, seen.number) for slot in gains}
        best = max(scores.values(), default=0.0)
        return by_weight(seen, {slot: (score / best) ** 2 if best > 0 else 0.0 for slot, score in scores.items()})

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Average the paid ones, each clipped to the median norm."""
        clipped = clipped_to_median_norm(seen.updates)
        return weighted_step(replace(seen, updates=clipped), dict.fromkeys(slots, 1.0))

    def _score(self, slot: int, number: int) -> float:
        sign = self._signs[slot]
        if number >= WARM_UP_ROUNDS and sign < LEAST_SIGN:
            sign = 0.0
        return max(0.0, self._ratings[slot].ordinal) * max(0.0, sign)

    def _gains(self, seen: Seen) -> Mapping[int, tuple[float, float]]:
        """Return the relative drop of the loss on own and on random text, by slot."""
        manifest = seen.arena.manifest
        model = self._model = self._model or FlatModel(manifest.model)
        model.load(to_float(seen.values))
        random_text = seen.random_text()[:SEQUENCES]
        before = float(sequence_losses(model.module, random_text).mean())
        step = TRIAL * manifest.outer.lr_numerator / manifest.outer.lr_denominator
        gains = {}
        for slot, update in clipped_to_median_norm(seen.updates).items():
            own_text = seen.own_text(slot)[:SEQUENCES]
            own_before = float(sequence_losses(model.module, own_text).mean())
            with TrialStep(model.flat, update, step):
                own = 1 - float(sequence_losses(model.module, own_text).mean()) / own_before
                gains[slot] = own, 1 - float(sequence_losses(model.module, random_text).mean()) / before
        return gains

    def _punish(self, seen: Seen) -> None:
        """Cut the sign of the later one of each pair that overlaps too much."""
        for first, second in combinations(sorted(seen.updates), 2):
            shared = overlap(seen.updates[first], seen.updates[second])
            if shared < HALVED_OVERLAP:
                continue
            later = max(first, second, key=lambda slot: seen.commit_order[slot])
            self._signs[later] = 0.0 if shared >= RESET_OVERLAP else 0.5 * self._signs[later]


def clipped_to_median_norm(updates: Mapping[int, SparseUpdate]) -> dict[int, SparseUpdate]:
    """Return the updates (by slot), none larger than their median norm."""
    if not updates:
        return {}
    norms = {slot: float(np.linalg.norm(update.values().astype(np.float64))) for slot, update in updates.items()}
    level = float(np.median(list(norms.values())))
    clipped = {}
    for slot, update in updates.items():
        factor = min(1.0, level / norms[slot]) if norms[slot] else 1.0
        units = np.floor(update.scale_units() * factor).astype(np.int64)
        clipped[slot] = replace(update, scales=encode_array(units).astype(np.uint16))
    return clipped


def rated(ratings: Mapping[int, Rating], gains: Mapping[int, float]) -> dict[int, Rating]:
    """Return the ratings after a match whose order is that of the gains, the largest first.

    Plackett-Luce of Weng and Lin (JMLR 12, 2011, algorithm 4), as OpenSkill has it, with beta 7 and tau 0.1.
    """
    order = sorted(gains, key=lambda slot: -gains[slot])
    before = {slot: ratings.get(slot, Rating()) for slot in order}
    spread = {slot: before[slot].sigma ** 2 + TAU**2 for slot in order}
    c = math.sqrt(sum(value + BETA**2 for value in spread.values()))
    strength = {slot: math.exp(before[slot].mu / c) for slot in order}
    left = [sum(strength[slot] for slot in order[place:]) for place in range(len(order))]
    after = {}
    for place, slot in enumerate(order):
        omega = delta = 0.0
        for above in range(place + 1):
            share = strength[slot] / left[above]
            omega += (1.0 if above == place else 0.0) - share
            delta += share * (1 - share)
        gamma = math.sqrt(spread[slot]) / c
        sigma = math.sqrt(spread[slot] * max(1 - spread[slot] / c**2 * gamma * delta, 1e-4))
        after[slot] = Rating(before[slot].mu + spread[slot] / c * omega, sigma)
    return after
