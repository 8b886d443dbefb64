"""Clusters of contributions that belong together, and which of them is the original."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

COPY: Final = "copy"
STALE: Final = "stale"
SPLIT: Final = "split"
GAP_Z: Final = 2.0
COPY_SHARE: Final = 2 / 3
_NO_GAP: Final = (-math.inf, 0.0)


@dataclass(frozen=True)
class Pair:
    """Two trainer slots whose updates belong together, with what was measured; `kind` is `copy` or `split`."""

    first: int
    second: int
    overlap: float
    cosine: float
    kind: str


@dataclass(frozen=True)
class Stale:
    """A trainer slot whose update repeats an earlier one: that of the slot `source`, or the aggregate (-1)."""

    slot: int
    source: int
    overlap: float
    cosine: float


@dataclass(frozen=True)
class Threshold:
    """The usual level in a round, its median absolute deviation, and the limit above which a pair is a copy.

    Median and spread are None where a fixed limit holds, because the round has too few updates to learn from.
    """

    median: float | None
    spread: float | None
    limit: float

    @property
    def near_identity(self) -> float:
        """Two thirds of the way from the usual level to identity; -inf where no level is known."""
        return -math.inf if self.median is None else self.median + COPY_SHARE * (1 - self.median)

    def is_near_identity(self, value: float) -> bool:
        """Whether a figure is so far from the usual level; True where none is known."""
        return value >= self.near_identity


_NOTHING: Final = Threshold(None, None, 1.0)


@dataclass(frozen=True)
class Clusters:
    """A round's similar contributions.

    `cluster_of` has the cluster number of each slot that belongs with another one, numbered from 0 in the order
    of their lowest slots; a slot alone is not in it. `pairs` is the evidence. `stale` are those that repeat what
    came before this round.
    """

    cluster_of: dict[int, int] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    overlap: Threshold = _NOTHING
    cosine: Threshold = _NOTHING
    stale: tuple[Stale, ...] = ()

    def members(self, cluster: int) -> tuple[int, ...]:
        """Return the slots of a cluster, ascending."""
        return tuple(sorted(slot for slot, number in self.cluster_of.items() if number == cluster))

    def kinds(self) -> dict[int, tuple[str, ...]]:
        """Return what each slot that is in a pair, or stale, was found to be: `copy`, `split`, `stale`."""
        found: dict[int, set[str]] = {}
        for pair in self.pairs:
            found.setdefault(pair.first, set()).add(pair.kind)
            found.setdefault(pair.second, set()).add(pair.kind)
        for item in self.stale:
            found.setdefault(item.slot, set()).add(STALE)
        return {slot: tuple(sorted(kinds)) for slot, kinds in found.items()}

    def duplicates(self, gaps: Mapping[int, tuple[float, float]], commit_order: Mapping[int, int]) -> frozenset[int]:
        """Return the slots that copy an original of this round, so that no two of the others are similar to each other.

        What is stale is left out, neither a duplicate nor an original: whoever is sent again by another may well be
        like his own last work.
        As long as any are, one of the contributions that are similar to most of the remaining ones goes. Among those
        it is one whose own-minus-random gap (`gaps` has it with its error, in nats, less the usual one; a missing one
        is behind all others) is behind that of something similar by more than two errors, the one with the smallest gap
        first. Where no gap tells, it is the last to commit, then the highest slot, if all of these are near identity: a
        copy within a round can only be committed after its original. Else it is the one with the smallest gap, as who
        trains on a rival's text and commits first is like him, too, and no copy. Among copies of one update this leaves
        the one with the largest gap, made by whoever trained on what he was given, and as long as gaps are noise the
        earliest. A mixture goes first, because those that it resembles do not resemble one another: nobody can make two
        rivals "copies" by resembling both.
        """
        last = len(commit_order)
        similar: dict[int, set[int]] = {slot: set() for slot in self.cluster_of}
        far: set[tuple[int, int]] = set()
        for pair in self.pairs:
            if not (self.overlap.is_near_identity(pair.overlap) or self.cosine.is_near_identity(pair.cosine)):
                far |= {(pair.first, pair.second), (pair.second, pair.first)}
            similar[pair.first].add(pair.second)
            similar[pair.second].add(pair.first)
        for item in self.stale:  # no original, and not what an original is a copy of
            for other in similar.pop(item.slot, ()):
                similar[other].discard(item.slot)
        gone: set[int] = set()
        while any(similar.values()):
            most = max(map(len, similar.values()))
            tied = [slot for slot, others in similar.items() if len(others) == most]
            behind = [slot for slot in tied if any(_is_behind(slot, other, gaps) for other in similar[slot])]
            by_gap = behind or any((slot, other) in far for slot in tied for other in similar[slot])
            least = {slot: -gaps.get(slot, _NO_GAP)[0] if by_gap else 0.0 for slot in tied}
            worst = max(behind or tied, key=lambda slot: (least[slot], commit_order.get(slot, last), slot))
            for other in similar.pop(worst):
                similar[other].discard(worst)
            gone.add(worst)
        return frozenset(gone)


def _is_behind(slot: int, other: int, gaps: Mapping[int, tuple[float, float]]) -> bool:
    """Return whether a slot's gap is below another's by more than two errors of the difference."""
    (mine, my_error), (theirs, their_error) = gaps.get(slot, _NO_GAP), gaps.get(other, _NO_GAP)
    return theirs > mine and theirs - mine > GAP_Z * math.hypot(my_error, their_error)


class Groups:
    """Disjoint sets of integers that grow together; each is named by its least member."""

    def __init__(self) -> None:
        """Start with every number alone."""
        self.root: dict[int, int] = {}

    def top(self, member: int) -> int:
        """Return the least member of a number's set."""
        while self.root.setdefault(member, member) != member:
            self.root[member] = self.root[self.root[member]]
            member = self.root[member]
        return member

    def join(self, first: int, second: int) -> bool:
        """Make the sets of two numbers one; False if they were already."""
        low, high = sorted((self.top(first), self.top(second)))
        self.root[high] = low
        return low != high


def connect(pairs: Iterable[Pair], overlap: Threshold, cosine: Threshold, stale: tuple[Stale, ...] = ()) -> Clusters:
    """Return the connected components of similar pairs as clusters."""
    found = tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))
    groups = Groups()
    for pair in found:
        groups.join(pair.first, pair.second)
    numbers: dict[int, int] = {}
    cluster_of = {slot: numbers.setdefault(groups.top(slot), len(numbers)) for slot in sorted(groups.root)}
    return Clusters(cluster_of, found, overlap, cosine, stale)
