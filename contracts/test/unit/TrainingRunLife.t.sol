// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunLife} from "../../src/interfaces/IRunCore.sol";
import {Phase, Role, RoundInfo, RoundStatus, RunParams, Status} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Start, the clock, void rounds and the end of a run.
contract TrainingRunLifeTest is RunFixture {
    function assertPhase(Phase want, string memory when) private view {
        assertEq(uint8(phase()), uint8(want), when);
    }

    function toExpired() private {
        toSettle();
        vm.warp(run.status().phaseEndsAt);
    }

    function commitRaw(uint256 i, uint32 round) private {
        vm.prank(trainerOperator(i));
        run.commit(round, "commitment");
    }

    /* REVERTS: START AND CLOSE */

    function test_RevertWhen_TooFewMembersToStart() public {
        joinTrainer(0);
        joinTrainer(1);
        for (uint256 v = 0; v < 3; v++) {
            joinValidator(v);
        }
        expectError(abi.encodeWithSelector(IRunLife.TooFewMembers.selector, 2, 3, 3, 3));
        run.start();
        joinTrainer(2);
        vm.prank(validator(2));
        stakes.leave(address(run));
        expectError(abi.encodeWithSelector(IRunLife.TooFewMembers.selector, 3, 2, 3, 3));
        run.start();
    }

    function test_RevertWhen_StartedTwice() public {
        startRun();
        expectError(abi.encodeWithSelector(IRunLife.AlreadyStarted.selector));
        run.start();
    }

    function test_RevertWhen_StartedAfterItsEnd() public {
        joinAll();
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRunBase.RunHasFinished.selector));
        run.start();
    }

    function test_RevertWhen_AnotherCloses() public {
        expectError(abi.encodeWithSelector(IRunLife.NotSponsor.selector, stranger));
        vm.prank(stranger);
        run.close();
    }

    function test_RevertWhen_ClosedTwice() public {
        startRun();
        vm.startPrank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRunLife.AlreadyClosed.selector));
        run.close();
    }

    function test_RevertWhen_ClosedAfterItsEnd() public {
        vm.startPrank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRunBase.RunHasFinished.selector));
        run.close();
    }

    /* REVERTS: VOID */

    function test_RevertWhen_VoidingBeforeTheDeadline() public {
        startRun();
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Train, Phase.Expired));
        run.voidRound(0);
        toSettle();
        vm.warp(run.status().phaseEndsAt - 1);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Settle, Phase.Expired));
        run.voidRound(0);
    }

    function test_RevertWhen_VoidingAnotherRound() public {
        startRun();
        toExpired();
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 1, 0));
        run.voidRound(1);
        run.voidRound(0);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 1));
        run.voidRound(0);
    }

    /* EFFECTS: START */

    function test_Start() public {
        joinAll();
        bytes32 seed = keccak256(
            abi.encode(
                keccak256("emerit/assign/v1"), block.chainid, address(run), uint32(0), block.prevrandao
            )
        );
        uint32[16] memory seats;
        (seats[0], seats[1], seats[2]) = (3, 4, 5);
        bytes32 lanes = bytes32(uint256(100 | (100 << 16) | (100 << 32)));
        vm.expectEmit(address(run));
        emit IRunBase.EpochOpened(0, 0, lanes, seats);
        vm.expectEmit(address(run));
        emit IRunBase.RoundOpened(0, seed, 6, 3, 0, POOL_WEI);
        vm.prank(stranger);
        run.start();

        RoundInfo memory info = run.roundInfo(0);
        assertEq(uint8(info.status), uint8(RoundStatus.Open), "status");
        assertEq(info.openedAt, block.timestamp, "opened");
        assertEq(info.trainEndsAt, block.timestamp + 60, "train ends");
        assertEq(info.scoreEndsAt, 0, "not drawn");
        assertEq(info.weightRevealEndsAt, 0, "not drawn");
        assertEq(info.registrySize, 6, "registry");
        assertEq(info.trainerSlots, 3, "trainers");
        assertEq(info.stakeLanes, lanes, "lanes");
        assertEq(info.heldAtOpenWei, POOL_WEI, "pool");
        assertEq(info.assignSeed, seed, "seed");
        assertEq(run.nextRound(), 1, "next round");
        Status memory s = run.status();
        assertEq(s.validatorMask, 7, "validators with weight");
        assertEq(s.expected, 0, "expected");
        assertEq(s.timestamp, block.timestamp, "time");
        assertEq(s.blockNumber, block.number, "block");
    }

    function test_RoundsThatNeverOpenedAreEmpty() public {
        joinAll();
        checkInAll();

        assertEq(uint8(run.roundInfo(0).status), uint8(RoundStatus.None), "status");
        assertEq(run.roundInfo(0).trainEndsAt, 0, "no clock");
        assertEq(run.headerHash(0), 0, "no header");
        assertEq(run.finalAt(0), 0, "no time");
        assertEq(run.budgetOf(0), 0, "no budget");
        assertEq(run.vectorHash(0, 0), 0, "no vector");
        assertEq(run.vectorHash(0, 16), 0, "no such slot");
    }

    /* EFFECTS: CLOCK */

    function test_PhasesByDeadlines() public {
        startRun();
        uint256 opened = block.timestamp;
        skip(59);
        commit(0);
        assertPhase(Phase.Train, "until the deadline");
        assertEq(run.status().phaseEndsAt, opened + 60, "train ends");
        vm.warp(opened + 60);
        assertPhase(Phase.Reveal, "from the deadline on");
        assertEq(run.status().phaseEndsAt, opened + 90, "reveal ends");
        vm.warp(opened + 90);
        assertPhase(Phase.Draw, "nothing was revealed");
        assertEq(run.status().phaseEndsAt, opened + 95, "one second after the delay");
        vm.warp(opened + 200);
        run.draw(0);
        assertPhase(Phase.Score, "late draw");
        assertEq(run.status().phaseEndsAt, opened + 260, "score ends");
        commitWeights(0);
        vm.warp(opened + 260);
        assertPhase(Phase.WeightReveal, "one may reveal");
        assertEq(run.status().phaseEndsAt, opened + 290, "weight reveal ends");
        vm.warp(opened + 290);
        assertPhase(Phase.Settle, "not revealed");
        assertEq(run.status().phaseEndsAt, opened + 350, "settle ends");
        vm.warp(opened + 350);
        assertPhase(Phase.Expired, "no header");
        assertEq(run.status().phaseEndsAt, 0, "no end");
    }

    function test_PhasesWithoutAnyAct() public {
        startRun();
        skip(60);
        assertPhase(Phase.Draw, "nothing to reveal");
        draw();
        skip(60);
        assertPhase(Phase.Settle, "no weights to reveal");
        skip(60);
        assertPhase(Phase.Expired, "no header");
    }

    function test_PhasesEndEarlyWhenAllActed() public {
        startRunCheckedIn();
        uint256 opened = block.timestamp;
        skip(1);
        commit(0);
        commit(1);
        assertPhase(Phase.Train, "one is missing");
        commit(2);
        assertPhase(Phase.Reveal, "all committed");
        reveal(0);
        reveal(1);
        assertPhase(Phase.Reveal, "one is missing");
        reveal(2);
        assertPhase(Phase.Draw, "all revealed");
        skip(5);
        run.draw(0);
        commitWeights(0);
        commitWeights(1);
        assertPhase(Phase.Score, "one is missing");
        commitWeights(2);
        assertPhase(Phase.WeightReveal, "all committed");
        skip(1);
        revealWeights(0);
        revealWeights(1);
        assertPhase(Phase.WeightReveal, "one is missing");
        revealWeights(2);
        assertPhase(Phase.Settle, "all revealed");

        RoundInfo memory info = run.roundInfo(0);
        assertEq(info.trainEndsAt, opened + 1, "train ended");
        assertEq(info.revealEndsAt, opened + 1, "reveal ended");
        assertEq(info.drawnAt, opened + 6, "drawn");
        assertEq(info.scoreEndsAt, opened + 6, "score ended");
        assertEq(info.weightRevealEndsAt, opened + 7, "weight reveal ended");
        assertEq(run.status().phaseEndsAt, opened + 20 + 60, "settling is counted from the minimum length");
    }

    function test_TrainWaitsForTheExpectedOnly() public {
        startRun();
        checkInTrainer(0);
        commit(1);
        assertPhase(Phase.Train, "not expected");
        commit(0);
        assertPhase(Phase.Reveal, "the only expected one");
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Reveal, Phase.Train));
        commitRaw(2, 0);
    }

    function test_RevealMakesExpected() public {
        startRunCheckedIn();
        commit(0);
        commit(1);
        commit(2);
        reveal(0);
        reveal(1);
        vm.prank(trainer(2));
        stakes.leave(address(run));
        reveal(2);

        assertEq(run.expectedIn(trainerOperator(0)), 1, "expected in the next round");
        assertEq(run.expectedIn(trainerOperator(2)), 0, "who left is not");
        skip(5);
        run.draw(0);
        skip(60);
        skip(60);
        skip(60);
        run.voidRound(0);
        assertEq(run.status().expected, 2, "expected");
        assertEq(run.status().expectedValidatorMask, 0, "no validator acted");
    }

    function test_WeightRevealMakesExpected() public {
        startRun();
        toScore();
        commitWeights(0);
        commitWeights(2);
        vm.warp(run.status().phaseEndsAt);
        revealWeights(2);
        vm.warp(run.status().phaseEndsAt);
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(0);

        assertEq(run.status().expectedValidatorMask, 4, "only the one that revealed");
    }

    /* EFFECTS: VOID AND END */

    function test_VoidRound() public {
        startRun();
        toExpired();
        vm.expectEmit(address(run));
        emit IRunBase.RoundVoided(0);
        vm.prank(stranger);
        run.voidRound(0);

        assertEq(uint8(run.roundInfo(0).status), uint8(RoundStatus.Void), "status");
        assertEq(uint8(run.roundInfo(1).status), uint8(RoundStatus.Open), "next");
        assertEq(run.headerHash(0), 0, "no header");
        assertEq(run.settledTotalWei(), 0, "nothing paid");
        assertEq(run.roundInfo(1).heldAtOpenWei, POOL_WEI, "the money stays");
        assertEq(run.status().lastHeaderHash, 0, "no header");
        assertFalse(run.status().hasSettled, "none settled");
        assertEq(current(), 1, "round");
        assertPhase(Phase.Train, "phase");
    }

    function test_CloseBeforeTheStart() public {
        vm.expectEmit(address(run));
        emit IRunBase.RunClosed();
        vm.expectEmit(address(run));
        emit IRunBase.RunFinished(0);
        vm.prank(sponsor);
        run.close();

        assertTrue(run.finished(), "finished");
        assertTrue(run.status().closed, "closed");
        assertPhase(Phase.Finished, "phase");
    }

    function test_CloseLetsTheOpenRoundSettle() public {
        startRun();
        vm.prank(sponsor);
        run.close();
        assertFalse(run.finished(), "the round is open");
        settleRound(1 ether);

        assertTrue(run.finished(), "finished");
        assertPhase(Phase.Finished, "phase");
        assertEq(current(), 0, "no other round");
        assertEq(run.settledTotalWei(), 1 ether, "it was paid");
    }

    function test_CloseAndVoid() public {
        startRun();
        toExpired();
        vm.prank(sponsor);
        run.close();
        run.voidRound(0);

        assertTrue(run.finished(), "finished");
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Finished, Phase.Expired));
        run.voidRound(0);
    }

    function test_MaxRounds() public {
        RunParams memory p = defaultParams();
        p.maxRounds = 2;
        (run, reputation) = createRun(p);
        fund(run, POOL_WEI);
        startRun();
        settleRound(1 ether);
        assertFalse(run.finished(), "one round left");
        settleRound(1 ether);

        assertTrue(run.finished(), "finished");
        assertFalse(run.status().closed, "nobody closed it");
        assertEq(run.nextRound(), 2, "next round stays");
    }

    function test_AnOperatorCanBeReplacedWithinARound() public {
        startRun();
        commit(0);
        vm.warp(run.status().phaseEndsAt);
        vm.prank(trainer(0));
        stakes.setOperator(address(run), stranger);
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, trainerOperator(0)));
        run.reveal(0, trainerOperator(0), contentHash(0, 0), CID, salt(0, 0));
        run.reveal(0, stranger, contentHash(0, 0), CID, salt(0, 0));

        assertEq(run.status().reveals, 1, "the commitment binds the slot");
    }

    function test_RolesHaveTheirOwnSlots() public {
        joinAll();
        assertEq(uint8(stakes.entryAt(address(run), 3).role), uint8(Role.Validator), "role");
        assertEq(stakes.entryAt(address(run), 3).slot, 0, "slot");
        checkInValidator(0);
        assertEq(run.status().expected, 0, "no trainer is expected");
    }
}
