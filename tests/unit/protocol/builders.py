"""Rounds and leaves for the protocol's tests."""

from __future__ import annotations

from dataclasses import dataclass

from eth_utils.address import to_checksum_address
from hypothesis import strategies as st

from emerit.protocol import minifloat
from emerit.protocol.consensus import Votes
from emerit.protocol.presets import preset
from emerit.protocol.settlement import SettlementInputs
from emerit.protocol.types import Leaf, RegistryEntry, Role

RUN = to_checksum_address("0x" + "ab" * 20)
SPEC = preset("demo").reputation

hashes = st.binary(min_size=32, max_size=32)
codes = st.one_of(st.just(minifloat.ABSTAIN), st.sampled_from([0, 1, 2, 4095]), st.integers(0, minifloat.MAX_CODE))


def address(number: int) -> str:
    return to_checksum_address((0x1000 + number).to_bytes(20, "big"))


def registry(roles: list[Role]) -> tuple[RegistryEntry, ...]:
    """Return entries in the order of joining; the operator differs from the account."""
    counts = dict.fromkeys((Role.TRAINER, Role.VALIDATOR), 0)
    entries = []
    for index, role in enumerate(roles):
        entries.append(RegistryEntry(index, address(index), address(10_000 + index), role, counts[role]))
        counts[role] += 1
    return tuple(entries)


def inputs_for(
    roles: list[Role],
    votes: Votes,
    previous: tuple[Leaf, ...] = (),
    budget_wei: int = 10**18,
    validator_share_bps: int = 2000,
) -> SettlementInputs:
    return SettlementInputs(
        run=RUN,
        round=3,
        previous_hash=bytes([1]) * 32,
        reveals_hash=bytes([2]) * 32,
        entries=registry(roles),
        votes=votes,
        previous_leaves=previous,
        budget_wei=budget_wei,
        validator_share_bps=validator_share_bps,
        state_root=bytes([3]) * 32,
        aggregate_hash=bytes([4]) * 32,
        reputation=SPEC,
    )


@dataclass(frozen=True)
class Plain:
    """A round whose vectors are written as plain weights; None abstains."""

    stakes: tuple[int, ...]
    weights: tuple[tuple[int | None, ...] | None, ...]
    base: tuple[int | None, ...] = ()
    silent: frozenset[int] = frozenset()

    def votes(self) -> Votes:
        trainers = max(len(row) for row in self.weights if row is not None)
        bases = self.base or (1_000_000,) * len(self.stakes)
        vectors = {
            v: (_code(bases[v]), 0, *(_code(weight) for weight in row))
            for v, row in enumerate(self.weights)
            if row is not None
        }
        return Votes(trainers, self.stakes, vectors, frozenset(range(trainers)) - self.silent)


def _code(value: int | None) -> int:
    return minifloat.ABSTAIN if value is None else minifloat.encode(value)


@st.composite
def some_votes(draw: st.DrawFn) -> Votes:
    trainers = draw(st.integers(0, 5))
    stakes = draw(st.lists(st.integers(0, 0xFFFF), min_size=0, max_size=6))
    vectors = {}
    for validator in range(len(stakes)):
        if draw(st.booleans()) or draw(st.booleans()):
            vectors[validator] = tuple(draw(codes) for _ in range(2 + trainers))
    revealed = draw(st.frozensets(st.sampled_from(range(trainers)))) if trainers else frozenset()
    return Votes(trainers, tuple(stakes), vectors, revealed)


@st.composite
def some_inputs(draw: st.DrawFn) -> SettlementInputs:
    """A round with any registry order, absences, newcomers and previous leaves."""
    votes = draw(some_votes())
    roles = [Role.TRAINER] * votes.trainer_slots + [Role.VALIDATOR] * len(votes.stake_lanes)
    roles = draw(st.permutations(roles)) if roles else []
    known = draw(st.integers(0, len(roles)))
    previous = tuple(
        Leaf(index, address(index), draw(st.integers(0, 10**24)), 0, draw(st.integers(0, 10**9)), bytes(32))
        for index in range(known)
    )
    budget_wei, share = draw(st.integers(0, 10**24)), draw(st.integers(0, 10_000))
    return inputs_for(list(roles), votes, previous, budget_wei, share)
