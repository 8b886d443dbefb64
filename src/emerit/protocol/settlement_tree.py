"""The settlement tree: a plain Merkle tree, bound to indices, whose leaves carry running totals.

::

    detail hash  keccak256(abi.encode(weight, reputation, row, weightBefore, amountBeforeWei))
    leaf         keccak256(0x00 || abi.encode(index, account, cumulativeAmountWei, detail hash))
    inner node   keccak256(0x01 || left || right), 65 bytes
    padding      32 zero bytes for the leaves up to 2^depth, depth = ceil(log2(max(1, leaf count)))

A leaf's index is part of it and fixes its path (bit i of the index says that we are the right child at height
i), so an account cannot be proved at two places. A proof has exactly `depth` siblings, one word each. Each leaf says
how much weight and how much money stand before it, and the header how much all have: two neighbours that do not
fit together, or an end that does not, show a wrong sum. The detail hash stands for what a claim need not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from emerit.errors import RefusedError
from emerit.protocol.types import ZERO_HASH, ClaimLeaf, Leaf, LeafDetail, Tree

PADDING: Final = ZERO_HASH
_DETAIL_FIELDS: Final = ("uint64", "uint64", "bytes32", "uint64", "uint128")
_CLAIM_FIELDS: Final = ("uint32", "address", "uint128", "bytes32")


def payable(weight: int) -> int:
    """Return the part of a trainer's consensus weight that earns: weight 1 means admissible but unpaid."""
    return weight if weight > 1 else 0


def detail_hash(detail: LeafDetail) -> bytes:
    """Return the hash of what a claim does not have to show, 32 bytes."""
    return keccak(abi_encode(_DETAIL_FIELDS, detail.as_abi()))


def claim_leaf(leaf: Leaf) -> ClaimLeaf:
    """Return the leaf with only what claims need open."""
    return ClaimLeaf(leaf.index, leaf.account, leaf.cumulative_amount_wei, detail_hash(leaf.detail))


def claim_leaf_hash(leaf: ClaimLeaf) -> bytes:
    """Return the tree's node for a leaf of which only what claims need is open."""
    return keccak(b"\x00" + abi_encode(_CLAIM_FIELDS, leaf.as_abi()))


def leaf_hash(leaf: Leaf) -> bytes:
    """Return the tree's node for a leaf, 32 bytes."""
    return claim_leaf_hash(claim_leaf(leaf))


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the parent of two nodes."""
    return keccak(b"\x01" + left + right)


def depth_of(leaf_count: int) -> int:
    """Return the number of siblings in every proof: ceil(log2(max(1, leaf_count)))."""
    return max(0, leaf_count - 1).bit_length()


class SettlementTree:
    """The tree over leaves whose `index` is their position; immutable once made."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        """Build all levels: O(n) hashes.

        Raises:
            RefusedError: `leaf-order`, when leaf i has not index i.
        """
        for place, leaf in enumerate(leaves):
            if leaf.index != place:
                raise RefusedError("leaf-order", f"The leaf at position {place} has index {leaf.index}.")
        self.leaf_count = len(leaves)
        self.depth = depth_of(len(leaves))
        level = [leaf_hash(leaf) for leaf in leaves]
        level += [PADDING] * ((1 << self.depth) - len(level))
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return self._levels[-1][0]

    def node(self, height: int, place: int) -> bytes:
        """Return the node at a height (0: leaves and padding) and a place from the left."""
        return self._levels[height][place]

    def proof(self, index: int) -> tuple[bytes, ...]:
        """Return the siblings of a leaf from the bottom up: `depth` nodes.

        Raises:
            RefusedError: `leaf-unknown`, when there is no such leaf.
        """
        if not 0 <= index < self.leaf_count:
            raise RefusedError("leaf-unknown", f"There is no leaf {index} among {self.leaf_count}.")
        return tuple(self._levels[height][(index >> height) ^ 1] for height in range(self.depth))


def verify(tree: Tree, leaf: Leaf, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that `leaf` is in `tree`, as the contract decides it."""
    return verify_hash(tree, leaf.index, leaf_hash(leaf), proof)


def verify_claim(tree: Tree, leaf: ClaimLeaf, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that a leaf of which only what claims need is open is in `tree`."""
    return verify_hash(tree, leaf.index, claim_leaf_hash(leaf), proof)


def verify_hash(tree: Tree, index: int, node: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that the leaf at `index` has this hash."""
    if index >= tree.leaf_count or len(proof) != depth_of(tree.leaf_count):
        return False
    for height, sibling in enumerate(proof):
        node = node_hash(sibling, node) if (index >> height) & 1 else node_hash(node, sibling)
    return node == tree.root
