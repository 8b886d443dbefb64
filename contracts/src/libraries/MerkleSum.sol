// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Leaf, ProofNode} from "../types/Types.sol";

/// @title MerkleSum
/// @notice Index-bound Merkle-sum tree over the leaves of a settlement.
/// @dev A node is (hash, weight, amount). Leaves are tagged 0x00 and inner nodes 0x01, a leaf's place follows from
/// its index, and a proof must have exactly the tree's depth: without all three, an inner node passes for a leaf.
/// The tree is filled up with (0, 0, 0) to 2^depth leaves, depth = ceil(log2(leafCount)).
library MerkleSum {
    /// @notice True if `leaf` is in the tree whose root, sums and size `header` states. Never reverts.
    function verify(Header memory header, Leaf memory leaf, ProofNode[] memory proof)
        internal
        pure
        returns (bool)
    {
        if (leaf.index >= header.leafCount || proof.length != depthOf(header.leafCount)) return false;
        bytes32 hash = leafHash(leaf);
        uint256 weight = payableWeight(leaf.weight);
        uint256 amountWei = leaf.cumulativeAmountWei;

        for (uint256 i = 0; i < proof.length; i++) {
            ProofNode memory sibling = proof[i];
            hash = (leaf.index >> i) & 1 == 1
                ? nodeHash(
                    sibling.hash, sibling.weight, sibling.amountWei, hash, uint64(weight), uint128(amountWei)
                )
                : nodeHash(
                    hash, uint64(weight), uint128(amountWei), sibling.hash, sibling.weight, sibling.amountWei
                );
            // At most 32 levels of uint128 terms: a uint256 can't overflow, and a sum over its type is refused
            // before it is ever truncated above.
            weight += sibling.weight;
            amountWei += sibling.amountWei;
            if (weight > type(uint64).max || amountWei > type(uint128).max) return false;
        }

        return hash == header.root && weight == header.totalWeight && amountWei == header.totalAmountWei;
    }

    /// @notice Number of levels above the leaves.
    function depthOf(uint32 leafCount) internal pure returns (uint256 depth) {
        while ((uint256(1) << depth) < leafCount) depth++;
    }

    /// @notice The weight that is paid: 1 means admissible but unpaid.
    function payableWeight(uint64 weight) internal pure returns (uint64) {
        return weight > 1 ? weight : 0;
    }

    /// @notice Hash of a leaf.
    function leafHash(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(bytes1(0x00), abi.encode(leaf)));
    }

    /// @notice Hash of the parent of two nodes.
    function nodeHash(
        bytes32 leftHash,
        uint64 leftWeight,
        uint128 leftAmountWei,
        bytes32 rightHash,
        uint64 rightWeight,
        uint128 rightAmountWei
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                uint8(1), leftHash, leftWeight, leftAmountWei, rightHash, rightWeight, rightAmountWei
            )
        );
    }
}
