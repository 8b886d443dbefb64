"""A round's settlement: who earned what, everybody's reputation, and the header that validators sign.

`settle` is a pure function of what is on chain (and of blobs whose hashes are on chain), in integers only. It
reads as the specification:

1. **Registry.** One leaf for each entry of the snapshot taken when the round opened, in index order, trainers
   and validators alike. Who joined later has no leaf yet; who left keeps the leaf.
2. **Consensus.** Weights by `emerit.protocol.consensus`. W is the sum of payable weights (those above 1).
3. **Pay.** If W = 0 nobody is paid and the budget stays in the pool. Otherwise trainers share
   budget * (10000 - share) // 10000 in proportion to payable weight; of budget * share // 10000 each validator
   gets its part by stake if it did its work (`validator_outcome`). The parts of validators who did not,
   and what divisions drop, stay in the pool.
4. **Leaves.** cumulative = previous cumulative + this round's amount; entries without a previous leaf start
   at amount 0 and reputation 0. Reputation by `emerit.protocol.reputation`.
5. **Tree and header.** `emerit.protocol.merkle`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.commitments import header_hash
from emerit.protocol.consensus import Consensus, Votes, reach_consensus
from emerit.protocol.manifest import ReputationSpec
from emerit.protocol.merkle import MerkleSumTree, payable
from emerit.protocol.registry import check_registry, of_role
from emerit.protocol.reputation import Vote, next_reputation, trainer_visits, validator_visits
from emerit.protocol.types import BASE_LANE, ZERO_HASH, Header, Leaf, RegistryEntry, Role, pack_lanes

BPS: Final = 10_000
BASE_TOLERANCE_SHIFT: Final = 10


class ValidatorOutcome(StrEnum):
    """Why a validator is paid for a round, or is not."""

    PAID = "paid"
    NOTHING_EARNED = "nothing-earned"
    NO_STAKE = "no-stake"
    NO_REVEAL = "no-reveal"
    BASE_LOSS_MISSING = "base-loss-missing"
    BASE_LOSS_OFF = "base-loss-off"
    NOT_COVERED = "not-covered"


@dataclass(frozen=True)
class SettlementInputs:
    """Everything that a settlement depends on.

    Attributes:
        run: Address of the run.
        round: Round number.
        previous_hash: Hash of the last settled header, zero before the first.
        reveals_hash: The contract's hash of all reveals of the round.
        entries: The snapshot (`registry.registry_snapshot`), entry i with index i.
        votes: What was revealed, with the snapshot's stakes.
        previous_leaves: Leaves of the last settled header; empty before the first, never longer than `entries`.
        budget_wei: `budgetOf(round)`.
        validator_share_bps: The validators' part of the budget, of 10,000.
        state_root: Root of the state after this round's aggregate.
        aggregate_hash: SHA-256 of the canonical aggregate.
        reputation: The manifest's reputation parameters.
        attempt: 0 in this version.
    """

    run: str
    round: int
    previous_hash: bytes
    reveals_hash: bytes
    entries: tuple[RegistryEntry, ...]
    votes: Votes
    previous_leaves: tuple[Leaf, ...]
    budget_wei: int
    validator_share_bps: int
    state_root: bytes
    aggregate_hash: bytes
    reputation: ReputationSpec
    attempt: int = 0

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            StateError: `registry-inconsistent` or `settlement-inconsistent`.
        """
        check_registry(self.entries)
        if len(of_role(self.entries, Role.TRAINER)) != self.votes.trainer_slots:
            raise _inconsistent("the votes have not one lane per trainer of the snapshot")
        if len(of_role(self.entries, Role.VALIDATOR)) != len(self.votes.stake_lanes):
            raise _inconsistent("there is not one stake per validator of the snapshot")
        if len(self.previous_leaves) > len(self.entries):
            raise _inconsistent("the last settlement has more leaves than the snapshot")
        for leaf, entry in zip(self.previous_leaves, self.entries, strict=False):
            if (leaf.index, leaf.account) != (entry.index, entry.account):
                raise _inconsistent(f"the previous leaf {leaf.index} is not that of entry {entry.index}")
        if not 0 <= self.validator_share_bps <= BPS or self.budget_wei < 0:
            raise _inconsistent("the budget or the validators' share is out of range")


@dataclass(frozen=True)
class Settlement:
    """The result of `settle`.

    Attributes:
        header: What is signed.
        leaves: One per entry of the snapshot, in index order.
        tree: The tree over the leaves; `tree.proof(index)` proves a leaf.
        consensus: Consensus weights by trainer slot.
        amounts_wei: What each entry earned in this round, by index.
        validator_outcomes: Why each validator slot is paid or not.
    """

    header: Header
    leaves: tuple[Leaf, ...]
    tree: MerkleSumTree
    consensus: Consensus
    amounts_wei: tuple[int, ...]
    validator_outcomes: tuple[ValidatorOutcome, ...]

    @property
    def weights(self) -> tuple[int, ...]:
        """Consensus weight of each trainer slot."""
        return self.consensus.weights

    @property
    def header_hash(self) -> bytes:
        """The hash of the header, 32 bytes."""
        return header_hash(self.header)


