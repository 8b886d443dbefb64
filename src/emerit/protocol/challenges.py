"""What anybody can prove to be wrong in a settled header, and with which call.

A challenge shows one leaf (or two) under the header's root, and the contract decides from what it knows itself:
the registry, the seats and stakes of the epoch, the hashes of revealed vectors, the run's parameters, and the
header before. The `judge_*` functions are those decisions; each returns what should stand there beside what does.
A fault anywhere shows somewhere in this way, and an honest settlement has none:

=============  ==================================================================================================
row            a lane is not what that validator revealed
weight         a trainer's weight is not what follows from its row
coverage       a validator's weight field names no missed trainer though there is one, or the wrong one
amount         the cumulative amount is not the last one plus what the round pays for this row and weight
reputation     the running average does not follow from the last one and the row
sum            running totals of two neighbours, or at an end, do not fit
identity       the account is not the registry's
withheld       the leaves under the root are not known; shown by `demand`, not by a proof
=============  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.commitments import unpack_vector
from emerit.protocol.consensus import has_quorum, row_weight
from emerit.protocol.eip712 import body_hash, header_hash, header_hash_of, opened
from emerit.protocol.records import AbiRecord
from emerit.protocol.registry import Members
from emerit.protocol.settlement import Rules, amount_of, payable_of, reputation_of
from emerit.protocol.settlement_tree import SettlementTree, leaf_hash, node_hash, verify
from emerit.protocol.types import (
    BASE_LANE,
    MAX_VALIDATORS,
    RESERVED_LANES,
    ZERO_HASH,
    Fault,
    Header,
    Leaf,
    OpenedTree,
    PreviousLeaf,
    RegistryEntry,
    ReputationParams,
    Role,
    Tree,
    unpack_lanes,
)

Shown = Mapping[int, tuple[Leaf, tuple[bytes, ...]]]
"""Leaves of a header that are known, by index, each with its proof."""


@dataclass(frozen=True)
class Settled:
    """A header with the leaves under its root.

    Raises:
        StateError: `leaves-unknown`, when these are not the leaves of this header.
    """

    header: Header
    leaves: tuple[Leaf, ...]
    tree: SettlementTree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the tree and compare its root."""
        tree = SettlementTree(self.leaves)
        if (tree.root, tree.leaf_count) != (self.header.tree.root, self.header.tree.leaf_count):
            raise StateError(
                "leaves-unknown",
                f"These are not the leaves under the header of round {self.header.body.round}.",
                "Demand the leaves on chain: whoever signed the header must show them.",
            )
        object.__setattr__(self, "tree", tree)

    def shown(self) -> Shown:
        """Return every leaf with its proof."""
        return {leaf.index: (leaf, self.tree.proof(leaf.index)) for leaf in self.leaves}


@dataclass(frozen=True)
class Facts:
    """What the contract knows of a round when it decides on a challenge.

    Attributes:
        members: Registry, seats and stakes.
        vectors: Validator slot -> the packed vector whose hash it keeps, for those who revealed.
        validator_share_bps: The validators' part of the budget, of 10,000.
        reputation: The run's parameters.
        previous: What stands before the header in the pay chain, None before the first. The contract has only its
            hash, and is shown leaf by leaf.
    """

    members: Members
    vectors: Mapping[int, bytes]
    validator_share_bps: int
    reputation: ReputationParams
    previous: Settled | None

    def entry(self, leaf: Leaf) -> RegistryEntry:
        """Return the registry's entry at a leaf's index."""
        return self.members.entries[leaf.index]

    def rules(self, budget_wei: int) -> Rules:
        """Return what amounts and reputations depend on besides leaves."""
        return Rules(self.members, budget_wei, self.validator_share_bps, self.reputation)


@dataclass(frozen=True)
class Verdict:
    """What should stand in a header, beside what does; a challenge is upheld if they differ."""

    expected: int
    found: int

    @property
    def upheld(self) -> bool:
        """Whether there is a fault."""
        return self.expected != self.found


@dataclass(frozen=True)
class Challenge:
    """A fault, and the call that proves it.

    Attributes:
        fault: What is wrong.
        index: The leaf that is wrong; of two neighbours the right one.
        function: Name of the contract's function.
        arguments: Its arguments, as records.
    """

    fault: Fault
    index: int
    function: str
    arguments: tuple[Any, ...]

    def as_abi(self) -> tuple[Any, ...]:
        """Return the arguments ready for an ABI encoder."""
        return tuple(value.as_abi() if isinstance(value, AbiRecord) else value for value in self.arguments)


