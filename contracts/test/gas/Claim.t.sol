// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {ClaimLeaf, OpenedTree, Tree} from "../../src/types/Types.sol";
import {MoneyFixture} from "../utils/MoneyFixture.sol";

/// @dev Gas of claims as whole transactions (`forge test --isolate`). A *next* claim: the account was paid before, and
/// another claim has shown that the header is final. A tree of 131,000 leaves is two leaves with random siblings: what
/// a proof costs does not depend on what is beside it.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract ClaimGasTest is MoneyFixture {
    struct Shown {
        OpenedTree tree;
        ClaimLeaf leaf;
        bytes32[] proof;
    }

    string private constant TABLE = "gas";
    address private constant ONE = 0x1111111111111111111111111111111111111111;
    address private constant OTHER = 0x2222222222222222222222222222222222222222;

    function setUp() public override {
        super.setUp();
        fund(run, POOL_WEI);
    }

    function hashOf(ClaimLeaf memory leaf) private pure returns (bytes32) {
        return keccak256(bytes.concat(bytes1(0), abi.encode(leaf)));
    }

    /// @dev A final header with two neighbours in it.
    function large(uint32 round, uint32 leafCount, uint128 amountWei)
        private
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

    function claims(uint32 leafCount, string memory name) private {
        (Shown memory one, Shown memory other) = large(301, leafCount, 1.234567891234567891 ether);
        rewards.claim(address(run), one.tree, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the run"));
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the account"));
        (one, other) = large(302, leafCount, 2.345678912345678912 ether);
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the header"));
        uint256 state = vm.snapshotState();
        rewards.claim(address(run), one.tree, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", next"));
        vm.revertToState(state);
        rewards.claimNext(address(run), leafCount, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claimNext, ", name));
    }

    function test_Claims1k() public {
        claims(1_000, "1,000 leaves");
    }

    function test_Claims131k() public {
        claims(131_000, "131,000 leaves");
    }
}
