"""Randomness: seeds that the contract draws, seeds derived from them, and a seeded permutation.

The permutation need not be cryptographic. Nobody can know the seed before it is drawn on chain, and afterwards
everybody may know the whole permutation; what matters is that it is a bijection, that it mixes well, and that
every implementation computes it alike. It is a Feistel network of eight rounds on the smallest even number of
bits that holds [0, n), with cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002):
an output outside [0, n) is put through again until it is inside. All arithmetic is of unsigned 64-bit integers.

One round maps the halves (left, right), each of `half` bits, to (right, left xor F), where F is the low `half`
bits of mix(right + key_i). The key is the first eight bytes, big endian, of
derive(seed, "emerit/permute/v1", n, i); mix is the finaliser of splitmix64 (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from emerit.errors import RefusedError
from emerit.protocol.types import check_hash, check_uint

FEISTEL_ROUNDS: Final = 8
MAX_DOMAIN: Final = 1 << 62

_MASK64: Final = (1 << 64) - 1
_MULTIPLIER_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLIER_2: Final = 0x94D049BB133111EB


def assign_seed(chain_id: int, run: str, round_number: int, prevrandao: bytes) -> bytes:
    """Return the seed of a round's assignments as the contract draws it when the round opens."""
    return _drawn_seed("emerit/assign/v1", chain_id, run, round_number, prevrandao)


def evaluation_seed(chain_id: int, run: str, round_number: int, prevrandao: bytes) -> bytes:
    """Return the seed of a round's evaluation as the contract draws it after the reveals."""
    return _drawn_seed("emerit/evaluate/v1", chain_id, run, round_number, prevrandao)


def _drawn_seed(label: str, chain_id: int, run: str, round_number: int, prevrandao: bytes) -> bytes:
    check_hash("prevrandao", prevrandao)
    return keccak(
        abi_encode(
            ["bytes32", "uint256", "address", "uint32", "uint256"],
            [keccak(text=label), chain_id, run, round_number, int.from_bytes(prevrandao, "big")],
        )
    )


def derive(seed: bytes, label: str, *numbers: int) -> bytes:
    """Return 32 bytes that depend on a 32-byte seed, an ASCII label (at most 255 characters) and numbers.

    SHA-256 of the seed, the label's length as one byte, the label, and each number in eight bytes, big endian.

    Raises:
        RefusedError: `value-invalid`, when the seed has no 32 bytes or a number does not fit in 64 bits.
    """
    check_hash("seed", seed)
    encoded = label.encode("ascii")
    check_uint("the label's length", len(encoded), 8)
    for number in numbers:
        check_uint("a number to derive from", number, 64)
    words = b"".join(number.to_bytes(8, "big") for number in numbers)
    return hashlib.sha256(seed + bytes([len(encoded)]) + encoded + words).digest()


def permute(seed: bytes, domain_size: int, position: int) -> int:
    """Return where the seeded permutation of [0, domain_size) puts `position`.

    Raises:
        RefusedError: `value-invalid`, when the position is outside the domain or the domain is empty or
            larger than 2^62.
    """
    half, keys = _network(seed, domain_size)
    if not 0 <= position < domain_size:
        raise RefusedError("value-invalid", f"{position} is outside [0, {domain_size}).")
    value = _encipher(position, half, keys)
    while value >= domain_size:
        value = _encipher(value, half, keys)
    return value


def permute_many(seed: bytes, domain_size: int, positions: NDArray[Any]) -> NDArray[np.int64]:
    """Return `permute` of every entry: integers of any shape in, int64 of the same shape out.

    Raises:
        RefusedError: `value-invalid`, as `permute`, or when the array is not of integers.
    """
    half, keys = _network(seed, domain_size)
    array = np.asarray(positions)
    if array.dtype.kind not in "iu":
        raise RefusedError("value-invalid", f"Positions must be integers, not {array.dtype}.")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) < domain_size):
        raise RefusedError("value-invalid", f"A position is outside [0, {domain_size}).")
    values = _encipher_array(array.astype(np.uint64).reshape(-1), half, keys)
    outside = np.flatnonzero(values >= np.uint64(domain_size))
    while outside.size:
        values[outside] = _encipher_array(values[outside], half, keys)
        outside = outside[values[outside] >= np.uint64(domain_size)]
    return values.astype(np.int64).reshape(array.shape)


def _network(seed: bytes, domain_size: int) -> tuple[int, list[int]]:
    """Return the bits of a half and the round keys."""
    if not 1 <= domain_size <= MAX_DOMAIN:
        raise RefusedError("value-invalid", f"A permutation of {domain_size} values is not defined.")
    half = max(1, ((domain_size - 1).bit_length() + 1) // 2)
    keys = [int.from_bytes(derive(seed, "emerit/permute/v1", domain_size, i)[:8], "big") for i in range(FEISTEL_ROUNDS)]
    return half, keys


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * _MULTIPLIER_1) & _MASK64
    value = ((value ^ (value >> 27)) * _MULTIPLIER_2) & _MASK64
    return value ^ (value >> 31)


def _encipher(value: int, half: int, keys: list[int]) -> int:
    mask = (1 << half) - 1
    left, right = value >> half, value & mask
    for key in keys:
        left, right = right, left ^ (_mix((right + key) & _MASK64) & mask)
    return (left << half) | right


def _encipher_array(values: NDArray[np.uint64], half: int, keys: list[int]) -> NDArray[np.uint64]:
    """The same on an array: uint64 arithmetic of arrays wraps modulo 2^64."""
    mask, bits = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = values >> bits, values & mask
    for key in keys:
        mixed = right + np.uint64(key)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MULTIPLIER_1)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLIER_2)
        mixed ^= mixed >> np.uint64(31)
        left, right = right, left ^ (mixed & mask)
    return (left << bits) | right
