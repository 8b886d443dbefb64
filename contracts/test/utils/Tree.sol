// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Leaf, ProofNode} from "../../src/types/Types.sol";

/// @dev Builds Merkle-sum trees. Written apart from `MerkleSum`, which it is to test: it hashes on its own.
library Tree {
    /// @dev All levels, leaves first, each filled up to a power of two; the root is the only node of the last.
    function build(Leaf[] memory leaves) internal pure returns (ProofNode[][] memory levels) {
        uint256 depth;
        while (2 ** depth < leaves.length) depth++;
        levels = new ProofNode[][](depth + 1);
        levels[0] = new ProofNode[](2 ** depth);
        for (uint256 i = 0; i < leaves.length; i++) {
            levels[0][i] = leafNode(leaves[i]);
        }
        for (uint256 level = 1; level <= depth; level++) {
            levels[level] = new ProofNode[](2 ** (depth - level));
            for (uint256 i = 0; i < levels[level].length; i++) {
                levels[level][i] = parent(levels[level - 1][2 * i], levels[level - 1][2 * i + 1]);
            }
        }
    }

    function root(ProofNode[][] memory levels) internal pure returns (ProofNode memory) {
        return levels[levels.length - 1][0];
    }

    function proof(ProofNode[][] memory levels, uint256 index)
        internal
        pure
        returns (ProofNode[] memory nodes)
    {
        nodes = new ProofNode[](levels.length - 1);
        for (uint256 level = 0; level < nodes.length; level++) {
            nodes[level] = levels[level][(index >> level) ^ 1];
        }
    }

    function leafNode(Leaf memory leaf) internal pure returns (ProofNode memory node) {
        node.hash = keccak256(
            abi.encodePacked(
                hex"00",
                uint256(leaf.index),
                uint256(uint160(leaf.account)),
                uint256(leaf.cumulativeAmountWei),
                uint256(leaf.weight),
                uint256(leaf.reputation),
                leaf.row
            )
        );
        node.weight = leaf.weight < 2 ? 0 : leaf.weight;
        node.amountWei = leaf.cumulativeAmountWei;
    }

    function parent(ProofNode memory left, ProofNode memory right)
        internal
        pure
        returns (ProofNode memory node)
    {
        node.hash = keccak256(bytes.concat(hex"01", packed(left), packed(right)));
        node.weight = left.weight + right.weight;
        node.amountWei = left.amountWei + right.amountWei;
    }

    function packed(ProofNode memory node) internal pure returns (bytes memory) {
        return bytes.concat(node.hash, bytes8(node.weight), bytes16(node.amountWei));
    }
}
