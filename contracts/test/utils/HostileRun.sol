// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Role, RunParams} from "../../src/types/Types.sol";

/// @dev A contract that answers Stakes, Rewards and Reputation as a run does, with whatever suits it; and the plain
/// counterparty of their unit tests. It can call anybody in its own name.
contract HostileRun {
    struct FinalHeader {
        bytes32 hash;
        bool isFinal;
    }

    address public sponsor;
    address public stakes;
    bool public finished;
    uint64 public finishedAt;
    bool public behind;
    uint128 public settledTotalWei;
    uint32 public nextRound;
    uint32 public epochEnds; // until when validators that leave are active, and from when those who join

    bool public anyPaid;
    uint32 public headRound;

    mapping(uint32 round => FinalHeader) public finalHeader;
    mapping(uint32 activeUntil => uint64) public releasedAt;

    RunParams private _params;
    mapping(address operator => Role) private _roleOf;

    // What Stakes said last.
    string public lastHook;
    address public lastOperator;
    address public lastNewOperator;
    Role public lastRole;
    uint16 public lastSlot;
    uint32 public lastRegistrySize;
    uint16 public lastTrainerSlots;

    // A call to be made in the next hook, as a run that wants to reenter.
    address private _target;
    bytes private _data;
    bool public callFailed;
    bytes public callResult;

    constructor(address rewardToken_, address sponsor_) {
        _params.rewardToken = rewardToken_;
        sponsor = sponsor_;
    }

    /* WHAT IT ANSWERS */

    function setParams(RunParams memory params_) external {
        _params = params_;
    }

    function setToken(address token) external {
        _params.rewardToken = token;
    }

    function setSponsor(address sponsor_) external {
        sponsor = sponsor_;
    }

    function setStakes(address stakes_) external {
        stakes = stakes_;
    }

    function setFinished(bool finished_, uint64 finishedAt_) external {
        (finished, finishedAt) = (finished_, finishedAt_);
    }

    function setRound(uint32 nextRound_, uint32 epochEnds_) external {
        (nextRound, epochEnds) = (nextRound_, epochEnds_);
    }

    function setReleased(uint32 activeUntil, uint64 time) external {
        releasedAt[activeUntil] = time;
    }

    function setBehind(bool behind_) external {
        behind = behind_;
    }

    function setTotal(uint128 settledTotalWei_) external {
        settledTotalWei = settledTotalWei_;
    }

    function setHeader(uint32 round, bytes32 hash, bool isFinal) external {
        finalHeader[round] = FinalHeader(hash, isFinal);
    }

    function setHead(bool any, uint32 round) external {
        (anyPaid, headRound) = (any, round);
    }

    function rewardToken() external view returns (address) {
        return _params.rewardToken;
    }

    function params() external view returns (RunParams memory) {
        return _params;
    }

    function payHead() external view returns (bool any, uint32 round, bytes32 hash, bool isFinal) {
        FinalHeader storage h = finalHeader[headRound];
        return anyPaid ? (true, headRound, h.hash, h.isFinal) : (false, 0, bytes32(0), false);
    }

    /* HOOKS */

    function enroll(address operator, Role role, uint16 slot, uint32 registrySize, uint16 trainerSlots)
        external
        returns (uint32)
    {
        (lastHook, lastOperator, lastRole, lastSlot) = ("enroll", operator, role, slot);
        _roleOf[operator] = role;
        (lastRegistrySize, lastTrainerSlots) = (registrySize, trainerSlots);
        _callBack();
        return role == Role.Trainer ? nextRound : epochEnds;
    }

    function retire(address operator) external returns (uint32) {
        (lastHook, lastOperator) = ("retire", operator);
        _callBack();
        return _roleOf[operator] == Role.Validator ? epochEnds : nextRound;
    }

    function rekey(address oldOperator, address newOperator) external {
        (lastHook, lastOperator, lastNewOperator) = ("rekey", oldOperator, newOperator);
        _roleOf[newOperator] = _roleOf[oldOperator];
        _callBack();
    }

    function noteFunds(uint128) external pure {}

    function forget(address operator) external {
        (lastHook, lastOperator) = ("forget", operator);
        _callBack();
    }

    /* WHAT IT DOES */

    /// @dev Makes this call in its next hook, once.
    function reenter(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    /// @dev Calls in its own name.
    function execute(address target, bytes calldata data) external returns (bytes memory result) {
        bool ok;
        (ok, result) = target.call(data);
        if (ok) return result;
        assembly ("memory-safe") {
            revert(add(result, 0x20), mload(result))
        }
    }

    function _callBack() private {
        address target = _target;
        if (target == address(0)) return;
        _target = address(0);
        bool ok;
        (ok, callResult) = target.call(_data);
        callFailed = !ok;
    }
}
