// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Entry, Role, RunParams} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {StakesFixture} from "../utils/StakesFixture.sol";

/// @dev The run is one that does as it is told: see `Stakes.tree`.
contract StakesTest is StakesFixture {
    /* REVERTS: JOIN */

    function test_RevertWhen_JoiningWithoutARole() public {
        expectError(abi.encodeWithSelector(IStakes.BadRole.selector, Role.None));
        joinAs(Role.None, BOND_WEI);
    }

    function test_RevertWhen_RunIsOver() public {
        run.setFinished(true, 1);
        expectError(abi.encodeWithSelector(IStakes.RunOver.selector, address(run)));
        joinAs(Role.Trainer, BOND_WEI);
    }

    function test_RevertWhen_StakeIsTooLow() public {
        expectError(abi.encodeWithSelector(IStakes.StakeTooLow.selector, BOND_WEI - 1, BOND_WEI));
        joinAs(Role.Trainer, BOND_WEI - 1);
        expectError(abi.encodeWithSelector(IStakes.StakeTooLow.selector, STAKE_WEI - 1, STAKE_WEI));
        joinAs(Role.Validator, STAKE_WEI - 1);
    }

    function test_RevertWhen_JoiningTwice() public {
        joinAs(Role.Trainer, BOND_WEI);
        expectError(abi.encodeWithSelector(IStakes.AlreadyJoined.selector, address(run), member));
        vm.prank(member);
        stakes.join(address(run), Role.Validator, stranger, STAKE_WEI);
    }

    function test_RevertWhen_JoiningAgainAfterWithdrawing() public {
        joinAs(Role.Trainer, BOND_WEI);
        leaveAs(member);
        skip(UNBONDING_SECONDS);
        withdrawAs(member);
        expectError(abi.encodeWithSelector(IStakes.AlreadyJoined.selector, address(run), member));
        joinAs(Role.Trainer, BOND_WEI);
    }

    function test_RevertWhen_OperatorIsZeroOrTaken() public {
        expectError(abi.encodeWithSelector(IStakes.ZeroOperator.selector));
        vm.prank(member);
        stakes.join(address(run), Role.Trainer, address(0), BOND_WEI);
        join(0, Role.Trainer, BOND_WEI);
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), operatorOf(0)));
        vm.prank(member);
        stakes.join(address(run), Role.Trainer, operatorOf(0), BOND_WEI);
    }

    function test_RevertWhen_AllTrainerSlotsAreTaken() public {
        for (uint256 i = 0; i < 256; i++) {
            join(i, Role.Trainer, BOND_WEI);
        }
        expectError(abi.encodeWithSelector(IStakes.RunFull.selector, address(run), Role.Trainer, 256));
        joinAs(Role.Trainer, BOND_WEI);

        // Leaving frees nothing, withdrawing does.
        leaveAs(account(77));
        expectError(abi.encodeWithSelector(IStakes.RunFull.selector, address(run), Role.Trainer, 256));
        joinAs(Role.Trainer, BOND_WEI);
        skip(UNBONDING_SECONDS);
        withdrawAs(account(77));
        joinAs(Role.Trainer, BOND_WEI);
        assertEq(entry(member).slot, 77, "the one slot that is free");
        assertEq(entry(member).index, 256, "a new index");
    }

    function test_RevertWhen_AllSeatsAreTakenByHigherStakes() public {
        for (uint256 v = 0; v < 16; v++) {
            join(v, Role.Validator, STAKE_WEI + 1 ether);
        }
        expectError(
            abi.encodeWithSelector(
                IStakes.SeatsTaken.selector, address(run), STAKE_WEI + 1 ether, STAKE_WEI + 1 ether
            )
        );
        joinAs(Role.Validator, STAKE_WEI + 1 ether);
    }

    function test_RevertWhen_TokensAreMissing() public {
        expectError(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, member, 1_000 ether, 1_001 ether
            )
        );
        joinAs(Role.Trainer, 1_001 ether);
    }

    /* REVERTS: MEMBERS */

    function test_RevertWhen_NotAMember() public {
        bytes memory notMember = abi.encodeWithSelector(IStakes.NotMember.selector, address(run), member);
        vm.startPrank(member);
        expectError(notMember);
        stakes.addStake(address(run), 1);
        expectError(notMember);
        stakes.setOperator(address(run), stranger);
        expectError(notMember);
        stakes.leave(address(run));
        expectError(notMember);
        stakes.withdraw(address(run));
        vm.stopPrank();
        expectError(notMember);
        stakes.withdrawFor(address(run), member);
    }

    function test_RevertWhen_TheMemberHasWithdrawn() public {
        joinAs(Role.Trainer, BOND_WEI);
        leaveAs(member);
        skip(UNBONDING_SECONDS);
        withdrawAs(member);
        bytes memory notMember = abi.encodeWithSelector(IStakes.NotMember.selector, address(run), member);
        vm.startPrank(member);
        expectError(notMember);
        stakes.withdraw(address(run));
        expectError(notMember);
        stakes.setOperator(address(run), stranger);
        expectError(notMember);
        stakes.addStake(address(run), 1);
        expectError(notMember);
        stakes.leave(address(run));
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
        vm.prank(member);
        stakes.addStake(address(run), 0);
    }

    function test_RevertWhen_AlreadyLeft() public {
        joinAs(Role.Trainer, BOND_WEI);
        leaveAs(member);
        vm.startPrank(member);
        expectError(abi.encodeWithSelector(IStakes.AlreadyLeft.selector, address(run), 0));
        stakes.leave(address(run));
        expectError(abi.encodeWithSelector(IStakes.AlreadyLeft.selector, address(run), 0));
        stakes.addStake(address(run), 1);
    }

    function test_RevertWhen_NewOperatorIsZeroOrTaken() public {
        joinAs(Role.Trainer, BOND_WEI);
        join(0, Role.Trainer, BOND_WEI);
        vm.startPrank(member);
        expectError(abi.encodeWithSelector(IStakes.ZeroOperator.selector));
        stakes.setOperator(address(run), address(0));
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), operatorOf(0)));
        stakes.setOperator(address(run), operatorOf(0));
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), operator));
        stakes.setOperator(address(run), operator);
    }

    function test_RevertWhen_WithdrawingWithoutHavingLeft() public {
        joinAs(Role.Trainer, BOND_WEI);
        expectError(abi.encodeWithSelector(IStakes.NotLeft.selector, address(run), 0));
        withdrawAs(member);
    }

    function test_RevertWhen_TheLastRoundIsNotOver() public {
        joinAs(Role.Trainer, BOND_WEI);
        run.setRound(3, 4);
        leaveAs(member);
        skip(10 * UNBONDING_SECONDS);
        assertEq(stakes.withdrawableAt(address(run), 0), 0, "not known yet");
        expectError(abi.encodeWithSelector(IStakes.StillActive.selector, 0, 3));
        withdrawAs(member);
    }

    function test_RevertWhen_TheStakeIsBound() public {
        joinAs(Role.Trainer, BOND_WEI);
        run.setRound(3, 4);
        leaveAs(member);
        skip(1 days);
        run.setReleased(3, uint64(block.timestamp));
        uint64 until = uint64(block.timestamp) + UNBONDING_SECONDS;
        assertEq(stakes.withdrawableAt(address(run), 0), until, "from the end of the last round");
        vm.warp(until - 1);
        expectError(abi.encodeWithSelector(IStakes.StillBonded.selector, until));
        withdrawAs(member);
        expectError(abi.encodeWithSelector(IStakes.StillBonded.selector, until));
        stakes.withdrawFor(address(run), member);
    }

    /// @dev A round that the run has forgotten counts from when the member left.
    function test_RevertWhen_TheRunNamesATimeBeforeTheMemberLeft() public {
        joinAs(Role.Trainer, BOND_WEI);
        run.setRound(3, 4);
        leaveAs(member);
        run.setReleased(3, 1);
        uint64 until = uint64(block.timestamp) + UNBONDING_SECONDS;
        expectError(abi.encodeWithSelector(IStakes.StillBonded.selector, until));
        withdrawAs(member);
        vm.warp(until);
        withdrawAs(member);
    }

    function test_MemberAt() public {
        join(0, Role.Trainer, BOND_WEI);
        run.setRound(5, 8);
        joinAs(Role.Validator, STAKE_WEI);
        (address who, Role role, uint16 slot, uint32 from, uint32 until) = stakes.memberAt(address(run), 1);
        assertEq(who, member, "account");
        assertEq(uint8(role), uint8(Role.Validator), "role");
        assertEq(slot, 0, "slot");
        assertEq(from, 8, "active from");
        assertEq(until, type(uint32).max, "active until");
        leaveAs(account(0));
        (who, role, slot, from, until) = stakes.memberAt(address(run), 0);
        assertEq(who, account(0), "account");
        assertEq(uint8(role), uint8(Role.Trainer), "role");
        assertEq(until, 5, "left");
        (who, role,,,) = stakes.memberAt(address(run), 2);
        assertEq(who, address(0), "no such index");
        assertEq(uint8(role), uint8(Role.None), "no role");
    }

    function test_RevertWhen_TheIndexIsUnknown() public {
        expectError(abi.encodeWithSelector(IStakes.UnknownMember.selector, address(run), 0));
        stakes.withdrawableAt(address(run), 0);
    }

    /* REVERTS: SLASH */

    function test_RevertWhen_SlashIsMalformed() public {
        joinAs(Role.Validator, STAKE_WEI);
        vm.startPrank(address(run));
        expectError(abi.encodeWithSelector(IStakes.LengthMismatch.selector, 1, 2));
        stakes.slash(new uint32[](1), new uint128[](2), stranger, 0);
        expectError(abi.encodeWithSelector(IStakes.BadShare.selector, 10_001));
        stakes.slash(new uint32[](1), new uint128[](1), stranger, 10_001);
        uint32[] memory indices = new uint32[](1);
        indices[0] = 1;
        expectError(abi.encodeWithSelector(IStakes.UnknownMember.selector, address(run), 1));
        stakes.slash(indices, new uint128[](1), stranger, 0);
    }

    /// @dev Whoever slashes reaches the members of the run at its own address, and no others.
    function test_RevertWhen_AnotherSlashes() public {
        joinAs(Role.Validator, STAKE_WEI);
        expectError(abi.encodeWithSelector(IStakes.UnknownMember.selector, stranger, 0));
        vm.prank(stranger);
        stakes.slash(new uint32[](1), new uint128[](1), stranger, 10_000);
        HostileRun other = newRun(address(token));
        expectError(abi.encodeWithSelector(IStakes.UnknownMember.selector, address(other), 0));
        vm.prank(address(other));
        stakes.slash(new uint32[](1), new uint128[](1), stranger, 10_000);
    }

    /* EFFECTS: JOIN */

    function test_Join() public {
        join(0, Role.Trainer, BOND_WEI);
        run.setRound(5, 8);
        vm.expectEmit(address(stakes));
        emit IStakes.Joined(address(run), 1, member, operator, Role.Validator, 0, 8, STAKE_WEI + 7);
        joinAs(Role.Validator, STAKE_WEI + 7);

        Entry memory e = entry(member);
        assertEq(e.account, member, "account");
        assertEq(e.operator, operator, "operator");
        assertEq(uint8(e.role), uint8(Role.Validator), "role");
        assertEq(e.slot, 0, "slot of the role");
        assertEq(e.index, 1, "index in the registry");
        assertEq(e.activeFrom, 8, "active from the run's answer");
        assertEq(e.activeUntil, type(uint32).max, "active until");
        assertEq(e.stakeWei, STAKE_WEI + 7, "stake");
        assertEq(e.leftAt, 0, "not left");
        assertEq(stakes.registrySize(address(run)), 2, "registry");
        assertEq(stakes.tokenOf(address(run)), address(token), "token");
        assertEq(token.balanceOf(address(stakes)), BOND_WEI + STAKE_WEI + 7, "tokens held");
        (uint16 trainerSlots, uint16 validatorSlots) = stakes.slotCounts(address(run));
        assertEq(trainerSlots, 1, "trainer slots");
        assertEq(validatorSlots, 1, "validator slots");
        (uint16 trainers, uint16 validators) = stakes.activeCounts(address(run));
        assertEq(trainers, 1, "trainers");
        assertEq(validators, 1, "validators");
    }

    function test_TheRunIsToldOfEveryChange() public {
        join(0, Role.Trainer, BOND_WEI);
        joinAs(Role.Trainer, BOND_WEI);
        assertEq(run.lastHook(), "enroll", "joined");
        assertEq(run.lastOperator(), operator, "by its operator");
        assertEq(uint8(run.lastRole()), uint8(Role.Trainer), "role");
        assertEq(run.lastSlot(), 1, "slot");
        assertEq(run.lastRegistrySize(), 2, "registry");
        assertEq(run.lastTrainerSlots(), 2, "trainer slots");

        vm.prank(member);
        stakes.setOperator(address(run), stranger);
        assertEq(run.lastHook(), "rekey", "new operator");
        assertEq(run.lastOperator(), operator, "old one");
        assertEq(run.lastNewOperator(), stranger, "new one");

        leaveAs(member);
        assertEq(run.lastHook(), "retire", "left");
        assertEq(run.lastOperator(), stranger, "by its operator");

        skip(UNBONDING_SECONDS);
        withdrawAs(member);
        assertEq(run.lastHook(), "forget", "withdrew");
        assertEq(run.lastOperator(), stranger, "by its operator");
    }

    function test_LookUps() public {
        for (uint256 i = 0; i < 6; i++) {
            join(i, i < 3 ? Role.Trainer : Role.Validator, STAKE_WEI);
        }
        assertEq(stakes.entryAt(address(run), 1).account, account(1), "by index");
        assertEq(entry(account(5)).index, 5, "by account");
        assertEq(stakes.entryOfOperator(address(run), operatorOf(4)).index, 4, "by operator");
        assertEq(uint8(stakes.entryAt(address(run), 6).role), uint8(Role.None), "no such index");
        assertEq(uint8(entry(stranger).role), uint8(Role.None), "no such account");
        assertEq(
            uint8(stakes.entryOfOperator(address(run), account(0)).role),
            uint8(Role.None),
            "an account is no operator"
        );
        (uint32 index, Role role) = stakes.indexOfOperator(address(run), operatorOf(4));
        assertEq(index, 4, "index by operator");
        assertEq(uint8(role), uint8(Role.Validator), "role by operator");
        (, role) = stakes.indexOfOperator(address(run), account(0));
        assertEq(uint8(role), uint8(Role.None), "no role for an account");
        Entry[] memory page = stakes.entries(address(run), 4, 10);
        assertEq(page.length, 2, "clipped page");
        assertEq(page[0].account, account(4), "first of the page");
        assertEq(page[1].account, account(5), "last of the page");
        assertEq(stakes.entries(address(run), 1, 3).length, 3, "whole page");
        assertEq(stakes.entries(address(run), 6, 1).length, 0, "past the end");
        assertEq(stakes.entries(address(run), type(uint32).max, 1).length, 0, "far past the end");
    }

    /// @dev Settings are read when the first member joins; a run that changes them changes nothing.
    function test_TermsAreFixed() public {
        join(0, Role.Trainer, BOND_WEI);
        RunParams memory p;
        p.rewardToken = stranger;
        p.minTrainerBondWei = 1;
        run.setParams(p);
        expectError(abi.encodeWithSelector(IStakes.StakeTooLow.selector, 1, BOND_WEI));
        joinAs(Role.Trainer, 1);
        assertEq(stakes.tokenOf(address(run)), address(token), "token");
    }

    /* EFFECTS: SEATS AND WEIGHTS */

    function test_Snapshot() public {
        join(9, Role.Trainer, BOND_WEI);
        join(0, Role.Validator, STAKE_WEI);
        join(1, Role.Validator, 70_000 ether);
        join(2, Role.Validator, STAKE_WEI + 0.9 ether);
        (bytes32 lanes, uint32[16] memory seats) = stakes.snapshot(address(run));
        assertEq(uint256(lanes), 100 | (0xffff << 16) | (100 << 32), "rounded down, saturated");
        assertEq(seats[0], 1, "first seat");
        assertEq(seats[2], 3, "third seat");
        assertEq(seats[3], 0, "vacant");

        deal(account(2), 0.1 ether, address(stakes));
        vm.prank(account(2));
        stakes.addStake(address(run), 0.1 ether);
        leaveAs(account(0));
        (lanes, seats) = stakes.snapshot(address(run));
        assertEq(uint256(lanes), (0xffff << 16) | (101 << 32), "one left, one has more");
        assertEq(seats[0], 0, "vacated");

        joinAs(Role.Validator, STAKE_WEI);
        (lanes, seats) = stakes.snapshot(address(run));
        assertEq(entry(member).slot, 0, "the vacated seat");
        assertEq(seats[0], 4, "has a new validator");
        assertEq(uint256(lanes) & 0xffff, 100, "and its weight");

        slash(4, 50 ether, address(0), 0);
        slash(1, 50 ether, address(0), 0);
        (lanes,) = stakes.snapshot(address(run));
        assertEq(uint256(lanes) & 0xffff, 50, "slashed; a slash of who had the seat before does not count");
    }

    function test_EvictsTheLowestStake() public {
        for (uint256 v = 0; v < 16; v++) {
            join(v, Role.Validator, v == 5 ? STAKE_WEI : STAKE_WEI + 50 ether);
        }
        run.setRound(3, 4);
        vm.expectEmit(address(stakes));
        emit IStakes.Evicted(address(run), 5, 16);
        vm.expectEmit(address(stakes));
        emit IStakes.Left(address(run), 5, 4);
        joinAs(Role.Validator, STAKE_WEI + 1);

        Entry memory evicted = entry(account(5));
        assertEq(evicted.activeUntil, 4, "active until the epoch ends");
        assertEq(evicted.leftAt, block.timestamp, "left");
        assertEq(evicted.stakeWei, STAKE_WEI, "its stake is there");
        assertEq(entry(member).slot, 5, "its seat");
        assertEq(entry(member).activeFrom, 4, "from the next epoch on");
        (, uint32[16] memory seats) = stakes.snapshot(address(run));
        assertEq(seats[5], 16, "in the next snapshot");
        (, uint16 validators) = stakes.activeCounts(address(run));
        assertEq(validators, 16, "as many as before");
        expectError(abi.encodeWithSelector(IStakes.AlreadyLeft.selector, address(run), 5));
        leaveAs(account(5));

        // The newcomer is the lowest now, and can be evicted before it was ever active: it need not wait for a round.
        join(20, Role.Validator, STAKE_WEI + 2);
        assertEq(entry(member).activeUntil, 4, "never active");
        skip(UNBONDING_SECONDS);
        withdrawAs(member);
        assertEq(token.balanceOf(member), 1_000 ether, "all back");
        run.setReleased(4, uint64(block.timestamp - UNBONDING_SECONDS));
        withdrawAs(account(5));
        assertEq(token.balanceOf(account(5)), STAKE_WEI, "evicted one as well");
    }

    function test_AmongEqualsTheLastToHaveJoinedIsEvicted() public {
        for (uint256 v = 0; v < 16; v++) {
            join(v, Role.Validator, STAKE_WEI);
        }
        leaveAs(account(3));
        join(30, Role.Validator, STAKE_WEI); // index 16, seat 3
        joinAs(Role.Validator, STAKE_WEI + 1);
        assertEq(entry(account(30)).leftAt, block.timestamp, "the last one");
        assertEq(entry(member).slot, 3, "its seat");
    }

    function test_ASlashedValidatorIsTheLowest() public {
        for (uint256 v = 0; v < 16; v++) {
            join(v, Role.Validator, STAKE_WEI + 50 ether);
        }
        assertEq(slash(11, type(uint128).max, address(0), 0), STAKE_WEI + 50 ether, "all of it");
        joinAs(Role.Validator, STAKE_WEI);
        assertEq(entry(member).slot, 11, "its seat");
        run.setRound(9, 9);
        skip(UNBONDING_SECONDS);
        withdrawAs(account(11));
        assertEq(token.balanceOf(account(11)), 0, "nothing left to withdraw, but it can");
    }

    function test_TrainerSlotsAreUsedAgain() public {
        for (uint256 i = 0; i < 4; i++) {
            join(i, Role.Trainer, BOND_WEI);
        }
        leaveAs(account(1));
        leaveAs(account(2));
        skip(UNBONDING_SECONDS);
        stakes.withdrawFor(address(run), account(2));
        joinAs(Role.Trainer, BOND_WEI);
        assertEq(entry(member).slot, 2, "the freed one");
        assertEq(entry(member).index, 4, "index never used again");
        (uint16 trainerSlots,) = stakes.slotCounts(address(run));
        assertEq(trainerSlots, 4, "no more lanes than before");
        assertEq(run.lastTrainerSlots(), 4, "as the run is told");
    }

    /* EFFECTS: MEMBERS */

    function test_AddStake() public {
        joinAs(Role.Trainer, BOND_WEI);
        vm.expectEmit(address(stakes));
        emit IStakes.StakeAdded(address(run), 0, 50 ether);
        vm.prank(member);
        stakes.addStake(address(run), 50 ether);

        assertEq(entry(member).stakeWei, BOND_WEI + 50 ether, "stake");
        assertEq(token.balanceOf(address(stakes)), BOND_WEI + 50 ether, "tokens held");
    }

    function test_SetOperator() public {
        joinAs(Role.Trainer, BOND_WEI);
        deal(account(0), BOND_WEI, address(stakes));
        vm.expectEmit(address(stakes));
        emit IStakes.OperatorSet(address(run), 0, stranger);
        vm.prank(member);
        stakes.setOperator(address(run), stranger);

        assertEq(stakes.entryOfOperator(address(run), stranger).account, member, "new operator");
        assertEq(stakes.entryOfOperator(address(run), operator).account, member, "the old one stays its own");
        assertEq(stakes.entryOfOperator(address(run), operator).operator, stranger, "but acts no more");
        (uint32 index,) = stakes.indexOfOperator(address(run), operator);
        assertEq(index, 0, "yet leads to it");
        expectError(abi.encodeWithSelector(IStakes.OperatorTaken.selector, address(run), operator));
        vm.prank(account(0));
        stakes.join(address(run), Role.Trainer, operator, BOND_WEI);
        vm.prank(member);
        stakes.setOperator(address(run), operator);
        assertEq(stakes.entryOfOperator(address(run), stranger).operator, operator, "back again");
    }

    function test_LeaveAndWithdraw() public {
        joinAs(Role.Trainer, BOND_WEI);
        run.setRound(7, 8);
        vm.expectEmit(address(stakes));
        emit IStakes.Left(address(run), 0, 7);
        leaveAs(member);
        assertEq(entry(member).activeUntil, 7, "until the next round");
        (uint16 trainers,) = stakes.activeCounts(address(run));
        assertEq(trainers, 0, "active trainers");

        release(7);
        vm.expectEmit(address(stakes));
        emit IStakes.Withdrawn(address(run), 0, BOND_WEI);
        vm.prank(stranger);
        stakes.withdrawFor(address(run), member);

        Entry memory e = entry(member);
        assertEq(token.balanceOf(member), 1_000 ether, "to the account, whoever asks for it");
        assertEq(e.stakeWei, 0, "no stake");
        assertEq(e.operator, address(0), "no operator");
        assertEq(e.account, member, "the entry stays");
        assertEq(e.slot, 0, "with its slot");
        assertEq(e.activeUntil, 7, "and its time");
        assertEq(stakes.entryOfOperator(address(run), operator).index, 0, "its key stays its own");
    }

    /* EFFECTS: SLASH */

    function test_Slash() public {
        join(0, Role.Validator, STAKE_WEI);
        join(1, Role.Validator, STAKE_WEI);
        join(2, Role.Trainer, BOND_WEI);
        (uint32[] memory indices, uint128[] memory amounts) = (new uint32[](3), new uint128[](3));
        (indices[0], indices[1], indices[2]) = (0, 1, 2);
        (amounts[0], amounts[1], amounts[2]) = (33, 2 * STAKE_WEI, 5 ether);
        vm.expectEmit(address(stakes));
        emit IStakes.Slashed(address(run), 0, 33, 30, 3);
        vm.expectEmit(address(stakes));
        emit IStakes.Slashed(address(run), 1, STAKE_WEI, STAKE_WEI * 9 / 10, STAKE_WEI / 10);
        vm.prank(address(run));
        uint128 takenWei = stakes.slash(indices, amounts, stranger, 1_000);

        assertEq(takenWei, 33 + STAKE_WEI + 5 ether, "taken");
        assertEq(entry(account(0)).stakeWei, STAKE_WEI - 33, "part of one");
        assertEq(entry(account(1)).stakeWei, 0, "all of one, and no more");
        assertEq(token.balanceOf(stranger), 3 + STAKE_WEI / 10 + 0.5 ether, "a tenth to the challenger");
        assertEq(token.balanceOf(DEAD), takenWei - token.balanceOf(stranger), "the rest is burned");
        assertEq(token.balanceOf(address(stakes)), 2 * STAKE_WEI + BOND_WEI - takenWei, "held");
    }

    function test_SlashWithoutAChallengerBurnsAll() public {
        joinAs(Role.Trainer, BOND_WEI);
        assertEq(slash(0, 4 ether, address(0), 1_000), 4 ether, "taken");
        assertEq(token.balanceOf(DEAD), 4 ether, "burned");
        assertEq(slash(0, 0, stranger, 1_000), 0, "nothing asked, nothing taken");
    }

    function test_WhoHasLeftCanBeSlashed() public {
        joinAs(Role.Validator, STAKE_WEI);
        run.setRound(3, 4);
        leaveAs(member);
        assertEq(slash(0, 60 ether, address(0), 0), 60 ether, "taken");
        release(4);
        withdrawAs(member);
        assertEq(token.balanceOf(member), 940 ether, "the rest is paid back");
        assertEq(slash(0, 60 ether, address(0), 0), 0, "nothing is left");
    }
}
