"""How headers fall: challenges and demands (`Challenges.sol`, `Disputes.sol`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eth_utils.crypto import keccak

from emerit.protocol import challenges
from emerit.protocol.challenges import Facts, Verdict
from emerit.protocol.eip712 import header_hash, header_hash_of
from emerit.protocol.registry import Members
from emerit.protocol.run_model.base import DEAD, Demand, Refusal, require
from emerit.protocol.run_model.clock import Round
from emerit.protocol.run_model.pay_chain import LATEST_DEMAND, PayChain
from emerit.protocol.settlement_tree import verify
from emerit.protocol.types import (
    MAX_VALIDATORS,
    ZERO_HASH,
    Fault,
    Header,
    Leaf,
    OpenedTree,
    PreviousLeaf,
    Role,
)

DEMANDS_PER_DOUBLING: Final = 8
MOST_DEMANDS: Final = 128

Proof = Sequence[bytes]


class Disputes(PayChain):
    """Challenges by leaves, and demands for leaves that are not shown. By anyone."""

    # Challenges

    def challenge_row(self, tree: OpenedTree, leaf: Leaf, proof: Proof, slot: int, vector: bytes) -> None:
        """Show a lane that is not what the validator revealed."""
        require(slot < MAX_VALIDATORS, "NoSuchSlot", slot)
        found, facts = self._opened(tree, (leaf, proof))
        members, entry = facts.members, facts.entry(leaf)
        present = members.is_active_trainer(entry) or members.seat_of(entry) is not None
        revealed = found.vector_hashes.get(slot) if present else None
        if revealed is not None:
            require(keccak(vector) == revealed, "WrongVector", slot, keccak(vector), revealed)
        verdict = challenges.judge_row(facts, leaf, slot, vector if revealed is not None else b"")
        self._void_if_wrong(found, Fault.ROW, leaf.index, verdict)

    def challenge_weight(self, tree: OpenedTree, leaf: Leaf, proof: Proof) -> None:
        """Show a trainer's weight that does not follow from its row."""
        found, facts = self._opened(tree, (leaf, proof))
        self._require_role(facts, leaf, Role.TRAINER)
        self._void_if_wrong(found, Fault.WEIGHT, leaf.index, challenges.judge_weight(facts, leaf))

    def challenge_coverage(
        self, tree: OpenedTree, leaf: Leaf, proof: Proof, witness: Leaf, witness_proof: Proof
    ) -> None:
        """Show that a validator's leaf names the wrong missed trainer, or none though there is one."""
        found, facts = self._opened(tree, (leaf, proof), (witness, witness_proof))
        self._require_role(facts, leaf, Role.VALIDATOR)
        named = leaf.detail.weight
        verdict = challenges.judge_coverage(facts, tree.tree, leaf, witness)
        if not verdict.upheld and named not in (0, witness.index + 1):
            missed = challenges.misses(facts, leaf, witness)
            require(missed, "WrongWitness", witness.index, named)
        self._void_if_wrong(found, Fault.COVERAGE, leaf.index, verdict)

    def challenge_amount(self, header: Header, leaf: Leaf, proof: Proof, previous: PreviousLeaf) -> None:
        """Show an amount that does not follow from the last leaf, the weight, the row and the budget."""
        found, facts = self._opened_whole(header, leaf, proof, previous)
        self._void_if_wrong(found, Fault.AMOUNT, leaf.index, challenges.judge_amount(facts, header, leaf, previous))

    def challenge_reputation(self, header: Header, leaf: Leaf, proof: Proof, previous: PreviousLeaf) -> None:
        """Show a reputation that does not follow from the last leaf, the weight and the row."""
        found, facts = self._opened_whole(header, leaf, proof, previous)
        verdict = challenges.judge_reputation(facts, header, leaf, previous)
        self._void_if_wrong(found, Fault.REPUTATION, leaf.index, verdict)

    def challenge_sum(self, tree: OpenedTree, left: Leaf, left_proof: Proof, right: Leaf, right_proof: Proof) -> None:
        """Show running totals that are not those of the leaf before plus what it adds."""
        self._header_of(tree)
        require(left.index + 1 == right.index, "NotNeighbours", left.index, right.index)
        found, facts = self._opened(tree, (left, left_proof), (right, right_proof))
        self._void_if_any(found, right.index, challenges.judge_neighbours(facts, left, right))

    def challenge_first_sum(self, tree: OpenedTree, leaf: Leaf, proof: Proof) -> None:
        """Show running totals of the first leaf that are not zero."""
        self._header_of(tree)
        require(leaf.index == 0, "NotTheEnd", leaf.index, 0)
        found, _ = self._opened(tree, (leaf, proof))
        self._void_if_any(found, 0, challenges.judge_first(leaf))

    def challenge_last_sum(self, tree: OpenedTree, leaf: Leaf, proof: Proof) -> None:
        """Show totals of the tree that are not those of its last leaf plus what that adds."""
        self._header_of(tree)
        end = tree.tree.leaf_count
        require(leaf.index + 1 == end, "NotTheEnd", leaf.index, end)
        found, facts = self._opened(tree, (leaf, proof))
        self._void_if_any(found, leaf.index, challenges.judge_last(facts, tree.tree, leaf))

    def challenge_identity(self, tree: OpenedTree, leaf: Leaf, proof: Proof) -> None:
        """Show an account that is not the registry's."""
        found, facts = self._opened(tree, (leaf, proof))
        self._void_if_wrong(found, Fault.IDENTITY, leaf.index, challenges.judge_identity(facts, leaf))

    # Demands

    def demand(self, sender: str, tree: OpenedTree, index: int, value_wei: int) -> None:
        """Ask for a leaf to be shown; what was sent beyond the bond goes back."""
        found, params = self._header_of(tree), self.params
        ends_at = found.final_at + LATEST_DEMAND * params.answer_seconds
        require(self.world.now < ends_at, "TooLate", ends_at)
        require(index < tree.tree.leaf_count, "NoSuchLeaf", index, tree.tree.leaf_count)
        key = (found.number, found.attempt, index)
        require(key not in self.demands, "AlreadyDemanded", *key)
        require(found.demands_open < MOST_DEMANDS, "TooManyDemands", found.number)
        doublings = found.demands_open // DEMANDS_PER_DOUBLING
        bond_wei = self._bond_wei(doublings)
        require(value_wei >= bond_wei, "BondTooLow", value_wei, bond_wei)
        self.world.coin.move(sender, self.address, bond_wei)
        deadline = self.world.now + params.answer_seconds
        self.demands[key] = Demand(sender, deadline, doublings)
        found.demands_open += 1
        self._hold(found.number, deadline + params.answer_seconds)

    def answer(self, sender: str, tree: OpenedTree, leaf: Leaf, proof: Proof) -> None:
        """Show a demanded leaf: half of the bond goes to the sender, the rest is burned."""
        found = self._header_of(tree)
        demand = self._open_demand(found.number, found.attempt, leaf.index)
        require(self.world.now <= demand.deadline, "TooLate", demand.deadline)
        require(verify(tree.tree, leaf, proof), "LeafNotInTree", tree.round, leaf.index)
        demand.status = "Answered"
        found.demands_open -= 1
        bond_wei = self._bond_wei(demand.doublings)
        self.world.coin.move(self.address, sender, bond_wei // 2)
        self.world.coin.move(self.address, DEAD, bond_wei - bond_wei // 2)

    def timeout(self, round_number: int, index: int) -> None:
        """Void a header of which a demanded leaf was not shown in time."""
        found = self._disputable(round_number)
        demand = self._open_demand(round_number, found.attempt, index)
        require(self.world.now > demand.deadline, "TooEarly", demand.deadline + 1)
        self.void_header(found, Fault.WITHHELD, index)

    def reclaim(self, round_number: int, attempt: int, index: int) -> None:
        """Pay an open demand's bond back, once the header has fallen or is final."""
        demand = self._open_demand(round_number, attempt, index)
        found = self.kept(round_number)
        current = found if found is not None and found.attempt == attempt else None
        over = current is None or not self.stands(round_number) or self.is_final(round_number)
        require(over, "StillBinding", round_number)
        demand.status = "Returned"
        if current is not None:
            current.demands_open -= 1
        self.world.coin.move(self.address, demand.sender, self._bond_wei(demand.doublings))

    # Internal

    def members_in(self, round_number: int) -> Members:
        """Return the registry, seats and stakes of a round, as the contract looks them up now."""
        found, epoch = self.round(round_number), self.epoch_of(round_number)
        registry = self.world.stakes.registries[self.address]
        entries = tuple(registry.entries[: found.registry_size])
        return Members(round_number, entries, found.trainer_slots, epoch.stakes, epoch.seats)

    def _facts(self, round_number: int) -> Facts:
        return Facts(
            members=self.members_in(round_number),
            vectors={},
            validator_share_bps=self.params.validator_share_bps,
            reputation=self.params.reputation,
            previous=None,
        )

    def _disputable(self, round_number: int) -> Round:
        found = self.round(round_number)
        require(self.stands(round_number), "NoStandingHeader", round_number)
        require(not self.is_final(round_number), "HeaderIsFinal", round_number)
        return found

    def _header_of(self, tree: OpenedTree) -> Round:
        found = self._disputable(tree.round)
        have = header_hash_of(tree.body_hash, tree.tree)
        require(have == found.header_hash, "WrongHeader", tree.round, have, found.header_hash)
        return found

    def _opened(self, tree: OpenedTree, *shown: tuple[Leaf, Proof]) -> tuple[Round, Facts]:
        found = self._header_of(tree)
        for leaf, proof in shown:
            require(verify(tree.tree, leaf, proof), "LeafNotInTree", tree.round, leaf.index)
        return found, self._facts(tree.round)

    def _opened_whole(self, header: Header, leaf: Leaf, proof: Proof, previous: PreviousLeaf) -> tuple[Round, Facts]:
        round_number = header.body.round
        found = self._disputable(round_number)
        have = header_hash(header)
        require(have == found.header_hash, "WrongHeader", round_number, have, found.header_hash)
        require(verify(header.tree, leaf, proof), "LeafNotInTree", round_number, leaf.index)
        want = header.body.previous
        shown = ZERO_HASH if want == ZERO_HASH else header_hash_of(previous.body_hash, previous.tree)
        fits = challenges.is_previous_leaf(want, leaf.index, previous)
        require(fits, "WrongPrevious", round_number, shown, want)
        return found, self._facts(round_number)

    def _require_role(self, facts: Facts, leaf: Leaf, want: Role) -> None:
        have = facts.entry(leaf).role
        require(have == want, "WrongLeafRole", leaf.index, have)

    def _void_if_wrong(self, found: Round, fault: Fault, index: int, verdict: Verdict) -> None:
        require(verdict.upheld, "NothingWrong", fault, verdict.expected, verdict.found)
        self.void_header(found, fault, index)

    def _void_if_any(self, found: Round, index: int, verdicts: tuple[Verdict, Verdict]) -> None:
        first, last = verdicts
        self._void_if_wrong(found, Fault.SUM, index, first if first.upheld else last)

    def _open_demand(self, round_number: int, attempt: int, index: int) -> Demand:
        demand = self.demands.get((round_number, attempt, index))
        if demand is None or demand.status != "Open":
            raise Refusal("NotDemanded", round_number, attempt, index)
        return demand

    def _bond_wei(self, doublings: int) -> int:
        return self.params.demand_bond_wei << doublings

    def _hold(self, round_number: int, until: int) -> None:
        """Let nothing from this round on become final before; an older hold that still lasts goes on."""
        memory = self.memory
        lasts = self.world.now < memory.hold_until
        if not lasts or round_number < memory.hold_from:
            memory.hold_from = round_number
        memory.hold_until = max(memory.hold_until, until)
