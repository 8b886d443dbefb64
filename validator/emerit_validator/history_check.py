"""Whether the history that a validator weighed a round with is the one that its evidence before ended with.

Each round's evidence has the standings before and after it. A replay of the round shows that the second follow from the
first; here the first are held against the second of the last round before whose weights the validator revealed. So
replaying every round in order proves the whole history, and each can be replayed alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emerit.chain.run_client import RunClient
from emerit.protocol.types import RESERVED_LANES, RegistryEntry, WeightReveal
from emerit.scoring.agreement import NO_LANE, Difference
from emerit.scoring.basis import Basis
from emerit.scoring.history import ScoreHistory

_NOBODY: Final = -1


def last_revealed_before(client: RunClient, number: int, entry: RegistryEntry) -> WeightReveal | None:
    """Return what this validator revealed last before a round, None if that was nothing."""
    for earlier in range(number - 1, entry.active_from - 1, -1):
        for reveal in client.weight_reveals(earlier):
            if reveal.slot == entry.slot and client.members_in(earlier).seat_of(entry) is not None:
                return reveal
    return None


def history_differences(
    basis: Basis, owners: Mapping[int, int], earlier: Basis | None, earlier_owners: Mapping[int, int]
) -> list[Difference]:
    """Return the standings that do not go on from the evidence before; none where a validator has started anew.

    `owners` maps trainer slots to registry indices, of this round and of the one of the evidence before. `earlier` is
    None where the validator has revealed nothing before: then it has no history.
    """
    if starts_anew(basis):
        return []
    known = {} if earlier is None else _by_index(earlier.after, earlier_owners)
    places = {index: slot for slot, index in owners.items()}
    had = set(earlier_owners.values())
    found = []
    for index, standing in sorted(_by_index(basis.before, owners).items()):
        if known.get(index) != standing:
            want = str(known[index]) if index in known else "none"
            lane = RESERVED_LANES + places[index]
            found.append(
                Difference(lane, "history", str(standing), want, why="it does not go on from the evidence before")
            )
    for index in sorted(had & places.keys() & known.keys()):
        if places[index] not in basis.before.standings:
            lane = RESERVED_LANES + places[index]
            found.append(Difference(lane, "history", "none", str(known[index]), why="it was dropped"))
    strange = sorted(set(basis.before.standings) - set(owners))
    if strange:
        found.append(Difference(NO_LANE, "history", f"slots {strange}", "none", why="nobody has these slots"))
    return found


def exclusion_differences(
    basis: Basis,
    owners: Mapping[int, int],
    earlier: Basis | None,
    earlier_owners: Mapping[int, int],
    fresh: Mapping[int, int],
    number: int,
) -> list[Difference]:
    """Return who is shut out, or is not, without that it goes on from the evidence before and what is found now.

    Args:
        basis: of round `number`.
        owners: registry index by trainer slot, in this round.
        earlier: of the evidence before, None where there is none or the validator has started anew.
        earlier_owners: registry index by trainer slot, in that round.
        fresh: who is found guilty in this round, by registry index, and until when each is shut out.
    """
    kept = {} if earlier is None else earlier.shut_out
    want = {earlier_owners[slot]: until for slot, until in kept.items() if slot in earlier_owners and until >= number}
    want |= fresh
    found = []
    for slot in sorted(owners.keys() | basis.shut_out.keys()):
        have, due = basis.shut_out.get(slot), want.get(owners.get(slot, _NOBODY))
        if have != due:
            why = "it does not go on from the evidence before"
            found.append(Difference(RESERVED_LANES + slot, "shut out until", str(have), str(due), why=why))
    return found


def starts_anew(basis: Basis) -> bool:
    """Whether the validator had no history at all: it is new, or has lost its folder."""
    return not basis.before.standings


def _by_index(history: ScoreHistory, owners: Mapping[int, int]) -> dict[int, object]:
    return {owners[slot]: standing for slot, standing in history.standings.items() if slot in owners}
