// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IDisputesBase} from "../../src/interfaces/IRunDisputes.sol";
import {Demand, DemandStatus, Round, RunState} from "../../src/types/Storage.sol";
import {Fault, OpenedTree, RunParams} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";

/// @dev Takes no coins.
contract Refuser {}

/// @dev Demands for leaves: bonds to the wei, deadlines, finality.
contract DisputesDemandsTest is DisputesFixture {
    address private constant BURN = 0x000000000000000000000000000000000000dEaD;
    address private _alice = address(0xA11CE);
    address private _bob = address(0xB0B);

    function setUp() public override {
        super.setUp();
        makeWorld(1);
        settleHonestly();
        vm.deal(_alice, 1_000 ether);
    }

    receive() external payable {}

    function demand(uint32 index) private {
        uint256 bondWei = run.demandBond(ROUND);
        OpenedTree memory t = opened();
        vm.prank(_alice);
        run.demand{value: bondWei}(t, index);
    }

    /* DEMAND */

    function test_RevertWhen_BondIsTooLow() public {
        OpenedTree memory t = opened();
        expectError(abi.encodeWithSelector(IDisputesBase.BondTooLow.selector, BOND - 1, BOND));
        vm.prank(_alice);
        run.demand{value: BOND - 1}(t, 0);
    }

    function test_RevertWhen_ThereIsNoSuchLeaf() public {
        OpenedTree memory t = opened();
        expectError(abi.encodeWithSelector(IDisputesBase.NoSuchLeaf.selector, 12, 12));
        vm.prank(_alice);
        run.demand{value: BOND}(t, 12);
    }

    function test_RevertWhen_DemandedTwice() public {
        demand(3);
        OpenedTree memory t = opened();
        bytes memory again = abi.encodeWithSelector(IDisputesBase.AlreadyDemanded.selector, ROUND, 0, 3);
        expectError(again);
        vm.prank(_alice);
        run.demand{value: BOND}(t, 3);
        run.answer(t, leaves[3], proofOf(3));
        expectError(again);
        vm.prank(_alice);
        run.demand{value: BOND}(t, 3);
    }

    function test_RevertWhen_DemandedTooLate() public {
        OpenedTree memory t = opened();
        // A demand in time, and its successors, keep the header from becoming final; up to the end of all
        // demands.
        uint32 index;
        while (block.timestamp + 2 * ANSWER < settledAt + WINDOW + 40 * ANSWER) {
            demand(index);
            run.answer(t, leaves[index], proofOf(index));
            vm.warp(block.timestamp + 2 * ANSWER - 1);
            index = (index + 1) % 12;
            if (index == 0) clearDemands();
        }
        demand(index);
        vm.warp(settledAt + WINDOW + 40 * ANSWER);
        expectError(abi.encodeWithSelector(IDisputesBase.TooLate.selector, settledAt + WINDOW + 40 * ANSWER));
        vm.prank(_alice);
        run.demand{value: BOND}(t, index + 1);
    }

    /// @dev The next attempt's demands are others: so that this test can go on with few leaves.
    function clearDemands() private {
        Round memory r = harness.getRound(ROUND);
        r.attempt++;
        harness.setRound(r);
    }

    function test_Demand() public {
        OpenedTree memory t = opened();
        vm.prank(_alice);
        run.demand{value: 3 * BOND}(t, 3);

        Demand memory d = run.demandOf(ROUND, 0, 3);
        assertEq(d.from, _alice);
        assertEq(d.deadline, settledAt + ANSWER);
        assertEq(uint8(d.status), uint8(DemandStatus.Open));
        assertEq(_alice.balance, 1_000 ether - BOND);
        assertEq(address(harness).balance, BOND);
        RunState memory s = harness.getState();
        assertEq(s.holdFrom, ROUND);
        assertEq(s.holdUntil, settledAt + 2 * ANSWER);
        assertEq(harness.getRound(ROUND).demandsOpen, 1);
    }

    function test_FloodGetsDear() public {
        totals.leafCount = 131_000;
        storeHeader();
        uint256 spentWei;
        for (uint32 i = 0; i < 128; i++) {
            assertEq(run.demandBond(ROUND), uint256(BOND) << (i / 8));
            spentWei += run.demandBond(ROUND);
            vm.deal(_alice, run.demandBond(ROUND));
            demand(i);
        }
        assertEq(spentWei, 8 * uint256(BOND) * (2 ** 16 - 1));
        assertEq(address(harness).balance, spentWei);
        OpenedTree memory t = opened();
        vm.deal(_alice, 1e6 ether);
        expectError(abi.encodeWithSelector(IDisputesBase.TooManyDemands.selector, ROUND));
        vm.prank(_alice);
        run.demand{value: 1e6 ether}(t, 500);
    }

    /* ANSWER */

    function test_RevertWhen_AnswerIsNotWanted() public {
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(2);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 2));
        run.answer(t, leaves[2], proof);
        demand(3);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 2));
        run.answer(t, leaves[2], proof);
    }

    function test_RevertWhen_AnswerIsWrongOrLate() public {
        demand(3);
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(2);
        expectError(abi.encodeWithSelector(IDisputesBase.LeafNotInTree.selector, ROUND, 3));
        run.answer(t, leaves[3], proof);
        proof = proofOf(3);
        vm.warp(settledAt + ANSWER + 1);
        expectError(abi.encodeWithSelector(IDisputesBase.TooLate.selector, settledAt + ANSWER));
        run.answer(t, leaves[3], proof);
    }

    function testFuzz_Answer(uint128 bondWei) public {
        bondWei = bondWei % 100 ether;
        setBond(bondWei);
        demand(3);
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(3);
        vm.warp(settledAt + ANSWER);
        vm.prank(_bob);
        run.answer(t, leaves[3], proof);

        assertEq(_bob.balance, bondWei / 2);
        assertEq(BURN.balance, bondWei - bondWei / 2);
        assertEq(_alice.balance, 1_000 ether - bondWei);
        assertEq(address(harness).balance, 0);
        assertEq(harness.getRound(ROUND).demandsOpen, 0);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 3));
        vm.prank(_bob);
        run.answer(t, leaves[3], proof);
        // An answered demand can't time out, nor be taken back.
        vm.warp(settledAt + ANSWER + 1);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 3));
        run.timeout(ROUND, 3);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 3));
        run.reclaim(ROUND, 0, 3);
    }

    function setBond(uint128 bondWei) private {
        RunParams memory p = params();
        p.demandBondWei = bondWei;
        harness.setParams(p);
    }

    /* TIMEOUT AND RECLAIM */

    function test_RevertWhen_TimeoutIsEarlyOrLate() public {
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 3));
        run.timeout(ROUND, 3);
        vm.warp(settledAt + WINDOW - 1);
        demand(3);
        vm.warp(settledAt + WINDOW - 1 + ANSWER);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, settledAt + WINDOW + ANSWER));
        run.timeout(ROUND, 3);
        vm.warp(settledAt + WINDOW - 1 + 2 * ANSWER);
        expectError(abi.encodeWithSelector(IDisputesBase.HeaderIsFinal.selector, ROUND));
        run.timeout(ROUND, 3);
    }

    function test_TimeoutVoidsAndBondComesBack() public {
        demand(3);
        demand(4);
        expectError(abi.encodeWithSelector(IDisputesBase.StillBinding.selector, ROUND));
        run.reclaim(ROUND, 0, 3);
        vm.warp(settledAt + ANSWER + 1);
        run.timeout(ROUND, 3);

        assertTrue(voided());
        Round memory r = harness.getRound(ROUND);
        assertEq(uint8(r.fault), uint8(Fault.Withheld));
        assertEq(r.faultIndex, 3);
        expectError(abi.encodeWithSelector(IDisputesBase.NoStandingHeader.selector, ROUND));
        run.timeout(ROUND, 4);
        run.reclaim(ROUND, 0, 3);
        assertEq(_alice.balance, 1_000 ether - BOND);
        run.reclaim(ROUND, 0, 4);
        assertEq(_alice.balance, 1_000 ether);
        assertEq(address(harness).balance, 0);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDemanded.selector, ROUND, 0, 4));
        run.reclaim(ROUND, 0, 4);
        // Slashed for leaf 3: the tenth is its demander's, whatever is said.
        run.punish(ROUND, _bob, 0);
        assertEq(stakes.rewardOf(_alice), 24 ether);
        assertEq(stakes.rewardOf(_bob), 0);
    }

    function test_ReclaimOnceFinal() public {
        demand(3);
        vm.warp(settledAt + WINDOW - 1);
        expectError(abi.encodeWithSelector(IDisputesBase.StillBinding.selector, ROUND));
        run.reclaim(ROUND, 0, 3);
        vm.warp(settledAt + WINDOW);
        run.reclaim(ROUND, 0, 3);
        assertEq(_alice.balance, 1_000 ether);
    }

    function test_ReclaimAfterNextAttemptAndAfterLap() public {
        demand(3);
        demand(4);
        Round memory r = harness.getRound(ROUND);
        (r.attempt, r.demandsOpen) = (1, 0);
        harness.setRound(r);
        run.reclaim(ROUND, 0, 3);
        RunState memory s = harness.getState();
        (s.round, s.paidPlusOne) = (13, 13);
        harness.setState(s);
        run.reclaim(ROUND, 0, 4);
        assertEq(_alice.balance, 1_000 ether);
        assertEq(harness.getRound(ROUND).demandsOpen, 0);
    }

    function test_RevertWhen_DemanderTakesNoCoins() public {
        Refuser refuser = new Refuser();
        OpenedTree memory t = opened();
        vm.deal(address(refuser), 3 * BOND);
        vm.prank(address(refuser));
        run.demand{value: BOND}(t, 3);
        expectError(abi.encodeWithSelector(IDisputesBase.PaymentFailed.selector, address(refuser), BOND));
        vm.prank(address(refuser));
        run.demand{value: 2 * BOND}(t, 4);
        // Its bond stays; nothing else stops.
        vm.warp(settledAt + ANSWER + 1);
        run.timeout(ROUND, 3);
        expectError(abi.encodeWithSelector(IDisputesBase.PaymentFailed.selector, address(refuser), BOND));
        run.reclaim(ROUND, 0, 3);
        run.punish(ROUND, address(0), 0);
    }

    /* FINALITY */

    function test_DemandHoldsUpFinality() public {
        vm.warp(settledAt + WINDOW - 1);
        demand(3);
        run.answer(opened(), leaves[3], proofOf(3));
        // The answer may show what is wrong: there is time for the challenge.
        vm.warp(settledAt + WINDOW - 2 + 2 * ANSWER);
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(3);
        uint160 right = uint160(leaves[3].account);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingWrong.selector, Fault.Identity, right, right));
        run.challengeIdentity(t, leaves[3], proof);
        vm.warp(settledAt + WINDOW - 1 + 2 * ANSWER);
        expectError(abi.encodeWithSelector(IDisputesBase.HeaderIsFinal.selector, ROUND));
        run.challengeIdentity(t, leaves[3], proof);
    }

    function test_DemandForLaterRoundHoldsUpNoEarlierOne() public {
        RunState memory s = harness.getState();
        (s.holdFrom, s.holdUntil) = (uint24(ROUND + 1), uint32(settledAt + 10 * WINDOW));
        harness.setState(s);
        vm.warp(settledAt + WINDOW);
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(3);
        expectError(abi.encodeWithSelector(IDisputesBase.HeaderIsFinal.selector, ROUND));
        run.challengeIdentity(t, leaves[3], proof);
    }

    function test_NoHoldLastsForEver() public {
        RunState memory s = harness.getState();
        (s.holdFrom, s.holdUntil) = (0, type(uint32).max);
        harness.setState(s);
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(3);
        vm.warp(settledAt + WINDOW + 42 * ANSWER - 1);
        uint160 right = uint160(leaves[3].account);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingWrong.selector, Fault.Identity, right, right));
        run.challengeIdentity(t, leaves[3], proof);
        vm.warp(settledAt + WINDOW + 42 * ANSWER);
        expectError(abi.encodeWithSelector(IDisputesBase.HeaderIsFinal.selector, ROUND));
        run.challengeIdentity(t, leaves[3], proof);
    }

    function test_HoldGoesBackToTheEarliestRound() public {
        RunState memory s = harness.getState();
        (s.holdFrom, s.holdUntil) = (uint24(ROUND + 1), uint32(settledAt + 5));
        harness.setState(s);
        demand(3);
        assertEq(harness.getState().holdFrom, ROUND);
        assertEq(harness.getState().holdUntil, settledAt + 2 * ANSWER);
        (s.holdFrom, s.holdUntil) = (2, uint32(settledAt + 3 * ANSWER));
        harness.setState(s);
        demand(4);
        assertEq(harness.getState().holdFrom, 2);
        assertEq(harness.getState().holdUntil, settledAt + 3 * ANSWER);
    }
}
