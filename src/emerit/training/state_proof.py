"""Proofs that a part of the state belongs to a root, so that a reader can check a piece of a large model alone.

The tree is that of `emerit.training.state.state_root`: 64 KiB chunks of the little-endian bytes, an odd node moves up
unchanged, and the root binds the tensor table and the size to the top node. With the index and the number of chunks
known, so is the place of each sibling; a proof is just the siblings, from the leaf upwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emerit.errors import RefusedError, UsageError
from emerit.training.state import CHUNK_BYTES, STATE_DOMAIN

VALUES_PER_CHUNK = CHUNK_BYTES // 4
_HASH_BYTES = 32


def chunk_count(size: int) -> int:
    """Return how many chunks a state of `size` values has."""
    return -(-size // VALUES_PER_CHUNK)


def state_chunk(values: NDArray[np.int32], index: int) -> bytes:
    """Return chunk `index` of a state int32[P]: 64 KiB, the last one less; raises UsageError `chunk-range`."""
    _check_index(index, values.size)
    return values[index * VALUES_PER_CHUNK : (index + 1) * VALUES_PER_CHUNK].astype("<i4").tobytes()


def state_proof(values: NDArray[np.int32], index: int) -> tuple[bytes, ...]:
    """Return the proof that chunk `index` belongs to the root of int32[P]: 32-byte siblings, from the leaf upwards.

    Raises UsageError `chunk-range` when there is no such chunk.
    """
    _check_index(index, values.size)
    level = [_leaf(state_chunk(values, place)) for place in range(chunk_count(values.size))]
    proof = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        pairs = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(level) & ~1 :]
        index >>= 1
    return tuple(proof)


def verify_state_chunk(
    root: bytes, table_hash: bytes, size: int, index: int, chunk: bytes, proof: Sequence[bytes]
) -> NDArray[np.int32]:
    """Return the values int32[n] of chunk `index` of the state with this root, whose size is `size` values.

    Raises:
        UsageError: `chunk-range` when a state of that size has no such chunk.
        RefusedError: `chunk-invalid` when chunk or proof are not of this state.
    """
    _check_index(index, size)
    length = min(VALUES_PER_CHUNK, size - index * VALUES_PER_CHUNK) * 4
    top = _climb(index, chunk_count(size), _leaf(chunk), proof) if len(chunk) == length else None
    if top is None or hashlib.sha256(STATE_DOMAIN + table_hash + size.to_bytes(8, "big") + top).digest() != root:
        raise RefusedError(
            "chunk-invalid", f"Chunk {index} and its proof are not of the state with this root.", "Ask another node."
        )
    return np.frombuffer(chunk, dtype="<i4").astype(np.int32)


def _climb(index: int, width: int, node: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the top node that a proof gives, None where it has another length than it must."""
    siblings = iter(proof)
    while width > 1:
        if index ^ 1 < width:
            sibling = next(siblings, b"")
            if len(sibling) != _HASH_BYTES:
                return None
            node = _node(sibling, node) if index & 1 else _node(node, sibling)
        index, width = index >> 1, (width + 1) >> 1
    return node if next(siblings, None) is None else None


def _check_index(index: int, size: int) -> None:
    count = chunk_count(size)
    if not 0 <= index < count:
        raise UsageError(
            "chunk-range", f"The state has {count} chunks, and {index} is none of them.", "Chunks are numbered from 0."
        )


def _leaf(chunk: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + chunk).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
