// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Phase, Role, RoundInfo, RunParams, Status} from "../types/Types.sol";

/// @title ITrainingRun
/// @notice The clock and the record of one run: contributions, weights, draws and settlements, round by round.
/// @dev A minimal proxy per run. Phases are computed from the time and from counters; nothing has to be poked. In
/// each phase only its own acts are possible, so every member's round ends in one recorded way.
///
/// Assumptions
/// - Validators with two thirds of the voting weight are honest: they alone say what a settlement's tree holds. The
///   contract bounds what they can pay out (the round's budget), but not to whom. Anyone can replay a round from the
///   events and the revealed blobs, and see whether they were.
/// - `block.prevrandao` is unpredictable. The proposer of a block, or whoever chooses the block of a draw, can pick
///   among few values. On chains where it is constant the seeds are known in advance, and trainers can prepare.
/// - The clock is the block's time; proposers can shift it by seconds.
/// - The reward token behaves like a plain ERC-20 (see `IStakes` and `IRewards`).
///
/// Warnings
/// - Only trust runs that a `RunFactory` you trust created: anyone can deploy a contract with this interface.
/// - An early end waits for *expected* members: those who revealed in the round before, or checked in. In a round
///   where few are expected, a newcomer has to check in to be waited for.
/// - A member that is expected and does nothing costs the others the rest of that phase, up to its deadline.
/// - Attestations can't be changed. If they are split so that no header can reach two thirds, the round is void.
/// - Closing a run does not touch the round that is open: it may still settle and be paid.
interface ITrainingRun {
    /// @notice The run has started already.
    error AlreadyStarted();
    /// @notice Too few members have joined to start.
    error TooFewMembers(uint16 trainers, uint16 validators, uint16 minTrainers, uint16 minValidators);
    /// @notice The run has ended.
    error RunHasFinished();
    /// @notice The sponsor has closed the run already.
    error AlreadyClosed();
    /// @notice The caller did not create the run.
    error NotSponsor(address caller);
    /// @notice The act names another round than the open one.
    error WrongRound(uint32 round, uint32 current);
    /// @notice The act belongs to another phase of the round.
    error WrongPhase(uint32 round, Phase have, Phase want);
    /// @notice The caller is no member's operator in this run.
    error NotOperator(address caller);
    /// @notice The member has another role than the act asks for.
    error WrongRole(uint32 index, Role have, Role want);
    /// @notice The member takes no part in the round: it joined later, or left.
    error NotActive(uint32 index, uint32 round);
    /// @notice The validator has no voting weight in the round.
    error NoVotingWeight(uint16 slot, uint32 round);
    /// @notice The member is expected in the round already.
    error AlreadyCheckedIn(uint32 index, uint32 round);
    /// @notice The member has committed in the round already.
    error AlreadyCommitted(uint32 index, uint32 round);
    /// @notice The member has not committed in the round.
    error NotCommitted(uint32 index, uint32 round);
    /// @notice The member has revealed in the round already.
    error AlreadyRevealed(uint32 index, uint32 round);
    /// @notice The validator has signed a header of the round already.
    error AlreadyAttested(uint16 slot, uint32 round);
    /// @notice What was revealed is not what was committed to.
    error BadOpening(bytes32 committed, bytes32 revealed);
    /// @notice The CID is longer than a CID is.
    error CidTooLong(uint256 lengthBytes, uint256 limitBytes);
    /// @notice The weight vector has not one lane for each trainer slot and two more.
    error BadVectorLength(uint256 lengthBytes, uint256 wantBytes);
    /// @notice A field of the header is not what the chain says it is; `field` is its name.
    error HeaderMismatch(bytes32 field, bytes32 have, bytes32 want);
    /// @notice The header's total is below the last one, or above it by more than the budget.
    error BudgetExceeded(uint128 totalAmountWei, uint128 leastWei, uint128 mostWei);
    /// @notice The act is possible from then on.
    error TooEarly(uint64 until);

    event RoundOpened(uint32 indexed round, bytes32 assignSeed);
    event CheckedIn(uint32 indexed round, uint32 indexed index);
    event ContributionCommitted(uint32 indexed round, uint32 indexed index, bytes32 commitment);
    event ContributionRevealed(
        uint32 indexed round, uint32 indexed index, uint16 slot, bytes32 contentHash, string cid
    );
    event Drawn(uint32 indexed round, bytes32 seed);
    event WeightsCommitted(uint32 indexed round, uint16 indexed slot, uint32 index, bytes32 commitment);
    event WeightsRevealed(
        uint32 indexed round,
        uint16 indexed slot,
        uint32 index,
        bytes vector,
        bytes32 evidenceHash,
        string evidenceCid
    );
    event Attested(uint32 indexed round, uint16 indexed slot, bytes32 headerHash, string aggregateCid);
    event Settled(uint32 indexed round, bytes32 headerHash, Header header, string aggregateCid);
    event RoundVoided(uint32 indexed round);
    event RunClosed();
    event RunFinished(uint32 lastRound);

