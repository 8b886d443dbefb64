"""How alike two sparse updates are, exactly: shared positions, overlap, |cosine|, and what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate, chunk_lengths

_BLOCK: Final = 16


@dataclass(frozen=True)
class Vector:
    """The entries of a vector of length `size` that are not 0: positions int64[n], ascending, and values float64[n]."""

    size: int
    indices: NDArray[np.int64]
    values: NDArray[np.float64]

    @cached_property
    def norm(self) -> float:
        """Euclidean length."""
        return float(np.sqrt(self.values @ self.values))


@dataclass(frozen=True)
class Compared:
    """All pairs of n updates, float64[n, n] each; the diagonals mean nothing.

    `overlap` is |I_a and I_b| / min(|I_a|, |I_b|), `cosine` its absolute value. `due` has the entries that a pair
    shares by chance and `rate` those that it shares, as a multiple of that. `entries` int64[n] counts an update's.
    `error` is the standard error of overlaps and cosines: 0 where they are exact.
    """

    overlap: NDArray[np.float64]
    cosine: NDArray[np.float64]
    rate: NDArray[np.float64]
    due: NDArray[np.float64]
    entries: NDArray[np.int64]
    error: float = 0.0


@dataclass(frozen=True)
class Likeness:
    """One pair, exactly: entries that both have, their share of the smaller update's, |cosine|."""

    shared: int
    overlap: float
    cosine: float


def vector_of(update: SparseUpdate) -> Vector:
    """Return the entries of an update that say something: those of level 0 and of chunks with scale 0 do not."""
    values = update.values().astype(np.float64)
    told = values != 0
    return (
        Vector(update.size, update.indices, values)
        if told.all()
        else Vector(update.size, update.indices[told], values[told])
    )


def aggregate_vector(change: NDArray[np.int64]) -> Vector:
    """Return a dense change int64[P] of the state (any unit) as a vector."""
    places = np.flatnonzero(change)
    return Vector(len(change), places.astype(np.int64), change[places].astype(np.float64))


def entries_by_chunk(vector: Vector, chunk: int) -> NDArray[np.float64]:
    """Return float64[n_chunks]: how many entries each chunk has."""
    ends = np.arange(chunk, vector.size + chunk, chunk)
    return np.diff(np.searchsorted(vector.indices, ends), prepend=0).astype(np.float64)


def due_by_chance(used: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[n, n]: entries that two independent updates share, the sum of a_c * b_c / length_c over chunks c.

    `used` float64[n, c] counts each update's entries by chunk.
    """
    result: NDArray[np.float64] = (used / lengths) @ used.T
    return result


def compare_exactly(updates: Sequence[SparseUpdate]) -> Compared:
    """Compare all pairs of updates of one shape; costs one pass over an update's entries for each pair."""
    count = len(updates)
    vectors = [vector_of(update) for update in updates]
    everyone = [(a, b) for a in range(count) for b in range(a + 1, count)]
    overlap, cosine, shared = np.zeros((count, count)), np.zeros((count, count)), np.zeros((count, count))
    for (a, b), found in compare_pairs(lambda place: vectors[place], everyone).items():
        overlap[a, b] = overlap[b, a] = found.overlap
        cosine[a, b] = cosine[b, a] = found.cosine
        shared[a, b] = shared[b, a] = found.shared
    if not updates:
        return Compared(overlap, cosine, shared, shared, np.zeros(0, dtype=np.int64))
    used = np.stack([entries_by_chunk(vector, updates[0].chunk) for vector in vectors])
    due = due_by_chance(used, chunk_lengths(updates[0].size, updates[0].chunk))
    rate = np.divide(shared, due, out=np.ones_like(due), where=due > 0)
    return Compared(overlap, cosine, rate, due, np.array([len(vector.indices) for vector in vectors]))


def compare_pairs(
    vector: Callable[[int], Vector], pairs: Collection[tuple[int, int]]
) -> dict[tuple[int, int], Likeness]:
    """Compare the given pairs of places exactly; `vector` gives the vector of a place, all of one length.

    Takes 4 bytes for each of a vector's positions, and 16 vectors at a time: values of updates have at most 19
    significant bits, so float32 holds them exactly.
    """
    found: dict[tuple[int, int], Likeness] = {}
    table = np.zeros(0, dtype=np.float32)
    for _, group in groupby(sorted(pairs, key=lambda pair: (pair[1] // _BLOCK, *pair)), lambda p: p[1] // _BLOCK):
        members = list(group)
        seconds = {place: vector(place) for place in {b for _, b in members}}
        for a, of_first in groupby(members, lambda pair: pair[0]):
            first = vector(a)
            table = table if len(table) else np.zeros(first.size, dtype=np.float32)
            table[first.indices] = first.values
            found |= {(a, b): _likeness(first, seconds[b], table) for _, b in of_first}
            table[first.indices] = 0
    return found


def _likeness(first: Vector, second: Vector, table: NDArray[np.float32]) -> Likeness:
    """Compare two vectors; `table` float32[size] has the first one's values in their places."""
    products = table[second.indices] * second.values
    shared = int(np.count_nonzero(products))  # a shared position is a product that is not 0
    smaller, norms = min(len(first.indices), len(second.indices)), first.norm * second.norm
    return Likeness(
        shared,
        shared / smaller if smaller else 0.0,
        abs(float(products.sum())) / norms if norms > 0 else 0.0,
    )
