"""Contributions for the tests of scoring: alike as honest ones are, noise, copies, parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emerit.codec import SparseUpdate, compress, kept_per_chunk
from emerit.protocol.presets import PRESETS
from emerit.scoring.measurement import Measurement

SPEC = PRESETS["demo"].scoring
SIZE, CHUNK, K = 40_000, 4096, 256


def honest_dense(seed: int, common: float = 0.5) -> NDArray[np.float32]:
    """A heavy-tailed vector, of which a share `common` is what all honest trainers of a round have alike."""
    shared = np.random.default_rng(0).standard_t(3, SIZE)
    private = np.random.default_rng(1000 + seed).standard_t(3, SIZE)
    return np.asarray(0.001 * (common * shared + (1 - common) * private), dtype=np.float32)


def honest(seed: int, common: float = 0.5) -> SparseUpdate:
    return compress(honest_dense(seed, common), CHUNK, K)[0]


def noise(seed: int) -> SparseUpdate:
    """Random positions and signs; the scale of an honest update."""
    random = np.random.default_rng(2000 + seed)
    return compress(random.standard_normal(SIZE).astype(np.float32) * np.float32(0.001), CHUNK, K)[0]


def on_positions(wanted: NDArray[np.bool_], like: SparseUpdate, seed: int) -> SparseUpdate:
    """Random signs on positions of which as many as possible are `wanted` bool[SIZE]."""
    random = np.random.default_rng(3000 + seed)
    dense = np.where(wanted, 2.0, 1.0) + random.random(SIZE) / 2
    update = compress((dense * 0.001).astype(np.float32), CHUNK, K)[0]
    signs = random.choice(np.array([-1, 1], dtype=np.int8), len(update.levels))
    return replace(update, levels=signs, scales=like.scales)


def copy_of(update: SparseUpdate, replaced: float, seed: int, *, flipped: bool = False) -> SparseUpdate:
    """Move a share of the entries of every chunk elsewhere, with random signs, and jitter the scales."""
    random = np.random.default_rng(4000 + seed)
    indices, signs = update.indices.copy(), (-update.levels if flipped else update.levels).astype(np.int8)
    first = 0
    for place, count in enumerate(update.kept()):
        entries = slice(first, first + int(count))
        free = np.setdiff1d(np.arange(CHUNK * place, min(CHUNK * (place + 1), update.size)), indices[entries])
        moved = first + random.choice(int(count), round(replaced * count), replace=False)
        indices[moved] = random.choice(free, len(moved), replace=False)
        signs[moved] = random.choice(np.array([-1, 1], dtype=np.int8), len(moved))
        order = np.argsort(indices[entries])
        indices[entries], signs[entries] = indices[entries][order], signs[entries][order]
        first += int(count)
    jitter = random.integers(-60, 61, len(update.scales))
    scales = np.maximum(1, update.scales.astype(np.int64) + jitter).astype(np.uint16)
    return replace(update, indices=indices, levels=signs, scales=scales)


def halves_of(dense: NDArray[np.float32], parts: int = 2) -> list[SparseUpdate]:
    """One update with `parts` times as many entries, dealt out by rank: disjoint updates that each score well."""
    size = len(dense)
    kept = kept_per_chunk(size, CHUNK, K)
    scales = compress(dense, CHUNK, K)[0].scales
    updates = []
    for part in range(parts):
        indices = []
        for place, count in enumerate(kept):
            chunk = np.abs(dense[CHUNK * place : CHUNK * (place + 1)])
            best = np.argsort(-chunk, kind="stable")[: parts * int(count)]
            indices.append(CHUNK * place + np.sort(best[part::parts]))
        places = np.concatenate(indices).astype(np.int64)
        signs = np.where(dense[places] < 0, -1, 1).astype(np.int8)
        updates.append(SparseUpdate(size, CHUNK, K, places, signs, scales))
    return updates


def measured(
    slot: int, gain: float = 0.01, gap: float = 0.006, se: float = 0.0005, own_se: float | None = None
) -> Measurement:
    return Measurement(slot, gain, se, gain + gap, se if own_se is None else own_se)
