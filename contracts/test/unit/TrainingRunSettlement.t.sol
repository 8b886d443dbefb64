// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Header, Phase, Role, RoundInfo, RoundStatus, RunParams, Status} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract TrainingRunSettlementTest is RunFixture {
    Header private header;

    /// @dev A round that may settle, and a header that is right.
    function prepare() private {
        startRun();
        toSettle();
        header = makeHeader(1 ether);
    }

    function attestAs(address operator) private {
        vm.prank(operator);
        run.attest(header, CID);
    }

    function refuses(bytes32 field, bytes32 have, bytes32 want) private {
        expectError(abi.encodeWithSelector(ITrainingRun.HeaderMismatch.selector, field, have, want));
        attestAs(validatorOperator(0));
    }

    /* REVERTS: WHO AND WHEN */

    function test_RevertWhen_AttestingInTheWrongPhase() public {
        startRun();
        header = makeHeader(0);
        expectError(abi.encodeWithSelector(ITrainingRun.WrongPhase.selector, 0, Phase.Train, Phase.Settle));
        attestAs(validatorOperator(0));
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        expectError(abi.encodeWithSelector(ITrainingRun.WrongPhase.selector, 0, Phase.Expired, Phase.Settle));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_AttestingToAnotherRound() public {
        prepare();
        header.round = 1;
        expectError(abi.encodeWithSelector(ITrainingRun.WrongRound.selector, 1, 0));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_AttestingAsAnother() public {
        prepare();
        expectError(abi.encodeWithSelector(ITrainingRun.NotOperator.selector, stranger));
        attestAs(stranger);
        expectError(abi.encodeWithSelector(ITrainingRun.WrongRole.selector, 2, Role.Trainer, Role.Validator));
        attestAs(trainerOperator(2));
    }

    function test_RevertWhen_AttestingWithoutVotingWeight() public {
        startRun();
        joinValidator(3);
        toSettle();
        header = makeHeader(1 ether);
        expectError(abi.encodeWithSelector(ITrainingRun.NoVotingWeight.selector, 3, 0));
        attestAs(validatorOperator(3));
    }

    function test_RevertWhen_AttestingTwice() public {
        prepare();
        attestAs(validatorOperator(0));
        expectError(abi.encodeWithSelector(ITrainingRun.AlreadyAttested.selector, 0, 0));
        attestAs(validatorOperator(0));
        header.stateRoot = keccak256("other");
        expectError(abi.encodeWithSelector(ITrainingRun.AlreadyAttested.selector, 0, 0));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_TheRoundIsTooShort() public {
        startRunCheckedIn();
        uint64 opened = uint64(block.timestamp);
        commit(0);
        commit(1);
        commit(2);
        reveal(0);
        reveal(1);
        reveal(2);
        draw();
        for (uint256 v = 0; v < 3; v++) {
            commitWeights(v);
        }
        for (uint256 v = 0; v < 3; v++) {
            revealWeights(v);
        }
        header = makeHeader(0);
        attestAs(validatorOperator(0));
        vm.warp(opened + 19);
        expectError(abi.encodeWithSelector(ITrainingRun.TooEarly.selector, opened + 20));
        attestAs(validatorOperator(1));
        vm.warp(opened + 20);
        attestAs(validatorOperator(1));

        assertEq(run.headerHash(0), keccak256(abi.encode(header)), "settled");
    }

    /* REVERTS: HEADER */

    function test_RevertWhen_TheHeaderIsOfAnotherRun() public {
        prepare();
        header.run = address(this);
        refuses("run", bytes32(uint256(uint160(address(this)))), bytes32(uint256(uint160(address(run)))));
    }

    function test_RevertWhen_TheAttemptIsNotZero() public {
        prepare();
        header.attempt = 1;
        refuses("attempt", bytes32(uint256(1)), 0);
    }

    function test_RevertWhen_ThePreviousHeaderIsAnother() public {
        prepare();
        header.previous = keccak256("other");
        refuses("previous", keccak256("other"), 0);
    }

    function test_RevertWhen_TheRevealsAreOthers() public {
        prepare();
        bytes32 right = header.reveals;
        header.reveals = 0;
        refuses("reveals", 0, right);
    }

    function test_RevertWhen_TheTreeHasAnotherSize() public {
        prepare();
        header.leafCount = 5;
        refuses("leafCount", bytes32(uint256(5)), bytes32(uint256(6)));
    }

    function test_RevertWhen_TheBudgetIsAnother() public {
        prepare();
        uint256 right = header.budgetWei;
        header.budgetWei++;
        refuses("budgetWei", bytes32(right + 1), bytes32(right));
    }

    function test_RevertWhen_TheTotalExceedsTheBudget() public {
        prepare();
        uint128 budgetWei = header.budgetWei;
        header.totalAmountWei = budgetWei + 1;
        expectError(abi.encodeWithSelector(ITrainingRun.BudgetExceeded.selector, budgetWei + 1, 0, budgetWei));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_TheTotalFalls() public {
        startRun();
        settleRound(2 ether);
        toSettle();
        header = makeHeader(0);
        uint128 budgetWei = header.budgetWei;
        header.totalAmountWei = 12 ether - 1;
        expectError(
            abi.encodeWithSelector(
                ITrainingRun.BudgetExceeded.selector, 12 ether - 1, 12 ether, 12 ether + budgetWei
            )
        );
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_TheCidIsTooLong() public {
        prepare();
        expectError(abi.encodeWithSelector(ITrainingRun.CidTooLong.selector, 129, 128));
        vm.prank(validatorOperator(0));
        run.attest(header, string(new bytes(129)));
    }

    /* EFFECTS */

    function test_OneOfThreeDoesNotSettle() public {
        prepare();
        vm.expectEmit(address(run));
        emit ITrainingRun.Attested(0, 1, keccak256(abi.encode(header)), CID);
        attestAs(validatorOperator(1));

        assertEq(run.status().attestMask, 2, "mask");
        assertEq(run.headerHash(0), 0, "not settled");
        assertEq(uint8(phase()), uint8(Phase.Settle), "phase");
    }

    function test_TwoOfThreeSettle() public {
        prepare();
        bytes32 hash = keccak256(abi.encode(header));
        attestAs(validatorOperator(2));
        vm.expectEmit(address(run));
        emit ITrainingRun.Attested(0, 0, hash, CID);
        vm.expectEmit(address(run));
        emit ITrainingRun.Settled(0, hash, header, CID);
        vm.expectEmit(true, false, false, false, address(run));
        emit ITrainingRun.RoundOpened(1, 0);
        attestAs(validatorOperator(0));

        RoundInfo memory info = run.roundInfo(0);
        assertEq(uint8(info.status), uint8(RoundStatus.Settled), "status");
        assertEq(info.headerHash, hash, "hash");
        assertEq(info.settledAt, block.timestamp, "time");
        assertEq(info.finalAt, block.timestamp + 50, "final");
        assertEq(info.settledBlock, block.number, "block");
        assertEq(info.totalAmountWei, 6 ether, "total");
        assertEq(run.finalAt(0), info.finalAt, "final");
        assertEq(run.headerHash(0), hash, "hash");
        assertEq(run.settledTotalWei(), 6 ether, "owed");
        Status memory s = run.status();
        assertEq(s.round, 1, "next round");
        assertTrue(s.hasSettled, "one settled");
        assertEq(s.lastSettledRound, 0, "last settled round");
        assertEq(s.lastHeaderHash, hash, "last header");
        assertEq(s.attestMask, 0, "nobody attested to the next one");
        assertEq(s.expected, 3, "who revealed is expected");
        assertEq(s.expectedValidatorMask, 7, "who revealed weights is expected");
        assertEq(run.roundInfo(1).poolAtOpenWei, POOL_WEI - 6 ether, "pool of the next round");
        assertEq(run.roundInfo(1).revealsHash, 0, "nothing revealed in it");
    }

    function test_DifferentHeadersDoNotAddUp() public {
        prepare();
        attestAs(validatorOperator(0));
        header.stateRoot = keccak256("other");
        attestAs(validatorOperator(1));
        assertEq(run.headerHash(0), 0, "one each");
        attestAs(validatorOperator(2));

        assertEq(run.headerHash(0), keccak256(abi.encode(header)), "two for the second");
    }

    function test_QuorumCountsStakeNotHeads() public {
        vm.prank(minter);
        token.mint(validator(0), 900 ether);
        joinAll();
        vm.startPrank(validator(0));
        token.approve(address(stakes), 900 ether);
        stakes.addStake(address(run), 300 ether);
        vm.stopPrank();
        run.start();
        toSettle();
        header = makeHeader(1 ether);
        attestAs(validatorOperator(1));
        attestAs(validatorOperator(2));
        assertEq(run.headerHash(0), 0, "200 of 600");
        attestAs(validatorOperator(0));

        assertEq(run.headerHash(0), keccak256(abi.encode(header)), "600 of 600");
    }

    function test_ValidatorsThatDidNotScoreMayAttest() public {
        startRun();
        toScore();
        commitWeights(0);
        skip(60);
        revealWeights(0);
        header = makeHeader(1 ether);
        attestAs(validatorOperator(1));
        attestAs(validatorOperator(2));

        assertEq(run.headerHash(0), keccak256(abi.encode(header)), "settled");
    }

    function test_TheNextHeaderNamesTheLastSettledOne() public {
        startRun();
        bytes32 first = keccak256(abi.encode(settleRound(1 ether)));
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(1);
        Header memory next = settleRound(1 ether);

        assertEq(next.round, 2, "round");
        assertEq(next.previous, first, "past the void round");
        assertEq(run.settledTotalWei(), 12 ether, "total");
        assertEq(run.headerHash(1), 0, "void");
        assertEq(run.headerHash(0), first, "as before");
    }

    /* BUDGET */

    function test_BudgetIsElapsedTimesRate() public {
        startRunCheckedIn();
        uint64 opened = uint64(block.timestamp);
        toScore();
        assertEq(run.budgetOf(1), 0, "not opened");
        for (uint256 v = 0; v < 3; v++) {
            commitWeights(v);
        }
        for (uint256 v = 0; v < 3; v++) {
            revealWeights(v);
        }

        uint64 ended = run.roundInfo(0).weightRevealEndsAt;
        assertEq(run.budgetOf(0), uint128(ended - opened) * 1 ether, "rate times length");
        skip(30);
        assertEq(run.budgetOf(0), uint128(ended - opened) * 1 ether, "does not grow while settling");
    }

    function test_BudgetIsNoMoreThanNominal() public {
        startRun();
        skip(60);
        skip(10 days);
        run.draw(0);
        skip(60);

        assertEq(run.budgetOf(0), 120 ether, "120 seconds");
    }

    function test_BudgetIsNoMoreThanThePool() public {
        RunParams memory p = defaultParams();
        (run, reputation) = createRun(p);
        fund(run, 7 ether);
        startRun();
        fund(run, 100 ether);
        toSettle();

        assertEq(run.budgetOf(0), 7 ether, "what it held when it opened");
        header = makeHeader(1 ether);
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));
        assertEq(run.roundInfo(1).poolAtOpenWei, 101 ether, "the rest in the next one");
    }

    function test_AWholeBudgetMayBePaid() public {
        prepare();
        header.totalAmountWei = header.budgetWei;
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));

        assertEq(run.settledTotalWei(), header.budgetWei, "all of it");
    }

    function test_AWithoutMoneyRunSettlesToo() public {
        (run, reputation) = createRun(defaultParams());
        startRun();
        toSettle();
        header = makeHeader(0);
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));

        assertEq(header.budgetWei, 0, "no budget");
        assertEq(run.headerHash(0), keccak256(abi.encode(header)), "settled");
    }
}
