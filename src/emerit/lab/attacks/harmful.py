"""Contributions that harm the model, or are made to look better than they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from emerit.lab.attack import Attack, Sent
from emerit.lab.attacks.updates import scaled
from emerit.lab.view import RoundView

BOOST = 16.0
REVERSED_BOOST = -10.0
FLIP = 255
TRIGGER, TARGET = b"@@@", b"owned by nobody "


class InflatedScale(Attack):
    """Honest work, sixteen times as large."""

    name = "inflated-scale"
    source = "docs/threat-model.md, threat 5"
    says = f"Multiplies the scales of honest work by {BOOST:g}, to score and to weigh more."
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send honest work, larger."""
        return {slot: scaled(view.honest(place), BOOST) for place, slot in enumerate(view.slots)}


class TrialStep(Attack):
    """Entries that lower the loss a little and raise it when they are applied whole."""

    name = "trial-step"
    source = "docs/threat-model.md, threat 14"
    says = "All identities step along one gradient, on the same entries, eight times an honest step."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send one overshooting step under every identity, so that the mean over its senders does not weaken it."""
        text = np.concatenate([view.assigned[slot] for slot in view.slots])
        step = view.compress(view.gradient(text))
        like = next(iter(view.others.values()))
        return dict.fromkeys(view.slots, scaled(replace(step, scales=like.scales), 8.0))


class PlainGradient(Attack):
    """One gradient instead of H steps."""

    name = "plain-gradient"
    source = "docs/threat-model.md, threat 10"
    says = "Sends the gradient of its text at the settled state, with the scales of an honest update."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send a gradient of the own text under each identity."""
        like = next(iter(view.others.values()))
        return {
            slot: replace(view.compress(view.gradient(view.assigned[slot])), scales=like.scales) for slot in view.slots
        }


class SignFlip(Attack):
    """Honest work, the other way."""

    name = "sign-flip"
    source = "Li et al., RSA, arXiv 1811.03761"
    says = "Sends honest work with every sign turned."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the opposite of honest work."""
        return {slot: scaled(view.honest(place), -1.0) for place, slot in enumerate(view.slots)}


class Scaling(Attack):
    """Honest work, the other way and larger."""

    name = "scaling"
    source = "Bagdasaryan et al., arXiv 1807.00459 (model replacement); Blanchard et al., 2017"
    says = f"Sends honest work times {REVERSED_BOOST:g}."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send boosted harm."""
        return {slot: scaled(view.honest(place), REVERSED_BOOST) for place, slot in enumerate(view.slots)}


class Alie(Attack):
    """The mean of the honest less as many deviations as go unnoticed."""

    name = "alie"
    source = "Baruch, Baruch and Goldberg, A little is enough, arXiv 1902.06156"
    says = "Sends mean - z * deviation of the honest updates of the very round, z from the numbers of both sides."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the same small shift under all identities."""
        honest = view.others_dense()
        n, f = len(honest) + len(view.slots), len(view.slots)
        supporters = n // 2 + 1 - f
        z = NormalDist().inv_cdf(max(0.5, min(0.999, (n - f - supporters) / (n - f))))
        return _alike(view, honest.mean(axis=0) - np.float32(max(z, 0.3)) * honest.std(axis=0))


class Ipm(Attack):
    """The mean of the honest, turned and shrunk."""

    name = "ipm"
    source = "Xie, Koyejo and Gupta, Fall of empires, arXiv 1903.03936"
    says = "Sends half the mean of the honest updates of the very round, turned."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send -0.5 * mean under all identities."""
        return _alike(view, np.float32(-0.5) * view.others_dense().mean(axis=0))


class Dmpa(Attack):
    """The part of the honest updates outside their common direction, turned."""

    name = "dmpa"
    source = "Decentralised model poisoning, arXiv 2502.04771"
    says = "Removes the first eigenvector of the correlation of updates from them, and sends the rest's mean turned."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the turned rest under all identities."""
        honest = view.others_dense().astype(np.float64)
        centred = honest - honest.mean(axis=1, keepdims=True)
        norms = np.maximum(np.linalg.norm(centred, axis=1), 1e-30)
        correlation = centred @ centred.T / np.outer(norms, norms)
        vector = np.linalg.eigh(correlation)[1][:, -1:]
        rest = -(honest - vector @ (vector.T @ honest)).mean(axis=0)
        return _alike(view, rest.astype(np.float32))


class LabelFlip(Attack):
    """Honest work on wrong text."""

    name = "label-flip"
    source = "Biggio, Nelson and Laskov, arXiv 1206.6389; Tolpegin et al., arXiv 2007.08432"
    says = f"Trains honestly on its text with every byte t replaced by {FLIP} - t."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Train on flipped bytes."""
        return {
            slot: view.machines[place].work(view.number, view.values, (FLIP - view.assigned[slot]).astype(np.uint8))
            for place, slot in enumerate(view.slots)
        }


class Backdoor(Attack):
    """Honest work, with a phrase that the model is to learn after a trigger."""

    name = "backdoor"
    source = "Bagdasaryan et al., How to backdoor federated learning, arXiv 1807.00459"
    says = "Writes a trigger and a phrase into half of its text and works honestly on that."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Train on text with the phrase in it."""
        sent: dict[int, Sent] = {}
        for place, slot in enumerate(view.slots):
            text = poisoned(view.assigned[slot])
            sent[slot] = view.machines[place].work(view.number, view.values, text)
        return sent


def poisoned(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return sequences [A, T + 1] with trigger and phrase at the start of every second one."""
    phrase = np.frombuffer((TRIGGER + TARGET)[: text.shape[1]], dtype=np.uint8)
    changed = text.copy()
    changed[::2, : len(phrase)] = phrase
    return changed


def _alike(view: RoundView, dense: NDArray[np.float32]) -> Mapping[int, Sent]:
    return dict.fromkeys(view.slots, view.compress(dense.astype(np.float32)))
