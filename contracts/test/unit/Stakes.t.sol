// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Entry, Role} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {FeeToken, HookToken} from "../utils/OddTokens.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract StakesTest is RunFixture {
    address private immutable account = makeAddr("account");
    address private immutable operator = makeAddr("operator");

    function setUp() public override {
        super.setUp();
        deal(token, account, 1_000 ether, address(stakes));
    }

    function joinAs(Role role, uint128 amountWei) private {
        vm.prank(account);
        stakes.join(address(run), role, operator, amountWei);
    }

    /* REVERTS: JOIN */

    function test_RevertWhen_JoiningWithoutARole() public {
        expectError(abi.encodeWithSelector(IStakes.BadRole.selector, Role.None));
        joinAs(Role.None, BOND_WEI);
    }

    function test_RevertWhen_StakeIsTooLow() public {
        expectError(abi.encodeWithSelector(IStakes.StakeTooLow.selector, BOND_WEI - 1, BOND_WEI));
        joinAs(Role.Trainer, BOND_WEI - 1);
        expectError(abi.encodeWithSelector(IStakes.StakeTooLow.selector, STAKE_WEI - 1, STAKE_WEI));
        joinAs(Role.Validator, STAKE_WEI - 1);
    }

    function test_RevertWhen_RunIsOver() public {
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IStakes.RunOver.selector, address(run)));
        joinAs(Role.Trainer, BOND_WEI);
    }

    function test_RevertWhen_JoiningTwice() public {
        joinAs(Role.Trainer, BOND_WEI);
        expectError(abi.encodeWithSelector(IStakes.AlreadyJoined.selector, address(run), account));
        vm.prank(account);
        stakes.join(address(run), Role.Validator, stranger, STAKE_WEI);
    }

    function test_RevertWhen_JoiningAgainAfterLeaving() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.startPrank(account);
        stakes.leave(address(run));
        skip(UNBONDING_SECONDS);
        stakes.withdraw(address(run));
        expectError(abi.encodeWithSelector(IStakes.AlreadyJoined.selector, address(run), account));
        stakes.join(address(run), Role.Trainer, stranger, BOND_WEI);
    }

    function test_RevertWhen_OperatorIsZeroOrTaken() public {
        expectError(abi.encodeWithSelector(IStakes.ZeroOperator.selector));
        vm.prank(account);
        stakes.join(address(run), Role.Trainer, address(0), BOND_WEI);
        joinTrainer(0);
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), trainerOperator(0)));
        vm.prank(account);
        stakes.join(address(run), Role.Trainer, trainerOperator(0), BOND_WEI);
    }

    function test_RevertWhen_AllTrainerSlotsAreGiven() public {
        for (uint256 i = 0; i < 256; i++) {
            joinTrainer(i);
        }
        expectError(abi.encodeWithSelector(IStakes.RunFull.selector, address(run), Role.Trainer, 256));
        joinAs(Role.Trainer, BOND_WEI);
    }

    function test_RevertWhen_AllValidatorSlotsAreGiven() public {
        for (uint256 v = 0; v < 16; v++) {
            joinValidator(v);
        }
        expectError(abi.encodeWithSelector(IStakes.RunFull.selector, address(run), Role.Validator, 16));
        joinAs(Role.Validator, STAKE_WEI);
    }

    function test_RevertWhen_TokensAreMissing() public {
        expectError(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, account, 1_000 ether, 1_001 ether
            )
        );
        joinAs(Role.Trainer, 1_001 ether);
    }

    function test_RevertWhen_TokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        HostileRun odd = new HostileRun();
        odd.set(address(fee), address(this), false, 0);
        fee.mint(account, 100);
        vm.startPrank(account);
        fee.approve(address(stakes), 100);
        expectError(abi.encodeWithSelector(IStakes.TransferMismatch.selector, 100, 99));
        stakes.join(address(odd), Role.Trainer, operator, 100);
    }

    /* REVERTS: MEMBERS */

    function test_RevertWhen_NotAMember() public {
        bytes memory notMember = abi.encodeWithSelector(IStakes.NotMember.selector, address(run), account);
        vm.startPrank(account);
        expectError(notMember);
        stakes.addStake(address(run), 1);
        expectError(notMember);
        stakes.setOperator(address(run), stranger);
        expectError(notMember);
        stakes.leave(address(run));
        expectError(notMember);
        stakes.withdraw(address(run));
    }

    function test_RevertWhen_TheOperatorActsForTheStake() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.startPrank(operator);
        expectError(abi.encodeWithSelector(IStakes.NotMember.selector, address(run), operator));
        stakes.leave(address(run));
        expectError(abi.encodeWithSelector(IStakes.NotMember.selector, address(run), operator));
        stakes.setOperator(address(run), stranger);
    }

    function test_RevertWhen_AddingNothing() public {
        joinAs(Role.Trainer, BOND_WEI);
        expectError(abi.encodeWithSelector(IStakes.ZeroAmount.selector));
        vm.prank(account);
        stakes.addStake(address(run), 0);
    }

    function test_RevertWhen_AlreadyLeft() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.startPrank(account);
        stakes.leave(address(run));
        expectError(abi.encodeWithSelector(IStakes.AlreadyLeft.selector, address(run), 0));
        stakes.leave(address(run));
        expectError(abi.encodeWithSelector(IStakes.AlreadyLeft.selector, address(run), 0));
        stakes.addStake(address(run), 1);
    }

    function test_RevertWhen_NewOperatorIsZeroOrTaken() public {
        joinAs(Role.Trainer, BOND_WEI);
        joinTrainer(0);
        vm.startPrank(account);
        expectError(abi.encodeWithSelector(IStakes.ZeroOperator.selector));
        stakes.setOperator(address(run), address(0));
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), trainerOperator(0)));
        stakes.setOperator(address(run), trainerOperator(0));
    }

    function test_RevertWhen_WithdrawingTooEarlyOrTwice() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.startPrank(account);
        expectError(abi.encodeWithSelector(IStakes.NotLeft.selector, address(run), 0));
        stakes.withdraw(address(run));
        stakes.leave(address(run));
        uint64 until = uint64(block.timestamp) + UNBONDING_SECONDS;
        vm.warp(until - 1);
        expectError(abi.encodeWithSelector(IStakes.StillBonded.selector, until));
        stakes.withdraw(address(run));
        vm.warp(until);
        stakes.withdraw(address(run));
        expectError(abi.encodeWithSelector(IStakes.NothingToWithdraw.selector, address(run), 0));
        stakes.withdraw(address(run));
    }

    function test_RevertWhen_SlotIsUnknown() public {
        joinValidator(0);
        expectError(abi.encodeWithSelector(IStakes.UnknownSlot.selector, address(run), 1));
        stakes.validatorIndexAt(address(run), 1);
    }

    /* EFFECTS */

    function test_Join() public {
        joinTrainer(0);
        vm.expectEmit(address(stakes));
        emit IStakes.Joined(address(run), 1, account, operator, Role.Validator, 0, STAKE_WEI + 7);
        joinAs(Role.Validator, STAKE_WEI + 7);

        Entry memory e = stakes.entryOf(address(run), account);
        assertEq(e.account, account, "account");
        assertEq(e.operator, operator, "operator");
        assertEq(uint8(e.role), uint8(Role.Validator), "role");
        assertEq(e.slot, 0, "slot of the role");
        assertEq(e.index, 1, "index in the registry");
        assertEq(e.activeFrom, 0, "active from the first round");
        assertEq(e.activeUntil, type(uint32).max, "active until");
        assertEq(e.stakeWei, STAKE_WEI + 7, "stake");
        assertEq(e.withdrawableAt, 0, "withdrawable");
        assertEq(stakes.registrySize(address(run)), 2, "registry");
        assertEq(stakes.validatorIndexAt(address(run), 0), 1, "validator slot");
        assertEq(stakes.tokenOf(address(run)), address(token), "token");
        assertEq(token.balanceOf(address(stakes)), BOND_WEI + STAKE_WEI + 7, "tokens held");
        (uint16 trainerSlots, uint16 validatorSlots) = stakes.slotCounts(address(run));
        assertEq(trainerSlots, 1, "trainer slots");
        assertEq(validatorSlots, 1, "validator slots");
    }

    function test_LookUps() public {
        joinAll();

        assertEq(stakes.entryAt(address(run), 1).account, trainer(1), "by index");
        assertEq(stakes.entryOf(address(run), validator(2)).index, 5, "by account");
        assertEq(stakes.entryOfOperator(address(run), validatorOperator(1)).index, 4, "by operator");
        assertEq(uint8(stakes.entryAt(address(run), 6).role), uint8(Role.None), "no such index");
        assertEq(uint8(stakes.entryOf(address(run), stranger).role), uint8(Role.None), "no such account");
        assertEq(
            uint8(stakes.entryOfOperator(address(run), trainer(0)).role),
            uint8(Role.None),
            "an account is no operator"
        );
        Entry[] memory page = stakes.entries(address(run), 4, 10);
        assertEq(page.length, 2, "clipped page");
        assertEq(page[0].account, validator(1), "first of the page");
        assertEq(page[1].account, validator(2), "last of the page");
        assertEq(stakes.entries(address(run), 1, 3).length, 3, "whole page");
        assertEq(stakes.entries(address(run), 6, 1).length, 0, "past the end");
        assertEq(stakes.entries(address(run), type(uint32).max, 1).length, 0, "far past the end");
    }

    function test_ActiveFromTheRoundAfterJoining() public {
        startRun();
        joinAs(Role.Trainer, BOND_WEI);

        assertEq(stakes.entryOf(address(run), account).activeFrom, 1, "next round");
    }

    function test_AddStake() public {
        joinAs(Role.Validator, STAKE_WEI);
        vm.expectEmit(address(stakes));
        emit IStakes.StakeAdded(address(run), 0, 50 ether);
        vm.prank(account);
        stakes.addStake(address(run), 50 ether);

        assertEq(stakes.entryOf(address(run), account).stakeWei, STAKE_WEI + 50 ether, "stake");
        assertEq(token.balanceOf(address(stakes)), STAKE_WEI + 50 ether, "tokens held");
    }

    function test_SetOperator() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.expectEmit(address(stakes));
        emit IStakes.OperatorSet(address(run), 0, stranger);
        vm.prank(account);
        stakes.setOperator(address(run), stranger);

        assertEq(stakes.entryOfOperator(address(run), stranger).account, account, "new operator");
        assertEq(uint8(stakes.entryOfOperator(address(run), operator).role), 0, "old operator");
        join(trainer(0), operator, Role.Trainer, BOND_WEI);
        assertEq(stakes.entryOfOperator(address(run), operator).account, trainer(0), "old one is free");
    }

    function test_LeaveAndWithdraw() public {
        startRun();
        joinAs(Role.Validator, STAKE_WEI);
        (, uint16 before) = stakes.activeCounts(address(run));
        uint64 until = uint64(block.timestamp) + UNBONDING_SECONDS;
        vm.expectEmit(address(stakes));
        emit IStakes.Left(address(run), 6, 1, until);
        vm.prank(account);
        stakes.leave(address(run));

        (, uint16 afterwards) = stakes.activeCounts(address(run));
        assertEq(afterwards, before - 1, "active validators");
        assertEq(stakes.entryOf(address(run), account).activeUntil, 1, "active until the next round");

        vm.warp(until);
        vm.expectEmit(address(stakes));
        emit IStakes.Withdrawn(address(run), 6, STAKE_WEI);
        vm.prank(account);
        stakes.withdraw(address(run));

        assertEq(token.balanceOf(account), 1_000 ether, "tokens are back");
        assertEq(stakes.entryOf(address(run), account).stakeWei, 0, "no stake");
    }

    function test_StakeLanes() public {
        joinAll();
        vm.prank(validator(1));
        stakes.leave(address(run));
        joinAs(Role.Validator, 1_000 ether);
        uint256 expected = 100 | (100 << 32) | (1_000 << 48);

        assertEq(stakes.stakeLanes(address(run), 0, 1 ether), bytes32(expected), "in ether");
        assertEq(
            stakes.stakeLanes(address(run), 0, 1 gwei),
            bytes32(uint256(0xffff | (0xffff << 32) | (0xffff << 48))),
            "saturated"
        );
        assertEq(stakes.stakeLanes(address(run), 0, 101 ether), bytes32(uint256(9) << 48), "rounded down");
    }

    function test_StakeLanesByRound() public {
        startRun();
        joinAs(Role.Validator, STAKE_WEI);
        vm.prank(validator(0));
        stakes.leave(address(run));

        uint256 inRound0 = 100 | (100 << 16) | (100 << 32);
        uint256 inRound1 = (100 << 16) | (100 << 32) | (100 << 48);
        assertEq(stakes.stakeLanes(address(run), 0, 1 ether), bytes32(inRound0), "round 0");
        assertEq(stakes.stakeLanes(address(run), 1, 1 ether), bytes32(inRound1), "round 1");
    }

    /* HOSTILE RUNS AND TOKENS */

    function test_AHostileRunCantPayWithOthersStakes() public {
        joinAll();
        HookToken worthless = new HookToken();
        HostileRun hostile = new HostileRun();
        hostile.set(address(worthless), stranger, false, 0);
        worthless.mint(stranger, 100 ether);
        vm.startPrank(stranger);
        worthless.approve(address(stakes), 100 ether);
        stakes.join(address(hostile), Role.Trainer, stranger, 100 ether);
        hostile.set(address(token), stranger, false, 0);
        stakes.leave(address(hostile));
        skip(UNBONDING_SECONDS);
        stakes.withdraw(address(hostile));

        assertEq(token.balanceOf(stranger), 0, "nothing of the others");
        assertEq(worthless.balanceOf(stranger), 100 ether, "its own token back");
    }

    function test_ATokenCantReenter() public {
        HookToken hook = new HookToken();
        HostileRun hostile = new HostileRun();
        hostile.set(address(hook), stranger, false, 0);
        hook.mint(stranger, 200);
        vm.startPrank(stranger);
        hook.approve(address(stakes), 200);
        stakes.join(address(hostile), Role.Trainer, stranger, 100);
        stakes.leave(address(hostile));
        skip(UNBONDING_SECONDS);
        hook.setHook(address(stakes), abi.encodeCall(IStakes.withdraw, (address(hostile))));
        stakes.withdraw(address(hostile));

        assertTrue(hook.callbackFailed(), "refused");
        assertEq(
            bytes4(hook.callbackResult()),
            bytes4(keccak256("ReentrancyGuardReentrantCall()")),
            "for reentering"
        );
        assertEq(hook.balanceOf(stranger), 200, "paid once");
    }
}