# Decisions ------------------------------------------------------------------------------------------------------------


def judge_row(facts: Facts, leaf: Leaf, validator_slot: int, vector: bytes) -> Verdict:
    """Decide on one lane of a leaf's row.

    `vector` is what that slot revealed, empty if it revealed nothing: the contract compares its hash before.
    """
    members, entry = facts.members, facts.entry(leaf)
    found = unpack_lanes(leaf.detail.row)[validator_slot]
    expected = minifloat.ABSTAIN
    if vector and members.validator_in(validator_slot) is not None:
        codes = unpack_vector(vector, members.trainer_slots)
        if members.is_active_trainer(entry):
            expected = codes[RESERVED_LANES + entry.slot]
        elif members.seat_of(entry) is not None:
            expected = codes[BASE_LANE]
    return Verdict(expected, found)


def judge_weight(facts: Facts, leaf: Leaf) -> Verdict:
    """Decide on a trainer's weight. For a validator's leaf there is no such fault."""
    if facts.entry(leaf).role != Role.TRAINER:
        return Verdict(leaf.detail.weight, leaf.detail.weight)
    return Verdict(row_weight(unpack_lanes(leaf.detail.row), facts.members.stake_lanes), leaf.detail.weight)


def judge_coverage(facts: Facts, tree: Tree, leaf: Leaf, witness: Leaf) -> Verdict:
    """Decide on a validator's weight field by the leaf of one trainer, the `witness`.

    It should be at most 1 + witness.index if the validator missed the witness, and no trainer is named that was not
    missed. A field that names no leaf of the tree is wrong whatever the witness. Where the witness shows
    nothing, what stands there is also what should.
    """
    found = leaf.detail.weight
    if facts.entry(leaf).role != Role.VALIDATOR:
        return Verdict(found, found)
    missed = misses(facts, leaf, witness)
    if missed and (found == 0 or found > 1 + witness.index):
        return Verdict(1 + witness.index, found)
    names_it = found == 1 + witness.index
    return Verdict(0, found) if found > tree.leaf_count or (names_it and not missed) else Verdict(found, found)


def misses(facts: Facts, validator: Leaf, trainer: Leaf) -> bool:
    """Return whether a trainer's row has a quorum, and the validator is not in it."""
    if facts.entry(trainer).role != Role.TRAINER:
        return False
    seat = facts.members.seat_of(facts.entry(validator))
    row = unpack_lanes(trainer.detail.row)
    return has_quorum(row, facts.members.stake_lanes) and (seat is None or row[seat] == minifloat.ABSTAIN)


def judge_amount(facts: Facts, header: Header, leaf: Leaf, previous: PreviousLeaf) -> Verdict:
    """Decide on a leaf's cumulative amount, in wei."""
    row = unpack_lanes(leaf.detail.row)
    rules = facts.rules(header.body.budget_wei)
    earned = amount_of(rules, facts.entry(leaf), row, leaf.detail.weight, header.tree.total_weight)
    return Verdict(previous.cumulative_amount_wei + earned, leaf.cumulative_amount_wei)


def judge_reputation(facts: Facts, header: Header, leaf: Leaf, previous: PreviousLeaf) -> Verdict:
    """Decide on a leaf's reputation, in parts of REPUTATION_ONE."""
    row, weight = unpack_lanes(leaf.detail.row), leaf.detail.weight
    rules, total, before = facts.rules(header.body.budget_wei), header.tree.total_weight, previous.detail.reputation
    return Verdict(
        reputation_of(rules, facts.entry(leaf), row, weight, total, before),
        leaf.detail.reputation,
    )


def judge_first(leaf: Leaf) -> tuple[Verdict, Verdict]:
    """Decide on the running totals (weight, amount) of the leaf with index 0."""
    return Verdict(0, leaf.detail.weight_before), Verdict(0, leaf.detail.amount_before_wei)


def judge_neighbours(facts: Facts, left: Leaf, right: Leaf) -> tuple[Verdict, Verdict]:
    """Decide on the running totals (weight, amount) of a leaf by the one before it."""
    weight, amount_wei = _totals_after(facts, left)
    return Verdict(weight, right.detail.weight_before), Verdict(amount_wei, right.detail.amount_before_wei)


