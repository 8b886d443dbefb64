"""A round's settlement: who earned what, everybody's reputation, and the header that validators sign.

`settle` is a pure function of what is on chain (and of blobs whose hashes are on chain), in integers only. It
reads as the specification:

1. **Registry.** One leaf for each entry that was there when the round opened, in index order, trainers and
   validators alike. Who joined later has no leaf yet; who left keeps the leaf.
2. **Rows.** An active trainer's row has the code of every validator for its slot; a validator's, if it has a seat
   in the round's epoch, the base-loss code of every validator. Everybody else's row is all ABSTAIN.
3. **Consensus.** A trainer's weight follows from its row (`emerit.protocol.consensus`). W is the sum of payable
   weights (those above 1). A validator's weight field is 0 if it voted on every trainer whose row has a quorum, else
   1 + the index of the first one on which it did not; it earns nothing by itself.
4. **Pay.** If W = 0 nobody is paid and the budget stays in the pool. Otherwise trainers share
   budget * (10000 - share) // 10000 in proportion to payable weight; of budget * share // 10000 each validator
   gets its part by stake if it did its work (`validator_outcome`). The parts of validators who did not,
   and what divisions drop, stay in the pool.
5. **Leaves.** cumulative = previous cumulative + this round's amount; entries without a previous leaf start
   at amount 0 and reputation 0. Reputation by `emerit.protocol.reputation`. Running totals in index order.
6. **Tree and header.** `emerit.protocol.settlement_tree`, `emerit.protocol.eip712`.

Each leaf's weight, amount and reputation follow from its own row, its last leaf, the total weight and what the
chain knows: `weight_of`, `amount_of`, `reputation_of` are the rules that a challenge checks, one leaf at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.consensus import NOBODY, Consensus, Votes, has_quorum, reach_consensus, row_median, row_weight
from emerit.protocol.eip712 import header_hash
from emerit.protocol.registry import Members, of_role
from emerit.protocol.reputation import Vote, next_reputation, trainer_visits, validator_visits
from emerit.protocol.settlement_tree import SettlementTree, payable
from emerit.protocol.types import (
    Body,
    Header,
    Leaf,
    LeafDetail,
    RegistryEntry,
    ReputationParams,
    Role,
    Tree,
    pack_lanes,
)

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
class Rules:
    """What amounts and reputations depend on besides a leaf's own row and its last leaf.

    Attributes:
        members: Who takes part in the round.
        budget_wei: What the round may pay.
        validator_share_bps: The validators' part of the budget, of 10,000.
        reputation: The run's parameters.
    """

    members: Members
    budget_wei: int
    validator_share_bps: int
    reputation: ReputationParams


@dataclass(frozen=True)
class SettlementInputs:
    """Everything that a settlement depends on.

    Attributes:
        run: Address of the run.
        round: Round number.
        attempt: How many headers of this round have been found wrong.
        previous_hash: Hash of the header before it in the pay chain, zero before the first.
        reveals_hash: The contract's hash of all reveals of the round.
        members: Who was in the run when the round opened, and who takes part.
        vectors: Validator slot -> its 2 + trainer_slots codes, for those who revealed.
        previous_leaves: Leaves of the header before; empty before the first, never more than there are entries. What
            stands for an entry is the leaf with its index, even under a wrong account that nobody challenged: the
            sum of all amounts must not fall.
        budget_wei: `budgetOf(round)`.
        validator_share_bps: The validators' part of the budget, of 10,000.
        state_root: Root of the state after this round's aggregate.
        aggregate_hash: SHA-256 of the canonical aggregate.
        reputation: The run's reputation parameters.
    """

    run: str
    round: int
    attempt: int
    previous_hash: bytes
    reveals_hash: bytes
    members: Members
    vectors: Mapping[int, tuple[int, ...]]
    previous_leaves: tuple[Leaf, ...]
    budget_wei: int
    validator_share_bps: int
    state_root: bytes
    aggregate_hash: bytes
    reputation: ReputationParams

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            StateError: `settlement-inconsistent`, or `votes-inconsistent` for vectors that do not fit the members.
        """
        entries = self.members.entries
        if self.members.round != self.round:
            raise _inconsistent(f"the members are those of round {self.members.round}, not of {self.round}")
        if len(self.previous_leaves) > len(entries):
            raise _inconsistent("the last settlement has more leaves than the registry had entries")
        for place, leaf in enumerate(self.previous_leaves):
            if leaf.index != place:
                raise _inconsistent(f"the previous leaf at position {place} has index {leaf.index}")
        if not 0 <= self.validator_share_bps <= BPS or self.budget_wei < 0:
            raise _inconsistent("the budget or the validators' share is out of range")
        _ = self.votes

    @property
    def votes(self) -> Votes:
        """The vectors with the stake that stands behind them."""
        members = self.members
        return Votes(members.trainer_slots, members.stake_lanes, self.vectors, members.occupied)

    @property
    def rules(self) -> Rules:
        """What amounts and reputations depend on besides the leaves."""
        return Rules(self.members, self.budget_wei, self.validator_share_bps, self.reputation)


