// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {ClaimLeaf, OpenedTree} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {HookToken, OpenToken, SilentToken} from "../utils/OddTokens.sol";
import {RewardsFixture} from "../utils/RewardsFixture.sol";

/// @dev See `Rewards.tree`: what a hostile run or token can do to others, which is nothing.
contract RewardsHostileTest is RewardsFixture {
    /* HOSTILE RUNS, SETTLEMENTS AND TOKENS */

    /// @dev Leaves that state more than the header's total (nobody challenged it): the total is the limit.
    function test_AWrongSumPaysNoMoreThanTheTotal() public {
        settle(0, 1 ether);
        opened.tree.totalAmountWei = 4.5 ether;
        run.setHeader(0, headerHash(), true);
        for (uint256 i = 0; i < 4; i++) {
            claim(i);
        }
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(4), proofOf(4));
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(run), 1 ether, 0.5 ether));
        rewards.claim(address(run), opened, leaf, proof);
    }

    /// @dev A newer header whose total is below what was paid: nothing is paid, nothing breaks.
    function test_AFallingTotalPaysNothing() public {
        settle(0, 2 ether);
        claim(0);
        claim(1);
        settle(1, 1 ether);
        opened.tree.totalAmountWei = 1 ether;
        run.setHeader(1, headerHash(), true);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(2), proofOf(2));
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(run), 1 ether, 0));
        rewards.claim(address(run), opened, leaf, proof);
        assertEq(rewards.claimedTotal(address(run)), 4 ether, "what was paid");
    }

    function test_AHostileRunCantClaimOthersMoney() public {
        HostileRun hostile = newRun(address(token));
        (OpenedTree memory t, ClaimLeaf memory leaf) = alone(hostile, 0, stranger, 5 ether);
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(hostile)));
        rewards.claim(address(hostile), t, leaf, new bytes32[](0));

        deal(stranger, 2 ether, address(rewards));
        vm.prank(stranger);
        rewards.fund(address(hostile), 2 ether);
        expectError(
            abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(hostile), 5 ether, 2 ether)
        );
        rewards.claim(address(hostile), t, leaf, new bytes32[](0));
        claimAlone(hostile, 1, stranger, 2 ether);
        (t, leaf) = alone(hostile, 2, stranger, type(uint128).max);
        expectError(
            abi.encodeWithSelector(
                IRewards.PoolExceeded.selector, address(hostile), type(uint128).max - 2 ether, 0
            )
        );
        rewards.claim(address(hostile), t, leaf, new bytes32[](0));
        assertEq(token.balanceOf(address(rewards)), POOL_WEI, "the others' is there");
    }

    /// @dev The tree of another run's header under its own name leads to its own purse.
    function test_AHostileRunCantUseAnothersPurse() public {
        settle(0, 1 ether);
        claim(0);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(1), proofOf(1));
        HostileRun hostile = newRun(address(token));
        hostile.setHeader(0, headerHash(), true);
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(hostile)));
        rewards.claimNext(address(hostile), 6, leaf, proof);
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(hostile)));
        rewards.claim(address(hostile), opened, leaf, proof);
        claimNext(1);
        assertEq(token.balanceOf(account(1)), 1 ether, "the run's own claim is untouched");
    }

    function test_AHostileRunCantBeRefundedTwice() public {
        HostileRun hostile = newRun(address(token));
        deal(stranger, 5 ether, address(rewards));
        vm.prank(stranger);
        rewards.fund(address(hostile), 5 ether);
        claimAlone(hostile, 0, stranger, 3 ether);
        hostile.setSponsor(stranger);
        hostile.setFinished(true, 0);
        hostile.setTotal(0);
        rewards.refund(address(hostile));
        assertEq(token.balanceOf(stranger), 5 ether, "its own money");
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(hostile)));
        rewards.refund(address(hostile));
        (OpenedTree memory t, ClaimLeaf memory leaf) = alone(hostile, 1, stranger, 9 ether);
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(hostile), 6 ether, 0));
        rewards.claim(address(hostile), t, leaf, new bytes32[](0));

        assertEq(token.balanceOf(address(rewards)), POOL_WEI, "the others' is there");
    }

    /// @dev It promised more than it says at its end: the purse shrinks with the pool.
    function test_AHostileRunThatForgetsItsPromises() public {
        HostileRun hostile = newRun(address(token));
        deal(stranger, 5 ether, address(rewards));
        vm.prank(stranger);
        rewards.fund(address(hostile), 5 ether);
        settleOf(hostile);
        rewards.claim(address(hostile), opened, claimLeaf(0), proofOf(0));
        hostile.setTotal(0);
        hostile.setFinished(true, uint64(block.timestamp));
        hostile.setSponsor(stranger);
        rewards.refund(address(hostile));
        assertEq(token.balanceOf(stranger), 4.5 ether, "the rest, now");
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(1), proofOf(1));
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(hostile), 0.5 ether, 0));
        rewards.claimNext(address(hostile), 6, leaf, proof);
        assertEq(token.balanceOf(address(rewards)), POOL_WEI, "the others' is there");
    }

    function settleOf(HostileRun hostile) private {
        HostileRun before = run;
        run = hostile;
        settle(0, 0.5 ether);
        run = before;
    }

    function test_AHostileRunCantSwitchItsToken() public {
        HookToken worthless = new HookToken();
        HostileRun hostile = newRun(address(worthless));
        fundWith(hostile, OpenToken(address(worthless)), 5 ether);
        hostile.setToken(address(token));
        claimAlone(hostile, 0, stranger, 2 ether);
        hostile.setSponsor(stranger);
        hostile.setFinished(true, 1);
        rewards.refund(address(hostile));

        assertEq(worthless.balanceOf(stranger), 5 ether, "what was funded");
        assertEq(token.balanceOf(stranger), 0, "nothing else");
    }

    /// @dev A token calls back into each function, from each function.
    function test_ATokenCantReenter() public {
        HookToken hook = new HookToken();
        HostileRun hostile = newRun(address(hook));
        fundWith(hostile, OpenToken(address(hook)), 10);
        (OpenedTree memory t, ClaimLeaf memory leaf) = alone(hostile, 0, stranger, 4);
        ClaimLeaf[] memory many = new ClaimLeaf[](1);
        many[0] = leaf;
        bytes[5] memory calls = [
            abi.encodeCall(IRewards.claim, (address(hostile), t, leaf, new bytes32[](0))),
            abi.encodeCall(IRewards.claimNext, (address(hostile), 1, leaf, new bytes32[](0))),
            abi.encodeCall(IRewards.claimMany, (address(hostile), t, many, new bytes32[][](1))),
            abi.encodeCall(IRewards.fund, (address(hostile), 1)),
            abi.encodeCall(IRewards.refund, (address(hostile)))
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            uint256 state = vm.snapshotState();
            hook.setHook(address(rewards), calls[i]);
            rewards.claim(address(hostile), t, leaf, new bytes32[](0));
            refusedReentry(hook);
            assertEq(hook.balanceOf(stranger), 4, "paid once");
            vm.revertToState(state);

            hook.setHook(address(rewards), calls[i]);
            fundWith(hostile, OpenToken(address(hook)), 10);
            refusedReentry(hook);
            vm.revertToState(state);

            hook.setHook(address(rewards), calls[i]);
            hostile.setFinished(true, 1);
            rewards.refund(address(hostile));
            refusedReentry(hook);
            vm.revertToState(state);
        }
    }

    function refusedReentry(HookToken hook) private view {
        assertTrue(hook.callbackFailed(), "refused");
        assertEq(
            bytes4(hook.callbackResult()),
            bytes4(keccak256("ReentrancyGuardReentrantCall()")),
            "for reentering"
        );
    }

    function test_ATokenThatReturnsNothing() public {
        SilentToken silent = new SilentToken();
        HostileRun odd = newRun(address(silent));
        silent.mint(address(this), 10);
        silent.approve(address(rewards), 10);
        rewards.fund(address(odd), 10);
        claimAlone(odd, 0, stranger, 4);
        odd.setFinished(true, 1);
        rewards.refund(address(odd));
        assertEq(silent.balanceOf(stranger), 4, "claimed");
        assertEq(silent.balanceOf(sponsor), 6, "refunded");
    }
}
