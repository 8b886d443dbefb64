"""The settlement tree: an index-bound Merkle tree that sums payable weights and cumulative amounts.

::

    leaf node   keccak256(0x00 || abi.encode(leaf)), payable(leaf.weight), leaf.cumulativeAmountWei
    inner node  keccak256(0x01 || left hash || left weight (8 bytes) || left amount (16 bytes) || right ...),
                with the sums of both
    padding     (zero hash, 0, 0) for the leaves up to 2^depth, depth = ceil(log2(max(1, leaf count)))

A leaf's index is part of it and fixes its path (bit i of the index says that we are the right child at height
i), so an account cannot be proved at two places. Because the sums are inside the hashes, a proof shows that
the amounts of all leaves add up to the header's total. Sums that overflow are refused.
Summed trees: Dagher et al., "Provisions", CCS 2015, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from emerit.errors import RefusedError
from emerit.protocol.types import ZERO_HASH, Header, Leaf, ProofNode

LEAF_TYPES: Final = ("uint32", "address", "uint128", "uint64", "uint64", "bytes32")
PADDING: Final = ProofNode(ZERO_HASH, 0, 0)


def payable(weight: int) -> int:
    """Return the part of a consensus weight that earns: weight 1 means admissible but unpaid."""
    return weight if weight > 1 else 0


def leaf_node(leaf: Leaf) -> ProofNode:
    """Return the tree node of a leaf."""
    digest = keccak(b"\x00" + abi_encode(LEAF_TYPES, leaf.as_abi()))
    return ProofNode(digest, payable(leaf.weight), leaf.cumulative_amount_wei)


def parent_node(left: ProofNode, right: ProofNode) -> ProofNode:
    """Return the parent of two nodes.

    Raises:
        RefusedError: `value-invalid`, when a sum overflows uint64 or uint128.
    """
    digest = keccak(b"\x01" + _node_bytes(left) + _node_bytes(right))
    return ProofNode(digest, left.weight + right.weight, left.amount_wei + right.amount_wei)


def _node_bytes(node: ProofNode) -> bytes:
    return node.hash + node.weight.to_bytes(8, "big") + node.amount_wei.to_bytes(16, "big")


def depth_of(leaf_count: int) -> int:
    """Return the number of siblings in every proof: ceil(log2(max(1, leaf_count)))."""
    return max(0, leaf_count - 1).bit_length()


class MerkleSumTree:
    """The tree over leaves whose `index` is their position; immutable once made."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        """Build all levels: O(n) hashes.

        Raises:
            RefusedError: `leaf-order`, when leaf i has not index i; `value-invalid`, when a sum overflows.
        """
        for place, leaf in enumerate(leaves):
            if leaf.index != place:
                raise RefusedError("leaf-order", f"The leaf at position {place} has index {leaf.index}.")
        self.leaf_count = len(leaves)
        self.depth = depth_of(len(leaves))
        level = [leaf_node(leaf) for leaf in leaves]
        level += [PADDING] * ((1 << self.depth) - len(level))
        self._levels = [level]
        while len(level) > 1:
            level = [parent_node(level[at], level[at + 1]) for at in range(0, len(level), 2)]
            self._levels.append(level)

    @property
    def root(self) -> ProofNode:
        """The root node: hash, total payable weight, total cumulative amount."""
        return self._levels[-1][0]

    def proof(self, index: int) -> tuple[ProofNode, ...]:
        """Return the siblings of a leaf from the bottom up: `depth` nodes.

        Raises:
            RefusedError: `leaf-unknown`, when there is no such leaf.
        """
        if not 0 <= index < self.leaf_count:
            raise RefusedError("leaf-unknown", f"There is no leaf {index} among {self.leaf_count}.")
        return tuple(self._levels[height][(index >> height) ^ 1] for height in range(self.depth))


def verify(header: Header, leaf: Leaf, proof: Sequence[ProofNode]) -> bool:
    """Return whether `proof` shows that `leaf` is in the tree of `header`, as the contract decides it."""
    if leaf.index >= header.leaf_count or len(proof) != depth_of(header.leaf_count):
        return False
    node = leaf_node(leaf)
    try:
        for height, sibling in enumerate(proof):
            is_right = (leaf.index >> height) & 1
            node = parent_node(sibling, node) if is_right else parent_node(node, sibling)
    except RefusedError:
        # A sum overflowed; the contract reverts on the same proof.
        return False
    return node == ProofNode(header.root, header.total_weight, header.total_amount_wei)
