// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {MerkleSum} from "../../src/libraries/MerkleSum.sol";
import {Header, Leaf, ProofNode} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Tree} from "../utils/Tree.sol";

contract MerkleSumTest is BaseTest {
    uint256 private constant MOST_LEAVES = 40;

    Header private header;
    Leaf[] private leaves;
    ProofNode[][] private levels;

    /// @dev A tree of `count` random leaves; returns a place in it.
    function plant(uint256 seed, uint256 count, uint256 place) private returns (uint256) {
        count = bound(count, 1, MOST_LEAVES);
        for (uint32 i = 0; i < count; i++) {
            uint256 r = uint256(keccak256(abi.encode(seed, i)));
            leaves.push(
                Leaf({
                    index: i,
                    account: address(uint160(r)),
                    cumulativeAmountWei: uint128(r >> 160) >> 40,
                    weight: r % 5 < 2 ? uint64(r % 5) : uint64(r >> 200),
                    reputation: uint64(r >> 17),
                    row: keccak256(abi.encode(r))
                })
            );
        }
        levels = Tree.build(leaves);
        ProofNode memory root = Tree.root(levels);
        header.root = root.hash;
        header.totalWeight = root.weight;
        header.totalAmountWei = root.amountWei;
        header.leafCount = uint32(count);
        return place % count;
    }

    function accepts(Leaf memory leaf, ProofNode[] memory proof) private view returns (bool) {
        return MerkleSum.verify(header, leaf, proof);
    }

    function resized(ProofNode[] memory proof, uint256 length)
        private
        pure
        returns (ProofNode[] memory other)
    {
        other = new ProofNode[](length);
        for (uint256 i = 0; i < length && i < proof.length; i++) {
            other[i] = proof[i];
        }
    }

    /* REFUSALS */

    function testFuzz_RefusesAnotherIndex(uint256 seed, uint256 count, uint256 place, uint32 index) public {
        place = plant(seed, count, place);
        vm.assume(index != place);
        ProofNode[] memory proof = Tree.proof(levels, place);
        Leaf memory leaf = leaves[place];
        leaf.index = index;

        assertFalse(accepts(leaf, proof), "the index is in the leaf");
    }

    /// @dev Even a settler that plants two leaves with one index can have only one of them paid.
    function testFuzz_RefusesALeafAtAnotherPlace(uint256 seed, uint256 count, uint256 place, uint256 other)
        public
    {
        place = plant(seed, bound(count, 2, MOST_LEAVES), place);
        other = bound(other, 0, leaves.length - 1);
        vm.assume(other != place);
        leaves[place].index = uint32(other);
        levels = Tree.build(leaves);
        header.root = Tree.root(levels).hash;

        assertTrue(accepts(leaves[other], Tree.proof(levels, other)), "the one at its place");
        assertFalse(accepts(leaves[place], Tree.proof(levels, place)), "the one at another place");
    }

    function testFuzz_RefusesAnotherDepth(uint256 seed, uint256 count, uint256 place, uint256 length) public {
        place = plant(seed, count, place);
        ProofNode[] memory proof = Tree.proof(levels, place);
        length = bound(length, 0, 40);
        vm.assume(length != proof.length);

        assertFalse(accepts(leaves[place], resized(proof, length)), "length of the proof");
    }

    /// @dev Nor if it plants the second one at another depth: index 2 leads to the left child of the root in one step,
    /// and to the left of the right child in two. Only the exact length of proofs tells these apart.
    function testFuzz_RefusesASecondLeafAtAnotherDepth(uint256 seed, uint64 extraWei) public {
        plant(seed, 4, 0);
        Leaf memory second = leaves[2];
        second.cumulativeAmountWei += extraWei;
        ProofNode[] memory short = new ProofNode[](1);
        short[0] = levels[1][1];
        ProofNode[] memory long = Tree.proof(levels, 2);
        long[1] = Tree.leafNode(second);
        ProofNode memory root = Tree.parent(long[1], short[0]);
        header.root = root.hash;
        header.totalWeight = root.weight;
        header.totalAmountWei = root.amountWei;

        assertTrue(accepts(leaves[2], long), "the one at full depth");
        assertFalse(accepts(second, short), "the one above");
    }

    /// @dev The attack on trees of unchecked depth: an inner node, with the proof of that node.
    function testFuzz_RefusesAnInnerNodeAsALeaf(
        uint256 seed,
        uint256 count,
        uint256 place,
        uint256 level,
        Leaf memory leaf
    ) public {
        place = plant(seed, bound(count, 2, MOST_LEAVES), place);
        level = bound(level, 1, levels.length - 1);
        ProofNode memory inner = levels[level][place >> level];
        leaf.index = uint32(place >> level);
        leaf.weight = inner.weight;
        leaf.cumulativeAmountWei = inner.amountWei;
        leaf.row = inner.hash;
        ProofNode[] memory short = new ProofNode[](levels.length - 1 - level);
        for (uint256 i = 0; i < short.length; i++) {
            short[i] = levels[level + i][(place >> (level + i)) ^ 1];
        }

        assertFalse(accepts(leaf, short), "short proof");
        assertFalse(accepts(leaf, resized(short, levels.length - 1)), "filled up with padding");
    }

    function testFuzz_RefusesPadding(uint256 seed, uint256 count, uint256 place) public {
        plant(seed, count, 0);
        vm.assume(leaves.length < levels[0].length);
        place = bound(place, leaves.length, levels[0].length - 1);
        Leaf memory leaf;
        leaf.index = uint32(place);

        assertFalse(accepts(leaf, Tree.proof(levels, place)), "no leaf there");
    }

    function testFuzz_RefusesAChangedLeaf(
        uint256 seed,
        uint256 count,
        uint256 place,
        uint8 field,
        uint64 change
    ) public {
        place = plant(seed, count, place);
        vm.assume(change != 0);
        Leaf memory leaf = leaves[place];
        field = field % 5;
        if (field == 0) leaf.account = address(uint160(leaf.account) ^ change);
        else if (field == 1) leaf.cumulativeAmountWei ^= change;
        else if (field == 2) leaf.weight ^= change;
        else if (field == 3) leaf.reputation ^= change;
        else leaf.row ^= bytes32(uint256(change));

        assertFalse(accepts(leaf, Tree.proof(levels, place)), "every field is hashed");
    }

    function testFuzz_RefusesAChangedProof(
        uint256 seed,
        uint256 count,
        uint256 place,
        uint256 level,
        uint8 field,
        uint64 change
    ) public {
        place = plant(seed, bound(count, 2, MOST_LEAVES), place);
        vm.assume(change != 0);
        ProofNode[] memory proof = Tree.proof(levels, place);
        level = bound(level, 0, proof.length - 1);
        field = field % 3;
        if (field == 0) proof[level].hash ^= bytes32(uint256(change));
        else if (field == 1) proof[level].weight ^= change;
        else proof[level].amountWei ^= change;

        assertFalse(accepts(leaves[place], proof), "every field is hashed or summed");
    }

    function testFuzz_RefusesAChangedRoot(
        uint256 seed,
        uint256 count,
        uint256 place,
        uint8 field,
        uint64 change
    ) public {
        place = plant(seed, count, place);
        vm.assume(change != 0);
        field = field % 3;
        if (field == 0) header.root ^= bytes32(uint256(change));
        else if (field == 1) header.totalWeight ^= change;
        else header.totalAmountWei ^= change;

        assertFalse(accepts(leaves[place], Tree.proof(levels, place)), "the root is bound with its sums");
    }

    /// @dev Sums past their types are refused; they neither wrap nor revert.
    function testFuzz_RefusesSumsThatOverflow(Leaf memory leaf, uint64 weight, uint128 amountWei) public {
        plant(1, 2, 0);
        leaf.index = 0;
        leaf.weight = uint64(bound(leaf.weight, 2, type(uint64).max));
        leaf.cumulativeAmountWei = uint128(bound(leaf.cumulativeAmountWei, 1, type(uint128).max));
        ProofNode[] memory proof = Tree.proof(levels, 0);
        proof[0].weight = uint64(bound(weight, type(uint64).max - leaf.weight + 1, type(uint64).max));
        assertFalse(accepts(leaf, proof), "weight");

        proof = Tree.proof(levels, 0);
        uint256 least = type(uint128).max - leaf.cumulativeAmountWei + 1;
        proof[0].amountWei = uint128(bound(amountWei, least, type(uint128).max));
        assertFalse(accepts(leaf, proof), "amount");
    }

    function testFuzz_RefusesAnythingOfAnEmptyTree(Leaf memory leaf, bytes32 root) public {
        header.root = root;
        assertFalse(accepts(leaf, new ProofNode[](0)), "no leaves");
    }

    /* ACCEPTED */

    function testFuzz_AcceptsEveryLeaf(uint256 seed, uint256 count) public {
        plant(seed, count, 0);
        for (uint256 i = 0; i < leaves.length; i++) {
            assertTrue(accepts(leaves[i], Tree.proof(levels, i)), "in the tree");
        }
    }

    function testFuzz_Depth(uint32 leafCount) public pure {
        uint256 depth = MerkleSum.depthOf(leafCount);

        assertGe(2 ** depth, leafCount, "room for all");
        if (leafCount > 1) assertLt(2 ** (depth - 1), leafCount, "no more than needed");
        else assertEq(depth, 0, "one node");
    }

    function test_AcceptsASingleLeaf() public {
        plant(7, 1, 0);

        assertEq(header.root, Tree.leafNode(leaves[0]).hash, "the leaf is the root");
        assertTrue(accepts(leaves[0], new ProofNode[](0)), "no proof needed");
    }

    function test_PayableWeight() public pure {
        assertEq(MerkleSum.payableWeight(0), 0, "none");
        assertEq(MerkleSum.payableWeight(1), 0, "admissible");
        assertEq(MerkleSum.payableWeight(2), 2, "paid");
    }
}
