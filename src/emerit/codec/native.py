"""The codec's inner loops, compiled: one pass over a chunk while it is in cache.

Imported only by `emerit.codec.kernels`, because importing this module loads numba and compiles what its cache on disk
does not have yet. Every function has one signature, works on a range of chunks and releases the interpreter's
lock, so threads share the work by ranges. No fast-math and no fused operations: each result is bit for bit that of the
plain numpy code beside its caller, which the tests hold it against. Nothing here checks its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_ZEROS_OF_BYTES = np.array([(byte & -byte).bit_length() - 1 for byte in range(256)], dtype=np.int64)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Any]:
    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError:  # no folder where the compiled code could be kept
            return numba.njit(signature, nogil=True)(function)

    return compiled


@_compiled("i8(u4[::1], i8, i8)")
def count_from(magnitudes: NDArray[Any], length: Any, least: Any) -> Any:
    """Return how many of the first `length` magnitudes are at least `least`."""
    bound = np.uint32(least)
    count = np.uint32(0)
    for place in range(length):
        count = np.uint32(count + np.uint32(magnitudes[place] >= bound))  # 32 bits wide, so that it is vectorised
    return np.int64(count)


@_compiled("i8(u4[::1], i8, i8, i8, i8)")
def threshold(magnitudes: NDArray[Any], length: Any, kept: Any, largest: Any, hint: Any) -> Any:
    """Return a bound that at least `kept` of uint32[length] reach: exactly so many, or the kept-th largest itself.

    `largest` is the maximum, `hint` where to begin looking: what the chunk before had.
    """
    low, high = 0, largest + 1
    step = 1 << 18
    probe = hint
    while low < probe < high:
        count = count_from(magnitudes, length, probe)
        if count == kept:
            return probe
        if count > kept:
            low = probe
            probe += step
        else:
            high = probe
            probe -= step
        step <<= 1
        if low > 0 and high <= largest:
            break
    while high - low > 1:
        middle = (low + high) >> 1
        count = count_from(magnitudes, length, middle)
        if count == kept:
            return middle
        if count > kept:
            low = middle
        else:
            high = middle
    return low


@_compiled("boolean(f4[::1], u4[::1], f4[::1], f4, i8, i8, i8, i8, u4[::1], i8[::1])")
def select(
    dense: NDArray[Any],
    bits: NDArray[Any],
    delta: NDArray[Any],
    beta: Any,
    chunk: Any,
    k: Any,
    first: Any,
    last: Any,
    scratch: NDArray[Any],
    indices: NDArray[Any],
) -> bool:
    """Write the positions that chunks [first, last) keep; dense <- beta * dense + delta before, unless delta is empty.

    `bits` is `dense` seen as uint32, `scratch` uint32[chunk]. Returns False when a value is not finite.
    """
    finite, hint = True, 0
    for which in range(first, last):
        start = which * chunk
        length = min(chunk, len(dense) - start)
        kept = max(1, k * length // chunk)
        if len(delta):
            for place in range(start, start + length):
                dense[place] = dense[place] * beta + delta[place]
        for place in range(length):
            scratch[place] = bits[start + place] & np.uint32(0x7FFFFFFF)
        largest = np.uint32(0)
        for place in range(length):
            largest = max(largest, scratch[place])
        if largest >= 0x7F800000:
            finite = False
        hint = threshold(scratch, length, kept, np.int64(largest), hint)
        ties = kept - count_from(scratch, length, hint + 1)
        bound = np.uint32(hint)
        out = which * k
        for place in range(length):
            if scratch[place] >= bound:
                if scratch[place] == bound:
                    if ties == 0:
                        continue
                    ties -= 1
                indices[out] = start + place
                out += 1
    return finite


@_compiled("void(f4[::1], i8, i8, i8, i8, boolean, i8[::1], i1[::1], u2[::1])")
def signs_and_scales(
    dense: NDArray[Any],
    chunk: Any,
    k: Any,
    first: Any,
    last: Any,
    subtract: bool,
    indices: NDArray[Any],
    levels: NDArray[Any],
    scales: NDArray[Any],
) -> None:
    """Give the kept entries of chunks [first, last) signs and each chunk its scale; take them off `dense` if asked."""
    for which in range(first, last):
        start = which * chunk
        kept = max(1, k * min(chunk, len(dense) - start) // chunk)
        total = 0.0
        for entry in range(which * k, which * k + kept):
            value = dense[indices[entry]]
            total += np.float64(abs(value))
            levels[entry] = -1 if math.copysign(np.float32(1), value) < 0 else 1
        units = min(np.rint(total / kept * 16777216.0), 4395899027456.0)
        whole = np.int64(units)
        shift = 0
        while whole >> shift >= 4096:
            shift += 1
        code: Any = (shift << 11) + ((whole + ((1 << shift) >> 1)) >> shift)
        code = min(code, 0xFFFE)
        scales[which] = code
        if code == 0:
            for entry in range(kept):
                levels[which * k + entry] = 1
                indices[which * k + entry] = start + entry
        elif subtract:
            exponent, mantissa = code >> 11, code & 2047
            decoded = mantissa if exponent == 0 else (2048 + mantissa) << (exponent - 1)
            amount = np.float32(decoded * (1.0 / 16777216.0))
            for entry in range(which * k, which * k + kept):
                dense[indices[entry]] -= amount if levels[entry] > 0 else -amount


@_compiled("i8(i8[::1], u2[::1], i8, i8, i8, i8, u1[::1], u1[::1])")
def write_gaps(
    indices: NDArray[Any],
    scales: NDArray[Any],
    size: Any,
    chunk: Any,
    k: Any,
    r: Any,
    low: NDArray[Any],
    high: NDArray[Any],
) -> Any:
    """Write remainders into `low` and quotients into `high`, both zeros before; return the bits of the quotients."""
    held, bits, byte, at = np.uint64(0), 0, 0, 0
    mask = (1 << r) - 1
    for which in range(len(scales)):
        if scales[which] == 0:
            continue
        start = which * chunk
        before = start - 1
        kept = max(1, k * min(chunk, size - start) // chunk)
        for entry in range(which * k, which * k + kept):
            gap = indices[entry] - before - 1
            before = indices[entry]
            held |= np.uint64(gap & mask) << np.uint64(bits)
            bits += r
            while bits >= 8:
                low[byte] = held & np.uint64(255)
                held >>= np.uint64(8)
                byte += 1
                bits -= 8
            at += gap >> r
            high[at >> 3] |= np.uint8(1 << (at & 7))
            at += 1
    if bits:
        low[byte] = held & np.uint64(255)
    return at


@_compiled("i8(u8)")
def _trailing_zeros(word: Any) -> Any:
    """Return how many zero bits a word, not 0, has below its lowest one."""
    count = 0
    while word & np.uint64(255) == 0:
        word >>= np.uint64(8)
        count += 8
    return count + _ZEROS_OF_BYTES[word & np.uint64(255)]


@_compiled("i8(u1[::1], u1[::1], i8, u2[::1], i8, i8, i8, i8, i8[::1])")
def read_gaps(
    low: NDArray[Any],
    high: NDArray[Any],
    most_bits: Any,
    scales: NDArray[Any],
    size: Any,
    chunk: Any,
    k: Any,
    r: Any,
    indices: NDArray[Any],
) -> Any:
    """Write the positions of all entries; return the bits of the quotients, or -1 when anything is wrong.

    Chunks with scale 0 get their first positions. Reads no more than `most_bits` bits of `high`.
    """
    held, bits, byte, at = np.uint64(0), 0, 0, 0
    window, seen = np.uint64(0), 0  # the next bits of `high`, up to bit `seen` of it
    mask = np.uint64((1 << r) - 1)
    for which in range(len(scales)):
        start = which * chunk
        length = min(chunk, size - start)
        kept = max(1, k * length // chunk)
        if scales[which] == 0:
            for entry in range(kept):
                indices[which * k + entry] = start + entry
            continue
        place = -1
        for entry in range(which * k, which * k + kept):
            while bits < r:
                held |= np.uint64(low[byte]) << np.uint64(bits)
                byte += 1
                bits += 8
            gap = np.int64(held & mask)
            held >>= np.uint64(r)
            bits -= r
            while window == 0 or seen - at < 16:
                if seen >= most_bits:
                    break
                if window == 0:
                    gap += (seen - at) << r
                    at = seen
                window |= np.uint64(high[seen >> 3]) << np.uint64(seen - at)
                seen += 8
            if window == 0:
                return -1
            zeros = _trailing_zeros(window)
            window = window >> np.uint64(zeros) >> np.uint64(1)
            place += gap + (zeros << r) + 1
            at += zeros + 1
            if place >= length or at > most_bits:
                return -1
            indices[entry] = start + place
    if held != 0 or (at & 7 and high[at >> 3] >> (at & 7)):
        return -1
    return at


@_compiled("void(i8[::1], i1[::1], i8[::1], i8, i8, i8, i8, i8, i8[::1], u2[::1])")
def add_block(
    indices: NDArray[Any],
    levels: NDArray[Any],
    units: NDArray[Any],
    size: Any,
    chunk: Any,
    k: Any,
    first: Any,
    last: Any,
    totals: NDArray[Any],
    counts: NDArray[Any],
) -> None:
    """Add one update's entries in chunks [first, last) to the totals and sender counts of those chunks."""
    base = first * chunk
    for which in range(first, last):
        scale = units[which]
        if scale == 0:
            continue
        kept = max(1, k * min(chunk, size - which * chunk) // chunk)
        for entry in range(which * k, which * k + kept):
            place = indices[entry] - base
            totals[place] += min(max(levels[entry] * scale, -2147483647), 2147483647)
            counts[place] += np.uint16(1)


@_compiled("i8(i8[::1], u2[::1], i8, i8, i8, i8, i8, i8[::1], i4[::1])")
def close_block(
    totals: NDArray[Any],
    counts: NDArray[Any],
    length: Any,
    base: Any,
    numerator: Any,
    denominator: Any,
    floor: Any,
    positions: NDArray[Any],
    deltas: NDArray[Any],
) -> Any:
    """Write a block's positions and deltas, set its totals and counts to zeros; return how many there are.

    `positions` has room for one more than there can be. Nothing branches on the data, which is random.
    """
    found = 0
    for place in range(length):
        positions[found] = place
        found += totals[place] != 0
    out = 0
    for each in range(found):
        place = positions[each]
        total = totals[place]
        totals[place] = 0
        sign = total >> 63
        divisor = np.uint64(max(np.int64(counts[place]), floor) * denominator)
        doubled = np.uint64(2 * ((total ^ sign) - sign) * numerator)
        magnitude: Any = np.int64((doubled + divisor) // (np.uint64(2) * divisor))
        magnitude = min(magnitude, 2147483647)
        positions[out] = base + place
        deltas[out] = (magnitude ^ sign) - sign
        out += magnitude != 0
    for place in range(length):
        counts[place] = 0
    return out
