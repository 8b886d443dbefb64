from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.errors import StateError
from emerit.protocol.registry import check_registry, of_role, registry_snapshot
from emerit.protocol.types import RegistryEntry, Role
from tests.unit.protocol.builders import address, registry

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
    [{"index": 2}, {"slot": 1}, {"role": Role.NONE}, {"account": address(0)}],
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
