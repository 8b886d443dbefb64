"""From a dense pseudo-gradient to the entries worth sending: the largest of each chunk, one sign each, one scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import UNIT, SparseUpdate, check_shape, first_indices, kept_per_chunk
from emerit.errors import StateError, UsageError
from emerit.protocol import minifloat

_MAGNITUDE_BITS = np.uint32(0x7FFFFFFF)
_INFINITY_BITS = np.uint32(0x7F800000)


def compress(dense: NDArray[np.float32], chunk: int, k: int) -> tuple[SparseUpdate, NDArray[np.float32]]:
    """Return the update that stands for `dense` float32[P], and what it sends of it, float32[P].

    In each chunk the `kept_per_chunk` entries of largest magnitude are kept, of equal ones those with the
    lower index; the scale is their mean magnitude in units of 2^-24, rounded to a minifloat. What error feedback
    keeps is dense - sent. (Top-k with chunks: SparseLoCo, arXiv 2508.15706; one sign bit and a scale per chunk
    instead of two bits a value.)

    Raises:
        UsageError: `codec-shape` for an impossible chunk or k, `codec-dtype` when dense is not float32[P].
        StateError: `update-not-finite` when an entry is infinite or not a number.
    """
    if dense.dtype != np.float32 or dense.ndim != 1:
        raise UsageError("codec-dtype", f"An update must be float32[P], not {dense.dtype}{list(dense.shape)}.")
    check_shape(len(dense), chunk, k)
    magnitudes = np.ascontiguousarray(dense).view(np.uint32) & _MAGNITUDE_BITS
    if magnitudes.max() >= _INFINITY_BITS:
        raise StateError(
            "update-not-finite",
            f"The update holds {int(np.count_nonzero(magnitudes >= _INFINITY_BITS))} entries that are not finite.",
            "The local training diverged: lower the learning rate or restart from the last settled state.",
        )
    indices = _largest(magnitudes, chunk, k)
    counts = kept_per_chunk(len(dense), chunk, k)
    starts = np.cumsum(counts) - counts
    values = dense[indices]
    means = np.add.reduceat(np.abs(values), starts, dtype=np.float64) / counts
    units = np.minimum(np.rint(means / UNIT), float(minifloat.MAX_VALUE)).astype(np.int64)
    scales = minifloat.encode_array(units).astype(np.uint16)
    signs = np.where(np.signbit(values), np.int8(-1), np.int8(1))
    silent = np.repeat(scales == 0, counts)
    if silent.any():
        indices[silent] = first_indices(len(dense), chunk, k)[silent]
        signs[silent] = 1
    update = SparseUpdate(len(dense), chunk, k, indices, signs, scales)
    return update, update.dense()


def _largest(magnitudes: NDArray[np.uint32], chunk: int, k: int) -> NDArray[np.int64]:
    """Return int64[n], increasing: the global positions of the largest magnitudes of every chunk.

    Magnitudes are float32 bit patterns without sign, which order as the floats do.
    """
    full = len(magnitudes) // chunk
    parts = []
    if full:
        block = magnitudes[: full * chunk].reshape(full, chunk)
        parts.append(_largest_of_rows(block, k))
    if full * chunk < len(magnitudes):
        rest = magnitudes[full * chunk :].reshape(1, -1)
        kept = int(kept_per_chunk(len(magnitudes), chunk, k)[-1])
        parts.append(_largest_of_rows(rest, kept) + full * chunk)
    return np.concatenate(parts)


def _largest_of_rows(rows: NDArray[np.uint32], kept: int) -> NDArray[np.int64]:
    """Return flat positions of the `kept` largest of each row; of equal ones the first win."""
    length = rows.shape[1]
    if kept == length:
        return np.arange(rows.size, dtype=np.int64)
    threshold = np.partition(rows, length - kept, axis=1)[:, length - kept, None]
    chosen = rows >= threshold
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > kept)
    if len(crowded):
        above = rows[crowded] > threshold[crowded]
        level = rows[crowded] == threshold[crowded]
        places = kept - np.count_nonzero(above, axis=1)
        chosen[crowded] = above | (level & (np.cumsum(level, axis=1) <= places[:, None]))
    return np.flatnonzero(chosen)
