"""One machine behind several identities. Sources: Douceur, The Sybil attack, 2002; Fung et al., arXiv 1808.04866."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.lab.attack import Attack, Sent
from emerit.lab.attacks.updates import jittered, moved, scaled
from emerit.lab.machine import Machine
from emerit.lab.view import RoundView

_SOURCE = "Douceur, The Sybil attack, IPTPS 2002; Fung et al., FoolsGold, arXiv 1808.04866"


class SybilClones(Attack):
    """One update, sent k times."""

    name = "sybil-clones"
    source = _SOURCE
    says = "Works honestly on one machine and sends the update under every identity, a tenth of its entries moved."
    one_machine = True
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the update itself under the first identity, noisy copies under the others."""
        update = view.honest(0)
        first, *others = view.slots
        return {first: update} | {slot: jittered(view, moved(view, update, 0.1)) for slot in others}


class SybilHalves(Attack):
    """One update of k times the entries, dealt out by rank: parts that share nothing and all score well."""

    name = "sybil-halves"
    source = "docs/threat-model.md, threat 11"
    says = "Trains one machine on all its identities' text and deals the top k * identities entries out by rank."
    one_machine = True
    works = True
    planted: float = 0.0

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send one part under each identity."""
        dense = view.machines[0].buffered(view.machines[0].train(view.number, view.values, shared_text(view)))
        template = view.machines[0].send(view.number, dense_delta(view.machines[0], dense))
        return dict(zip(view.slots, dealt(view, template, dense, len(view.slots), self.planted), strict=True))


class SybilHalvesPlanted(SybilHalves):
    """The same, with as much overlap between the parts as independent updates have."""

    name = "sybil-halves-planted"
    source = "docs/threat-model.md, threat 11"
    says = "As sybil-halves, with a tenth of the entries in all parts, so that they overlap as strangers' updates do."
    planted = 0.1


class SybilDivided(Attack):
    """One machine's compute divided by k, each part honest."""

    name = "sybil-divided"
    source = "docs/economics.md (pay that is convex in the score)"
    says = "Divides one machine's batches over its identities, each of which trains on its own text."
    one_machine = True
    works = True

    def __init__(self) -> None:
        """Start without memory."""
        self._parts: list[Machine] = []

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Do a k-th of the work under each of k identities."""
        return self.parts(view)

    def parts(self, view: RoundView) -> dict[int, SparseUpdate]:
        """Return each identity's work."""
        if not self._parts:
            share = 1 / len(view.slots)
            seeds = [view.arena.private_seed(slot) for slot in view.slots]
            self._parts = [Machine(view.manifest, seed, share) for seed in seeds]
        return {
            slot: part.work(view.number, view.values, view.assigned[slot])
            for slot, part in zip(view.slots, self._parts, strict=True)
        }


class SybilDividedInflated(SybilDivided):
    """The same, with scales that are clipped to what whole machines send."""

    name = "sybil-divided-inflated"
    source = "docs/threat-model.md, threats 5 and 11"
    says = "As sybil-divided, with scales sixteen times as large."

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Send the parts' work, sixteen times as large."""
        return {slot: scaled(update, 16.0) for slot, update in self.parts(view).items()}


def shared_text(view: RoundView) -> NDArray[np.uint8]:
    """Return as many sequences as one trainer gets, taken in equal parts from what all identities were given."""
    texts = [view.assigned[slot] for slot in view.slots]
    return np.stack([texts[place % len(texts)][place // len(texts)] for place in range(len(texts[0]))])


def dense_delta(machine: Machine, dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the delta float32[P] with which error feedback sends from exactly `dense`."""
    return dense - machine.buffered(np.zeros_like(dense))


def dealt(
    view: RoundView, like: SparseUpdate, dense: NDArray[np.float32], parts: int, planted: float
) -> Sequence[SparseUpdate]:
    """Return `parts` updates: of each chunk the largest entries, dealt out in turn, `planted` of them to all parts."""
    chosen: list[list[NDArray[np.int64]]] = [[] for _ in range(parts)]
    for place, count in enumerate(like.kept()):
        begin = place * like.chunk
        order = begin + np.argsort(-np.abs(dense[begin : begin + like.chunk]), kind="stable")
        common = round(planted * int(count))
        rest = order[common:]
        for part in range(parts):
            mine = np.concatenate([order[:common], rest[part::parts][: int(count) - common]])
            if len(mine) < int(count):
                mine = order[: int(count)]
            chosen[part].append(np.sort(mine))
    updates = []
    for part in range(parts):
        indices = np.concatenate(chosen[part]).astype(np.int64)
        levels = np.where(dense[indices] < 0, np.int8(-1), np.int8(1))
        updates.append(jittered(view, replace(like, indices=indices, levels=levels)))
    return updates
