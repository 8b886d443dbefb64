"""The shared state: all weights as int32 in units of 2^-24, their first values and their root.

Integers make the state independent of processor, thread count and library version; the float weights that a
model computes with are a view of it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.errors import StateError
from emerit.model.architecture import UNITS_PER_ONE, TensorEntry, initial_of
from emerit.model.table import tensor_table
from emerit.protocol.manifest import ModelSpec, OuterSpec

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

_INITIAL_DOMAIN = b"emerit/initial/v1"
STATE_DOMAIN = b"emerit/state/v1"
CHUNK_BYTES = 65_536
_MOMENTUM_DOMAIN = b"emerit/state-momentum/v1"
_UNIFORMS = 4


@dataclass(frozen=True, eq=False)
class ModelState:
    """What every node agrees on: weights `values` int32[P], and `momentum` int32[P] where the run has an outer one.

    Both count in units of 2^-24. Arrays are not copied; treat them as read-only.
    """

    values: NDArray[np.int32]
    momentum: NDArray[np.int32] | None = None

    def root(self, table_hash: bytes) -> bytes:
        """Return the state root, see `state_root`."""
        return state_root(self.values, table_hash, self.momentum)


def initial_state(spec: ModelSpec, seed: bytes, outer: OuterSpec) -> ModelState:
    """Return a run's first state: `initial_values`, and a momentum of zeros where the run has one."""
    values = initial_values(spec, seed)
    return ModelState(values, np.zeros_like(values) if outer.has_momentum else None)


def initial_values(spec: ModelSpec, seed: bytes) -> NDArray[np.int32]:
    """Return the first state, int32[P], from a seed by integer arithmetic alone.

    The architecture states mean and variance of each tensor. The noise of an entry is the centred sum of four uniform
    16-bit integers (nearly normal). The uniforms of a tensor are the little-endian words of
    SHAKE-256(`emerit/initial/v1` || u32 seed length || seed || tensor name), lengths big-endian.
    """
    return np.concatenate([_initial_tensor(spec, entry, seed) for entry in tensor_table(spec)])


def state_root(values: NDArray[np.int32], table_hash: bytes, momentum: NDArray[np.int32] | None = None) -> bytes:
    """Return the 32-byte root of a state int32[P] whose tensors `table_hash` describes.

    The little-endian bytes are cut into 64 KiB chunks; leaf = sha256(0x00 || chunk), node = sha256(0x01 ||
    left || right), an odd node moves up unchanged; the root is sha256(`emerit/state/v1` || table_hash || P as
    a big-endian u64 || top node). With an outer momentum, int32[P] too, both have such a root, and the state's is
    `root_with_momentum` of the two.
    """
    root = _array_root(values, table_hash)
    return root if momentum is None else root_with_momentum(root, _array_root(momentum, table_hash))


def root_with_momentum(values_root: bytes, momentum_root: bytes) -> bytes:
    """Return sha256(`emerit/state-momentum/v1` || root of the weights || root of the momentum).

    Who has the weights and the momentum's root alone can so prove the weights.
    """
    return hashlib.sha256(_MOMENTUM_DOMAIN + values_root + momentum_root).digest()


def _array_root(values: NDArray[np.int32], table_hash: bytes) -> bytes:
    data = np.ascontiguousarray(values, dtype="<i4").data.cast("B")
    level = [
        hashlib.sha256(b"\x00" + data[start : start + CHUNK_BYTES]).digest()
        for start in range(0, len(data), CHUNK_BYTES)
    ]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[len(level) & ~1 :]
    return hashlib.sha256(STATE_DOMAIN + table_hash + values.size.to_bytes(8, "big") + level[0]).digest()


def to_float(values: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the weights float32[P] of a state: rounded to nearest even, then scaled by a power of two."""
    return values.astype(np.float32) * np.float32(1 / UNITS_PER_ONE)


def check_size(values: NDArray[np.int32], expected: int) -> None:
    """Raise StateError `state-size` unless the state is int32[expected]."""
    if values.dtype != np.int32 or values.shape != (expected,):
        raise StateError(
            "state-size",
            f"The state is {values.dtype}{list(values.shape)}, the model needs int32[{expected}].",
            "Use the state of the run whose model this is.",
        )


def _initial_tensor(spec: ModelSpec, entry: TensorEntry, seed: bytes) -> NDArray[np.int32]:
    mean, variance = initial_of(spec, entry)
    if variance == 0:
        return np.full(entry.size, mean, dtype=np.int32)
    # The sum of n uniforms on 2^16 values has variance n (2^32 - 1) / 12, so with n = 4 the factor that
    # gives the wanted deviation is sqrt(3 * variance) / 2^16.
    factor = math.isqrt(12 // _UNIFORMS * variance)
    preimage = _INITIAL_DOMAIN + len(seed).to_bytes(4, "big") + seed + entry.name.encode("ascii")
    stream = hashlib.shake_256(preimage).digest(entry.size * _UNIFORMS * 2)
    words = np.frombuffer(stream, dtype="<u2").reshape(entry.size, _UNIFORMS)
    centred = words.sum(axis=1, dtype=np.int64) - _UNIFORMS * 65_535 // 2
    return (mean + ((centred * factor) >> 16)).astype(np.int32)
