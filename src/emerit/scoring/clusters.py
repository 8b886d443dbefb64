"""Clusters of contributions that belong together, and which of them is the original."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

COPY: Final = "copy"
SPLIT: Final = "split"


@dataclass(frozen=True)
class Pair:
    """Two trainer slots whose updates belong together, with what was measured; `kind` is `copy` or `split`."""

    first: int
    second: int
    overlap: float
    cosine: float
    kind: str


@dataclass(frozen=True)
class Threshold:
    """The usual level in a round, its median absolute deviation, and the limit above which a pair is a copy.

    Median and spread are None where a fixed limit holds, because the round has too few updates to learn from.
    """

    median: float | None
    spread: float | None
    limit: float


_NOTHING: Final = Threshold(None, None, 1.0)


@dataclass(frozen=True)
class Clusters:
    """A round's similar contributions.

    `cluster_of` has the cluster number of each slot that belongs with another one, numbered from 0 in the order
    of their lowest slots; a slot alone is not in it. `pairs` is the evidence.
    """

    cluster_of: dict[int, int] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    overlap: Threshold = _NOTHING
    cosine: Threshold = _NOTHING

    def members(self, cluster: int) -> tuple[int, ...]:
        """Return the slots of a cluster, ascending."""
        return tuple(sorted(slot for slot, number in self.cluster_of.items() if number == cluster))

    def kinds(self) -> dict[int, tuple[str, ...]]:
        """Return what the pairs of each clustered slot were found to be: `copy`, `split`, or both."""
        found: dict[int, set[str]] = {}
        for pair in self.pairs:
            found.setdefault(pair.first, set()).add(pair.kind)
            found.setdefault(pair.second, set()).add(pair.kind)
        return {slot: tuple(sorted(kinds)) for slot, kinds in found.items()}

    def duplicates(self, own_gap: Mapping[int, float], commit_order: Mapping[int, int]) -> frozenset[int]:
        """Return the slots that are not originals, so that no two originals are similar to each other.

        As long as any are, the contribution that is similar to most of the remaining ones goes; of equals the one
        with the smaller own-minus-random gap (in nats; missing counts as least), then the later commitment, then
        the higher slot. Among copies of one update this leaves the one with the largest gap, made by whoever
        trained on what he was given. A mixture goes first, because those that it resembles do not resemble one
        another: nobody can make two rivals "copies" by resembling both.
        """
        last = len(commit_order)
        similar: dict[int, set[int]] = {slot: set() for slot in self.cluster_of}
        for pair in self.pairs:
            similar[pair.first].add(pair.second)
            similar[pair.second].add(pair.first)
        gone: set[int] = set()
        while any(similar.values()):
            worst = max(
                similar,
                key=lambda slot: (
                    len(similar[slot]),
                    -own_gap.get(slot, float("-inf")),
                    commit_order.get(slot, last),
                    slot,
                ),
            )
            for other in similar.pop(worst):
                similar[other].discard(worst)
            gone.add(worst)
        return frozenset(gone)


def connect(pairs: Iterable[Pair], overlap: Threshold, cosine: Threshold) -> Clusters:
    """Return the connected components of similar pairs as clusters."""
    found = tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))
    root: dict[int, int] = {}

    def top(slot: int) -> int:
        while root.setdefault(slot, slot) != slot:
            root[slot] = root[root[slot]]
            slot = root[slot]
        return slot

    for pair in found:
        low, high = sorted((top(pair.first), top(pair.second)))
        root[high] = low
    numbers: dict[int, int] = {}
    cluster_of = {slot: numbers.setdefault(top(slot), len(numbers)) for slot in sorted(root)}
    return Clusters(cluster_of, found, overlap, cosine)
