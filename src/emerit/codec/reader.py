"""A bounded reader over a stranger's bytes: every step checks what is there before it allocates."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from emerit.codec import kernels
from emerit.codec.rice import places_of, rice_parameter, unary_bits_at_most, unpack_remainders
from emerit.codec.update import chunk_lengths, first_indices, kept_per_chunk
from emerit.errors import RefusedError

Bytes = bytes | bytearray | memoryview


class Reader:
    """Reads `data` from front to back; refusals are RefusedErrors whose codes begin with `kind` and a dash."""

    def __init__(self, data: Bytes, kind: str, max_bytes: int) -> None:
        """Take the data; raises RefusedError `<kind>-too-large` when it is longer than `max_bytes`."""
        self._kind = kind
        view = memoryview(data).cast("B")
        if len(view) > max_bytes:
            self.refuse("too-large", f"has {len(view)} bytes, at most {max_bytes} are allowed")
        self._data = view
        self._at = 0

    def refuse(self, reason: str, what: str) -> NoReturn:
        """Raise RefusedError `<kind>-<reason>`; `what` completes the sentence "The <kind> ..."."""
        raise RefusedError(f"{self._kind}-{reason}", f"The {self._kind} {what}.", "Ask its author for a valid one.")

    @property
    def left_bytes(self) -> int:
        """Bytes that have not been read yet."""
        return len(self._data) - self._at

    def need(self, count_bytes: int, what: str) -> None:
        """Raise RefusedError `<kind>-truncated` unless `count_bytes` are left."""
        if self.left_bytes < count_bytes:
            self.refuse("truncated", f"ends inside its {what}: {count_bytes} bytes due, {self.left_bytes} left")

    def take(self, count_bytes: int, what: str) -> memoryview:
        """Return the next bytes, not copied; raises RefusedError `<kind>-truncated`."""
        self.need(count_bytes, what)
        part = self._data[self._at : self._at + count_bytes]
        self._at += count_bytes
        return part

    def take_bits(self, count: int, what: str) -> NDArray[np.uint8]:
        """Return uint8[count] of 0 and 1; raises RefusedError `<kind>-truncated` or `<kind>-padding`."""
        raw = np.frombuffer(self.take((count + 7) // 8, what), dtype=np.uint8)
        self._check_padding(raw, count, what)
        return np.unpackbits(raw, count=count, bitorder="little")

    def take_quotients(self, count: int, most_bits: int, what: str) -> NDArray[np.int64]:
        """Return int64[count] from unary; raises RefusedError `<kind>-truncated`, `-gaps` or `-padding`.

        Looks at no more than `most_bits` bits, in which the `count` values must end.
        """
        if count == 0:
            return np.empty(0, dtype=np.int64)
        look_bytes = min(self.left_bytes, (most_bits + 7) // 8)
        raw = np.frombuffer(self._data[self._at : self._at + look_bytes], dtype=np.uint8)
        ends = np.flatnonzero(np.unpackbits(raw, bitorder="little"))[:count]
        if len(ends) < count:
            if look_bytes == self.left_bytes:
                self.refuse("truncated", f"ends inside its {what}: {count} values due, {len(ends)} found")
            self.refuse("gaps", f"has {what} that reach beyond their range")
        bits = int(ends[-1]) + 1
        self._check_padding(raw[: (bits + 7) // 8], bits, what)
        self._at += (bits + 7) // 8
        return np.diff(ends, prepend=-1) - 1

    def take_places(self, counts: NDArray[np.int64], lengths: NDArray[np.int64], r: int) -> NDArray[np.int64]:
        """Return int64[n] positions within groups of `lengths` with `counts` entries, n = sum of counts.

        Raises RefusedError `<kind>-truncated`, `-padding`, or `-gaps` when a position lies outside its group.
        """
        count = int(counts.sum())
        self.need((count * r + 7) // 8 + (count + 7) // 8, "positions")
        low = unpack_remainders(self.take_bits(count * r, "gap remainders"), r, count)
        room = int((lengths - counts)[counts > 0].sum())
        high = self.take_quotients(count, unary_bits_at_most(room, count, r), "gaps")
        places = places_of((high << r) | low, counts)
        occupied = counts > 0
        last = places[np.cumsum(counts)[occupied] - 1]
        if np.any(last >= lengths[occupied]):
            self.refuse("gaps", "has a position outside its chunk")
        return places

    def take_chunk_places(self, scales: NDArray[np.uint16], size: int, chunk: int, k: int) -> NDArray[np.int64]:
        """Return int64[n], increasing: the positions of all entries, placeholders of chunks with scale 0 included.

        Raises as `take_places`; what the compiled kernels refuse is read again by numpy, which says why.
        """
        r = rice_parameter(chunk, k)
        kept = kept_per_chunk(size, chunk, k)
        counts = np.where(scales != 0, kept, 0)
        indices = self._native_places(scales, counts, size, chunk, k, r)
        if indices is not None:
            return indices
        places = self.take_places(counts, chunk_lengths(size, chunk), r)
        indices = first_indices(size, chunk, k)
        indices[np.repeat(scales != 0, kept)] = places + np.repeat(np.arange(len(scales)) * chunk, counts)
        return indices

    def _native_places(
        self, scales: NDArray[np.uint16], counts: NDArray[np.int64], size: int, chunk: int, k: int, r: int
    ) -> NDArray[np.int64] | None:
        module = kernels.native(size)
        if module is None:
            return None
        count = int(counts.sum())
        low_bytes = (count * r + 7) // 8
        self.need(low_bytes + (count + 7) // 8, "positions")
        most_bits = unary_bits_at_most(size - count, count, r)
        middle = self._at + low_bytes
        low = np.array(self._data[self._at : middle], dtype=np.uint8)
        high = np.array(self._data[middle : middle + (most_bits + 7) // 8], dtype=np.uint8)
        indices = np.empty(int(kept_per_chunk(size, chunk, k).sum()), dtype=np.int64)
        bits = module.read_gaps(low, high, min(most_bits, 8 * len(high)), scales, size, chunk, k, r, indices)
        if bits < 0:
            return None
        self._at = middle + (bits + 7) // 8
        return indices

    def finish(self) -> None:
        """Raise RefusedError `<kind>-trailing` unless everything was read."""
        if self.left_bytes:
            self.refuse("trailing", f"has {self.left_bytes} bytes after its end")

    def _check_padding(self, raw: NDArray[np.uint8], bits: int, what: str) -> None:
        if bits % 8 and int(raw[-1]) >> (bits % 8):
            self.refuse("padding", f"has bits set behind the end of its {what}")
