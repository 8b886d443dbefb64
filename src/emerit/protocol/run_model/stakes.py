"""The registry: who takes part in a run, with which keys and how much stake (`Stakes.sol`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from emerit.protocol.run_model.base import DEAD, Refusal, RunBase, require
from emerit.protocol.types import MAX_TRAINERS, MAX_VALIDATORS, NEVER, ZERO_ADDRESS, RegistryEntry, Role

if TYPE_CHECKING:
    from emerit.protocol.run_model.run import Run
    from emerit.protocol.run_model.world import World

BPS: Final = 10_000
MAX_LANE: Final = 0xFFFF


@dataclass
class Registry:
    """The members of one run. `seats` has the registry index of each validator slot for the next epoch, or None."""

    entries: list[RegistryEntry] = field(default_factory=list)
    by_account: dict[str, int] = field(default_factory=dict)
    by_operator: dict[str, int] = field(default_factory=dict)
    trainer_slots: int = 0
    trainer_slots_taken: set[int] = field(default_factory=set)
    seats: list[int | None] = field(default_factory=lambda: [None] * MAX_VALIDATORS)


class Stakes:
    """The registries and stakes of all runs."""

    def __init__(self, world: World, address: str, unbonding_seconds: int) -> None:
        """Start without members."""
        self.world = world
        self.address = address
        self.unbonding_seconds = unbonding_seconds
        self.registries: dict[str, Registry] = {}

    def registry(self, run: RunBase) -> Registry:
        """Return the registry of a run."""
        return self.registries.setdefault(run.address, Registry())

    # Members

    def join(self, sender: str, run: Run, role: Role, operator: str, amount_wei: int) -> int:
        """Make the sender a member; returns its registry index."""
        registry, params = self.registry(run), run.params
        require(role in (Role.TRAINER, Role.VALIDATOR), "BadRole", role)
        require(not run.finished, "RunOver", run.address)
        least = params.min_trainer_bond_wei if role == Role.TRAINER else params.min_validator_stake_wei
        require(amount_wei >= least, "StakeTooLow", amount_wei, least)
        require(sender not in registry.by_account, "AlreadyJoined", run.address, sender)
        self._check_operator(registry, run, operator)
        index = len(registry.entries)
        slot, evicted = self._find_slot(registry, run, role, amount_wei)
        self.world.token.move(sender, self.address, amount_wei)
        if evicted is not None:
            self._retire(registry, run, evicted)
        if role == Role.TRAINER:
            registry.trainer_slots_taken.add(slot)
            registry.trainer_slots = max(registry.trainer_slots, slot + 1)
        else:
            registry.seats[slot] = index
        registry.by_account[sender] = registry.by_operator[operator] = index
        active_from = run.enroll(operator, role, slot, index + 1, registry.trainer_slots)
        registry.entries.append(RegistryEntry(index, sender, operator, role, slot, active_from, NEVER, amount_wei, 0))
        return index

    def add_stake(self, sender: str, run: Run, amount_wei: int) -> None:
        """Add to the sender's stake; as a voting weight it counts from the next epoch on."""
        registry = self.registry(run)
        entry = self._member_that_stays(registry, run, sender)
        require(amount_wei > 0, "ZeroAmount")
        self.world.token.move(sender, self.address, amount_wei)
        self._put(registry, replace(entry, stake_wei=entry.stake_wei + amount_wei))

    def set_operator(self, sender: str, run: Run, operator: str) -> None:
        """Give the sender's membership another operator."""
        registry = self.registry(run)
        entry = self._member(registry, run, sender)
        require(operator != entry.operator, "OperatorTaken", run.address, operator)
        self._check_operator(registry, run, operator, entry.index)
        registry.by_operator[operator] = entry.index
        self._put(registry, replace(entry, operator=operator))
        run.rekey(entry.operator, operator)

    def leave(self, sender: str, run: Run) -> None:
        """End the sender's membership: a trainer's with the open round, a validator's with the epoch."""
        registry = self.registry(run)
        entry = self._member_that_stays(registry, run, sender)
        if entry.role == Role.VALIDATOR:
            registry.seats[entry.slot] = None
        self._retire(registry, run, entry)

    def withdraw_for(self, run: Run, account: str) -> None:
        """Pay what is left of a stake back, once its last round is over and it is not bound any more."""
        registry = self.registry(run)
        entry = self._member(registry, run, account)
        require(entry.active_until != NEVER, "NotLeft", run.address, entry.index)
        until = self.withdrawable_at(run, entry.index)
        require(until != 0, "StillActive", entry.index, entry.active_until)
        require(self.world.now >= until, "StillBonded", until)
        if entry.role == Role.TRAINER:
            registry.trainer_slots_taken.discard(entry.slot)
        self._put(registry, replace(entry, operator=ZERO_ADDRESS, stake_wei=0))
        run.forget(entry.operator)
        self.world.token.move(self.address, account, entry.stake_wei)

    def slash(
        self, run: RunBase, indices: Sequence[int], amounts_wei: Sequence[int], challenger: str | None, share_bps: int
    ) -> int:
        """Take from members at most what they have; returns what was taken.

        The challenger's part of each is rounded down, the rest is burned.
        """
        registry = self.registry(run)
        taken_wei = rewards_wei = 0
        for index, amount_wei in zip(indices, amounts_wei, strict=True):
            entry = registry.entries[index]
            part_wei = min(amount_wei, entry.stake_wei)
            self._put(registry, replace(entry, stake_wei=entry.stake_wei - part_wei))
            taken_wei += part_wei
            rewards_wei += part_wei * share_bps // BPS if challenger is not None else 0
        if challenger is not None:
            self.world.token.move(self.address, challenger, rewards_wei)
        self.world.token.move(self.address, DEAD, taken_wei - rewards_wei)
        return taken_wei

    # Views

    def withdrawable_at(self, run: Run, index: int) -> int:
        """Return when a member that left can withdraw, 0 while its last round is not over or it has not left."""
        entry = self.registry(run).entries[index]
        if entry.active_until == NEVER:
            return 0
        released_at = entry.left_at
        if entry.active_until > entry.active_from:
            over_at = run.released_at(entry.active_until)
            if over_at == 0:
                return 0
            released_at = max(released_at, over_at)
        return released_at + self.unbonding_seconds

    def active_counts(self, run: RunBase) -> tuple[int, int]:
        """Return the number of trainers and of validators that have not left."""
        staying = [entry for entry in self.registry(run).entries if entry.active_until == NEVER]
        trainers = sum(1 for entry in staying if entry.role == Role.TRAINER)
        return trainers, len(staying) - trainers

    def snapshot(self, run: RunBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return voting weights and registry indices of the seats of an epoch that would begin now."""
        registry, unit_wei = self.registry(run), run.params.stake_unit_wei
        lanes = tuple(
            0 if index is None else min(MAX_LANE, registry.entries[index].stake_wei // unit_wei)
            for index in registry.seats
        )
        return lanes, tuple(index or 0 for index in registry.seats)

    def entry_of_operator(self, run: RunBase, operator: str) -> RegistryEntry | None:
        """Return the member that the operator acts or acted for; the contract gives an empty entry for none."""
        registry = self.registry(run)
        index = registry.by_operator.get(operator)
        return None if index is None else registry.entries[index]

    # Internal

    def _find_slot(self, registry: Registry, run: Run, role: Role, amount_wei: int) -> tuple[int, RegistryEntry | None]:
        """Return the lowest free slot; for a validator, with all seats taken, that of the lowest stake, and who it is.

        Among equally low ones the last to have joined goes.
        """
        if role == Role.TRAINER:
            free = (slot for slot in range(MAX_TRAINERS) if slot not in registry.trainer_slots_taken)
            slot = next(free, None)
            if slot is None:
                raise Refusal("RunFull", run.address, role, MAX_TRAINERS)
            return slot, None
        if None in registry.seats:
            return registry.seats.index(None), None
        sitting = [registry.entries[index] for index in registry.seats if index is not None]
        lowest = min(sitting, key=lambda entry: (entry.stake_wei, -entry.index))
        require(amount_wei > lowest.stake_wei, "SeatsTaken", run.address, amount_wei, lowest.stake_wei)
        return lowest.slot, lowest

    def _retire(self, registry: Registry, run: Run, entry: RegistryEntry) -> None:
        until = run.retire(entry.operator)
        self._put(registry, replace(entry, left_at=self.world.now, active_until=until))

    def _put(self, registry: Registry, entry: RegistryEntry) -> None:
        registry.entries[entry.index] = entry

    def _check_operator(self, registry: Registry, run: Run, operator: str, own: int | None = None) -> None:
        """Check that a key is nobody else's: one that was ever used stays its member's."""
        require(operator != ZERO_ADDRESS, "ZeroOperator")
        free = registry.by_operator.get(operator, own) == own
        require(free, "OperatorTaken", run.address, operator)

    def _member(self, registry: Registry, run: Run, account: str) -> RegistryEntry:
        index = registry.by_account.get(account)
        if index is None or registry.entries[index].operator == ZERO_ADDRESS:
            raise Refusal("NotMember", run.address, account)
        return registry.entries[index]

    def _member_that_stays(self, registry: Registry, run: Run, account: str) -> RegistryEntry:
        entry = self._member(registry, run, account)
        require(entry.active_until == NEVER, "AlreadyLeft", run.address, entry.index)
        return entry
