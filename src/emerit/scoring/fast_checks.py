"""What is settled about a round's contributions before any loss is measured."""

from __future__ import annotations

from collections.abc import Mapping

from emerit.codec.update import SparseUpdate
from emerit.training.aggregate import clip_scales as clip_to_median


def duplicate_contents(content_hashes: Mapping[int, bytes], commit_order: Mapping[int, int]) -> dict[int, int]:
    """Return later slot -> earliest slot for contributions whose bytes are the same.

    `commit_order` gives each slot's place among the commitments; a slot without one comes last, then the lower
    slot wins. The code for the later ones is `duplicate-content`.
    """
    last = len(commit_order)
    first: dict[bytes, int] = {}
    later: dict[int, int] = {}
    for slot in sorted(content_hashes, key=lambda slot: (commit_order.get(slot, last), slot)):
        original = first.setdefault(content_hashes[slot], slot)
        if original != slot:
            later[slot] = original
    return later


def clip_scales(updates: Mapping[int, SparseUpdate]) -> dict[int, SparseUpdate]:
    """Clip each chunk's scale to the lower median of that chunk over the round, so that size buys nothing.

    Takes and returns updates by trainer slot. Raises RefusedError `aggregate-shape` if they differ in shape.
    """
    slots = sorted(updates)
    return dict(zip(slots, clip_to_median([updates[slot] for slot in slots]), strict=True))
