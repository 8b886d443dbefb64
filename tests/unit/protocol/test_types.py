from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.types import (
    ZERO_ADDRESS,
    Header,
    Leaf,
    Phase,
    ProofNode,
    RegistryEntry,
    Role,
    RoundInfo,
    RoundStatus,
    RunParams,
    Status,
    pack_lanes,
    unpack_lanes,
)
from tests.unit.protocol.builders import RUN, address

ZERO = bytes(32)
HEADER = Header(RUN, 1, 0, ZERO, ZERO, ZERO, 5, 6, 7, 8, ZERO, ZERO)
LEAF = Leaf(0, address(1), 2, 3, 4, ZERO)


@given(st.lists(st.integers(0, 0xFFFF), max_size=16), st.integers(0, 0xFFFF))
def test_lanes_come_back(values: list[int], fill: int) -> None:
    assert unpack_lanes(pack_lanes(values, fill)) == tuple(values) + (fill,) * (16 - len(values))


def test_lane_zero_is_the_lowest_bits() -> None:
    assert pack_lanes([0x1234]) == bytes(30) + b"\x12\x34"
    assert pack_lanes([0, 0x1234])[-4:] == b"\x12\x34\x00\x00"


@pytest.mark.parametrize("values", [[65536], [-1], [0] * 17])
def test_lanes_that_do_not_fit_are_refused(values: list[int]) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        pack_lanes(values)


def test_a_word_has_32_bytes() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        unpack_lanes(bytes(31))


@pytest.mark.parametrize("value", [HEADER, LEAF, ProofNode(ZERO, 1, 2)])
def test_abi_tuples_come_back(value: Any) -> None:
    assert type(value).from_abi(value.as_abi()) == value
    raw = tuple(HexBytes(item) if isinstance(item, bytes) else item for item in value.as_abi())
    copy = type(value).from_abi(raw)
    assert copy == value
    assert all(type(item) is bytes for item in copy.as_abi() if isinstance(item, bytes))


def test_addresses_from_the_chain_are_checksummed() -> None:
    leaf = Leaf.from_abi((0, address(1).lower(), 2, 3, 4, ZERO))
    assert leaf == LEAF


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (HEADER, {"round": 1 << 32}),
        (HEADER, {"attempt": -1}),
        (HEADER, {"root": bytes(31)}),
        (HEADER, {"total_weight": 1 << 64}),
        (HEADER, {"total_amount_wei": 1 << 128}),
        (HEADER, {"run": RUN.lower()}),
        (HEADER, {"round": True}),
        (LEAF, {"weight": 1 << 64}),
        (LEAF, {"weight": 1.0}),
        (LEAF, {"row": b""}),
        (LEAF, {"account": "0x12"}),
        (LEAF, {"cumulative_amount_wei": -1}),
        (ProofNode(ZERO, 0, 0), {"weight": 1 << 64}),
        (ProofNode(ZERO, 0, 0), {"amount_wei": 1 << 128}),
    ],
)
def test_what_does_not_fit_its_type_is_refused(value: Any, change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        replace(value, **change)


def test_a_wrong_number_of_fields_is_refused() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        ProofNode.from_abi((ZERO, 1))


def test_an_entry_has_another_order_on_chain() -> None:
    entry = RegistryEntry.from_abi((address(1).lower(), address(2), 2, 3, 4, 5, 6, 7, 8))
    assert entry == RegistryEntry(4, address(1), address(2), Role.VALIDATOR, 3, 5, 6, 7, 8)


def test_run_parameters_keep_a_cid_that_looks_like_an_address() -> None:
    cid = "0x" + 40 * "Z"
    params = RunParams.from_abi((ZERO_ADDRESS, ZERO, cid, ZERO, *range(18)))
    assert params.manifest_cid == cid
    assert params.train_seconds == 0 and params.reputation_keep_ppb == 17


def test_status_and_round_info_have_names_for_numbers() -> None:
    status = Status.from_abi((3, 5, *[0] * 12, ZERO, ZERO, True, 2, ZERO, False))
    assert status.phase is Phase.WEIGHT_REVEAL
    lanes = pack_lanes([7, 8, 9])
    info = RoundInfo.from_abi((2, *range(11), lanes, *[0] * 5, ZERO, ZERO, ZERO, ZERO, 0))
    assert info.status is RoundStatus.SETTLED
    assert info.validator_slots == 10
    assert info.stakes() == (7, 8, 9, 0, 0, 0, 0, 0, 0, 0)
