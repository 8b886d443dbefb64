"""What is settled about a round's contributions before any loss is measured.

Equal bytes under two accounts need no check of their own: the header names its author, so the copy is refused when it
is decoded (`blob-wrong-author`).
"""

from __future__ import annotations

from collections.abc import Mapping

from emerit.codec.update import SparseUpdate
from emerit.training.aggregate import clip_scales as clip_to_median


def clip_scales(updates: Mapping[int, SparseUpdate]) -> dict[int, SparseUpdate]:
    """Clip each chunk's scale to the lower median of that chunk over the round, so that size buys nothing.

    Takes and returns updates by trainer slot. Raises RefusedError `aggregate-shape` if they differ in shape.
    """
    slots = sorted(updates)
    return dict(zip(slots, clip_to_median([updates[slot] for slot in slots]), strict=True))
