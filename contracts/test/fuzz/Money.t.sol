// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Reputation} from "../../src/Reputation.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {ClaimLeaf, OpenedTree, Role, RunParams} from "../../src/types/Types.sol";
import {MoneyFixture} from "../utils/MoneyFixture.sol";

/// @dev Properties of stakes, claims, reputation and commitments over random values.
contract MoneyTest is MoneyFixture {
    struct Settled {
        OpenedTree tree;
        ClaimLeaf leaf;
        bytes32[] proof;
    }

    Settled[] private settled;

    /// @dev Whatever rounds pay and in whatever order they are claimed, an account gets its highest cumulative
    /// amount among those shown, and neither promise nor pool is passed.
    function testFuzz_ClaimsAreCumulative(uint64[3] memory payWei, uint8[8] memory order, uint96 poolWei)
        public
    {
        poolWei = uint96(bound(poolWei, 1, type(uint96).max));
        fund(run, poolWei);
        uint128 sumWei;
        for (uint32 k = 0; k < payWei.length; k++) {
            sumWei += payWei[k];
            settle(k, sumWei);
            settled.push();
            settled[k].tree = opened;
            settled[k].leaf = claimLeaf(2);
            settled[k].proof = proofOf(2);
        }
        uint256 paidWei;
        for (uint256 i = 0; i < order.length; i++) {
            Settled memory s = settled[order[i] % payWei.length];
            bool next = order[i] >= 128;
            uint256 wantWei = s.leaf.cumulativeAmountWei;
            try this.claim(next, s) {
                assertGt(wantWei, paidWei, "more than before");
                paidWei = wantWei;
            } catch {
                (,,, uint128 leftWei) = rewards.purse(address(run));
                assertTrue(next || wantWei <= paidWei || wantWei - paidWei > leftWei, "a reason to refuse");
            }
            assertEq(token.balanceOf(account(2)), paidWei, "highest shown");
            assertEq(rewards.claimed(address(run), account(2)), paidWei, "recorded");
            assertEq(rewards.claimedTotal(address(run)), paidWei, "of all");
            assertLe(rewards.claimedTotal(address(run)), poolWei, "pool");
            assertLe(rewards.claimedTotal(address(run)), 6 * uint256(sumWei), "promise");
        }
    }

    function claim(bool next, Settled calldata s) external {
        if (next) rewards.claimNext(address(run), s.tree.tree.leafCount, s.leaf, s.proof);
        else rewards.claim(address(run), s.tree, s.leaf, s.proof);
    }

    /// @dev Nothing but the leaf itself with its own proof is ever paid.
    function testFuzz_JunkIsNotPaid(
        ClaimLeaf memory leaf,
        bytes32[] memory proof,
        uint32 leafCount,
        uint8 keep
    ) public {
        fund(run, POOL_WEI);
        settle(0, 1 ether);
        rewards.claim(address(run), opened, claimLeaf(0), proofOf(0));
        uint256 index = keep % 5 + 1;
        if (keep & 0x10 != 0) leaf = claimLeaf(index);
        if (keep & 0x20 != 0) proof = proofOf(index);
        if (keep & 0x40 != 0) {
            leaf.cumulativeAmountWei = uint128(bound(leaf.cumulativeAmountWei, 0, 2 ether));
        }
        bool whole = keccak256(abi.encode(leaf)) == keccak256(abi.encode(claimLeaf(index)))
            && keccak256(abi.encode(proof)) == keccak256(abi.encode(proofOf(index)));
        if (keep & 0x80 != 0) leafCount = 6;
        vm.assume(!whole || leafCount != 6);

        vm.expectRevert();
        rewards.claimNext(address(run), leafCount, leaf, proof);
        if (whole) return;
        vm.expectRevert();
        rewards.claim(address(run), opened, leaf, proof);
    }

    /// @dev A claim whose words have bits beyond their types is refused, or pays what the clean one does.
    function testFuzz_DirtyWordsAreNotPaid(uint8 word, uint8 bit) public {
        fund(run, POOL_WEI);
        settle(0, 1 ether);
        rewards.claim(address(run), opened, claimLeaf(0), proofOf(0));
        bytes memory data = abi.encodeWithSignature(
            "claimNext(address,uint32,(uint32,address,uint128,bytes32),bytes32[])",
            address(run),
            6,
            claimLeaf(1),
            proofOf(1)
        );
        // bits 255 to 160 of a word: beyond address and uint32; of the amount beyond uint128 too
        uint256 at = 4 + 32 * (word % 5) + (bit % 12);
        data[at] = bytes1(uint8(data[at]) ^ uint8(1 << (bit % 8)));
        (bool ok,) = address(rewards).call(data);
        assertFalse(ok, "refused");
        assertEq(rewards.claimedTotal(address(run)), 1 ether, "nothing paid");
    }

    function testFuzz_Snapshot(uint96[16] memory stakeWei, uint64 unitWei, uint16 leavers) public {
        RunParams memory p = run.params();
        unitWei = uint64(bound(unitWei, 1, type(uint64).max));
        (p.minValidatorStakeWei, p.stakeUnitWei) = (unitWei, unitWei);
        run.setParams(p);
        uint256 expected;
        for (uint256 v = 0; v < 16; v++) {
            stakeWei[v] = uint96(bound(stakeWei[v], unitWei, 1e24));
            join(v, Role.Validator, stakeWei[v]);
            uint256 units = uint256(stakeWei[v]) / unitWei;
            expected |= (units > 65_535 ? 65_535 : units) << (16 * v);
        }
        for (uint256 v = 0; v < 16; v++) {
            if (leavers >> v & 1 == 0) continue;
            vm.prank(account(v));
            stakes.leave(address(run));
            expected &= ~(uint256(0xffff) << (16 * v));
        }
        (bytes32 lanes, uint32[16] memory seats) = stakes.snapshot(address(run));
        assertEq(lanes, bytes32(expected), "lanes");
        for (uint256 v = 0; v < 16; v++) {
            assertEq(seats[v], leavers >> v & 1 == 0 ? v : 0, "seat");
        }
    }

    /// @dev What joined = what was paid back + burned + rewarded + still held, and each part as it should be.
    function testFuzz_StakesAddUp(uint96 firstWei, uint96 moreWei, uint128 slashWei, uint16 bps, uint32 wait)
        public
    {
        firstWei = uint96(bound(firstWei, BOND_WEI, 1e26));
        moreWei = uint96(bound(moreWei, 1, 1e26));
        bps = uint16(bound(bps, 0, 10_000));
        join(0, Role.Trainer, firstWei);
        deal(account(0), moreWei, address(stakes));
        vm.startPrank(account(0));
        stakes.addStake(address(run), moreWei);
        stakes.leave(address(run));
        vm.stopPrank();
        uint256 allWei = uint256(firstWei) + moreWei;
        uint128[] memory amounts = new uint128[](1);
        amounts[0] = slashWei;
        vm.prank(address(run));
        uint256 takenWei = stakes.slash(new uint32[](1), amounts, stranger, bps);
        assertEq(takenWei, slashWei < allWei ? slashWei : allWei, "taken");
        assertEq(token.balanceOf(stranger), takenWei * bps / 10_000, "rewarded");
        assertEq(token.balanceOf(address(0xdEaD)), takenWei - takenWei * bps / 10_000, "burned");
        skip(wait);
        if (wait < UNBONDING_SECONDS) vm.expectRevert();
        stakes.withdrawFor(address(run), account(0));

        uint256 back = wait < UNBONDING_SECONDS ? 0 : allWei - takenWei;
        assertEq(token.balanceOf(account(0)), back, "all that is left, or nothing");
        assertEq(token.balanceOf(address(stakes)), allWei - takenWei - back, "held");
    }

    /// @dev However members come and go, no two that have not withdrawn share a trainer slot.
    function testFuzz_TrainerSlotsAreApart(uint8[40] memory acts) public {
        uint256 joined;
        for (uint256 i = 0; i < acts.length; i++) {
            if (acts[i] % 3 == 0 || joined == 0) {
                join(joined++, Role.Trainer, BOND_WEI);
                continue;
            }
            address who = account(acts[i] % joined);
            bool left = stakes.entryOf(address(run), who).leftAt != 0;
            bool gone = stakes.entryOf(address(run), who).operator == address(0);
            if (gone) continue;
            if (left) {
                skip(UNBONDING_SECONDS);
                stakes.withdrawFor(address(run), who);
            } else {
                vm.prank(who);
                stakes.leave(address(run));
            }
        }
        uint256 taken;
        for (uint256 i = 0; i < joined; i++) {
            if (stakes.entryOf(address(run), account(i)).operator == address(0)) continue;
            uint256 slot = stakes.entryOf(address(run), account(i)).slot;
            assertEq(taken >> slot & 1, 0, "a slot of its own");
            taken |= uint256(1) << slot;
        }
    }

    /// @dev Reputation fades as its rate says, and never grows on its own.
    function testFuzz_ReputationFades(uint64 value, uint32 keepPpb, uint16 rounds) public {
        rounds = uint16(bound(rounds, 0, 500));
        value = uint64(bound(value, 0, 1e9));
        keepPpb = uint32(bound(keepPpb, 0, 1e9));
        Reputation reputation = Reputation(Clones.clone(address(new Reputation())));
        reputation.initialize(address(run), keepPpb);
        addLeaf(account(0), 1);
        leaves[0].detail.reputation = value;
        settleLeaves(0);
        reputation.materialise(opened, leaves[0], proofOf(0));
        run.setHead(true, rounds);

        uint256 faded = value;
        for (uint256 i = 0; i < rounds; i++) {
            faded = faded * keepPpb / 1e9;
        }
        assertLe(reputation.reputationOf(account(0)), value, "does not grow");
        assertApproxEqAbs(reputation.reputationOf(account(0)), faded, rounds + 1, "rounding only");
    }

    /// @dev No two openings that differ in one field share a commitment.
    function testFuzz_CommitmentsBindEveryField(
        uint16 slot,
        uint32 round,
        bytes32[4] memory words,
        uint8 field,
        uint16 change
    ) public {
        vm.assume(change != 0);
        address place = address(run);
        bytes32 contribution = Commitment.contribution(place, round, slot, words[0], words[1], words[3]);
        bytes32 weights = Commitment.weights(place, round, slot, words[0], words[1], words[2], words[3]);
        assertNotEq(contribution, weights, "kinds");
        field = field % 7;
        if (field == 0) slot ^= change;
        else if (field == 1) round ^= change;
        else if (field == 2) place = address(uint160(place) ^ change);
        else words[field - 3] ^= bytes32(uint256(change));

        if (field != 5) {
            bytes32 other = Commitment.contribution(place, round, slot, words[0], words[1], words[3]);
            assertNotEq(contribution, other, "contribution");
        }
        bytes32 otherWeights = Commitment.weights(place, round, slot, words[0], words[1], words[2], words[3]);
        assertNotEq(weights, otherWeights, "weights");
        vm.chainId(uint64(block.chainid) ^ change);
        bytes32 elsewhere = Commitment.weights(place, round, slot, words[0], words[1], words[2], words[3]);
        assertNotEq(otherWeights, elsewhere, "chain");
    }

    function join(uint256 i, Role role, uint128 amountWei) private {
        deal(account(i), amountWei, address(stakes));
        vm.prank(account(i));
        stakes.join(address(run), role, named("operator", i), amountWei);
    }
}
