// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {Header, Leaf, ProofNode} from "../../src/types/Types.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {FeeToken, HookToken} from "../utils/OddTokens.sol";
import {RunFixture} from "../utils/RunFixture.sol";
import {Tree} from "../utils/Tree.sol";

contract RewardsTest is RunFixture {
    Header private header;

    /// @dev Round 0 has settled and is final; each of the six members earned one ether.
    function settleAndWait() private {
        startRun();
        header = settleRound(1 ether);
        vm.warp(run.finalAt(0));
    }

    function claim(uint256 index) private {
        rewards.claim(address(run), header, leaves[index], proofOf(index));
    }

    /// @dev A hostile run with one leaf, for `account`, in round 0.
    function hostileClaim(HostileRun hostile, address account, uint128 amountWei)
        private
        returns (Header memory h, Leaf memory leaf)
    {
        leaf.account = account;
        leaf.cumulativeAmountWei = amountWei;
        ProofNode memory root = Tree.leafNode(leaf);
        h.run = address(hostile);
        h.root = root.hash;
        h.totalAmountWei = amountWei;
        h.leafCount = 1;
        hostile.settle(h);
    }

    /* REVERTS: FUND */

    function test_RevertWhen_FundingNothing() public {
        expectError(abi.encodeWithSelector(IRewards.ZeroAmount.selector));
        rewards.fund(address(run), 0);
    }

    function test_RevertWhen_FundingAFinishedRun() public {
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRewards.RunOver.selector, address(run)));
        rewards.fund(address(run), 1);
    }

    function test_RevertWhen_TheTokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        HostileRun odd = new HostileRun();
        odd.set(address(fee), sponsor, false, 0);
        fee.mint(address(this), 1_000);
        fee.approve(address(rewards), 1_000);
        expectError(abi.encodeWithSelector(IRewards.TransferMismatch.selector, 1_000, 990));
        rewards.fund(address(odd), 1_000);
    }

    /* REVERTS: CLAIM */

    function test_RevertWhen_TheRoundHasNotSettled() public {
        startRun();
        toSettle();
        header = makeHeader(1 ether);
        bytes32 hash = keccak256(abi.encode(header));
        ProofNode[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IRewards.UnknownHeader.selector, address(run), 0, hash, 0));
        rewards.claim(address(run), header, leaves[0], proof);
    }

    function test_RevertWhen_TheHeaderIsAnother() public {
        settleAndWait();
        bytes32 settled = run.headerHash(0);
        header.stateRoot = keccak256("other");
        bytes32 hash = keccak256(abi.encode(header));
        ProofNode[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IRewards.UnknownHeader.selector, address(run), 0, hash, settled));
        rewards.claim(address(run), header, leaves[0], proof);
    }

    function test_RevertWhen_TheHeaderIsNotFinal() public {
        settleAndWait();
        uint64 finalAt = run.finalAt(0);
        vm.warp(finalAt - 1);
        ProofNode[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IRewards.NotFinal.selector, 0, finalAt));
        rewards.claim(address(run), header, leaves[0], proof);
    }

    function test_RevertWhen_TheLeafIsNotInTheTree() public {
        settleAndWait();
        ProofNode[] memory proof = proofOf(0);
        Leaf memory leaf = leaves[0];
        leaf.cumulativeAmountWei++;
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 0));
        rewards.claim(address(run), header, leaf, proof);
        leaf = leaves[0];
        leaf.account = stranger;
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 0));
        rewards.claim(address(run), header, leaf, proof);
        expectError(abi.encodeWithSelector(IRewards.BadProof.selector, 0, 1));
        rewards.claim(address(run), header, leaves[1], proof);
    }

    function test_RevertWhen_ThereIsNothingToClaim() public {
        settleAndWait();
        claim(0);
        ProofNode[] memory proof = proofOf(0);
        expectError(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, address(run), trainer(0), 1 ether)
        );
        rewards.claim(address(run), header, leaves[0], proof);
    }

    function test_RevertWhen_AnOlderHeaderStatesLess() public {
        settleAndWait();
        Header memory older = header;
        Leaf memory olderLeaf = leaves[2];
        ProofNode[] memory olderProof = proofOf(2);
        header = settleRound(2 ether);
        vm.warp(run.finalAt(1));
        claim(2);
        assertEq(token.balanceOf(trainer(2)), 3 ether, "both rounds at once");
        expectError(
            abi.encodeWithSelector(IRewards.NothingToClaim.selector, address(run), trainer(2), 3 ether)
        );
        rewards.claim(address(run), older, olderLeaf, olderProof);
    }

    /* REVERTS: REFUND */

    function test_RevertWhen_RefundingBeforeTheEnd() public {
        expectError(abi.encodeWithSelector(IRewards.NotFinished.selector, address(run)));
        rewards.refund(address(run));
    }

    function test_RevertWhen_RefundingTwice() public {
        vm.prank(sponsor);
        run.close();
        rewards.refund(address(run));
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(run)));
        rewards.refund(address(run));
    }

    function test_RevertWhen_RefundingARunWithoutMoney() public {
        (run,) = createRun(defaultParams());
        vm.prank(sponsor);
        run.close();
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(run)));
        rewards.refund(address(run));
    }

    /* EFFECTS */

    function test_Fund() public {
        deal(token, stranger, 5 ether, address(rewards));
        vm.expectEmit(address(rewards));
        emit IRewards.Funded(address(run), stranger, 5 ether);
        vm.prank(stranger);
        rewards.fund(address(run), 5 ether);

        assertEq(rewards.funded(address(run)), POOL_WEI + 5 ether, "funded");
        assertEq(rewards.tokenOf(address(run)), address(token), "token");
        assertEq(token.balanceOf(address(rewards)), POOL_WEI + 5 ether, "tokens held");
    }

    function test_AnyoneClaimsForTheAccount() public {
        settleAndWait();
        ProofNode[] memory proof = proofOf(4);
        vm.expectEmit(address(rewards));
        emit IRewards.Claimed(address(run), validator(1), 0, 1 ether);
        vm.prank(stranger);
        rewards.claim(address(run), header, leaves[4], proof);

        assertEq(token.balanceOf(validator(1)), 1 ether, "to the account");
        assertEq(token.balanceOf(stranger), 0, "not to the caller");
        assertEq(rewards.claimed(address(run), validator(1)), 1 ether, "claimed");
        assertEq(rewards.claimedTotal(address(run)), 1 ether, "claimed by all");
    }

    function test_EveryoneIsPaidOverManyRounds() public {
        settleAndWait();
        claim(0);
        for (uint256 k = 0; k < 3; k++) {
            header = settleRound(3 ether);
            vm.warp(max(block.timestamp, run.finalAt(header.round)));
            claim(1);
        }
        for (uint256 i = 0; i < 6; i++) {
            if (i != 1) claim(i);
        }

        for (uint256 i = 0; i < 6; i++) {
            assertEq(token.balanceOf(leaves[i].account), 10 ether, "one and three times three");
        }
        assertEq(rewards.claimedTotal(address(run)), run.settledTotalWei(), "all that was owed");
        assertEq(token.balanceOf(address(rewards)), POOL_WEI - 60 ether, "the rest is there");
    }

    function test_Refund() public {
        startRun();
        vm.prank(sponsor);
        run.close();
        header = settleRound(1 ether);
        vm.expectEmit(address(rewards));
        emit IRewards.Refunded(address(run), sponsor, POOL_WEI - 6 ether);
        vm.prank(stranger);
        rewards.refund(address(run));

        assertEq(token.balanceOf(sponsor), POOL_WEI - 6 ether, "to the sponsor");
        vm.warp(run.finalAt(0));
        for (uint256 i = 0; i < 6; i++) {
            claim(i);
        }
        assertEq(token.balanceOf(address(rewards)), 0, "and what was owed, to the members");
    }

    /* HOSTILE RUNS, SETTLEMENTS AND TOKENS */

    /// @dev Two thirds of the validators sign a header whose leaves take back what was earned before.
    function test_RewrittenEarningsPayNoMoreThanWasPromised() public {
        settleAndWait();
        claim(0);
        toSettle();
        leaves[0].cumulativeAmountWei = 0;
        leaves[1].cumulativeAmountWei += 1 ether;
        header = headerOver(leaves);
        attest(0, header);
        attest(1, header);
        vm.warp(run.finalAt(1));
        for (uint256 i = 2; i < 6; i++) {
            claim(i);
        }
        ProofNode[] memory proof = proofOf(1);
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(run), 2 ether, 1 ether));
        rewards.claim(address(run), header, leaves[1], proof);
    }

    function test_AHostileRunCantClaimOthersMoney() public {
        HostileRun hostile = new HostileRun();
        hostile.set(address(token), stranger, false, type(uint128).max);
        (Header memory h, Leaf memory leaf) = hostileClaim(hostile, stranger, 5 ether);
        expectError(abi.encodeWithSelector(IRewards.PoolExceeded.selector, address(hostile), 5 ether, 0));
        rewards.claim(address(hostile), h, leaf, new ProofNode[](0));
    }

    function test_AHostileRunCantBeRefundedTwice() public {
        HostileRun hostile = new HostileRun();
        hostile.set(address(token), stranger, false, type(uint128).max);
        deal(token, stranger, 5 ether, address(rewards));
        vm.prank(stranger);
        rewards.fund(address(hostile), 5 ether);
        (Header memory h, Leaf memory leaf) = hostileClaim(hostile, stranger, 3 ether);
        rewards.claim(address(hostile), h, leaf, new ProofNode[](0));
        hostile.set(address(token), stranger, true, 0);
        rewards.refund(address(hostile));
        assertEq(token.balanceOf(stranger), 5 ether, "its own money");
        expectError(abi.encodeWithSelector(IRewards.NothingToRefund.selector, address(hostile)));
        rewards.refund(address(hostile));

        assertEq(token.balanceOf(address(rewards)), POOL_WEI, "the others' is there");
    }

    function test_AHostileRunCantSwitchItsToken() public {
        HookToken worthless = new HookToken();
        HostileRun hostile = new HostileRun();
        hostile.set(address(worthless), stranger, false, type(uint128).max);
        worthless.mint(address(this), 5 ether);
        worthless.approve(address(rewards), 5 ether);
        rewards.fund(address(hostile), 5 ether);
        hostile.set(address(token), stranger, true, 0);
        rewards.refund(address(hostile));

        assertEq(worthless.balanceOf(stranger), 5 ether, "what was funded");
        assertEq(token.balanceOf(stranger), 0, "nothing else");
    }

    function test_ATokenCantReenter() public {
        HookToken hook = new HookToken();
        HostileRun hostile = new HostileRun();
        hostile.set(address(hook), stranger, true, 0);
        hook.mint(address(this), 10);
        hook.approve(address(rewards), 10);
        hostile.set(address(hook), stranger, false, 0);
        rewards.fund(address(hostile), 10);
        hostile.set(address(hook), stranger, true, 0);
        hook.setHook(address(rewards), abi.encodeCall(IRewards.refund, (address(hostile))));
        rewards.refund(address(hostile));

        assertTrue(hook.callbackFailed(), "refused");
        assertEq(
            bytes4(hook.callbackResult()),
            bytes4(keccak256("ReentrancyGuardReentrantCall()")),
            "for reentering"
        );
    }
}
