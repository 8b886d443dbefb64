"""Contributions for the codec's tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from emerit.codec import BlobExpectation, SparseUpdate, compress

EXPECTED = BlobExpectation(
    chain_id=31337,
    run="0x5FbDB2315678afecb367f032d93F642f64180aa3",
    round=7,
    account="0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    base_state_root=bytes(range(32)),
    table_hash=bytes(range(32, 64)),
    size=1000,
    chunk=64,
    k=8,
)


def expectation(update: SparseUpdate) -> BlobExpectation:
    return replace(EXPECTED, size=update.size, chunk=update.chunk, k=update.k)


def random_dense(size: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def uniform_update(size: int, chunk: int, k: int, seed: int = 1) -> SparseUpdate:
    """Return an update whose positions are uniformly random."""
    return compress(random_dense(size, seed), chunk, k)[0]


@st.composite
def updates(draw: st.DrawFn) -> SparseUpdate:
    """Small updates of every shape: short last chunks, full chunks, ties, silent chunks."""
    size = draw(st.integers(1, 300))
    chunk = draw(st.integers(1, 120))
    k = draw(st.integers(1, chunk))
    dense = random_dense(size, draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        dense = np.round(dense)
    for silent in draw(st.lists(st.integers(0, (size - 1) // chunk), max_size=3)):
        dense[silent * chunk : (silent + 1) * chunk] = 0
    return compress(dense, chunk, k)[0]
