"""Chunked top-k: the largest entries of every chunk, with a sign (`topk-sign`) or two bits (`topk-2bit`) each.

Body of a blob, integers little-endian; n counts the entries of chunks whose scale is not 0::

    u16 scales[n_chunks]
    signs       n bits; 1 is minus
    larger      n bits, topk-2bit only; 1 is level 3, 0 is level 2
    remainders  r bits for each of them (Golomb-Rice, see `emerit.codec.rice`)
    quotients   unary

Chunks with scale 0 take no more than their scale. Lengths follow from size, chunk, k and scales, so none is
written; each of the parts but the scales is filled up to whole bytes with zero bits.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec import kernels
from emerit.codec.compress import (
    chunk_means,
    compress,
    compress_feedback,
    largest_entries,
    scales_of,
    silence,
)
from emerit.codec.interface import IntegerCodec
from emerit.codec.reader import Reader
from emerit.codec.rice import gaps_of, pack_bits, pack_quotients, pack_remainders, rice_parameter, unary_bits_at_most
from emerit.codec.update import SparseUpdate, check_shape, invalid, kept_per_chunk, kept_total
from emerit.protocol import minifloat

LOW_LEVEL: Final = 2
HIGH_LEVEL: Final = 3
_REFINEMENTS: Final = 3


class TopkSign(IntegerCodec):
    """The default: one sign bit an entry, one scale a chunk (design after SparseLoCo, arXiv 2508.15706)."""

    name: ClassVar[str] = "topk-sign"
    number: ClassVar[int] = 1
    integer: ClassVar[bool] = True

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[SparseUpdate, NDArray[np.float32]]:
        """See `emerit.codec.compress.compress`."""
        return compress(dense, chunk, k, threads)

    def feed(
        self,
        buffer: NDArray[np.float32],
        delta: NDArray[np.float32],
        beta: float,
        chunk: int,
        k: int,
        threads: int = 1,
    ) -> SparseUpdate:
        """As `Codec.feed`, in one pass over the memory where the compiled kernels do it."""
        update = compress_feedback(buffer, delta, beta, chunk, k, threads)
        return super().feed(buffer, delta, beta, chunk, k, threads) if update is None else update

    def check(self, update: SparseUpdate) -> None:
        """Refuse levels other than +1 and -1."""
        update.check()
        if not np.all(np.abs(update.levels) == 1):
            raise invalid("a sign is not +1 or -1")

    def write(self, update: SparseUpdate) -> bytes:
        """Return scales, signs and positions."""
        return write_scales(update.scales) + _write_signs(update) + _write_gaps(update)

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> SparseUpdate:
        """Read scales, signs and positions."""
        scales = read_scales(reader, size, chunk)
        kept = kept_per_chunk(size, chunk, k)
        minus = reader.take_bits(int(kept[scales != 0].sum()), "signs")
        indices = reader.take_chunk_places(scales, size, chunk, k)
        levels = spread_levels(1 - 2 * minus.view(np.int8), scales, kept)
        return SparseUpdate(size, chunk, k, indices, levels, scales)

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length when all gaps are as long as they can be."""
        return _largest_bytes(size, chunk, k, entry_parts=1)


