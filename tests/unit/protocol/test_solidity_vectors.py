"""Rounds that the contracts' own test oracle settled, settled again here.

contracts/test/vectors/SolidityVectors.t.sol writes the file and says how to write it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode

from emerit.protocol.challenges import Facts, Settled, find_faults
from emerit.protocol.commitments import pack_vector
from emerit.protocol.registry import Members
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.types import Leaf, RegistryEntry, ReputationParams, Tree
from tests.unit.protocol.builders import RUN, header_of

FILE = Path(__file__).resolve().parents[3] / "tests" / "vectors" / "solidity" / "settlements.json"
CASES = json.loads(FILE.read_text(encoding="ascii"))

ENTRY = "(address,uint8,uint16,uint32,uint32,address,uint32,uint64,uint128)"
REPUTATION = "(uint32,uint32,uint32,uint32,uint32,uint16)"
LEAF = "(uint32,address,uint128,(uint64,uint64,bytes32,uint64,uint128))"
WORLD = f"(uint32,{ENTRY}[],uint16[16],uint32[16],bool[16],uint16[][],uint128,uint16,{REPUTATION},{LEAF}[])"


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def leaves_of(items: Any) -> tuple[Leaf, ...]:
    return tuple(Leaf.from_abi(item) for item in items)


@pytest.mark.parametrize("case", CASES)
def test_a_round_of_the_solidity_oracle(case: dict[str, str]) -> None:
    (world,) = decode([WORLD], unhex(case["world"]))
    round_number, entries, stakes, seats, revealed, vectors, budget_wei, share, reputation, previous = world
    slots = max((len(vector) - 2 for vector in vectors if vector), default=0)
    registry = tuple(RegistryEntry.from_abi(entry) for entry in entries)
    slots = max([slots, *(entry.slot + 1 for entry in registry if entry.role == 1)])
    members = Members(round_number, registry, slots, tuple(stakes), tuple(seats))
    codes = {slot: tuple(vectors[slot]) for slot in range(16) if revealed[slot]}
    inputs = SettlementInputs(
        run=RUN,
        round=round_number,
        attempt=0,
        previous_hash=bytes(32),
        reveals_hash=bytes(32),
        members=members,
        vectors=codes,
        previous_leaves=leaves_of(previous),
        budget_wei=budget_wei,
        validator_share_bps=share,
        state_root=bytes(32),
        aggregate_hash=bytes(32),
        reputation=ReputationParams.from_abi(reputation),
    )
    result = settle(inputs)
    (leaves,) = decode([f"{LEAF}[]"], unhex(case["leaves"]))
    assert result.leaves == leaves_of(leaves)
    root = unhex(case["root"])
    assert result.header.tree == Tree(root, int(case["totalWeight"]), int(case["totalAmountWei"]), len(leaves))
    (proof,) = decode(["bytes32[]"], unhex(case["proof"]))
    assert result.tree.proof(len(leaves) // 2) == proof
    if not previous:
        facts = Facts(members, {slot: pack_vector(c) for slot, c in codes.items()}, share, inputs.reputation, None)
        assert find_faults(Settled(result.header, result.leaves), facts) == ()
    assert header_of(result.leaves).tree.root == root
