"""All codecs by name. The names of those that a run may use are also in `emerit.protocol.manifest`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from emerit.codec.dense import Dense8Bit, DenseSign, Ternary
from emerit.codec.interface import Codec, IntegerCodec
from emerit.codec.lab import DctTopkSign, DenseFp32, LowRank
from emerit.codec.topk import TopkSign
from emerit.codec.two_bit import Topk2Bit
from emerit.errors import UsageError

_INTEGER: tuple[IntegerCodec, ...] = (TopkSign(), Topk2Bit(), Dense8Bit(), DenseSign(), Ternary())
_LAB: tuple[Codec[Any], ...] = (DenseFp32(), DctTopkSign(), LowRank())

INTEGER_CODECS: Final[Mapping[str, IntegerCodec]] = MappingProxyType({each.name: each for each in _INTEGER})
"""Those that decode in integers, which a run may use."""

CODECS: Final[Mapping[str, Codec[Any]]] = MappingProxyType({each.name: each for each in (*_INTEGER, *_LAB)})


def codec(name: str) -> Codec[Any]:
    """Return the codec of that name; raises UsageError `codec-unknown` with a suggestion."""
    if name in CODECS:
        return CODECS[name]
    close = difflib.get_close_matches(name, CODECS, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise UsageError("codec-unknown", f"There is no codec {name!r}.", f"{hint}Known: {', '.join(sorted(CODECS))}.")


def integer_codec(name: str) -> IntegerCodec:
    """Return a codec for a run; raises UsageError `codec-unknown`, or `codec-lab-only` for one that uses floats."""
    found = codec(name)
    if name not in INTEGER_CODECS:
        raise UsageError(
            "codec-lab-only",
            f"{name} decodes with floats, so nodes could not agree on the model to the bit; it is for experiments.",
            f"Choose one of {', '.join(INTEGER_CODECS)}.",
        )
    return found


def integer_codec_by_number(number: int) -> IntegerCodec:
    """Return the codec that blobs call by this number; raises UsageError `codec-unknown`."""
    for each in _INTEGER:
        if each.number == number:
            return each
    raise UsageError("codec-unknown", f"No codec of a run has the number {number}.", "Use one of emerit.codec.")
