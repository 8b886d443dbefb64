"""A 16-bit unsigned minifloat for weights, losses and codec scales.

Five exponent bits e = code >> 11 and eleven mantissa bits m = code & 2047::

    value = m                        where e = 0
    value = (2048 + m) << (e - 1)    otherwise

So every integer below 4096 is exact, the relative error above is at most 2^-12, and a larger code is a
larger value: comparing codes compares values, which is why a median can be taken of codes. The code 0xFFFF
means "I abstain" and is never the result of encoding; values above that of 0xFFFE (4094 * 2^30) saturate.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emerit.errors import RefusedError

ABSTAIN: Final = 0xFFFF
MAX_CODE: Final = 0xFFFE
MAX_VALUE: Final = 4094 << 30

_MANTISSA_BITS: Final = 11
_IMPLICIT: Final = 1 << _MANTISSA_BITS


def encode(value: int) -> int:
    """Return the code of the representable value nearest to `value`, a half rounded up, saturated.

    Raises:
        RefusedError: `value-invalid`, when `value` is negative.
    """
    if value < 0:
        raise RefusedError("value-invalid", f"A minifloat cannot hold {value}: it has no sign.")
    if value >= MAX_VALUE:
        return MAX_CODE
    shift = max(0, value.bit_length() - (_MANTISSA_BITS + 1))
    rounded = (value + (1 << shift >> 1)) >> shift
    # A mantissa that rounds up to 4096 carries into the exponent by this very sum.
    return (shift << _MANTISSA_BITS) + rounded


def decode(code: int) -> int:
    """Return the value of a code.

    Raises:
        RefusedError: `value-invalid`, for a code outside [0, 0xFFFE]; 0xFFFF is an abstention, not a value.
    """
    if not 0 <= code <= MAX_CODE:
        raise RefusedError("value-invalid", f"{code:#x} is not the code of a minifloat value.")
    exponent, mantissa = code >> _MANTISSA_BITS, code & (_IMPLICIT - 1)
    return mantissa if exponent == 0 else (_IMPLICIT + mantissa) << (exponent - 1)


def encode_array(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the codes of an integer array, int64 of the same shape; as `encode` for each entry.

    Raises:
        RefusedError: `value-invalid`, when the array is not of integers or has a negative entry.
    """
    bounded = _as_integers(values)
    if bounded.size and int(bounded.min()) < 0:
        raise RefusedError("value-invalid", "A minifloat cannot hold a negative value.")
    bounded = np.minimum(bounded, MAX_VALUE)
    # Below 2^53 a float64 is exact, so frexp gives the true bit length.
    bit_length = np.frexp(bounded.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(0, bit_length - (_MANTISSA_BITS + 1))
    half = np.left_shift(np.int64(1), shift) >> 1
    codes = (shift << _MANTISSA_BITS) + ((bounded + half) >> shift)
    return np.minimum(codes, MAX_CODE)


def decode_array(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the values of an integer array of codes, int64 of the same shape; as `decode` for each entry.

    Raises:
        RefusedError: `value-invalid`, when the array is not of integers or an entry is outside [0, 0xFFFE].
    """
    wide = _as_integers(codes)
    if wide.size and not (int(wide.min()) >= 0 and int(wide.max()) <= MAX_CODE):
        raise RefusedError("value-invalid", "An entry is not the code of a minifloat value.")
    exponent, mantissa = wide >> _MANTISSA_BITS, wide & (_IMPLICIT - 1)
    normal = (_IMPLICIT + mantissa) << np.maximum(exponent - 1, 0)
    return np.where(exponent == 0, mantissa, normal)


def _as_integers(values: NDArray[Any]) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise RefusedError("value-invalid", f"Expected an array of integers, not of {array.dtype}.")
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(1 << 62))
    return array.astype(np.int64)
