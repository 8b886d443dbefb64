"""Test vectors of whole settlements: trees, rounds, and every way to get one wrong (see tests/vectors/README.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from vector_tools import RUN, address, digest, hexed, number, record

from emerit.protocol import eip712, minifloat
from emerit.protocol.challenges import Challenge, Facts, Settled, find_faults, previous_leaf
from emerit.protocol.commitments import pack_vector
from emerit.protocol.consensus import aggregated_slots
from emerit.protocol.presets import preset
from emerit.protocol.registry import Members
from emerit.protocol.reputation import reputation_params
from emerit.protocol.settlement import Settlement, SettlementInputs, settle
from emerit.protocol.settlement_tree import SettlementTree, detail_hash, leaf_hash
from emerit.protocol.types import (
    NEVER,
    ZERO_HASH,
    Body,
    Fault,
    Header,
    Leaf,
    LeafDetail,
    RegistryEntry,
    Role,
    Tree,
    pack_lanes,
    unpack_lanes,
)

REPUTATION = reputation_params(preset("demo").reputation, 990_000_000)
SHARE_BPS = 2000

TREE_ABI = "(bytes32,uint64,uint128,uint32)"
OPENED_ABI = f"(uint32,bytes32,{TREE_ABI})"
HEADER_ABI = f"((address,uint32,uint32,bytes32,bytes32,uint128,bytes32,bytes32),{TREE_ABI})"
DETAIL_ABI = "(uint64,uint64,bytes32,uint64,uint128)"
LEAF_ABI = f"(uint32,address,uint128,{DETAIL_ABI})"
PREVIOUS_ABI = f"(bytes32,{TREE_ABI},address,uint128,{DETAIL_ABI},bytes32[])"
ONE_LEAF = [OPENED_ABI, LEAF_ABI, "bytes32[]"]
ARGUMENTS = {
    "challengeRow": [*ONE_LEAF, "uint16", "bytes"],
    "challengeWeight": ONE_LEAF,
    "challengeCoverage": [*ONE_LEAF, LEAF_ABI, "bytes32[]"],
    "challengeAmount": [HEADER_ABI, LEAF_ABI, "bytes32[]", PREVIOUS_ABI],
    "challengeReputation": [HEADER_ABI, LEAF_ABI, "bytes32[]", PREVIOUS_ABI],
    "challengeSum": [*ONE_LEAF, LEAF_ABI, "bytes32[]"],
    "challengeFirstSum": ONE_LEAF,
    "challengeLastSum": ONE_LEAF,
    "challengeIdentity": ONE_LEAF,
}


def calldata(function: str, arguments: Sequence[Any]) -> bytes:
    """Return the call of a challenge, selector first."""
    types = ARGUMENTS[function]
    values = [value.as_abi() if hasattr(value, "as_abi") else value for value in arguments]
    return keccak(text=f"{function}({','.join(types)})")[:4] + abi_encode(types, values)


# Trees ----------------------------------------------------------------------------------------------------------------


def make_leaf(case: int, index: int) -> Leaf:
    """Return a leaf with arbitrary content."""
    detail = LeafDetail(
        weight=number(1 << 42, 4, case, index),
        reputation=number(10**9, 5, case, index),
        row=digest(6, case, index),
        weight_before=number(1 << 50, 35, case, index),
        amount_before_wei=number(10**26, 36, case, index),
    )
    return Leaf(index, address(2, case, index), number(10**24, 3, case, index), detail)


def make_body(case: int) -> Body:
    """Return the body of a header, with arbitrary content."""
    return Body(
        run=RUN,
        round=case,
        attempt=case % 2,
        previous=digest(7, case),
        reveals=digest(8, case),
        budget_wei=number(10**21, 9, case),
        state_root=digest(10, case),
        aggregate_hash=digest(11, case),
    )


def tree_vectors() -> dict[str, Any]:
    """Trees of several sizes with all their proofs."""
    cases = []
    for case, size in enumerate((1, 2, 3, 5, 8, 13)):
        leaves = [make_leaf(case, index) for index in range(size)]
        tree = SettlementTree(leaves)
        total_weight, total_amount_wei = number(1 << 60, 37, case), number(10**27, 38, case)
        header = Header(make_body(case), Tree(tree.root, total_weight, total_amount_wei, size))
        cases.append(
            {
                "name": f"{size} leaves",
                "depth": tree.depth,
                "leaves": [record(leaf) for leaf in leaves],
                "detailHashes": [hexed(detail_hash(leaf.detail)) for leaf in leaves],
                "leafHashes": [hexed(leaf_hash(leaf)) for leaf in leaves],
                "header": record(header),
                "bodyHash": hexed(eip712.body_hash(header.body)),
                "treeHash": hexed(eip712.tree_hash(header.tree)),
                "headerHash": hexed(eip712.header_hash(header)),
                "proofs": [[hexed(node) for node in tree.proof(index)] for index in range(size)],
            }
        )
    return {"cases": cases}


# Rounds ---------------------------------------------------------------------------------------------------------------


def make_members(round_number: int, spans: Sequence[tuple[Role, int, int, int]], stakes: Sequence[int]) -> Members:
    """Return a registry from (role, slot, active from, active until); the last active in a seat has it."""
    entries = []
    seats = [0] * len(stakes)
    for index, (role, slot, first, until) in enumerate(spans):
        entry = RegistryEntry(index, address(27, index), address(28, index), role, slot, first, until)
        if role == Role.VALIDATOR and entry.active_in(round_number):
            seats[slot] = index
        entries.append(entry)
    slots = [entry.slot for entry in entries if entry.role == Role.TRAINER]
    return Members(round_number, tuple(entries), max(slots, default=-1) + 1, tuple(stakes), tuple(seats))


def make_inputs(case: int, members: Members, previous: Settled | None = None) -> SettlementInputs:
    """Return a round in which everybody revealed and voted near the truth, w = 1000 * (slot + 1)."""
    vectors = {}
    for v, stake in enumerate(members.stake_lanes):
        weights = [minifloat.encode(1000 * (s + 1) + number(50, 29, case, v, s)) for s in range(members.trainer_slots)]
        if stake:
            vectors[v] = (minifloat.encode(50_000_000 + number(20_000, 30, v)), 0, *weights)
    return SettlementInputs(
        run=RUN,
        round=members.round,
        attempt=0,
        previous_hash=eip712.header_hash(previous.header) if previous else ZERO_HASH,
        reveals_hash=digest(32, case),
        members=members,
        vectors=vectors,
        previous_leaves=previous.leaves if previous else (),
        budget_wei=10**20 + 7,
        validator_share_bps=SHARE_BPS,
        state_root=digest(33, case),
        aggregate_hash=digest(34, case),
        reputation=REPUTATION,
    )


def rounds() -> Iterator[tuple[str, SettlementInputs, Settled | None]]:
    """Rounds with the special cases of the rule: name, inputs, what was settled before."""
    t, v = Role.TRAINER, Role.VALIDATOR
    six = [(t, 0, 0, NEVER), (t, 1, 0, NEVER), (v, 0, 0, NEVER), (t, 2, 0, NEVER), (v, 1, 0, NEVER), (v, 2, 0, NEVER)]
    stakes = (100, 100, 100)
    plain = make_inputs(0, make_members(0, six, stakes))
    result = settle(plain)
    last = Settled(result.header, result.leaves)
    yield ("everybody present", plain, None)

    absent = make_inputs(1, make_members(1, six, stakes), last)
    two = {slot: codes for slot, codes in absent.vectors.items() if slot != 1}
    yield ("one validator absent", replace(absent, vectors=two), last)
    yield ("two validators absent, no quorum", replace(absent, vectors={0: absent.vectors[0]}), last)
    yield ("nothing revealed", replace(absent, vectors={}), last)

    eight = [*six, (t, 3, 1, NEVER), (v, 3, 1, NEVER)]
    joined = make_inputs(3, make_members(1, eight, (*stakes, 65535)), last)
    lanes = dict(joined.vectors)
    lanes[0] = (*lanes[0][:3], minifloat.ABSTAIN, *lanes[0][4:])
    lanes[1] = (minifloat.encode(60_000_000), *lanes[1][1:])
    yield ("newcomers, a partial abstention, a base loss that is off", replace(joined, vectors=lanes), last)

    # Trainer 1 has left and 6 has its slot, validator 4 has left and 7 has its seat; validator 5 has no stake left.
    handed = [(role, slot, first, 4 if at in (1, 4) else until) for at, (role, slot, first, until) in enumerate(six)]
    handed += [(t, 1, 4, NEVER), (v, 1, 4, NEVER)]
    yield ("slots and seats used again", make_inputs(4, make_members(4, handed, (100, 300, 0)), last), last)

    unpaid = make_inputs(5, make_members(1, six, stakes), last)
    ones = {slot: (codes[0], 0, 1, 0, 1) for slot, codes in unpaid.vectors.items()}
    yield ("nobody is payable", replace(unpaid, vectors=ones), last)
    yield ("no stake at all", make_inputs(6, make_members(2, [(v, 0, 0, NEVER), (t, 0, 0, NEVER)], (0,))), None)


# Wrong settlements ----------------------------------------------------------------------------------------------------


def _with_leaf(honest: Settled, leaf: Leaf) -> Settled:
    leaves = (*honest.leaves[: leaf.index], leaf, *honest.leaves[leaf.index + 1 :])
    return _rooted(honest.header, leaves)


def _rooted(header: Header, leaves: tuple[Leaf, ...], **sums: int) -> Settled:
    tree = replace(header.tree, root=SettlementTree(leaves).root, **sums)
    return Settled(replace(header, tree=tree), leaves)


def mutations(case: int, members: Members, honest: Settled) -> Iterator[tuple[str, Fault, int, Settled]]:
    """Wrong settlements with one thing changed each: name, a fault to expect, the leaf it is found at."""
    for at in {number(len(honest.leaves), 40, case, turn) for turn in range(3)} | {0, len(honest.leaves) - 1}:
        leaf = honest.leaves[at]
        detail = leaf.detail
        weight_fault = Fault.WEIGHT if members.entries[at].role == Role.TRAINER else Fault.COVERAGE
        row = list(unpack_lanes(detail.row))
        lane = number(16, 41, case, at)
        row[lane] ^= 1 + number(0xFFFF, 42, case, at)
        outer: dict[str, tuple[Fault, dict[str, Any]]] = {
            "account": (Fault.IDENTITY, {"account": address(43, case, at)}),
            "amount": (Fault.AMOUNT, {"cumulative_amount_wei": leaf.cumulative_amount_wei + 1}),
            "largest amount": (Fault.AMOUNT, {"cumulative_amount_wei": (1 << 128) - 1}),
        }
        inner: dict[str, tuple[Fault, dict[str, Any]]] = {
            "weight": (weight_fault, {"weight": detail.weight ^ 1}),
            "largest weight": (weight_fault, {"weight": (1 << 64) - 1}),
            "reputation": (Fault.REPUTATION, {"reputation": detail.reputation + 1}),
            "row": (Fault.ROW, {"row": pack_lanes(row)}),
            "weight before": (Fault.SUM, {"weight_before": detail.weight_before + 1}),
            "largest totals": (Fault.SUM, {"weight_before": (1 << 64) - 1, "amount_before_wei": (1 << 128) - 1}),
            "amount before": (Fault.SUM, {"amount_before_wei": detail.amount_before_wei + 1}),
        }
        for name, (fault, change) in outer.items():
            yield f"{name} of {at}", fault, at, _with_leaf(honest, replace(leaf, **change))
        for name, (fault, change) in inner.items():
            yield f"{name} of {at}", fault, at, _with_leaf(honest, replace(leaf, detail=replace(detail, **change)))
    end, tree = len(honest.leaves) - 1, honest.header.tree
    more_weight = _rooted(honest.header, honest.leaves, total_weight=tree.total_weight + 1)
    more_wei = _rooted(honest.header, honest.leaves, total_amount_wei=tree.total_amount_wei + 1)
    yield "total weight", Fault.SUM, end, more_weight
    yield "total amount", Fault.SUM, end, more_wei


def probes(settled: Settled, facts: Facts) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every challenge that can be made in good form of a settlement, right or wrong: function and arguments."""
    tree, shown = eip712.opened(settled.header), settled.shown()
    for index, (leaf, proof) in shown.items():
        role = facts.members.entries[index].role
        last = previous_leaf(facts.previous, index)
        yield "challengeIdentity", (tree, leaf, proof)
        for slot in (1, 15):
            yield "challengeRow", (tree, leaf, proof, slot, facts.vectors.get(slot, b""))
        if role == Role.TRAINER:
            yield "challengeWeight", (tree, leaf, proof)
        else:
            named = leaf.detail.weight
            for other, (witness, witness_proof) in shown.items():
                if facts.members.entries[other].role == Role.TRAINER and named in (0, other + 1):
                    yield "challengeCoverage", (tree, leaf, proof, witness, witness_proof)
        yield "challengeAmount", (settled.header, leaf, proof, last)
        yield "challengeReputation", (settled.header, leaf, proof, last)
        if index:
            yield "challengeSum", (tree, *shown[index - 1], leaf, proof)
    first, final = shown[0], shown[len(shown) - 1]
    yield "challengeFirstSum", (tree, *first)
    yield "challengeLastSum", (tree, *final)


