// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {DisputesBase} from "./DisputesBase.sol";
import {IPenalties} from "./interfaces/IRunDisputes.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {Coming, Demand, Epoch, Equivocation, Member, Round, RunState} from "./types/Storage.sol";
import {Fault, RoundInfo, RoundStatus, RunParams, Status} from "./types/Types.sol";
import {StateWords} from "./types/Words.sol";

/// @title RunViews
/// @notice The views of a run that are too large for the code that acts. See `IPenalties`.
abstract contract RunViews is DisputesBase, IPenalties {
    using RoundClock for Round;

    /* THE RUN */

    /// @inheritdoc IPenalties
    function status() external view returns (Status memory s) {
        RunState memory state = _state;
        s.round = state.round;
        (s.phase, s.phaseEndsAt) = _phase();
        s.timestamp = uint64(block.timestamp);
        s.blockNumber = uint64(block.number);
        s.closed = state.closed;
        if (state.paidPlusOne != 0) {
            s.hasSettled = true;
            s.lastSettledRound = state.paidPlusOne - 1;
            s.lastHeaderHash = _headHash(StateWords.load(_state));
        }
        if (_isBehind()) {
            s.behind = true;
            s.behindRound = _nextBehind();
            s.behindAttempt = uint32(_rounds[_place(s.behindRound)].attempt) + 1;
        }
        if (state.started) _fillOpen(s, _rounds[_place(state.round)]);
        else _fillComing(s, _coming);
    }

    /// @inheritdoc IPenalties
    function params() external view returns (RunParams memory) {
        return _params;
    }

    /// @inheritdoc IPenalties
    function expectedIn(address operator) external view returns (uint32) {
        uint32 roundPlusOne = _members[operator].expectedIn;
        return roundPlusOne == 0 ? type(uint32).max : roundPlusOne - 1;
    }

    /// @inheritdoc IPenalties
    function memberOf(address operator) external view returns (Member memory) {
        return _members[operator];
    }

    /* ROUNDS */

    /// @inheritdoc IPenalties
    function roundInfo(uint32 round) external view returns (RoundInfo memory i) {
        Round storage r = _rounds[_place(round)];
        if (!_isKept(round)) return i;
        i.status = r.status;
        i.openedAt = r.openedAt;
        i.trainEndsAt = r.trainEndsAt();
        i.revealEndsAt = r.revealEndsAt();
        if (r.drawn != 0) i.drawnAt = uint64(r.openedAt) + r.drawn;
        i.scoreEndsAt = r.scoreEndsAt();
        i.weightRevealEndsAt = r.weightRevealEndsAt();
        i.registrySize = r.registrySize;
        i.trainerSlots = r.trainerSlots;
        i.stakeLanes = _epochOf(round).stakeLanes;
        i.attempt = r.attempt;
        if (round == _state.round) i.heldAtOpenWei = _money.heldWei;
        i.commits = r.commits;
        i.reveals = r.reveals;
        i.assignSeed = r.assignSeed;
        if (r.drawn != 0) i.evalSeed = r.evalSeed;
        i.revealsHash = r.revealsHash;
        if (r.status == RoundStatus.Settled) _fillSettlement(i, r, round);
    }

    /// @inheritdoc IPenalties
    function finalAt(uint32 round) external view returns (uint64) {
        Round storage r = _rounds[_place(round)];
        return _isKept(round) && r.status == RoundStatus.Settled ? r.finalAt : 0;
    }

    /// @inheritdoc IPenalties
    function epochOf(uint32 round) external view returns (uint32) {
        return round / _params.epochRounds;
    }

    /// @inheritdoc IPenalties
    function seatsOf(uint32 round) external view returns (bytes32 lanes, uint32[16] memory seats) {
        if (!_isKept(round)) return (lanes, seats);
        Epoch memory epoch = _epochOf(round);
        return (epoch.stakeLanes, epoch.seats);
    }

    /* DISPUTES */

    /// @inheritdoc IPenalties
    function faultOf(uint32 round)
        external
        view
        returns (Fault fault, uint32 attempt, uint32 index, uint64 faultAt, uint16 signers)
    {
        Round storage r = _rounds[_place(round)];
        if (!_isKept(round) || _faultOf(r) == Fault.None) {
            return (fault, attempt, index, faultAt, signers);
        }
        return (r.fault, r.attempt, r.faultIndex, r.faultAt, r.faultSigners);
    }

    /// @inheritdoc IPenalties
    function demandOf(uint32 round, uint32 attempt, uint32 index) external view returns (Demand memory) {
        return _demands[round][attempt][index];
    }

    /// @inheritdoc IPenalties
    function demandBond(uint32 round) external view returns (uint256) {
        Round storage r = _rounds[_place(round)];
        return _bondWei(_doublings(_isKept(round) ? r.demandsOpen : 0));
    }

    /// @inheritdoc IPenalties
    function equivocationOf(uint32 round, uint32 index) external view returns (Equivocation memory) {
        return _equivocations[round][index];
    }

    /// @inheritdoc IPenalties
    function precommittedAt(bytes32 hash) external view returns (uint64) {
        return uint64(_precommits[hash]);
    }

    /// @inheritdoc IPenalties
    function precommitHash(
        uint32 round,
        uint32 attempt,
        Fault fault,
        uint32 index,
        address challenger,
        bytes32 salt
    ) public view returns (bytes32) {
        return keccak256(abi.encode(address(this), round, attempt, fault, index, challenger, salt));
    }

    /* INTERNAL */

    /// @dev The fault that is not punished yet. Another round's word may still lie there until this one
    /// settles.
    function _faultOf(Round storage r) internal view returns (Fault) {
        return r.status == RoundStatus.Settled ? r.fault : Fault.None;
    }

    /// @dev The round to settle again first: the one that comes after the head. The links of those that were
    /// settled after it lead there.
    function _nextBehind() private view returns (uint32 round) {
        uint32 head = _state.paidPlusOne;
        uint32 after_ = _state.settledPlusOne;
        while (after_ > head) {
            round = after_ - 1;
            after_ = _rounds[_place(round)].previousPaid;
        }
    }

    function _fillOpen(Status memory s, Round storage r) private view {
        s.expected = r.expected;
        s.expectedCommits = r.expectedCommits;
        s.commits = r.commits;
        s.reveals = r.reveals;
        s.validatorMask = r.validatorMask;
        s.expectedValidatorMask = r.expectedValidatorMask;
        s.weightCommitMask = r.weightCommitMask;
        s.weightRevealMask = r.weightRevealMask;
        s.attestMask = r.attestMask;
        s.assignSeed = r.assignSeed;
        if (r.drawn != 0) s.evalSeed = r.evalSeed;
    }

    /// @dev Before the start: who checked in for round 0.
    function _fillComing(Status memory s, Coming memory coming) private pure {
        s.expected = coming.checkedIn - coming.gone;
        s.expectedValidatorMask = coming.validatorMask;
    }

    function _fillSettlement(RoundInfo memory i, Round storage r, uint32 round) private view {
        i.paid = _stands(r, round);
        i.finalAt = r.finalAt;
        i.signerMask = r.signerMask;
        i.headerHash = r.headerHash;
        i.totalAmountWei = r.totalAmountWei;
        i.fault = r.fault;
    }
}
