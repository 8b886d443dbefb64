// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {SettlementTree} from "../../src/libraries/SettlementTree.sol";
import {ClaimLeaf, Leaf, Tree as TreeOf} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev The library takes calldata: a contract to call it through.
contract TreeCaller {
    function verify(TreeOf calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return SettlementTree.verify(tree, leaf, proof);
    }

    function verifyClaim(TreeOf calldata tree, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return SettlementTree.verifyClaim(tree, leaf, proof);
    }
}

/// @dev `SettlementTree` against trees that `Tree` built on its own.
contract SettlementTreeTest is BaseTest {
    TreeCaller private _caller = new TreeCaller();

    function testFuzz_EveryLeafVerifies(uint256 seed, uint8 size) public view {
        Leaf[] memory leaves = make(seed, 1 + size % 40);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, leaves.length);
        for (uint256 i = 0; i < leaves.length; i++) {
            bytes32[] memory proof = Tree.proof(levels, i);
            assertTrue(_caller.verify(tree, leaves[i], proof));
            assertTrue(_caller.verifyClaim(tree, claimOf(leaves[i]), proof));
        }
    }

    function testFuzz_NoOtherLeafVerifies(uint256 seed, uint8 size, uint8 index, uint8 field, uint256 bit)
        public
        view
    {
        Leaf[] memory leaves = make(seed, 1 + size % 40);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, leaves.length);
        index = index % uint8(leaves.length);
        bytes32[] memory proof = Tree.proof(levels, index);
        Leaf memory leaf = leaves[index];
        flip(leaf, field % 8, bit);
        assertFalse(_caller.verify(tree, leaf, proof));
        assertFalse(_caller.verifyClaim(tree, claimOf(leaf), proof));
    }

    function testFuzz_OnlyTheRightProofVerifies(
        uint256 seed,
        uint8 size,
        uint8 index,
        uint8 length,
        uint8 place,
        bytes32 node
    ) public view {
        Leaf[] memory leaves = make(seed, 1 + size % 40);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, leaves.length);
        index = index % uint8(leaves.length);
        bytes32[] memory right = Tree.proof(levels, index);
        bytes32[] memory proof = new bytes32[](length % 40);
        for (uint256 i = 0; i < proof.length; i++) {
            proof[i] = i < right.length ? right[i] : node;
        }
        if (proof.length == right.length) {
            if (proof.length == 0) return;
            place = place % uint8(proof.length);
            vm.assume(proof[place] != node);
            proof[place] = node;
        }
        assertFalse(_caller.verify(tree, leaves[index], proof));
        assertFalse(_caller.verifyClaim(tree, claimOf(leaves[index]), proof));
    }

    /// @dev A tree that says another number of leaves: the depth or the place is another.
    function testFuzz_LeafCountBindsDepth(uint256 seed, uint8 size, uint8 index, uint32 leafCount)
        public
        view
    {
        Leaf[] memory leaves = make(seed, 1 + size % 40);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, leaves.length);
        tree.leafCount = leafCount;
        index = index % uint8(leaves.length);
        bool fits = index < leafCount && Tree.depthOf(leafCount) == levels.length - 1;
        assertEq(_caller.verify(tree, leaves[index], Tree.proof(levels, index)), fits);
    }

    /// @dev An inner node's 65 bytes are no leaf's 129, and its tag is another: what hashes to it is not a
    /// leaf.
    function test_InnerNodeIsNoLeaf() public view {
        Leaf[] memory leaves = make(1, 4);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, 2);
        // A tree of "two leaves" whose leaves are the inner nodes of this one.
        bytes32[] memory proof = new bytes32[](1);
        for (uint256 i = 0; i < 4; i++) {
            proof[0] = levels[1][1 - i / 2];
            Leaf memory leaf = leaves[i];
            leaf.index = uint32(i / 2);
            assertFalse(_caller.verify(tree, leaf, proof));
        }
    }

    function test_PaddingIsNoLeaf() public view {
        Leaf[] memory leaves = make(1, 5);
        bytes32[][] memory levels = Tree.build(leaves);
        TreeOf memory tree = treeOf(levels, 5);
        Leaf memory none;
        for (uint32 i = 5; i < 9; i++) {
            none.index = i;
            assertFalse(_caller.verify(tree, none, Tree.proof(levels, i % 8)));
        }
    }

    /// @dev 131,000 leaves, of which few are known: the sparse builder and the library agree.
    function testFuzz_LargeTree(uint256 seed, uint32 index) public view {
        Leaf[] memory leaves = make(seed, 3);
        index = index % 130_990;
        for (uint32 i = 0; i < 3; i++) {
            leaves[i].index = index + 4 * i;
        }
        Tree.Sparse memory sparse = Tree.Sparse(leaves, 131_000);
        TreeOf memory tree;
        (tree.root, tree.leafCount) = (Tree.root(sparse), 131_000);
        for (uint256 i = 0; i < 3; i++) {
            bytes32[] memory proof = Tree.proof(sparse, leaves[i].index);
            assertEq(proof.length, 17);
            assertTrue(_caller.verify(tree, leaves[i], proof));
        }
    }

    /* HELPERS */

    function make(uint256 seed, uint256 size) private pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](size);
        for (uint256 i = 0; i < size; i++) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            leaves[i].index = uint32(i);
            leaves[i].account = address(uint160(random));
            leaves[i].cumulativeAmountWei = uint128(random >> 100);
            leaves[i].detail.weight = uint64(random >> 3);
            leaves[i].detail.reputation = uint64(random >> 90);
            leaves[i].detail.row = bytes32(random);
            leaves[i].detail.weightBefore = uint64(random >> 17);
            leaves[i].detail.amountBeforeWei = uint128(random >> 19);
        }
    }

    function flip(Leaf memory leaf, uint256 field, uint256 bit) private pure {
        uint256 one = 1 << (bit % 32);
        if (field == 0) leaf.index ^= uint32(one);
        if (field == 1) leaf.account = address(uint160(leaf.account) ^ uint160(one));
        if (field == 2) leaf.cumulativeAmountWei ^= uint128(one);
        if (field == 3) leaf.detail.weight ^= uint64(one);
        if (field == 4) leaf.detail.reputation ^= uint64(one);
        if (field == 5) leaf.detail.row ^= bytes32(one);
        if (field == 6) leaf.detail.weightBefore ^= uint64(one);
        if (field == 7) leaf.detail.amountBeforeWei ^= uint128(one);
    }

    function claimOf(Leaf memory leaf) private pure returns (ClaimLeaf memory) {
        return ClaimLeaf(leaf.index, leaf.account, leaf.cumulativeAmountWei, Tree.detailHash(leaf));
    }

    function treeOf(bytes32[][] memory levels, uint256 size) private pure returns (TreeOf memory tree) {
        (tree.root, tree.leafCount) = (Tree.root(levels), uint32(size));
    }
}
