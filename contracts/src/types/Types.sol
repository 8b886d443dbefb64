// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

/// @dev What a member of a run does. `None` marks an entry that does not exist.
enum Role {
    None,
    Trainer,
    Validator
}

/// @dev Where a run stands now. Computed from the block's time and from counters, never stored.
enum Phase {
    NotStarted,
    Train,
    Reveal,
    Draw,
    Score,
    WeightReveal,
    Settle,
    Expired,
    Finished
}

/// @dev What became of a round.
enum RoundStatus {
    None,
    Open,
    Settled,
    Void
}

/// @dev Everything that is fixed when a run is created. The order of the fields packs the clock into one slot.
struct RunParams {
    address rewardToken;
    bytes32 manifestHash; // sha256 of the manifest's bytes
    string manifestCid;
    bytes32 initialStateRoot;
    uint32 trainSeconds;
    uint32 revealSeconds;
    uint32 drawDelaySeconds;
    uint32 scoreSeconds;
    uint32 weightRevealSeconds;
    uint32 settleSeconds;
    uint32 minRoundSeconds; // no round settles earlier after it opened
    uint32 nominalRoundSeconds; // a round is paid for no more than this
    uint32 challengeWindowSeconds; // claims against a header open this long after it settled
    uint32 maxRounds; // 0: until the sponsor closes the run
    uint16 minTrainers;
    uint16 minValidators;
    uint16 validatorShareBps; // read off chain, by whoever computes a settlement
    uint128 rewardRateWeiPerSecond;
    uint128 minTrainerBondWei;
    uint128 minValidatorStakeWei;
    uint128 stakeUnitWei; // one unit of voting weight
    uint32 reputationKeepPpb; // kept of a reputation per round since it was materialised, in 1e-9
}

/// @dev What validators sign off. The chain keeps `keccak256(abi.encode(header))`.
struct Header {
    address run;
    uint32 round;
    uint32 attempt;
    bytes32 previous; // hash of the last settled header, 0 for the first
    bytes32 reveals; // running hash of everything revealed in the round
    bytes32 root; // Merkle-sum root over the registry
    uint64 totalWeight; // sum of the payable weights
    uint128 totalAmountWei; // sum of the cumulative amounts
    uint32 leafCount;
    uint128 budgetWei;
    bytes32 stateRoot;
    bytes32 aggregateHash;
}

/// @dev One member's line of a settlement.
struct Leaf {
    uint32 index;
    address account;
    uint128 cumulativeAmountWei;
    uint64 weight;
    uint64 reputation;
    bytes32 row; // lane of each validator, 16 bits each
}

/// @dev A node of the Merkle-sum tree.
struct ProofNode {
    bytes32 hash;
    uint64 weight;
    uint128 amountWei;
}

/// @dev A member of a run. `activeFrom <= round < activeUntil` is when it takes part.
struct Entry {
    address account; // cold: owns the stake and the rewards
    address operator; // hot: acts in rounds
    Role role;
    uint16 slot; // position among the members of its role
    uint32 index; // position in the registry
    uint32 activeFrom;
    uint32 activeUntil; // type(uint32).max while it has not left
    uint128 stakeWei;
    uint64 withdrawableAt; // 0 while it has not left
}

/// @dev Everything a node polls, in one call. Times are in seconds since 1970.
struct Status {
    uint32 round;
    Phase phase;
    uint64 phaseEndsAt; // Draw: the earliest time to draw. 0 in NotStarted, Expired and Finished
    uint64 timestamp;
    uint64 blockNumber;
    uint16 expected;
    uint16 expectedCommits;
    uint16 commits;
    uint16 reveals;
    uint16 validatorMask; // validator slots with voting weight in this round
    uint16 expectedValidatorMask;
    uint16 weightCommitMask;
    uint16 weightRevealMask;
    uint16 attestMask;
    bytes32 assignSeed;
    bytes32 evalSeed; // 0 until drawn
    bool hasSettled;
    uint32 lastSettledRound;
    bytes32 lastHeaderHash;
    bool closed;
}

/// @dev One round. An end time that lies ahead is what it would be if nobody acted any more; it is 0 where it
/// depends on a draw that has not been made.
struct RoundInfo {
    RoundStatus status;
    uint64 openedAt;
    uint64 trainEndsAt;
    uint64 revealEndsAt;
    uint64 drawnAt;
    uint64 scoreEndsAt;
    uint64 weightRevealEndsAt;
    uint64 settledAt;
    uint64 finalAt;
    uint32 registrySize;
    uint16 trainerSlots;
    uint16 validatorSlots;
    bytes32 stakeLanes;
    uint128 poolAtOpenWei;
    uint64 openedBlock;
    uint64 settledBlock;
    uint16 commits;
    uint16 reveals;
    bytes32 assignSeed;
    bytes32 evalSeed;
    bytes32 revealsHash;
    bytes32 headerHash;
    uint128 totalAmountWei;
}
