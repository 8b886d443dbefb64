"""Golomb-Rice coding of sorted positions, vectorised: no Python loop over entries.

A position is coded as the gap to the one before it in its group. With parameter r a gap g is its quotient g >> r
in unary (that many 0 bits, then a 1) and its remainder in r bits. The quotients of all entries stand in one bit
stream and the remainders in another: the length is that of the interleaved code, and both can be read at once.
Bits fill bytes from the lowest up.

Source: S. W. Golomb, "Run-length encodings" (1966); R. F. Rice, "Some practical universal noiseless coding
techniques" (JPL 79-22, 1979).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FRACTION_BITS = 62


def rice_parameter(length: int, kept: int) -> int:
    """Return the r that codes the gaps of `kept` random positions among `length` in the fewest bits.

    The gaps are all but geometric: P(g >= m) = q^m with q = (length - kept) / length. One gap costs
    r + 1 + E[g >> r] = r + 1 + x / (1 - x) bits, with x = q^(2^r). Going from r to r + 1 adds a bit and
    replaces x by x^2, so it pays while x / (1 - x) - x^2 / (1 - x^2) > 1, that is x^2 + x > 1 (x above the
    inverse golden ratio; A. Kiely, "Selecting the Golomb parameter in Rice coding", JPL IPN 42-159, 2004).
    The least r with x^2 + x <= 1 is found by squaring in 62-bit fixed point, rounded down, so that everybody
    finds the same. At kept = length it is 0, and r = 0 is exactly the bit mask of the positions.
    """
    one = 1 << _FRACTION_BITS
    x = (length - kept) * one // length
    r = 0
    while x * x + x * one > one * one:
        x = x * x >> _FRACTION_BITS
        r += 1
    return r


def gaps_of(places: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[n]: the gap before each place, counted from the start of its group.

    `places` int64[n] are the positions within their groups, `counts` int64[groups] the size of each group in order;
    places increase strictly within a group.
    """
    gaps = np.diff(places, prepend=-1) - 1
    starts = (np.cumsum(counts) - counts)[counts > 0]
    gaps[starts] = places[starts]
    return gaps


def places_of(gaps: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[n]: the positions within their groups; the inverse of `gaps_of`."""
    ends = np.cumsum(gaps + 1)
    starts = (np.cumsum(counts) - counts)[counts > 0]
    before = np.where(starts > 0, ends[starts - 1], 0)
    return ends - 1 - np.repeat(before, counts[counts > 0])


def pack_bits(bits: NDArray[np.bool_] | NDArray[np.uint8]) -> bytes:
    """Return bits as bytes, lowest bit first, the last byte filled up with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


def pack_fields(values: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    """Return the values in `widths` int64[n] bits each, one after the other, lowest bit first."""
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    starts = ends - widths
    for place in range(int(widths.max(initial=0))):
        wide = np.flatnonzero(widths > place)
        bits[starts[wide] + place] = (values[wide] >> place) & 1
    return pack_bits(bits)


def unpack_fields(bits: NDArray[np.uint8], widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[n]; the inverse of `pack_fields` on a bit array as long as the sum of `widths`."""
    starts = np.cumsum(widths) - widths
    values = np.zeros(len(widths), dtype=np.int64)
    for place in range(int(widths.max(initial=0))):
        wide = np.flatnonzero(widths > place)
        values[wide] |= bits[starts[wide] + place].astype(np.int64) << place
    return values


def pack_remainders(gaps: NDArray[np.int64], r: int) -> bytes:
    """Return the r low bits of every gap."""
    bits = np.empty((len(gaps), r), dtype=np.uint8)
    for place in range(r):
        bits[:, place] = (gaps >> place) & 1
    return pack_bits(bits)


def unpack_remainders(bits: NDArray[np.uint8], r: int, count: int) -> NDArray[np.int64]:
    """Return int64[count] from count * r bits; the inverse of `pack_remainders`."""
    columns = bits.reshape(count, r)
    values = np.zeros(count, dtype=np.int64)
    for place in range(r):
        values |= columns[:, place].astype(np.int64) << place
    return values


def pack_quotients(gaps: NDArray[np.int64], r: int) -> bytes:
    """Return the quotients gap >> r in unary."""
    ends = np.cumsum((gaps >> r) + 1)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    bits[ends - 1] = 1
    return pack_bits(bits)


def unary_bits_at_most(room: int, count: int, r: int) -> int:
    """Return the most unary bits that `count` gaps can take whose sum is at most `room`: count + (room >> r)."""
    return count + (room >> r)
