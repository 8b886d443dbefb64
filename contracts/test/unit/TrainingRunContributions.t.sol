// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunActs} from "../../src/interfaces/IRunCore.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Phase, Role, RoundInfo, SignedCommit} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract TrainingRunContributionsTest is RunFixture {
    bytes32 private constant SEALED = keccak256("commitment");

    function commitAs(address operator, uint32 round) private {
        vm.prank(operator);
        run.commit(round, SEALED);
    }

    function revealAs(address operator, uint32 round, bytes32 contentHash_, string memory cid, bytes32 salt_)
        private
    {
        vm.prank(operator);
        run.reveal(round, operator, contentHash_, cid, salt_);
    }

    function toReveal() private {
        startRun();
        commit(0);
        commit(1);
        vm.warp(run.status().phaseEndsAt);
    }

    function expectBadOpening(uint32 round, bytes32 opened) private {
        bytes32 kept = bytes32(bytes18(commitment(round, 0)));
        expectError(abi.encodeWithSelector(IRunActs.BadOpening.selector, kept, opened));
    }

    function opening(uint16 slot, bytes32 contentHash_, string memory cid, bytes32 salt_)
        private
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256("emerit/contribution/v2"),
                block.chainid,
                address(run),
                uint32(0),
                slot,
                contentHash_,
                keccak256(bytes(cid)),
                salt_
            )
        );
    }

    function noReveals(address run_, uint32 round) private pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("emerit/reveals/v1"), run_, round));
    }

    /* REVERTS: COMMIT */

    function test_RevertWhen_CommittingBeforeTheStart() public {
        joinAll();
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.NotStarted, Phase.Train));
        commitAs(trainerOperator(0), 0);
    }

    function test_RevertWhen_CommittingTooLate() public {
        startRun();
        skip(60);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Draw, Phase.Train));
        commitAs(trainerOperator(0), 0);
    }

    function test_RevertWhen_CommittingInAnotherRound() public {
        startRun();
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 1, 0));
        commitAs(trainerOperator(0), 1);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, type(uint32).max, 0));
        commitAs(trainerOperator(0), type(uint32).max);
    }

    function test_RevertWhen_AStrangerCommits() public {
        startRun();
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        commitAs(stranger, 0);
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, trainer(0)));
        commitAs(trainer(0), 0);
    }

    function test_RevertWhen_AValidatorCommits() public {
        startRun();
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, validatorOperator(0), Role.Validator, Role.Trainer
            )
        );
        commitAs(validatorOperator(0), 0);
    }

    function test_RevertWhen_ANewcomerCommits() public {
        startRun();
        joinTrainer(3);
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 3, 0));
        commitAs(trainerOperator(3), 0);
    }

    function test_RevertWhen_CommittingAfterLeaving() public {
        joinAll();
        joinTrainer(3);
        vm.prank(trainer(0));
        stakes.leave(address(run));
        run.start();
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 0, 0));
        commitAs(trainerOperator(0), 0);
    }

    function test_RevertWhen_CommittingNothing() public {
        startRun();
        expectError(abi.encodeWithSelector(IRunActs.EmptyCommitment.selector));
        vm.prank(trainerOperator(0));
        run.commit(0, bytes32(uint256(type(uint112).max)));
    }

    function test_RevertWhen_CommittingTwice() public {
        startRun();
        commitAs(trainerOperator(0), 0);
        expectError(abi.encodeWithSelector(IRunBase.AlreadyCommitted.selector, 0, 0));
        commitAs(trainerOperator(0), 0);
    }

    /* REVERTS: REVEAL */

    function test_RevertWhen_RevealingInTheWrongPhase() public {
        startRun();
        commit(0);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Train, Phase.Reveal));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), CID, salt(0, 0));
        skip(90);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Draw, Phase.Reveal));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_RevealingForNobody() public {
        toReveal();
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        revealAs(stranger, 0, contentHash(0, 0), CID, salt(0, 0));
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, validatorOperator(1), Role.Validator, Role.Trainer
            )
        );
        revealAs(validatorOperator(1), 0, contentHash(0, 0), CID, salt(0, 0));
        expectError(abi.encodeWithSelector(IRunActs.NotCommitted.selector, 2, 0));
        revealAs(trainerOperator(2), 0, contentHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_RevealingACopy() public {
        startRun();
        bytes32 copied = commitment(0, 0);
        vm.prank(trainerOperator(1));
        run.commit(0, copied);
        vm.warp(run.status().phaseEndsAt);
        bytes32 opened = opening(1, contentHash(0, 0), CID, salt(0, 0));
        expectBadOpening(0, opened);
        revealAs(trainerOperator(1), 0, contentHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_TheOpeningIsWrong() public {
        toReveal();
        bytes32 other = keccak256("other");
        expectBadOpening(0, opening(0, other, CID, salt(0, 0)));
        revealAs(trainerOperator(0), 0, other, CID, salt(0, 0));
        expectBadOpening(0, opening(0, contentHash(0, 0), "bafy", salt(0, 0)));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), "bafy", salt(0, 0));
        expectBadOpening(0, opening(0, contentHash(0, 0), CID, other));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), CID, other);
    }

    function test_RevertWhen_TheCommitmentIsOfAnotherRunOrChain() public {
        startRun();
        bytes32 sealed_ = commitment(0, 0);
        commit(0);
        vm.chainId(block.chainid + 1);
        vm.warp(run.status().phaseEndsAt);
        expectError(
            abi.encodeWithSelector(IRunActs.BadOpening.selector, bytes32(bytes18(sealed_)), commitment(0, 0))
        );
        revealAs(trainerOperator(0), 0, contentHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_TheCidIsTooLong() public {
        toReveal();
        string memory cid = string(new bytes(129));
        expectError(abi.encodeWithSelector(IRunBase.CidTooLong.selector, 129, 128));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), cid, salt(0, 0));
    }

    function test_RevertWhen_RevealingTwice() public {
        toReveal();
        reveal(0);
        expectError(abi.encodeWithSelector(IRunActs.AlreadyRevealed.selector, 0, 0));
        revealAs(trainerOperator(0), 0, contentHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_RevealingTheCommitmentOfARoundBefore() public {
        startRun();
        commit(0);
        skip(60);
        skip(30);
        draw();
        skip(60);
        skip(60);
        run.voidRound(0);
        commit(1);
        vm.warp(run.status().phaseEndsAt);
        expectError(abi.encodeWithSelector(IRunActs.NotCommitted.selector, 0, 1));
        revealAs(trainerOperator(0), 1, contentHash(0, 0), CID, salt(0, 0));
    }

    /* REVERTS: DRAW */

    function test_RevertWhen_DrawingTooEarly() public {
        toReveal();
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Reveal, Phase.Draw));
        run.draw(0);
        reveal(0);
        reveal(1);
        uint64 drawableAt = uint64(block.timestamp) + 4 + 1;
        vm.warp(drawableAt - 1);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, drawableAt));
        run.draw(0);
    }

    function test_RevertWhen_DrawingTwice() public {
        toReveal();
        reveal(0);
        reveal(1);
        draw();
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Score, Phase.Draw));
        run.draw(0);
    }

    /* EFFECTS */

    function test_Commit() public {
        startRunCheckedIn();
        skip(3);
        vm.expectEmit(address(run));
        emit IRunBase.ContributionCommitted(0, 1, SEALED);
        commitAs(trainerOperator(1), 0);

        assertEq(run.status().commits, 1, "commits");
        assertEq(run.status().expectedCommits, 1, "expected commits");
        assertEq(run.roundInfo(0).commits, 1, "commits in the record");
    }

    function test_Reveal() public {
        toReveal();
        vm.expectEmit(address(run));
        emit IRunBase.ContributionRevealed(0, 1, contentHash(0, 1), CID);
        reveal(1);

        bytes32 cidHash = keccak256(bytes(CID));
        bytes32 running =
            keccak256(abi.encode(noReveals(address(run), 0), uint16(1), contentHash(0, 1), cidHash));
        assertEq(run.roundInfo(0).revealsHash, running, "running hash");
        reveal(0);
        running = keccak256(abi.encode(running, uint16(0), contentHash(0, 0), cidHash));
        assertEq(run.roundInfo(0).revealsHash, running, "running hash of two");
        assertEq(run.status().reveals, 2, "reveals");
    }

    function test_RevealWithTheLongestCid() public {
        startRun();
        string memory cid = string(new bytes(128));
        bytes32 sealed_ = opening(0, contentHash(0, 0), cid, salt(0, 0));
        vm.prank(trainerOperator(0));
        run.commit(0, sealed_);
        skip(60);
        revealAs(trainerOperator(0), 0, contentHash(0, 0), cid, salt(0, 0));

        assertEq(run.status().reveals, 1, "reveals");
    }

    function test_TheSlotIsUsedAgainInTheNextRound() public {
        startRunCheckedIn();
        settleRound(1 ether);
        commit(0);
        commit(1);
        commit(2);
        assertEq(uint8(phase()), uint8(Phase.Reveal), "all were expected by their reveals");
        reveal(0);

        assertEq(run.status().round, 1, "round");
        assertEq(run.status().reveals, 1, "reveals");
        assertEq(run.roundInfo(0).reveals, 3, "reveals before");
    }

    function test_RevealByAnybody() public {
        toReveal();
        vm.prank(stranger);
        run.reveal(0, trainerOperator(0), contentHash(0, 0), CID, salt(0, 0));

        assertEq(run.status().reveals, 1, "reveals");
        assertEq(run.expectedIn(trainerOperator(0)), 1, "the trainer is expected, not who sent it");
    }

    function test_ADrawMonthsLateCanOnlyBecomeVoid() public {
        startRun();
        skip(400 days);
        run.draw(0);
        RoundInfo memory info = run.roundInfo(0);

        assertEq(info.drawnAt, info.openedAt + 2 ** 23, "as late as the clock counts");
        assertEq(uint8(phase()), uint8(Phase.Expired), "phase");
        run.voidRound(0);
        assertEq(current(), 1, "next round");
    }

    /* RELAYED */

    function batch(uint256 count) private view returns (SignedCommit[] memory items) {
        items = new SignedCommit[](count);
        for (uint256 i = 0; i < count; i++) {
            items[i] = signedCommit(0, i);
        }
    }

    function refuses(SignedCommit memory item) private {
        SignedCommit[] memory items = new SignedCommit[](2);
        (items[0], items[1]) = (item, signedCommit(0, 1));
        vm.expectEmit(address(run));
        emit IRunBase.CommitRefused(0, 0);
        vm.expectEmit(address(run));
        emit IRunBase.ContributionCommitted(0, 1, items[1].commitment);

        assertEq(run.commitBatch(0, items), 1, "the other is taken");
        assertEq(run.status().commits, 1, "commits");
    }

    function test_RevertWhen_ABatchIsTooLate() public {
        startRun();
        SignedCommit[] memory items = batch(1);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 1, 0));
        run.commitBatch(1, items);
        skip(60);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Draw, Phase.Train));
        run.commitBatch(0, items);
    }

    function test_ABatch() public {
        startRunCheckedIn();
        skip(5);
        vm.prank(stranger);
        assertEq(run.commitBatch(0, batch(3)), 3, "taken");

        assertEq(run.status().commits, 3, "commits");
        assertEq(run.status().expectedCommits, 3, "expected commits");
        assertEq(run.roundInfo(0).trainEndsAt, block.timestamp, "all were expected");
        reveal(0);
        reveal(1);
        reveal(2);
        assertEq(run.status().reveals, 3, "they can be opened");
    }

    function test_AnEmptyBatch() public {
        startRunCheckedIn();
        assertEq(run.commitBatch(0, new SignedCommit[](0)), 0, "taken");
        assertEq(uint8(phase()), uint8(Phase.Train), "nothing has ended");
    }

    function test_ABatchSkipsWhatIsOfAnotherRound() public {
        startRun();
        refuses(signedCommit(1, 0));
    }

    function test_ABatchSkipsWhatIsOfAnotherRun() public {
        startRun();
        (ITrainingRun other,) = createRun(defaultParams());
        (ITrainingRun here, bytes32 sealed_) = (run, commitment(0, 0));
        run = other;
        SignedCommit memory item = signedCommit(0, 0);
        run = here;
        item.commitment = sealed_;
        refuses(item);
    }

    function test_ABatchSkipsAStranger() public {
        startRun();
        refuses(signedCommit(0, 9));
    }

    function test_ABatchSkipsAMalformedSignature() public {
        startRun();
        SignedCommit memory item = signedCommit(0, 0);
        item.r = 0;
        refuses(item);
    }

    function test_ABatchSkipsTheOtherSignature() public {
        startRun();
        SignedCommit memory item = signedCommit(0, 0);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 s = uint256(item.vs) & (type(uint256).max >> 1);
        uint256 odd = uint256(item.vs) >> 255;
        // The same point with the higher s and the other parity, as far as the form can say it.
        item.vs = bytes32(((order - s) & (type(uint256).max >> 1)) | ((1 - odd) << 255));
        refuses(item);
    }

    function test_ABatchSkipsAnEmptyCommitment() public {
        startRun();
        SignedCommit memory item;
        (item.r, item.vs) = signCompact(
            trainerKey(0),
            keccak256(abi.encode(keccak256("Commit(uint32 round,bytes32 commitment)"), uint32(0), bytes32(0)))
        );
        refuses(item);
    }

    function test_ABatchSkipsANewcomer() public {
        startRun();
        joinTrainer(3);
        refuses(signedCommit(0, 3));
    }

    function test_ABatchSkipsWhoHasCommitted() public {
        startRun();
        SignedCommit[] memory items = new SignedCommit[](2);
        (items[0], items[1]) = (signedCommit(0, 0), signedCommit(0, 0));
        vm.expectEmit(address(run));
        emit IRunBase.CommitRefused(0, 1);

        assertEq(run.commitBatch(0, items), 1, "the first is taken");
        assertEq(run.commitBatch(0, items), 0, "none any more");
        assertEq(run.status().commits, 1, "commits");
    }

    function test_Draw() public {
        toReveal();
        reveal(0);
        reveal(1);
        skip(5);
        vm.prevrandao(uint256(42));
        bytes32 seed = keccak256(
            abi.encode(keccak256("emerit/evaluate/v1"), block.chainid, address(run), uint32(0), uint256(42))
        );
        vm.expectEmit(address(run));
        emit IRunBase.Drawn(0, seed);
        vm.prank(stranger);
        run.draw(0);

        assertEq(run.status().evalSeed, seed, "seed");
        assertEq(run.roundInfo(0).evalSeed, seed, "seed in the record");
        assertEq(run.roundInfo(0).drawnAt, block.timestamp, "time");
    }
}