@dataclass(frozen=True)
class Settlement:
    """The result of `settle`.

    Attributes:
        header: What is signed.
        leaves: One per entry of the registry, in index order.
        tree: The tree over the leaves; `tree.proof(index)` proves a leaf.
        consensus: Consensus weights by trainer slot.
        amounts_wei: What each entry earned in this round, by index.
        validator_outcomes: Why each validator with a seat in the round's epoch is paid or not, by its slot.
    """

    header: Header
    leaves: tuple[Leaf, ...]
    tree: SettlementTree
    consensus: Consensus
    amounts_wei: tuple[int, ...]
    validator_outcomes: Mapping[int, ValidatorOutcome]

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
    votes, rules, entries = inputs.votes, inputs.rules, inputs.members.entries
    consensus = reach_consensus(votes)
    rows = [row_of(inputs.members, votes, entry) for entry in entries]
    quorate = [e.index for e in of_role(entries, Role.TRAINER) if has_quorum(rows[e.index], votes.stake_lanes)]
    weights = [weight_of(inputs.members, entry, rows, quorate) for entry in entries]
    total = consensus.total_weight
    amounts = [amount_of(rules, entry, rows[entry.index], weights[entry.index], total) for entry in entries]
    leaves = []
    weight_before = amount_before_wei = 0
    for entry, row, weight, amount_wei in zip(entries, rows, weights, amounts, strict=True):
        previous = inputs.previous_leaves[entry.index] if entry.index < len(inputs.previous_leaves) else None
        reputation = reputation_of(rules, entry, row, weight, total, previous.detail.reputation if previous else 0)
        cumulative_wei = amount_wei + (previous.cumulative_amount_wei if previous else 0)
        detail = LeafDetail(weight, reputation, pack_lanes(row), weight_before, amount_before_wei)
        leaves.append(Leaf(entry.index, entry.account, cumulative_wei, detail))
        weight_before += payable_of(entry, weight)
        amount_before_wei += cumulative_wei
    tree = SettlementTree(leaves)
    outcomes = {
        slot: validator_outcome(rules, entries[seat], rows[seat], weights[seat], total, slot in votes.vectors)
        for slot, seat in enumerate(inputs.members.seats)
        if inputs.members.stake_lanes[slot]
    }
    header = Header(_body(inputs), Tree(tree.root, weight_before, amount_before_wei, len(leaves)))
    return Settlement(header, tuple(leaves), tree, consensus, tuple(amounts), outcomes)


def _body(inputs: SettlementInputs) -> Body:
    return Body(
        run=inputs.run,
        round=inputs.round,
        attempt=inputs.attempt,
        previous=inputs.previous_hash,
        reveals=inputs.reveals_hash,
        budget_wei=inputs.budget_wei,
        state_root=inputs.state_root,
        aggregate_hash=inputs.aggregate_hash,
    )


def row_of(members: Members, votes: Votes, entry: RegistryEntry) -> tuple[int, ...]:
    """Return the 16 codes in an entry's leaf; step 2 of the module's text."""
    if members.is_active_trainer(entry):
        return votes.row(entry.slot)
    return votes.base_row() if members.seat_of(entry) is not None else NOBODY


