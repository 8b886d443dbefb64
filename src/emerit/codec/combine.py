"""The mean of many sparse updates over their senders, by the compiled kernels, block by block in cache.

`emerit.training.aggregate` has the rule and the plain implementations; this one gives the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec import kernels
from emerit.codec.update import SparseUpdate

BLOCK_ENTRIES: Final = 1 << 17
_LARGEST: Final = (1 << 31) - 1


def mean_of_senders(
    updates: Sequence[SparseUpdate], numerator: int, denominator: int, floor: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
    """Return positions int64[n] and deltas int32[n] of updates of one shape, or None where numpy is to do it.

    A delta is the sum of what is sent of a position times numerator / (max(senders, floor) * denominator), rounded half
    away from zero and saturated to +-(2^31 - 1); those that are 0 are left out. At most 65,535 updates.
    """
    module = kernels.native(updates[0].size) if updates else None
    if module is None:
        return None
    size, chunk, k = updates[0].size, updates[0].chunk, updates[0].k
    chunks = updates[0].chunks
    block = max(1, BLOCK_ENTRIES // chunk)
    arrays = [
        (
            np.require(update.indices, requirements=("C", "A", "W")),
            np.require(update.levels, requirements=("C", "A", "W")),
            np.minimum(update.scale_units(), _LARGEST),
        )
        for update in updates
    ]
    blocks = -(-chunks // block)
    places = [np.empty(0, dtype=np.int64)] * blocks
    changes = [np.empty(0, dtype=np.int32)] * blocks

    def work(first_block: int, last_block: int) -> None:
        totals = np.zeros(block * chunk, dtype=np.int64)
        counts = np.zeros(block * chunk, dtype=np.uint16)
        most = min(block * chunk, len(updates) * block * k)
        positions, deltas = np.empty(most + 1, dtype=np.int64), np.empty(most + 1, dtype=np.int32)
        for each in range(first_block, last_block):
            first, last = each * block, min((each + 1) * block, chunks)
            for indices, levels, units in arrays:
                module.add_block(indices, levels, units, size, chunk, k, first, last, totals, counts)
            base = first * chunk
            length = min(last * chunk, size) - base
            end = module.close_block(totals, counts, length, base, numerator, denominator, floor, positions, deltas)
            places[each], changes[each] = positions[:end].copy(), deltas[:end].copy()

    kernels.in_ranges(work, blocks, threads, least=1)
    joined = np.concatenate(places)
    places.clear()
    return joined, np.concatenate(changes)
