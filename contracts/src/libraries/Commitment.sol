// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header} from "../types/Types.sol";

/// @title Commitment
/// @notice Every hash that binds an act to this chain, this run, a round and an author.
library Commitment {
    bytes32 internal constant CONTRIBUTION = keccak256("emerit/contribution/v1");
    bytes32 internal constant WEIGHTS = keccak256("emerit/weights/v1");
    bytes32 internal constant ASSIGN = keccak256("emerit/assign/v1");
    bytes32 internal constant EVALUATE = keccak256("emerit/evaluate/v1");

    /// @notice What a trainer commits to before it reveals a contribution.
    function contribution(
        address run,
        uint32 round,
        address account,
        bytes32 contentHash,
        bytes32 cidHash,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(CONTRIBUTION, block.chainid, run, round, account, contentHash, cidHash, salt)
        );
    }

    /// @notice What a validator commits to before it reveals a weight vector.
    function weights(
        address run,
        uint32 round,
        address account,
        bytes32 vectorHash,
        bytes32 evidenceHash,
        bytes32 evidenceCidHash,
        bytes32 salt
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                WEIGHTS, block.chainid, run, round, account, vectorHash, evidenceHash, evidenceCidHash, salt
            )
        );
    }

    /// @notice Seed of a round's data assignment, from the randomness of this block.
    function assignSeed(address run, uint32 round) internal view returns (bytes32) {
        return keccak256(abi.encode(ASSIGN, block.chainid, run, round, block.prevrandao));
    }

    /// @notice Seed of a round's evaluation, from the randomness of this block.
    function evalSeed(address run, uint32 round) internal view returns (bytes32) {
        return keccak256(abi.encode(EVALUATE, block.chainid, run, round, block.prevrandao));
    }

    /// @notice Running hash of what was revealed, after a contribution.
    function afterContribution(bytes32 reveals, uint32 index, bytes32 contentHash, bytes32 cidHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(reveals, index, contentHash, cidHash));
    }

    /// @notice Running hash of what was revealed, after a weight vector.
    function afterWeights(bytes32 reveals, uint16 slot, bytes32 vectorHash, bytes32 evidenceHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(reveals, slot, vectorHash, evidenceHash));
    }

    /// @notice Hash of a settlement header.
    function headerHash(Header memory header) internal pure returns (bytes32) {
        return keccak256(abi.encode(header));
    }
}
