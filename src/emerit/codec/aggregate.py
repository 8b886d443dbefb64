"""A round's aggregate as bytes: the integer step that every node applies to the state.

Layout, all integers little-endian::

    magic "EMRA"  u16 version  u16 reserved, must be 0  u32 extension length, must be 0
    u32 round  u64 size  u64 count
    u16 table sizes[n_blocks]     distinct magnitudes among the deltas of each block of 4096 positions
    u32 tables                    those magnitudes, increasing, block after block
    signs                         one bit for each delta; 1 is minus
    remainders, quotients         gaps between positions, Golomb-Rice (see `emerit.codec.rice`)
    places                        each delta's place in its block's table, in the fewest bits that hold them all

Why tables: a delta is a sum of a few senders' chunk scales, clipped to their median, over a small count, so a block
of thousands of deltas has only some tens of magnitudes. A delta is never 0; each table entry is used; bits behind
the end of a part are 0. So an aggregate has one encoding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.codec.reader import Bytes, Reader
from emerit.codec.rice import (
    gaps_of,
    pack_bits,
    pack_fields,
    pack_quotients,
    pack_remainders,
    rice_parameter,
    unary_bits_at_most,
    unpack_fields,
)
from emerit.errors import UsageError
from emerit.protocol.types import check_uint

MAGIC = b"EMRA"
VERSION = 1
BLOCK = 4096
_HEADER = struct.Struct("<4sHHIIQQ")
_MOST = 1 << 31


@dataclass(frozen=True, eq=False)
class Aggregate:
    """What a round changes: state[positions] -= deltas, in units of 2^-24.

    `positions` int64[count], strictly increasing below `size`; `deltas` int32[count], none of them 0.
    """

    round: int
    size: int
    positions: NDArray[np.int64]
    deltas: NDArray[np.int32]

    def __eq__(self, other: object) -> bool:
        """Two aggregates are equal when all their fields are."""
        if not isinstance(other, Aggregate):
            return NotImplemented
        return (
            (self.round, self.size) == (other.round, other.size)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.deltas, other.deltas)
        )

    __hash__ = None  # type: ignore[assignment]


def encode_aggregate(round: int, size: int, positions: NDArray[np.int64], deltas: NDArray[np.int32]) -> bytes:
    """Return the one encoding of an aggregate; see `Aggregate` for the arrays. Nothing to change is fine.

    Raises:
        UsageError: `aggregate-invalid` when a delta is 0, or positions do not increase or lie outside [0, size).
    """
    _check(round, size, positions, deltas)
    negative = deltas < 0
    magnitudes = np.abs(deltas.astype(np.int64))
    blocks = positions // BLOCK
    keys, places = np.unique(blocks << 32 | magnitudes, return_inverse=True)
    table_sizes = np.bincount(keys >> 32, minlength=_block_count(size))
    places -= (np.cumsum(table_sizes) - table_sizes)[blocks]
    r = rice_parameter(size, max(1, len(positions)))
    gaps = gaps_of(positions, np.array([len(positions)]))
    return b"".join(
        (
            _HEADER.pack(MAGIC, VERSION, 0, 0, round, size, len(positions)),
            table_sizes.astype("<u2").tobytes(),
            (keys & 0xFFFFFFFF).astype("<u4").tobytes(),
            pack_bits(negative),
            pack_remainders(gaps, r),
            pack_quotients(gaps, r),
            pack_fields(places, _widths(table_sizes)[blocks]),
        )
    )


def decode_aggregate(data: Bytes, size: int, max_bytes: int, round: int | None = None) -> Aggregate:
    """Return the aggregate that `data` encodes, for a state of `size` entries, and for `round` where it is given.

    Memory and time are bounded by `size` and the length of the data. `encode_aggregate` of the result gives `data`.

    Raises:
        RefusedError: `aggregate-too-large`, `aggregate-truncated`, `aggregate-magic`, `aggregate-version`,
            `aggregate-extension`, `aggregate-wrong-round`, `aggregate-shape`, `aggregate-table`, `aggregate-gaps`,
            `aggregate-padding`, `aggregate-trailing`.
    """
    reader = Reader(data, "aggregate", max_bytes)
    found_round, count = _read_header(reader, size, round)
    table_sizes, table = _read_tables(reader, size)
    negative = reader.take_bits(count, "signs").astype(np.bool_)
    counts = np.array([count], dtype=np.int64)
    positions = reader.take_places(counts, np.array([size]), rice_parameter(size, max(1, count)))
    deltas = _read_deltas(reader, positions // BLOCK, table_sizes, table, negative)
    reader.finish()
    return Aggregate(found_round, size, positions, deltas)


def largest_aggregate_bytes(size: int, count: int) -> int:
    """Return a bound on the length in bytes of an aggregate that changes at most `count` of `size` entries.

    It is reached, but for a twentieth, by deltas that are all different, at positions that are far apart.
    """
    r = rice_parameter(size, max(1, count))
    bits = (count, count * r, unary_bits_at_most(size - count, count, r), count * (BLOCK - 1).bit_length())
    slack = count // 4 + 64  # fewer entries can have the larger r, and so longer positions
    return _HEADER.size + 2 * _block_count(size) + 4 * count + sum(-(-part // 8) for part in bits) + slack


def _read_header(reader: Reader, size: int, round: int | None) -> tuple[int, int]:
    magic, version, reserved, extension, found_round, found_size, count = _HEADER.unpack(
        reader.take(_HEADER.size, "header")
    )
    if magic != MAGIC:
        reader.refuse("magic", "does not begin with EMRA")
    if version != VERSION:
        reader.refuse("version", f"has version {version}, not {VERSION}")
    if reserved or extension:
        reader.refuse("extension", "announces an extension, which this version has not")
    if round is not None and found_round != round:
        reader.refuse("wrong-round", f"is of round {found_round}, not {round}")
    if found_size != size:
        reader.refuse("shape", f"is for {found_size} parameters, not {size}")
    if count > size:
        reader.refuse("shape", f"changes {count} of {size} parameters")
    return found_round, count


def _read_tables(reader: Reader, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return int64[n_blocks] table sizes and int64[sum of them] magnitudes, each table increasing from 1 up."""
    blocks = _block_count(size)
    table_sizes = np.frombuffer(reader.take(2 * blocks, "table sizes"), dtype="<u2").astype(np.int64)
    table = np.frombuffer(reader.take(4 * int(table_sizes.sum()), "tables"), dtype="<u4").astype(np.int64)
    if np.any(table > _MOST) or np.any(table == 0):
        reader.refuse("table", "has a magnitude that is no delta's")
    keys = np.repeat(np.arange(blocks), table_sizes) << 32 | table
    if np.any(np.diff(keys) <= 0):
        reader.refuse("table", "has a table that does not increase")
    return table_sizes, table


