"""A run on the model of the contracts, played by members that do what the protocol says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eth_utils.crypto import keccak

from emerit.protocol import minifloat
from emerit.protocol.challenges import Facts, Settled
from emerit.protocol.commitments import contribution_commitment, pack_vector, weights_commitment
from emerit.protocol.run_model import World
from emerit.protocol.settlement import Settlement, SettlementInputs, settle
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import ZERO_ADDRESS, Fault, Header, Leaf, Phase, Role, RunParams
from tests.unit.protocol.builders import RUN, SPEC, address

SALT = bytes(32)
HASH = bytes(range(32))
SPONSOR = address(500)
FUNDS_WEI = 10**12
PARAMS = RunParams(
    reward_token=ZERO_ADDRESS,
    manifest_hash=HASH,
    manifest_cid="Qm",
    initial_state_root=HASH,
    train_seconds=100,
    reveal_seconds=50,
    draw_delay_seconds=2,
    score_seconds=60,
    weight_reveal_seconds=40,
    settle_seconds=80,
    min_round_seconds=0,
    nominal_round_seconds=200,
    challenge_window_seconds=1000,
    answer_seconds=30,
    claim_period_seconds=10_000,
    max_rounds=0,
    history_rounds=16,
    epoch_rounds=2,
    min_trainers=1,
    min_validators=1,
    validator_share_bps=2000,
    slash_rounds=2,
    reward_rate_wei_per_second=1000,
    min_trainer_bond_wei=500,
    min_validator_stake_wei=1000,
    stake_unit_wei=100,
    miss_fine_wei=50,
    demand_bond_wei=64,
    reputation=SPEC,
)


class Play:
    """A world with one run. Accounts are numbers: `address(n)` owns, `address(1000 + n)` acts."""

    def __init__(self, trainers: int = 3, stakes_wei: Sequence[int] = (4000, 4000, 4000), **change: int) -> None:
        """Join everybody and fund the run; it has not started."""
        self.set_up(replace(PARAMS, **change))
        self.settled: dict[int, Settled] = {}
        self.vectors: dict[int, dict[int, tuple[int, ...]]] = {}
        for number in range(trainers):
            self.join(number, Role.TRAINER, 1000)
        for number, stake_wei in enumerate(stakes_wei):
            self.join(100 + number, Role.VALIDATOR, stake_wei)
        self.mint(SPONSOR, FUNDS_WEI)
        self.world.rewards.fund(SPONSOR, self.run, FUNDS_WEI)

    def set_up(self, params: RunParams) -> None:
        """Make the world and its run; a differential test has its own."""
        self.world = World(unbonding_seconds=5000, now=1_000_000)
        self.run = self.world.create_run(RUN, SPONSOR, params)

    def mint(self, account: str, amount_wei: int) -> None:
        """Give an account tokens."""
        self.world.token.wei[account] += amount_wei

    def operator(self, number: int) -> str:
        """Return the key that acts for an account."""
        return address(1000 + number)

    # Members

    def join(self, number: int, role: Role, stake_wei: int) -> int:
        """Give an account a stake and let it join."""
        self.mint(address(number), stake_wei)
        return self.world.stakes.join(address(number), self.run, role, self.operator(number), stake_wei)

    def operators(self, role: Role) -> list[str]:
        """Return who acts in the open round, in the order of slots."""
        members = self.run.members_in(self.run.memory.round)
        if role == Role.TRAINER:
            return [entry.operator for entry in members.active_trainers()]
        seated = [members.validator_in(slot) for slot in range(16)]
        return [entry.operator for entry in seated if entry is not None]

    # A round

    def commitment(self, operator: str) -> bytes:
        run, slot = self.run, self.run.members[operator].slot
        return contribution_commitment(self.world.chain_id, run.address, run.memory.round, slot, HASH, "Qm", SALT)

    def reveal(self, operator: str) -> None:
        self.run.reveal(self.run.memory.round, operator, HASH, "Qm", SALT)

    def until(self, phase: Phase) -> None:
        """Let time pass until the phase; draws on the way."""
        for _ in range(12):
            have, ends_at = self.run.phase()
            if have == phase:
                return
            self.world.wait(max(0, ends_at - self.world.now))
            if have == Phase.DRAW:
                self.run.draw(self.run.memory.round)
        raise AssertionError(f"never in {phase.name}")

    def contribute(self, operators: Sequence[str] | None = None, silent: Sequence[str] = ()) -> None:
        """Let trainers commit and reveal; those in `silent` only commit.

        Those who are waited for come last, or the phase would end before the others.
        """
        acting = list(self.operators(Role.TRAINER) if operators is None else operators)
        number = self.run.memory.round
        for operator in sorted(acting, key=lambda operator: self.run.members[operator].expected_in == number + 1):
            self.run.commit(operator, self.run.memory.round, self.commitment(operator))
        if acting:
            self.until(Phase.REVEAL)
        for operator in acting:
            if operator not in silent:
                self.reveal(operator)

    def codes(self, slot: int) -> tuple[int, ...]:
        """Return an honest vector: trainer slot s is worth 1000 * (s + 1)."""
        slots = self.run.open_round().trainer_slots
        return (minifloat.encode(3000), 0, *(minifloat.encode(1000 * (s + 1)) for s in range(slots)))

    def weigh(self, codes: Mapping[str, tuple[int, ...]] | None = None, silent: Sequence[str] = ()) -> None:
        """Let validators commit to weights and reveal them; those in `silent` only commit."""
        run, number = self.run, self.run.memory.round
        self.until(Phase.SCORE)
        chosen = {}
        waited_for = run.open_round().expected_validator_mask
        order = [
            (waited_for >> run.members[operator].slot & 1, operator) for operator in self.operators(Role.VALIDATOR)
        ]
        for _, operator in sorted(order):
            slot = run.members[operator].slot
            chosen[operator] = (codes or {}).get(operator) or self.codes(slot)
            vector = pack_vector(chosen[operator])
            binding = (self.world.chain_id, run.address, number, slot, vector, HASH, "Qe", SALT)
            run.commit_weights(operator, number, weights_commitment(*binding))
        self.until(Phase.WEIGHT_REVEAL)
        self.vectors[number] = {}
        for operator, values in chosen.items():
            if operator not in silent:
                run.reveal_weights(operator, number, pack_vector(values), HASH, "Qe", SALT)
                self.vectors[number][run.members[operator].slot] = values

    # Settling

    def inputs(self, number: int) -> SettlementInputs:
        """Return what the round's settlement follows from, if it is settled next."""
        run, found = self.run, self.run.round(number)
        head = run.memory.paid_plus_one
        return SettlementInputs(
            run=run.address,
            round=number,
            attempt=found.attempt + (1 if found.header_hash != bytes(32) else 0),
            previous_hash=run.head_hash(),
            reveals_hash=found.reveals_hash,
            members=run.members_in(number),
            vectors=self.vectors.get(number, {}),
            previous_leaves=self.settled[head - 1].leaves if head else (),
            budget_wei=run.budget_of(number),
            validator_share_bps=run.params.validator_share_bps,
            state_root=keccak(b"state %d" % number),
            aggregate_hash=HASH,
            reputation=SPEC,
        )

    def facts(self, number: int) -> Facts:
        """Return what the contract knows of the round, with the header before it in the pay chain."""
        before = self.run.round(number).previous_paid
        vectors = {slot: pack_vector(codes) for slot, codes in self.vectors.get(number, {}).items()}
        previous = self.settled[before - 1] if before else None
        return Facts(self.run.members_in(number), vectors, self.run.params.validator_share_bps, SPEC, previous)

    def honest(self, number: int) -> Settlement:
        return settle(self.inputs(number))

    def settle(self, number: int, result: Settled | None = None, signers: Sequence[str] | None = None) -> Settled:
        """Settle a round by signatures of all validators; with the honest result unless another is given."""
        if self.run.memory.round == number and not self.run.finished:
            self.until(Phase.SETTLE)
            self.world.now = max(self.world.now, self.run.open_round().settleable_at(self.run.params))
        if result is None:
            honest = self.honest(number)
            result = Settled(honest.header, honest.leaves)
        self.run.settle_signed(result.header, "Qa", self.operators(Role.VALIDATOR) if signers is None else signers)
        self.settled[number] = result
        return result

    def play(self, rounds: int = 1) -> None:
        """Play whole rounds in which everybody does everything."""
        for _ in range(rounds):
            self.contribute()
            self.weigh()
            self.settle(self.run.memory.round)

    def wrong(self, number: int, index: int = 0, more_wei: int = 1) -> Settled:
        """Return a settlement that gives one leaf what the last one earned, with sums that fit."""
        honest = self.honest(number)
        leaves: list[Leaf] = list(honest.leaves)
        last = len(leaves) - 1
        for at in (index, last):
            wei = leaves[at].cumulative_amount_wei + (more_wei if at == index else -more_wei)
            leaves[at] = replace(leaves[at], cumulative_amount_wei=wei)
        for at in range(index + 1, last + 1):
            leaves[at] = detailed(leaves[at], amount_before_wei=leaves[at].detail.amount_before_wei + more_wei)
        return with_leaves(honest.header, leaves)

    def otherwise_wrong(self, number: int, index: int, fault: Fault) -> Settled:
        """Return a settlement in which one leaf has one thing changed, so that there is this fault."""
        honest = self.honest(number)
        leaves: list[Leaf] = list(honest.leaves)
        leaf, detail = leaves[index], leaves[index].detail
        leaves[index] = {
            Fault.IDENTITY: replace(leaf, account=address(9999)),
            Fault.ROW: detailed(leaf, row=detail.row[:-1] + bytes([detail.row[-1] ^ 1])),
            Fault.WEIGHT: detailed(leaf, weight=detail.weight ^ 1),
            Fault.REPUTATION: detailed(leaf, reputation=detail.reputation + 1),
            Fault.SUM: detailed(leaf, weight_before=detail.weight_before + 1),
        }[fault]
        return with_leaves(honest.header, leaves)


def detailed(leaf: Leaf, **change: Any) -> Leaf:
    """Return a leaf with fields of its detail changed."""
    return replace(leaf, detail=replace(leaf.detail, **change))


def with_leaves(header: Header, leaves: Sequence[Leaf]) -> Settled:
    """Return a header with the root over these leaves."""
    tree = replace(header.tree, root=SettlementTree(leaves).root)
    return Settled(replace(header, tree=tree), tuple(leaves))
