"""The registry as a settlement sees it: who was in the run when the round opened, and who takes part in it.

Registry indices are never used again, so every member that ever joined has its leaf. Slots are used again: the one
that a lane of a round belongs to is the member that is active in that round. For validators the epoch's *seats* say
it: seat v is the registry index of the validator with slot v, and it counts if its stake lane is above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emerit.errors import StateError
from emerit.protocol.types import MAX_TRAINERS, MAX_VALIDATORS, RegistryEntry, Role


def registry_snapshot(entries: Sequence[RegistryEntry], registry_size: int) -> tuple[RegistryEntry, ...]:
    """Return the entries that a round's settlement has leaves for: those with index < registry_size.

    `registry_size` is what the contract noted when the round opened. Indices are given in order of joining and
    never taken back, so later entries are simply the rest; those who left stay and keep their leaf.

    Raises:
        StateError: `registry-inconsistent`, when entries are missing or out of order.
    """
    if len(entries) < registry_size:
        raise _inconsistent(f"{registry_size} entries were there at the opening, {len(entries)} are given")
    snapshot = tuple(entries[:registry_size])
    check_registry(snapshot)
    return snapshot


def check_registry(entries: Sequence[RegistryEntry]) -> None:
    """Check that entries stand in the order of the contract.

    Entry i has index i, a role, and a slot within its role's limit; no account is there twice.

    Raises:
        StateError: `registry-inconsistent`, naming the first entry that is wrong.
    """
    limit = {Role.TRAINER: MAX_TRAINERS, Role.VALIDATOR: MAX_VALIDATORS}
    accounts: set[str] = set()
    for place, entry in enumerate(entries):
        if entry.index != place:
            raise _inconsistent(f"the entry at position {place} has index {entry.index}")
        if entry.role not in limit:
            raise _inconsistent(f"entry {place} has no role")
        if entry.slot >= limit[entry.role]:
            raise _inconsistent(f"entry {place} is beyond the limit of its role")
        if entry.account in accounts:
            raise _inconsistent(f"entry {place} repeats the account {entry.account}")
        accounts.add(entry.account)


@dataclass(frozen=True)
class Members:
    """The members of a run in one round.

    Attributes:
        round: The round.
        entries: Everybody with a leaf in its settlement (`registry_snapshot`), entry i with index i.
        trainer_slots: Trainer slots given out when the round opened: a weight vector has 2 + so many lanes.
        stake_lanes: Voting weight of each validator slot in the round's epoch, in stake units; up to 16 numbers.
        seats: Registry index of each validator slot in that epoch, as many; what stands beside a lane of 0 is not read.
    """

    round: int
    entries: tuple[RegistryEntry, ...]
    trainer_slots: int
    stake_lanes: tuple[int, ...]
    seats: tuple[int, ...]
    _trainers: dict[int, RegistryEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that the parts fit together; raises `StateError("registry-inconsistent")`."""
        check_registry(self.entries)
        trainers: dict[int, RegistryEntry] = {}
        for entry in self.entries:
            if entry.role != Role.TRAINER or not entry.active_in(self.round):
                continue
            if entry.slot in trainers or entry.slot >= self.trainer_slots:
                raise _inconsistent(f"trainer {entry.index} has slot {entry.slot}, which it can't have")
            trainers[entry.slot] = entry
        object.__setattr__(self, "_trainers", trainers)
        if len(self.stake_lanes) > MAX_VALIDATORS or len(self.seats) != len(self.stake_lanes):
            raise _inconsistent("there is not one seat for each stake lane")
        for slot, (stake, index) in enumerate(zip(self.stake_lanes, self.seats, strict=True)):
            if not 0 <= stake <= 0xFFFF:
                raise _inconsistent(f"the stake of seat {slot} does not fit in 16 bits")
            if stake and (index >= len(self.entries) or not _may_sit(self.entries[index], slot)):
                raise _inconsistent(f"seat {slot} belongs to {index}, who is no validator with that slot")

    def trainer_in(self, slot: int) -> RegistryEntry | None:
        """Return the trainer that is active in the round with this slot, None if there is none."""
        return self._trainers.get(slot)

    def active_trainers(self) -> tuple[RegistryEntry, ...]:
        """Return the trainers that are active in the round, in the order of their slots."""
        return tuple(self._trainers[slot] for slot in sorted(self._trainers))

    @property
    def occupied(self) -> frozenset[int]:
        """The trainer slots that have a member in the round."""
        return frozenset(self._trainers)

    def is_active_trainer(self, entry: RegistryEntry) -> bool:
        """Return whether the entry is a trainer that takes part in the round."""
        return entry.role == Role.TRAINER and entry.active_in(self.round)

    def validator_in(self, slot: int) -> RegistryEntry | None:
        """Return the validator that votes in the round with this slot, None if there is none."""
        if slot >= len(self.seats) or not self.stake_lanes[slot]:
            return None
        return self.entries[self.seats[slot]]

    def seat_of(self, entry: RegistryEntry) -> int | None:
        """Return the slot with which the entry votes in the round, None if it does not."""
        if entry.role != Role.VALIDATOR:
            return None
        holder = self.validator_in(entry.slot)
        return entry.slot if holder is not None and holder.index == entry.index else None


def of_role(entries: Sequence[RegistryEntry], role: Role) -> tuple[RegistryEntry, ...]:
    """Return the entries of one role in the order of joining."""
    return tuple(entry for entry in entries if entry.role == role)


def _may_sit(entry: RegistryEntry, slot: int) -> bool:
    return entry.role == Role.VALIDATOR and entry.slot == slot


def _inconsistent(what: str) -> StateError:
    return StateError(
        "registry-inconsistent",
        f"The registry does not fit the contract's rules: {what}.",
        "Read the registry again from the chain.",
    )
