// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {EmeritToken} from "../../src/EmeritToken.sol";
import {Rewards} from "../../src/Rewards.sol";
import {Stakes} from "../../src/Stakes.sol";
import {TrainingRun} from "../../src/TrainingRun.sol";
import {Entry, RoundInfo, RoundStatus, Status} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {RunHandler} from "./RunHandler.sol";

/// @dev What holds whatever members, sponsors and strangers do, in any order; contracts/README.md lists it.
contract RunInvariantTest is BaseTest {
    RunHandler private handler;
    EmeritToken private token;
    Stakes private stakes;
    Rewards private rewards;
    TrainingRun private run;

    function setUp() public {
        handler = new RunHandler();
        handler.setUp();
        (address token_, address stakes_, address rewards_, address run_) = handler.contracts();
        (token, stakes, rewards, run) =
        (EmeritToken(token_), Stakes(stakes_), Rewards(rewards_), TrainingRun(run_));
        targetContract(address(handler));
        // Acts that carry a round on are listed more than once, so that they are chosen more often.
        bytes4[] memory acts = new bytes4[](24);
        acts[0] = handler.warp.selector;
        acts[1] = handler.warpToEnd.selector;
        acts[2] = handler.joinAsTrainer.selector;
        acts[3] = handler.joinAsValidator.selector;
        acts[4] = handler.addStake.selector;
        acts[5] = handler.leave.selector;
        acts[6] = handler.withdraw.selector;
        acts[7] = handler.checkIn.selector;
        acts[8] = handler.contribute.selector;
        acts[9] = handler.drawNow.selector;
        acts[10] = handler.validate.selector;
        acts[11] = handler.everyone.selector;
        acts[12] = handler.voidRound.selector;
        acts[13] = handler.close.selector;
        acts[14] = handler.addFunds.selector;
        acts[15] = handler.claim.selector;
        acts[16] = handler.refund.selector;
        acts[17] = handler.everyone.selector;
        acts[18] = handler.everyone.selector;
        acts[19] = handler.warpToEnd.selector;
        acts[20] = handler.warpToEnd.selector;
        acts[21] = handler.claim.selector;
        acts[22] = handler.contribute.selector;
        acts[23] = handler.checkIn.selector;
        targetSelector(FuzzSelector({addr: address(handler), selectors: acts}));
    }

    /// @dev One function, so that all are checked along the same sequences, and each sequence is run once.
    function invariant_Run() public view {
        checkTokensAreConserved();
        checkClaimedAtMostPromisedAtMostFunded();
        checkPhasesOnlyGoForward();
        checkOneCommitPerTrainerAndRound();
        checkSettledHeadersNeverChange();
        checkTrainEndsEarlyOnlyWhenAllExpectedCommitted();
        checkRoundsKeepTheirLengthAndBudget();
        checkTimesAreInOrder();
    }

    function checkTokensAreConserved() private view {
        uint256 stakedWei;
        uint256 claimedWei;
        Entry[] memory members = stakes.entries(address(run), 0, type(uint32).max);
        for (uint256 i = 0; i < members.length; i++) {
            stakedWei += members[i].stakeWei;
            claimedWei += rewards.claimed(address(run), members[i].account);
        }
        uint256 poolWei = rewards.funded(address(run)) - rewards.refunded(address(run));
        assertEq(token.balanceOf(address(stakes)), stakedWei, "stakes");
        assertEq(rewards.claimedTotal(address(run)), claimedWei, "claims");
        assertEq(token.balanceOf(address(rewards)), poolWei - claimedWei, "pool");
    }

    function checkClaimedAtMostPromisedAtMostFunded() private view {
        uint256 promisedWei = run.settledTotalWei();
        assertLe(rewards.claimedTotal(address(run)), promisedWei, "claimed");
        assertLe(promisedWei, rewards.funded(address(run)) - rewards.refunded(address(run)), "promised");
    }

    function checkPhasesOnlyGoForward() private view {
        assertFalse(handler.phaseWentBack(), "phase");
    }

    function checkOneCommitPerTrainerAndRound() private view {
        assertFalse(handler.secondCommitPassed(), "second commit");
        uint32 round = run.status().round;
        for (uint32 r = 0; r <= round; r++) {
            assertEq(run.roundInfo(r).commits, handler.commitCount(r), "commits");
        }
    }

    function checkSettledHeadersNeverChange() private view {
        bytes32 last;
        for (uint256 k = 0; k < handler.settledCount(); k++) {
            uint32 round = handler.settledRounds(k);
            last = handler.settledHash(round);
            assertEq(run.headerHash(round), last, "hash");
            assertEq(uint8(run.roundInfo(round).status), uint8(RoundStatus.Settled), "status");
        }
        assertEq(run.status().lastHeaderHash, last, "last");
    }

    function checkTrainEndsEarlyOnlyWhenAllExpectedCommitted() private view {
        uint32 last = run.status().round;
        for (uint32 r = 0; r <= last; r++) {
            RoundInfo memory info = run.roundInfo(r);
            if (info.trainEndsAt >= info.openedAt + run.params().trainSeconds) continue;
            assertTrue(handler.allExpectedCommitted(r), "everyone expected");
        }
        Status memory s = run.status();
        assertEq(s.expected, handler.expectedCount(last), "expected");
        if (s.weightCommitMask == 0) return;
        RoundInfo memory open = run.roundInfo(last);
        if (open.scoreEndsAt == open.drawnAt + run.params().scoreSeconds) return;
        for (uint256 v = 0; v < handler.validators(); v++) {
            bool expected = handler.expectedValidator(last, v) && s.validatorMask >> v & 1 == 1;
            if (expected) assertTrue(handler.weightsCommitted(last, v), "every expected validator");
        }
    }

    function checkRoundsKeepTheirLengthAndBudget() private view {
        uint128 beforeWei;
        for (uint256 k = 0; k < handler.settledCount(); k++) {
            RoundInfo memory info = run.roundInfo(handler.settledRounds(k));
            assertGe(info.settledAt, info.openedAt + run.params().minRoundSeconds, "length");
            assertGe(info.totalAmountWei, beforeWei, "total grows");
            assertLe(info.totalAmountWei - beforeWei, run.budgetOf(handler.settledRounds(k)), "budget");
            beforeWei = info.totalAmountWei;
        }
    }

    function checkTimesAreInOrder() private view {
        uint32 last = run.status().round;
        for (uint32 r = 0; r <= last; r++) {
            RoundInfo memory info = run.roundInfo(r);
            assertLe(info.openedAt, info.trainEndsAt, "train");
            assertLe(info.trainEndsAt, info.revealEndsAt, "reveal");
            if (info.drawnAt == 0) continue;
            assertLt(info.revealEndsAt + run.params().drawDelaySeconds, info.drawnAt, "draw");
            assertLe(info.drawnAt, info.scoreEndsAt, "score");
            assertLe(info.scoreEndsAt, info.weightRevealEndsAt, "weight reveal");
            if (info.settledAt != 0) assertLe(info.weightRevealEndsAt, info.settledAt, "settled");
        }
    }

    /// @dev How far a sequence got; seen with -vv.
    function afterInvariant() public {
        emit log_named_uint("rounds opened", run.nextRound());
        emit log_named_uint("rounds settled", handler.settledCount());
        emit log_named_uint("claimed", rewards.claimedTotal(address(run)));
    }
}
