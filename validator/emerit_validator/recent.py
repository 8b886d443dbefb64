"""What a validator remembers of the contributions that were paid last, to know them when they come again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from emerit.codec.update import SparseUpdate
from emerit.protocol.settlement_tree import payable
from emerit.run.state import StateFollower
from emerit.scoring.compare import aggregate_vector
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.similarity import AGGREGATE, Earlier

MOST_BYTES = 256 << 20


@dataclass
class Recent:
    """The contributions of the last rounds that this validator accepted, by round and slot; only in memory.

    A node that was restarted knows none of the round before, and the median of the others decides.
    """

    rounds: dict[int, dict[int, SparseUpdate]] = field(default_factory=dict)

    def keep(self, number: int, updates: Mapping[int, SparseUpdate]) -> None:
        """Remember a round's contributions, as they were sent."""
        self.rounds[number] = dict(updates)

    def paid(self, settled_round: int, weights: Mapping[int, int]) -> list[Earlier]:
        """Return what the last settled round paid, the best paid first, in at most 256 MiB; forget the rest.

        `weights` are the consensus weights of that round by slot. What was not paid may honestly come again.
        """
        updates = self.rounds.get(settled_round, {})
        paid = sorted((slot for slot in updates if payable(weights.get(slot, 0))), key=lambda slot: -weights[slot])
        kept, room = {}, MOST_BYTES
        for slot in paid:
            room -= sum(part.nbytes for part in (updates[slot].indices, updates[slot].levels, updates[slot].scales))
            if room < 0:
                break
            kept[slot] = updates[slot]
        self.rounds = {settled_round: kept}
        return paid_before(kept, weights)


def paid_before(updates: Mapping[int, SparseUpdate], weights: Mapping[int, int]) -> list[Earlier]:
    """Return contributions of an earlier round (by slot, as they were sent) as something that must not come again.

    Their scales are clipped among themselves, by what each was paid, so that they follow from their slots alone.
    """
    clipped = clip_scales(updates, weights)
    return [Earlier(slot, clipped[slot]) for slot in updates]


def last_aggregate(state: StateFollower) -> list[Earlier]:
    """Return the last step of the state as something that must not come again; nothing where it is not known."""
    if state.previous is None:
        return []
    change = aggregate_vector(np.subtract(state.previous, state.values, dtype=np.int64))
    return [Earlier(AGGREGATE, change)] if len(change.indices) else []
