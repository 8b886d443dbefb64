from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eth_utils.address import to_checksum_address

from emerit.errors import ChainError, PreconditionError, UnavailableError
from emerit.protocol.types import Phase, RegistryEntry, Role
from emerit.run.membership import check_in, still_member

ACCOUNT, OPERATOR, OTHER = (to_checksum_address(bytes([number]) * 20) for number in (1, 2, 3))
ENTRY = RegistryEntry(4, ACCOUNT, OPERATOR, Role.TRAINER, 0)
SENDER = cast(Any, SimpleNamespace(address=OPERATOR))


def client(now: RegistryEntry | None) -> Any:
    return SimpleNamespace(entry_of_account=lambda account: now if account == ACCOUNT else None)


def test_a_member_is_read_as_it_is_now() -> None:
    left = replace(ENTRY, active_until=9, left_at=77)
    assert still_member(client(ENTRY), SENDER, ENTRY) == ENTRY
    assert still_member(client(left), SENDER, ENTRY) == left


def test_one_that_withdrew_has_no_operator_and_has_just_left() -> None:
    gone = replace(ENTRY, operator=to_checksum_address(bytes(20)), active_until=9, left_at=77, stake_wei=0)
    assert still_member(client(gone), SENDER, ENTRY).active_until == 9


def test_a_key_that_acts_no_more_stops_the_node() -> None:
    with pytest.raises(PreconditionError, match="operator-changed"):
        still_member(client(replace(ENTRY, operator=OTHER)), SENDER, ENTRY)
    with pytest.raises(UnavailableError, match="chain-unsettled"):
        still_member(client(None), SENDER, ENTRY)


@pytest.mark.parametrize("code", ["already-checked-in", "check-in-from", "not-active"])
def test_checking_in_is_no_error_where_it_is_not_needed(code: str) -> None:
    def refuse(_sender: object) -> None:
        raise ChainError(code, "No.")

    here = SimpleNamespace(expected_in=lambda operator: 2**32 - 1, check_in=refuse)
    check_in(cast(Any, here), SENDER, ENTRY, cast(Any, SimpleNamespace(phase=Phase.TRAIN, round=3)))
