"""`topk-2bit`: the largest entries of every chunk, each with a sign and one of two magnitudes.

Body of a blob, integers little-endian; n counts the entries of chunks whose scale is not 0, of which there are m::

    u16 scales[n_chunks]
    u8 spreads[m]   0 to 95: the larger level of the chunk less 32; 0 where all its entries are of level 32
    signs           n bits; 1 is minus
    larger          n bits; 1 is the larger level
    remainders, quotients   positions, as in `emerit.codec.topk`

A chunk with a spread has entries of both levels, so that no two updates are one vector.

As many bits a value as SparseLoCo (arXiv 2508.15706). Its released code has four evenly spaced bins for a whole tensor,
of which real updates leave two almost empty, as the kept magnitudes of a chunk are nearly equal; hence two
magnitudes that each chunk chooses.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.compress import chunk_means, largest_entries, scales_of, silence
from emerit.codec.interface import IntegerCodec
from emerit.codec.reader import Reader
from emerit.codec.rice import pack_bits
from emerit.codec.topk import largest_topk_bytes, read_scales, spread_levels, write_gaps, write_scales, write_signs
from emerit.codec.update import UNIT, SparseUpdate, invalid, kept_per_chunk
from emerit.protocol import minifloat

LOW_LEVEL: Final = 32
MOST_SPREAD: Final = 127 - LOW_LEVEL
_REFINEMENTS: Final = 4


class Topk2Bit(IntegerCodec):
    """Two bits an entry: a sign and one of two magnitudes that the chunk chooses."""

    name: ClassVar[str] = "topk-2bit"
    number: ClassVar[int] = 2
    integer: ClassVar[bool] = True

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[SparseUpdate, NDArray[np.float32]]:
        """Keep the largest entries; find the two magnitudes of each chunk (S. Lloyd, "Least squares ...", 1982)."""
        indices = largest_entries(dense, chunk, k, threads)
        counts = kept_per_chunk(len(dense), chunk, k)
        values = dense[indices]
        magnitudes = np.abs(values).astype(np.float64)
        low, high = _two_means(magnitudes, counts)
        scales = scales_of(low / LOW_LEVEL)
        unit = np.maximum(minifloat.decode_array(scales), 1) * UNIT
        larger = np.clip(np.rint(high / unit), LOW_LEVEL, LOW_LEVEL + MOST_SPREAD).astype(np.int8)
        is_larger = magnitudes > np.repeat((LOW_LEVEL + larger) / 2 * unit, counts)
        share = chunk_means(is_larger, counts)
        single = (share == 0) | (share == 1) | (larger == LOW_LEVEL)
        scales[single] = scales_of(chunk_means(magnitudes, counts)[single] / LOW_LEVEL)
        is_larger &= ~np.repeat(single, counts)
        level = np.where(is_larger, np.repeat(larger, counts), np.int8(LOW_LEVEL))
        levels = np.where(np.signbit(values), -level, level).astype(np.int8)
        silence(indices, levels, scales, len(dense), chunk, k)
        update = SparseUpdate(len(dense), chunk, k, indices, levels, scales)
        return update, update.dense()

    def check(self, update: SparseUpdate) -> None:
        """Refuse chunks with more than two magnitudes, or of which the smaller is not 32."""
        update.check()
        level, kept = np.abs(update.levels), update.kept()
        starts = np.cumsum(kept) - kept
        largest = np.repeat(np.maximum.reduceat(level, starts), kept)
        live = update.live()
        if np.any(live & (level != LOW_LEVEL) & (level != largest)):
            raise invalid("a chunk has more than two magnitudes")
        if np.any(np.minimum.reduceat(level, starts)[update.scales != 0] != LOW_LEVEL):
            raise invalid("the smallest level of a chunk is not 32")

    def write(self, update: SparseUpdate) -> bytes:
        """Return scales, spreads, signs, magnitude bits and positions."""
        level, kept = np.abs(update.levels), update.kept()
        spreads = (np.maximum.reduceat(level, np.cumsum(kept) - kept) - LOW_LEVEL)[update.scales != 0]
        larger = level[update.live()] > LOW_LEVEL
        parts = (spreads.astype(np.uint8).tobytes(), write_signs(update), pack_bits(larger), write_gaps(update))
        return write_scales(update.scales) + b"".join(parts)

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> SparseUpdate:
        """Read scales, spreads, signs, magnitude bits and positions."""
        scales = read_scales(reader, size, chunk)
        kept = kept_per_chunk(size, chunk, k)
        counts = kept[scales != 0]
        spreads = np.frombuffer(reader.take(len(counts), "spreads"), dtype=np.uint8)
        if np.any(spreads > MOST_SPREAD):
            reader.refuse("level", f"has a spread above {MOST_SPREAD}")
        minus = reader.take_bits(int(counts.sum()), "signs")
        larger = reader.take_bits(int(counts.sum()), "magnitudes")
        if len(counts):
            numbers = np.add.reduceat(larger, np.cumsum(counts) - counts, dtype=np.int64)
            if np.any(np.where(spreads > 0, (numbers == 0) | (numbers == counts), numbers > 0)):
                reader.refuse("level", "has a chunk whose magnitudes are not those that it announces")
        indices = reader.take_chunk_places(scales, size, chunk, k)
        level = LOW_LEVEL + np.repeat(spreads.astype(np.int8), counts) * larger.view(np.int8)
        live = ((1 - 2 * minus.view(np.int8)) * level).astype(np.int8)
        return SparseUpdate(size, chunk, k, indices, spread_levels(live, scales, kept), scales)

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length when all gaps are as long as they can be."""
        return largest_topk_bytes(size, chunk, k, entry_parts=2) + -(-size // chunk)


def _two_means(
    magnitudes: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return float64[n_chunks] twice: the means of the smaller and of the larger magnitudes of each chunk."""
    bound = low = high = chunk_means(magnitudes, counts)
    for _ in range(_REFINEMENTS):
        larger = magnitudes > np.repeat(bound, counts)
        share: NDArray[Any] = chunk_means(larger, counts)
        total = chunk_means(magnitudes, counts)
        upper = chunk_means(np.where(larger, magnitudes, 0.0), counts)
        high = np.where(share > 0, upper / np.where(share > 0, share, 1.0), total)
        low = np.where(share < 1, (total - upper) / np.where(share < 1, 1 - share, 1.0), total)
        bound = (low + high) / 2
    return low, high
