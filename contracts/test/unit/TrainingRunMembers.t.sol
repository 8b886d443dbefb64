// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunActs, IRunLife} from "../../src/interfaces/IRunCore.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Header, Phase, Role, RunParams} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Check-ins, hooks, and the seats of epochs.
contract TrainingRunMembersTest is RunFixture {
    function toExpired() private {
        toSettle();
        vm.warp(run.status().phaseEndsAt);
    }

    /* REVERTS: CHECK-IN */

    function test_RevertWhen_AStrangerChecksIn() public {
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        vm.prank(stranger);
        run.checkIn();
    }

    function test_RevertWhen_TheAccountChecksIn() public {
        joinTrainer(0);
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, trainer(0)));
        vm.prank(trainer(0));
        run.checkIn();
    }

    function test_RevertWhen_CheckedInTwice() public {
        joinAll();
        checkInAll();
        expectError(abi.encodeWithSelector(IRunLife.AlreadyCheckedIn.selector, 0, 0));
        checkInTrainer(0);
        expectError(abi.encodeWithSelector(IRunLife.AlreadyCheckedIn.selector, 0, 0));
        checkInValidator(0);
        run.start();
        expectError(abi.encodeWithSelector(IRunLife.AlreadyCheckedIn.selector, 0, 0));
        checkInTrainer(0);
        expectError(abi.encodeWithSelector(IRunLife.AlreadyCheckedIn.selector, 0, 0));
        checkInValidator(0);
    }

    function test_RevertWhen_CheckingInAfterCommitting() public {
        startRun();
        commit(0);
        expectError(abi.encodeWithSelector(IRunBase.AlreadyCommitted.selector, 0, 0));
        checkInTrainer(0);
        skip(60);
        expectError(abi.encodeWithSelector(IRunBase.AlreadyCommitted.selector, 0, 0));
        checkInTrainer(0);
    }

    function test_RevertWhen_CheckingInAfterCommittingWeights() public {
        startRun();
        toScore();
        commitWeights(0);
        expectError(abi.encodeWithSelector(IRunBase.AlreadyCommitted.selector, 0, 0));
        checkInValidator(0);
    }

    function test_RevertWhen_CheckingInAfterLeaving() public {
        startRun();
        leaveTrainer(0);
        leaveValidator(0);
        checkInTrainer(0);
        checkInValidator(0);
        vm.warp(run.status().phaseEndsAt);
        leaveTrainer(1);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 1, 1));
        checkInTrainer(1);
        voidCurrent();
        voidCurrent();
        voidCurrent();
        voidCurrent();
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 0, 5));
        checkInValidator(0);
    }

    function test_RevertWhen_CheckingInAfterTheEnd() public {
        joinAll();
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRunBase.RunHasFinished.selector));
        checkInTrainer(0);
    }

    /* EFFECTS: CHECK-IN */

    function test_CheckInBeforeTheStart() public {
        joinAll();
        assertEq(run.expectedIn(trainerOperator(1)), type(uint32).max, "in no round");
        vm.expectEmit(address(run));
        emit IRunBase.CheckedIn(0, Role.Trainer, 1);
        checkInTrainer(1);
        checkInValidator(2);

        assertEq(run.expectedIn(trainerOperator(1)), 0, "in round 0");
        run.start();
        assertEq(run.status().expected, 1, "expected");
        assertEq(run.status().expectedValidatorMask, 4, "expected validators");
    }

    function test_CheckInWhileTraining() public {
        startRun();
        checkInTrainer(0);
        checkInValidator(0);

        assertEq(run.expectedIn(trainerOperator(0)), 0, "in this round");
        assertEq(run.status().expected, 1, "expected");
        assertEq(run.status().expectedValidatorMask, 1, "expected validators");
    }

    function test_CheckInAfterTraining() public {
        startRun();
        vm.warp(run.status().phaseEndsAt);
        checkInTrainer(0);

        assertEq(run.expectedIn(trainerOperator(0)), 1, "in the next round");
        assertEq(run.status().expected, 0, "not in this one");
        draw();
        checkInValidator(0);
        assertEq(run.status().expectedValidatorMask, 1, "a validator still in this one");
        vm.warp(run.status().phaseEndsAt);
        assertEq(uint8(phase()), uint8(Phase.Settle), "nobody committed weights");
        checkInValidator(1);
        assertEq(run.status().expectedValidatorMask, 1, "not in this one any more");
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(0);
        assertEq(run.status().expected, 1, "expected in round 1");
        assertEq(run.status().expectedValidatorMask, 2, "expected validators in round 1");
    }

    function test_CheckInOfANewcomer() public {
        startRun();
        joinTrainer(3);
        joinValidator(3);
        checkInTrainer(3);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 3, 1));
        checkInValidator(3);

        assertEq(run.expectedIn(trainerOperator(3)), 1, "in the next round");
        toExpired();
        run.voidRound(0);
        assertEq(run.status().expectedValidatorMask, 7, "those who revealed");
        assertEq(run.status().expected, 4, "likewise, and the newcomer");
        voidCurrent();
        voidCurrent();
        checkInValidator(3);
        assertEq(run.status().expectedValidatorMask, 0, "not in the last round of the epoch");
        voidCurrent();
        assertEq(run.status().expectedValidatorMask, 8, "in the first of the next");
        assertEq(run.status().validatorMask, 15, "in which it votes");
    }

    function test_CheckInBackOff() public {
        startRun();
        checkInTrainer(0);
        checkInValidator(0);
        voidCurrent();
        // One strike: two rounds after the last check-in.
        expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, 2));
        checkInTrainer(0);
        expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, 2));
        checkInValidator(0);
        voidCurrent();
        checkInTrainer(0);
        checkInValidator(0);
        assertEq(run.status().expected, 1, "expected again");
        voidCurrent();
        // Two strikes: four rounds.
        expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, 6));
        checkInTrainer(0);
        voidCurrent();
        // Who acts is free again.
        commit(0);
        voidCurrent();
        checkInTrainer(0);
        expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, 6));
        checkInValidator(0);
    }

    function test_CheckInBackOffIsBounded() public {
        RunParams memory p = defaultParams();
        p.historyRounds = 512;
        (run, reputation) = createRun(p);
        startRun();
        uint32 next;
        for (uint256 strikes = 0; strikes <= 9; strikes++) {
            uint32 wait = uint32(strikes == 0 ? 0 : 1 << (strikes < 8 ? strikes : 8));
            next += wait;
            while (current() < next) {
                if (current() + 1 == next && wait > 1) {
                    expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, next));
                    checkInTrainer(0);
                }
                voidCurrent();
            }
            checkInTrainer(0);
        }
    }

    function test_CheckInBackOffFollowsTheOperator() public {
        startRun();
        checkInTrainer(0);
        voidCurrent();
        vm.prank(trainer(0));
        stakes.setOperator(address(run), stranger);
        expectError(abi.encodeWithSelector(IRunLife.CheckInFrom.selector, 2));
        vm.prank(stranger);
        run.checkIn();
    }

    function test_WhoCheckedInAndLeftIsNotExpected() public {
        joinAll();
        checkInAll();
        leaveTrainer(1);
        joinTrainer(3);
        run.start();
        assertEq(run.status().expected, 2, "in round 0");
        skip(60);
        checkInTrainer(3);
        leaveTrainer(3);
        voidCurrent();
        assertEq(run.status().expected, 0, "in round 1");
    }

    function test_WhoRevealedAndLeftIsNotExpected() public {
        startRun();
        contributeAll();
        leaveTrainer(0);
        voidCurrent();
        assertEq(run.status().expected, 2, "in round 1");
        assertEq(run.expectedIn(trainerOperator(0)), type(uint32).max, "in no round");
    }

    function test_AValidatorThatLeftIsNotExpected() public {
        joinAll();
        checkInAll();
        vm.prank(validator(1));
        stakes.leave(address(run));
        joinValidator(3);
        run.start();

        assertEq(run.status().expectedValidatorMask, 5, "only those with weight");
    }

    /* HOOKS */

    function test_RevertWhen_AnotherThanTheRegistryCallsAHook() public {
        joinAll();
        bytes memory expected = abi.encodeWithSelector(IRunLife.NotStakes.selector, sponsor);
        vm.startPrank(sponsor);
        expectError(expected);
        run.enroll(stranger, Role.Trainer, 3, 7, 4);
        expectError(expected);
        run.retire(trainerOperator(0));
        expectError(expected);
        run.rekey(trainerOperator(0), stranger);
        expectError(expected);
        run.forget(trainerOperator(0));
        expectError(abi.encodeWithSelector(IRunLife.NotRewards.selector, sponsor));
        run.noteFunds(1 ether);
    }

    function test_RevertWhen_EnrollingAfterTheEnd() public {
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRunBase.RunHasFinished.selector));
        vm.prank(address(stakes));
        run.enroll(stranger, Role.Trainer, 0, 1, 1);
    }

    function test_RevertWhen_PlainCoinsAreSent() public {
        vm.deal(address(this), 1 ether);
        (bool sent, bytes memory why) = address(run).call{value: 1}("");
        assertFalse(sent, "refused");
        assertEq(why, abi.encodeWithSelector(IRunBase.NoPlainPayments.selector), "why");
        (sent,) = address(run).call{value: 1}(abi.encodeCall(run.start, ()));
        assertFalse(sent, "no act takes coins");
        (sent,) = address(run).call("no such function");
        assertFalse(sent, "unknown");
    }

    function test_TheCodeBehindARunIsNoRun() public {
        ITrainingRun core = ITrainingRun(factory.core());
        vm.expectRevert();
        core.start();
        expectError(abi.encodeWithSelector(IRunLife.NotSponsor.selector, stranger));
        vm.prank(stranger);
        core.close();
        assertEq(core.sponsor(), address(0), "nobody's");
    }

    /* EPOCHS */

    function test_AValidatorVotesFromTheNextEpochOn() public {
        startRun();
        joinValidator(3);
        for (uint32 round = 0; round < 4; round++) {
            assertEq(run.status().validatorMask, 7, "before");
            voidCurrent();
        }
        (bytes32 lanes, uint32[16] memory seats) = run.seatsOf(4);
        assertEq(run.status().validatorMask, 15, "from round 4 on");
        assertEq(seats[3], 6, "its seat");
        assertEq(uint256(lanes) >> 48, 100, "its weight");
        (lanes, seats) = run.seatsOf(3);
        assertEq(uint256(lanes) >> 48, 0, "none in the epoch before");
        assertEq(seats[3], 0, "nor a seat");
    }

    function test_AValidatorThatLeavesStaysForTheEpoch() public {
        startRun();
        leaveValidator(0);
        toSettle();
        assertEq(run.status().weightRevealMask, 7, "it took part");
        Header memory header = makeHeader(0, 1 ether);
        settle(header);
        assertEq(run.roundInfo(0).signerMask, 7, "it signed");
        for (uint256 k = 1; k < 4; k++) {
            assertEq(run.releasedAt(4), 0, "not over");
            voidCurrent();
        }
        assertEq(run.status().validatorMask, 6, "gone");
        assertEq(run.releasedAt(4), block.timestamp, "over");
    }

    function test_AnEvictedValidatorAndItsSuccessorShareASeat() public {
        validatorCount = 16;
        startRun();
        validatorCount = 3;
        join(validator(20), validatorOperator(20), Role.Validator, STAKE_WEI + 1 ether);
        uint16 seat = stakes.entryOf(address(run), validator(20)).slot;
        uint256 evicted = uint256(seat);
        toScore();
        commitWeights(evicted);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, seat, 0));
        vm.prank(validatorOperator(20));
        run.commitWeights(0, "commitment");
        vm.warp(run.status().phaseEndsAt);
        bytes memory lanes = vector(0, evicted);
        expectError(abi.encodeWithSelector(IRunActs.NotCommitted.selector, seat, 0));
        vm.prank(validatorOperator(20));
        run.revealWeights(0, lanes, evidenceHash(0, evicted), CID, salt(0, evicted));
        revealWeights(evicted);
        for (uint256 k = 0; k < 4; k++) {
            voidCurrent();
        }
        assertEq(run.status().expectedValidatorMask, 0, "the reveal of another in this seat does not count");
        vm.warp(run.status().phaseEndsAt);
        draw();
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, seat, 4));
        vm.prank(validatorOperator(evicted));
        run.commitWeights(4, "commitment");
        vm.prank(validatorOperator(20));
        run.commitWeights(4, "commitment");
        assertEq(run.status().weightCommitMask, uint16(1) << seat, "its successor");
    }

    function test_WhoRevealedInTheLastRoundOfAnEpochIsExpectedInTheNext() public {
        startRun();
        voidCurrent();
        voidCurrent();
        voidCurrent();
        settleRound(1);
        assertEq(run.status().expectedValidatorMask, 7, "same seats");
        assertEq(run.epochOf(current()), 1, "another epoch");
    }
}
