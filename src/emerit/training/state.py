"""The shared state: all weights as int32 in units of 2^-24, their first values and their root.

Integers make the state independent of processor, thread count and library version; the float weights that a
model computes with are a view of it.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from emerit.errors import StateError
from emerit.model.table import TensorEntry, tensor_table
from emerit.protocol.manifest import ModelSpec

UNITS_PER_ONE = 1 << 24
"""How many state units make the float weight 1.0; the state's range is therefore [-128, 128)."""

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

_INITIAL_DOMAIN = b"emerit/initial/v1"
STATE_DOMAIN = b"emerit/state/v1"
CHUNK_BYTES = 65_536
_INITIAL_STD_UNITS = UNITS_PER_ONE // 50
_UNIFORMS = 4


def initial_values(spec: ModelSpec, seed: bytes) -> NDArray[np.int32]:
    """Return the first state, int32[P], from a seed by integer arithmetic alone.

    Norm gains are one. A matrix entry is the centred sum of four uniform 16-bit integers (nearly normal) with
    standard deviation 0.02, divided by sqrt(2 * layers) for the two matrices of a layer that write to the
    residual stream (Radford et al. 2019). The uniforms of a tensor are the little-endian words of
    SHAKE-256(`emerit/initial/v1` || u32 seed length || seed || tensor name), lengths big-endian.
    """
    return np.concatenate([_initial_tensor(spec, entry, seed) for entry in tensor_table(spec)])


def state_root(values: NDArray[np.int32], table_hash: bytes) -> bytes:
    """Return the 32-byte root of a state int32[P] whose tensors `table_hash` describes.

    The little-endian bytes are cut into 64 KiB chunks; leaf = sha256(0x00 || chunk), node = sha256(0x01 ||
    left || right), an odd node moves up unchanged; the root is sha256(`emerit/state/v1` || table_hash || P as
    a big-endian u64 || top node).
    """
    data = values.astype("<i4").tobytes()
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
    if len(entry.shape) == 1:
        return np.full(entry.size, UNITS_PER_ONE, dtype=np.int32)
    writes_to_stream = entry.name.endswith(("attention_out", "mlp_out"))
    # The sum of n uniforms on 2^16 values has variance n (2^32 - 1) / 12, so with n = 4 the factor that
    # gives the wanted deviation is sqrt(3 * variance) / 2^16.
    variance = _INITIAL_STD_UNITS**2 // (2 * spec.layers if writes_to_stream else 1)
    factor = math.isqrt(12 // _UNIFORMS * variance)
    preimage = _INITIAL_DOMAIN + len(seed).to_bytes(4, "big") + seed + entry.name.encode("ascii")
    stream = hashlib.shake_256(preimage).digest(entry.size * _UNIFORMS * 2)
    words = np.frombuffer(stream, dtype="<u2").reshape(entry.size, _UNIFORMS)
    centred = words.sum(axis=1, dtype=np.int64) - _UNIFORMS * 65_535 // 2
    return ((centred * factor) >> 16).astype(np.int32)
