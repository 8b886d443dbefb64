"""Validators that do not measure, or vote for themselves; weight copying is known from Bittensor."""

from __future__ import annotations

from collections.abc import Mapping

from emerit.lab.attack import ValidatorAttack
from emerit.lab.attacks.free_riders import FreeRiderNoise
from emerit.lab.view import VoteView
from emerit.protocol import minifloat
from emerit.protocol.types import RESERVED_LANES

_COPYING = "weight copying, opentensor/subtensor issue 1957; docs/threat-model.md, threat 16"


class ValidatorLazy(ValidatorAttack):
    """The base loss alone."""

    name = "validator-lazy"
    source = _COPYING
    says = "Measures the base loss, which is one pass, and gives everybody last round's consensus weight."

    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Vote with an honest base loss and stale weights."""
        return dict.fromkeys(view.slots, (*view.honest_vector[:RESERVED_LANES], *_last_weights(view)))


class ValidatorCopy(ValidatorAttack):
    """Last round's result, whole."""

    name = "validator-copy"
    source = _COPYING
    says = "Sends last round's consensus again, base loss included; nothing is measured."

    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Vote with stale lanes only; nothing in the first round."""
        if not view.past or view.past[-1].base_loss is None:
            return {}
        lanes = (minifloat.encode(view.past[-1].base_loss), 0, *_last_weights(view))
        return dict.fromkeys(view.slots, lanes)


class ValidatorRandom(ValidatorAttack):
    """Honest base loss, weights drawn."""

    name = "validator-random"
    source = "docs/threat-model.md"
    says = "Measures the base loss and draws the weights: this round's honest ones in another order."

    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Vote with shuffled weights, other ones under each slot."""
        weights = list(view.honest_vector[RESERVED_LANES:])
        votes = {}
        for slot in view.slots:
            order = view.random.permutation(len(weights))
            votes[slot] = (*view.honest_vector[:RESERVED_LANES], *(weights[int(at)] for at in order))
        return votes


class ValidatorBiased(ValidatorAttack):
    """Honest work, but for its friends."""

    name = "validator-biased"
    source = "docs/threat-model.md"
    says = "Measures honestly and gives its own trainers, who send noise, the largest weight of the round."
    friends = FreeRiderNoise

    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Vote honestly for all but the friends."""
        return dict.fromkeys(view.slots, _favouring(view))


class ValidatorCollude(ValidatorAttack):
    """A cartel: all for its own trainers, nothing for anybody else."""

    name = "validator-collude"
    source = "validator cartels; docs/threat-model.md, threat 2"
    says = "All vote alike: the largest weight for their own trainers, who send noise, and 0 for everybody else."
    friends = FreeRiderNoise

    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Vote for the friends alone."""
        lanes = [
            code if lane < RESERVED_LANES or lane - RESERVED_LANES in view.friends else 0
            for lane, code in enumerate(_favouring(view))
        ]
        return dict.fromkeys(view.slots, tuple(lanes))


def _favouring(view: VoteView) -> tuple[int, ...]:
    lanes = list(view.honest_vector)
    most = max(lanes[RESERVED_LANES:])
    for slot in view.friends:
        lanes[RESERVED_LANES + slot] = most
    return tuple(lanes)


def _last_weights(view: VoteView) -> tuple[int, ...]:
    if not view.past:
        return (0,) * (len(view.honest_vector) - RESERVED_LANES)
    return tuple(minifloat.encode(weight) for weight in view.past[-1].weights)