def judge_last(facts: Facts, tree: Tree, leaf: Leaf) -> tuple[Verdict, Verdict]:
    """Decide on the tree's totals (weight, amount) by its last leaf."""
    weight, amount_wei = _totals_after(facts, leaf)
    return Verdict(weight, tree.total_weight), Verdict(amount_wei, tree.total_amount_wei)


def _totals_after(facts: Facts, leaf: Leaf) -> tuple[int, int]:
    """Return the running totals behind a leaf; they may exceed uint64 and uint128 in a malicious one."""
    weight = payable_of(facts.entry(leaf), leaf.detail.weight)
    return leaf.detail.weight_before + weight, leaf.detail.amount_before_wei + leaf.cumulative_amount_wei


def judge_identity(facts: Facts, leaf: Leaf) -> Verdict:
    """Decide on a leaf's account, as a number."""
    return Verdict(int(facts.entry(leaf).account, 16), int(leaf.account, 16))


def is_previous_leaf(previous_hash: bytes, index: int, previous: PreviousLeaf) -> bool:
    """Return whether `previous` opens what stood at an index of the header with this hash.

    Before the first header, and where that header has no such leaf (its tree shows that), there is nothing: no
    amount, no reputation, no proof.
    """
    nothing = (previous.cumulative_amount_wei, previous.detail.reputation, previous.proof) == (0, 0, ())
    if previous_hash == ZERO_HASH:
        return nothing
    if header_hash_of(previous.body_hash, previous.tree) != previous_hash:
        return False
    if index >= previous.tree.leaf_count:
        return nothing
    last = Leaf(index, previous.account, previous.cumulative_amount_wei, previous.detail)
    return verify(previous.tree, last, previous.proof)


def equivocates(first: Header, second: Header) -> bool:
    """Return whether signing both headers is a fault: same settlement to make, two different results.

    The budget of a round that is settled again may change between two honest signatures, so it must be the same too.
    """
    binding = ("run", "round", "attempt", "previous", "reveals", "budget_wei")
    same = all(getattr(first.body, name) == getattr(second.body, name) for name in binding)
    return same and header_hash(first) != header_hash(second)


# Search ---------------------------------------------------------------------------------------------------------------


def previous_leaf(previous: Settled | None, index: int) -> PreviousLeaf:
    """Return the opening of a member's last leaf, as challenges of amounts and reputations take it."""
    if previous is None:
        return PreviousLeaf()
    hash_of_body, tree = body_hash(previous.header.body), previous.header.tree
    if index >= tree.leaf_count:
        return PreviousLeaf(hash_of_body, tree)
    leaf = previous.leaves[index]
    return PreviousLeaf(
        hash_of_body, tree, leaf.account, leaf.cumulative_amount_wei, leaf.detail, previous.tree.proof(index)
    )


def find_faults(settled: Settled, facts: Facts) -> tuple[Challenge, ...]:
    """Return every fault that the contract would uphold, leaf by leaf; none for an honest settlement.

    Of one leaf's wrong lanes each is a fault of its own; of the coverage of one validator only the first.
    """
    return tuple(_search(settled.header, settled.shown(), facts))


def find_fault(settled: Settled, facts: Facts) -> Challenge | None:
    """Return the first fault that the contract would uphold, None if there is none."""
    return find_leaf_fault(settled.header, settled.shown(), facts)


def find_leaf_fault(header: Header, shown: Shown, facts: Facts) -> Challenge | None:
    """Return the first fault that these leaves alone show, None if they show none.

    The proofs must be right (`settlement_tree.verify`). Coverage and sums need two leaves; `also_proven` finds more.
    """
    return next(_search(header, shown, facts), None)


def _search(header: Header, shown: Shown, facts: Facts) -> Iterator[Challenge]:
    if header.tree.leaf_count != len(facts.members.entries):
        raise StateError(
            "settlement-inconsistent",
            f"The header has {header.tree.leaf_count} leaves, the registry had {len(facts.members.entries)} entries.",
            "Read the round again from the chain.",
        )
    before = ZERO_HASH if facts.previous is None else header_hash(facts.previous.header)
    if header.body.previous != before:
        raise StateError(
            "settlement-inconsistent",
            "The header names another one before it than the one that is given.",
            "Read the pay chain again from the chain.",
        )
    tree = opened(header)
    for index in sorted(shown):
        leaf, proof = shown[index]
        arguments = (tree, leaf, proof)
        if judge_identity(facts, leaf).upheld:
            yield Challenge(Fault.IDENTITY, index, "challengeIdentity", arguments)
        for slot in range(MAX_VALIDATORS):
            vector = facts.vectors.get(slot, b"")
            if judge_row(facts, leaf, slot, vector).upheld:
                yield Challenge(Fault.ROW, index, "challengeRow", (*arguments, slot, vector))
        if judge_weight(facts, leaf).upheld:
            yield Challenge(Fault.WEIGHT, index, "challengeWeight", arguments)
        yield from _wrong_coverage(tree, shown, facts, leaf)
        yield from _wrong_values(header, facts, leaf, proof)
        yield from _wrong_sums(tree, shown, facts, leaf)