def _read_deltas(
    reader: Reader,
    blocks: NDArray[np.int64],
    table_sizes: NDArray[np.int64],
    table: NDArray[np.int64],
    negative: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Return int32[count] deltas of entries that lie in `blocks` int64[count]."""
    sizes = table_sizes[blocks]
    if np.any(sizes == 0):
        reader.refuse("table", "has a delta in a block without a table")
    widths = _widths(table_sizes)[blocks]
    places = unpack_fields(reader.take_bits(int(widths.sum()), "places"), widths)
    if np.any(places >= sizes):
        reader.refuse("table", "has a place behind the end of its table")
    entries = places + (np.cumsum(table_sizes) - table_sizes)[blocks]
    if np.any(np.bincount(entries, minlength=len(table)) == 0):
        reader.refuse("table", "has a magnitude that no delta uses")
    deltas = np.where(negative, -table[entries], table[entries])
    if np.any(deltas == _MOST):
        reader.refuse("table", "has a delta of 2^31")
    return deltas.astype(np.int32)


def _block_count(size: int) -> int:
    return -(-size // BLOCK)


def _widths(table_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bits that hold a place in a table of each size: ceil(log2 size), 0 for one entry and for none."""
    return np.frexp(np.maximum(table_sizes - 1, 0))[1].astype(np.int64)


def _check(round: int, size: int, positions: NDArray[np.int64], deltas: NDArray[np.int32]) -> None:
    check_uint("round", round, 32)
    wrong = ""
    if not 1 <= size < 1 << 40:
        wrong = f"a state of {size} entries is not possible"
    elif positions.dtype != np.int64 or deltas.dtype != np.int32 or positions.ndim != 1:
        wrong = "positions must be int64[n] and deltas int32[n]"
    elif positions.shape != deltas.shape:
        wrong = f"there are {positions.size} positions and {deltas.size} deltas"
    elif len(positions) and (positions[0] < 0 or positions[-1] >= size or np.any(np.diff(positions) <= 0)):
        wrong = "the positions do not increase within the state"
    elif np.any(deltas == 0):
        wrong = "a listed delta is 0"
    if wrong:
        raise UsageError("aggregate-invalid", f"The aggregate cannot be encoded: {wrong}.")
