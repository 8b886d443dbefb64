"""What attackers do to updates: noise, other scales, moved entries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emerit.codec.update import SparseUpdate
from emerit.lab.view import RoundView
from emerit.protocol import minifloat


def noise_like(view: RoundView, like: SparseUpdate) -> SparseUpdate:
    """Return random positions and signs with the scales of an honest update: noise of its norm."""
    dense = view.random.standard_normal(like.size).astype(np.float32)
    return replace(view.compress(dense), scales=like.scales)


def scaled(update: SparseUpdate, factor: float) -> SparseUpdate:
    """Return an update with every scale times `factor` (and its signs turned if that is negative)."""
    units = np.rint(update.scale_units() * abs(factor)).astype(np.int64)
    levels = update.levels if factor > 0 else -update.levels
    codes = np.where(update.scales == 0, 0, np.maximum(1, minifloat.encode_array(units))).astype(np.uint16)
    return replace(update, levels=levels.astype(np.int8), scales=codes)


def moved(view: RoundView, update: SparseUpdate, share: float) -> SparseUpdate:
    """Return an update with `share` of each chunk's entries at other places, with random signs."""
    indices, levels = update.indices.copy(), update.levels.copy()
    first = 0
    for place, count in enumerate(update.kept()):
        entries = slice(first, first + int(count))
        first += int(count)
        if update.scales[place] == 0:
            continue
        begin, end = place * update.chunk, min((place + 1) * update.chunk, update.size)
        free = np.setdiff1d(np.arange(begin, end), indices[entries], assume_unique=True)
        swapped = min(len(free), round(share * int(count)))
        which = view.random.choice(int(count), swapped, replace=False)
        chunk_indices, chunk_levels = indices[entries].copy(), levels[entries].copy()
        chunk_indices[which] = view.random.choice(free, swapped, replace=False)
        chunk_levels[which] *= view.random.choice(np.array([-1, 1], dtype=np.int8), swapped)
        order = np.argsort(chunk_indices)
        indices[entries], levels[entries] = chunk_indices[order], chunk_levels[order]
    return replace(update, indices=indices, levels=levels)


def jittered(view: RoundView, update: SparseUpdate) -> SparseUpdate:
    """Return an update whose scales differ by up to two per cent, so that no bytes repeat."""
    shift = view.random.integers(-40, 41, len(update.scales))
    codes = np.where(update.scales > 100, update.scales.astype(np.int64) + shift, update.scales)
    return replace(update, scales=np.clip(codes, 0, minifloat.MAX_CODE).astype(np.uint16))
