"""Random but valid sparse updates for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from emerit.codec.update import SparseUpdate, kept_per_chunk

MakeUpdate = Callable[..., SparseUpdate]


@pytest.fixture(scope="session")
def make_update() -> MakeUpdate:
    """Return a maker of updates: `make_update(random, size, chunk, k, highest_code=..., highest_level=...)`.

    Levels are +1 and -1, or any up to `highest_level`."""

    def make(
        random: np.random.Generator, size: int, chunk: int, k: int, highest_code: int = 0x9000, highest_level: int = 0
    ) -> SparseUpdate:
        kept = kept_per_chunk(size, chunk, k)
        scales = random.integers(0, highest_code + 1, len(kept)).astype(np.uint16)
        scales[random.random(len(kept)) < 0.1] = 0
        indices, signs = [], []
        for place, count in enumerate(kept):
            length = min(chunk, size - place * chunk)
            silent = scales[place] == 0
            offsets = np.arange(count) if silent else np.sort(random.permutation(length)[:count])
            indices.append(place * chunk + offsets)
            if silent:
                signs.append(np.ones(count))
            elif highest_level:
                signs.append(random.integers(-highest_level, highest_level + 1, count))
            else:
                signs.append(random.choice((-1, 1), count))
        return SparseUpdate(
            size,
            chunk,
            k,
            np.concatenate(indices).astype(np.int64),
            np.concatenate(signs).astype(np.int8),
            scales,
        )

    return make
