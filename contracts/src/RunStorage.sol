// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "./interfaces/IRunBase.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {MAX_CID_BYTES} from "./types/Limits.sol";
import {
    Absence,
    Coming,
    Demand,
    Epoch,
    Equivocation,
    Member,
    Money,
    Round,
    RunState
} from "./types/Storage.sol";
import {Phase, Role, RunParams} from "./types/Types.sol";

/// @title RunStorage
/// @notice What a run remembers, and how to look it up; the same for all its parts (see `ITrainingRun`).
/// @dev Rounds, vectors, attestations and epochs live in rings: after the first lap no act writes to a slot that was
/// never used. `_round` is the only way to a round by its number: it never gives another round's place.
abstract contract RunStorage is IRunBase {
    using RoundClock for Round;

    /* STORAGE */

    RunState internal _state;
    RunParams internal _params;
    Money internal _money;
    Coming internal _coming;
    address internal _sponsor;
    uint64 internal _createdBlock;
    address internal _reputation;

    mapping(uint256 place => Round) internal _rounds;
    mapping(uint256 place => mapping(uint256 slot => bytes32)) internal _vectorHashes;
    /// @dev What each validator slot signed on chain: keccak256(header hash, epoch); counts while `attestMask` says so.
    mapping(uint256 place => mapping(uint256 slot => bytes32)) internal _attested;
    mapping(uint256 place => Epoch) internal _epochs;
    mapping(address operator => Member) internal _members;
    mapping(address operator => Absence) internal _absences;

    // Disputes
    mapping(uint256 round => mapping(uint256 attempt => mapping(uint256 index => Demand))) internal _demands;
    mapping(uint256 round => mapping(uint256 index => Equivocation)) internal _equivocations;
    mapping(bytes32 hash => uint256) internal _precommits;

    /// @dev A run takes no coins but the bonds of demands.
    receive() external payable {
        revert NoPlainPayments();
    }

    /* LOOKUP */

    /// @dev The place of a round in the ring; it may hold another one.
    function _place(uint32 round) internal view virtual returns (uint256) {
        return round % _state.historyRounds;
    }

    /// @dev A round that has opened and is remembered.
    function _round(uint32 round) internal view returns (Round storage r) {
        r = _rounds[_place(round)];
        require(_isKept(round), WrongRound(round, _state.round));
    }

    /// @dev True if the place of the round holds it: rounds open one after the other, so that a place has the last of
    /// those that belong there.
    function _isKept(uint32 round) internal view returns (bool) {
        uint32 current = _state.round;
        return _state.started && round <= current && current - round < _state.historyRounds;
    }

    /// @dev Seats of the epoch that a remembered round is in.
    function _epochOf(uint32 round) internal view returns (Epoch storage) {
        return _epochAt(round / _params.epochRounds);
    }

    /// @dev Seats of an epoch that some remembered round is in, or in which a remembered round was settled. The ring
    /// is as long as `historyRounds` can span epochs.
    function _epochAt(uint256 epoch) internal view returns (Epoch storage) {
        return _epochs[epoch % (_params.historyRounds / _params.epochRounds + 2)];
    }

    /// @dev The member that `operator` acts for.
    function _memberOf(address operator) internal view returns (Member memory m) {
        m = _getMember(operator);
        require(m.role != uint8(Role.None), NotOperator(operator));
    }

    /// @dev The member that `operator` acts for, which must have this role.
    function _memberAs(address operator, Role want) internal view returns (Member memory m) {
        m = _memberOf(operator);
        require(m.role == uint8(want), WrongRole(operator, Role(m.role), want));
    }

    /// @dev Reads a member's word, in one go: field by field it would be read seven times.
    function _getMember(address operator) internal view returns (Member memory m) {
        Member storage from = _members[operator];
        uint256 word;
        assembly ("memory-safe") {
            // all fields of the struct's only slot
            word := sload(from.slot)
        }
        m.commitment = bytes18(uint144(word));
        m.committedIn = uint24(word >> 144);
        m.expectedIn = uint24(word >> 168);
        m.activeFrom = uint24(word >> 192);
        m.activeUntil = uint24(word >> 216);
        m.slot = uint8(word >> 240);
        m.role = uint8(word >> 248);
    }

    /// @dev Writes a member's word, in one go.
    function _putMember(address operator, Member memory m) internal {
        uint256 word = uint256(uint144(m.commitment)) | (uint256(m.committedIn) << 144)
            | (uint256(m.expectedIn) << 168) | (uint256(m.activeFrom) << 192)
            | (uint256(m.activeUntil) << 216) | (uint256(m.slot) << 240) | (uint256(m.role) << 248);
        Member storage to = _members[operator];
        assembly ("memory-safe") {
            // all fields of the struct's only slot
            sstore(to.slot, word)
        }
    }

    function _isActive(Member memory m, uint32 round) internal pure returns (bool) {
        return m.activeFrom <= round && round < m.activeUntil;
    }

    /* PHASES */

    /// @dev The phase of the run now, and when it ends.
    function _phase() internal view returns (Phase, uint64 endsAt) {
        if (_state.finishedAt != 0) return (Phase.Finished, 0);
        if (!_state.started) return (Phase.NotStarted, 0);
        return _rounds[_place(_state.round)].phase(_params);
    }

    /// @dev The open round, which must be this one and in this phase.
    function _requirePhase(uint32 round, Phase want) internal view returns (Round storage) {
        require(round == _state.round, WrongRound(round, _state.round));
        (Phase have,) = _phase();
        require(have == want, WrongPhase(round, have, want));
        return _rounds[_place(round)];
    }

    function _checkCid(string calldata cid) internal pure {
        uint256 length = bytes(cid).length;
        require(length <= MAX_CID_BYTES, CidTooLong(length, MAX_CID_BYTES));
    }

    /* DELEGATION */

    /// @dev Ends the call with what `code` makes of it, in this storage.
    function _delegate(address code) internal {
        assembly {
            // the whole call, at the bottom of memory: nothing of ours is needed any more
            calldatacopy(0x00, 0x00, calldatasize())
            // in our storage, for our caller
            let done := delegatecall(gas(), code, 0x00, calldatasize(), 0x00, 0x00)
            // its answer
            returndatacopy(0x00, 0x00, returndatasize())
            // failed: the same error
            if iszero(done) { revert(0x00, returndatasize()) }
            // done: the same result
            return(0x00, returndatasize())
        }
    }
}