def settle(inputs: SettlementInputs) -> Settlement:
    """Return the one settlement that follows from the inputs.

    Raises:
        RefusedError: `value-invalid`, when a sum does not fit its type on chain.
    """
    consensus = reach_consensus(inputs.votes)
    outcomes = tuple(validator_outcome(inputs.votes, consensus, slot) for slot in range(len(inputs.votes.stake_lanes)))
    amounts = tuple(_amount_wei(inputs, consensus, outcomes, entry) for entry in inputs.entries)
    leaves = tuple(_leaf(inputs, consensus, amounts[entry.index], entry) for entry in inputs.entries)
    tree = MerkleSumTree(leaves)
    header = Header(
        run=inputs.run,
        round=inputs.round,
        attempt=inputs.attempt,
        previous=inputs.previous_hash,
        reveals=inputs.reveals_hash,
        root=tree.root.hash,
        total_weight=tree.root.weight,
        total_amount_wei=tree.root.amount_wei,
        leaf_count=len(leaves),
        budget_wei=inputs.budget_wei,
        state_root=inputs.state_root,
        aggregate_hash=inputs.aggregate_hash,
    )
    return Settlement(header, leaves, tree, consensus, amounts, outcomes)


def validator_outcome(votes: Votes, consensus: Consensus, slot: int) -> ValidatorOutcome:
    """Return whether a validator slot is paid, and if not the first reason.

    It has stake, revealed its vector, gave a base loss within base >> 10, plus 1, of the median `base` (in
    loss units, decoded), and abstained on no trainer slot that two thirds of the stake voted on.
    """
    if votes.stake_lanes[slot] == 0:
        return ValidatorOutcome.NO_STAKE
    if slot not in votes.vectors:
        return ValidatorOutcome.NO_REVEAL
    base_code = votes.lane(slot, BASE_LANE)
    if base_code == minifloat.ABSTAIN or consensus.base_loss is None:
        return ValidatorOutcome.BASE_LOSS_MISSING
    tolerance = (consensus.base_loss >> BASE_TOLERANCE_SHIFT) + 1
    if abs(minifloat.decode(base_code) - consensus.base_loss) > tolerance:
        return ValidatorOutcome.BASE_LOSS_OFF
    for trainer_slot, covered in enumerate(consensus.covered):
        if covered and votes.row(trainer_slot)[slot] == minifloat.ABSTAIN:
            return ValidatorOutcome.NOT_COVERED
    return ValidatorOutcome.PAID if consensus.total_weight else ValidatorOutcome.NOTHING_EARNED


def _amount_wei(
    inputs: SettlementInputs,
    consensus: Consensus,
    outcomes: tuple[ValidatorOutcome, ...],
    entry: RegistryEntry,
) -> int:
    if consensus.total_weight == 0:
        return 0
    if entry.role == Role.TRAINER:
        pot = inputs.budget_wei * (BPS - inputs.validator_share_bps) // BPS
        return pot * payable(consensus.weights[entry.slot]) // consensus.total_weight
    if outcomes[entry.slot] != ValidatorOutcome.PAID:
        return 0
    pot = inputs.budget_wei * inputs.validator_share_bps // BPS
    return pot * inputs.votes.stake_lanes[entry.slot] // inputs.votes.total_stake


def _leaf(inputs: SettlementInputs, consensus: Consensus, amount_wei: int, entry: RegistryEntry) -> Leaf:
    cumulative_wei, reputation = _before(inputs, entry.index)
    is_trainer = entry.role == Role.TRAINER
    visits = _trainer_visits(inputs, consensus, entry) if is_trainer else _validator_visits(inputs, entry)
    row = pack_lanes(inputs.votes.row(entry.slot), fill=minifloat.ABSTAIN) if is_trainer else ZERO_HASH
    return Leaf(
        index=entry.index,
        account=entry.account,
        cumulative_amount_wei=cumulative_wei + amount_wei,
        weight=consensus.weights[entry.slot] if is_trainer else 0,
        reputation=next_reputation(reputation, visits, inputs.reputation),
        row=row,
    )


def _before(inputs: SettlementInputs, index: int) -> tuple[int, int]:
    """Return an entry's cumulative amount and reputation before this round."""
    if index >= len(inputs.previous_leaves):
        return 0, 0
    leaf = inputs.previous_leaves[index]
    return leaf.cumulative_amount_wei, leaf.reputation


def _trainer_visits(inputs: SettlementInputs, consensus: Consensus, entry: RegistryEntry) -> int:
    stakes = inputs.votes.stake_lanes
    votes = [
        Vote(stake, minifloat.decode(code))
        for code, stake in zip(inputs.votes.row(entry.slot), stakes, strict=True)
        if code != minifloat.ABSTAIN
    ]
    staked = sum(1 for stake in stakes if stake > 0)
    weight = consensus.weights[entry.slot]
    return trainer_visits(votes, weight, consensus.total_weight, staked, inputs.reputation)


def _validator_visits(inputs: SettlementInputs, entry: RegistryEntry) -> int:
    stake = inputs.votes.stake_lanes[entry.slot]
    revealed = entry.slot in inputs.votes.vectors
    return validator_visits(stake, inputs.votes.total_stake, revealed, inputs.reputation)


def _inconsistent(what: str) -> StateError:
    return StateError(
        "settlement-inconsistent",
        f"The settlement's inputs do not fit together: {what}.",
        "Read the round again from the chain.",
    )