class Topk2Bit(IntegerCodec):
    """Two bits an entry: a sign and one of two magnitudes, 2 or 3 times the chunk's scale.

    The same number of bits as SparseLoCo's values. Its released code has four evenly spaced bins for a whole
    tensor, of which real updates leave two almost empty, as the kept magnitudes of a chunk are nearly equal; hence
    two magnitudes that are close to each other, and a scale for each chunk.

    A chunk has an entry of level 2, so that no two updates are the same vector.
    """

    name: ClassVar[str] = "topk-2bit"
    number: ClassVar[int] = 2
    integer: ClassVar[bool] = True

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[SparseUpdate, NDArray[np.float32]]:
        """Keep the largest entries; find scale and magnitudes by turns (S. Lloyd, 1982), three times."""
        indices = largest_entries(dense, chunk, k, threads)
        counts = kept_per_chunk(len(dense), chunk, k)
        values = dense[indices]
        magnitudes = np.abs(values)
        scale = chunk_means(magnitudes, counts) / ((LOW_LEVEL + HIGH_LEVEL) / 2)
        for _ in range(_REFINEMENTS):
            level = _nearest_level(magnitudes, scale, counts)
            weight = chunk_means((level * level).astype(np.float64), counts)
            scale = chunk_means(level * magnitudes.astype(np.float64), counts) / weight
        scales = scales_of(scale)
        level = _nearest_level(magnitudes, minifloat.decode_array(scales) * 2.0**-24, counts)
        starts = np.cumsum(counts) - counts
        none_low = np.minimum.reduceat(level, starts) == HIGH_LEVEL
        if none_low.any():  # equal magnitudes that the rounded scale puts above: 3 s becomes 2 (3 s / 2)
            scales[none_low] = scales_of(chunk_means(magnitudes, counts)[none_low] / LOW_LEVEL)
            level[np.repeat(none_low, counts)] = LOW_LEVEL
        levels = np.where(np.signbit(values), -level, level).astype(np.int8)
        silence(indices, levels, scales, len(dense), chunk, k)
        update = SparseUpdate(len(dense), chunk, k, indices, levels, scales)
        return update, update.dense()

    def check(self, update: SparseUpdate) -> None:
        """Refuse levels other than 2 and 3 with a sign, and chunks that have only 3."""
        update.check()
        live = update.live()
        level = np.abs(update.levels)
        if np.any(live & (level != LOW_LEVEL) & (level != HIGH_LEVEL)):
            raise invalid("a level is neither 2 nor 3 with a sign")
        if _all_high(level, update.scales, update.kept()):
            raise invalid("a chunk has no entry of level 2")

    def write(self, update: SparseUpdate) -> bytes:
        """Return scales, signs, magnitude bits and positions."""
        larger = np.abs(update.levels[update.live()]) == HIGH_LEVEL
        return write_scales(update.scales) + _write_signs(update) + pack_bits(larger) + _write_gaps(update)

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> SparseUpdate:
        """Read scales, signs, magnitude bits and positions."""
        scales = read_scales(reader, size, chunk)
        kept = kept_per_chunk(size, chunk, k)
        count = int(kept[scales != 0].sum())
        minus = reader.take_bits(count, "signs")
        larger = reader.take_bits(count, "magnitudes")
        indices = reader.take_chunk_places(scales, size, chunk, k)
        live = ((1 - 2 * minus.view(np.int8)) * (LOW_LEVEL + larger.view(np.int8))).astype(np.int8)
        levels = spread_levels(live, scales, kept)
        if _all_high(np.abs(levels), scales, kept):
            reader.refuse("level", "has a chunk without an entry of the smaller magnitude")
        return SparseUpdate(size, chunk, k, indices, levels, scales)

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length when all gaps are as long as they can be."""
        return _largest_bytes(size, chunk, k, entry_parts=2)


def write_scales(scales: NDArray[np.uint16]) -> bytes:
    """Return the chunk scales as they stand in every integer body."""
    return scales.astype("<u2").tobytes()


def read_scales(reader: Reader, size: int, chunk: int) -> NDArray[np.uint16]:
    """Read the chunk scales; raises RefusedError `blob-truncated` or `blob-scale`."""
    scales = np.frombuffer(reader.take(2 * -(-size // chunk), "scales"), dtype="<u2").astype(np.uint16)
    if np.any(scales == minifloat.ABSTAIN):
        reader.refuse("scale", "has a scale of 0xFFFF, which is no number")
    return scales


def spread_levels(live: NDArray[np.int8], scales: NDArray[np.uint16], kept: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return int8[n]: levels of all entries from those of chunks with a scale; the others are placeholders."""
    if scales.all():
        return live
    levels = np.ones(int(kept.sum()), dtype=np.int8)
    levels[np.repeat(scales != 0, kept)] = live
    return levels


def _all_high(level: NDArray[np.int8], scales: NDArray[np.uint16], kept: NDArray[np.int64]) -> bool:
    lowest = np.minimum.reduceat(level, np.cumsum(kept) - kept)
    return bool(np.any(lowest[scales != 0] == HIGH_LEVEL))


def _nearest_level(magnitudes: NDArray[np.float32], scale: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.int8]:
    middle = (LOW_LEVEL + HIGH_LEVEL) / 2 * np.repeat(scale, counts)
    return np.where(magnitudes > middle, np.int8(HIGH_LEVEL), np.int8(LOW_LEVEL))


def _write_signs(update: SparseUpdate) -> bytes:
    minus = update.levels < 0
    return pack_bits(minus if update.scales.all() else minus[update.live()])


def _write_gaps(update: SparseUpdate) -> bytes:
    size, chunk, k = update.size, update.chunk, update.k
    r = rice_parameter(chunk, k)
    counts = np.where(update.scales != 0, update.kept(), 0)
    module = kernels.native(size)
    if module is None:
        gaps = gaps_of(update.indices[update.live()] % chunk, counts)
        return pack_remainders(gaps, r) + pack_quotients(gaps, r)
    count = int(counts.sum())
    low = np.zeros((count * r + 7) // 8, dtype=np.uint8)
    high = np.zeros((unary_bits_at_most(size - count, count, r) + 7) // 8, dtype=np.uint8)
    arrays = (np.require(part, requirements=("C", "A", "W")) for part in (update.indices, update.scales))
    bits = module.write_gaps(*arrays, size, chunk, k, r, low, high)
    return low.tobytes() + high[: (bits + 7) // 8].tobytes()


def _largest_bytes(size: int, chunk: int, k: int, entry_parts: int) -> int:
    check_shape(size, chunk, k)
    kept = kept_total(size, chunk, k)
    r = rice_parameter(chunk, k)
    bits = [*[kept] * entry_parts, kept * r, unary_bits_at_most(size - kept, kept, r)]
    return 2 * -(-size // chunk) + sum(-(-part // 8) for part in bits)
