"""Rounds and leaves for the protocol's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eth_utils.address import to_checksum_address
from hypothesis import strategies as st

from emerit.protocol import minifloat
from emerit.protocol.challenges import Facts, Settled
from emerit.protocol.commitments import pack_vector
from emerit.protocol.consensus import Votes
from emerit.protocol.eip712 import header_hash
from emerit.protocol.presets import preset
from emerit.protocol.registry import Members
from emerit.protocol.reputation import reputation_params
from emerit.protocol.settlement import Settlement, SettlementInputs
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import ZERO_HASH, Body, Header, Leaf, LeafDetail, RegistryEntry, Role, Tree

RUN = to_checksum_address("0x" + "ab" * 20)
SPEC = reputation_params(preset("demo").reputation, 990_000_000)
ROUND = 3

hashes = st.binary(min_size=32, max_size=32)
codes = st.one_of(st.just(minifloat.ABSTAIN), st.sampled_from([0, 1, 2, 4095]), st.integers(0, minifloat.MAX_CODE))


def address(number: int) -> str:
    return to_checksum_address((0x1000 + number).to_bytes(20, "big"))


def registry(roles: Sequence[Role]) -> tuple[RegistryEntry, ...]:
    """Return entries in the order of joining; the operator differs from the account."""
    counts = dict.fromkeys((Role.TRAINER, Role.VALIDATOR), 0)
    entries = []
    for index, role in enumerate(roles):
        entries.append(RegistryEntry(index, address(index), address(10_000 + index), role, counts[role]))
        counts[role] += 1
    return tuple(entries)


def members_of(roles: Sequence[Role], stakes: Sequence[int]) -> Members:
    """Return members of whom nobody ever left; every validator has a seat."""
    entries = registry(roles)
    seats = tuple(entry.index for entry in entries if entry.role == Role.VALIDATOR)
    trainers = sum(1 for entry in entries if entry.role == Role.TRAINER)
    return Members(ROUND, entries, trainers, tuple(stakes), seats)


def leaf(
    index: int,
    cumulative_amount_wei: int = 0,
    weight: int = 0,
    reputation: int = 0,
    row: bytes = ZERO_HASH,
    weight_before: int = 0,
    amount_before_wei: int = 0,
) -> Leaf:
    detail = LeafDetail(weight, reputation, row, weight_before, amount_before_wei)
    return Leaf(index, address(index), cumulative_amount_wei, detail)


def header_of(leaves: Sequence[Leaf], total_weight: int = 0, total_amount_wei: int = 0) -> Header:
    body = Body(RUN, 0, 0, ZERO_HASH, ZERO_HASH, 0, ZERO_HASH, ZERO_HASH)
    return Header(body, Tree(SettlementTree(leaves).root, total_weight, total_amount_wei, len(leaves)))


def settled_of(leaves: Sequence[Leaf]) -> Settled | None:
    """Return leaves as what an earlier round settled, None where there are none."""
    return Settled(header_of(leaves), tuple(leaves)) if leaves else None


def inputs_of(
    members: Members,
    vectors: Mapping[int, tuple[int, ...]],
    previous: Sequence[Leaf] = (),
    budget_wei: int = 10**18,
    validator_share_bps: int = 2000,
) -> SettlementInputs:
    before = settled_of(previous)
    return SettlementInputs(
        run=RUN,
        round=members.round,
        attempt=0,
        previous_hash=header_hash(before.header) if before else ZERO_HASH,
        reveals_hash=bytes([2]) * 32,
        members=members,
        vectors=vectors,
        previous_leaves=tuple(previous),
        budget_wei=budget_wei,
        validator_share_bps=validator_share_bps,
        state_root=bytes([3]) * 32,
        aggregate_hash=bytes([4]) * 32,
        reputation=SPEC,
    )


def inputs_for(
    roles: Sequence[Role],
    votes: Votes,
    previous: Sequence[Leaf] = (),
    budget_wei: int = 10**18,
    validator_share_bps: int = 2000,
) -> SettlementInputs:
    members = members_of(roles, votes.stake_lanes)
    return inputs_of(members, votes.vectors, previous, budget_wei, validator_share_bps)


def facts_of(inputs: SettlementInputs) -> Facts:
    """Return what the contract knows of a round whose settlement has these inputs."""
    return Facts(
        members=inputs.members,
        vectors={slot: pack_vector(codes) for slot, codes in inputs.vectors.items()},
        validator_share_bps=inputs.validator_share_bps,
        reputation=inputs.reputation,
        previous=settled_of(inputs.previous_leaves),
    )


def settled(result: Settlement) -> Settled:
    return Settled(result.header, result.leaves)


@dataclass(frozen=True)
class Plain:
    """A round whose vectors are written as plain weights; None abstains."""

    stakes: tuple[int, ...]
    weights: tuple[tuple[int | None, ...] | None, ...]
    base: tuple[int | None, ...] = ()

    def votes(self) -> Votes:
        trainers = max(len(row) for row in self.weights if row is not None)
        bases = self.base or (1_000_000,) * len(self.stakes)
        vectors = {
            v: (_code(bases[v]), 0, *(_code(weight) for weight in row))
            for v, row in enumerate(self.weights)
            if row is not None
        }
        return Votes(trainers, self.stakes, vectors, frozenset(range(trainers)))


def _code(value: int | None) -> int:
    return minifloat.ABSTAIN if value is None else minifloat.encode(value)


@st.composite
def some_votes(draw: st.DrawFn) -> Votes:
    trainers = draw(st.integers(0, 5))
    stakes = draw(st.lists(st.integers(0, 0xFFFF), min_size=0, max_size=6))
    vectors = draw(some_vectors(trainers, len(stakes)))
    occupied = draw(st.frozensets(st.sampled_from(range(trainers)))) if trainers else frozenset()
    return Votes(trainers, tuple(stakes), vectors, occupied)


@st.composite
def some_vectors(draw: st.DrawFn, trainers: int, validators: int) -> dict[int, tuple[int, ...]]:
    """Vectors in which validators often agree, so that there are quorums and medians worth the name."""
    usual = [draw(codes) for _ in range(2 + trainers)]
    vectors = {}
    for validator in range(validators):
        if draw(st.integers(0, 3)):
            vectors[validator] = tuple(draw(codes) if draw(st.integers(0, 4)) == 0 else code for code in usual)
    return vectors


@st.composite
def some_members(draw: st.DrawFn) -> Members:
    """A registry with any order of joining, members that left, slots used again and seats handed over."""
    slots: dict[Role, list[int]] = {Role.TRAINER: [], Role.VALIDATOR: []}
    entries: list[RegistryEntry] = []
    seats = [0] * 16
    stakes = [0] * 16
    for index in range(draw(st.integers(1, 9))):
        role = draw(st.sampled_from([Role.TRAINER, Role.VALIDATOR]))
        active = draw(st.integers(0, 3)) > 0
        free = [slot for slot in range(6) if slot not in slots[role]]
        if not active or not free:
            slot = draw(st.integers(0, 5))
            span = (0, draw(st.integers(0, ROUND)))
        else:
            slot = draw(st.sampled_from(free[:2]))
            slots[role].append(slot)
            span = (draw(st.integers(0, ROUND)), draw(st.sampled_from([ROUND + 1, (1 << 32) - 1])))
            if role == Role.VALIDATOR:
                seats[slot], stakes[slot] = index, draw(st.sampled_from([0, 1, 10, 11, 0xFFFF]))
        entries.append(RegistryEntry(index, address(index), address(10_000 + index), role, slot, *span))
    highest = max((entry.slot for entry in entries if entry.role == Role.TRAINER), default=-1)
    return Members(ROUND, tuple(entries), highest + 1, tuple(stakes), tuple(seats))


@st.composite
def some_inputs(draw: st.DrawFn) -> SettlementInputs:
    """A round with any registry, absences, newcomers and previous leaves."""
    members = draw(some_members())
    vectors = draw(some_vectors(members.trainer_slots, 6))
    known = draw(st.integers(0, len(members.entries)))
    previous = [
        leaf(index, draw(st.integers(0, 10**24)), 0, draw(st.integers(0, 10**9)), draw(hashes))
        for index in range(known)
    ]
    budget_wei, share = draw(st.integers(0, 10**24)), draw(st.integers(0, 10_000))
    return inputs_of(members, vectors, previous, budget_wei, share)
