"""Funding, claims and refunds (`Rewards.sol`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from emerit.protocol.eip712 import header_hash_of
from emerit.protocol.run_model.base import require
from emerit.protocol.settlement_tree import claim_leaf_hash, depth_of, verify_claim, verify_hash
from emerit.protocol.types import ZERO_HASH, ClaimLeaf, OpenedTree, Tree

if TYPE_CHECKING:
    from emerit.protocol.run_model.run import Run
    from emerit.protocol.run_model.world import World

LARGEST_POOL_WEI: Final = (1 << 96) - 1

Proof = Sequence[bytes]


@dataclass
class Pool:
    """The money of one run.

    The *purse* is what the latest final header shown here can still pay: the smaller of its total and the pool,
    less what was paid. `purse` is that header's tree as (root, leaf count), None before the first claim.
    """

    funded_wei: int = 0
    refunded_wei: int = 0
    paid_wei: int = 0
    left_wei: int = 0
    purse: tuple[bytes, int] | None = None
    purse_round: int = 0
    claimed: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


class Rewards:
    """The pools of all runs."""

    def __init__(self, world: World, address: str) -> None:
        """Start without money."""
        self.world = world
        self.address = address
        self.pools: defaultdict[str, Pool] = defaultdict(Pool)

    def funded(self, run: str) -> int:
        """Return all that was ever funded."""
        return self.pools[run].funded_wei

    def fund(self, sender: str, run: Run, amount_wei: int) -> None:
        """Add to the pool."""
        pool = self.pools[run.address]
        require(amount_wei > 0, "ZeroAmount")
        require(not run.finished, "RunOver", run.address)
        require(pool.funded_wei + amount_wei <= LARGEST_POOL_WEI, "PoolTooLarge", run.address, LARGEST_POOL_WEI)
        self.world.token.move(sender, self.address, amount_wei)
        pool.funded_wei += amount_wei

    def claim(self, run: Run, tree: OpenedTree, leaf: ClaimLeaf, proof: Proof) -> int:
        """Pay one leaf's account what it earned and has not been paid; returns how much that is."""
        return self.claim_many(run, tree, [leaf], [proof])

    def claim_next(self, run: Run, leaf_count: int, leaf: ClaimLeaf, proof: Proof) -> int:
        """Pay one leaf of the header that the purse is kept under."""
        pool = self.pools[run.address]
        root, count = pool.purse or (ZERO_HASH, 0)
        fits = leaf.index < leaf_count and len(proof) == depth_of(leaf_count)
        require(fits, "NoPurse", run.address)
        shown = pool.purse is not None and leaf_count == count
        known = shown and verify_hash(Tree(root, 0, 0, count), leaf.index, claim_leaf_hash(leaf), proof)
        if not known:
            # What was paid is looked at first: a client learns that there is nothing to claim, with or without purse.
            before_wei = pool.claimed.get(leaf.account, 0)
            earned = leaf.cumulative_amount_wei > before_wei
            require(earned, "NothingToClaim", run.address, leaf.account, before_wei)
        require(known, "NoPurse", run.address)
        return self._pay(run, pool, [leaf], pool.left_wei)

    def claim_many(self, run: Run, tree: OpenedTree, leaves: Sequence[ClaimLeaf], proofs: Sequence[Proof]) -> int:
        """Pay many leaves of one header, all or none; returns the sum."""
        require(len(leaves) == len(proofs), "LengthMismatch", len(leaves), len(proofs))
        pool = self.pools[run.address]
        moves = self._moves(run, pool, tree)
        for leaf, proof in zip(leaves, proofs, strict=True):
            require(verify_claim(tree.tree, leaf, proof), "BadProof", tree.round, leaf.index)
        limit_wei = max(min(tree.tree.total_amount_wei, pool.funded_wei - pool.refunded_wei), pool.paid_wei)
        left_wei = limit_wei - pool.paid_wei if moves else pool.left_wei
        paid_wei = self._pay(run, pool, leaves, left_wei)
        if moves:
            pool.purse, pool.purse_round = (tree.tree.root, tree.tree.leaf_count), tree.round
        return paid_wei

    def refund(self, run: Run) -> int:
        """Pay the sponsor of a finished run what its headers did not give away; later, all that is left."""
        require(run.finished, "NotFinished", run.address)
        pool = self.pools[run.address]
        owed_wei = self._owed_wei(run, pool.paid_wei)
        held_wei = pool.funded_wei - pool.refunded_wei
        require(held_wei > owed_wei, "NothingToRefund", run.address)
        pool.refunded_wei += held_wei - owed_wei
        pool.left_wei = min(pool.left_wei, owed_wei - pool.paid_wei)
        self.world.token.move(self.address, run.sponsor, held_wei - owed_wei)
        return held_wei - owed_wei

    # Internal

    def _moves(self, run: Run, pool: Pool, tree: OpenedTree) -> bool:
        """Check that claims under a header are paid; returns whether the purse moves to it."""
        if pool.purse == (tree.tree.root, tree.tree.leaf_count):
            return False
        stands, final = run.final_header(tree.round)
        have = header_hash_of(tree.body_hash, tree.tree)
        require(stands != ZERO_HASH and stands == have, "UnknownHeader", run.address, tree.round, have, stands)
        require(final, "NotFinal", tree.round)
        return pool.purse is None or tree.round >= pool.purse_round

    def _pay(self, run: Run, pool: Pool, leaves: Sequence[ClaimLeaf], left_wei: int) -> int:
        """Pay leaves in order; nothing is changed where one can't be paid."""
        claimed = dict(pool.claimed)
        for leaf in leaves:
            before_wei = claimed.get(leaf.account, 0)
            earned = leaf.cumulative_amount_wei > before_wei
            require(earned, "NothingToClaim", run.address, leaf.account, before_wei)
            amount_wei = leaf.cumulative_amount_wei - before_wei
            require(amount_wei <= left_wei, "PoolExceeded", run.address, amount_wei, left_wei)
            claimed[leaf.account] = leaf.cumulative_amount_wei
            left_wei -= amount_wei
        total_wei = 0
        for account, wei in claimed.items():
            amount_wei = wei - pool.claimed[account]
            total_wei += amount_wei
            pool.claimed[account] = wei
            self.world.token.move(self.address, account, amount_wei)
        pool.paid_wei += total_wei
        pool.left_wei = left_wei
        return total_wei

    def _owed_wei(self, run: Run, paid_wei: int) -> int:
        """Return what must stay in the pool: what headers promise while it can be claimed, later what was paid."""
        until = run.memory.finished_at + run.params.claim_period_seconds
        if self.world.now >= until:
            return paid_wei
        head = run.memory.paid_plus_one
        certain = (head == 0 or run.is_final(head - 1)) and not run.is_behind()
        require(certain, "NotCertain", run.address, until)
        return max(run.memory.settled_total_wei, paid_wei)
