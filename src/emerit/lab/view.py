"""What takes part in a round can see of it: attackers, validators that cheat, and defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.lab.arena import Arena, Text
from emerit.lab.machine import Machine, compressed, gradient_of
from emerit.protocol.manifest import Manifest


@dataclass(frozen=True)
class PastRound:
    """What everybody knows of a round once it is over.

    Attributes:
        updates: by trainer slot, what was revealed and could be decoded.
        step: float32[P], what was subtracted from the weights.
        weights: consensus weight of each trainer slot.
        base_loss: median base loss in loss units, None where nobody gave one.
        took_back: whether it took the aggregate of the round before back, and judged nobody.
    """

    number: int
    updates: Mapping[int, SparseUpdate]
    step: NDArray[np.float32]
    weights: tuple[int, ...]
    base_loss: int | None
    took_back: bool = False


@dataclass(frozen=True)
class RoundView:
    """A round as an attacker sees it before it contributes: more than a run would ever let it see.

    Attributes:
        slots: the attacker's trainer identities.
        values: int32[P], the settled state in units of 2^-24.
        assigned: by slot of the attacker, the sequences [A, T + 1] that it is to train on.
        others: by slot, what the honest trainers send in this very round. In a run commit and reveal hide it until it
            is too late to copy; here nothing does, so that scoring has to hold alone.
        past: the rounds before, oldest first.
        machines: the attacker's computers; each can do one honest trainer's work a round.
        random: draws that depend on the experiment's seed and the round alone.
    """

    number: int
    rounds: int
    slots: tuple[int, ...]
    values: NDArray[np.int32]
    assigned: Mapping[int, Text]
    others: Mapping[int, SparseUpdate]
    past: Sequence[PastRound]
    machines: Sequence[Machine]
    random: np.random.Generator
    arena: Arena

    @property
    def manifest(self) -> Manifest:
        """The run's manifest."""
        return self.arena.manifest

    def honest(self, place: int) -> SparseUpdate:
        """Return the honest work of the attacker's machine at `place`, on what the identity there was given."""
        return self.machines[place].work(self.number, self.values, self.assigned[self.slots[place]])

    def compress(self, dense: NDArray[np.float32]) -> SparseUpdate:
        """Return what the codec makes of float32[P], without error feedback."""
        return compressed(self.manifest, self.number, dense)

    def gradient(self, text: Text) -> NDArray[np.float32]:
        """Return float32[P]: the plain gradient of the settled state's loss on sequences [n, T + 1]."""
        return gradient_of(self.manifest, self.values, text)

    def other_text(self, count: int) -> Text:
        """Return `count` random sequences of the corpus."""
        train = self.arena.corpus.train
        return train[self.random.choice(len(train), count, replace=False)]

    def others_dense(self) -> NDArray[np.float32]:
        """Return float32[n, P]: what the honest trainers send, as vectors."""
        return np.stack([self.others[slot].dense() for slot in sorted(self.others)])


@dataclass(frozen=True)
class VoteView:
    """A round as validators that cheat see it when they vote.

    Attributes:
        slots: the attacker's validator slots.
        honest_vector: the codes that honest work gives: base loss, health, one weight for each trainer slot.
        friends: trainer slots that belong to the attacker.
        past: the rounds before, oldest first.
    """

    number: int
    slots: tuple[int, ...]
    honest_vector: tuple[int, ...]
    friends: tuple[int, ...]
    past: Sequence[PastRound]
    random: np.random.Generator


@dataclass(frozen=True)
class Seen:
    """A round as a defence sees it: all that is public once the reveals are in.

    Attributes:
        values: int32[P], the settled state; `before` is the one before the last aggregate, None in the first round and
            after one that took an aggregate back.
        updates: by trainer slot, what could be decoded.
        refused: code by slot of the others that revealed something.
        commit_order: place of every slot's commitment.
        trust: last consensus weight of each trainer slot, empty before the first.
        past: the rounds before, oldest first.
        momentum: int32[P], the state's outer momentum, None where the run has none.
    """

    number: int
    values: NDArray[np.int32]
    before: NDArray[np.int32] | None
    updates: Mapping[int, SparseUpdate]
    refused: Mapping[int, str]
    commit_order: Mapping[int, int]
    trust: Mapping[int, int]
    past: Sequence[PastRound]
    arena: Arena
    momentum: NDArray[np.int32] | None = None

    def random_text(self) -> Text:
        """Return the sequences [n, T + 1] that the round is evaluated on."""
        return self.arena.corpus.train[self.arena.random_sequences(self.number)]

    def own_text(self, slot: int) -> Text:
        """Return the sample [m, T + 1] of a slot's assigned sequences."""
        return self.arena.corpus.train[self.arena.own_sample(self.number, slot)]
