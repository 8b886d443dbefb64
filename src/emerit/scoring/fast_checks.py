"""What is settled about a round's contributions before any loss is measured.

Equal bytes under two accounts need no check of their own: the header names its author, so the copy is refused when it
is decoded (`blob-wrong-author`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.errors import RefusedError
from emerit.protocol import minifloat
from emerit.scoring.trust import say

CLIP_TENTHS: Final = 9


def check_not_empty(update: SparseUpdate) -> None:
    """Refuse an update that says nothing: RefusedError `blob-empty` when every chunk has scale 0."""
    if not update.scales.any():
        raise RefusedError("blob-empty", "Every chunk of the contribution has scale 0: it changes nothing.")


def clip_scales(updates: Mapping[int, SparseUpdate], trust: Mapping[int, int]) -> dict[int, SparseUpdate]:
    """Clip each chunk's scale to nine tenths of the round's weighted lower median of it, so that size buys nothing.

    At the median itself half of the honest scales would be below it, and who sends a large one would have more in
    every chunk; few honest ones are below nine tenths of it (`inflated-scale` in the lab).

    Takes and returns updates by trainer slot. `trust` has the last round's consensus weight of a slot, which counts as
    `emerit.scoring.trust.say` has it. So newcomers in any number can neither raise the level nor, with tiny scales
    of their own, pull everybody's to nothing. Only when none of the updates has a weight do all count the same.

    Raises RefusedError `aggregate-shape` if they differ in shape. (Aggregation clips by itself, over a set that the
    consensus has already chosen.)
    """
    slots = sorted(updates)
    if not slots:
        return {}
    shapes = {(update.size, update.chunk, update.k) for update in updates.values()}
    if len(shapes) > 1:
        raise RefusedError("aggregate-shape", f"Updates of different shapes cannot be compared: {sorted(shapes)}.")
    weights = np.array(list(say(slots, trust).values()), dtype=np.int64)
    medians = _lower_medians(
        np.stack([updates[slot].scales for slot in slots]), weights if weights.any() else np.ones_like(weights)
    )
    units = -(-minifloat.decode_array(medians) * CLIP_TENTHS // 10)
    level = minifloat.encode_array(units).astype(np.uint16)
    return {slot: dataclasses.replace(updates[slot], scales=np.minimum(updates[slot].scales, level)) for slot in slots}


def _lower_medians(codes: NDArray[np.uint16], weights: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return uint16[c]: of each column of uint16[n, c] the smallest code up to which lies half of the weight int64[n].

    Minifloat codes grow with their values, so the codes themselves are compared. Weights are at most 2^43 and n at
    most 256, so twice their sum fits.
    """
    order = np.argsort(codes, axis=0, kind="stable")
    seen = np.cumsum(weights[order], axis=0)
    places = np.argmax(2 * seen >= seen[-1], axis=0)
    return np.take_along_axis(np.take_along_axis(codes, order, axis=0), places[None, :], axis=0)[0]
