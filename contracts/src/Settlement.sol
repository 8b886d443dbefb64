// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Membership} from "./Membership.sol";
import {IRunLife} from "./interfaces/IRunCore.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {MAX_VALIDATORS} from "./types/Limits.sol";
import {Coming, Epoch, Round} from "./types/Storage.sol";
import {Fault, Header, Phase, Role, RoundStatus} from "./types/Types.sol";
import {
    BookWord,
    BookWords,
    ClockWord,
    ClockWords,
    MemberWord,
    MemberWords,
    StateWord,
    StateWords
} from "./types/Words.sol";

/// @title Settlement
/// @notice The life of a run: members come and go, rounds open, settle and end. See `ITrainingRun`.
/// @dev Code that runs call by delegation. Called directly it is a run without settings, in which no round can open.
contract Settlement is Membership {
    using RoundClock for Round;
    using Lanes for bytes32;

    /// @dev A round that settles, with the words that it is about: each is read once.
    struct Work {
        StateWord state;
        ClockWord clock;
        BookWord book;
        uint256 revealEnd; // of weights, in seconds after the opening
        uint32 round;
        uint256 place;
        bytes32 hash; // of the header
        uint256 epoch; // whose validators sign: that of the last round that opened
        bytes32 lanes;
        uint16 signers;
        uint256 signed; // their voting weight
    }

    /// @dev Members' words keep rounds plus one in 24 bits, and the highest number stands for never.
    uint256 private constant LAST_ROUND = type(uint24).max - 2;
    uint256 private constant SIGNATURE_BYTES = 64;

    /* IMMUTABLES */

    /// @inheritdoc IRunLife
    address public immutable disputes;

    /* CONSTRUCTOR */

    constructor(address stakes_, address rewards_, address disputes_) Membership(stakes_, rewards_) {
        disputes = disputes_;
    }

    /// @dev Everything else that a run does.
    fallback() external payable {
        _delegate(disputes);
    }

    /* LIFE OF THE RUN */

    /// @inheritdoc IRunLife
    function start() external {
        require(!finished(), RunHasFinished());
        require(!_state.started, AlreadyStarted());
        (uint16 trainers, uint16 validators) = IStakes(_stakes).activeCounts(address(this));
        require(
            trainers >= _params.minTrainers && validators >= _params.minValidators,
            TooFewMembers(trainers, validators, _params.minTrainers, _params.minValidators)
        );

        _state.started = true;
        StateWord s = StateWords.load(_state);
        _openRound(s, 0, ClockWord.wrap(0), BookWord.wrap(0));
    }

    /// @inheritdoc IRunLife
    function close() external {
        require(msg.sender == _sponsor, NotSponsor(msg.sender));
        require(!finished(), RunHasFinished());
        require(!_state.closed, AlreadyClosed());

        _state.closed = true;

        emit RunClosed();

        if (!_state.started) _finish(StateWords.load(_state));
    }

    /// @inheritdoc IRunLife
    function voidRound(uint32 round) external {
        Round storage r = _requirePhase(round, Phase.Expired);

        r.status = RoundStatus.Void;
        // While the pay chain is behind nobody can sign: it is nobody's fault.
        if (_isBehind()) r.attestMask = 0;

        emit RoundVoided(round);

        _advance(StateWords.load(_state), ClockWords.load(r), BookWords.load(r));
    }

    /* SETTLEMENT */

    /// @inheritdoc IRunLife
    function attest(Header calldata header, string calldata aggregateCid) external {
        _checkCid(aggregateCid);
        require(!finished(), RunHasFinished());
        Work memory w = _checkHeader(header);

        uint16 slot = _attest(w);

        emit Attested(w.round, slot, w.hash, aggregateCid);

        _countAttested(w);
        if (3 * w.signed >= 2 * w.lanes.total()) _settle(w, header, aggregateCid);
    }

    /// @inheritdoc IRunLife
    function settleSigned(Header calldata header, string calldata aggregateCid, bytes calldata signatures)
        external
    {
        _checkCid(aggregateCid);
        Work memory w = _checkHeader(header);
        _countSignatures(w, signatures);
        // After the end only signatures count: who signs then must still have a stake when the round settles.
        if (w.state.finishedAt() == 0) _countAttested(w);
        uint256 total = w.lanes.total();
        require(w.signed != 0 && 3 * w.signed >= 2 * total, NoQuorum(w.signed, total));

        _settle(w, header, aggregateCid);
    }

    /* VIEWS */

    /// @inheritdoc IRunLife
    function stakes() external view returns (address) {
        return _stakes;
    }

    /// @inheritdoc IRunLife
    function rewards() external view returns (address) {
        return _rewards;
    }

    /// @inheritdoc IRunLife
    function sponsor() external view returns (address) {
        return _sponsor;
    }

    /// @inheritdoc IRunLife
    function reputation() external view returns (address) {
        return _reputation;
    }

    /// @inheritdoc IRunLife
    function rewardToken() external view returns (address) {
        return _params.rewardToken;
    }

    /// @inheritdoc IRunLife
    function createdBlock() external view returns (uint64) {
        return _createdBlock;
    }

    /// @inheritdoc IRunLife
    function finishedAt() external view returns (uint64) {
        return _state.finishedAt;
    }

    /// @inheritdoc IRunLife
    function releasedAt(uint32 activeUntil) external view returns (uint64) {
        if (activeUntil >= nextRound()) return _state.finishedAt;
        Round storage r = _rounds[_place(activeUntil)];
        return _isKept(activeUntil) ? r.openedAt : 1;
    }

    /// @inheritdoc IRunLife
    function headerHash(uint32 round) external view returns (bytes32 hash) {
        (hash,) = finalHeader(round);
    }

    /// @inheritdoc IRunLife
    function isFinal(uint32 round) external view returns (bool final_) {
        (, final_) = finalHeader(round);
    }

    /// @inheritdoc IRunLife
    function finalHeader(uint32 round) public view returns (bytes32 hash, bool final_) {
        Round storage r = _rounds[_place(round)];
        if (_stands(r, round)) (hash, final_) = (r.headerHash, _isFinal(r, round));
    }

    /// @inheritdoc IRunLife
    function payHead() external view returns (bool any, uint32 round, bytes32 hash, bool final_) {
        uint32 head = _state.paidPlusOne;
        if (head == 0) return (false, 0, 0, false);
        (hash, final_) = finalHeader(head - 1);
        return (true, head - 1, hash, final_);
    }

    /// @inheritdoc IRunLife
    function behind() external view returns (bool) {
        return _isBehind();
    }

    /// @inheritdoc IRunLife
    function settledTotalWei() external view returns (uint128) {
        return _settledTotalWei();
    }

    /// @inheritdoc IRunLife
    function budgetOf(uint32 round) external view returns (uint128) {
        Round storage r = _rounds[_place(round)];
        return _isKept(round) ? _budgetWei(r) : 0;
    }

    /// @inheritdoc IRunLife
    function vectorHash(uint32 round, uint16 slot) external view returns (bytes32) {
        uint256 place = _place(round);
        Round storage r = _rounds[place];
        if (!_isKept(round) || r.weightRevealMask & Lanes.bit(slot) == 0) return 0;
        return _vectorHashes[place][slot];
    }

    /* ROUNDS */

    /// @dev Opens a round: its randomness, its voting weights and the money it may spend are fixed now. `clock` and
    /// `book` are the words of the round before; zero for the first.
    function _openRound(StateWord s, uint32 round, ClockWord clock, BookWord book) private {
        uint16 validators = book.validatorMask();
        uint16 expectedValidators = book.weightRevealMask();
        if (round % _params.epochRounds == 0) {
            uint16 sameSeats;
            (validators, sameSeats) = _openEpoch(round);
            expectedValidators &= sameSeats;
        }
        (uint16 expected, uint16 checkedIn) = _takeComing(clock.reveals());
        expectedValidators = (expectedValidators | checkedIn) & validators;

        s.withRound(round).store(_state);
        Round storage r = _rounds[round % s.historyRounds()];
        ClockWords.opened(round, _params.trainSeconds, _params.revealSeconds, expected).store(r);
        BookWords.opened(expectedValidators, validators, s.trainerSlots(), s.registrySize()).store(r);
        r.revealsHash = Commitment.noReveals(address(this), round);
        bytes32 seed = Commitment.assignSeed(address(this), round);
        r.assignSeed = seed;

        emit RoundOpened(round, seed, s.registrySize(), s.trainerSlots(), expected, _money.heldWei);
    }

    /// @dev Who is expected in the round that opens now: trainers, by number, and validators that checked in. The next
    /// round begins with nobody. Money that came in since the last opening can be spent from now on (and none is
    /// refunded before the end of the run).
    function _takeComing(uint16 revealed) private returns (uint16 trainers, uint16 validators) {
        Coming storage coming = _coming;
        uint256 word;
        assembly ("memory-safe") {
            // the only slot of the struct
            word := sload(coming.slot)
        }
        if (word == 0) return (revealed, 0);
        (trainers, validators) = (revealed + coming.checkedIn - coming.gone, coming.validatorMask);
        if (coming.fundedWei != 0) _money.heldWei += coming.fundedWei;
        delete _coming;
    }

    /// @dev Fixes seats and voting weights for the rounds of an epoch.
    /// @return validators Seats with voting weight.
    /// @return same Seats of who had them in the epoch before.
    function _openEpoch(uint32 round) private returns (uint16 validators, uint16 same) {
        uint32 number = round / _params.epochRounds;
        (bytes32 lanes, uint32[16] memory seats) = IStakes(_stakes).snapshot(address(this));
        if (number != 0) {
            uint32[16] memory before = _epochAt(number - 1).seats;
            for (uint256 slot = 0; slot < MAX_VALIDATORS; slot++) {
                if (seats[slot] == before[slot]) same |= Lanes.bit(slot);
            }
        }

        Epoch storage e = _epochAt(number);
        e.stakeLanes = lanes;
        e.seats = seats;

        emit EpochOpened(number, round, lanes, seats);

        return (lanes.mask(), same);
    }

    /// @dev The open round is over: opens the next, or ends the run. `clock` and `book` are the round's words.
    function _advance(StateWord s, ClockWord clock, BookWord book) private {
        uint32 next = s.round() + 1;
        if (s.closed() || next == _params.maxRounds || next > LAST_ROUND || !_canOpen(s, next)) _finish(s);
        else _openRound(s, next, clock, book);
    }

    /// @dev True if the place that the round would take holds nothing that may still be needed: no head of the pay
    /// chain, nothing that waits to be settled again, and no header that a fall of the next one would make the head.
    /// The search for that next one passes void rounds only, and each of them once in the life of a run.
    function _canOpen(StateWord s, uint32 next) private view returns (bool) {
        uint32 history = s.historyRounds();
        if (next < history) return true;
        uint32 round = next - history;
        if (BookWords.load(_rounds[round % history]).status() != RoundStatus.Settled) return true;
        uint32 paidPlusOne = s.paidPlusOne();
        if (round >= paidPlusOne) return false;
        while (++round < paidPlusOne) {
            BookWord book = BookWords.load(_rounds[round % history]);
            if (book.status() != RoundStatus.Settled) continue;
            // The round that settles now: it waits for nobody, and is the last.
            if (round + 1 == next) return false;
            uint64 safeAt = _safeAt(book.finalAt(), round);
            require(block.timestamp >= safeAt, TooEarly(safeAt));
            return true;
        }
        return false;
    }

    /// @dev No round is open any more.
    function _finish(StateWord s) private {
        s.withFinish().store(_state);

        emit RunFinished(s.round());
    }

    /// @dev Makes the header the round's and the head of the pay chain.
    function _settle(Work memory w, Header calldata header, string calldata aggregateCid) private {
        bool open = w.book.status() == RoundStatus.Open;

        _write(w, open, header.tree.totalAmountWei, header.body.attempt);

        emit Settled(w.round, header.body.attempt, w.hash, header, aggregateCid, w.signers);

        // Both store the state.
        if (open) _advance(w.state, w.clock, w.book);
        else w.state.store(_state);
    }

    /// @dev Writes what a settlement changes, but for the state's word.
    function _write(Work memory w, bool open, uint128 totalWei, uint256 attempt) private {
        Round storage r = _rounds[w.place];
        StateWord s = w.state;
        uint256 finalAt = block.timestamp + _params.challengeWindowSeconds;

        w.book.settled(w.signers, finalAt, s.paidPlusOne(), attempt).store(r);
        r.headerHash = w.hash;
        _storePaid(r, totalWei, w.epoch);
        _money.settledTotalWei = totalWei;
        s = s.withPaid(w.round + 1);
        if (open) {
            uint256 settleableAt = w.clock.openedAt() + _params.minRoundSeconds;
            require(block.timestamp >= settleableAt, TooEarly(uint64(settleableAt)));
            s = s.withSettled(w.round + 1);
        } else if (s.finishedAt() != 0) {
            // Who signed after the end stays bound, and who was paid has time to claim.
            s = s.withFinish();
        }
        w.state = s;
    }

    /// @dev Slot 6 of a round that settles: nothing is wrong with its header yet.
    function _storePaid(Round storage r, uint128 totalWei, uint256 epoch) private {
        assembly ("memory-safe") {
            // totalAmountWei in the low half, signedInEpoch in the highest 24 bits but 8, no fault between them
            sstore(add(r.slot, 6), or(totalWei, shl(224, epoch)))
        }
    }

    /* CHECKS */

    /// @dev Keeps that the caller's validator signed the header.
    function _attest(Work memory w) private returns (uint16 slot) {
        (slot,) = _signer(w, msg.sender);
        mapping(uint256 slot => bytes32) storage attested = _attested[w.place];
        bytes32 word = _attestation(w);
        uint16 mask = w.book.attestMask();
        uint16 bit = Lanes.bit(slot);
        // Another header can be signed: after a header before it fell, and where the others agree on it.
        require(mask & bit == 0 || attested[slot] != word, AlreadyAttested(slot, w.round));

        attested[slot] = word;
        _rounds[w.place].attestMask = mask | bit;
        w.book = BookWords.load(_rounds[w.place]);
    }

    /// @dev What is kept of a signature on chain: it counts only in the epoch that it was given in.
    function _attestation(Work memory w) private pure returns (bytes32) {
        return keccak256(abi.encode(w.hash, w.epoch));
    }

    /// @dev Adds those who signed the header on chain.
    function _countAttested(Work memory w) private view {
        uint256 rest = w.book.attestMask() & ~w.signers;
        if (rest == 0) return;
        mapping(uint256 slot => bytes32) storage attested = _attested[w.place];
        bytes32 word = _attestation(w);
        for (uint256 slot = 0; rest >> slot != 0; slot++) {
            if ((rest >> slot) & 1 == 0 || attested[slot] != word) continue;
            w.signers |= Lanes.bit(slot);
            w.signed += w.lanes.lane(slot);
        }
    }

    /// @dev Adds those whose signatures these are.
    function _countSignatures(Work memory w, bytes calldata signatures) private view {
        require(signatures.length % SIGNATURE_BYTES == 0, BadSignaturesLength(signatures.length));
        bytes32 digest = Commitment.digest(Commitment.domain(address(this)), w.hash);
        for (uint256 i = 0; i < signatures.length; i += SIGNATURE_BYTES) {
            bytes32 r;
            bytes32 vs;
            assembly ("memory-safe") {
                // two words of the 64 bytes that the length has room for
                r := calldataload(add(signatures.offset, i))
                vs := calldataload(add(add(signatures.offset, i), 0x20))
            }
            (uint16 slot, uint16 weight) = _signer(w, Commitment.signer(digest, r, vs));
            require(w.signers >> slot == 0, UnorderedSigners(slot));
            w.signers |= Lanes.bit(slot);
            w.signed += weight;
        }
    }

    /// @dev The validator whose operator signed, and its voting weight now.
    function _signer(Work memory w, address operator) private view returns (uint16 slot, uint16 weight) {
        MemberWord m = MemberWords.load(_members[operator]);
        if (m.role() != uint8(Role.Validator)) _memberAs(operator, Role.Validator);
        slot = m.slot();
        uint32 round = w.state.round();
        require(m.isActive(round), NotActive(slot, round));
        weight = w.lanes.lane(slot);
        require(weight != 0, NoVotingWeight(slot, round));
    }

    /// @dev The header is one of the round that is to settle next, and every field that the chain knows is what the
    /// chain knows.
    function _checkHeader(Header calldata header) private view returns (Work memory w) {
        _load(w, header.body.round);
        Round storage r = _rounds[w.place];
        uint8 attempt = w.book.attempt();
        if (w.book.status() == RoundStatus.Settled && w.clock.number() == w.round) {
            _checkAgain(w, r);
            attempt++;
        } else {
            _checkOpen(w);
        }
        w.hash = Commitment.headerHash(header);

        _match("run", uint160(header.body.run), uint160(address(this)));
        _match("attempt", header.body.attempt, attempt);
        _match("previous", uint256(header.body.previous), uint256(_headHash(w.state)));
        _match("reveals", uint256(header.body.reveals), uint256(r.revealsHash));
        _match("leafCount", header.tree.leafCount, w.book.registrySize());
        _checkMoney(w, header.body.budgetWei, header.tree.totalAmountWei);
    }

    /// @dev The words that settling a round is about.
    function _load(Work memory w, uint32 round) private view {
        StateWord s = StateWords.load(_state);
        uint256 history = s.historyRounds();
        uint256 place = round % history;
        uint256 epochRounds = _params.epochRounds;
        uint256 epoch = s.round() / epochRounds;
        w.state = s;
        w.round = round;
        w.place = place;
        w.clock = ClockWords.load(_rounds[place]);
        w.book = BookWords.load(_rounds[place]);
        w.revealEnd = w.book.weightCommitMask() == 0 ? w.clock.scoreEnd() : w.clock.weightRevealEnd();
        w.epoch = epoch;
        w.lanes = _epochs[epoch % (history / epochRounds + 2)].stakeLanes;
    }

    /// @dev The round is the open one, its weights have been revealed, and nothing waits to be settled before it.
    function _checkOpen(Work memory w) private view {
        uint256 since = w.clock.since();
        uint256 endsAt = _params.minRoundSeconds;
        if (w.revealEnd > endsAt) endsAt = w.revealEnd;
        endsAt += _params.settleSeconds;
        bool settling = w.book.status() == RoundStatus.Open && w.clock.number() == w.round
            && w.clock.drawn() != 0 && w.revealEnd <= since && since < endsAt;
        // Says what the round is in instead.
        if (!settling) _requirePhase(w.round, Phase.Settle);
        uint32 paidPlusOne = w.state.paidPlusOne();
        require(paidPlusOne == w.state.settledPlusOne(), OutOfTurn(w.round, paidPlusOne));
    }

    /// @dev The budget is the round's, and the total grows by no more.
    function _checkMoney(Work memory w, uint128 budgetWei, uint128 totalWei) private view {
        uint256 heldWei = _money.heldWei;
        uint256 leastWei = _money.settledTotalWei;
        if (w.state.paidPlusOne() != w.state.settledPlusOne()) leastWei = _settledTotalWei();
        uint256 freeWei = heldWei > leastWei ? heldWei - leastWei : 0;
        uint256 seconds_ = _params.nominalRoundSeconds;
        if (w.clock.drawn() == 0) seconds_ = 0;
        else if (w.revealEnd < seconds_) seconds_ = w.revealEnd;
        uint256 wantWei = seconds_ * _params.rewardRateWeiPerSecond;
        if (freeWei < wantWei) wantWei = freeWei;
        _match("budgetWei", budgetWei, wantWei);
        require(
            leastWei <= totalWei && totalWei <= leastWei + wantWei,
            BudgetExceeded(totalWei, uint128(leastWei), uint128(leastWei + wantWei))
        );
    }

    /// @dev The round is the next of those that lost their pay, and can be settled again.
    function _checkAgain(Work memory w, Round storage r) private view {
        uint32 paidPlusOne = w.state.paidPlusOne();
        require(w.round >= paidPlusOne, StillPaid(w.round));
        require(w.book.previousPaid() == paidPlusOne, OutOfTurn(w.round, paidPlusOne));
        require(r.fault == Fault.None, PunishFirst(w.round));
        uint256 finishedAt_ = w.state.finishedAt();
        if (finishedAt_ == 0) return;
        uint64 endsAt = uint64(finishedAt_ + _params.claimPeriodSeconds);
        require(block.timestamp < endsAt, ClaimsOver(endsAt));
    }

    function _match(bytes32 field, uint256 have, uint256 want) private pure {
        require(have == want, HeaderMismatch(field, bytes32(have), bytes32(want)));
    }
}