def facts_of(inputs: SettlementInputs, previous: Settled | None) -> Facts:
    """Return what the contract knows of the round."""
    vectors = {slot: pack_vector(codes) for slot, codes in inputs.vectors.items()}
    return Facts(inputs.members, vectors, inputs.validator_share_bps, inputs.reputation, previous)


def _expected(found: tuple[Challenge, ...], fault: Fault, index: int) -> Challenge:
    """Return the challenge of the expected kind; there must be one."""
    challenges = [item for item in found if (item.fault, item.index) == (fault, index)]
    if not challenges:
        raise AssertionError(f"{fault.name} of leaf {index} was not found among {found}")
    return challenges[0]


def wrong_cases(case: int, honest: Settled, facts: Facts) -> dict[str, list[Any]]:
    """Wrong settlements as lists side by side: what each is, its header, and a challenge that must be upheld."""
    lists: dict[str, list[Any]] = {"names": [], "headerHashes": [], "faults": [], "indices": [], "calls": []}
    for name, fault, index, wrong in mutations(case, facts.members, honest):
        challenge = _expected(find_faults(wrong, facts), fault, index)
        lists["names"].append(name)
        lists["headerHashes"].append(hexed(eip712.header_hash(wrong.header)))
        lists["faults"].append(int(fault))
        lists["indices"].append(index)
        lists["calls"].append(hexed(calldata(challenge.function, challenge.arguments)))
    return lists


