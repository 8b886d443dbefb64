"""Copycats: they send the work of others. What they see of the very round, a run hides by commit and reveal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from emerit.codec.update import SparseUpdate
from emerit.lab.attack import Attack, Sent
from emerit.lab.attacks.updates import jittered, moved, noise_like, scaled
from emerit.lab.view import RoundView

_SOURCE = "copycats of Templar, docs/threat-model.md; Fung et al., FoolsGold, arXiv 1808.04866"
MIXED = 3


class _Copycat(Attack):
    """Each identity copies another victim, and commits after him."""

    commits = "last"

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send a changed copy of one honest update under each identity."""
        victims = sorted(view.others)
        return {
            slot: self.changed(view, view.others[victims[place % len(victims)]])
            for place, slot in enumerate(view.slots)
        }

    @abstractmethod
    def changed(self, view: RoundView, update: SparseUpdate) -> SparseUpdate:
        """Return what is sent instead of the victim's update."""


class CopyExact(_Copycat):
    """The very update."""

    name = "copy-exact"
    source = _SOURCE
    says = "Sends the update of an honest trainer, committed after his."

    def changed(self, view: RoundView, update: SparseUpdate) -> SparseUpdate:
        """Change nothing."""
        return update


class CopyNoise(_Copycat):
    """A copy with a tenth of its entries moved."""

    name = "copy-noise"
    source = _SOURCE
    says = "Sends an honest trainer's update with a tenth of its entries moved and other scales."

    def changed(self, view: RoundView, update: SparseUpdate) -> SparseUpdate:
        """Add noise to positions and scales."""
        return jittered(view, moved(view, update, 0.1))


class CopyScaled(_Copycat):
    """A copy of another size."""

    name = "copy-scaled"
    source = _SOURCE
    says = "Sends an honest trainer's update at half its size."

    def changed(self, view: RoundView, update: SparseUpdate) -> SparseUpdate:
        """Halve the scales."""
        return scaled(update, 0.5)


class CopyHalf(_Copycat):
    """Half a copy."""

    name = "copy-half"
    source = _SOURCE
    says = "Sends an honest trainer's update with half of its entries moved to random places."

    def changed(self, view: RoundView, update: SparseUpdate) -> SparseUpdate:
        """Move every second entry."""
        return moved(view, update, 0.5)


class CopyStale(Attack):
    """What somebody sent a round ago: it is public by then, in a run too."""

    name = "copy-stale"
    source = _SOURCE
    says = "Sends what an honest trainer sent one round before."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send last round's updates of others; noise in the first."""
        honest = sorted(view.others)
        last = view.past[-1].updates if view.past else {}
        sent: dict[int, Sent] = {}
        for place, slot in enumerate(view.slots):
            victim = honest[place % len(honest)]
            fresh = view.others[victim]
            sent[slot] = jittered(view, last[victim]) if victim in last else noise_like(view, fresh)
        return sent


class Mixture(Attack):
    """The mean of several: it resembles each of them less than a copy would."""

    name = "mixture"
    source = _SOURCE + "; mimicry by mixing, Karimireddy et al., arXiv 2006.09365"
    says = f"Sends the mean of {MIXED} honest updates, other ones under each identity."
    commits = "last"

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send mixtures."""
        sent: dict[int, Sent] = {}
        honest = sorted(view.others)
        for slot in view.slots:
            chosen = view.random.choice(honest, min(MIXED, len(honest)), replace=False)
            dense = np.sum([view.others[int(victim)].dense() for victim in chosen], axis=0)
            mean = np.asarray(dense / len(chosen), dtype=np.float32)
            sent[slot] = replace(view.compress(mean), scales=view.others[int(chosen[0])].scales)
        return sent


class ResembleRival(Attack):
    """Work on the own shards on top of a rival's update, so that both look like one and he is left out."""

    name = "resemble-rival"
    source = "docs/threat-model.md, threat 12"
    says = "Adds its own honest work to a rival's update, so that the two look like one and the rival is left out."
    commits = "last"
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send own work plus the work of one rival for each identity."""
        rivals = sorted(view.others)
        sent: dict[int, Sent] = {}
        for place, slot in enumerate(view.slots):
            rival = view.others[rivals[place % len(rivals)]]
            own = view.machines[place].train(view.number, view.values, view.assigned[slot])
            size = float(np.linalg.norm(rival.dense())) / max(float(np.linalg.norm(view.compress(own).dense())), 1e-12)
            sent[slot] = replace(view.compress(own * np.float32(size) + 2 * rival.dense()), scales=rival.scales)
        return sent
