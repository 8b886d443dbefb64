"""What is remembered of the contributions that the last rounds paid and applied, to know them when they come again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from emerit.codec.update import SparseUpdate
from emerit.protocol.settlement_tree import payable
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.similarity import Earlier

MOST_BYTES: Final = 256 << 20
ROUNDS: Final = 4


@dataclass
class Recent:
    """Contributions, as they were sent, by round and slot; only in memory.

    A validator that was restarted knows none of the rounds before, and the median of the others decides.
    """

    rounds: dict[int, dict[int, SparseUpdate]] = field(default_factory=dict)
    paid: dict[int, dict[int, SparseUpdate]] = field(default_factory=dict)
    weights: dict[int, dict[int, int]] = field(default_factory=dict)

    @property
    def known(self) -> tuple[tuple[int, int], ...]:
        """Round and slot of each contribution that `earlier` returned last, in that order."""
        return tuple((number, slot) for number, items in self.paid.items() for slot in items)

    def keep(self, number: int, updates: Mapping[int, SparseUpdate]) -> None:
        """Remember a round's contributions."""
        self.rounds[number] = dict(updates)

    def earlier(self, settled_round: int, weights: Mapping[int, int], most_applied: int) -> list[Earlier]:
        """Return what the last four settled rounds paid and applied, the latest and best paid first: at most 256 MiB.

        `weights` are the consensus weights of the last settled round by slot, of which the aggregate took the
        `most_applied` largest. What was not paid or found no room may honestly come again. Forgets everything else.
        """
        updates = self.rounds.pop(settled_round, {})
        self.rounds = {number: kept for number, kept in self.rounds.items() if number > settled_round}
        paid = sorted((slot for slot in weights if payable(weights[slot])), key=lambda slot: (-weights[slot], slot))
        slots = [slot for slot in paid[:most_applied] if slot in updates]
        if slots:
            self.paid[settled_round] = {slot: updates[slot] for slot in slots}
            self.weights[settled_round] = {slot: weights[slot] for slot in slots}
        latest, room = sorted(self.paid, reverse=True)[:ROUNDS], MOST_BYTES
        kept: dict[int, dict[int, SparseUpdate]] = {number: {} for number in latest}
        for number in latest:
            for slot, update in self.paid[number].items():
                room -= sum(part.nbytes for part in (update.indices, update.levels, update.scales))
                if room < 0:
                    break
                kept[number][slot] = update
        self.paid = kept
        self.weights = {number: self.weights[number] for number in latest}
        return [each for number, items in kept.items() for each in paid_before(items, self.weights[number])]


def paid_before(updates: Mapping[int, SparseUpdate], weights: Mapping[int, int]) -> list[Earlier]:
    """Return contributions of one earlier round (by slot, as they were sent) as what must not come again.

    Their scales are clipped among themselves, by what each was paid, so that they follow from their slots alone.
    """
    clipped = clip_scales(updates, weights)
    return [Earlier(slot, clipped[slot]) for slot in updates]