    /// @notice Sets the run up; once, by whoever made the proxy (the factory, in the same transaction).
    /// @dev Takes the settings as they are: the factory checks them.
    function initialize(RunParams calldata params_, address sponsor_, address reputation_) external;

    /// @notice Opens round 0, once enough members have joined. By anyone.
    function start() external;

    /// @notice Tells the others to wait for the caller's member.
    /// @dev A trainer in the Train phase is expected in this round, otherwise in the next; a validator until the end
    /// of the Score phase in this round, otherwise in the next. Before the start it counts for round 0.
    function checkIn() external;

    /// @notice Commits to a contribution.
    /// @dev `commitment` as in `Commitment.contribution`. 192 of its bits are kept.
    function commit(uint32 round, bytes32 commitment) external;

    /// @notice Reveals the contribution that the caller's trainer committed to.
    /// @param contentHash sha256 of the blob.
    /// @param cid Where the blob is on IPFS, at most 128 bytes. A hint: the hash binds.
    function reveal(uint32 round, bytes32 contentHash, string calldata cid, bytes32 salt) external;

    /// @notice Fixes the round's evaluation seed, some time after all reveals. By anyone, once.
    function draw(uint32 round) external;

    /// @notice Commits to a vector of weights.
    /// @dev `commitment` as in `Commitment.weights`.
    function commitWeights(uint32 round, bytes32 commitment) external;

    /// @notice Reveals the weights that the caller's validator committed to.
    /// @param vector Big-endian 16-bit lanes: two reserved ones, then one for each trainer slot of the round.
    /// @param evidenceHash sha256 of the evidence blob.
    /// @param evidenceCid Where that blob is on IPFS, at most 128 bytes.
    function revealWeights(
        uint32 round,
        bytes calldata vector,
        bytes32 evidenceHash,
        string calldata evidenceCid,
        bytes32 salt
    ) external;

    /// @notice Signs a settlement off; with two thirds of the voting weight it settles the round and opens the next.
    /// @param aggregateCid Where the aggregate is on IPFS, at most 128 bytes. A hint, not part of the header.
    function attest(Header calldata header, string calldata aggregateCid) external;

    /// @notice Gives a round up that could not be settled in time, and opens the next. By anyone.
    function voidRound(uint32 round) external;

    /// @notice Lets no further round open. By the sponsor.
    function close() external;

    /// @notice Everything a node polls.
    function status() external view returns (Status memory);

    /// @notice One round, open or past.
    function roundInfo(uint32 round) external view returns (RoundInfo memory);

    /// @notice What was fixed when the run was created.
    function params() external view returns (RunParams memory);

    /// @notice Who created the run, may close it and gets back what it did not spend.
    function sponsor() external view returns (address);

    /// @notice The run's reputation contract.
    function reputation() external view returns (address);

    /// @notice The token of stakes and rewards.
    function rewardToken() external view returns (address);

    /// @notice The registry.
    function stakes() external view returns (address);

    /// @notice The pool.
    function rewards() external view returns (address);

    /// @notice The round that would open next: 0 before the start.
    function nextRound() external view returns (uint32);

    /// @notice Hash of the round's settled header, 0 if it has none. It never changes.
    function headerHash(uint32 round) external view returns (bytes32);

    /// @notice When claims against the round's header open; 0 if it has none.
    function finalAt(uint32 round) external view returns (uint64);

    /// @notice What the round may pay, as far as it is known yet; 0 before the draw. A void round pays nothing.
    function budgetOf(uint32 round) external view returns (uint128);

    /// @notice Sum of the cumulative amounts in the last settled header: what the run owes, claimed or not.
    function settledTotalWei() external view returns (uint128);

    /// @notice Last round in which the trainer at registry `index` is expected; type(uint32).max if in none.
    function expectedIn(uint32 index) external view returns (uint32);

    /// @notice keccak256 of the vector that a validator slot revealed; 0 if it revealed none.
    function vectorHash(uint32 round, uint16 slot) external view returns (bytes32);

    /// @notice True once no round is open and none will be.
    function finished() external view returns (bool);
}
