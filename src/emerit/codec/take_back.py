"""What stands in an aggregate's place in a round that takes the last one back.

Layout, integers little-endian, 52 bytes::

    magic "EMRB"  u16 version  u16 reserved, must be 0  u32 extension length, must be 0
    u32 round  u32 round whose aggregate is taken back, an earlier one  32 bytes state root before that

All of it follows from the chain, so nobody has to fetch it: a settled round whose aggregate hash is the SHA-256 of
these bytes took the last aggregate back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from emerit.codec.reader import Bytes, Reader
from emerit.errors import UsageError
from emerit.protocol.types import check_uint

MAGIC: Final = b"EMRB"
VERSION: Final = 1
_LAYOUT: Final = struct.Struct("<4sHHIII32s")
TAKE_BACK_BYTES: Final = _LAYOUT.size


@dataclass(frozen=True)
class TakeBack:
    """Round `round` takes back the aggregate of `taken_back`, and so restores the state with `state_root`, 32 bytes."""

    round: int
    taken_back: int
    state_root: bytes


def encode_take_back(item: TakeBack) -> bytes:
    """Return the one encoding, 52 bytes.

    Raises:
        UsageError: `aggregate-invalid` unless the round taken back is an earlier one and the root has 32 bytes.
    """
    check_uint("round", item.round, 32)
    check_uint("taken_back", item.taken_back, 32)
    if item.taken_back >= item.round or len(item.state_root) != 32:
        raise UsageError(
            "aggregate-invalid",
            f"Round {item.round} cannot take back the aggregate of round {item.taken_back}.",
            "Name an earlier round, and the 32 bytes of the state root before it.",
        )
    return _LAYOUT.pack(MAGIC, VERSION, 0, 0, item.round, item.taken_back, item.state_root)


def decode_take_back(data: Bytes, round: int | None = None) -> TakeBack:
    """Return what `encode_take_back` encoded, of round `round` where that is given.

    Raises:
        RefusedError: `aggregate-too-large`, `aggregate-truncated`, `aggregate-magic`, `aggregate-version`,
            `aggregate-extension`, `aggregate-wrong-round`.
    """
    reader = Reader(data, "aggregate", TAKE_BACK_BYTES)
    magic, version, reserved, extension, found, taken_back, root = _LAYOUT.unpack(
        reader.take(TAKE_BACK_BYTES, "take-back")
    )
    if magic != MAGIC:
        reader.refuse("magic", "does not begin with EMRB")
    if version != VERSION:
        reader.refuse("version", f"has version {version}, not {VERSION}")
    if reserved or extension:
        reader.refuse("extension", "announces an extension, which this version has not")
    if round is not None and found != round:
        reader.refuse("wrong-round", f"is of round {found}, not {round}")
    if taken_back >= found:
        reader.refuse("wrong-round", f"takes back round {taken_back}, which is not before {found}")
    reader.finish()
    return TakeBack(found, taken_back, root)
