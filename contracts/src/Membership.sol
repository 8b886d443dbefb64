// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {PayChain} from "./PayChain.sol";
import {IRunLife} from "./interfaces/IRunCore.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {Absence, Member, Round} from "./types/Storage.sol";
import {Phase, Role} from "./types/Types.sol";

/// @title Membership
/// @notice The members of a run, as its acts need to know them: `Stakes` tells of every change. Part of `Settlement`.
abstract contract Membership is IRunLife, PayChain {
    uint24 private constant NEVER = type(uint24).max;
    uint8 private constant MOST_STRIKES = 8;

    /// @dev Changes of members come from the registry.
    modifier onlyStakes() {
        require(msg.sender == _stakes, NotStakes(msg.sender));
        _;
    }

    constructor(address stakes_, address rewards_) PayChain(stakes_, rewards_) {}

    /* HOOKS */

    /// @inheritdoc IRunLife
    function enroll(address operator, Role role, uint16 slot, uint32 registrySize, uint16 trainerSlots)
        external
        onlyStakes
        returns (uint32 activeFrom)
    {
        require(!finished(), RunHasFinished());
        activeFrom = _nextOf(role);

        _putMember(
            operator,
            Member({
                commitment: 0,
                committedIn: 0,
                expectedIn: 0,
                activeFrom: uint24(activeFrom),
                activeUntil: NEVER,
                slot: uint8(slot),
                role: uint8(role)
            })
        );
        _state.registrySize = registrySize;
        _state.trainerSlots = trainerSlots;
    }

    /// @inheritdoc IRunLife
    function retire(address operator) external onlyStakes returns (uint32 activeUntil) {
        Member memory m = _memberOf(operator);
        activeUntil = _nextOf(Role(m.role));

        m.activeUntil = uint24(activeUntil);
        if (m.role == uint8(Role.Validator)) {
            if (activeUntil == nextRound()) _coming.validatorMask &= ~Lanes.bit(m.slot);
        } else if (m.expectedIn == activeUntil + 1) {
            m.expectedIn = 0;
            _coming.gone++;
        }
        _putMember(operator, m);
    }

    /// @inheritdoc IRunLife
    function rekey(address oldOperator, address newOperator) external onlyStakes {
        _putMember(newOperator, _getMember(oldOperator));
        _absences[newOperator] = _absences[oldOperator];
        delete _members[oldOperator];
        delete _absences[oldOperator];
    }

    /// @inheritdoc IRunLife
    function forget(address operator) external onlyStakes {
        delete _members[operator];
        delete _absences[operator];
    }

    /// @inheritdoc IRunLife
    function noteFunds(uint128 amountWei) external {
        require(msg.sender == _rewards, NotRewards(msg.sender));

        _coming.fundedWei += amountWei;
    }

    /* CHECK-INS */

    /// @inheritdoc IRunLife
    function checkIn() external {
        require(!finished(), RunHasFinished());
        Member memory m = _memberOf(msg.sender);
        (Phase phase,) = _phase();

        uint32 round = m.role == uint8(Role.Trainer)
            ? _checkInTrainer(m, _state.round, phase)
            : _checkInValidator(m, _state.round, phase);

        emit CheckedIn(round, Role(m.role), m.slot);
    }

    /* VIEWS */

    /// @inheritdoc IRunLife
    function nextRound() public view returns (uint32) {
        return _state.started ? _state.round + 1 : 0;
    }

    /// @inheritdoc IRunLife
    function finished() public view returns (bool) {
        return _state.finishedAt != 0;
    }

    /* INTERNAL */

    /// @dev Checks a trainer in: for this round while it can still commit, else for the next.
    function _checkInTrainer(Member memory m, uint32 current, Phase phase) private returns (uint32 round) {
        bool notStarted = phase == Phase.NotStarted;
        bool now_ = phase == Phase.Train && _isActive(m, current);
        round = notStarted || now_ ? current : current + 1;
        require(_isActive(m, round), NotActive(m.slot, round));
        require(m.expectedIn != round + 1, AlreadyCheckedIn(m.slot, round));
        // Who committed is expected in the next round by its reveal.
        require(notStarted || m.committedIn != current + 1, AlreadyCommitted(m.slot, current));

        _noteCheckIn(m, round);
        m.expectedIn = uint24(round + 1);
        _putMember(msg.sender, m);
        if (now_) _rounds[_place(round)].expected++;
        else _coming.checkedIn++;
    }

    /// @dev Checks a validator in: for this round while it can still commit to weights, else for the next.
    function _checkInValidator(Member memory m, uint32 current, Phase phase) private returns (uint32 round) {
        bool notStarted = phase == Phase.NotStarted;
        Round storage r = _rounds[_place(current)];
        uint16 bit = Lanes.bit(m.slot);
        bool here = !notStarted && _isActive(m, current) && r.validatorMask & bit != 0;
        bool now_ = here && phase <= Phase.Score;
        round = notStarted || now_ ? current : current + 1;
        require(_isActive(m, round), NotActive(m.slot, round));
        uint16 expected =
            now_ ? r.expectedValidatorMask : _coming.validatorMask | (here ? r.weightRevealMask : 0);
        require(expected & bit == 0, AlreadyCheckedIn(m.slot, round));
        require(!now_ || r.weightCommitMask & bit == 0, AlreadyCommitted(m.slot, round));

        _noteCheckIn(m, round);
        if (now_) r.expectedValidatorMask |= bit;
        else _coming.validatorMask |= bit;
    }

    /// @dev Counts the times in a row that a member checked in and committed nothing from that round on; each doubles
    /// the time until it can do so again.
    function _noteCheckIn(Member memory m, uint32 round) private {
        Absence memory a = _absences[msg.sender];
        uint8 strikes;
        if (a.checkedIn != 0 && m.committedIn < a.checkedIn) {
            strikes = a.strikes < MOST_STRIKES ? a.strikes + 1 : MOST_STRIKES;
            uint32 from = a.checkedIn - 1 + (uint32(1) << strikes);
            require(round >= from, CheckInFrom(from));
        }

        _absences[msg.sender] = Absence({checkedIn: uint24(round + 1), strikes: strikes});
    }

    /// @dev First round that a change of this role's members can take effect in.
    function _nextOf(Role role) private view returns (uint32) {
        if (!_state.started) return 0;
        if (role == Role.Trainer) return _state.round + 1;
        uint32 length = _params.epochRounds;
        return (_state.round / length + 1) * length;
    }
}
