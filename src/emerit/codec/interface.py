"""The interface of all codecs: from a dense pseudo-gradient to what is sent, to bytes, and back.

A codec is canonical: `decode(encode(update))` is the update, `encode(decode(data))` is the data, and other bytes are
refused. It is told apart by its number in a blob's header; a codec whose format changes gets a new number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from emerit.codec.reader import Bytes, Reader
from emerit.codec.update import SparseUpdate, check_shape
from emerit.errors import StateError, UsageError


class Update(Protocol):
    """What a codec makes of a pseudo-gradient; two are equal when all that is sent is."""

    def dense(self) -> NDArray[np.float32]:
        """Return float32[P]: the update as a vector."""


U = TypeVar("U", bound=Update)


class Codec(ABC, Generic[U]):
    """One way to send a pseudo-gradient; `chunk` and `k` are what CodecSpec in the manifest says.

    Attributes:
        name: how manifests and commands call it.
        number: how blobs call it; never given twice.
        integer: whether it decodes to integers alone, so that a run may use it; the others are for the lab.
        dense_only: whether every entry is sent, so that k must be the chunk.
    """

    name: ClassVar[str]
    number: ClassVar[int]
    integer: ClassVar[bool]
    dense_only: ClassVar[bool] = False

    def check_shape(self, size: int, chunk: int, k: int) -> None:
        """Raise UsageError `codec-shape` when this codec cannot send a vector of `size` so."""
        check_shape(size, chunk, k)
        if self.dense_only and k != chunk:
            raise UsageError(
                "codec-shape",
                f"{self.name} sends every entry, so k = {k} must be the chunk of {chunk}.",
                "Set k to it.",
            )

    @abstractmethod
    def compress(
        self, dense: NDArray[np.float32], chunk: int, k: int, threads: int = 1
    ) -> tuple[U, NDArray[np.float32]]:
        """Return the update that stands for float32[P], and what it sends of it, float32[P].

        Raises:
            UsageError: `codec-shape`, `codec-dtype`.
            StateError: `update-not-finite` when an entry is infinite or not a number.
        """

    def feed(
        self,
        buffer: NDArray[np.float32],
        delta: NDArray[np.float32],
        beta: float,
        chunk: int,
        k: int,
        threads: int = 1,
    ) -> U:
        """Do a round of error feedback in place: buffer <- beta * buffer + delta, less what the returned update sends.

        Raises as `compress`; after a StateError the buffer holds values that are not finite: load the last saved one.
        """
        check_dense(delta)
        np.multiply(buffer, np.float32(beta), out=buffer)
        np.add(buffer, delta, out=buffer)
        update, sent = self.compress(buffer, chunk, k, threads)
        np.subtract(buffer, sent, out=buffer)
        return update

    @abstractmethod
    def check(self, update: U) -> None:
        """Raise UsageError `update-invalid` unless the update is one that `decode` can return."""

    @abstractmethod
    def write(self, update: U) -> bytes:
        """Return the body of an update that `check` accepts."""

    @abstractmethod
    def read(self, reader: Reader, size: int, chunk: int, k: int) -> U:
        """Read a body; raises RefusedErrors `blob-...`. Allocates nothing before the bytes for it are there."""

    @abstractmethod
    def largest_bytes(self, size: int, chunk: int, k: int) -> int:
        """Return the length of the longest body of this shape."""

    def encode(self, update: U) -> bytes:
        """Return the one encoding of an update as a body without header; raises UsageError `update-invalid`."""
        self.check(update)
        return self.write(update)

    def decode(self, data: Bytes, size: int, chunk: int, k: int) -> U:
        """Return the update of which `data` is the body; raises UsageError `codec-shape`, RefusedError `blob-...`."""
        self.check_shape(size, chunk, k)
        reader = Reader(data, "blob", self.largest_bytes(size, chunk, k))
        update = self.read(reader, size, chunk, k)
        reader.finish()
        return update


IntegerCodec = Codec[SparseUpdate]


def check_dense(dense: NDArray[np.float32]) -> None:
    """Raise UsageError `codec-dtype` unless the array is float32[P]."""
    if dense.dtype != np.float32 or dense.ndim != 1:
        raise UsageError(
            "codec-dtype", f"An update must be float32[P], not {dense.dtype}{list(dense.shape)}.", "Convert it first."
        )


def not_finite(dense: NDArray[np.float32]) -> StateError:
    """Return the error that says how many entries of float32[P] are not finite."""
    return StateError(
        "update-not-finite",
        f"The update holds {int(np.count_nonzero(~np.isfinite(dense)))} entries that are not finite.",
        "The local training diverged: lower the learning rate or restart from the last settled state.",
    )


def check_finite(dense: NDArray[np.float32]) -> None:
    """Raise StateError `update-not-finite` unless every entry is finite; allocates nothing."""
    if not (np.isfinite(dense.max()) and np.isfinite(dense.min())):
        raise not_finite(dense)
