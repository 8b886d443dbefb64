"""From a dense pseudo-gradient to the entries worth sending: the largest of each chunk, one sign each, one scale."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.codec import kernels
from emerit.codec.interface import check_dense, check_finite, not_finite
from emerit.codec.update import UNIT, SparseUpdate, check_shape, first_indices, kept_per_chunk, kept_total
from emerit.protocol import minifloat

_MAGNITUDE_BITS = np.uint32(0x7FFFFFFF)
_NO_DELTA = 0


def compress(
    dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
) -> tuple[SparseUpdate, NDArray[np.float32]]:
    """Return the update that stands for `dense` float32[P], and what it sends of it, float32[P].

    In each chunk the `kept_per_chunk` entries of largest magnitude are kept, of equal ones those with the
    lower index; the scale is their mean magnitude in units of 2^-24, rounded to a minifloat. What error feedback
    keeps is dense - sent. (Top-k with chunks: SparseLoCo, arXiv 2508.15706; one sign bit and a scale per chunk
    instead of two bits a value.)

    Raises:
        UsageError: `codec-shape` for an impossible chunk or k, `codec-dtype` when dense is not float32[P].
        StateError: `update-not-finite` when an entry is infinite or not a number.
    """
    check_dense(dense)
    check_shape(len(dense), chunk, k)
    fast = _Native.of(dense, chunk, k, threads)
    if fast is not None:
        update = fast.update(dense, np.empty(_NO_DELTA, dtype=np.float32), 1.0, subtract=False)
        return update, update.dense()
    check_finite(dense)
    indices = _largest(np.ascontiguousarray(dense).view(np.uint32) & _MAGNITUDE_BITS, chunk, k)
    counts = kept_per_chunk(len(dense), chunk, k)
    values = dense[indices]
    scales = scales_of(chunk_means(np.abs(values), counts))
    levels = np.where(np.signbit(values), np.int8(-1), np.int8(1))
    silence(indices, levels, scales, len(dense), chunk, k)
    update = SparseUpdate(len(dense), chunk, k, indices, levels, scales)
    return update, update.dense()


def compress_feedback(
    buffer: NDArray[np.float32], delta: NDArray[np.float32], beta: float, chunk: int, k: int, threads: int = 1
) -> SparseUpdate | None:
    """Do a round of error feedback in one pass, or return None where plain numpy is to do it (see `Codec.feed`)."""
    check_dense(buffer)
    check_dense(delta)
    check_shape(len(buffer), chunk, k)
    fast = _Native.of(buffer, chunk, k, threads)
    if fast is None or not (buffer.flags.writeable and buffer.flags.c_contiguous and buffer.shape == delta.shape):
        return None
    return fast.update(buffer, np.require(delta, requirements=("C", "A", "W")), beta, subtract=True)


def largest_entries(dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1) -> NDArray[np.int64]:
    """Return int64[n], increasing: what each chunk of finite float32[P] keeps; raises as `compress`."""
    check_dense(dense)
    check_shape(len(dense), chunk, k)
    fast = _Native.of(dense, chunk, k, threads)
    if fast is not None:
        return fast.select(dense, np.empty(_NO_DELTA, dtype=np.float32), 1.0)
    check_finite(dense)
    return _largest(np.ascontiguousarray(dense).view(np.uint32) & _MAGNITUDE_BITS, chunk, k)


def chunk_means(values: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[n_chunks]: the mean of the `counts` int64[n_chunks] entries of each, added one after the other."""
    chunks = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(chunks, weights=values, minlength=len(counts)) / counts


def scales_of(means: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return uint16[n]: the minifloat codes nearest to magnitudes float64[n], in units of 2^-24."""
    units = np.minimum(np.rint(means / UNIT), float(minifloat.MAX_VALUE)).astype(np.int64)
    return minifloat.encode_array(units).astype(np.uint16)


def silence(
    indices: NDArray[np.int64], levels: NDArray[np.int8], scales: NDArray[np.uint16], size: int, chunk: int, k: int
) -> None:
    """Bring the entries of chunks whose scale is 0 into their one form, in place."""
    if scales.all():
        return
    silent = np.repeat(scales == 0, kept_per_chunk(size, chunk, k))
    indices[silent] = first_indices(size, chunk, k)[silent]
    levels[silent] = 1


class _Native:
    """The compiled kernels on a vector of one shape."""

    def __init__(self, module: ModuleType, size: int, chunk: int, k: int, threads: int) -> None:
        self._module, self._size, self._chunk, self._k, self._threads = module, size, chunk, k, threads
        self._chunks = -(-size // chunk)

    @classmethod
    def of(cls, dense: NDArray[np.float32], chunk: int, k: int, threads: int) -> _Native | None:
        """Return the kernels for this work, or None where numpy is to do it."""
        module = kernels.native(len(dense))
        return None if module is None else cls(module, len(dense), chunk, k, threads)

    def select(self, dense: NDArray[np.float32], delta: NDArray[np.float32], beta: float) -> NDArray[np.int64]:
        """Return int64[n], the largest entries, of beta * dense + delta, put in place, unless delta is empty."""
        dense = np.require(dense, requirements=("C", "A", "W"))
        indices = np.empty(kept_total(self._size, self._chunk, self._k), dtype=np.int64)

        def work(first: int, last: int) -> bool:
            scratch = np.empty(self._chunk, dtype=np.uint32)
            bits = dense.view(np.uint32)
            return self._module.select(
                dense, bits, delta, np.float32(beta), self._chunk, self._k, first, last, scratch, indices
            )

        if not kernels.in_ranges(work, self._chunks, self._threads):
            raise not_finite(dense)
        return indices

    def update(
        self, dense: NDArray[np.float32], delta: NDArray[np.float32], beta: float, *, subtract: bool
    ) -> SparseUpdate:
        """Return the top-k sign update; with `subtract`, what it sends is taken off `dense`."""
        dense = np.require(dense, requirements=("C", "A", "W"))
        indices = self.select(dense, delta, beta)
        levels = np.empty(len(indices), dtype=np.int8)
        scales = np.empty(self._chunks, dtype=np.uint16)

        def work(first: int, last: int) -> None:
            self._module.signs_and_scales(dense, self._chunk, self._k, first, last, subtract, indices, levels, scales)

        kernels.in_ranges(work, self._chunks, self._threads)
        return SparseUpdate(self._size, self._chunk, self._k, indices, levels, scales)


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