def settlement_case(name: str, inputs: SettlementInputs, previous: Settled | None) -> dict[str, Any]:
    """A settlement's inputs and results."""
    result: Settlement = settle(inputs)
    facts, members = facts_of(inputs, previous), inputs.members
    return {
        "name": name,
        "entries": [
            {
                "account": entry.account,
                "role": int(entry.role),
                "slot": entry.slot,
                "activeFrom": entry.active_from,
                "activeUntil": entry.active_until,
            }
            for entry in members.entries
        ],
        "trainerSlots": members.trainer_slots,
        "stakeLanes": hexed(pack_lanes(members.stake_lanes)),
        "seats": [*members.seats, *[0] * (16 - len(members.seats))],
        "vectors": [{"slot": v, "vector": hexed(facts.vectors[v])} for v in sorted(facts.vectors)],
        "previousLeaves": [record(leaf) for leaf in inputs.previous_leaves],
        "leaves": [record(leaf) for leaf in result.leaves],
        "header": record(result.header),
        "headerHash": hexed(result.header_hash),
        "amountsWei": [str(amount) for amount in result.amounts_wei],
        "validatorOutcomes": {str(slot): str(what) for slot, what in result.validator_outcomes.items()},
        "aggregatedTop2": list(aggregated_slots(result, 2)),
    }


def settlement_vectors() -> dict[str, Any]:
    """Whole rounds."""
    return {
        "run": RUN,
        "validatorShareBps": SHARE_BPS,
        "reputation": record(REPUTATION),
        "cases": [settlement_case(*item) for item in rounds()],
    }


def challenge_case(case: int, inputs: SettlementInputs, previous: Settled | None) -> dict[str, Any]:
    """What is wrong with other settlements of a round, and every well-formed challenge of the right one."""
    result = settle(inputs)
    honest, facts = Settled(result.header, result.leaves), facts_of(inputs, previous)
    if find_faults(honest, facts):
        raise AssertionError("the honest settlement has a fault")
    return {
        "settlement": case,
        "honest": [hexed(calldata(function, values)) for function, values in probes(honest, facts)],
        "wrong": wrong_cases(case, honest, facts),
    }


def challenge_vectors() -> dict[str, Any]:
    """Challenges of some of the rounds in settlement.json."""
    wanted = {4, 5}
    return {
        "cases": [
            challenge_case(case, inputs, previous)
            for case, (_, inputs, previous) in enumerate(rounds())
            if case in wanted
        ]
    }
