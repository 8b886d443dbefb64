// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Phase, Role, Status} from "../../src/types/Types.sol";
import {Ghost} from "./Ghost.sol";

/// @dev Members come, go, change keys and take their stakes away.
abstract contract MemberHandler is Ghost {
    uint256 private constant MOST_MEMBERS = 34;

    function members(uint256 seed) external handler(seed) {
        uint256 kind = pick(10);
        if (kind < 2) _joinSomebody();
        else if (kind == 2) _joinCrowd();
        else if (kind == 3) _leaveSomebody();
        else if (kind == 4) _addStake();
        else if (kind == 5) _rekey();
        else if (kind < 8) _withdrawSomebody();
        else _checkInSomebody();
    }

    function _joinSomebody() private {
        if (run.finished() || _accounts >= MOST_MEMBERS) return;
        if (chance(2, 3)) _join(Role.Trainer, BOND_WEI + uint128(pick(3)));
        else _joinValidator();
    }

    /// @dev Seldom: all seats are taken, so that the next to join evicts somebody.
    function _joinCrowd() private {
        if (run.finished() || !chance(1, 16)) return;
        (, uint16 validators) = stakes.activeCounts(address(run));
        for (uint256 v = validators; v < 16 && _accounts < MOST_MEMBERS; v++) {
            _join(Role.Validator, STAKE_WEI + uint128(v));
        }
        count("crowd");
        _joinValidator();
    }

    /// @dev With more than the lowest if all seats are taken, which evicts it.
    function _joinValidator() private {
        uint128 amountWei = STAKE_WEI + uint128(pick(200)) * 1 ether;
        (, uint16 validators) = stakes.activeCounts(address(run));
        if (validators < 16) return _join(Role.Validator, amountWei);
        (, uint32[16] memory seats) = stakes.snapshot(address(run));
        uint128 least = type(uint128).max;
        for (uint256 v = 0; v < 16; v++) {
            uint128 stake = _entry(seats[v]).stakeWei;
            if (stake < least) least = stake;
        }
        if (amountWei <= least) amountWei = least + 1;
        _join(Role.Validator, amountWei);
        count("evicted");
    }

    function _leaveSomebody() private {
        Entry memory e = _anybody();
        bool gone = e.operator == address(0) || e.activeUntil != type(uint32).max;
        if (gone) return;
        (uint16 trainers, uint16 validators) = stakes.activeCounts(address(run));
        // A run without members has no history worth telling.
        if (e.role == Role.Trainer ? trainers < 3 : validators < 4) return;
        vm.prank(e.account);
        stakes.leave(address(run));
        count("left");
    }

    function _addStake() private {
        Entry memory e = _anybody();
        if (e.operator == address(0) || e.activeUntil != type(uint32).max) return;
        uint128 amountWei = uint128(1 + pick(50 ether));
        deal(token, e.account, amountWei, address(stakes));
        vm.prank(e.account);
        stakes.addStake(address(run), amountWei);
        _bonds[e.index].inWei += amountWei;
    }

    function _rekey() private {
        Entry memory e = _anybody();
        if (e.operator == address(0)) return;
        _rekeyToAnothers(e);
        uint256 newKey = _keyOf("rekey", _rekeys++);
        address operator = vm.addr(newKey);
        _keys[operator] = newKey;
        vm.prank(e.account);
        stakes.setOperator(address(run), operator);
    }

    /// @dev Neither the key that somebody else has, nor the first that it had.
    function _rekeyToAnothers(Entry memory e) private {
        Entry memory other = _anybody();
        if (other.index == e.index) return;
        bool first = other.operator == address(0) || chance(1, 2);
        address taken = first ? vm.addr(_keyOf("operator", other.index)) : other.operator;
        vm.prank(e.account);
        try stakes.setOperator(address(run), taken) {
            _refusedPassed++;
        } catch {}
    }

    /// @dev Whoever can. (That nobody else can is `invariant_lockedStakeCannotLeave`.)
    function _withdrawSomebody() private {
        Entry memory e = _anybody();
        if (e.operator == address(0) || e.activeUntil == type(uint32).max) return;
        uint64 at = stakes.withdrawableAt(address(run), e.index);
        if (at == 0 || block.timestamp < at) return;
        if (block.timestamp < e.leftAt + UNBONDING_SECONDS) _withdrawnTooEarly++;
        uint256 before = token.balanceOf(e.account);
        stakes.withdrawFor(address(run), e.account);
        _bonds[e.index].outWei += token.balanceOf(e.account) - before;
        count("withdrawn");
    }

    function _checkInSomebody() private {
        Entry memory e = _anybody();
        Status memory s = run.status();
        if (e.operator == address(0) || s.phase == Phase.Finished) return;
        vm.prank(e.operator);
        // Its many refusals are unit tests; here only what it does to rounds counts.
        try run.checkIn() {
            count("checkedIn");
        } catch {}
    }

    function _anybody() internal returns (Entry memory) {
        return _entry(uint32(pick(stakes.registrySize(address(run)))));
    }
}
