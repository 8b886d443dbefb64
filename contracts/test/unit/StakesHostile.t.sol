// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Role} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {FalseToken, FeeToken, HookToken, SilentToken} from "../utils/OddTokens.sol";
import {StakesFixture} from "../utils/StakesFixture.sol";

/// @dev See `Stakes.tree`: what a hostile run or token can do to others, which is nothing.
contract StakesHostileTest is StakesFixture {
    /* HOSTILE RUNS AND TOKENS */

    function test_AHostileRunCantPayWithOthersStakes() public {
        joinAs(Role.Validator, STAKE_WEI);
        HookToken worthless = new HookToken();
        HostileRun hostile = newRun(address(worthless));
        worthless.mint(stranger, 100 ether);
        vm.startPrank(stranger);
        worthless.approve(address(stakes), 100 ether);
        stakes.join(address(hostile), Role.Trainer, stranger, 100 ether);
        hostile.setToken(address(token));
        stakes.leave(address(hostile));
        skip(UNBONDING_SECONDS);
        stakes.withdraw(address(hostile));

        assertEq(token.balanceOf(stranger), 0, "nothing of the others");
        assertEq(worthless.balanceOf(stranger), 100 ether, "its own token back");
        assertEq(token.balanceOf(address(stakes)), STAKE_WEI, "the others' stake is there");
    }

    /// @dev A run takes its members' stakes, and can't take them twice or from others.
    function test_AHostileRunHarmsOnlyWhoJoinedIt() public {
        joinAs(Role.Validator, STAKE_WEI);
        HostileRun hostile = newRun(address(token));
        deal(account(1), BOND_WEI, address(stakes));
        vm.prank(account(1));
        stakes.join(address(hostile), Role.Trainer, operatorOf(1), BOND_WEI);
        (uint32[] memory indices, uint128[] memory amounts) = (new uint32[](3), new uint128[](3));
        (amounts[0], amounts[1], amounts[2]) = (STAKE_WEI, STAKE_WEI, STAKE_WEI);
        vm.prank(address(hostile));
        uint128 takenWei = stakes.slash(indices, amounts, stranger, 10_000);

        assertEq(takenWei, BOND_WEI, "once");
        assertEq(token.balanceOf(stranger), BOND_WEI, "what its member had");
        assertEq(token.balanceOf(address(stakes)), STAKE_WEI, "the others' stake is there");
    }

    function test_ARunCantReenter() public {
        run.reenter(
            address(stakes), abi.encodeCall(IStakes.slash, (new uint32[](1), new uint128[](1), stranger, 0))
        );
        joinAs(Role.Trainer, BOND_WEI);
        assertTrue(run.callFailed(), "refused");
        assertEq(
            bytes4(run.callResult()), bytes4(keccak256("ReentrancyGuardReentrantCall()")), "for reentering"
        );
    }

    function test_ATokenCantReenter() public {
        HookToken hook = new HookToken();
        HostileRun hostile = newRun(address(hook));
        hook.mint(stranger, 20 ether);
        vm.startPrank(stranger);
        hook.approve(address(stakes), 20 ether);
        stakes.join(address(hostile), Role.Trainer, stranger, 10 ether);
        stakes.leave(address(hostile));
        skip(UNBONDING_SECONDS);
        hook.setHook(address(stakes), abi.encodeCall(IStakes.withdrawFor, (address(hostile), stranger)));
        stakes.withdraw(address(hostile));

        assertTrue(hook.callbackFailed(), "refused");
        assertEq(
            bytes4(hook.callbackResult()),
            bytes4(keccak256("ReentrancyGuardReentrantCall()")),
            "for reentering"
        );
        assertEq(hook.balanceOf(stranger), 20 ether, "paid once");
    }

    function test_RevertWhen_TokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        HostileRun odd = newRun(address(fee));
        fee.mint(member, 100 ether);
        vm.startPrank(member);
        fee.approve(address(stakes), 100 ether);
        expectError(abi.encodeWithSelector(IStakes.TransferMismatch.selector, 100 ether, 99 ether));
        stakes.join(address(odd), Role.Trainer, operator, 100 ether);
    }

    function test_RevertWhen_TokenSaysFalse() public {
        FalseToken odd = new FalseToken();
        HostileRun oddRun = newRun(address(odd));
        odd.mint(member, 100 ether);
        odd.setRefuses(true);
        vm.startPrank(member);
        odd.approve(address(stakes), 100 ether);
        expectError(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(odd)));
        stakes.join(address(oddRun), Role.Trainer, operator, 100 ether);
    }

    /// @dev A token without return values works, and one that refuses to be burned stops no slash.
    function test_ATokenThatReturnsNothing() public {
        SilentToken silent = new SilentToken();
        run = newRun(address(silent));
        silent.mint(member, 100 ether);
        vm.startPrank(member);
        silent.approve(address(stakes), 100 ether);
        stakes.join(address(run), Role.Trainer, operator, 100 ether);
        vm.stopPrank();
        silent.setBlocked(DEAD, true);
        assertEq(slash(0, 30 ether, stranger, 1_000), 30 ether, "slashed all the same");
        assertEq(silent.balanceOf(stranger), 3 ether, "challenger is paid");
        leaveAs(member);
        skip(UNBONDING_SECONDS);
        withdrawAs(member);
        assertEq(silent.balanceOf(member), 70 ether, "the rest");
        assertEq(
            silent.balanceOf(address(stakes)), 27 ether, "what could not be burned stays, in nobody's stake"
        );
    }
}
