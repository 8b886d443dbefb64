"""What a contribution holds between compression and bytes: positions, integer levels and one scale per chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.errors import UsageError
from emerit.protocol import minifloat

UNIT = 2.0**-24
"""Weight of one integer unit: state, scales and deltas all count in 2^-24."""


def check_shape(size: int, chunk: int, k: int) -> None:
    """Refuse a shape that no codec can work with: 1 <= k <= chunk <= 2^20 and 1 <= size < 2^40 must hold.

    Raises UsageError `codec-shape`.
    """
    if not (1 <= size < 1 << 40 and 1 <= k <= chunk <= 1 << 20):
        raise UsageError(
            "codec-shape",
            f"Cannot keep {k} of {chunk} entries in a vector of {size}.",
            "Choose 1 <= k <= chunk <= 1048576 and a vector that is not empty.",
        )


def chunk_lengths(size: int, chunk: int) -> NDArray[np.int64]:
    """Return int64[n_chunks]: the length of each chunk, all `chunk` but perhaps the last."""
    lengths = np.full(-(-size // chunk), chunk, dtype=np.int64)
    lengths[-1] = size - (len(lengths) - 1) * chunk
    return lengths


def kept_per_chunk(size: int, chunk: int, k: int) -> NDArray[np.int64]:
    """Return int64[n_chunks]: how many entries each chunk keeps, max(1, k * length // chunk)."""
    return np.maximum(1, k * chunk_lengths(size, chunk) // chunk)


def kept_total(size: int, chunk: int, k: int) -> int:
    """Return how many entries a vector of `size` keeps in all, without allocating."""
    full, rest = divmod(size, chunk)
    return full * k + (max(1, k * rest // chunk) if rest else 0)


def first_indices(size: int, chunk: int, k: int) -> NDArray[np.int64]:
    """Return int64[n]: the first entries of every chunk, as many as it keeps; the form of a chunk with scale 0."""
    counts = kept_per_chunk(size, chunk, k)
    shift = np.arange(len(counts)) * chunk - (np.cumsum(counts) - counts)
    return np.repeat(shift, counts) + np.arange(int(counts.sum()))


@dataclass(frozen=True, eq=False)
class SparseUpdate:
    """A pseudo-gradient as any integer codec sends it: of each chunk `kept_per_chunk` entries, level times scale.

    `indices` int64[n], global, strictly increasing; `levels` int8[n], from -127 to 127: which of them occur is the
    codec's choice, +1 and -1 for top-k sign; `scales` uint16[n_chunks], minifloat codes of integers in units of 2^-24.
    An entry of level 0 was sent all the same: it counts as a sender of 0. A chunk with scale 0 says nothing, so it has
    one form only: its first entries, all +1 (see `live`). Arrays are not copied; treat them as read-only.
    """

    size: int
    chunk: int
    k: int
    indices: NDArray[np.int64]
    levels: NDArray[np.int8]
    scales: NDArray[np.uint16]

    def __eq__(self, other: object) -> bool:
        """Two updates are equal when shape, positions, levels and scales are."""
        if not isinstance(other, SparseUpdate):
            return NotImplemented
        return (
            (self.size, self.chunk, self.k) == (other.size, other.chunk, other.k)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.levels, other.levels)
            and np.array_equal(self.scales, other.scales)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.size // self.chunk)

    def kept(self) -> NDArray[np.int64]:
        """Return int64[n_chunks]: entries kept in each chunk."""
        return kept_per_chunk(self.size, self.chunk, self.k)

    def entry_chunks(self) -> NDArray[np.int64]:
        """Return int64[n]: the chunk that each entry belongs to."""
        return np.repeat(np.arange(self.chunks, dtype=np.int64), self.kept())

    def live(self) -> NDArray[np.bool_]:
        """Return bool[n]: False for the placeholder entries of chunks whose scale is 0 (leave them out of overlaps)."""
        return np.repeat(self.scales != 0, self.kept())

    def scale_units(self) -> NDArray[np.int64]:
        """Return int64[n_chunks]: the decoded scales in units of 2^-24."""
        return minifloat.decode_array(self.scales)

    def values(self) -> NDArray[np.int64]:
        """Return int64[n]: level * scale of every entry in units of 2^-24."""
        return np.repeat(self.scale_units(), self.kept()) * self.levels

    def dense(self) -> NDArray[np.float32]:
        """Return float32[size]: the update as a vector (exact: level and scale have at most 19 significant bits)."""
        out = np.zeros(self.size, dtype=np.float32)
        out[self.indices] = self.values() * UNIT
        return out

    def check(self) -> None:
        """Raise UsageError `update-invalid` unless this is the one form of a valid update (see the class).

        Which levels a codec allows is for `Codec.check`.
        """
        check_shape(self.size, self.chunk, self.k)
        total = kept_total(self.size, self.chunk, self.k)
        wrong = _wrong_arrays(self, total)
        if not wrong and np.any(self.scales == minifloat.ABSTAIN):
            wrong = "a scale is 0xFFFF"
        if not wrong and np.any(self.levels == -128):
            wrong = "a level is -128"
        if not wrong and not np.array_equal(self.indices // self.chunk, self.entry_chunks()):
            wrong = "a chunk has the wrong number of entries"
        if not wrong and (np.any(np.diff(self.indices) <= 0) or self.indices[-1] >= self.size):
            wrong = "the indices do not increase within the vector"
        if not wrong:
            silent = ~self.live()
            firsts = first_indices(self.size, self.chunk, self.k)
            if np.any(self.levels[silent] != 1) or np.any(self.indices[silent] != firsts[silent]):
                wrong = "a chunk with scale 0 is not in its one form"
        if wrong:
            raise invalid(wrong)


def invalid(wrong: str) -> UsageError:
    """Return the error for an update that is not in the form its codec sends."""
    return UsageError("update-invalid", f"The update cannot be encoded: {wrong}.", "Use emerit.codec.compress.")


def _wrong_arrays(update: SparseUpdate, total: int) -> str:
    """Return what is wrong with the types or shapes of an update's arrays, or nothing."""
    wanted = (
        ("indices", update.indices, np.int64, total),
        ("levels", update.levels, np.int8, total),
        ("scales", update.scales, np.uint16, update.chunks),
    )
    for name, array, dtype, length in wanted:
        if array.dtype != dtype or array.shape != (length,):
            return f"{name} is {array.dtype}{list(array.shape)}, not {np.dtype(dtype)}[{length}]"
    return ""
