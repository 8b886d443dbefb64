// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ClaimLeaf, Leaf, LeafDetail, Tree} from "../types/Types.sol";

/// @title SettlementTree
/// @notice Index-bound Merkle tree over the leaves of a settlement.
/// @dev Python twin: `emerit.protocol.settlement_tree`. A leaf is keccak256(0x00 || abi.encode(index,
/// account, cumulativeAmountWei, keccak256(abi.encode(detail)))), a node keccak256(0x01 || left || right).
/// The tree is filled up with zero words to 2^depth leaves, depth = ceil(log2(leafCount)). Bit i of a leaf's
/// index says that it is on the right at height i, and a proof has exactly `depth` siblings: an inner node
/// can't pass for a leaf (tag and length) nor a leaf for another (index).
library SettlementTree {
    /// @notice Whether the leaf is in the tree. Never reverts.
    function verify(Tree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        bytes32 hash;
        assembly ("memory-safe") {
            // 160 bytes of free memory
            let free := mload(0x40)
            // the detail: the last five of the leaf's eight words, as they are
            calldatacopy(free, add(leaf, 0x60), 0xa0)
            // its hash, as the fourth word of what is hashed
            mstore(add(free, 0x61), keccak256(free, 0xa0))
            // the tag of a leaf
            mstore8(free, 0x00)
            // the first three words
            calldatacopy(add(free, 0x01), leaf, 0x60)
            // the leaf
            hash := keccak256(free, 0x81)
        }
        return verifyHash(tree.root, tree.leafCount, hash, leaf.index, proof);
    }

    /// @notice Whether the leaf, of which only a hash of the detail is known, is in the tree. Never reverts.
    function verifyClaim(Tree calldata tree, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        (bool fits, bytes32 root) = claimRoot(leaf, tree.leafCount, proof);
        return fits && root == tree.root;
    }

    /// @notice The root that the leaf and its siblings lead to; `fits` if a tree of so many leaves has a leaf
    /// at this index and so many levels, else there is no root. Never reverts.
    function claimRoot(ClaimLeaf calldata leaf, uint32 leafCount, bytes32[] calldata proof)
        internal
        pure
        returns (bool fits, bytes32 root)
    {
        uint256 index;
        assembly ("memory-safe") {
            // 129 bytes of free memory
            let free := mload(0x40)
            // the tag of a leaf
            mstore8(free, 0x00)
            // its four words, as they are: one with bits beyond its type is another leaf
            calldatacopy(add(free, 0x01), leaf, 0x80)
            // the leaf
            root := keccak256(free, 0x81)
            // with bits beyond its type it is no leaf of any tree
            index := calldataload(leaf)
        }
        if (index >= leafCount || !_isDepth(proof.length, leafCount)) return (false, 0);
        return (true, rootFrom(root, uint32(index), proof));
    }

    /// @notice Whether the leaf with this hash is at `index` of the tree with this root. Never reverts.
    function verifyHash(bytes32 root, uint32 leafCount, bytes32 hash, uint32 index, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        return index < leafCount && _isDepth(proof.length, leafCount) && rootFrom(hash, index, proof) == root;
    }

    /// @notice The root of a tree that has `hash` at `index` and these siblings above it.
    function rootFrom(bytes32 hash, uint32 index, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32 node)
    {
        node = hash;
        assembly ("memory-safe") {
            // the bits of the path, the lowest at 0x20
            let rest := shl(5, index)
            // 65 bytes from 0x1f reach into the free pointer
            let free := mload(0x40)
            // the tag of a node is the byte before its children
            mstore8(0x1f, 0x01)
            // siblings from the bottom up
            let sibling := proof.offset
            // the end of the siblings
            let end := add(sibling, shl(5, proof.length))
            for {} lt(sibling, end) {} {
                // 0x20 if we are on the right, else 0
                let right := and(rest, 0x20)
                // ourselves on our side
                mstore(add(0x20, right), node)
                // the sibling on the other
                mstore(sub(0x40, right), calldataload(sibling))
                // the parent
                node := keccak256(0x1f, 0x41)
                // up one level
                rest := shr(1, rest)
                // the next sibling
                sibling := add(sibling, 0x20)
            }
            // the free pointer as it was
            mstore(0x40, free)
        }
    }

    /// @notice Hash of a leaf.
    function leafHash(uint32 index, address account, uint128 cumulativeAmountWei, bytes32 detail)
        internal
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            // 129 bytes of free memory
            let free := mload(0x40)
            // the tag of a leaf
            mstore8(free, 0x00)
            // then each field in a word of its own
            mstore(add(free, 0x01), and(index, 0xffffffff))
            // an address has 20 bytes
            mstore(add(free, 0x21), shr(96, shl(96, account)))
            // an amount has 16
            mstore(add(free, 0x41), shr(128, shl(128, cumulativeAmountWei)))
            // the rest, hashed
            mstore(add(free, 0x61), detail)
            // the leaf
            hash := keccak256(free, 0x81)
        }
    }

    /// @notice Hash of the part of a leaf that claims do not need.
    function detailHash(LeafDetail calldata detail) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // 160 bytes of free memory
            let free := mload(0x40)
            // its five words, as they are: one with bits beyond its type is another detail
            calldatacopy(free, detail, 0xa0)
            // hashed
            hash := keccak256(free, 0xa0)
        }
    }

    /// @dev Whether a tree of `leafCount` leaves, at least one, has so many levels above them:
    /// ceil(log2(leafCount)).
    function _isDepth(uint256 depth, uint32 leafCount) private pure returns (bool) {
        unchecked {
            return depth == 0 ? leafCount == 1 : uint256(leafCount - 1) >> (depth - 1) == 1;
        }
    }
}
