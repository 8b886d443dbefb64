// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";

import {IRewards} from "./interfaces/IRewards.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {MAX_CID_BYTES, MAX_VALIDATORS} from "./types/Limits.sol";
import {Round, RunState, TrainerWord} from "./types/Storage.sol";
import {Entry, Header, Phase, Role, RoundInfo, RoundStatus, RunParams, Status} from "./types/Types.sol";

/// @title TrainingRun
/// @notice The clock and the record of one run; a minimal proxy per run. See `ITrainingRun`.
contract TrainingRun is ITrainingRun, Initializable {
    using RoundClock for Round;
    using Lanes for bytes32;

    uint256 private constant RESERVED_LANES = 2;

    /* IMMUTABLES */

    /// @inheritdoc ITrainingRun
    address public immutable stakes;
    /// @inheritdoc ITrainingRun
    address public immutable rewards;

    /* STORAGE */

    RunState private _state;
    RunParams private _params;
    /// @inheritdoc ITrainingRun
    address public reputation;
    /// @inheritdoc ITrainingRun
    uint128 public settledTotalWei;
    bytes32 private _lastHeaderHash;

    mapping(uint32 round => Round) private _rounds;
    mapping(uint32 index => TrainerWord) private _trainers;
    /// @dev A validator slot's commitment to weights, then the hash of the vector that it revealed.
    mapping(uint32 round => mapping(uint16 slot => bytes32)) private _weightWords;
    mapping(bytes32 headerHash => uint256) private _signedWeight;

    /* CONSTRUCTOR */

    /// @dev Locks the implementation; only its proxies can be set up.
    constructor(address stakes_, address rewards_) {
        stakes = stakes_;
        rewards = rewards_;
        _disableInitializers();
    }

    /// @inheritdoc ITrainingRun
    function initialize(RunParams calldata params_, address sponsor_, address reputation_)
        external
        initializer
    {
        _params = params_;
        _state.sponsor = sponsor_;
        reputation = reputation_;
    }

    /* LIFE OF THE RUN */

    /// @inheritdoc ITrainingRun
    function start() external {
        require(!_state.finished, RunHasFinished());
        require(!_state.started, AlreadyStarted());
        (uint16 trainers, uint16 validators) = IStakes(stakes).activeCounts(address(this));
        require(
            trainers >= _params.minTrainers && validators >= _params.minValidators,
            TooFewMembers(trainers, validators, _params.minTrainers, _params.minValidators)
        );

        _state.started = true;
        _openRound(0);
    }

    /// @inheritdoc ITrainingRun
    function close() external {
        require(msg.sender == _state.sponsor, NotSponsor(msg.sender));
        require(!_state.finished, RunHasFinished());
        require(!_state.closed, AlreadyClosed());

        _state.closed = true;
        emit RunClosed();

        if (!_state.started) _finish();
    }

    /// @inheritdoc ITrainingRun
    function voidRound(uint32 round) external {
        Round storage r = _requirePhase(round, Phase.Expired);

        r.status = RoundStatus.Void;

        emit RoundVoided(round);

        _advance();
    }

    /// @inheritdoc ITrainingRun
    function checkIn() external {
        require(!_state.finished, RunHasFinished());
        Entry memory member = _caller();
        uint32 current = _state.round;
        (Phase phase,) = _phase();

        uint32 round = member.role == Role.Trainer
            ? _checkInTrainer(member, current, phase)
            : _checkInValidator(member, current, phase);

        emit CheckedIn(round, member.index);
    }

    /* CONTRIBUTIONS */

    /// @inheritdoc ITrainingRun
    function commit(uint32 round, bytes32 commitment) external {
        Round storage r = _requirePhase(round, Phase.Train);
        Entry memory member = _callerAs(Role.Trainer);
        _requireActive(member, round);
        TrainerWord storage word = _trainers[member.index];
        require(word.committedIn != round + 1, AlreadyCommitted(member.index, round));

        word.commitment = bytes24(commitment);
        word.committedIn = round + 1;
        r.commits++;
        if (word.expectedIn == round + 1) {
            r.expectedCommits++;
            r.lastCommitAt = uint40(block.timestamp);
        }

        emit ContributionCommitted(round, member.index, commitment);
    }

    /// @inheritdoc ITrainingRun
    function reveal(uint32 round, bytes32 contentHash, string calldata cid, bytes32 salt) external {
        Round storage r = _requirePhase(round, Phase.Reveal);
        Entry memory member = _callerAs(Role.Trainer);
        _checkCid(cid);
        TrainerWord storage word = _trainers[member.index];
        require(word.committedIn == round + 1, NotCommitted(member.index, round));
        require(word.commitment != 0, AlreadyRevealed(member.index, round));
        bytes32 cidHash = keccak256(bytes(cid));
        bytes32 opened =
            Commitment.contribution(address(this), round, member.account, contentHash, cidHash, salt);
        require(bytes24(opened) == word.commitment, BadOpening(word.commitment, opened));

        word.commitment = 0;
        r.reveals++;
        r.lastRevealAt = uint40(block.timestamp);
        r.revealsHash = Commitment.afterContribution(r.revealsHash, member.index, contentHash, cidHash);
        if (_isActive(member, round + 1)) _expectTrainer(word, round + 1);

        emit ContributionRevealed(round, member.index, member.slot, contentHash, cid);
    }

    /// @inheritdoc ITrainingRun
    function draw(uint32 round) external {
        Round storage r = _requirePhase(round, Phase.Draw);
        uint64 drawableAt = r.drawableAt(_params);
        require(block.timestamp >= drawableAt, TooEarly(drawableAt));

        r.drawnAt = uint40(block.timestamp);
        r.evalSeed = Commitment.evalSeed(address(this), round);

        emit Drawn(round, r.evalSeed);
    }

    /* WEIGHTS */

    /// @inheritdoc ITrainingRun
    function commitWeights(uint32 round, bytes32 commitment) external {
        Round storage r = _requirePhase(round, Phase.Score);
        Entry memory member = _callerAs(Role.Validator);
        _requireWeight(r, member, round);
        uint16 bit = Lanes.bit(member.slot);
        require(r.weightCommitMask & bit == 0, AlreadyCommitted(member.index, round));

        r.weightCommitMask |= bit;
        r.lastWeightCommitAt = uint40(block.timestamp);
        _weightWords[round][member.slot] = commitment;

        emit WeightsCommitted(round, member.slot, member.index, commitment);
    }

    /// @inheritdoc ITrainingRun
    function revealWeights(
        uint32 round,
        bytes calldata vector,
        bytes32 evidenceHash,
        string calldata evidenceCid,
        bytes32 salt
    ) external {
        Round storage r = _requirePhase(round, Phase.WeightReveal);
        Entry memory member = _callerAs(Role.Validator);
        uint16 bit = Lanes.bit(member.slot);
        require(r.weightCommitMask & bit != 0, NotCommitted(member.index, round));
        require(r.weightRevealMask & bit == 0, AlreadyRevealed(member.index, round));
        _checkCid(evidenceCid);
        uint256 wantBytes = 2 * (RESERVED_LANES + r.trainerSlots);
        require(vector.length == wantBytes, BadVectorLength(vector.length, wantBytes));
        bytes32 hash = keccak256(vector);
        _checkWeightsOpening(round, member, hash, evidenceHash, keccak256(bytes(evidenceCid)), salt);

        r.weightRevealMask |= bit;
        r.lastWeightRevealAt = uint40(block.timestamp);
        r.revealsHash = Commitment.afterWeights(r.revealsHash, member.slot, hash, evidenceHash);
        _weightWords[round][member.slot] = hash;
        _rounds[round + 1].expectedValidatorMask |= bit;

        emit WeightsRevealed(round, member.slot, member.index, vector, evidenceHash, evidenceCid);
    }

    /* SETTLEMENT */

    /// @inheritdoc ITrainingRun
    function attest(Header calldata header, string calldata aggregateCid) external {
        uint32 round = header.round;
        Round storage r = _requirePhase(round, Phase.Settle);
        Entry memory member = _callerAs(Role.Validator);
        uint16 weight = _requireWeight(r, member, round);
        uint16 bit = Lanes.bit(member.slot);
        require(r.attestMask & bit == 0, AlreadyAttested(member.slot, round));
        _checkCid(aggregateCid);
        _checkHeader(r, header);

        bytes32 hash = Commitment.headerHash(header);
        r.attestMask |= bit;
        uint256 signed = _signedWeight[hash] + weight;
        _signedWeight[hash] = signed;

        emit Attested(round, member.slot, hash, aggregateCid);

        if (3 * signed >= 2 * r.stakeLanes.total()) _settle(r, header, hash, aggregateCid);
    }

    /* VIEWS */

    /// @inheritdoc ITrainingRun
    function status() external view returns (Status memory s) {
        uint32 round = _state.round;
        Round storage r = _rounds[round];
        s.round = round;
        (s.phase, s.phaseEndsAt) = _phase();
        s.timestamp = uint64(block.timestamp);
        s.blockNumber = uint64(block.number);
        s.expected = r.expected;
        s.expectedCommits = r.expectedCommits;
        s.commits = r.commits;
        s.reveals = r.reveals;
        s.validatorMask = r.stakeLanes.mask();
        s.expectedValidatorMask = r.expectedValidatorMask;
        s.weightCommitMask = r.weightCommitMask;
        s.weightRevealMask = r.weightRevealMask;
        s.attestMask = r.attestMask;
        s.assignSeed = r.assignSeed;
        s.evalSeed = r.evalSeed;
        s.hasSettled = _state.hasSettled;
        s.lastSettledRound = _state.lastSettledRound;
        s.lastHeaderHash = _lastHeaderHash;
        s.closed = _state.closed;
    }

    /// @inheritdoc ITrainingRun
    function roundInfo(uint32 round) external view returns (RoundInfo memory i) {
        Round storage r = _rounds[round];
        if (r.status == RoundStatus.None) return i;
        i.status = r.status;
        i.openedAt = r.openedAt;
        i.trainEndsAt = r.trainEndsAt(_params);
        i.revealEndsAt = r.revealEndsAt(_params);
        i.drawnAt = r.drawnAt;
        i.scoreEndsAt = r.scoreEndsAt(_params);
        i.weightRevealEndsAt = r.weightRevealEndsAt(_params);
        i.settledAt = r.settledAt;
        i.finalAt = finalAt(round);
        i.registrySize = r.registrySize;
        i.trainerSlots = r.trainerSlots;
        i.validatorSlots = r.validatorSlots;
        i.stakeLanes = r.stakeLanes;
        i.poolAtOpenWei = r.poolAtOpenWei;
        i.openedBlock = r.openedBlock;
        i.settledBlock = r.settledBlock;
        i.commits = r.commits;
        i.reveals = r.reveals;
        i.assignSeed = r.assignSeed;
        i.evalSeed = r.evalSeed;
        i.revealsHash = r.revealsHash;
        i.headerHash = r.headerHash;
        i.totalAmountWei = r.totalAmountWei;
    }

    /// @inheritdoc ITrainingRun
    function params() external view returns (RunParams memory) {
        return _params;
    }

    /// @inheritdoc ITrainingRun
    function sponsor() external view returns (address) {
        return _state.sponsor;
    }

    /// @inheritdoc ITrainingRun
    function rewardToken() external view returns (address) {
        return _params.rewardToken;
    }

    /// @inheritdoc ITrainingRun
    function nextRound() external view returns (uint32) {
        return _state.started ? _state.round + 1 : 0;
    }

    /// @inheritdoc ITrainingRun
    function headerHash(uint32 round) external view returns (bytes32) {
        return _rounds[round].headerHash;
    }

    /// @inheritdoc ITrainingRun
    function finalAt(uint32 round) public view returns (uint64) {
        uint64 settledAt = _rounds[round].settledAt;
        return settledAt == 0 ? 0 : settledAt + _params.challengeWindowSeconds;
    }

    /// @inheritdoc ITrainingRun
    function budgetOf(uint32 round) external view returns (uint128) {
        return _rounds[round].budgetWei(_params);
    }

    /// @inheritdoc ITrainingRun
    function expectedIn(uint32 index) external view returns (uint32) {
        uint32 roundPlusOne = _trainers[index].expectedIn;
        return roundPlusOne == 0 ? type(uint32).max : roundPlusOne - 1;
    }

    /// @inheritdoc ITrainingRun
    function vectorHash(uint32 round, uint16 slot) external view returns (bytes32) {
        if (slot >= MAX_VALIDATORS || _rounds[round].weightRevealMask & Lanes.bit(slot) == 0) return 0;
        return _weightWords[round][slot];
    }

    /// @inheritdoc ITrainingRun
    function finished() external view returns (bool) {
        return _state.finished;
    }

    /* ROUNDS */

    /// @dev Opens a round: its randomness, its voting weights and the money it may spend are fixed now. Counters of
    /// those expected may already stand, from the round before.
    function _openRound(uint32 round) private {
        Round storage r = _rounds[round];
        IStakes registry = IStakes(stakes);
        IRewards pool = IRewards(rewards);
        bytes32 lanes = registry.stakeLanes(address(this), round, _params.stakeUnitWei);
        (uint16 trainerSlots, uint16 validatorSlots) = registry.slotCounts(address(this));

        _state.round = round;
        r.status = RoundStatus.Open;
        r.openedAt = uint40(block.timestamp);
        r.openedBlock = uint64(block.number);
        r.registrySize = registry.registrySize(address(this));
        r.trainerSlots = trainerSlots;
        r.validatorSlots = validatorSlots;
        r.stakeLanes = lanes;
        r.expectedValidatorMask &= lanes.mask();
        r.poolAtOpenWei = pool.funded(address(this)) - pool.refunded(address(this)) - settledTotalWei;
        r.assignSeed = Commitment.assignSeed(address(this), round);

        emit RoundOpened(round, r.assignSeed);
    }

    /// @dev The round is over: opens the next, or ends the run.
    function _advance() private {
        uint32 next = _state.round + 1;
        if (_state.closed || next == _params.maxRounds) _finish();
        else _openRound(next);
    }

    /// @dev No round is open any more.
    function _finish() private {
        _state.finished = true;

        emit RunFinished(_state.round);
    }

    /// @dev Makes the header the round's, for good.
    function _settle(Round storage r, Header calldata header, bytes32 hash, string calldata aggregateCid)
        private
    {
        uint64 settleableAt = r.settleableAt(_params);
        require(block.timestamp >= settleableAt, TooEarly(settleableAt));

        r.status = RoundStatus.Settled;
        r.settledAt = uint40(block.timestamp);
        r.settledBlock = uint64(block.number);
        r.headerHash = hash;
        r.totalAmountWei = header.totalAmountWei;
        settledTotalWei = header.totalAmountWei;
        _state.hasSettled = true;
        _state.lastSettledRound = header.round;
        _lastHeaderHash = hash;

        emit Settled(header.round, hash, header, aggregateCid);

        _advance();
    }

    /// @dev Makes a trainer expected in a round, in which it is not yet.
    function _expectTrainer(TrainerWord storage word, uint32 round) private {
        word.expectedIn = round + 1;
        _rounds[round].expected++;
    }

    /// @dev Checks a trainer in: for this round while it can still commit, else for the next.
    function _checkInTrainer(Entry memory member, uint32 current, Phase phase)
        private
        returns (uint32 round)
    {
        TrainerWord storage word = _trainers[member.index];
        bool waits = phase == Phase.NotStarted || (phase == Phase.Train && _isActive(member, current));
        round = waits ? current : current + 1;
        _requireActive(member, round);
        require(word.expectedIn != round + 1, AlreadyCheckedIn(member.index, round));
        // Who committed is expected in the next round by its reveal.
        bool committed = phase != Phase.NotStarted && word.committedIn == current + 1;
        require(!committed, AlreadyCommitted(member.index, current));

        _expectTrainer(word, round);
    }

    /// @dev Checks a validator in: for this round while it can still commit to weights, else for the next.
    function _checkInValidator(Entry memory member, uint32 current, Phase phase)
        private
        returns (uint32 round)
    {
        Round storage r = _rounds[current];
        uint16 bit = Lanes.bit(member.slot);
        bool waits =
            phase == Phase.NotStarted || (phase <= Phase.Score && r.stakeLanes.lane(member.slot) != 0);
        round = waits ? current : current + 1;
        _requireActive(member, round);
        require(_rounds[round].expectedValidatorMask & bit == 0, AlreadyCheckedIn(member.index, round));
        require(!waits || r.weightCommitMask & bit == 0, AlreadyCommitted(member.index, round));

        _rounds[round].expectedValidatorMask |= bit;
    }

    /* CHECKS */

    /// @dev The phase of the run now, and when it ends.
    function _phase() private view returns (Phase, uint64 endsAt) {
        if (_state.finished) return (Phase.Finished, 0);
        if (!_state.started) return (Phase.NotStarted, 0);
        return _rounds[_state.round].phase(_params);
    }

    /// @dev The open round, which must be this one and in this phase.
    function _requirePhase(uint32 round, Phase want) private view returns (Round storage) {
        require(round == _state.round, WrongRound(round, _state.round));
        (Phase have,) = _phase();
        require(have == want, WrongPhase(round, have, want));
        return _rounds[round];
    }

    /// @dev The member that the caller acts for.
    function _caller() private view returns (Entry memory member) {
        member = IStakes(stakes).entryOfOperator(address(this), msg.sender);
        require(member.role != Role.None, NotOperator(msg.sender));
    }

    /// @dev The member that the caller acts for, which must have this role.
    function _callerAs(Role want) private view returns (Entry memory member) {
        member = _caller();
        require(member.role == want, WrongRole(member.index, member.role, want));
    }

    function _isActive(Entry memory member, uint32 round) private pure returns (bool) {
        return member.activeFrom <= round && round < member.activeUntil;
    }

    function _requireActive(Entry memory member, uint32 round) private pure {
        require(_isActive(member, round), NotActive(member.index, round));
    }

    /// @dev The voting weight that the validator has in the round.
    function _requireWeight(Round storage r, Entry memory member, uint32 round)
        private
        view
        returns (uint16 weight)
    {
        weight = r.stakeLanes.lane(member.slot);
        require(weight != 0, NoVotingWeight(member.slot, round));
    }

    function _checkCid(string calldata cid) private pure {
        uint256 length = bytes(cid).length;
        require(length <= MAX_CID_BYTES, CidTooLong(length, MAX_CID_BYTES));
    }

    /// @dev The revealed weights are those that the validator committed to.
    function _checkWeightsOpening(
        uint32 round,
        Entry memory member,
        bytes32 hash,
        bytes32 evidenceHash,
        bytes32 evidenceCidHash,
        bytes32 salt
    ) private view {
        bytes32 committed = _weightWords[round][member.slot];
        bytes32 opened = Commitment.weights(
            address(this), round, member.account, hash, evidenceHash, evidenceCidHash, salt
        );
        require(opened == committed, BadOpening(committed, opened));
    }

    /// @dev Every field that the chain knows is what the chain knows. (The round is checked with the phase.)
    function _checkHeader(Round storage r, Header calldata header) private view {
        _match("run", uint160(header.run), uint160(address(this)));
        _match("attempt", header.attempt, 0);
        _match("previous", uint256(header.previous), uint256(_lastHeaderHash));
        _match("reveals", uint256(header.reveals), uint256(r.revealsHash));
        _match("leafCount", header.leafCount, r.registrySize);
        uint128 budgetWei = r.budgetWei(_params);
        _match("budgetWei", header.budgetWei, budgetWei);
        uint128 leastWei = settledTotalWei;
        uint128 mostWei = leastWei + budgetWei;
        require(
            leastWei <= header.totalAmountWei && header.totalAmountWei <= mostWei,
            BudgetExceeded(header.totalAmountWei, leastWei, mostWei)
        );
    }

    function _match(bytes32 field, uint256 have, uint256 want) private pure {
        require(have == want, HeaderMismatch(field, bytes32(have), bytes32(want)));
    }
}
