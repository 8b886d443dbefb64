// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, OpenedTree, Tree} from "../types/Types.sol";

/// @title Commitment
/// @notice Every hash that binds an act to this chain, this run, a round and an author.
/// @dev The author is a slot: the word of the member that acts has it, and who has a slot in a round can't change.
library Commitment {
    bytes32 internal constant CONTRIBUTION = keccak256("emerit/contribution/v2");
    bytes32 internal constant WEIGHTS = keccak256("emerit/weights/v2");
    bytes32 internal constant REVEALS = keccak256("emerit/reveals/v1");
    bytes32 internal constant ASSIGN = keccak256("emerit/assign/v1");
    bytes32 internal constant EVALUATE = keccak256("emerit/evaluate/v1");

    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant NAME_HASH = keccak256("Emerit");
    bytes32 internal constant VERSION_HASH = keccak256("1");
    bytes32 internal constant COMMIT_TYPEHASH = keccak256("Commit(uint32 round,bytes32 commitment)");
    bytes32 internal constant BODY_TYPEHASH = keccak256(
        "Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)"
    );
    bytes32 internal constant TREE_TYPEHASH =
        keccak256("Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)");
    bytes32 internal constant HEADER_TYPEHASH = keccak256(
        "Header(Body body,Tree tree)Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)"
    );

    /// @dev Half of the order of secp256k1.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /* COMMITMENTS */

    /// @notice What a trainer commits to before it reveals a contribution.
    function contribution(
        address run,
        uint32 round,
        uint16 slot,
        bytes32 contentHash,
        bytes32 cidHash,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(CONTRIBUTION, block.chainid, run, round, slot, contentHash, cidHash, salt)
        );
    }

    /// @notice What a validator commits to before it reveals a weight vector.
    function weights(
        address run,
        uint32 round,
        uint16 slot,
        bytes32 vectorHash,
        bytes32 evidenceHash,
        bytes32 evidenceCidHash,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                WEIGHTS, block.chainid, run, round, slot, vectorHash, evidenceHash, evidenceCidHash, salt
            )
        );
    }

    /* SEEDS */

    /// @notice Seed of a round's data assignment, from the randomness of this block.
    function assignSeed(address run, uint32 round) internal view returns (bytes32) {
        return keccak256(abi.encode(ASSIGN, block.chainid, run, round, block.prevrandao));
    }

    /// @notice Seed of a round's evaluation, from the randomness of this block.
    function evalSeed(address run, uint32 round) internal view returns (bytes32) {
        return keccak256(abi.encode(EVALUATE, block.chainid, run, round, block.prevrandao));
    }

    /* RUNNING HASH OF REVEALS */

    /// @notice Running hash of a round in which nothing has been revealed yet; not zero, so that its slot stays used.
    function noReveals(address run, uint32 round) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVEALS, run, round));
    }

    /// @notice Running hash of what was revealed, after a contribution.
    function afterContribution(bytes32 reveals, uint16 slot, bytes32 contentHash, bytes32 cidHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(reveals, slot, contentHash, cidHash));
    }

    /// @notice Running hash of what was revealed, after a weight vector.
    function afterWeights(bytes32 reveals, uint16 slot, bytes32 vectorHash, bytes32 evidenceHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(reveals, slot, vectorHash, evidenceHash));
    }

    /* EIP-712 */

    /// @notice Domain of everything that is signed for a run.
    function domain(address run) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, run));
    }

    /// @notice What is signed: a struct in a domain.
    function digest(bytes32 domain_, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain_, structHash));
    }

    /// @notice Who signed; zero if nobody did. Signature as in EIP-2098, and only the one of the two that is the lower.
    function signer(bytes32 digest_, bytes32 r, bytes32 vs) internal pure returns (address) {
        uint256 s = uint256(vs) & (type(uint256).max >> 1);
        if (s > HALF_ORDER) return address(0);
        return ecrecover(digest_, uint8((uint256(vs) >> 255) + 27), r, bytes32(s));
    }

    /// @notice Struct hash of a commitment that is relayed.
    function commitStruct(uint32 round, bytes32 commitment) internal pure returns (bytes32) {
        return keccak256(abi.encode(COMMIT_TYPEHASH, round, commitment));
    }

    /// @notice Struct hash of a settlement header.
    /// @dev A word with bits beyond its type has another hash, and is refused by whoever reads the field.
    function headerHash(Header calldata header) internal pure returns (bytes32 hash) {
        (bytes32 bodyType, bytes32 treeType, bytes32 headerType) =
            (BODY_TYPEHASH, TREE_TYPEHASH, HEADER_TYPEHASH);
        assembly ("memory-safe") {
            // scratch beyond the free pointer
            let free := mload(0x40)
            // the body: typehash and eight words
            mstore(free, bodyType)
            calldatacopy(add(free, 0x20), header, 0x100)
            let bodyHash := keccak256(free, 0x120)
            // the tree: typehash and four words
            mstore(free, treeType)
            calldatacopy(add(free, 0x20), add(header, 0x100), 0x80)
            let treeHash := keccak256(free, 0xa0)
            // both
            mstore(free, headerType)
            mstore(add(free, 0x20), bodyHash)
            mstore(add(free, 0x40), treeHash)
            hash := keccak256(free, 0x60)
        }
    }

    /// @notice Struct hash of a settlement header from the hashes of its two halves.
    function headerHash(bytes32 bodyHash, bytes32 treeHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(HEADER_TYPEHASH, bodyHash, treeHash));
    }

    /// @notice Struct hash of the tree of a header.
    function hashOfTree(Tree calldata tree) internal pure returns (bytes32) {
        return keccak256(abi.encode(TREE_TYPEHASH, tree));
    }

    /// @notice Struct hash of a settlement header of which only the tree is opened.
    function openedHash(OpenedTree calldata opened) internal pure returns (bytes32 hash) {
        (bytes32 treeType, bytes32 headerType) = (TREE_TYPEHASH, HEADER_TYPEHASH);
        bytes32 bodyHash = opened.bodyHash;
        Tree calldata tree = opened.tree;
        assembly ("memory-safe") {
            // scratch beyond the free pointer
            let free := mload(0x40)
            // typehash and the four words of the tree, as they are: a word with bits beyond its type has another hash
            mstore(free, treeType)
            calldatacopy(add(free, 0x20), tree, 0x80)
            // the tree's struct hash, last of the header's three words
            mstore(add(free, 0x40), keccak256(free, 0xa0))
            mstore(free, headerType)
            mstore(add(free, 0x20), bodyHash)
            hash := keccak256(free, 0x60)
        }
    }
}
