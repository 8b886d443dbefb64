"""Peer feedback: which trainers a trainer measures, and what it says of them in the header of its next blob.

Each trainer measures the last contributions of a few peers on its own sequences. The peers are drawn by the evaluation
seed of the measured round, which nobody knew before all had revealed, from those who revealed in it. What it finds is
an integer in the manifest's `loss_unit` (nats a token), in the header of what it sends in the next round.

Nobody can check such a figure: that a trainer measured at all, and on what, is its own word. So feedback makes edges of
the wide reputation graph (`emerit.reputation.wide_graph`), and nothing that is paid or applied depends on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from emerit.protocol.seeds import derive, permute_many
from emerit.protocol.types import check_uint

MOST_PEERS: Final = 16
"""How many peers a manifest may assign to a trainer."""
MOST_VALUE: Final = 10_000_000
"""The largest magnitude of a value: one nat a token in units of 1e-7, far more than a trial step can do."""

SELF: Final = "feedback-self"
UNASSIGNED: Final = "feedback-unassigned"
RANGE: Final = "feedback-range"

DROPPED: Final[Mapping[str, str]] = MappingProxyType(
    {
        SELF: "It is about its author's own contribution, so it says nothing and is left out.",
        UNASSIGNED: "It is about somebody whom its author was not assigned in that round, so it is left out.",
        RANGE: "Its value is larger than any trial step can be worth, so it is left out.",
    }
)
"""Why a value of a well-formed header is left out of the wide graph, by code; the contribution stands all the same."""


@dataclass(frozen=True, slots=True, order=True)
class Feedback:
    """What a trainer says of one contribution of the last settled round.

    Attributes:
        index: Registry index of the one that is spoken of, 32 bits.
        value: By how much its contribution lowered the loss at the trial step, in loss units, 32 bits with a sign.
    """

    index: int
    value: int

    def __post_init__(self) -> None:
        """Check the widths; raises RefusedError `value-invalid`."""
        check_uint("index", self.index, 32)
        check_uint("value", self.value + (1 << 31), 32)


class PeerRing:
    """Who measures whom of those who revealed in a round: they stand in a ring in an order that the seed draws.

    Everybody measures those who follow it. So nobody chooses who is measured, and all are measured equally often if
    all measure. Who is not in the ring, because it revealed nothing, begins at a place that the seed draws for it.
    """

    def __init__(self, eval_seed: bytes, revealed: Collection[int]) -> None:
        """Make the ring of a round.

        Args:
            eval_seed: The 32 bytes that were drawn after the reveals.
            revealed: Registry indices of the trainers that revealed, in any order.

        Raises:
            RefusedError: `value-invalid` for a seed of another length.
        """
        members = sorted(set(revealed))
        self._seed = derive(eval_seed, "emerit/feedback/v1")
        places = permute_many(self._seed, max(1, len(members)), np.arange(len(members), dtype=np.int64))
        self._ring = tuple(members[place] for place in places.tolist())
        self._place = {index: place for place, index in enumerate(self._ring)}

    def peers_of(self, index: int, count: int) -> tuple[int, ...]:
        """Return the registry indices of those whom a trainer is to measure, ascending; never its own.

        Args:
            index: Registry index of the trainer that measures.
            count: How many it measures; all others where there are fewer.

        Raises:
            RefusedError: `value-invalid` for an index that does not fit in 32 bits.
        """
        check_uint("index", index, 32)
        size, place = len(self._ring), self._place.get(index)
        if place is None:
            drawn = derive(self._seed, "emerit/feedback/start/v1", index)
            start, others = int.from_bytes(drawn[:8], "big"), size
        else:
            start, others = place + 1, size - 1
        return tuple(sorted(self._ring[(start + step) % size] for step in range(min(count, others))))


def assigned_peers(eval_seed: bytes, index: int, revealed: Collection[int], count: int) -> tuple[int, ...]:
    """Return whom a trainer is to measure of those who revealed in a round; see `PeerRing`, whose errors it raises."""
    return PeerRing(eval_seed, revealed).peers_of(index, count)


def quantised(gain: float, loss_unit: float) -> int:
    """Return a drop of the loss in nats a token as the integer that a header has; the worst for one that is no number.

    The nearest multiple of `loss_unit`, halves to even, and never beyond MOST_VALUE.
    """
    if math.isnan(gain):
        return -MOST_VALUE
    return round(max(-float(MOST_VALUE), min(float(MOST_VALUE), gain / loss_unit)))


def refusal(item: Feedback, author: int, assigned: Collection[int]) -> str | None:
    """Return the code with which a value is left out of the wide graph, None if it counts.

    Args:
        item: The value.
        author: Registry index of the trainer whose blob it stands in.
        assigned: Whom that trainer was to measure (`assigned_peers`).
    """
    if item.index == author:
        return SELF
    if item.index not in assigned:
        return UNASSIGNED
    return RANGE if abs(item.value) > MOST_VALUE else None


def is_canonical(items: Sequence[Feedback]) -> bool:
    """Return whether values stand in the one order that a header may have: by index, nobody twice."""
    return all(one.index < other.index for one, other in itertools.pairwise(items))
