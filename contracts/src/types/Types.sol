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

/// @dev What became of a round. Whether a settled round's header still counts is `isPaid`, not its status.
enum RoundStatus {
    None,
    Open,
    Settled,
    Void
}

/// @dev What was wrong with a header, or with a signer.
enum Fault {
    None,
    Row, // a lane that is not what the validator revealed
    Weight, // not the stake-weighted median of the row
    Amount, // does not follow from the last leaf, the weight and the budget
    Reputation, // does not follow from the last leaf and the row
    Sum, // the running totals do not follow from the leaves
    Identity, // the leaf names another account than the registry
    Coverage, // a validator is paid, or not, against what its row shows
    Withheld, // a leaf under the root was not shown in time
    Equivocation // two signed headers for the same round, attempt, previous header and reveals
}

/// @dev Everything that is fixed when a run is created.
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
    uint32 challengeWindowSeconds; // a header can be challenged this long after it settled
    uint32 answerSeconds; // how long a demanded leaf may take to be shown
    uint32 claimPeriodSeconds; // after the end of the run, until unclaimed rewards go back to the sponsor
    uint32 maxRounds; // 0: until the sponsor closes the run
    uint32 historyRounds; // rounds that the contract remembers
    uint16 epochRounds; // validators' seats and voting weights change every so many rounds
    uint16 minTrainers;
    uint16 minValidators;
    uint16 validatorShareBps;
    uint16 slashRounds; // a wrong header costs its signers this many nominal rounds' budgets, together
    uint128 rewardRateWeiPerSecond;
    uint128 minTrainerBondWei;
    uint128 minValidatorStakeWei;
    uint128 stakeUnitWei; // one unit of voting weight
    uint128 missFineWei; // for a commitment not opened, or a signature not given in a void round
    uint128 demandBondWei; // of the chain's own coin; pays for the answer
    ReputationParams reputation;
}

/// @dev MeritRank on the seed graph, in 1e-9; `emerit.protocol.reputation` has the formulas.
struct ReputationParams {
    uint32 continuePpb; // transitivity: a walk goes on
    uint32 neckThresholdPpb; // connectivity: this much through one validator is a neck
    uint32 connectivityDecayPpb; // what a neck costs
    uint32 epochWeightPpb; // the new round's part of the running average
    uint32 keepPpb; // kept of a stored reputation per round since it was materialised
    uint16 neckMinValidators; // with fewer staked validators there is no neck
}

/// @dev What a settlement says about the round; every field is a function of what is on chain and of blobs whose
/// hashes are on chain.
struct Body {
    address run;
    uint32 round;
    uint32 attempt;
    bytes32 previous; // hash of the header before it in the pay chain, 0 for the first
    bytes32 reveals; // running hash of everything revealed in the round
    uint128 budgetWei;
    bytes32 stateRoot;
    bytes32 aggregateHash;
}

/// @dev The leaves of a settlement: an index-bound Merkle tree over the registry, with running totals in the leaves.
struct Tree {
    bytes32 root;
    uint64 totalWeight; // sum of the payable weights
    uint128 totalAmountWei; // sum of the cumulative amounts
    uint32 leafCount;
}

/// @dev What validators sign (EIP-712). The chain keeps its struct hash, keccak256(typehash, hash(body), hash(tree)).
struct Header {
    Body body;
    Tree tree;
}

/// @dev A header of which only the tree is opened: all that a proof needs.
struct OpenedTree {
    uint32 round;
    bytes32 bodyHash;
    Tree tree;
}

/// @dev One member's line of a settlement.
struct Leaf {
    uint32 index;
    address account;
    uint128 cumulativeAmountWei;
    LeafDetail detail;
}

/// @dev What a claim does not have to show.
struct LeafDetail {
    uint64 weight; // trainers: consensus weight. Validators: 0, or 1 + index of a leaf it failed to cover
    uint64 reputation; // in 1e-9
    bytes32 row; // lane of each validator: of this trainer's weight, or (validators) of the base loss
    uint64 weightBefore; // sum of the payable weights of the leaves before this one
    uint128 amountBeforeWei; // sum of the cumulative amounts of the leaves before this one
}

/// @dev A leaf of which only what claims need is opened.
struct ClaimLeaf {
    uint32 index;
    address account;
    uint128 cumulativeAmountWei;
    bytes32 detailHash; // keccak256(abi.encode(detail))
}

/// @dev The leaf at the same index of the header before, as the base of an amount or a reputation. All zero with an
/// empty proof where there is none: before the first header, or at an index that the header before has no leaf of.
struct PreviousLeaf {
    bytes32 bodyHash;
    Tree tree;
    address account; // a wrong one that nobody challenged in time is a base all the same
    uint128 cumulativeAmountWei;
    LeafDetail detail;
    bytes32[] proof;
}

/// @dev One member of a run.
struct Entry {
    // one slot: all that a challenge asks for
    address account; // cold: owns the stake and the rewards
    Role role;
    uint16 slot; // lane: position among the members of its role. Used again once a member has withdrawn
    uint32 activeFrom;
    uint32 activeUntil; // type(uint32).max while it has not left
    // two more
    address operator; // hot: acts in rounds
    uint32 index; // position in the registry, never used again
    uint64 leftAt; // 0 while it has not left
    uint128 stakeWei;
}

/// @dev A trainer's commitment as its operator signed it for a relayer (EIP-712 `Commit(uint32 round,bytes32
/// commitment)`); the signature in the compact form of EIP-2098.
struct SignedCommit {
    bytes32 commitment;
    bytes32 r;
    bytes32 vs;
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
    uint16 validatorMask; // validator slots with voting weight in this epoch
    uint16 expectedValidatorMask;
    uint16 weightCommitMask;
    uint16 weightRevealMask;
    uint16 attestMask;
    bytes32 assignSeed;
    bytes32 evalSeed; // 0 until drawn
    bool hasSettled; // the pay chain is not empty
    uint32 lastSettledRound; // head of the pay chain
    bytes32 lastHeaderHash;
    bool closed;
    bool behind; // a round that settled has lost its pay and must be settled again first
    uint32 behindRound; // that round
    uint32 behindAttempt; // the attempt to settle it with
}

/// @dev One round that the contract remembers. An end time that lies ahead is what it would be if nobody acted any
/// more; it is 0 where it depends on a draw that has not been made.
struct RoundInfo {
    RoundStatus status;
    bool paid; // its header stands
    uint64 openedAt;
    uint64 trainEndsAt;
    uint64 revealEndsAt;
    uint64 drawnAt;
    uint64 scoreEndsAt;
    uint64 weightRevealEndsAt;
    uint64 finalAt;
    uint32 registrySize;
    uint16 trainerSlots;
    bytes32 stakeLanes;
    uint32 attempt;
    uint16 signerMask;
    uint128 heldAtOpenWei;
    uint16 commits;
    uint16 reveals;
    bytes32 assignSeed;
    bytes32 evalSeed;
    bytes32 revealsHash;
    bytes32 headerHash;
    uint128 totalAmountWei;
    Fault fault; // of its last attempt, until it is settled again
}
