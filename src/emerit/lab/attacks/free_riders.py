"""Free-riders: they send something and train nothing. Sources: Lin et al., arXiv 1911.12560; S2-WEF, 2604.04611."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from emerit.codec.update import SparseUpdate, first_indices
from emerit.lab.attack import Attack, Sent
from emerit.lab.attacks.updates import jittered, noise_like
from emerit.lab.view import RoundView

_SOURCE = "Lin, Du and Liu, Free-riders in federated learning, arXiv 1911.12560"


class FreeRiderZeros(Attack):
    """Nothing at all, in the one form that it has."""

    name = "free-rider-zeros"
    source = _SOURCE
    says = "Sends an update whose every scale is zero."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send zeros."""
        like = next(iter(view.others.values()))
        zeros = replace(
            like,
            indices=first_indices(like.size, like.chunk, like.k),
            levels=np.ones_like(like.levels),
            scales=np.zeros_like(like.scales),
        )
        return dict.fromkeys(view.slots, zeros)


class FreeRiderNoise(Attack):
    """Noise of an honest update's size."""

    name = "free-rider-noise"
    source = _SOURCE
    says = "Sends random positions and signs with the scales of an honest update."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send other noise under every identity."""
        like = next(iter(view.others.values()))
        return {slot: noise_like(view, like) for slot in view.slots}


class FreeRiderStale(Attack):
    """Own work of the first round, again and again."""

    name = "free-rider-stale"
    source = _SOURCE
    says = "Works honestly in the first round and sends that update again in every later one."

    def __init__(self) -> None:
        """Start with nothing to send again."""
        self._first: dict[int, SparseUpdate] = {}

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send what was made in the first round."""
        if not self._first:
            self._first = {slot: view.honest(place) for place, slot in enumerate(view.slots)}
        return {slot: jittered(view, update) for slot, update in self._first.items()}


class FreeRiderAggregate(Attack):
    """The last step of the model, sent again as if it were work (delta weights)."""

    name = "free-rider-aggregate"
    source = _SOURCE + " (delta weights)"
    says = "Sends the last round's aggregate, with the scales of an honest update and a little noise."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the last aggregate; noise before there is one."""
        like = next(iter(view.others.values()))
        if not view.past or not view.past[-1].step.any():
            return {slot: noise_like(view, like) for slot in view.slots}
        step = view.past[-1].step
        spread = np.float32(0.1 * np.abs(step).mean())
        sent: dict[int, Sent] = {}
        for slot in view.slots:
            noise = view.random.standard_normal(step.size).astype(np.float32) * spread
            sent[slot] = replace(view.compress(step + noise), scales=like.scales)
        return sent
