// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Role, SignedCommit} from "../types/Types.sol";
import {IRunBase} from "./IRunBase.sol";

/// @title IRunActs
/// @notice What members do within a round: contributions, the draw, weights.
/// @dev Code of its own at each run's address, without a proxy: these are the acts that happen every round.
interface IRunActs is IRunBase {
    /// @notice The commitment is zero in the bytes that are kept.
    error EmptyCommitment();
    /// @notice The member has not committed in the round.
    error NotCommitted(uint16 slot, uint32 round);
    /// @notice The member has revealed in the round already.
    error AlreadyRevealed(uint16 slot, uint32 round);
    /// @notice What was revealed is not what was committed to (the first 18 bytes are compared).
    error BadOpening(bytes32 committed, bytes32 revealed);
    /// @notice The weight vector has not one lane for each trainer slot and two more.
    error BadVectorLength(uint256 lengthBytes, uint256 wantBytes);

    /// @notice Commits to a contribution.
    /// @param commitment As in `Commitment.contribution`. 144 of its bits are kept.
    function commit(uint32 round, bytes32 commitment) external;

    /// @notice Commits for trainers that signed (EIP-712 `Commit(uint32 round,bytes32 commitment)`). By anyone.
    /// @dev Skips what it can't accept, with an event each, so that one bad item does not cost the others theirs.
    /// @return accepted How many commitments were taken.
    function commitBatch(uint32 round, SignedCommit[] calldata items) external returns (uint256 accepted);

    /// @notice Reveals the contribution that `operator`'s trainer committed to. By anyone: the opening proves who
    /// made it.
    /// @param contentHash sha256 of the blob.
    /// @param cid Where the blob is on IPFS, at most 128 bytes. A hint: the hash binds.
    function reveal(uint32 round, address operator, bytes32 contentHash, string calldata cid, bytes32 salt)
        external;

    /// @notice Fixes the round's evaluation seed, some time after all reveals. By anyone, once.
    function draw(uint32 round) external;

    /// @notice Commits to a vector of weights.
    /// @param commitment As in `Commitment.weights`. 144 of its bits are kept.
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

    /// @notice The code behind this run for everything but these acts.
    function core() external view returns (address);
}

/// @title IRunLife
/// @notice The life of a run: rounds open, settle and end; members come and go.
interface IRunLife is IRunBase {
    /// @notice The run has started already.
    error AlreadyStarted();
    /// @notice Too few members have joined to start.
    error TooFewMembers(uint16 trainers, uint16 validators, uint16 minTrainers, uint16 minValidators);
    /// @notice The sponsor has closed the run already.
    error AlreadyClosed();
    /// @notice The caller did not create the run.
    error NotSponsor(address caller);
    /// @notice The caller is not the registry.
    error NotStakes(address caller);
    /// @notice The caller is not the pool.
    error NotRewards(address caller);
    /// @notice The member is expected in the round already.
    error AlreadyCheckedIn(uint16 slot, uint32 round);
    /// @notice The member checked in and did not act: it may check in again for rounds from this one on.
    error CheckInFrom(uint32 round);
    /// @notice The validator has signed this header already.
    error AlreadyAttested(uint16 slot, uint32 round);
    /// @notice A field of the header is not what the chain says it is; `field` is its name.
    error HeaderMismatch(bytes32 field, bytes32 have, bytes32 want);
    /// @notice The header's total is below the last one, or above it by more than the budget.
    error BudgetExceeded(uint128 totalAmountWei, uint128 leastWei, uint128 mostWei);
    /// @notice The round has settled, and its header stands.
    error StillPaid(uint32 round);
    /// @notice Another round must be settled (again) before this one: the one whose predecessor in the pay chain is
    /// `paidPlusOne` - 1.
    error OutOfTurn(uint32 round, uint32 paidPlusOne);
    /// @notice The signers of the round's last header must be punished before it can be settled again.
    error PunishFirst(uint32 round);
    /// @notice The time for claims is over: no round can be settled again.
    error ClaimsOver(uint64 endedAt);
    /// @notice The signatures are not 64 bytes each.
    error BadSignaturesLength(uint256 lengthBytes);
    /// @notice The signatures are not in the order of their validators' slots, or one comes twice.
    error UnorderedSigners(uint16 slot);
    /// @notice Less than two thirds of the voting weight has signed the header.
    error NoQuorum(uint256 signedWeight, uint256 totalWeight);

    /// @notice Opens round 0, once enough members have joined. By anyone.
    function start() external;

    /// @notice Lets no further round open. By the sponsor.
    function close() external;

    /// @notice Gives a round up that could not be settled in time, and opens the next. By anyone.
    function voidRound(uint32 round) external;

    /// @notice Tells the others to wait for the caller's member.
    /// @dev A trainer in the Train phase is expected in this round, otherwise in the next; a validator until the end
    /// of the Score phase in this round, otherwise in the next. Before the start it counts for round 0. Who checks in
    /// and then does nothing can do so again only 2, 4, 8... at most 256 rounds later.
    function checkIn() external;

    /// @notice Signs a settlement off; with two thirds of the voting weight it settles the round and opens the next.
    /// @param aggregateCid Where the aggregate is on IPFS, at most 128 bytes. A hint, not part of the header.
    function attest(Header calldata header, string calldata aggregateCid) external;

