"""How a defence looks at a round: who is paid and how much, and what becomes of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.lab.view import Seen
from emerit.protocol import minifloat
from emerit.protocol.types import RESERVED_LANES
from emerit.training.aggregate import aggregate
from emerit.training.state import INT32_MAX

Step = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Positions int64[n], increasing, and what is subtracted there, int32[n]."""
FULL_WEIGHT = 1_000_000


@dataclass(frozen=True)
class Opinion:
    """What honest validators hold of a round.

    Attributes:
        vector: the codes of base loss, health and one weight for each trainer slot.
        codes: by slot, why; keys of `emerit.scoring.reasons`, or a defence's own.
    """

    vector: tuple[int, ...]
    codes: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of_weights(cls, trainers: int, weights: Mapping[int, int], codes: Mapping[int, str]) -> Opinion:
        """Return the opinion of a rule that measures no loss: all lanes but the weights are 0."""
        lanes = [0] * RESERVED_LANES + [minifloat.encode(weights.get(slot, 0)) for slot in range(trainers)]
        return cls(tuple(lanes), codes)


class Defence(ABC):
    """A way to tell good contributions from bad ones; one object for a whole experiment.

    Attributes:
        name: kebab case, as the command line has it.
        source: where the rule is described.
        says: what it does, in a sentence.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    says: ClassVar[str]

    @abstractmethod
    def weigh(self, seen: Seen) -> Opinion:
        """Return what honest validators say of the round."""

    def combine(self, seen: Seen, slots: Sequence[int]) -> Step:
        """Return what is subtracted from the state, given the slots whose consensus weight is at least 1."""
        return aggregate([seen.updates[slot] for slot in slots], seen.arena.manifest.outer)


def equal_weights(seen: Seen, chosen: Sequence[int] | None = None) -> Opinion:
    """Return the opinion that pays the chosen slots alike (all that could be decoded, if none are given)."""
    slots = sorted(seen.updates) if chosen is None else chosen
    codes = {slot: "chosen" if slot in slots else "left-out" for slot in seen.updates} | dict(seen.refused)
    return Opinion.of_weights(seen.arena.settings.trainers, dict.fromkeys(slots, FULL_WEIGHT), codes)


def weighted_step(seen: Seen, weights: Mapping[int, float]) -> Step:
    """Return the weighted mean of updates, by slot, each coordinate over those that sent it.

    The run's learning rate and its floor on the divisor hold, so that only the rule differs; scales are not clipped.
    """
    total, sent = dense_sums(seen.updates, weights)
    outer = seen.arena.manifest.outer
    strongest = max(weights.values(), default=1.0)
    divisor = np.maximum(sent, outer.divisor_floor * strongest) * outer.lr_denominator
    return integer_step(total * outer.lr_numerator / np.maximum(divisor, 1e-30))


def dense_sums(
    updates: Mapping[int, SparseUpdate], weights: Mapping[int, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted sum of the updates in units, and of the weights of those that sent it: float64[P] each."""
    size = next(iter(updates.values())).size if updates else 0
    total, sent = np.zeros(size), np.zeros(size)
    for slot, weight in weights.items():
        update = updates[slot]
        total[update.indices] += weight * update.values()
        sent[update.indices] += weight * update.live()
    return total, sent


def integer_step(units: NDArray[np.float64]) -> Step:
    """Return a dense step float64[P] in units of 2^-24 as positions and integers."""
    whole = np.clip(np.rint(units), -INT32_MAX, INT32_MAX).astype(np.int32)
    positions = np.flatnonzero(whole)
    return positions, whole[positions]
