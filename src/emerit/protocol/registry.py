"""The registry as a settlement sees it: who was in the run when the round opened."""

from __future__ import annotations

from collections.abc import Sequence

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

    Entry i has index i; the slots of each role count up from 0 in the order of joining; no account is
    there twice; there are at most 256 trainers and 16 validators.

    Raises:
        StateError: `registry-inconsistent`, naming the first entry that is wrong.
    """
    next_slot = {Role.TRAINER: 0, Role.VALIDATOR: 0}
    limit = {Role.TRAINER: MAX_TRAINERS, Role.VALIDATOR: MAX_VALIDATORS}
    accounts: set[str] = set()
    for place, entry in enumerate(entries):
        if entry.index != place:
            raise _inconsistent(f"the entry at position {place} has index {entry.index}")
        if entry.role not in next_slot:
            raise _inconsistent(f"entry {place} has no role")
        if entry.slot != next_slot[entry.role]:
            raise _inconsistent(f"entry {place} has slot {entry.slot}, not {next_slot[entry.role]}")
        if entry.account in accounts:
            raise _inconsistent(f"entry {place} repeats the account {entry.account}")
        next_slot[entry.role] += 1
        if next_slot[entry.role] > limit[entry.role]:
            raise _inconsistent(f"entry {place} is beyond the limit of its role")
        accounts.add(entry.account)


def of_role(entries: Sequence[RegistryEntry], role: Role) -> tuple[RegistryEntry, ...]:
    """Return the entries of one role; position s in the result is slot s."""
    return tuple(entry for entry in entries if entry.role == role)


def _inconsistent(what: str) -> StateError:
    return StateError(
        "registry-inconsistent",
        f"The registry does not fit the contract's rules: {what}.",
        "Read the registry again from the chain.",
    )
