"""Codecs that decode with floats: for experiments and benchmarks, never for a run, whose nodes must agree to the bit.

`dense-fp32` sends everything; `dct-topk-sign` is what DeMo sends (arXiv 2411.19870); `low-rank` is PowerSGD
(arXiv 1905.13727).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from emerit.codec.interface import Codec, check_dense, check_finite, not_finite
from emerit.codec.reader import Reader
from emerit.codec.topk import TopkSign
from emerit.codec.update import SparseUpdate, check_shape, invalid
from emerit.errors import UsageError


@dataclass(frozen=True, eq=False)
class FloatUpdate:
    """`values` float32[P], finite, as they are."""

    values: NDArray[np.float32]

    def __eq__(self, other: object) -> bool:
        """Equal when every bit is."""
        return isinstance(other, FloatUpdate) and self.values.tobytes() == other.values.tobytes()

    __hash__ = None  # type: ignore[assignment]

    def dense(self) -> NDArray[np.float32]:
        """Return the values."""
        return self.values


class DenseFp32(Codec[FloatUpdate]):
    """Body: float32[P], little-endian, all finite."""

    name: ClassVar[str] = "dense-fp32"
    number: ClassVar[int] = 0x8001
    integer: ClassVar[bool] = False
    dense_only: ClassVar[bool] = True

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[FloatUpdate, NDArray[np.float32]]:
        """Take a copy."""
        check_dense(dense)
        self.check_shape(len(dense), chunk, k)
        check_finite(dense)
        return FloatUpdate(dense.copy()), dense.copy()

    def check(self, update: FloatUpdate) -> None:
        """Refuse what is not finite float32[P]."""
        if not _is_finite_float32(update.values, 1):
            raise invalid("the values are not finite float32[P]")

    def write(self, update: FloatUpdate) -> bytes:
        """Return the values."""
        return update.values.astype("<f4").tobytes()

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> FloatUpdate:
        """Read the values."""
        return FloatUpdate(_read_floats(reader, size, "values"))

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return four bytes an entry."""
        self.check_shape(size, chunk, k)
        return 4 * size


@dataclass(frozen=True)
class DctUpdate:
    """The largest DCT coefficients of every chunk; the vector's last chunk is filled up with zeros before."""

    size: int
    coefficients: SparseUpdate

    def dense(self) -> NDArray[np.float32]:
        """Return float32[P]: the inverse transform."""
        return _transformed(self.coefficients.dense(), self.coefficients.chunk, inverse=True)[: self.size]


class DctTopkSign(Codec[DctUpdate]):
    """Top-k sign of the two-dimensional DCT of each chunk; a chunk is a square, 4096 is 64 x 64.

    Body: that of `topk-sign` for the coefficients.
    """

    name: ClassVar[str] = "dct-topk-sign"
    number: ClassVar[int] = 0x8002
    integer: ClassVar[bool] = False
    _topk: ClassVar[TopkSign] = TopkSign()

    def check_shape(self, size: int, chunk: int, k: int) -> None:
        """Refuse chunks that are no squares, too."""
        super().check_shape(size, chunk, k)
        if math.isqrt(chunk) ** 2 != chunk:
            raise UsageError("codec-shape", f"{self.name} needs square chunks, not {chunk}.", "4096 is 64 * 64.")

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[DctUpdate, NDArray[np.float32]]:
        """Transform, keep the largest, transform back."""
        check_dense(dense)
        self.check_shape(len(dense), chunk, k)
        check_finite(dense)
        coefficients, _ = self._topk.compress(_transformed(dense, chunk, inverse=False), chunk, k, threads)
        update = DctUpdate(len(dense), coefficients)
        return update, update.dense()

    def check(self, update: DctUpdate) -> None:
        """Refuse coefficients that are no top-k sign update of whole chunks."""
        self.check_shape(update.size, update.coefficients.chunk, update.coefficients.k)
        if update.coefficients.size != _padded(update.size, update.coefficients.chunk):
            raise invalid("the coefficients are of another size")
        self._topk.check(update.coefficients)

    def write(self, update: DctUpdate) -> bytes:
        """Return the coefficients' body."""
        return self._topk.write(update.coefficients)

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> DctUpdate:
        """Read the coefficients' body."""
        return DctUpdate(size, self._topk.read(reader, _padded(size, chunk), chunk, k))

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the coefficients' bound."""
        self.check_shape(size, chunk, k)
        return self._topk.largest_bytes(_padded(size, chunk), chunk, k)


