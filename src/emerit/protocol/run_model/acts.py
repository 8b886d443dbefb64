"""What members do within a round: contributions, the draw, weights (`TrainingRun.sol`)."""

from __future__ import annotations

from collections.abc import Sequence

from eth_utils.crypto import keccak

from emerit.protocol import commitments, seeds
from emerit.protocol.run_model.base import Member, RunBase, check_cid, require
from emerit.protocol.types import (
    RESERVED_LANES,
    ContributionReveal,
    Phase,
    Role,
    WeightReveal,
)


class Acts(RunBase):
    """The acts of a round; each only in its own phase."""

    def commit(self, sender: str, round_number: int, commitment: bytes) -> None:
        """Commit to a contribution."""
        found = self.require_phase(round_number, Phase.TRAIN)
        member = self.member_as(sender, Role.TRAINER)
        require(member.active_in(round_number), "NotActive", member.slot, round_number)
        require(member.committed_in != round_number + 1, "AlreadyCommitted", member.slot, round_number)
        require(any(commitments.kept(commitment)), "EmptyCommitment")
        self._commit(member, round_number, commitment)
        found.commits += 1
        if member.expected_in == round_number + 1:
            found.expected_commits += 1
            if found.expected_commits == found.expected:
                found.end_train(self.params, self.world.now)

    def commit_batch(self, round_number: int, items: Sequence[tuple[str, bytes]]) -> int:
        """Commit for trainers that signed; items are (signer, commitment). Returns how many were taken."""
        found = self.require_phase(round_number, Phase.TRAIN)
        accepted = waited_for = 0
        for signer, commitment in items:
            member = self.members.get(signer)
            if member is None or member.role != Role.TRAINER or not member.active_in(round_number):
                continue
            if member.committed_in == round_number + 1 or not any(commitments.kept(commitment)):
                continue
            self._commit(member, round_number, commitment)
            accepted += 1
            waited_for += member.expected_in == round_number + 1
        found.commits += accepted
        found.expected_commits += waited_for
        if waited_for and found.expected_commits == found.expected:
            found.end_train(self.params, self.world.now)
        return accepted

    def reveal(self, round_number: int, operator: str, content_hash: bytes, cid: str, salt: bytes) -> None:
        """Reveal the contribution that the operator's trainer committed to."""
        found = self.require_phase(round_number, Phase.REVEAL)
        check_cid(cid)
        member = self.member_as(operator, Role.TRAINER)
        require(member.committed_in == round_number + 1, "NotCommitted", member.slot, round_number)
        require(member.commitment is not None, "AlreadyRevealed", member.slot, round_number)
        binding = (self.world.chain_id, self.address, round_number, member.slot)
        opened = commitments.contribution_commitment(*binding, content_hash, cid, salt)
        require(commitments.kept(opened) == member.commitment, "BadOpening", member.commitment, opened)
        member.commitment = None
        if member.active_in(round_number + 1):
            member.expected_in = round_number + 2
        else:
            self.memory.coming.gone += 1
        found.reveals += 1
        if found.reveals == found.commits:
            found.end_reveal(self.world.now)
        event = ContributionReveal(round_number, member.slot, content_hash, cid)
        found.reveals_hash = commitments.add_contribution_reveal(found.reveals_hash, event)

    def draw(self, round_number: int) -> None:
        """Fix the round's evaluation seed."""
        found = self.require_phase(round_number, Phase.DRAW)
        at = found.drawable_at(self.params)
        require(self.world.now >= at, "TooEarly", at)
        found.start_score(self.params, self.world.now)
        binding = (self.world.chain_id, self.address, round_number)
        found.eval_seed = seeds.evaluation_seed(*binding, self.world.prevrandao)

    def commit_weights(self, sender: str, round_number: int, commitment: bytes) -> None:
        """Commit to a vector of weights."""
        found = self.require_phase(round_number, Phase.SCORE)
        member = self.member_as(sender, Role.VALIDATOR)
        require(member.active_in(round_number), "NotActive", member.slot, round_number)
        bit = 1 << member.slot
        require(bool(found.validator_mask & bit), "NoVotingWeight", member.slot, round_number)
        require(not found.weight_commit_mask & bit, "AlreadyCommitted", member.slot, round_number)
        found.weight_commit_mask |= bit
        self._commit(member, round_number, commitment)
        waited_for = found.expected_validator_mask
        if waited_for and not waited_for & ~found.weight_commit_mask:
            found.end_score(self.params, self.world.now)

    def reveal_weights(
        self, sender: str, round_number: int, vector: bytes, evidence_hash: bytes, evidence_cid: str, salt: bytes
    ) -> None:
        """Reveal the weights that the sender's validator committed to."""
        found = self.require_phase(round_number, Phase.WEIGHT_REVEAL)
        check_cid(evidence_cid)
        want = 2 * (RESERVED_LANES + found.trainer_slots)
        require(len(vector) == want, "BadVectorLength", len(vector), want)
        member = self.member_as(sender, Role.VALIDATOR)
        slot, bit = member.slot, 1 << member.slot
        require(member.committed_in == round_number + 1, "NotCommitted", slot, round_number)
        require(not found.weight_reveal_mask & bit, "AlreadyRevealed", slot, round_number)
        binding = (self.world.chain_id, self.address, round_number, slot)
        opened = commitments.weights_commitment(*binding, vector, evidence_hash, evidence_cid, salt)
        require(commitments.kept(opened) == member.commitment, "BadOpening", member.commitment, opened)
        found.weight_reveal_mask |= bit
        if found.weight_reveal_mask == found.weight_commit_mask:
            found.end_weight_reveal(self.world.now)
        found.vector_hashes[slot] = keccak(vector)
        event = WeightReveal(round_number, slot, vector, evidence_hash, evidence_cid)
        found.reveals_hash = commitments.add_weight_reveal(found.reveals_hash, event)

    def _commit(self, member: Member, round_number: int, commitment: bytes) -> None:
        member.commitment = commitments.kept(commitment)
        member.committed_in = round_number + 1