def _wrong_coverage(tree: OpenedTree, shown: Shown, facts: Facts, leaf: Leaf) -> Iterator[Challenge]:
    for index in sorted(shown):
        witness, proof = shown[index]
        if judge_coverage(facts, tree.tree, leaf, witness).upheld:
            arguments = (tree, leaf, shown[leaf.index][1], witness, proof)
            yield Challenge(Fault.COVERAGE, leaf.index, "challengeCoverage", arguments)
            return


def _wrong_values(header: Header, facts: Facts, leaf: Leaf, proof: tuple[bytes, ...]) -> Iterator[Challenge]:
    last = previous_leaf(facts.previous, leaf.index)
    arguments = (header, leaf, proof, last)
    if judge_amount(facts, header, leaf, last).upheld:
        yield Challenge(Fault.AMOUNT, leaf.index, "challengeAmount", arguments)
    if judge_reputation(facts, header, leaf, last).upheld:
        yield Challenge(Fault.REPUTATION, leaf.index, "challengeReputation", arguments)


def _wrong_sums(tree: OpenedTree, shown: Shown, facts: Facts, leaf: Leaf) -> Iterator[Challenge]:
    arguments = (tree, *shown[leaf.index])
    if leaf.index == 0 and _any(judge_first(leaf)):
        yield Challenge(Fault.SUM, 0, "challengeFirstSum", arguments)
    left = shown.get(leaf.index - 1)
    if left is not None and _any(judge_neighbours(facts, left[0], leaf)):
        yield Challenge(Fault.SUM, leaf.index, "challengeSum", (tree, *left, *arguments[1:]))
    if leaf.index == tree.tree.leaf_count - 1 and _any(judge_last(facts, tree.tree, leaf)):
        yield Challenge(Fault.SUM, leaf.index, "challengeLastSum", arguments)


def _any(verdicts: tuple[Verdict, ...]) -> bool:
    return any(verdict.upheld for verdict in verdicts)


# Leaves that nobody published -----------------------------------------------------------------------------------------


def next_demand(own: SettlementTree, answered: Mapping[int, Sequence[bytes]]) -> int | None:
    """Return the index of the leaf to demand next, None when nothing differs that a demand could show.

    `own` is the honest tree, `answered` the proofs with which leaves were shown so far that are our own too (one
    that is not is challenged instead). A proof's siblings say which subtrees differ from ours; we go into the
    smallest one, so that depth + 1 demands are enough to reach a wrong leaf, or one that nobody can show.
    """
    if not answered:
        return 0 if own.leaf_count else None
    found: tuple[int, int] | None = None
    for index, proof in answered.items():
        for height, sibling in enumerate(proof):
            place = (index >> height) ^ 1
            first = place << height
            if first < own.leaf_count and sibling != own.node(height, place):
                found = min(found or (height, first), (height, first))
                break
    return None if found is None else found[1]


def also_proven(own: Settled, shown: Shown) -> Shown:
    """Return the shown leaves, and those of our own tree that their proofs show to be in the header's tree too.

    Where a sibling in a proof is our own node, everything below it is as we have it, and can be proved with our own
    siblings below and the proof's above.
    """
    found = dict(shown)
    for index, (leaf, proof) in shown.items():
        node = leaf_hash(leaf)
        for height, sibling in enumerate(proof):
            place = (index >> height) ^ 1
            if sibling == own.tree.node(height, place):
                upper = (node, *proof[height + 1 :])
                for other in range(place << height, min((place + 1) << height, len(own.leaves))):
                    found.setdefault(other, (own.leaves[other], own.tree.proof(other)[:height] + upper))
            node = node_hash(node, sibling) if place & 1 else node_hash(sibling, node)
    return found
