// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {RoundStatus} from "./Types.sol";

/// @dev One round as `TrainingRun` keeps it. The first two slots are what actions write.
struct Round {
    // slot 0: clock
    uint40 openedAt;
    uint40 drawnAt;
    uint40 lastCommitAt; // of an expected trainer
    uint40 lastRevealAt;
    uint40 lastWeightCommitAt;
    uint40 lastWeightRevealAt;
    RoundStatus status;
    // slot 1: counters, and the size of the run when the round opened
    uint16 expected;
    uint16 expectedCommits;
    uint16 commits;
    uint16 reveals;
    uint16 expectedValidatorMask;
    uint16 weightCommitMask;
    uint16 weightRevealMask;
    uint16 attestMask;
    uint32 registrySize;
    uint16 trainerSlots;
    uint16 validatorSlots;
    uint40 settledAt;
    // slots 2 to 6
    bytes32 stakeLanes; // lane v, bits [16v, 16v+16): voting weight of validator slot v
    bytes32 assignSeed;
    bytes32 evalSeed;
    bytes32 revealsHash;
    bytes32 headerHash;
    // slots 7 and 8
    uint128 poolAtOpenWei;
    uint128 totalAmountWei;
    uint64 openedBlock;
    uint64 settledBlock;
}

/// @dev What a trainer did last; one slot, used again each round. Rounds are stored plus one, so that 0 is never.
struct TrainerWord {
    bytes24 commitment; // 0 once revealed
    uint32 committedIn;
    uint32 expectedIn;
}

/// @dev Where a run stands; one slot.
struct RunState {
    address sponsor;
    uint32 round;
    uint32 lastSettledRound;
    bool started;
    bool closed;
    bool finished;
    bool hasSettled;
}
