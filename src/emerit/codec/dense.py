"""Codecs that send every entry of every chunk in a few bits: `dense-8bit`, `dense-sign`, `ternary`.

Body of a blob, integers little-endian; n counts the entries of chunks whose scale is not 0::

    u16 scales[n_chunks]
    dense-sign   n bits, 1 is minus
    dense-8bit   n signed bytes, -127 to 127; the largest magnitude of a chunk is 127
    ternary      five entries a byte: sum of (level + 1) * 3^i, i from 0; a chunk has a level that is not 0

The last byte is filled up with zero bits (dense-sign) or zero digits (ternary). What is said of a chunk's largest
level makes the scale its magnitude, so that clipping scales bounds what is sent, and no two updates one vector.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.compress import scales_of, silence
from emerit.codec.interface import IntegerCodec, check_dense, check_finite
from emerit.codec.reader import Reader
from emerit.codec.rice import pack_bits
from emerit.codec.topk import read_scales, spread_levels, write_scales
from emerit.codec.update import UNIT, SparseUpdate, chunk_lengths, invalid
from emerit.protocol import minifloat

HIGHEST: Final = 127
THRESHOLD: Final = 0.7
_TRITS: Final = 5
_PLACES: Final = 3 ** np.arange(_TRITS)


class _Dense(IntegerCodec):
    """What the three have in common: all positions, and levels that each makes and checks."""

    dense_only: ClassVar[bool] = True
    integer: ClassVar[bool] = True

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[SparseUpdate, NDArray[np.float32]]:
        """Quantise every chunk by itself; `threads` is not used."""
        check_dense(dense)
        self.check_shape(len(dense), chunk, k)
        check_finite(dense)
        scales, levels = self._quantised(dense, chunk)
        indices = np.arange(len(dense), dtype=np.int64)
        silence(indices, levels, scales, len(dense), chunk, k)
        update = SparseUpdate(len(dense), chunk, k, indices, levels, scales)
        return update, update.dense()

    def check(self, update: SparseUpdate) -> None:
        """Refuse levels that this codec does not send."""
        self.check_shape(update.size, update.chunk, update.k)
        update.check()
        wrong = self._wrong(update.levels, update.scales, update.size, update.chunk)
        if wrong:
            raise invalid(wrong)

    def write(self, update: SparseUpdate) -> bytes:
        """Return scales and levels."""
        return write_scales(update.scales) + self._packed(update.levels[update.live()])

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> SparseUpdate:
        """Read scales and levels."""
        scales = read_scales(reader, size, chunk)
        kept = chunk_lengths(size, chunk)
        levels = spread_levels(self._unpacked(reader, int(kept[scales != 0].sum())), scales, kept)
        wrong = self._wrong(levels, scales, size, chunk)
        if wrong:
            reader.refuse("level", f"breaks a rule of {self.name}: {wrong}")
        return SparseUpdate(size, chunk, k, np.arange(size, dtype=np.int64), levels, scales)

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length when no chunk is silent."""
        self.check_shape(size, chunk, k)
        return 2 * -(-size // chunk) + self._level_bytes(size)

    @abstractmethod
    def _quantised(self, dense: NDArray[np.float32], chunk: int) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        """Return uint16[n_chunks] scales and int8[P] levels of finite float32[P]."""

    @abstractmethod
    def _wrong(self, levels: NDArray[np.int8], scales: NDArray[np.uint16], size: int, chunk: int) -> str:
        """Return which rule of this codec levels and scales break, or nothing."""

    @abstractmethod
    def _packed(self, live: NDArray[np.int8]) -> bytes:
        """Return the bytes of the levels of chunks with a scale."""

    @abstractmethod
    def _unpacked(self, reader: Reader, count: int) -> NDArray[np.int8]:
        """Read `count` levels."""

    @abstractmethod
    def _level_bytes(self, count: int) -> int:
        """Return how many bytes `count` levels take."""


class DenseSign(_Dense):
    """One bit an entry, the chunk's mean magnitude as its scale (EF-signSGD, arXiv 1901.09847)."""

    name: ClassVar[str] = "dense-sign"
    number: ClassVar[int] = 4

    def _quantised(self, dense: NDArray[np.float32], chunk: int) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        lengths = chunk_lengths(len(dense), chunk)
        scales = scales_of(_sums(np.abs(dense), lengths) / lengths)
        return scales, np.where(np.signbit(dense), np.int8(-1), np.int8(1))

    def _wrong(self, levels: NDArray[np.int8], scales: NDArray[np.uint16], size: int, chunk: int) -> str:
        return "" if np.all(np.abs(levels) == 1) else "a sign is not +1 or -1"

    def _packed(self, live: NDArray[np.int8]) -> bytes:
        return pack_bits(live < 0)

    def _unpacked(self, reader: Reader, count: int) -> NDArray[np.int8]:
        return (1 - 2 * reader.take_bits(count, "signs").view(np.int8)).astype(np.int8)

    def _level_bytes(self, count: int) -> int:
        return -(-count // 8)


class Dense8Bit(_Dense):
    """One signed byte an entry, in steps of a 127th of the chunk's largest magnitude (that rounded down)."""

    name: ClassVar[str] = "dense-8bit"
    number: ClassVar[int] = 3

    def _quantised(self, dense: NDArray[np.float32], chunk: int) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        lengths = chunk_lengths(len(dense), chunk)
        largest = np.maximum.reduceat(np.abs(dense), _starts(lengths)).astype(np.float64)
        units = np.minimum(np.floor(largest / UNIT / HIGHEST), float(minifloat.MAX_VALUE)).astype(np.int64)
        scales = minifloat.encode_array(units)
        scales -= minifloat.decode_array(scales) > units  # the next code below, so that 127 is reached
        steps = np.maximum(minifloat.decode_array(scales), 1) * UNIT
        levels = np.empty(len(dense), dtype=np.int8)
        for start, step in zip(range(0, len(dense), chunk), steps.astype(np.float32), strict=True):
            part = np.rint(dense[start : start + chunk].astype(np.float64) / step)
            levels[start : start + chunk] = np.clip(part, -HIGHEST, HIGHEST)
        return scales.astype(np.uint16), levels

    def _wrong(self, levels: NDArray[np.int8], scales: NDArray[np.uint16], size: int, chunk: int) -> str:
        if np.any(levels == -128):
            return "a level is -128"
        starts = _starts(chunk_lengths(size, chunk))
        largest = np.maximum(np.maximum.reduceat(levels, starts), -np.minimum.reduceat(levels, starts))
        return "" if np.all(largest[scales != 0] == HIGHEST) else "a chunk's largest level is not 127"

    def _packed(self, live: NDArray[np.int8]) -> bytes:
        return live.tobytes()

    def _unpacked(self, reader: Reader, count: int) -> NDArray[np.int8]:
        return np.frombuffer(reader.take(count, "levels"), dtype=np.int8).copy()

    def _level_bytes(self, count: int) -> int:
        return count


class Ternary(_Dense):
    """-1, 0 or +1 an entry in 1.6 bits (the three levels of TernGrad, arXiv 1705.07878).

    TernGrad rounds at random, without bias. Here the rounding is the deterministic threshold of ternary weight
    networks (arXiv 1605.04711): 0 below 0.7 of the chunk's mean magnitude, and the mean of the others as scale. Its
    error is smaller, error feedback makes up for the bias, and equal gradients give equal bytes on every machine.
    """

    name: ClassVar[str] = "ternary"
    number: ClassVar[int] = 5

    def _quantised(self, dense: NDArray[np.float32], chunk: int) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        lengths = chunk_lengths(len(dense), chunk)
        magnitudes = np.abs(dense)
        bound = THRESHOLD * (_sums(magnitudes, lengths) / lengths)
        sent = magnitudes > np.repeat(bound.astype(np.float32), lengths)
        counts = np.add.reduceat(sent, _starts(lengths), dtype=np.int64)
        scales = scales_of(_sums(np.where(sent, magnitudes, np.float32(0)), lengths) / np.maximum(counts, 1))
        return scales, np.sign(dense).astype(np.int8) * sent

    def _wrong(self, levels: NDArray[np.int8], scales: NDArray[np.uint16], size: int, chunk: int) -> str:
        if np.any(levels > 1) or np.any(levels < -1):
            return "a level is not -1, 0 or +1"
        used = np.logical_or.reduceat(levels != 0, _starts(chunk_lengths(size, chunk)))
        return "" if np.all(used[scales != 0]) else "a chunk with a scale has no level but 0"

    def _packed(self, live: NDArray[np.int8]) -> bytes:
        digits = np.zeros((self._level_bytes(len(live)), _TRITS), dtype=np.uint8)
        digits.reshape(-1)[: len(live)] = live + 1
        return (digits * _PLACES.astype(np.uint8)).sum(axis=1, dtype=np.uint8).tobytes()

    def _unpacked(self, reader: Reader, count: int) -> NDArray[np.int8]:
        raw = np.frombuffer(reader.take(self._level_bytes(count), "levels"), dtype=np.uint8)
        if np.any(raw >= 3**_TRITS):
            reader.refuse("level", "has a byte that is no five ternary digits")
        digits = ((raw[:, None] // _PLACES.astype(np.uint8)) % np.uint8(3)).reshape(-1)
        if np.any(digits[count:]):
            reader.refuse("padding", "has digits set behind the end of its levels")
        return digits[:count].astype(np.int8) - np.int8(1)

    def _level_bytes(self, count: int) -> int:
        return -(-count // _TRITS)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(lengths) - lengths


def _sums(values: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[n_chunks]: the sum of each chunk."""
    return np.add.reduceat(values, _starts(lengths), dtype=np.float64)
