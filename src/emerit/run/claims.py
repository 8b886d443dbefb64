"""Claim what a run owes an account, by the Merkle proof of its leaf."""

from __future__ import annotations

from dataclasses import dataclass

from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError, StateError
from emerit.protocol.types import Header, Leaf, ProofNode
from emerit.run.ledger import Ledger


@dataclass(frozen=True)
class Claimable:
    """What an account has earned under the last settled header, and what proves it.

    Attributes:
        cumulative_wei: all it earned in the run so far.
        claimed_wei: what it has taken already.
        final_at: chain time from which the contract accepts the proof.
    """

    header: Header
    leaf: Leaf
    proof: tuple[ProofNode, ...]
    cumulative_wei: int
    claimed_wei: int
    final_at: int

    @property
    def due_wei(self) -> int:
        """What a claim would pay now."""
        return self.cumulative_wei - self.claimed_wei


def claimable(client: RunClient, ledger: Ledger, account: str) -> Claimable:
    """Return what `account` can claim: against the newest round whose challenge window is over.

    Raises:
        StateError: `not-in-registry` when the account is not in the run, `nothing-settled` before the first
            settlement.
    """
    ledger.update()
    entry = client.entry_of(account)
    if entry is None:
        raise StateError(
            "not-in-registry",
            f"{account} has not joined this run.",
            "Check the address (rewards belong to the owner account, not to the operator) and the run.",
        )
    settled = ledger.claimable_entry(client.status().timestamp)
    leaf, proof = ledger.proof(entry.index, settled)
    return Claimable(
        header=settled.onchain.header,
        leaf=leaf,
        proof=proof,
        cumulative_wei=leaf.cumulative_amount_wei,
        claimed_wei=client.claimed(entry.account),
        final_at=settled.info.final_at,
    )


def claim(client: RunClient, sender: Sender, item: Claimable) -> int:
    """Send the claim and record the reputation on chain; returns the wei paid (0 when nothing is due)."""
    due = max(0, item.due_wei)
    if due > 0:
        client.claim(sender, item.header, item.leaf, item.proof)
    if item.leaf.reputation > 0:
        try:
            client.materialise(sender, item.header, item.leaf, item.proof)
        except ChainError as error:
            if error.code != "not-newer":  # somebody has shown this leaf, or a newer one, already
                raise
    return due
