"""Claim what a run owes an account, by the Merkle proof of its leaf."""

from __future__ import annotations

from dataclasses import dataclass

from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError, StateError
from emerit.protocol.types import Header, Leaf
from emerit.run.ledger import Ledger

# How many claims go into one transaction.
BATCH = 64


@dataclass(frozen=True)
class Claimable:
    """What an account has earned under the last settled header, and what proves it.

    Attributes:
        cumulative_wei: all it earned in the run so far.
        claimed_wei: what it has taken already.
        final_at: end of the header's challenge window, chain time; the contract accepts the proof after it.
    """

    header: Header
    leaf: Leaf
    proof: tuple[bytes, ...]
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
    settled = ledger.claimable_entry()
    leaf, proof = ledger.proof(entry.index, settled)
    return Claimable(
        header=settled.onchain.header,
        leaf=leaf,
        proof=proof,
        cumulative_wei=leaf.cumulative_amount_wei,
        claimed_wei=client.claimed(entry.account),
        final_at=settled.final_at,
    )


def claim(client: RunClient, sender: Sender, item: Claimable) -> int:
    """Send the claim and record the reputation on chain; returns the wei paid (0 when nothing is due)."""
    due = max(0, item.due_wei)
    if due > 0:
        client.claim(sender, item.header, item.leaf, item.proof)
    if item.leaf.detail.reputation > 0:
        try:
            client.materialise(sender, item.header, item.leaf, item.proof)
        except ChainError as error:
            if error.code != "not-newer":  # somebody has shown this leaf, or a newer one, already
                raise
    return due


def claim_all(client: RunClient, sender: Sender, ledger: Ledger) -> dict[str, int]:
    """Have every account paid what it has not taken, in batches; returns the wei paid to each.

    Reputations stay where they are: each account's is shown by its own claim.

    Raises:
        StateError: `nothing-settled` before the first settlement.
    """
    settled = ledger.claimable_entry()
    due = [
        (leaf, leaf.cumulative_amount_wei - client.claimed(leaf.account))
        for leaf in settled.settlement.leaves
        if leaf.cumulative_amount_wei
    ]
    owed = [(leaf, wei) for leaf, wei in due if wei > 0]
    for start in range(0, len(owed), BATCH):
        part = [ledger.proof(leaf.index, settled) for leaf, _ in owed[start : start + BATCH]]
        client.claim_many(sender, settled.onchain.header, part)
    return {leaf.account: wei for leaf, wei in owed}
