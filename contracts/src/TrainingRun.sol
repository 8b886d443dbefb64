// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {RunStorage} from "./RunStorage.sol";
import {IRunActs, IRunLife} from "./interfaces/IRunCore.sol";
import {IHeaderDisputes} from "./interfaces/IRunDisputes.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {Member, Round} from "./types/Storage.sol";
import {Phase, Role, RunParams, SignedCommit} from "./types/Types.sol";
import {
    BookWord,
    BookWords,
    CLOCK_COMMIT,
    CLOCK_EXPECTED_COMMIT,
    CLOCK_REVEAL,
    ClockWord,
    ClockWords,
    MemberWord,
    MemberWords
} from "./types/Words.sol";

/// @title TrainingRun
/// @notice One run: the acts of a round, and the door to the rest of it. See `ITrainingRun`.
/// @dev An act reads the round's place, its member's word, and no state of the run. That is enough: only the open round
/// can be in one of the phases in which there are acts. A round is settled or void at the earliest after its weights
/// were revealed, and a place that was never used has no time.
contract TrainingRun is IRunActs, RunStorage {
    using RoundClock for Round;

    uint256 private constant RESERVED_LANES = 2;

    /* IMMUTABLES */

    /// @inheritdoc IRunActs
    address public immutable core;

    address private immutable _disputes; // behind `core`
    // As in the settings: acts would pay for looking them up.
    uint256 private immutable _historyRounds;
    uint256 private immutable _revealSeconds;
    uint256 private immutable _weightRevealSeconds;

    /* CONSTRUCTOR */

    /// @dev Takes the settings as they are: the factory checks them. `core_` is a `Settlement`.
    constructor(address core_, RunParams memory params_, address sponsor_, address reputation_) {
        core = core_;
        _disputes = IRunLife(core_).disputes();
        _historyRounds = params_.historyRounds;
        _revealSeconds = params_.revealSeconds;
        _weightRevealSeconds = params_.weightRevealSeconds;

        _params = params_;
        _state.historyRounds = uint24(params_.historyRounds);
        _sponsor = sponsor_;
        _createdBlock = uint64(block.number);
        _reputation = reputation_;
    }

    /// @dev Everything else that a run does. Challenges go straight to their code: they have a bound on what they cost.
    fallback() external payable {
        bytes4 f = msg.sig;
        bool challenge = f == IHeaderDisputes.challengeAmount.selector
            || f == IHeaderDisputes.challengeReputation.selector
            || f == IHeaderDisputes.challengeCoverage.selector || f == IHeaderDisputes.equivocation.selector
            || f == IHeaderDisputes.challengeSum.selector || f == IHeaderDisputes.challengeRow.selector
            || f == IHeaderDisputes.challengeWeight.selector;
        _delegate(challenge ? _disputes : core);
    }

    /* CONTRIBUTIONS */

    /// @inheritdoc IRunActs
    function commit(uint32 round, bytes32 commitment) external {
        Round storage r = _rounds[_place(round)];
        ClockWord clock = _inTrain(r, round);
        Member storage to = _members[msg.sender];
        MemberWord m = MemberWords.load(to);
        _requireRole(m, msg.sender, Role.Trainer);
        require(m.isActive(round), NotActive(m.slot(), round));
        require(!m.hasCommitted(round), AlreadyCommitted(m.slot(), round));
        require(bytes18(commitment) != 0, EmptyCommitment());

        m.withCommitment(commitment, round).store(to);
        clock = clock.plus(CLOCK_COMMIT);
        if (m.isExpected(round)) clock = _plusExpected(clock, 1);
        clock.store(r);

        emit ContributionCommitted(round, m.slot(), commitment);
    }

    /// @inheritdoc IRunActs
    function commitBatch(uint32 round, SignedCommit[] calldata items) external returns (uint256 accepted) {
        Round storage r = _rounds[_place(round)];
        ClockWord clock = _inTrain(r, round);
        bytes32 domain = Commitment.domain(address(this));

        uint256 waitedFor;
        for (uint256 i = 0; i < items.length; i++) {
            (bool taken, bool expected) = _commitSigned(round, items[i], domain);
            if (taken) accepted++;
            else emit CommitRefused(round, i);
            if (expected) waitedFor++;
        }

        clock = clock.plus(accepted * CLOCK_COMMIT);
        if (waitedFor != 0) clock = _plusExpected(clock, waitedFor);
        clock.store(r);
    }

    /// @inheritdoc IRunActs
    function reveal(uint32 round, address operator, bytes32 contentHash, string calldata cid, bytes32 salt)
        external
    {
        Round storage r = _rounds[_place(round)];
        ClockWord clock = ClockWords.load(r);
        if (clock.number() != round || !_isWithin(clock, clock.trainEnd(), clock.revealEnd())) {
            _refuse(round, Phase.Reveal);
        }
        _checkCid(cid);
        bytes32 cidHash = keccak256(bytes(cid));
        uint16 slot = _open(round, operator, contentHash, cidHash, salt);

        clock = clock.plus(CLOCK_REVEAL);
        if (clock.reveals() == clock.commits()) clock = clock.withRevealEnd(clock.since());
        clock.store(r);
        r.revealsHash = Commitment.afterContribution(r.revealsHash, slot, contentHash, cidHash);

        emit ContributionRevealed(round, slot, contentHash, cid);
    }

    /// @inheritdoc IRunActs
    function draw(uint32 round) external {
        Round storage r = _requirePhase(round, Phase.Draw);
        uint64 drawableAt = r.drawableAt(_params);
        require(block.timestamp >= drawableAt, TooEarly(drawableAt));

        r.startScore(_params);
        bytes32 seed = Commitment.evalSeed(address(this), round);
        r.evalSeed = seed;

        emit Drawn(round, seed);
    }

    /* WEIGHTS */

    /// @inheritdoc IRunActs
    function commitWeights(uint32 round, bytes32 commitment) external {
        Round storage r = _rounds[_place(round)];
        ClockWord clock = ClockWords.load(r);
        if (clock.number() != round || clock.drawn() == 0 || !_isWithin(clock, 0, clock.scoreEnd())) {
            _refuse(round, Phase.Score);
        }
        Member storage to = _members[msg.sender];
        MemberWord m = MemberWords.load(to);
        _requireRole(m, msg.sender, Role.Validator);
        uint16 slot = m.slot();
        require(m.isActive(round), NotActive(slot, round));
        uint16 bit = Lanes.bit(slot);
        BookWord book = BookWords.load(r);
        require(book.validatorMask() & bit != 0, NoVotingWeight(slot, round));
        require(book.weightCommitMask() & bit == 0, AlreadyCommitted(slot, round));

        book = book.withWeightCommit(bit);
        book.store(r);
        m.withCommitment(commitment, round).store(to);
        uint16 waitedFor = book.expectedValidatorMask();
        if (waitedFor != 0 && waitedFor & ~book.weightCommitMask() == 0) {
            clock.withScoreEnd(clock.since(), _weightRevealSeconds).store(r);
        }

        emit WeightsCommitted(round, slot, commitment);
    }

    /// @inheritdoc IRunActs
    function revealWeights(
        uint32 round,
        bytes calldata vector,
        bytes32 evidenceHash,
        string calldata evidenceCid,
        bytes32 salt
    ) external {
        Round storage r = _rounds[_place(round)];
        _checkCid(evidenceCid);
        bytes32 hash = keccak256(vector);
        uint16 slot = _openWeights(r, round, hash, evidenceHash, keccak256(bytes(evidenceCid)), salt);
        uint256 wantBytes = 2 * (RESERVED_LANES + r.trainerSlots);
        require(vector.length == wantBytes, BadVectorLength(vector.length, wantBytes));

        _vectorHashes[_place(round)][slot] = hash;
        r.revealsHash = Commitment.afterWeights(r.revealsHash, slot, hash, evidenceHash);

        emit WeightsRevealed(round, slot, vector, evidenceHash, evidenceCid);
    }

    /* INTERNAL */

    /// @dev The clock of the open round, in which trainers can commit now.
    function _inTrain(Round storage r, uint32 round) private view returns (ClockWord clock) {
        clock = ClockWords.load(r);
        if (clock.number() != round || !_isWithin(clock, 0, clock.trainEnd())) _refuse(round, Phase.Train);
    }

    /// @dev True if now is between two offsets from the opening.
    function _isWithin(ClockWord clock, uint256 from, uint256 to) private view returns (bool) {
        uint256 since = clock.since();
        return from <= since && since < to;
    }

    /// @dev Counts commits of trainers that are waited for; the last of them ends the phase.
    function _plusExpected(ClockWord clock, uint256 count) private view returns (ClockWord) {
        clock = clock.plus(count * CLOCK_EXPECTED_COMMIT);
        if (clock.expectedCommits() != clock.expected()) return clock;
        return clock.withTrainEnd(clock.since(), _revealSeconds);
    }

    /// @dev Takes a relayed commitment, if it can be.
    function _commitSigned(uint32 round, SignedCommit calldata item, bytes32 domain)
        private
        returns (bool taken, bool expected)
    {
        bytes32 digest = Commitment.digest(domain, Commitment.commitStruct(round, item.commitment));
        address operator = Commitment.signer(digest, item.r, item.vs);
        Member storage to = _members[operator];
        MemberWord m = MemberWords.load(to);
        if (m.role() != uint8(Role.Trainer) || !m.isActive(round)) return (false, false);
        if (m.hasCommitted(round) || bytes18(item.commitment) == 0) return (false, false);

        m.withCommitment(item.commitment, round).store(to);

        emit ContributionCommitted(round, m.slot(), item.commitment);

        return (true, m.isExpected(round));
    }

    /// @dev Checks that the operator's trainer committed to this contribution, and notes that it has revealed it.
    function _open(uint32 round, address operator, bytes32 contentHash, bytes32 cidHash, bytes32 salt)
        private
        returns (uint16 slot)
    {
        Member storage to = _members[operator];
        MemberWord m = MemberWords.load(to);
        _requireRole(m, operator, Role.Trainer);
        slot = m.slot();
        bytes18 committed = m.commitment();
        require(m.hasCommitted(round), NotCommitted(slot, round));
        require(committed != 0, AlreadyRevealed(slot, round));
        bytes32 opened = Commitment.contribution(address(this), round, slot, contentHash, cidHash, salt);
        require(bytes18(opened) == committed, BadOpening(committed, opened));

        m = m.withoutCommitment();
        uint256 next = uint256(round) + 1;
        if (m.isActive(next)) m = m.withExpectedIn(next);
        else _coming.gone++;
        m.store(to);
    }

    /// @dev Checks that the caller's validator committed to these weights, and notes that it has revealed them.
    function _openWeights(
        Round storage r,
        uint32 round,
        bytes32 hash,
        bytes32 evidenceHash,
        bytes32 evidenceCidHash,
        bytes32 salt
    ) private returns (uint16 slot) {
        (ClockWord clock, BookWord book) = _inWeightReveal(r, round);
        MemberWord m = MemberWords.load(_members[msg.sender]);
        _requireRole(m, msg.sender, Role.Validator);
        slot = m.slot();
        require(m.hasCommitted(round), NotCommitted(slot, round));
        uint16 bit = Lanes.bit(slot);
        require(book.weightRevealMask() & bit == 0, AlreadyRevealed(slot, round));
        bytes32 opened =
            Commitment.weights(address(this), round, slot, hash, evidenceHash, evidenceCidHash, salt);
        require(bytes18(opened) == m.commitment(), BadOpening(m.commitment(), opened));

        book = book.withWeightReveal(bit);
        book.store(r);
        if (book.weightRevealMask() == book.weightCommitMask()) {
            clock.withWeightRevealEnd(clock.since()).store(r);
        }
    }

    /// @dev The first two slots of the open round, in which weights can be revealed now.
    function _inWeightReveal(Round storage r, uint32 round)
        private
        view
        returns (ClockWord clock, BookWord book)
    {
        clock = ClockWords.load(r);
        book = BookWords.load(r);
        uint256 end = book.weightCommitMask() == 0 ? clock.scoreEnd() : clock.weightRevealEnd();
        if (clock.number() != round || clock.drawn() == 0 || !_isWithin(clock, clock.scoreEnd(), end)) {
            _refuse(round, Phase.WeightReveal);
        }
    }

    function _requireRole(MemberWord m, address operator, Role want) private pure {
        if (m.role() == uint8(want)) return;
        require(m.role() != uint8(Role.None), NotOperator(operator));
        revert WrongRole(operator, Role(m.role()), want);
    }

    /// @dev Says why the round is not the open one, or not in the phase that an act needs.
    function _refuse(uint32 round, Phase want) private view {
        require(round == _state.round, WrongRound(round, _state.round));
        (Phase have,) = _phase();
        revert WrongPhase(round, have, want);
    }

    /// @inheritdoc RunStorage
    function _place(uint32 round) internal view override returns (uint256) {
        return round % _historyRounds;
    }
}
