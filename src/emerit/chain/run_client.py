"""One run: what `run_reader` reads of it, and what a program does in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from emerit.chain.contract import checked_address
from emerit.chain.deployment import Deployment
from emerit.chain.dispute_acts import DisputeActs
from emerit.chain.factory import FactoryClient
from emerit.chain.records import Receipt, SettledRound
from emerit.chain.run_reader import RunReader
from emerit.chain.transactions import Sender
from emerit.protocol.eip712 import opened
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import Header, Leaf, Role, RunParams, SignedCommit, Status

__all__ = ["RunClient", "RunReader", "SettledRound", "Status"]

# The state can change between the estimate and the block: another act of the round may make slots dearer, and
# the attestation that completes the quorum also settles the round and opens the next one.
_ROUND_GAS: Final = 60_000
_SETTLE_GAS: Final = 900_000


class RunClient(DisputeActs):
    """Reads of a run (see `RunReader`) and acts in it (see also `DisputeActs`): one method for each.

    Each act waits for its receipt and raises as `Sender.send` does. Acts of a round are the operator's; joining,
    leaving and withdrawing are the account's; `close` is the sponsor's; `start`, `commit_batch`, `reveal`, `draw`,
    `settle_signed`, `void_round`, `fund`, `claim`, `materialise` and `refund` are anybody's.
    """

    @classmethod
    def create(cls, sender: Sender, deployment: Deployment, params: RunParams) -> RunClient:
        """Create a run with the deployment's factory; the sender becomes its sponsor."""
        made = FactoryClient(sender.chain, deployment.factory).create_run(sender, params)
        return cls(sender.chain, made.run, from_block=made.block)

    # ---- rounds

    def start(self, sender: Sender) -> Receipt:
        """Open round 0."""
        return self._act(sender, "start", extra_gas=_SETTLE_GAS)

    def check_in(self, sender: Sender) -> Receipt:
        """Ask the others to wait for this member."""
        return self._act(sender, "checkIn")

    def commit(self, sender: Sender, round: int, commitment: bytes) -> Receipt:
        """Commit to a contribution (`emerit.protocol.commitments.contribution_commitment`)."""
        return self._act(sender, "commit", round, commitment)

    def commit_batch(self, sender: Sender, round: int, commits: Sequence[SignedCommit]) -> Receipt:
        """Submit commitments that trainers signed (`emerit.chain.signing.sign_commit`).

        One that cannot be accepted is passed over, with the event `CommitRefused`.
        """
        return self._act(sender, "commitBatch", round, [item.as_abi() for item in commits])

    def reveal(self, sender: Sender, round: int, operator: str, content_hash: bytes, cid: str, salt: bytes) -> Receipt:
        """Reveal the contribution that `operator` committed to; the opening shows whose it is."""
        return self._act(sender, "reveal", round, operator, content_hash, cid, salt)

    def draw(self, sender: Sender, round: int) -> Receipt:
        """Fix the round's evaluation seed."""
        return self._act(sender, "draw", round)

    def commit_weights(self, sender: Sender, round: int, commitment: bytes) -> Receipt:
        """Commit to a weight vector (`emerit.protocol.commitments.weights_commitment`)."""
        return self._act(sender, "commitWeights", round, commitment)

    def reveal_weights(
        self, sender: Sender, round: int, vector: bytes, evidence_hash: bytes, evidence_cid: str, salt: bytes
    ) -> Receipt:
        """Reveal the weight vector that was committed to; `vector` is packed big-endian 16-bit lanes."""
        return self._act(sender, "revealWeights", round, vector, evidence_hash, evidence_cid, salt)

    def attest(self, sender: Sender, header: Header, aggregate_cid: str) -> Receipt:
        """Sign a settlement; the signature that completes two thirds settles the round."""
        return self._act(sender, "attest", header.as_abi(), aggregate_cid, extra_gas=_SETTLE_GAS)

    def settle_signed(self, sender: Sender, header: Header, aggregate_cid: str, signatures: Sequence[bytes]) -> Receipt:
        """Settle a round with two thirds of the stake's signatures (`emerit.chain.signing.sign_header`).

        They are in the ascending order of the signers' slots; what was attested of the same header counts too.
        """
        arguments = (header.as_abi(), aggregate_cid, b"".join(signatures))
        return self._act(sender, "settleSigned", *arguments, extra_gas=_SETTLE_GAS)

    def void_round(self, sender: Sender, round: int) -> Receipt:
        """Give up a round that was not settled in time."""
        return self._act(sender, "voidRound", round, extra_gas=_SETTLE_GAS)

    def close(self, sender: Sender) -> Receipt:
        """Let no further round open."""
        return self._act(sender, "close")

    # ---- membership

    def join(self, sender: Sender, role: Role, operator: str, amount_wei: int) -> Receipt:
        """Become a member, staking `amount_wei`; approves the amount first when that is needed."""
        self._allow(sender, self.stakes.address, amount_wei)
        arguments = (self.address, int(role), checked_address(operator), amount_wei)
        return self.stakes.write(sender, "join", *arguments, extra_gas=_ROUND_GAS)

    def add_stake(self, sender: Sender, amount_wei: int) -> Receipt:
        """Add to the stake; approves the amount first when that is needed."""
        self._allow(sender, self.stakes.address, amount_wei)
        return self.stakes.write(sender, "addStake", self.address, amount_wei)

    def set_operator(self, sender: Sender, operator: str) -> Receipt:
        """Let another hot key act for this account, at once."""
        return self.stakes.write(sender, "setOperator", self.address, checked_address(operator))

    def leave(self, sender: Sender) -> Receipt:
        """End the membership before the next round; the stake stays bound for the unbonding time."""
        return self.stakes.write(sender, "leave", self.address)

    def withdraw(self, sender: Sender) -> Receipt:
        """Take what is left of the stake back, once it is no longer bound."""
        return self.stakes.write(sender, "withdraw", self.address)

    def withdraw_for(self, sender: Sender, account: str) -> Receipt:
        """Pay a member that left its stake back, which frees its slot."""
        return self.stakes.write(sender, "withdrawFor", self.address, checked_address(account))

    # ---- money and reputation

    def fund(self, sender: Sender, amount_wei: int) -> Receipt:
        """Add to the run's pool; approves the amount first when that is needed."""
        self._allow(sender, self.rewards.address, amount_wei)
        return self.rewards.write(sender, "fund", self.address, amount_wei)

    def refund(self, sender: Sender) -> Receipt:
        """Send the sponsor of a finished run what its headers did not give away."""
        return self.rewards.write(sender, "refund", self.address)

    def claim(self, sender: Sender, header: Header, leaf: Leaf, proof: Sequence[bytes]) -> Receipt:
        """Have the leaf's account paid what it earned up to this header.

        Where somebody has claimed against the same header before, less has to be shown.
        """
        shown = (claim_leaf(leaf).as_abi(), list(proof))
        _, root, leaf_count, _ = self.rewards.read("purse", self.address)
        if (root, leaf_count) == (header.tree.root, header.tree.leaf_count):
            return self.rewards.write(sender, "claimNext", self.address, leaf_count, *shown)
        return self.rewards.write(sender, "claim", self.address, opened(header).as_abi(), *shown)

    def claim_many(self, sender: Sender, header: Header, leaves: Sequence[tuple[Leaf, Sequence[bytes]]]) -> Receipt:
        """Have the accounts of several leaves of one header paid; all of them, or none."""
        shown = [claim_leaf(leaf).as_abi() for leaf, _ in leaves]
        proofs = [list(proof) for _, proof in leaves]
        return self.rewards.write(sender, "claimMany", self.address, opened(header).as_abi(), shown, proofs)

    def materialise(self, sender: Sender, header: Header, leaf: Leaf, proof: Sequence[bytes]) -> Receipt:
        """Store the leaf's reputation on chain."""
        arguments = (opened(header).as_abi(), leaf.as_abi(), list(proof))
        return self.reputation.write(sender, "materialise", *arguments)

    def _act(self, sender: Sender, function: str, *args: Any, extra_gas: int = _ROUND_GAS) -> Receipt:
        return self.contract.write(sender, function, *args, extra_gas=extra_gas)

    def _allow(self, sender: Sender, spender: str, amount_wei: int) -> None:
        self.token().ensure_allowance(sender, spender, amount_wei)
