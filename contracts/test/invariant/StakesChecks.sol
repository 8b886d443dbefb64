// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Header, Leaf, Role} from "../../src/types/Types.sol";
import {MoneyChecks} from "./MoneyChecks.sol";

/// @dev What members have at stake. README.md explains each check.
abstract contract StakesChecks is MoneyChecks {
    function check_slashedIsBurnedPlusRewarded() external view {
        uint256 stakesWei;
        for (uint32 i = 0; i < _accounts; i++) {
            Bond storage b = _bonds[i];
            assertEq(_entry(i).stakeWei, b.inWei - b.outWei - b.lostWei, "stake");
            stakesWei += b.inWei - b.outWei - b.lostWei;
        }
        assertEq(token.balanceOf(address(stakes)), stakesWei, "held");
        assertEq(token.balanceOf(burned), _burnedWei, "burned");
        assertEq(token.balanceOf(challenger) + token.balanceOf(demander), _challengerWei, "rewarded");
    }

    function check_lockedStakeCannotLeave() external {
        assertEq(_withdrawnTooEarly, 0, "before unbonding");
        // Who signed what can still fall, or has fallen and was not punished, is still there.
        for (uint256 i = _final.length; i < _chain.length; i++) {
            if (!run.isFinal(_notes[_chain[i]].round)) _assertSignersAreIn(_chain[i]);
        }
        for (uint256 i = 0; i < _fallenRounds.length; i++) {
            Fallen storage f = _fallen[_fallenRounds[i]];
            uint256 answerSeconds = run.params().answerSeconds;
            if (f.open && block.timestamp <= f.at + answerSeconds) _assertSignersAreIn(f.hash);
        }
        Entry[] memory all = _entries();
        for (uint256 i = 0; i < all.length; i++) {
            bool left = all[i].activeUntil != type(uint32).max;
            if (left && block.timestamp >= all[i].leftAt + UNBONDING_SECONDS) continue;
            uint256 before = token.balanceOf(address(stakes));
            try stakes.withdrawFor(address(run), all[i].account) {} catch {}
            assertEq(token.balanceOf(address(stakes)), before, "withdrawn");
        }
    }

    function _assertSignersAreIn(bytes32 hash) private view {
        (uint32[] memory indices,) = _signersOf(hash);
        for (uint256 i = 0; i < indices.length; i++) {
            assertTrue(_entry(indices[i]).operator != address(0), "a signer has withdrawn");
        }
    }

    function check_registryHasNoDoubles() external view {
        Entry[] memory all = _entries();
        assertEq(all.length, _accounts, "size");
        uint256 trainerSlots;
        uint256 seats;
        for (uint256 i = 0; i < all.length; i++) {
            assertEq(all[i].index, i, "index");
            for (uint256 k = 0; k < i; k++) {
                assertTrue(all[k].account != all[i].account, "account");
                bool both = all[k].operator != address(0);
                assertTrue(!both || all[k].operator != all[i].operator, "operator");
            }
            if (all[i].operator == address(0)) continue;
            bool isTrainer = all[i].role == Role.Trainer;
            // A seat is handed on when its validator leaves, a trainer's slot when it has withdrawn.
            if (!isTrainer && all[i].activeUntil != type(uint32).max) continue;
            uint256 bit = 1 << all[i].slot;
            assertEq((isTrainer ? trainerSlots : seats) & bit, 0, "slot");
            if (isTrainer) trainerSlots |= bit;
            else seats |= bit;
            assertLt(all[i].slot, isTrainer ? 256 : 16, "range");
        }
        if (_chain.length == 0) return;
        (Header memory header, Leaf[] memory leaves) = _open(_chain[_chain.length - 1]);
        assertEq(header.tree.leafCount, leaves.length, "a leaf for each");
        assertLe(leaves.length, all.length, "of the registry");
    }
}