@dataclass(frozen=True, eq=False)
class LowRankUpdate:
    """Blocks of side s as left @ right: `left` float32[blocks, s, k], `right` float32[blocks, k, s], finite."""

    size: int
    left: NDArray[np.float32]
    right: NDArray[np.float32]

    def __eq__(self, other: object) -> bool:
        """Equal when every bit is."""
        if not isinstance(other, LowRankUpdate):
            return NotImplemented
        same = self.size == other.size and self.left.shape == other.left.shape
        return same and self.left.tobytes() + self.right.tobytes() == other.left.tobytes() + other.right.tobytes()

    __hash__ = None  # type: ignore[assignment]

    def dense(self) -> NDArray[np.float32]:
        """Return float32[P]: the product of the factors."""
        return np.matmul(self.left, self.right).reshape(-1)[: self.size].copy()


class LowRank(Codec[LowRankUpdate]):
    """PowerSGD on square blocks: the vector as matrices of `chunk` x `chunk`, each sent with rank `k`.

    PowerSGD starts from the last step's factor; this one keeps nothing between rounds and makes two
    power iterations from the block's own first columns instead. Body: all left factors, all right ones, float32.
    """

    name: ClassVar[str] = "low-rank"
    number: ClassVar[int] = 0x8003
    integer: ClassVar[bool] = False

    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[LowRankUpdate, NDArray[np.float32]]:
        """Find the factors of each block."""
        check_dense(dense)
        self.check_shape(len(dense), chunk, k)
        check_finite(dense)
        blocks = np.zeros((_blocks(len(dense), chunk), chunk, chunk), dtype=np.float32)
        blocks.reshape(-1)[: len(dense)] = dense
        largest = np.maximum(np.abs(blocks).max(axis=(1, 2), keepdims=True), np.float32(1e-30))
        blocks /= largest
        left = np.linalg.qr(blocks[:, :, :k])[0]
        for _ in range(2):
            left = np.linalg.qr(np.matmul(blocks, np.matmul(blocks.transpose(0, 2, 1), left)))[0]
        with np.errstate(over="ignore"):
            right = np.matmul(left.transpose(0, 2, 1), blocks) * largest
        if not np.isfinite(right).all():
            raise not_finite(right.reshape(-1))
        update = LowRankUpdate(len(dense), np.ascontiguousarray(left), np.ascontiguousarray(right))
        return update, update.dense()

    def check(self, update: LowRankUpdate) -> None:
        """Refuse factors of the wrong shape and those that are not finite."""
        if not (_is_finite_float32(update.left, 3) and _is_finite_float32(update.right, 3)):
            raise invalid("a factor is not finite float32")
        blocks, side, rank = update.left.shape
        if update.right.shape != (blocks, rank, side) or blocks != _blocks(update.size, side):
            raise invalid("the factors do not fit the vector")

    def write(self, update: LowRankUpdate) -> bytes:
        """Return the factors."""
        return update.left.astype("<f4").tobytes() + update.right.astype("<f4").tobytes()

    def read(self, reader: Reader, size: int, chunk: int, k: int) -> LowRankUpdate:
        """Read the factors."""
        blocks = _blocks(size, chunk)
        left = _read_floats(reader, blocks * chunk * k, "left factors").reshape(blocks, chunk, k)
        right = _read_floats(reader, blocks * chunk * k, "right factors").reshape(blocks, k, chunk)
        return LowRankUpdate(size, left, right)

    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length, which is always the same."""
        check_shape(size, chunk, k)
        return 8 * _blocks(size, chunk) * chunk * k


def _blocks(size: int, side: int) -> int:
    return -(-size // (side * side))


def _padded(size: int, chunk: int) -> int:
    return -(-size // chunk) * chunk


def _is_finite_float32(values: NDArray[np.float32], dimensions: int) -> bool:
    return values.dtype == np.float32 and values.ndim == dimensions and bool(np.isfinite(values).all())


def _read_floats(reader: Reader, count: int, what: str) -> NDArray[np.float32]:
    values = np.frombuffer(reader.take(4 * count, what), dtype="<f4").astype(np.float32)
    if not np.isfinite(values).all():
        reader.refuse("level", f"has {what} that are not finite")
    return values


def _transformed(dense: NDArray[np.float32], chunk: int, *, inverse: bool) -> NDArray[np.float32]:
    """Return the orthonormal 2-D DCT-II of every chunk, or its inverse; the last chunk is filled up with zeros."""
    side = math.isqrt(chunk)
    blocks = np.zeros(_padded(len(dense), chunk), dtype=np.float32)
    blocks[: len(dense)] = dense
    matrix = _cosines(side).T if inverse else _cosines(side)
    return np.matmul(np.matmul(matrix, blocks.reshape(-1, side, side)), matrix.T).reshape(-1)


@lru_cache(maxsize=4)
def _cosines(side: int) -> NDArray[np.float32]:
    """Return float32[side, side]: the orthonormal DCT-II, one frequency a row."""
    row, column = np.arange(side)[:, None], np.arange(side)[None, :]
    matrix = np.cos(np.pi * (2 * column + 1) * row / (2 * side)) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)
