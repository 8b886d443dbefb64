from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError, UsageError
from emerit.training import state_chunk, state_proof, state_root, verify_state_chunk
from emerit.training.state_proof import VALUES_PER_CHUNK, chunk_count

TABLE = b"T" * 32


def state(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**31), 2**31, size, dtype=np.int64).astype(np.int32)


@given(st.integers(1, 300_000), st.data())
def test_every_chunk_has_a_proof(size: int, data: st.DataObject) -> None:
    values = state(size)
    root = state_root(values, TABLE)
    index = data.draw(st.integers(0, chunk_count(size) - 1))
    chunk, proof = state_chunk(values, index), state_proof(values, index)
    assert len(proof) <= (chunk_count(size) - 1).bit_length()
    found = verify_state_chunk(root, TABLE, size, index, chunk, proof)
    assert np.array_equal(found, values[index * VALUES_PER_CHUNK : (index + 1) * VALUES_PER_CHUNK])


@given(st.integers(1, 300_000), st.data())
def test_a_proof_proves_nothing_else(size: int, data: st.DataObject) -> None:
    values = state(size)
    root, count = state_root(values, TABLE), chunk_count(size)
    index = data.draw(st.integers(0, count - 1))
    chunk, proof = state_chunk(values, index), state_proof(values, index)
    place, bit = data.draw(st.integers(0, len(chunk) - 1)), data.draw(st.integers(0, 7))
    lies = [
        (root, TABLE, size, index, chunk[:place] + bytes([chunk[place] ^ 1 << bit]) + chunk[place + 1 :], proof),
        (root, TABLE, size, index, chunk + b"\0" * 4, proof),
        (root, TABLE, size, index, chunk[:-4], proof),
        (root, b"U" * 32, size, index, chunk, proof),
        (root[::-1], TABLE, size, index, chunk, proof),
        (root, TABLE, size, index, chunk, (*proof, b"\0" * 32)),
        *[(root, TABLE, size, index, chunk, proof[:at] + proof[at + 1 :]) for at in range(len(proof))],
        *[(root, TABLE, size, index, chunk, (*proof[:at], b"\0" * 32, *proof[at + 1 :])) for at in range(len(proof))],
        *[(root, TABLE, size, other, chunk, proof) for other in range(count) if other != index],
        *[(root, TABLE, other, index, chunk, proof) for other in (size + 1, size + VALUES_PER_CHUNK)],
    ]
    for lie in lies:
        with pytest.raises(RefusedError) as refused:
            verify_state_chunk(*lie)
        assert refused.value.code == "chunk-invalid"


def test_an_inner_node_does_not_pass_for_a_chunk() -> None:
    """Leaves and nodes are hashed apart, so that a tree has one reading."""
    values = state(3 * VALUES_PER_CHUNK)
    root = state_root(values, TABLE)
    proof = state_proof(values, 0)
    with pytest.raises(RefusedError):
        verify_state_chunk(root, TABLE, 16, 0, proof[0] + proof[0], proof[1:])


@pytest.mark.parametrize("index", [-1, 3, 1 << 40])
def test_a_chunk_that_there_is_not(index: int) -> None:
    values = state(3 * VALUES_PER_CHUNK)
    for ask in (
        lambda: state_chunk(values, index),
        lambda: state_proof(values, index),
        lambda: verify_state_chunk(bytes(32), TABLE, values.size, index, b"", ()),
    ):
        with pytest.raises(UsageError, match="chunk-range"):
            ask()