def weight_of(members: Members, entry: RegistryEntry, rows: Sequence[Sequence[int]], quorate: Sequence[int]) -> int:
    """Return the weight field of an entry's leaf; step 3 of the module's text.

    `rows` are those of all leaves by index, `quorate` the indices of the trainers whose row has a quorum, ascending.
    A validator without a seat in the round's epoch voted on nobody, whoever has its slot then.
    """
    if entry.role == Role.TRAINER:
        return row_weight(rows[entry.index], members.stake_lanes)
    seat = members.seat_of(entry)
    missed = (index for index in quorate if seat is None or rows[index][seat] == minifloat.ABSTAIN)
    return 1 + next(missed, -1)


def payable_of(entry: RegistryEntry, weight: int) -> int:
    """Return what an entry's weight field adds to the total: a trainer's payable weight, nothing for others."""
    return payable(weight) if entry.role == Role.TRAINER else 0


def amount_of(rules: Rules, entry: RegistryEntry, row: Sequence[int], weight: int, total_weight: int) -> int:
    """Return what an entry earns in the round, in wei, from its own row and weight field; step 4 of the text."""
    if total_weight == 0:
        return 0
    if entry.role == Role.TRAINER:
        pot = rules.budget_wei * (BPS - rules.validator_share_bps) // BPS
        return pot * payable(weight) // total_weight
    if validator_outcome(rules, entry, row, weight, total_weight) != ValidatorOutcome.PAID:
        return 0
    lanes = rules.members.stake_lanes
    pot = rules.budget_wei * rules.validator_share_bps // BPS
    return pot * lanes[entry.slot] // sum(lanes)


def validator_outcome(
    rules: Rules,
    entry: RegistryEntry,
    row: Sequence[int],
    weight: int,
    total_weight: int,
    revealed: bool = True,
) -> ValidatorOutcome:
    """Return whether a validator is paid, and if not the first reason.

    It has a seat with stake in the round's epoch, gave a base loss within base >> 10, plus 1, of the median `base`
    (in loss units, decoded), and its weight field is 0: it voted on every trainer that had a quorum. `revealed`
    only tells two reasons apart: without a vector there is no base loss.
    """
    seat = rules.members.seat_of(entry)
    if seat is None:
        return ValidatorOutcome.NO_STAKE
    base = row_median(row, rules.members.stake_lanes)
    if row[seat] == minifloat.ABSTAIN or base is None:
        return ValidatorOutcome.BASE_LOSS_MISSING if revealed else ValidatorOutcome.NO_REVEAL
    if abs(minifloat.decode(row[seat]) - base) > (base >> BASE_TOLERANCE_SHIFT) + 1:
        return ValidatorOutcome.BASE_LOSS_OFF
    if weight != 0:
        return ValidatorOutcome.NOT_COVERED
    return ValidatorOutcome.PAID if total_weight else ValidatorOutcome.NOTHING_EARNED


def reputation_of(
    rules: Rules, entry: RegistryEntry, row: Sequence[int], weight: int, total_weight: int, before: int
) -> int:
    """Return an entry's reputation after the round, from its own row and weight and its reputation `before`."""
    lanes = rules.members.stake_lanes
    if entry.role == Role.TRAINER:
        votes = [
            Vote(stake, minifloat.decode(code))
            for code, stake in zip(row, lanes, strict=False)
            if stake and code != minifloat.ABSTAIN
        ]
        staked = sum(1 for stake in lanes if stake)
        visits = trainer_visits(votes, weight, total_weight, staked, rules.reputation)
    else:
        seat = rules.members.seat_of(entry)
        revealed = seat is not None and row[seat] != minifloat.ABSTAIN
        visits = validator_visits(lanes[entry.slot] if revealed else 0, sum(lanes), revealed, rules.reputation)
    return next_reputation(before, visits, rules.reputation)


def _inconsistent(what: str) -> StateError:
    return StateError(
        "settlement-inconsistent",
        f"The settlement's inputs do not fit together: {what}.",
        "Read the round again from the chain.",
    )