    /// @notice Settles a round with its validators' signatures (EIP-712 `Header`). By anyone.
    /// @param signatures 64 bytes each (EIP-2098), in the order of the validators' slots. Attestations of the same
    /// header count too.
    function settleSigned(Header calldata header, string calldata aggregateCid, bytes calldata signatures)
        external;

    /// @notice Makes an operator's member one of the run. By the registry.
    /// @return activeFrom First round that it takes part in.
    function enroll(address operator, Role role, uint16 slot, uint32 registrySize, uint16 trainerSlots)
        external
        returns (uint32 activeFrom);

    /// @notice Ends a member's part in the run. By the registry.
    /// @return activeUntil First round that it takes no part in.
    function retire(address operator) external returns (uint32 activeUntil);

    /// @notice Gives a member another operator. By the registry.
    function rekey(address oldOperator, address newOperator) external;

    /// @notice Forgets a member that has withdrawn. By the registry.
    function forget(address operator) external;

    /// @notice Adds to what rounds may pay, from the next one on. By the pool, for every funding.
    function noteFunds(uint128 amountWei) external;

    /// @notice The registry.
    function stakes() external view returns (address);

    /// @notice The pool.
    function rewards() external view returns (address);

    /// @notice The code behind this run for disputes and large views.
    function disputes() external view returns (address);

    /// @notice Who created the run, may close it and gets back what it did not spend.
    function sponsor() external view returns (address);

    /// @notice The run's reputation contract.
    function reputation() external view returns (address);

    /// @notice The token of stakes and rewards.
    function rewardToken() external view returns (address);

    /// @notice The round that would open next: 0 before the start.
    function nextRound() external view returns (uint32);

    /// @notice True once no round is open and none will be. Past rounds can still be settled again.
    function finished() external view returns (bool);

    /// @notice When the run finished, or was last settled again after that; 0 while it has not finished.
    function finishedAt() external view returns (uint64);

    /// @notice Block in which the run was created: its first events are there.
    function createdBlock() external view returns (uint64);

    /// @notice When a member that was active until this round was free: when that round opened, or the run finished.
    /// 0 while neither has happened; 1 if the run no longer remembers any round that the member took part in.
    function releasedAt(uint32 activeUntil) external view returns (uint64);

    /// @notice Hash of the round's header if it stands; 0 if it has none, or it is no longer remembered.
    function headerHash(uint32 round) external view returns (bytes32);

    /// @notice True if the round's header stands and can't be challenged any more.
    function isFinal(uint32 round) external view returns (bool);

    /// @notice `headerHash` and `isFinal` in one.
    function finalHeader(uint32 round) external view returns (bytes32 hash, bool final_);

    /// @notice Head of the pay chain: the last round whose header stands.
    function payHead() external view returns (bool any, uint32 round, bytes32 hash, bool final_);

    /// @notice True if a round that settled has lost its pay and must be settled again.
    function behind() external view returns (bool);

    /// @notice Sum of the cumulative amounts at the head of the pay chain: what the run owes, claimed or not.
    function settledTotalWei() external view returns (uint128);

    /// @notice What the round may pay if it is settled next; 0 before the draw. A void round pays nothing.
    function budgetOf(uint32 round) external view returns (uint128);

    /// @notice keccak256 of the vector that a validator slot revealed; 0 if it revealed none.
    function vectorHash(uint32 round, uint16 slot) external view returns (bytes32);
}

/// @title IRunCore
/// @notice The clock and the record of one run: contributions, weights, draws and settlements, round by round.
/// @dev Phases are computed from the time and from counters; nothing has to be poked. In each phase only its own acts
/// are possible, so every member's round ends in one recorded way.
///
/// Assumptions
/// - Validators with two thirds of the voting weight are honest, or somebody checks their headers within the
///   challenge window (see `IRunDisputes`) and can get one transaction into a block.
/// - `block.prevrandao` is unpredictable. The proposer of a block, or whoever chooses the block of a draw, can pick
///   among few values. On chains where it is constant the seeds are known in advance, and trainers can prepare.
/// - The clock is the block's time; proposers can shift it by seconds.
/// - The reward token behaves like a plain ERC-20 (see `IStakes` and `IRewards`).
///
/// Warnings
/// - Only trust runs that a `RunFactory` you trust created: anyone can deploy a contract with this interface.
/// - A run remembers `historyRounds` rounds. Asked for an older one, or for one that has not opened, views answer as
///   for a round that does not exist, and acts revert.
/// - An early end waits for *expected* members: those who revealed in the round before, or checked in. In a round
///   where few are expected, a newcomer has to check in to be waited for.
/// - A member that is expected and does nothing costs the others the rest of that phase, up to its deadline.
/// - An attestation counts until its validator attests to another header of the round.
/// - A run in which the place of the last header that stands, or of a round that must be settled again, would be used
///   again finishes: so after about `historyRounds` rounds without a settlement. Where a header that can still fall
///   would lose its predecessor, no round opens until it is final.
/// - Closing a run does not touch the round that is open: it may still settle and be paid.
interface IRunCore is IRunActs, IRunLife {}
