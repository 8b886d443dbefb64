"""What is remembered of the contributions that were paid in the last rounds, to know them when they come again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from emerit.codec.update import SparseUpdate
from emerit.protocol.settlement_tree import payable
from emerit.scoring.similarity import Earlier

MOST_BYTES: Final = 256 << 20
ROUNDS: Final = 4


@dataclass
class Recent:
    """Contributions (scales clipped) by round and slot; only in memory.

    A validator that was restarted knows none of the rounds before, and the median of the others decides.
    """

    rounds: dict[int, dict[int, SparseUpdate]] = field(default_factory=dict)
    paid: dict[int, dict[int, SparseUpdate]] = field(default_factory=dict)

    def keep(self, number: int, updates: Mapping[int, SparseUpdate]) -> None:
        """Remember a round's contributions."""
        self.rounds[number] = dict(updates)

    def earlier(self, settled_round: int, weights: Mapping[int, int]) -> list[Earlier]:
        """Return what the last four settled rounds paid, the latest and best paid first, in at most 256 MiB.

        `weights` are the consensus weights of the last settled round by slot. What was not paid may honestly come
        again. Forgets everything else.
        """
        updates = self.rounds.pop(settled_round, {})
        self.rounds = {number: kept for number, kept in self.rounds.items() if number > settled_round}
        slots = sorted((slot for slot in updates if payable(weights.get(slot, 0))), key=lambda slot: -weights[slot])
        if slots:
            self.paid[settled_round] = {slot: updates[slot] for slot in slots}
        latest, room = sorted(self.paid, reverse=True)[:ROUNDS], MOST_BYTES
        kept: dict[int, dict[int, SparseUpdate]] = {number: {} for number in latest}
        for number in latest:
            for slot, update in self.paid[number].items():
                room -= sum(part.nbytes for part in (update.indices, update.levels, update.scales))
                if room < 0:
                    break
                kept[number][slot] = update
        self.paid = kept
        return [Earlier(slot, update) for items in kept.values() for slot, update in items.items()]
