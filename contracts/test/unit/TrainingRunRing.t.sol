// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {Header, RoundStatus} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Rounds take the places of older ones.
contract TrainingRunRingTest is RunFixture {
    function commitRaw(uint256 i, uint32 round) private {
        vm.prank(trainerOperator(i));
        run.commit(round, "commitment");
    }

    /* RING */

    /// @dev Settles a round in which nobody acted, so often.
    function settleMany(uint256 count) private {
        for (uint256 k = 0; k < count; k++) {
            settleQuickly(0);
        }
    }

    function test_ForgottenRoundsAreEmpty() public {
        startRunCheckedIn();
        bytes32 first = hashOf(settleRound(1 ether));
        settleMany(30);
        assertEq(current(), 31, "round");
        assertEq(run.headerHash(0), first, "remembered");
        assertTrue(run.isFinal(0), "final");
        assertTrue(run.vectorHash(0, 0) != 0, "its vectors");
        settleQuickly(0);

        assertEq(run.headerHash(0), 0, "forgotten");
        assertFalse(run.isFinal(0), "not final either");
        assertEq(run.finalAt(0), 0, "no time");
        assertEq(run.budgetOf(0), 0, "no budget");
        assertEq(run.vectorHash(0, 0), 0, "no vectors");
        assertEq(uint8(run.roundInfo(0).status), uint8(RoundStatus.None), "no record");
        assertEq(run.releasedAt(0), 1, "long ago");
        assertEq(run.headerHash(32), 0, "the open one has no header");
        assertEq(run.vectorHash(32, 0), 0, "nor vectors, though its place had");
        assertEq(run.status().evalSeed, 0, "nor a seed");
        assertEq(run.roundInfo(32).commits, 0, "nor commits");
        assertEq(run.headerHash(33), 0, "nor has one that has not opened");
        assertEq(run.releasedAt(33), 0, "not yet");
    }

    function test_ActsOfALapBeforeAreRefused() public {
        startRunCheckedIn();
        settleMany(32);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 32));
        commitRaw(0, 0);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 64, 32));
        commitRaw(0, 64);
        commitRaw(0, 32);
        assertEq(run.status().commits, 1, "commits");
        vm.warp(run.status().phaseEndsAt);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 32));
        run.reveal(0, trainerOperator(0), contentHash(0, 0), CID, salt(0, 0));
        vm.warp(run.status().phaseEndsAt);
        draw();
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 32));
        vm.prank(validatorOperator(0));
        run.commitWeights(0, "commitment");
        commitWeights(0);
        vm.warp(run.status().phaseEndsAt);
        bytes memory lanes = vector(32, 0);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 32));
        vm.prank(validatorOperator(0));
        run.revealWeights(0, lanes, evidenceHash(32, 0), CID, salt(32, 0));
        revealWeights(0);
        Header memory header = makeHeader(32, 0);
        header.body.round = 0;
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 32));
        run.settleSigned(header, CID, "");
    }

    function test_ARunFinishesBeforeItForgetsTheHead() public {
        startRun();
        bytes32 hash = hashOf(settleQuickly(0));
        for (uint256 k = 1; k < 32; k++) {
            assertFalse(run.finished(), "goes on");
            voidCurrent();
        }
        assertTrue(run.finished(), "round 32 would take the place of round 0");
        assertEq(run.headerHash(0), hash, "which stands");
        (bool any, uint32 round, bytes32 head, bool final_) = run.payHead();
        assertTrue(any && round == 0 && head == hash && final_, "as the head");
    }

    function test_ARunFinishesBeforeItForgetsTheBaseOfADispute() public {
        startRun();
        settleQuickly(0);
        for (uint256 k = 1; k < 31; k++) {
            voidCurrent();
        }
        settleQuickly(0);
        (, uint32 head,,) = run.payHead();
        assertEq(head, 31, "head");
        assertTrue(run.finished(), "the new head can still fall, and round 0 would be the head again");
    }

    function test_VoidRoundsAloneDoNotFinishARun() public {
        startRun();
        for (uint256 k = 0; k < 40; k++) {
            voidCurrent();
        }
        assertFalse(run.finished(), "nothing is lost");
        settleQuickly(1 ether);
        assertEq(run.settledTotalWei(), 1 ether, "and it can settle");
    }
}
