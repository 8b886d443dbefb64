"""Trainers' ratings and standings, replayed from settled rounds alone: at every validator, and in the API, the same.

Each settled round is one match between the trainers on whose contributions two thirds of the stake voted, ranked by
consensus weight. In a sampled round a paid weight is w / q; it counts as w, so that nobody rises for having been
unlikely. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emerit.protocol.registry import Members
from emerit.protocol.settlement_tree import payable
from emerit.run.ledger import SettledEntry
from emerit.scoring.rating import Rating, rate
from emerit.scoring.sample import CERTAIN, Standing, inclusion_chances, sample_size


@dataclass
class Ratings:
    """Follows the pay chain: each call takes in what has settled since the last one, or starts anew after a reorg."""

    _hashes: list[bytes] = field(default_factory=list)
    _ratings: dict[int, Rating] = field(default_factory=dict)

    def after(self, entries: Sequence[SettledEntry]) -> Mapping[int, Rating]:
        """Return the ratings after the last of the settled rounds, by registry index, of those ever in a match."""
        known = len(self._hashes)
        if [item.onchain.header_hash for item in entries[:known]] != self._hashes:
            self._hashes, self._ratings, known = [], {}, 0
        for place in range(known, len(entries)):
            previous = entries[place - 1] if place else None
            self._ratings = rate(self._ratings, worth(entries[place], previous, self._ratings))
            self._hashes.append(entries[place].onchain.header_hash)
        return self._ratings


def standings(previous: SettledEntry | None, members: Members, ratings: Mapping[int, Rating]) -> dict[int, Standing]:
    """Return by trainer slot what is known of a round's members before it.

    Args:
        previous: The last settled round before it, None if there is none.
        members: The round's.
        ratings: By registry index, after `previous`.
    """
    leaves = previous.settlement.leaves if previous is not None else ()
    return {
        entry.slot: Standing(
            leaves[entry.index].detail.reputation if entry.index < len(leaves) else 0, ratings.get(entry.index)
        )
        for entry in members.active_trainers()
    }


def worth(item: SettledEntry, previous: SettledEntry | None, ratings: Mapping[int, Rating]) -> dict[int, int]:
    """Return by registry index what the measured contributions of a settled round were worth; equals tie.

    0 is refused, 1 admissible; what was paid is above, in proportion to its weight times the probability with which
    it was to be measured.
    """
    revealed, members, settled = {one.slot for one in item.contributions}, item.members, item.settlement
    size = sample_size(*covered_and_revealed(previous)) if previous is not None else None
    chances = inclusion_chances(revealed, size, standings(previous, members, ratings))
    return {
        entry.index: CERTAIN + weight * chances[entry.slot] if payable(weight) else weight
        for entry in members.active_trainers()
        if entry.slot in revealed and settled.consensus.covered[entry.slot]
        for weight in (settled.weights[entry.slot],)
    }


def covered_and_revealed(item: SettledEntry) -> tuple[int, int]:
    """Return how many contributions two thirds of the stake voted on, and how many were revealed."""
    revealed = {one.slot for one in item.contributions}
    return sum(item.settlement.consensus.covered[slot] for slot in revealed), len(revealed)
