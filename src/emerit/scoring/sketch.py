"""All pairs of many updates at once, approximately: count sketches and a sample of chunks, both keyed by a seed.

A count sketch (Charikar, Chen and Farach-Colton, 2002) throws each entry into one of m buckets, with a random sign.
The inner product of two sketches is that of the vectors, unbiased, with a standard error of at most |x| |y| / sqrt(m).
Two of them, of the signed values and of the positions, give cosine and overlap of all pairs by two matrix products.

That error is too large to tell whether a pair shares nothing or the little that chance gives (1.6 % at 64 of 4096).
For this tail the positions in some chunks are compared exactly: a set of trainers for each position of the sample,
and an update's shared entries with everybody are the column sums over the positions that it has.

Whoever knows the hashes can craft updates that collide, so the seed must be one that was drawn after the reveals.

Memory, beyond the updates: 8 bytes for each bucket and update, sampled positions * n / 8 bytes, a few float64[n, n],
and one update's entries at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate, chunk_lengths
from emerit.protocol.seeds import derive, permute_many
from emerit.scoring.compare import Compared, Vector, due_by_chance, entries_by_chunk, vector_of

BUCKETS: Final = 1 << 14
SAMPLE_DUE: Final = 100.0
"""How many entries two independent updates should share within the sampled chunks: a Poisson error of 10 %."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2: Final = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Sketches:
    """Sketches float32[n, m] of n vectors: `values` of unit length each, `places` of ones; `entries` int64[n]."""

    values: NDArray[np.float32]
    places: NDArray[np.float32]
    entries: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Standard error of a cosine, and of an overlap of two updates with equally many entries."""
        return 1 / math.sqrt(self.values.shape[1])

    def against(self, other: Sketches) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return overlap and |cosine| of each vector here with each of the other sketches, float64[n, n'] each."""
        smaller = np.maximum(np.minimum.outer(self.entries, other.entries), 1)
        overlap = (self.places @ other.places.T).astype(np.float64) / smaller
        return np.clip(overlap, 0.0, 1.0), np.minimum(np.abs((self.values @ other.values.T).astype(np.float64)), 1.0)


def sketch(vectors: Iterable[Vector], count: int, seed: bytes, buckets: int = BUCKETS) -> Sketches:
    """Sketch `count` vectors, one after the other; `buckets` is a power of two, `seed` has 32 bytes."""
    key = np.frombuffer(derive(seed, "emerit/sketch/v1")[:8], dtype=">u8").astype(np.uint64)[0]
    values = np.zeros((count, buckets), dtype=np.float32)
    places = np.zeros((count, buckets), dtype=np.float32)
    entries = np.zeros(count, dtype=np.int64)
    for row, vector in enumerate(vectors):
        hashes = _hashes(vector.indices, key)
        bucket = (hashes & np.uint64(buckets - 1)).astype(np.intp)
        entries[row] = len(vector.indices)
        length = vector.norm
        if length > 0:
            sums = np.bincount(bucket, weights=_signs(hashes, 62) * vector.values, minlength=buckets)
            values[row] = sums / length
        places[row] = np.bincount(bucket, weights=_signs(hashes, 63), minlength=buckets)
    return Sketches(values, places, entries)


def compare_by_sketch(updates: Sequence[SparseUpdate], sketches: Sketches, seed: bytes) -> Compared:
    """Compare all pairs of updates of one shape by their sketches, and how often they share by a sample of chunks."""
    overlap, cosine = sketches.against(sketches)
    chunk, lengths = updates[0].chunk, chunk_lengths(updates[0].size, updates[0].chunk)
    used = np.stack([entries_by_chunk(vector_of(update), chunk) for update in updates])
    sampled = sampled_chunks(updates[0], seed)
    shared = shared_in(updates, sampled)
    expected = due_by_chance(used[:, sampled], lengths[sampled])
    rate = np.divide(shared, expected, out=np.ones_like(expected), where=expected > 0)
    return Compared(overlap, cosine, rate, due_by_chance(used, lengths), sketches.entries, sketches.error)


def sampled_chunks(update: SparseUpdate, seed: bytes) -> NDArray[np.int64]:
    """Return the numbers of the chunks that are sampled, ascending: as many as give `SAMPLE_DUE` entries by chance."""
    due_each = update.k**2 / update.chunk
    count = min(update.chunks, max(1, math.ceil(SAMPLE_DUE / due_each)))
    return np.sort(permute_many(derive(seed, "emerit/chunks/v1"), update.chunks, np.arange(count)))


def shared_in(updates: Sequence[SparseUpdate], chunks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[n, n]: how many positions of the given chunks (ascending) both updates of a pair have.

    Memory: positions of these chunks * n / 8 bytes.
    """
    count, size = len(updates), updates[0].chunk
    rows = [_positions_in(vector_of(update), chunks, size) for update in updates]
    having = np.zeros((len(chunks) * size, -(-count // 8)), dtype=np.uint8)
    for place, positions in enumerate(rows):
        having[positions, place // 8] |= np.uint8(1 << place % 8)
    shared = np.zeros((count, count))
    for place, positions in enumerate(rows):
        bits = np.unpackbits(having[positions], axis=1, count=count, bitorder="little")
        shared[place] = bits.sum(axis=0, dtype=np.int64)
    return shared


def _positions_in(vector: Vector, chunks: NDArray[np.int64], chunk: int) -> NDArray[np.int64]:
    """Return an update's positions in the given chunks, counted as if these stood one after the other."""
    first = np.searchsorted(vector.indices, chunks * chunk)
    counts = np.searchsorted(vector.indices, (chunks + 1) * chunk) - first
    # Entry i of the result is the (i - start)-th of its chunk.
    starts = np.cumsum(counts) - counts
    entries = np.arange(int(counts.sum())) + np.repeat(first - starts, counts)
    moved: NDArray[np.int64] = vector.indices[entries] + np.repeat((np.arange(len(chunks)) - chunks) * chunk, counts)
    return moved


def _hashes(indices: NDArray[np.int64], key: np.uint64) -> NDArray[np.uint64]:
    """Return uint64[n]: splitmix64 of the positions (Steele, Lea and Flood, 2014), the key added to its state."""
    mixed = indices.astype(np.uint64)
    mixed *= _GOLDEN
    mixed += key
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MULTIPLIER_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MULTIPLIER_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _signs(hashes: NDArray[np.uint64], bit: int) -> NDArray[np.float64]:
    """Return +1 or -1 by one bit of each hash."""
    return 1.0 - 2.0 * ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.float64)
