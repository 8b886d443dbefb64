from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.errors import StateError
from emerit.protocol.registry import Members, check_registry, of_role, registry_snapshot
from emerit.protocol.types import RegistryEntry, Role
from tests.unit.protocol.builders import ROUND, address, members_of, registry

T, V = Role.TRAINER, Role.VALIDATOR


def test_who_joined_after_the_opening_is_not_in_the_snapshot() -> None:
    entries = registry([T, V, T, V])
    assert registry_snapshot(entries, 2) == entries[:2]
    assert registry_snapshot(entries, 0) == ()
    with pytest.raises(StateError, match="registry-inconsistent"):
        registry_snapshot(entries, 5)


def test_slots_count_within_a_role() -> None:
    entries = registry([V, T, V, T, T])
    assert [entry.slot for entry in entries] == [0, 0, 1, 1, 2]
    assert [entry.index for entry in of_role(entries, T)] == [1, 3, 4]
    assert [entry.index for entry in of_role(entries, V)] == [0, 2]


@pytest.mark.parametrize(
    "change",
    [{"index": 2}, {"slot": 16}, {"role": Role.NONE}, {"account": address(0)}],
)
def test_entries_out_of_order_are_refused(change: dict[str, object]) -> None:
    entries = list(registry([T, V]))
    entries[1] = replace(entries[1], **change)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="registry-inconsistent"):
        check_registry(entries)


@pytest.mark.parametrize(("role", "limit"), [(T, 256), (V, 16)])
def test_there_are_limits_by_role(role: Role, limit: int) -> None:
    check_registry(registry([role] * limit))
    with pytest.raises(StateError, match="registry-inconsistent"):
        check_registry(registry([role] * (limit + 1)))


def test_an_entry_is_active_from_and_until() -> None:
    entry = RegistryEntry(0, address(0), address(1), T, 0, active_from=3, active_until=5)
    assert [entry.active_in(round_number) for round_number in (2, 3, 4, 5)] == [False, True, True, False]


def test_a_slot_belongs_to_who_is_active() -> None:
    first = RegistryEntry(0, address(0), address(10), T, 0, active_until=ROUND)
    second = RegistryEntry(1, address(1), address(11), T, 0, active_from=ROUND)
    members = Members(ROUND, (first, second), 1, (), ())
    assert members.trainer_in(0) == second
    assert members.active_trainers() == (second,)
    assert members.occupied == {0}
    assert not members.is_active_trainer(first)
    assert Members(ROUND - 1, (first, second), 1, (), ()).trainer_in(0) == first
    assert members.trainer_in(1) is None


def test_a_seat_belongs_to_the_index_in_it_if_it_has_stake() -> None:
    old = RegistryEntry(0, address(0), address(10), V, 0, active_until=ROUND)
    new = RegistryEntry(1, address(1), address(11), V, 0)
    poor = RegistryEntry(2, address(2), address(12), V, 1)
    members = Members(ROUND, (old, new, poor), 0, (5, 0), (1, 2))
    assert [members.seat_of(entry) for entry in (old, new, poor)] == [None, 0, None]
    assert (members.validator_in(0), members.validator_in(1), members.validator_in(2)) == (new, None, None)
    trainer = RegistryEntry(3, address(3), address(13), T, 0)
    assert members.seat_of(trainer) is None


@pytest.mark.parametrize(
    "change",
    [
        {"entries": registry([T, V, V])[::-1]},
        {"trainer_slots": 0},
        {"stake_lanes": (1, 1, 1)},
        {"stake_lanes": (1, 65536)},
        {"stake_lanes": (1,) * 17, "seats": (1,) * 17},
        {"seats": (2, 1)},
        {"seats": (0, 2)},
        {"seats": (1, 3)},
        {"entries": tuple(replace(entry, slot=0) for entry in registry([T, T, V]))},
    ],
)
def test_members_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    good = members_of([T, V, V], (1, 1))
    with pytest.raises(StateError, match="registry-inconsistent"):
        replace(good, **change)  # type: ignore[arg-type]
