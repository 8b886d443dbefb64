// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, OpenedTree} from "../../src/types/Types.sol";
import {Wrong} from "./Ghost.sol";
import {RoundsChecks} from "./RoundsChecks.sol";

/// @dev What can fall, and what can not. README.md explains each check.
abstract contract DisputesChecks is RoundsChecks {
    function check_anHonestHeaderStands() external {
        assertEq(_honestFell, 0, "fell");
        (bool found, bytes32 hash) = _someHonest();
        if (!found) return;
        _entropy = uint256(hash);
        (Header memory header,) = _open(hash);
        bytes32 before = _state();
        for (uint256 i = 0; i < 4; i++) {
            (bool done,) = address(run).call(_honestCalldata(hash));
            assertFalse(done, "challenged");
        }
        try run.timeout(header.body.round, header.tree.leafCount) {} catch {}
        assertEq(_state(), before, "stands");
    }

    function check_everyWrongHeaderCanFallInTime() external {
        (bool found, bytes32 hash) = _firstWrong();
        if (!found) return;
        Note storage n = _notes[hash];
        bool hidden = n.wrong == Wrong.Withheld || n.wrong == Wrong.Index;
        if (hidden) {
            if (!_demandIt(hash)) return;
            run.timeout(n.round, n.index);
        } else {
            _strike(hash);
        }
        assertEq(run.headerHash(n.round), 0, "stands");
        // And then it costs its signers.
        vm.warp(block.timestamp + run.params().answerSeconds);
        (uint32[] memory indices,) = _signersOf(hash);
        uint256 before;
        for (uint256 i = 0; i < indices.length; i++) {
            before += _entry(indices[i]).stakeWei;
        }
        uint256 burnedWei = token.balanceOf(burned);
        run.punish(n.round, address(0), 0);
        uint256 afterWei;
        for (uint256 i = 0; i < indices.length; i++) {
            afterWei += _entry(indices[i]).stakeWei;
        }
        assertTrue(afterWei < before || before == 0, "for nothing");
        assertLe(before - afterWei, 240 ether, "cap");
        if (!hidden) assertEq(token.balanceOf(burned) - burnedWei, before - afterWei, "burned");
    }

    /// @dev Demands the leaf that can't be shown, if there is time; goes on to the end of the time for an answer.
    function _demandIt(bytes32 hash) private returns (bool) {
        Note storage n = _notes[hash];
        (bool open, uint64 deadline) = _demandState(n.round, n.attempt, n.index);
        if (!open) {
            if (block.timestamp >= run.finalAt(n.round) + 40 * run.params().answerSeconds) return false;
            (Header memory header,) = _open(hash);
            OpenedTree memory opened = _opened(header);
            uint256 bondWei = run.demandBond(n.round);
            vm.deal(demander, bondWei);
            vm.prank(demander);
            run.demand{value: bondWei}(opened, n.index);
            (, deadline) = _demandState(n.round, n.attempt, n.index);
        }
        if (block.timestamp <= deadline) {
            assertFalse(_showHidden(hash, n.index), "shown");
            vm.warp(deadline + 1);
        }
        return true;
    }

    function check_anOpenDemandHoldsItsHeader() external {
        bytes32 held;
        Asked memory last;
        for (uint256 i = 0; i < _asked.length; i++) {
            Asked memory a = _asked[i];
            (bool current, bytes32 hash) = _standing(a.round, a.attempt);
            (, uint64 deadline) = _demandState(a.round, a.attempt, a.index);
            uint256 until = deadline + run.params().answerSeconds;
            if (!current || block.timestamp >= until) continue;
            (held, last) = (hash, a);
            uint256 now_ = block.timestamp;
            // In the last second, nor is any header after it.
            vm.warp(until - 1);
            assertFalse(run.isFinal(a.round), "final");
            assertFalse(run.isFinal(_notes[_headHash()].round), "a later one is final");
            vm.warp(now_);
        }
        if (held == 0) return;
        (, uint64 dueAt) = _demandState(last.round, last.attempt, last.index);
        vm.warp(dueAt + run.params().answerSeconds - 1);
        (Header memory header,) = _open(held);
        if (!_isFinalTree(header)) assertFalse(_claimEverything(held), "claimed");
        run.timeout(last.round, last.index);
        assertEq(run.headerHash(last.round), 0, "stands");
    }

    function check_aFinalHeaderCannotFall() external {
        assertEq(_lateFell, 0, "fell");
        for (uint256 i = _final.length; i > 0 && i + 3 > _final.length; i--) {
            bytes32 hash = _final[i - 1];
            Wrong wrong = _notes[hash].wrong;
            if (wrong == Wrong.None) continue;
            if (wrong == Wrong.Withheld || wrong == Wrong.Index) {
                (Header memory header,) = _open(hash);
                OpenedTree memory opened = _opened(header);
                uint256 bondWei = run.demandBond(_notes[hash].round);
                vm.deal(demander, bondWei);
                vm.prank(demander);
                try run.demand{value: bondWei}(opened, _notes[hash].index) {
                    assertTrue(false, "demanded");
                } catch {}
                continue;
            }
            try this.strike(hash) {
                assertTrue(false, "challenged");
            } catch {}
        }
    }

    function check_whatMustBeRefusedIsRefused() external view {
        assertEq(_refusedPassed, 0);
    }
}
