// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Fault, Header, Phase, Role} from "../types/Types.sol";

/// @title IRunBase
/// @notice Errors and events that the parts of a run share.
/// @dev Members are named by their slot: an act reads no more than the word of its member. Who has a slot in a round
/// follows from the registry (trainers), or from the seats of the round's epoch (validators).
interface IRunBase {
    /// @notice The run has ended.
    error RunHasFinished();
    /// @notice The act names another round than the open one, or one that the run does not remember.
    error WrongRound(uint32 round, uint32 current);
    /// @notice The act belongs to another phase of the round.
    error WrongPhase(uint32 round, Phase have, Phase want);
    /// @notice The address is no member's operator in this run.
    error NotOperator(address operator);
    /// @notice The member has another role than the act asks for.
    error WrongRole(address operator, Role have, Role want);
    /// @notice The member takes no part in the round: it joined later, or left.
    error NotActive(uint16 slot, uint32 round);
    /// @notice The validator has no voting weight in the round.
    error NoVotingWeight(uint16 slot, uint32 round);
    /// @notice The member has committed in the round already.
    error AlreadyCommitted(uint16 slot, uint32 round);
    /// @notice The CID is longer than a CID is.
    error CidTooLong(uint256 lengthBytes, uint256 limitBytes);
    /// @notice The run takes no coins with an empty call.
    error NoPlainPayments();
    /// @notice The act is possible from then on.
    error TooEarly(uint64 until);

    event RoundOpened(
        uint32 indexed round,
        bytes32 assignSeed,
        uint32 registrySize,
        uint16 trainerSlots,
        uint16 expected,
        uint128 heldWei
    );
    event EpochOpened(uint32 indexed epoch, uint32 indexed round, bytes32 stakeLanes, uint32[16] seats);
    event CheckedIn(uint32 indexed round, Role role, uint16 indexed slot);
    event ContributionCommitted(uint32 indexed round, uint16 indexed slot, bytes32 commitment);
    event CommitRefused(uint32 indexed round, uint256 position);
    event ContributionRevealed(uint32 indexed round, uint16 indexed slot, bytes32 contentHash, string cid);
    event Drawn(uint32 indexed round, bytes32 evalSeed);
    event WeightsCommitted(uint32 indexed round, uint16 indexed slot, bytes32 commitment);
    event WeightsRevealed(
        uint32 indexed round, uint16 indexed slot, bytes vector, bytes32 evidenceHash, string evidenceCid
    );
    event Attested(uint32 indexed round, uint16 indexed slot, bytes32 headerHash, string aggregateCid);
    event Settled(
        uint32 indexed round,
        uint32 indexed attempt,
        bytes32 headerHash,
        Header header,
        string aggregateCid,
        uint16 signerMask
    );
    event HeaderVoided(uint32 indexed round, uint32 indexed attempt, Fault fault, uint32 index, address by);
    event RoundVoided(uint32 indexed round);
    event RunClosed();
    event RunFinished(uint32 lastRound);
}
