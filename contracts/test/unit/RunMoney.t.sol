// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {ClaimLeaf, Header, OpenedTree, Role, Tree} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Money and members of a real run, from the first stake to the last refund.
contract RunMoneyTest is RunFixture {
    ClaimLeaf[2] private leaves;
    OpenedTree private opened;

    /// @dev The open round settles with a tree of the first two trainers; the rest of the registry has no leaf, which
    /// nobody challenges here.
    function settlePair(uint128 firstWei, uint128 secondWei) private returns (uint32 round) {
        toSettle();
        round = current();
        leaves[0] = ClaimLeaf(0, trainer(0), firstWei, keccak256("first"));
        leaves[1] = ClaimLeaf(1, trainer(1), secondWei, keccak256("second"));
        bytes32 node = keccak256(abi.encodePacked(bytes1(0x01), hashOf(leaves[0]), hashOf(leaves[1])));
        node = keccak256(abi.encodePacked(bytes1(0x01), node, bytes32(0)));
        node = keccak256(abi.encodePacked(bytes1(0x01), node, bytes32(0)));
        Header memory header = headerOver(round, Tree(node, 7, firstWei + secondWei, 6));
        settle(header);
        opened = OpenedTree(round, keccak256(abi.encode(Commitment.BODY_TYPEHASH, header.body)), header.tree);
    }

    function hashOf(ClaimLeaf memory leaf) private pure returns (bytes32) {
        return keccak256(bytes.concat(bytes1(0), abi.encode(leaf)));
    }

    function proofOf(uint256 index) private view returns (bytes32[] memory proof) {
        proof = new bytes32[](3);
        proof[0] = hashOf(leaves[1 - index]);
    }

    function test_ClaimsWaitForTheWindowAndOutliveTheRun() public {
        startRun();
        uint32 round = settlePair(2 ether, 3 ether);
        bytes32[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IRewards.NotFinal.selector, round));
        rewards.claim(address(run), opened, leaves[0], proof);
        vm.warp(run.roundInfo(round).finalAt);
        rewards.claim(address(run), opened, leaves[0], proof);
        assertEq(token.balanceOf(trainer(0)), 2 ether, "first");

        vm.prank(sponsor);
        run.close();
        voidCurrent();
        assertTrue(run.finished(), "over");
        rewards.refund(address(run));
        assertEq(token.balanceOf(sponsor), POOL_WEI - 5 ether, "all but the promises");
        proof = proofOf(1);
        rewards.claimNext(address(run), 6, leaves[1], proof);
        assertEq(token.balanceOf(trainer(1)), 3 ether, "second");
        assertEq(token.balanceOf(address(rewards)), 0, "nothing is left");
    }

    function test_RevertWhen_RefundingBeforeTheLastHeaderIsFinal() public {
        startRun();
        vm.prank(sponsor);
        run.close();
        uint32 round = settlePair(2 ether, 3 ether);
        assertTrue(run.finished(), "over");
        expectError(
            abi.encodeWithSelector(
                IRewards.NotCertain.selector, address(run), block.timestamp + run.params().claimPeriodSeconds
            )
        );
        rewards.refund(address(run));
        vm.warp(run.roundInfo(round).finalAt);
        rewards.refund(address(run));
        assertEq(token.balanceOf(address(rewards)), 5 ether, "the promises stay");
        vm.warp(run.finishedAt() + run.params().claimPeriodSeconds);
        rewards.refund(address(run));
        assertEq(token.balanceOf(sponsor), POOL_WEI, "everything, as nobody claimed");
    }

    function test_StakesWaitForTheLastRoundAndTheUnbonding() public {
        startRun();
        leaveTrainer(2);
        leaveValidator(2);
        assertEq(stakes.entryAt(address(run), 2).activeUntil, 1, "trainer: the next round");
        assertEq(stakes.entryAt(address(run), 5).activeUntil, 4, "validator: the next epoch");
        expectError(abi.encodeWithSelector(IStakes.StillActive.selector, 2, 1));
        stakes.withdrawFor(address(run), trainer(2));
        settleRound(0);
        uint64 until = uint64(block.timestamp) + UNBONDING_SECONDS;
        assertEq(stakes.withdrawableAt(address(run), 2), until, "from when round 1 opened");
        vm.warp(until);
        stakes.withdrawFor(address(run), trainer(2));
        assertEq(token.balanceOf(trainer(2)), BOND_WEI, "the whole bond");
        expectError(abi.encodeWithSelector(IStakes.StillActive.selector, 5, 4));
        stakes.withdrawFor(address(run), validator(2));

        join(stranger, stranger, Role.Trainer, BOND_WEI);
        assertEq(stakes.entryOf(address(run), stranger).slot, 2, "the slot is used again");
        assertEq(run.memberOf(stranger).slot, 2, "as the run knows");
        assertEq(run.memberOf(trainerOperator(2)).role, 0, "and it forgot the other");
    }

    function test_RevertWhen_AnotherCallsTheHooks() public {
        joinAll();
        bytes4 notStakes = bytes4(keccak256("NotStakes(address)"));
        vm.startPrank(stranger);
        expectError(abi.encodeWithSelector(notStakes, stranger));
        run.enroll(stranger, Role.Validator, 0, 1, 1);
        expectError(abi.encodeWithSelector(notStakes, stranger));
        run.retire(trainerOperator(0));
        expectError(abi.encodeWithSelector(notStakes, stranger));
        run.rekey(trainerOperator(0), stranger);
        expectError(abi.encodeWithSelector(notStakes, stranger));
        run.forget(trainerOperator(0));
    }
}
