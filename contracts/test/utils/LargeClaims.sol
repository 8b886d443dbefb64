// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {ClaimLeaf, OpenedTree, Tree} from "../../src/types/Types.sol";
import {MoneyFixture} from "./MoneyFixture.sol";

/// @dev Claims under trees of any size: two leaves with made-up siblings. What a proof costs does not depend on what is
/// beside it.
abstract contract LargeClaims is MoneyFixture {
    struct Shown {
        OpenedTree tree;
        ClaimLeaf leaf;
        bytes32[] proof;
    }

    address private constant ONE = 0x1111111111111111111111111111111111111111;
    address private constant OTHER = 0x2222222222222222222222222222222222222222;

    /// @dev A final header with two neighbours in it, for accounts that are the same in every round.
    function large(uint32 round, uint32 leafCount, uint128 amountWei)
        internal
        returns (Shown memory one, Shown memory other)
    {
        uint32 index = (leafCount - 300) & ~uint32(1);
        one.leaf = ClaimLeaf(index, ONE, amountWei, keccak256(abi.encode("one", round)));
        other.leaf = ClaimLeaf(index + 1, OTHER, amountWei, keccak256(abi.encode("other", round)));
        uint256 depth;
        while (uint256(1) << depth < leafCount) {
            depth++;
        }
        (one.proof, other.proof) = (new bytes32[](depth), new bytes32[](depth));
        (one.proof[0], other.proof[0]) = (hashOf(other.leaf), hashOf(one.leaf));
        bytes32 node = keccak256(abi.encodePacked(bytes1(0x01), other.proof[0], one.proof[0]));
        for (uint256 i = 1; i < depth; i++) {
            bytes32 sibling = keccak256(abi.encode("sibling", round, i));
            (one.proof[i], other.proof[i]) = (sibling, sibling);
            (bytes32 left, bytes32 right) = index >> i & 1 == 1 ? (sibling, node) : (node, sibling);
            node = keccak256(abi.encodePacked(bytes1(0x01), left, right));
        }
        Tree memory tree = Tree(node, 77_777_777, 900 ether, leafCount);
        one.tree = OpenedTree(round, keccak256(abi.encode("body", round)), tree);
        other.tree = one.tree;
        bytes32 treeHash = keccak256(abi.encode(Commitment.TREE_TYPEHASH, tree));
        run.setHeader(round, Commitment.headerHash(one.tree.bodyHash, treeHash), true);
    }

    function hashOf(ClaimLeaf memory leaf) private pure returns (bytes32) {
        return keccak256(bytes.concat(bytes1(0), abi.encode(leaf)));
    }
}
