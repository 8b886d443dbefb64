// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {ClaimLeaf, OpenedTree} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {FalseToken, FeeToken, OpenToken} from "../utils/OddTokens.sol";
import {RewardsFixture} from "../utils/RewardsFixture.sol";

/// @dev The run is one that does as it is told: see `Rewards.tree`.
contract RewardsTest is RewardsFixture {
    /* REVERTS: FUND */

    function test_RevertWhen_FundingNothing() public {
        expectError(abi.encodeWithSelector(IRewards.ZeroAmount.selector));
        rewards.fund(address(run), 0);
    }

    function test_RevertWhen_FundingAFinishedRun() public {
        finish();
        expectError(abi.encodeWithSelector(IRewards.RunOver.selector, address(run)));
        rewards.fund(address(run), 1);
    }

    function test_RevertWhen_ThePoolWouldBeTooLarge() public {
        uint128 limitWei = type(uint96).max;
        uint128 restWei = limitWei - POOL_WEI;
        deal(stranger, limitWei, address(rewards));
        vm.startPrank(stranger);
        expectError(abi.encodeWithSelector(IRewards.PoolTooLarge.selector, address(run), limitWei));
        rewards.fund(address(run), restWei + 1);
        expectError(abi.encodeWithSelector(IRewards.PoolTooLarge.selector, address(run), limitWei));
        rewards.fund(address(run), type(uint128).max);
        rewards.fund(address(run), restWei);
        assertEq(rewards.funded(address(run)), limitWei, "up to the limit");
    }

    function test_RevertWhen_TheTokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        HostileRun odd = newRun(address(fee));
        fee.mint(address(this), 1_000);
        fee.approve(address(rewards), 1_000);
        expectError(abi.encodeWithSelector(IRewards.TransferMismatch.selector, 1_000, 990));
        rewards.fund(address(odd), 1_000);
    }

    function test_RevertWhen_TheTokenSaysFalse() public {
        FalseToken odd = new FalseToken();
        HostileRun oddRun = newRun(address(odd));
        fundWith(oddRun, OpenToken(address(odd)), 1_000);
        odd.mint(address(this), 1);
        odd.approve(address(rewards), 1);
        odd.setRefuses(true);
        bytes memory failed =
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(odd));
        expectError(failed);
        rewards.fund(address(oddRun), 1);
        (OpenedTree memory t, ClaimLeaf memory leaf) = alone(oddRun, 0, stranger, 5);
        expectError(failed);
        rewards.claim(address(oddRun), t, leaf, new bytes32[](0));
        assertEq(rewards.claimed(address(oddRun), stranger), 0, "nothing is lost");
    }

    /* REVERTS: CLAIM */

    function test_RevertWhen_TheRoundHasNoHeader() public {
        settle(0, 1 ether);
        bytes32 hash = headerHash();
        run.setHeader(0, 0, false);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(0), proofOf(0));
        expectError(abi.encodeWithSelector(IRewards.UnknownHeader.selector, address(run), 0, hash, 0));
        rewards.claim(address(run), opened, leaf, proof);
    }

    function test_RevertWhen_TheHeaderIsAnother() public {
        settle(0, 1 ether);
        bytes32 stands = headerHash();
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(0), proofOf(0));
        for (uint256 field = 0; field < 5; field++) {
            OpenedTree memory other = opened;
            if (field == 0) other.bodyHash = 0;
            else if (field == 1) other.tree.root = 0;
            else if (field == 2) other.tree.totalWeight++;
            else if (field == 3) other.tree.totalAmountWei++;
            else other.tree.leafCount++;
            OpenedTree memory kept = opened;
            opened = other;
            bytes32 hash = headerHash();
            opened = kept;
            expectError(
                abi.encodeWithSelector(IRewards.UnknownHeader.selector, address(run), 0, hash, stands)
            );
            rewards.claim(address(run), other, leaf, proof);
        }
    }

    function test_RevertWhen_TheHeaderIsNotFinal() public {
        settle(3, 1 ether);
        run.setHeader(3, headerHash(), false);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(0), proofOf(0));
        expectError(abi.encodeWithSelector(IRewards.NotFinal.selector, 3));
        rewards.claim(address(run), opened, leaf, proof);
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(run)));
        rewards.claimNext(address(run), 6, leaf, proof);
    }

    function test_RevertWhen_TheLeafIsNotInTheTree() public {
        settle(0, 1 ether);
        bytes32[] memory proof = proofOf(0);
        for (uint256 field = 0; field < 5; field++) {
            ClaimLeaf memory leaf = claimLeaf(0);
            if (field == 0) leaf.index = 1;
            else if (field == 1) leaf.account = stranger;
            else if (field == 2) leaf.cumulativeAmountWei++;
            else if (field == 3) leaf.detailHash = 0;
            else leaf.index = 8; // the same path in a tree of eight, beyond its leaves
            expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, leaf.index));
            rewards.claim(address(run), opened, leaf, proof);
        }
    }

    function test_RevertWhen_TheProofHasAnotherLength() public {
        settle(0, 1 ether);
        ClaimLeaf memory leaf = claimLeaf(0);
        bytes32[] memory whole = proofOf(0);
        for (uint256 length = 0; length < 6; length++) {
            if (length == whole.length) continue;
            bytes32[] memory proof = new bytes32[](length);
            for (uint256 i = 0; i < length && i < whole.length; i++) {
                proof[i] = whole[i];
            }
            expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 0));
            rewards.claim(address(run), opened, leaf, proof);
        }
    }

    /// @dev A final header whose root is zero has no leaves at all.
    function test_RevertWhen_TheRootIsZero() public {
        settle(0, 1 ether);
        opened.tree.root = 0;
        run.setHeader(0, headerHash(), true);
        ClaimLeaf memory leaf = claimLeaf(0);
        leaf.index = 6;
        bytes32[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 6));
        rewards.claim(address(run), opened, leaf, proof);
        opened.tree.leafCount = 0;
        run.setHeader(0, headerHash(), true);
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 6));
        rewards.claim(address(run), opened, leaf, proof);
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(run)));
        rewards.claimNext(address(run), 0, leaf, proof);
    }

    function test_RevertWhen_ThereIsNothingToClaim() public {
        settle(0, 1 ether);
        claim(0);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(0), proofOf(0));
        bytes memory nothing =
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, address(run), account(0), 1 ether);
        expectError(nothing);
        rewards.claim(address(run), opened, leaf, proof);
        expectError(nothing);
        rewards.claimNext(address(run), 6, leaf, proof);
    }

    function test_RevertWhen_AnOlderHeaderStatesLess() public {
        settle(0, 1 ether);
        OpenedTree memory older = opened;
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(2), proofOf(2));
        settle(1, 3 ether);
        claim(2);
        assertEq(token.balanceOf(account(2)), 3 ether, "both rounds at once");
        expectError(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, address(run), account(2), 3 ether)
        );
        rewards.claim(address(run), older, leaf, proof);
    }

    function test_RevertWhen_ClaimNextIsNotUnderThePurse() public {
        settle(0, 1 ether);
        claim(0);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(1), proofOf(1));
        bytes memory noPurse = abi.encodeWithSelector(IRewards.NoPurse.selector, address(run));
        expectError(noPurse);
        rewards.claimNext(address(run), 5, leaf, proof);
        expectError(noPurse);
        rewards.claimNext(address(run), 9, leaf, proof);
        leaf.cumulativeAmountWei++;
        expectError(noPurse);
        rewards.claimNext(address(run), 6, leaf, proof);
        leaf = claimLeaf(1);
        HostileRun other = newRun(address(token));
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(other)));
        rewards.claimNext(address(other), 6, leaf, proof);
        settle(1, 2 ether);
        claim(0);
        expectError(noPurse);
        rewards.claimNext(address(run), 6, leaf, proof);
    }

    function test_RevertWhen_NothingWasFunded() public {
        run = newRun(address(token));
        settle(0, 1 ether);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(0), proofOf(0));
        expectError(abi.encodeWithSelector(IRewards.NoPurse.selector, address(run)));
        rewards.claim(address(run), opened, leaf, proof);
    }

    function test_RevertWhen_ManyDoNotFit() public {
        settle(0, 1 ether);
        expectError(abi.encodeWithSelector(IRewards.LengthMismatch.selector, 2, 1));
        rewards.claimMany(address(run), opened, new ClaimLeaf[](2), new bytes32[][](1));

        claim(1);
        (ClaimLeaf[] memory many, bytes32[][] memory proofs) = (new ClaimLeaf[](2), new bytes32[][](2));
        (many[0], many[1]) = (claimLeaf(0), claimLeaf(1));
        (proofs[0], proofs[1]) = (proofOf(0), proofOf(1));
        expectError(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, address(run), account(1), 1 ether)
        );
        rewards.claimMany(address(run), opened, many, proofs);
        many[1].index = 2;
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 2));
        rewards.claimMany(address(run), opened, many, proofs);
        assertEq(token.balanceOf(account(0)), 0, "all or none");
    }

    /* REVERTS: REFUND */

    function test_RevertWhen_RefundingBeforeTheEnd() public {
        expectError(abi.encodeWithSelector(IRewards.NotFinished.selector, address(run)));
        rewards.refund(address(run));
    }

    function test_RevertWhen_TheLastHeaderIsNotFinal() public {
        settle(0, 1 ether);
        run.setHeader(0, headerHash(), false);
        finish();
        expectError(
            abi.encodeWithSelector(
                IRewards.NotCertain.selector, address(run), block.timestamp + CLAIM_PERIOD_SECONDS
            )
        );
        rewards.refund(address(run));
    }

    function test_RevertWhen_ARoundMustBeSettledAgain() public {
        finish();
        run.setBehind(true);
        expectError(
            abi.encodeWithSelector(
                IRewards.NotCertain.selector, address(run), block.timestamp + CLAIM_PERIOD_SECONDS
            )
        );
        rewards.refund(address(run));
    }

    function test_RevertWhen_RefundingTwice() public {
        finish();
        rewards.refund(address(run));
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(run)));
        rewards.refund(address(run));
    }

    function test_RevertWhen_RefundingARunWithoutMoney() public {
        run = newRun(address(token));
        finish();
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(run)));
        rewards.refund(address(run));
    }

    /* EFFECTS: FUND AND CLAIM */

    function test_Fund() public {
        deal(stranger, 5 ether, address(rewards));
        vm.expectEmit(address(rewards));
        emit IRewards.Funded(address(run), stranger, 5 ether);
        vm.prank(stranger);
        rewards.fund(address(run), 5 ether);

        assertEq(rewards.funded(address(run)), POOL_WEI + 5 ether, "funded");
        assertEq(rewards.held(address(run)), POOL_WEI + 5 ether, "held");
        assertEq(rewards.tokenOf(address(run)), address(token), "token");
        assertEq(token.balanceOf(address(rewards)), POOL_WEI + 5 ether, "tokens held");
    }

    function test_AnyoneClaimsForTheAccount() public {
        settle(0, 1 ether);
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(4), proofOf(4));
        vm.expectEmit(address(rewards));
        emit IRewards.PurseOpened(address(run), 0, opened.tree.root, 6, 6 ether);
        vm.expectEmit(address(rewards));
        emit IRewards.Claimed(address(run), account(4), 1 ether);
        vm.prank(stranger);
        rewards.claim(address(run), opened, leaf, proof);

        assertEq(token.balanceOf(account(4)), 1 ether, "to the account");
        assertEq(token.balanceOf(stranger), 0, "not to the caller");
        assertEq(rewards.claimed(address(run), account(4)), 1 ether, "claimed");
        assertEq(rewards.claimedTotal(address(run)), 1 ether, "claimed by all");
        (uint32 round, bytes32 root, uint32 leafCount, uint128 leftWei) = rewards.purse(address(run));
        assertEq(round, 0, "purse's round");
        assertEq(root, opened.tree.root, "purse's root");
        assertEq(leafCount, 6, "purse's leaves");
        assertEq(leftWei, 5 ether, "purse");
    }

    /// @dev Under a header that was shown to be final the run is not asked again, whatever it would answer now.
    function test_TheNextClaimAsksNobody() public {
        settle(0, 1 ether);
        claim(0);
        run.setHeader(0, 0, false);
        vm.expectCall(address(run), "", 0);
        claim(1);
        claimNext(2);
        assertEq(token.balanceOf(account(1)), 1 ether, "by claim");
        assertEq(token.balanceOf(account(2)), 1 ether, "by claimNext");
    }

    function test_EveryoneIsPaidOverManyRounds() public {
        settle(0, 1 ether);
        claim(0);
        for (uint32 k = 1; k < 4; k++) {
            settle(k, 1 ether + 3 ether * k);
            claim(1);
        }
        for (uint256 i = 0; i < 6; i++) {
            if (i % 2 == 0) claimNext(i);
            else if (i != 1) claim(i);
        }

        for (uint256 i = 0; i < 6; i++) {
            assertEq(token.balanceOf(account(i)), 10 ether, "one and three times three");
        }
        assertEq(rewards.claimedTotal(address(run)), 60 ether, "all that was owed");
        assertEq(token.balanceOf(address(rewards)), POOL_WEI - 60 ether, "the rest is there");
    }

    function test_ClaimMany() public {
        settle(0, 2 ether);
        (ClaimLeaf[] memory many, bytes32[][] memory proofs) = (new ClaimLeaf[](6), new bytes32[][](6));
        for (uint256 i = 0; i < 6; i++) {
            (many[i], proofs[i]) = (claimLeaf(5 - i), proofOf(5 - i));
        }
        rewards.claimMany(address(run), opened, many, proofs);
        for (uint256 i = 0; i < 6; i++) {
            assertEq(token.balanceOf(account(i)), 2 ether, "each");
        }
        rewards.claimMany(address(run), opened, new ClaimLeaf[](0), new bytes32[][](0));
    }

    /// @dev Older final headers pay what they state, from the purse of the newest; the purse does not move back.
    function test_AnOlderHeaderPaysToo() public {
        settle(0, 1 ether);
        OpenedTree memory older = opened;
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(3), proofOf(3));
        settle(1, 4 ether);
        claim(0);
        rewards.claim(address(run), older, leaf, proof);
        assertEq(token.balanceOf(account(3)), 1 ether, "the older amount");
        claimNext(3);
        assertEq(token.balanceOf(account(3)), 4 ether, "the rest");
        (uint32 round,,, uint128 leftWei) = rewards.purse(address(run));
        assertEq(round, 1, "purse stays");
        assertEq(leftWei, 16 ether, "and pays both");
    }

    /// @dev Two headers with one tree (a round that paid nobody) have one purse.
    function test_TheSameTreeAgain() public {
        settle(0, 1 ether);
        claim(0);
        opened.round = 1;
        run.setHeader(1, headerHash(), true);
        claim(1);
        claimNext(2);
        assertEq(rewards.claimedTotal(address(run)), 3 ether, "counted once");
    }

    /* EFFECTS: REFUND */

    function test_RefundOfWhatNoHeaderPromises() public {
        settle(0, 1 ether);
        claim(0);
        finish();
        vm.expectEmit(address(rewards));
        emit IRewards.Refunded(address(run), sponsor, POOL_WEI - 6 ether);
        vm.prank(stranger);
        rewards.refund(address(run));

        assertEq(token.balanceOf(sponsor), POOL_WEI - 6 ether, "to the sponsor");
        assertEq(rewards.refunded(address(run)), POOL_WEI - 6 ether, "refunded");
        assertEq(rewards.held(address(run)), 6 ether, "held");
        for (uint256 i = 1; i < 6; i++) {
            claim(i);
        }
        assertEq(token.balanceOf(address(rewards)), 0, "and what was owed, to the members");
    }

    function test_RefundOfWhatNobodyClaimed() public {
        settle(0, 1 ether);
        claim(0);
        finish();
        rewards.refund(address(run));
        skip(CLAIM_PERIOD_SECONDS - 1);
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(run)));
        rewards.refund(address(run));
        claim(1);
        skip(1);
        run.setBehind(true); // does not matter any more
        rewards.refund(address(run));

        assertEq(token.balanceOf(sponsor), POOL_WEI - 2 ether, "all but what was claimed");
        assertEq(token.balanceOf(address(rewards)), 0, "nothing is left");
        assertEq(rewards.claimedTotal(address(run)), 2 ether, "claimed");
        (ClaimLeaf memory leaf, bytes32[] memory proof) = (claimLeaf(2), proofOf(2));
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(run), 1 ether, 0));
        rewards.claim(address(run), opened, leaf, proof);
    }

    function test_RefundOfARunThatNeverSettled() public {
        finish();
        rewards.refund(address(run));
        assertEq(token.balanceOf(sponsor), POOL_WEI, "everything");
    }
}
