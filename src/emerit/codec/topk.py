"""`topk-sign`, the default: the largest entries of every chunk, a sign bit each.

Body of a blob, integers little-endian; n counts the entries of chunks whose scale is not 0::

    u16 scales[n_chunks]
    signs       n bits; 1 is minus
    remainders  r bits for each of them (Golomb-Rice, see `emerit.codec.rice`)
    quotients   unary

Chunks with scale 0 take no more than their scale. Lengths follow from size, chunk, k and scales, so none is
written; each of the parts but the scales is filled up to whole bytes with zero bits.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from emerit.codec import kernels
from emerit.codec.compress import (
    compress,
    compress_feedback,
)
from emerit.codec.interface import IntegerCodec
from emerit.codec.reader import Reader
from emerit.codec.rice import gaps_of, pack_bits, pack_quotients, pack_remainders, rice_parameter, unary_bits_at_most
from emerit.codec.update import SparseUpdate, check_shape, invalid, kept_per_chunk, kept_total
from emerit.protocol import minifloat


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
        return write_scales(update.scales) + write_signs(update) + write_gaps(update)

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
        return largest_topk_bytes(size, chunk, k, entry_parts=1)


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


def write_signs(update: SparseUpdate) -> bytes:
    """Return one bit for each entry of the chunks with a scale; 1 is minus."""
    minus = update.levels < 0
    return pack_bits(minus if update.scales.all() else minus[update.live()])


def write_gaps(update: SparseUpdate) -> bytes:
    """Return remainders and quotients of the gaps between the positions, in chunks with a scale."""
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


def largest_topk_bytes(size: int, chunk: int, k: int, entry_parts: int) -> int:
    """Return the length of scales, `entry_parts` bits an entry and positions when all gaps are as long as they can be.

    Raises UsageError `codec-shape`.
    """
    check_shape(size, chunk, k)
    kept = kept_total(size, chunk, k)
    r = rice_parameter(chunk, k)
    bits = [*[kept] * entry_parts, kept * r, unary_bits_at_most(size - kept, kept, r)]
    return 2 * -(-size // chunk) + sum(-(-part // 8) for part in bits)
