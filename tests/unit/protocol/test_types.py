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
    Body,
    ClaimLeaf,
    Fault,
    Header,
    Leaf,
    LeafDetail,
    OpenedTree,
    Phase,
    PreviousLeaf,
    RegistryEntry,
    ReputationParams,
    Role,
    RoundInfo,
    RoundStatus,
    RunParams,
    SignedCommit,
    Status,
    Tree,
    pack_lanes,
    unpack_lanes,
)
from tests.unit.protocol.builders import RUN, address

ZERO = bytes(32)
BODY = Body(RUN, 1, 0, ZERO, ZERO, 8, ZERO, ZERO)
TREE = Tree(ZERO, 5, 6, 7)
HEADER = Header(BODY, TREE)
DETAIL = LeafDetail(3, 4, ZERO, 5, 6)
LEAF = Leaf(0, address(1), 2, DETAIL)
CLAIM = ClaimLeaf(0, address(1), 2, ZERO)
REPUTATION = ReputationParams(1, 2, 3, 4, 5, 6)


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


def raw(value: Any) -> Any:
    """Return an ABI tuple as a decoder may give it: other kinds of bytes and sequences, lower-case addresses."""
    if isinstance(value, tuple):
        return [raw(item) for item in value]
    return HexBytes(value) if isinstance(value, bytes) else value.lower() if isinstance(value, str) else value


RECORDS = [
    HEADER,
    LEAF,
    CLAIM,
    OpenedTree(3, ZERO, TREE),
    PreviousLeaf(ZERO, TREE, address(1), 7, DETAIL, (ZERO, ZERO)),
    SignedCommit(ZERO, ZERO, ZERO),
    REPUTATION,
]


@pytest.mark.parametrize("value", RECORDS)
def test_abi_tuples_come_back(value: Any) -> None:
    assert type(value).from_abi(value.as_abi()) == value
    copy = type(value).from_abi(raw(value.as_abi()))
    assert copy == value
    assert copy.as_abi() == value.as_abi()
    assert all(type(item) is bytes for item in copy.as_abi() if isinstance(item, bytes))


def test_records_in_records_are_tuples_in_the_contract_s_order() -> None:
    assert HEADER.as_abi() == (BODY.as_abi(), TREE.as_abi())
    assert LEAF.as_abi() == (0, address(1), 2, (3, 4, ZERO, 5, 6))
    assert PreviousLeaf().as_abi() == (ZERO, (ZERO, 0, 0, 0), ZERO_ADDRESS, 0, (0, 0, ZERO, 0, 0), ())


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (BODY, {"round": 1 << 32}),
        (BODY, {"attempt": -1}),
        (BODY, {"run": RUN.lower()}),
        (BODY, {"round": True}),
        (BODY, {"budget_wei": 1 << 128}),
        (TREE, {"root": bytes(31)}),
        (TREE, {"total_weight": 1 << 64}),
        (TREE, {"total_amount_wei": 1 << 128}),
        (DETAIL, {"weight": 1 << 64}),
        (DETAIL, {"weight": 1.0}),
        (DETAIL, {"row": b""}),
        (DETAIL, {"weight_before": 1 << 64}),
        (DETAIL, {"amount_before_wei": 1 << 128}),
        (LEAF, {"account": "0x12"}),
        (LEAF, {"cumulative_amount_wei": -1}),
        (CLAIM, {"detail_hash": b"1"}),
        (PreviousLeaf(), {"proof": (b"1",)}),
        (REPUTATION, {"neck_min_validators": 1 << 16}),
    ],
)
def test_what_does_not_fit_its_type_is_refused(value: Any, change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        replace(value, **change)


def test_a_wrong_number_of_fields_is_refused() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        Tree.from_abi((ZERO, 1))


def test_an_entry_has_another_order_on_chain() -> None:
    entry = RegistryEntry.from_abi((address(1).lower(), 2, 3, 5, 6, address(2), 4, 8, 7))
    assert entry == RegistryEntry(4, address(1), address(2), Role.VALIDATOR, 3, 5, 6, 7, 8)


def test_run_parameters_keep_a_cid_that_looks_like_an_address() -> None:
    cid = "0x" + 40 * "Z"
    params = RunParams.from_abi((ZERO_ADDRESS, ZERO, cid, ZERO, *range(24), REPUTATION.as_abi()))
    assert params.manifest_cid == cid
    assert params.train_seconds == 0 and params.reputation.keep_ppb == 5 and params.demand_bond_wei == 23


def test_status_and_round_info_have_names_for_numbers() -> None:
    status = Status.from_abi((3, 5, *[0] * 12, ZERO, ZERO, True, 2, ZERO, False, True, 1, 7))
    assert status.phase is Phase.WEIGHT_REVEAL
    assert (status.behind, status.behind_round, status.behind_attempt) == (True, 1, 7)
    lanes = pack_lanes([7, 8, 9])
    info = RoundInfo.from_abi((2, True, *range(9), lanes, 1, 3, 4, 5, 6, ZERO, ZERO, ZERO, ZERO, 0, 7))
    assert info.status is RoundStatus.SETTLED
    assert info.fault is Fault.COVERAGE
    assert (info.trainer_slots, info.attempt, info.signer_mask) == (8, 1, 3)
    assert info.stakes() == (7, 8, 9) + (0,) * 13
