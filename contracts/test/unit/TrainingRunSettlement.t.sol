// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunLife} from "../../src/interfaces/IRunCore.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Header, Phase, Role, RoundInfo, RoundStatus, RunParams, Status} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract TrainingRunSettlementTest is RunFixture {
    Header private header;

    /// @dev A round that may settle, and a header that is right.
    function prepare() private {
        startRun();
        toSettle();
        header = makeHeader(current(), 6 ether);
    }

    function attestAs(address operator) private {
        vm.prank(operator);
        run.attest(header, CID);
    }

    function refuses(bytes32 field, bytes32 have, bytes32 want) private {
        expectError(abi.encodeWithSelector(IRunLife.HeaderMismatch.selector, field, have, want));
        attestAs(validatorOperator(0));
    }

    /* REVERTS: WHO AND WHEN */

    function test_RevertWhen_AttestingInTheWrongPhase() public {
        startRun();
        header = makeHeader(current(), 0);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Train, Phase.Settle));
        attestAs(validatorOperator(0));
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Expired, Phase.Settle));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_AttestingToAnotherRound() public {
        prepare();
        header.body.round = 1;
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 1, 0));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_AttestingAsAnother() public {
        prepare();
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        attestAs(stranger);
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, trainerOperator(2), Role.Trainer, Role.Validator
            )
        );
        attestAs(trainerOperator(2));
    }

    function test_RevertWhen_AttestingWithoutVotingWeight() public {
        startRun();
        joinValidator(3);
        toSettle();
        header = makeHeader(current(), 6 ether);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 3, 0));
        attestAs(validatorOperator(3));
    }

    function test_RevertWhen_AttestingTwice() public {
        prepare();
        attestAs(validatorOperator(0));
        expectError(abi.encodeWithSelector(IRunLife.AlreadyAttested.selector, 0, 0));
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
        header = makeHeader(current(), 0);
        attestAs(validatorOperator(0));
        vm.warp(opened + 19);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, opened + 20));
        attestAs(validatorOperator(1));
        vm.warp(opened + 20);
        attestAs(validatorOperator(1));

        assertEq(run.headerHash(0), hashOf(header), "settled");
    }

    /* REVERTS: HEADER */

    function test_RevertWhen_TheHeaderIsOfAnotherRun() public {
        prepare();
        header.body.run = address(this);
        refuses("run", bytes32(uint256(uint160(address(this)))), bytes32(uint256(uint160(address(run)))));
    }

    function test_RevertWhen_TheAttemptIsNotZero() public {
        prepare();
        header.body.attempt = 1;
        refuses("attempt", bytes32(uint256(1)), 0);
    }

    function test_RevertWhen_ThePreviousHeaderIsAnother() public {
        prepare();
        header.body.previous = keccak256("other");
        refuses("previous", keccak256("other"), 0);
    }

    function test_RevertWhen_TheRevealsAreOthers() public {
        prepare();
        bytes32 right = header.body.reveals;
        header.body.reveals = 0;
        refuses("reveals", 0, right);
    }

    function test_RevertWhen_TheTreeHasAnotherSize() public {
        prepare();
        header.tree.leafCount = 5;
        refuses("leafCount", bytes32(uint256(5)), bytes32(uint256(6)));
    }

    function test_RevertWhen_TheBudgetIsAnother() public {
        prepare();
        uint256 right = header.body.budgetWei;
        header.body.budgetWei++;
        refuses("budgetWei", bytes32(right + 1), bytes32(right));
    }

    function test_RevertWhen_TheTotalExceedsTheBudget() public {
        prepare();
        uint128 budgetWei = header.body.budgetWei;
        header.tree.totalAmountWei = budgetWei + 1;
        expectError(abi.encodeWithSelector(IRunLife.BudgetExceeded.selector, budgetWei + 1, 0, budgetWei));
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_TheTotalFalls() public {
        startRun();
        settleRound(12 ether);
        toSettle();
        header = makeHeader(current(), 0);
        uint128 budgetWei = header.body.budgetWei;
        header.tree.totalAmountWei = 12 ether - 1;
        expectError(
            abi.encodeWithSelector(
                IRunLife.BudgetExceeded.selector, 12 ether - 1, 12 ether, 12 ether + budgetWei
            )
        );
        attestAs(validatorOperator(0));
    }

    function test_RevertWhen_TheCidIsTooLong() public {
        prepare();
        expectError(abi.encodeWithSelector(IRunBase.CidTooLong.selector, 129, 128));
        vm.prank(validatorOperator(0));
        run.attest(header, string(new bytes(129)));
    }

    /* EFFECTS */

    function test_OneOfThreeDoesNotSettle() public {
        prepare();
        vm.expectEmit(address(run));
        emit IRunBase.Attested(0, 1, hashOf(header), CID);
        attestAs(validatorOperator(1));

        assertEq(run.status().attestMask, 2, "mask");
        assertEq(run.headerHash(0), 0, "not settled");
        assertEq(uint8(phase()), uint8(Phase.Settle), "phase");
    }

    function test_TwoOfThreeSettle() public {
        prepare();
        bytes32 hash = hashOf(header);
        attestAs(validatorOperator(2));
        vm.expectEmit(address(run));
        emit IRunBase.Attested(0, 0, hash, CID);
        vm.expectEmit(address(run));
        emit IRunBase.Settled(0, 0, hash, header, CID, 5);
        vm.expectEmit(true, false, false, false, address(run));
        emit IRunBase.RoundOpened(1, 0, 0, 0, 0, 0);
        attestAs(validatorOperator(0));

        RoundInfo memory info = run.roundInfo(0);
        assertEq(uint8(info.status), uint8(RoundStatus.Settled), "status");
        assertEq(info.headerHash, hash, "hash");
        assertTrue(info.paid, "paid");
        assertEq(info.signerMask, 5, "signers");
        assertEq(info.finalAt, block.timestamp + 50, "final");
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
        assertEq(run.roundInfo(1).heldAtOpenWei, POOL_WEI, "pool of the next round");
        assertEq(
            run.roundInfo(1).revealsHash,
            keccak256(abi.encode(keccak256("emerit/reveals/v1"), address(run), uint32(1))),
            "nothing revealed in it"
        );
    }

    function test_DifferentHeadersDoNotAddUp() public {
        prepare();
        attestAs(validatorOperator(0));
        header.body.stateRoot = keccak256("other");
        attestAs(validatorOperator(1));
        assertEq(run.headerHash(0), 0, "one each");
        attestAs(validatorOperator(2));

        assertEq(run.headerHash(0), hashOf(header), "two for the second");
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
        header = makeHeader(current(), 6 ether);
        attestAs(validatorOperator(1));
        attestAs(validatorOperator(2));
        assertEq(run.headerHash(0), 0, "200 of 600");
        attestAs(validatorOperator(0));

        assertEq(run.headerHash(0), hashOf(header), "600 of 600");
    }

    function test_ValidatorsThatDidNotScoreMayAttest() public {
        startRun();
        toScore();
        commitWeights(0);
        skip(60);
        revealWeights(0);
        header = makeHeader(current(), 6 ether);
        attestAs(validatorOperator(1));
        attestAs(validatorOperator(2));

        assertEq(run.headerHash(0), hashOf(header), "settled");
    }

    function test_TheNextHeaderNamesTheLastSettledOne() public {
        startRun();
        bytes32 first = hashOf(settleRound(6 ether));
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(1);
        Header memory next = settleRound(6 ether);

        assertEq(next.body.round, 2, "round");
        assertEq(next.body.previous, first, "past the void round");
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
        header = makeHeader(current(), 6 ether);
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));
        assertEq(run.roundInfo(1).heldAtOpenWei, 107 ether, "all of it in the next one");
    }

    function test_AWholeBudgetMayBePaid() public {
        prepare();
        header.tree.totalAmountWei = header.body.budgetWei;
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));

        assertEq(run.settledTotalWei(), header.body.budgetWei, "all of it");
    }

    function test_AWithoutMoneyRunSettlesToo() public {
        (run, reputation) = createRun(defaultParams());
        startRun();
        toSettle();
        header = makeHeader(current(), 0);
        attestAs(validatorOperator(0));
        attestAs(validatorOperator(1));

        assertEq(header.body.budgetWei, 0, "no budget");
        assertEq(run.headerHash(0), hashOf(header), "settled");
    }

    /* SIGNATURES */

    function settleWith(bytes memory signed) private {
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_TheSignaturesAreNot64BytesEach() public {
        prepare();
        bytes memory signed = bytes.concat(signatures(header, 3), hex"00");
        expectError(abi.encodeWithSelector(IRunLife.BadSignaturesLength.selector, 193));
        settleWith(signed);
    }

    function test_RevertWhen_NobodySigned() public {
        prepare();
        expectError(abi.encodeWithSelector(IRunLife.NoQuorum.selector, 0, 300));
        settleWith("");
    }

    function test_RevertWhen_TooFewSigned() public {
        prepare();
        bytes memory signed = signatures(header, 1);
        expectError(abi.encodeWithSelector(IRunLife.NoQuorum.selector, 100, 300));
        settleWith(signed);
    }

    function test_RevertWhen_ASignatureComesTwice() public {
        prepare();
        bytes memory signed = bytes.concat(signature(1, header), signature(1, header));
        expectError(abi.encodeWithSelector(IRunLife.UnorderedSigners.selector, 1));
        settleWith(signed);
    }

    function test_RevertWhen_TheSignaturesAreNotInOrder() public {
        prepare();
        bytes memory signed = bytes.concat(signature(2, header), signature(1, header));
        expectError(abi.encodeWithSelector(IRunLife.UnorderedSigners.selector, 1));
        settleWith(signed);
    }

    function test_RevertWhen_AStrangerSigned() public {
        prepare();
        bytes memory signed = bytes.concat(signatures(header, 2), signature(9, header));
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, validatorOperator(9)));
        settleWith(signed);
    }

    function test_RevertWhen_ATrainerSigned() public {
        prepare();
        (bytes32 r, bytes32 vs) = signCompact(trainerKey(1), hashOf(header));
        bytes memory signed = abi.encodePacked(r, vs);
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, trainerOperator(1), Role.Trainer, Role.Validator
            )
        );
        settleWith(signed);
    }

    function test_RevertWhen_TheSignatureIsMalformed() public {
        prepare();
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, address(0)));
        settleWith(new bytes(64));
        bytes memory signed = abi.encodePacked(uint256(1), type(uint256).max);
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, address(0)));
        settleWith(signed);
    }

    function test_RevertWhen_TheSignaturesAreOfAnotherRunOrChain() public {
        prepare();
        (ITrainingRun other,) = createRun(defaultParams());
        ITrainingRun here = run;
        run = other;
        bytes memory signed = signatures(header, 3);
        run = here;
        vm.expectPartialRevert(IRunBase.NotOperator.selector);
        settleWith(signed);
        vm.chainId(block.chainid + 1);
        signed = signatures(header, 3);
        vm.chainId(block.chainid - 1);
        vm.expectPartialRevert(IRunBase.NotOperator.selector);
        settleWith(signed);
    }

    function test_RevertWhen_TheSignaturesAreOfAnotherHeader() public {
        prepare();
        bytes memory signed = signatures(header, 3);
        header.body.aggregateHash = keccak256("other");
        vm.expectPartialRevert(IRunBase.NotOperator.selector);
        settleWith(signed);
    }

    function test_RevertWhen_AValidatorWithoutASeatSigned() public {
        startRun();
        joinValidator(3);
        toSettle();
        header = makeHeader(current(), 6 ether);
        bytes memory signed = signatures(header, 4);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 3, 0));
        settleWith(signed);
    }

    function test_RevertWhen_AWordOfTheHeaderIsTooLarge() public {
        prepare();
        bytes memory signed = signatures(header, 3);
        bytes memory data = abi.encodeCall(run.settleSigned, (header, CID, signed));
        // totalWeight is the tenth word of the header.
        data[4 + 9 * 32] = 0x01;
        (bool done,) = address(run).call(data);
        assertFalse(done, "a header that nobody could open");
    }

    function test_SignaturesSettle() public {
        prepare();
        bytes memory signed = bytes.concat(signature(0, header), signature(2, header));
        vm.expectEmit(address(run));
        emit IRunBase.Settled(0, 0, hashOf(header), header, CID, 5);
        vm.prank(stranger);
        settleWith(signed);

        assertEq(run.headerHash(0), hashOf(header), "settled");
        assertEq(run.roundInfo(0).signerMask, 5, "signers");
        assertEq(run.finalAt(0), block.timestamp + 50, "final");
        assertFalse(run.isFinal(0), "not yet");
        skip(50);
        assertTrue(run.isFinal(0), "now");
    }

    function test_TwoThirdsExactlyAreEnough() public {
        deal(token, validator(2), 1 ether, address(stakes));
        joinAll();
        vm.prank(validator(2));
        stakes.addStake(address(run), 1 ether);
        run.start();
        toSettle();
        header = makeHeader(current(), 6 ether);
        bytes memory signed = signatures(header, 2);
        expectError(abi.encodeWithSelector(IRunLife.NoQuorum.selector, 200, 301));
        settleWith(signed);
        settleWith(bytes.concat(signature(1, header), signature(2, header)));

        assertEq(run.roundInfo(0).signerMask, 6, "signers");
    }

    function test_SignaturesAndAttestationsAddUp() public {
        prepare();
        attestAs(validatorOperator(2));
        settleWith(signature(0, header));

        assertEq(run.roundInfo(0).signerMask, 5, "both");
    }

    function test_AnAttestationAndASignatureOfOneCountOnce() public {
        prepare();
        attestAs(validatorOperator(2));
        bytes memory signed = signature(2, header);
        expectError(abi.encodeWithSelector(IRunLife.NoQuorum.selector, 100, 300));
        settleWith(signed);
    }

    function test_AttestationsOfAnotherHeaderDoNotAddUp() public {
        prepare();
        attestAs(validatorOperator(2));
        header.body.stateRoot = keccak256("other");
        bytes memory signed = signature(0, header);
        expectError(abi.encodeWithSelector(IRunLife.NoQuorum.selector, 100, 300));
        settleWith(signed);
    }

    function test_AnAttestationCanBeChanged() public {
        prepare();
        attestAs(validatorOperator(0));
        bytes32 root = header.body.stateRoot;
        header.body.stateRoot = keccak256("other");
        attestAs(validatorOperator(0));
        header.body.stateRoot = root;
        attestAs(validatorOperator(1));
        assertEq(run.headerHash(0), 0, "one each");
        attestAs(validatorOperator(0));

        assertEq(run.headerHash(0), hashOf(header), "and back");
    }

    function test_TheTypeHashesAreThoseOfEip712() public view {
        bytes memory body =
            "Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)";
        bytes memory tree = "Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)";
        Header memory h;
        h.body.run = address(run);
        h.tree.leafCount = 7;
        bytes32 want = keccak256(
            abi.encode(
                keccak256(bytes.concat("Header(Body body,Tree tree)", body, tree)),
                keccak256(abi.encode(keccak256(body), h.body)),
                keccak256(abi.encode(keccak256(tree), h.tree))
            )
        );

        assertEq(hashOf(h), want, "hash");
    }
}
