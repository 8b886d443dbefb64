// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IDisputesBase} from "../../src/interfaces/IRunDisputes.sol";
import {Round, RunState} from "../../src/types/Storage.sol";
import {Fault, Header, Leaf, OpenedTree, PreviousLeaf, Role, RoundStatus} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";

/// @dev Every kind of challenge: what it refuses, and that the settlement with one wrong figure falls by it
/// and only within the window. Indices of the fixture: trainers 0, 2, 4, 6 (gone), 8, 10; validators 1, 3, 5,
/// 7, 9 (no seat), 11.
contract DisputesChallengesTest is DisputesFixture {
    function setUp() public override {
        super.setUp();
        makeWorld(1);
        settleHonestly();
    }

    /* REVERTS: HEADER AND LEAF */

    function test_RevertWhen_CalledDirectly() public {
        expectError(abi.encodeWithSelector(IDisputesBase.NotDelegated.selector));
        disputes.challengeIdentity(opened(), leaves[0], proofOf(0));
        expectError(abi.encodeWithSelector(IDisputesBase.NotDelegated.selector));
        disputes.demand(opened(), 0);
        expectError(abi.encodeWithSelector(IDisputesBase.NotDelegated.selector));
        penalties.precommit(0);
    }

    function test_RevertWhen_RoundIsNotKept() public {
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(0);
        for (uint32 round = 13; round < 40; round += 8) {
            t.round = round;
            expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, round, 6));
            run.challengeIdentity(t, leaves[0], proof);
        }
        RunState memory s = harness.getState();
        (s.round, s.paidPlusOne) = (13, 13);
        harness.setState(s);
        t.round = ROUND;
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, ROUND, 13));
        run.challengeIdentity(t, leaves[0], proof);
    }

    function test_RevertWhen_PlaceHoldsAnotherRoundsHeader() public {
        // Round 13 has the place of round 5. Its header is not 5's, though it lies there.
        OpenedTree memory t = opened();
        bytes32[] memory proof = proofOf(0);
        RunState memory s = harness.getState();
        (s.round, s.paidPlusOne) = (13, 13);
        harness.setState(s);
        Round memory r = harness.getRound(ROUND);
        (r.number, r.status) = (13, RoundStatus.Open);
        harness.setRound(r);
        t.round = 13;
        expectError(abi.encodeWithSelector(IDisputesBase.NoStandingHeader.selector, 13));
        run.challengeIdentity(t, leaves[0], proof);
    }

    function test_RevertWhen_HeaderDoesNotStand() public {
        RunState memory s = harness.getState();
        s.paidPlusOne = 5;
        harness.setState(s);
        expectNoHeader();
        s.paidPlusOne = 6;
        harness.setState(s);
        Round memory r = harness.getRound(ROUND);
        r.status = RoundStatus.Void;
        harness.setRound(r);
        expectNoHeader();
    }

    function expectNoHeader() private {
        bytes32[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IDisputesBase.NoStandingHeader.selector, ROUND));
        run.challengeIdentity(opened(), leaves[0], proof);
    }

    function test_RevertWhen_HeaderIsFinal() public {
        leaves[0].account = address(0xBEEF);
        storeHeader();
        bytes32[] memory proof = proofOf(0);
        vm.warp(settledAt + WINDOW);
        expectError(abi.encodeWithSelector(IDisputesBase.HeaderIsFinal.selector, ROUND));
        run.challengeIdentity(opened(), leaves[0], proof);
        vm.warp(settledAt + WINDOW - 1);
        run.challengeIdentity(opened(), leaves[0], proof);
        assertTrue(voided());
    }

    function test_RevertWhen_HeaderIsAnother() public {
        bytes32[] memory proof = proofOf(0);
        bytes32 settled = hashOf(header());
        OpenedTree memory t = opened();
        t.tree.totalWeight++;
        bytes32 have = joined(t.bodyHash, t.tree);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongHeader.selector, ROUND, have, settled));
        run.challengeWeight(t, leaves[0], proof);
        Header memory h = header();
        h.body.budgetWei++;
        PreviousLeaf memory p = previousOf(0);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongHeader.selector, ROUND, hashOf(h), settled));
        run.challengeAmount(h, leaves[0], proof, p);
    }

    function test_RevertWhen_LeafIsNotInTree() public {
        bytes32[] memory proof = proofOf(0);
        Leaf memory leaf = leaves[0];
        leaf.detail.reputation++;
        expectError(abi.encodeWithSelector(IDisputesBase.LeafNotInTree.selector, ROUND, 0));
        run.challengeWeight(opened(), leaf, proof);
        leaf = leaves[2];
        expectError(abi.encodeWithSelector(IDisputesBase.LeafNotInTree.selector, ROUND, 2));
        run.challengeWeight(opened(), leaf, proof);
        leaf.index = 12;
        expectError(abi.encodeWithSelector(IDisputesBase.LeafNotInTree.selector, ROUND, 12));
        run.challengeWeight(opened(), leaf, proof);
    }

    /* REVERTS: EACH KIND */

    function test_RevertWhen_VectorIsNotTheRevealedOne() public {
        bytes32[] memory proof = proofOf(0);
        bytes memory shown = vector(1);
        shown[5] ^= 0x01;
        bytes32 want = keccak256(vector(1));
        expectError(abi.encodeWithSelector(IDisputesBase.WrongVector.selector, 1, keccak256(shown), want));
        run.challengeRow(opened(), leaves[0], proof, 1, shown);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongVector.selector, 1, keccak256(""), want));
        run.challengeRow(opened(), leaves[0], proof, 1, "");
        expectError(abi.encodeWithSelector(IDisputesBase.NoSuchSlot.selector, 16));
        run.challengeRow(opened(), leaves[0], proof, 16, "");
    }

    function test_RevertWhen_LeafIsOfTheOtherRole() public {
        bytes32[] memory proof = proofOf(1);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongLeafRole.selector, 1, Role.Validator));
        run.challengeWeight(opened(), leaves[1], proof);
        proof = proofOf(0);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongLeafRole.selector, 0, Role.Trainer));
        run.challengeCoverage(opened(), leaves[0], proof, leaves[0], proof);
    }

    function test_RevertWhen_WitnessIsAnother() public {
        // Index 5 names the first trainer that it missed. That it missed no validator says nothing.
        uint256 named = leaves[5].detail.weight;
        assertGt(named, 0);
        bytes32[] memory proof = proofOf(5);
        bytes32[] memory witness = proofOf(3);
        expectError(abi.encodeWithSelector(IDisputesBase.WrongWitness.selector, 3, named));
        run.challengeCoverage(opened(), leaves[5], proof, leaves[3], witness);
    }

    function test_RevertWhen_SumIsOfOtherLeaves() public {
        bytes32[] memory proof = proofOf(0);
        bytes32[] memory right = proofOf(2);
        expectError(abi.encodeWithSelector(IDisputesBase.NotNeighbours.selector, 0, 2));
        run.challengeSum(opened(), leaves[0], proof, leaves[2], right);
        expectError(abi.encodeWithSelector(IDisputesBase.NotNeighbours.selector, 2, 0));
        run.challengeSum(opened(), leaves[2], right, leaves[0], proof);
        expectError(abi.encodeWithSelector(IDisputesBase.NotTheEnd.selector, 2, 0));
        run.challengeFirstSum(opened(), leaves[2], right);
        expectError(abi.encodeWithSelector(IDisputesBase.NotTheEnd.selector, 2, 12));
        run.challengeLastSum(opened(), leaves[2], right);
    }

    function test_RevertWhen_PreviousIsAnother() public {
        bytes32[] memory proof = proofOf(0);
        PreviousLeaf memory p = previousOf(0);
        p.bodyHash = keccak256("another");
        bytes32 have = joined(p.bodyHash, p.tree);
        expectPrevious(have, proof, p);
        p = previousOf(0);
        p.account = address(0xBAD);
        expectPrevious(previousHash(), proof, p);
        p = previousOf(0);
        p.cumulativeAmountWei++;
        expectPrevious(previousHash(), proof, p);
        p = previousOf(0);
        p.detail.reputation++;
        expectPrevious(previousHash(), proof, p);
        // That there is none can't be said of a member that has one.
        p = previousOf(11);
        expectPrevious(previousHash(), proof, p);
        // Nor can a leaf be made up for one that has none.
        proof = proofOf(11);
        p.cumulativeAmountWei = 1;
        bytes memory wrong = abi.encodeWithSelector(
            IDisputesBase.WrongPrevious.selector, ROUND, previousHash(), previousHash()
        );
        expectError(wrong);
        run.challengeAmount(header(), leaves[11], proof, p);
        (p.cumulativeAmountWei, p.detail.reputation) = (0, 1);
        expectError(wrong);
        run.challengeReputation(header(), leaves[11], proof, p);
    }

    function expectPrevious(bytes32 have, bytes32[] memory proof, PreviousLeaf memory p) private {
        bytes memory wrong =
            abi.encodeWithSelector(IDisputesBase.WrongPrevious.selector, ROUND, have, previousHash());
        expectError(wrong);
        run.challengeAmount(header(), leaves[0], proof, p);
        expectError(wrong);
        run.challengeReputation(header(), leaves[0], proof, p);
    }

    /* EACH WRONG FIGURE FALLS BY ITS CHALLENGE */

    function testFuzz_RowFalls(uint256 seed, uint8 index, uint8 slot, uint16 code) public {
        rebuild(seed);
        index = index % 12;
        slot = slot % 16;
        uint256 shift = 16 * uint256(slot);
        uint256 row = uint256(leaves[index].detail.row);
        uint256 wrong = (row & ~(uint256(0xFFFF) << shift)) | (uint256(code) << shift);
        vm.assume(wrong != row);
        leaves[index].detail.row = bytes32(wrong);
        storeHeader();
        bytes32[] memory proof = proofOf(index);
        bytes memory shown = world.revealed[slot] ? vector(slot) : bytes("");
        run.challengeRow(opened(), leaves[index], proof, slot, shown);
        expectFallen(Fault.Row, index);
    }

    function testFuzz_WeightFalls(uint256 seed, uint8 k, uint64 weight) public {
        rebuild(seed);
        uint32 index = 2 * uint32(k % 6);
        if (index == 6 && k % 2 == 0) weight = 1;
        vm.assume(weight != leaves[index].detail.weight);
        leaves[index].detail.weight = weight;
        storeHeader();
        run.challengeWeight(opened(), leaves[index], proofOf(index));
        expectFallen(Fault.Weight, index);
    }

    function testFuzz_CoverageFalls(uint256 seed, uint8 k, uint64 weight) public {
        rebuild(seed);
        uint32 index = 2 * uint32(k % 6) + 1;
        if (k % 4 != 0) weight = weight % 14;
        uint64 right = leaves[index].detail.weight;
        vm.assume(weight != right);
        leaves[index].detail.weight = weight;
        storeHeader();
        // The witness: the first that it missed, or the one that it names and did not miss.
        uint32 witness = right != 0 && (weight == 0 || weight > right) ? uint32(right - 1) : 0;
        if (witness == 0 && weight != 0 && weight <= 12 && (right == 0 || weight < right)) {
            witness = uint32(weight - 1);
        }
        bytes32[] memory proof = proofOf(index);
        run.challengeCoverage(opened(), leaves[index], proof, leaves[witness], proofOf(witness));
        expectFallen(Fault.Coverage, index);
    }

    function testFuzz_AmountFalls(uint256 seed, uint8 index, uint128 amountWei) public {
        rebuild(seed);
        index = index % 12;
        vm.assume(amountWei != leaves[index].cumulativeAmountWei);
        leaves[index].cumulativeAmountWei = amountWei;
        storeHeader();
        bytes32[] memory proof = proofOf(index);
        run.challengeAmount(header(), leaves[index], proof, previousOf(index));
        expectFallen(Fault.Amount, index);
    }

    function testFuzz_ReputationFalls(uint256 seed, uint8 index, uint64 reputation) public {
        rebuild(seed);
        index = index % 12;
        vm.assume(reputation != leaves[index].detail.reputation);
        leaves[index].detail.reputation = reputation;
        storeHeader();
        bytes32[] memory proof = proofOf(index);
        run.challengeReputation(header(), leaves[index], proof, previousOf(index));
        expectFallen(Fault.Reputation, index);
    }

    function testFuzz_IdentityFalls(uint8 index, address account_) public {
        index = index % 12;
        vm.assume(account_ != leaves[index].account);
        leaves[index].account = account_;
        storeHeader();
        run.challengeIdentity(opened(), leaves[index], proofOf(index));
        expectFallen(Fault.Identity, index);
    }

    function testFuzz_WeightBeforeFalls(uint256 seed, uint8 index, uint64 weight) public {
        rebuild(seed);
        index = index % 12;
        vm.assume(weight != leaves[index].detail.weightBefore);
        leaves[index].detail.weightBefore = weight;
        expectSumFalls(index);
    }

    function testFuzz_AmountBeforeFalls(uint256 seed, uint8 index, uint128 amountWei) public {
        rebuild(seed);
        index = index % 12;
        vm.assume(amountWei != leaves[index].detail.amountBeforeWei);
        leaves[index].detail.amountBeforeWei = amountWei;
        expectSumFalls(index);
    }

    function testFuzz_TotalsFall(uint64 weight, uint128 amountWei) public {
        vm.assume(weight != totals.totalWeight || amountWei != totals.totalAmountWei);
        (totals.totalWeight, totals.totalAmountWei) = (weight, amountWei);
        storeHeader();
        run.challengeLastSum(opened(), leaves[11], proofOf(11));
        expectFallen(Fault.Sum, 11);
    }

    function expectSumFalls(uint32 index) private {
        storeHeader();
        bytes32[] memory proof = proofOf(index);
        if (index == 0) run.challengeFirstSum(opened(), leaves[0], proof);
        else run.challengeSum(opened(), leaves[index - 1], proofOf(index - 1), leaves[index], proof);
        expectFallen(Fault.Sum, index);
    }

    function test_FirstHeaderHasNoPrevious() public {
        // As if round 5 had been the first to settle: everything from zero.
        delete world.previous;
        settleHonestly();
        Header memory h = header();
        h.body.previous = 0;
        Round memory r = harness.getRound(ROUND);
        (r.headerHash, r.previousPaid) = (hashOf(h), 0);
        harness.setRound(r);
        PreviousLeaf memory none;
        bytes32[] memory proof = proofOf(0);
        uint256 amountWei = leaves[0].cumulativeAmountWei;
        expectError(
            abi.encodeWithSelector(IDisputesBase.NothingWrong.selector, Fault.Amount, amountWei, amountWei)
        );
        run.challengeAmount(h, leaves[0], proof, none);
        none.cumulativeAmountWei = 1;
        expectError(abi.encodeWithSelector(IDisputesBase.WrongPrevious.selector, ROUND, 0, 0));
        run.challengeAmount(h, leaves[0], proof, none);
    }

    /* HELPERS */

    function rebuild(uint256 seed) private {
        makeWorld(seed);
        settleHonestly();
    }

    /// @dev The header fell, with all that is kept of it; and it would not have fallen once final.
    function expectFallen(Fault fault, uint32 index) private view {
        RunState memory s = harness.getState();
        Round memory r = harness.getRound(ROUND);
        assertEq(s.paidPlusOne, 5);
        assertEq(s.settledPlusOne, 6);
        assertEq(uint8(r.fault), uint8(fault));
        assertEq(r.faultIndex, index);
        assertEq(r.faultSigners, SIGNERS);
        assertEq(r.faultAt, block.timestamp);
        assertEq(r.signedInEpoch, 1);
        assertEq(r.totalAmountWei, totals.totalAmountWei);
    }
}
