// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Leaf} from "../../src/types/Types.sol";

/// @dev Builds settlement trees. Written apart from `SettlementTree`, which it is to test: it hashes on its
/// own.
library Tree {
    /// @dev A large tree of which only a few leaves are known. What lies beside them is made up.
    struct Sparse {
        Leaf[] known;
        uint32 leafCount;
    }

    /* WHOLE TREES */

    /// @dev All levels, leaves first, each filled up to a power of two; the root is the only node of the
    /// last.
    function build(Leaf[] memory leaves) internal pure returns (bytes32[][] memory levels) {
        uint256 depth = depthOf(leaves.length);
        levels = new bytes32[][](depth + 1);
        levels[0] = new bytes32[](2 ** depth);
        for (uint256 i = 0; i < leaves.length; i++) {
            levels[0][i] = leafHash(leaves[i]);
        }
        for (uint256 level = 1; level <= depth; level++) {
            levels[level] = new bytes32[](2 ** (depth - level));
            for (uint256 i = 0; i < levels[level].length; i++) {
                levels[level][i] = parent(levels[level - 1][2 * i], levels[level - 1][2 * i + 1]);
            }
        }
    }

    function root(bytes32[][] memory levels) internal pure returns (bytes32) {
        return levels[levels.length - 1][0];
    }

    function proof(bytes32[][] memory levels, uint256 index) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](levels.length - 1);
        for (uint256 level = 0; level < nodes.length; level++) {
            nodes[level] = levels[level][(index >> level) ^ 1];
        }
    }

    /* SPARSE TREES */

    function root(Sparse memory tree) internal pure returns (bytes32) {
        return node(tree, depthOf(tree.leafCount), 0);
    }

    function proof(Sparse memory tree, uint256 index) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](depthOf(tree.leafCount));
        for (uint256 height = 0; height < nodes.length; height++) {
            nodes[height] = node(tree, height, (index >> height) ^ 1);
        }
    }

    /// @dev The node at a place: computed above known leaves, zero where it is all padding, else made up.
    function node(Sparse memory tree, uint256 height, uint256 place) internal pure returns (bytes32) {
        bool some;
        for (uint256 i = 0; i < tree.known.length; i++) {
            if (tree.known[i].index >> height != place) continue;
            if (height == 0) return leafHash(tree.known[i]);
            some = true;
        }
        if (height == 0 && place >= tree.leafCount) return 0;
        bool padding = place << height >= tree.leafCount;
        if (!some && !padding) return keccak256(abi.encode("made up", height, place));
        return parent(node(tree, height - 1, 2 * place), node(tree, height - 1, 2 * place + 1));
    }

    /* HASHES */

    function depthOf(uint256 leafCount) internal pure returns (uint256 depth) {
        while (2 ** depth < leafCount) depth++;
    }

    function leafHash(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                hex"00",
                uint256(leaf.index),
                uint256(uint160(leaf.account)),
                uint256(leaf.cumulativeAmountWei),
                detailHash(leaf)
            )
        );
    }

    function detailHash(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                uint256(leaf.detail.weight),
                uint256(leaf.detail.reputation),
                leaf.detail.row,
                uint256(leaf.detail.weightBefore),
                uint256(leaf.detail.amountBeforeWei)
            )
        );
    }

    function parent(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"01", left, right));
    }
}
