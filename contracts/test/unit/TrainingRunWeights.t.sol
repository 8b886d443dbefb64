// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunActs} from "../../src/interfaces/IRunCore.sol";
import {Header, Phase, Role} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract TrainingRunWeightsTest is RunFixture {
    bytes32 private constant SEALED = keccak256("commitment");

    function commitAs(address operator, uint32 round) private {
        vm.prank(operator);
        run.commitWeights(round, SEALED);
    }

    function revealAs(
        address operator,
        bytes memory lanes,
        bytes32 evidence,
        string memory cid,
        bytes32 salt_
    ) private {
        vm.prank(operator);
        run.revealWeights(0, lanes, evidence, cid, salt_);
    }

    function toWeightReveal() private {
        startRun();
        toScore();
        commitWeights(0);
        commitWeights(1);
        vm.warp(run.status().phaseEndsAt);
    }

    function refusesOpening(bytes memory lanes, bytes32 evidence, string memory cid, bytes32 salt_) private {
        bytes32 committed = bytes32(bytes18(weightsCommitment(0, 0)));
        bytes32 opened = weightsCommitment(0, 0, lanes, evidence, cid, salt_);
        expectError(abi.encodeWithSelector(IRunActs.BadOpening.selector, committed, opened));
        revealAs(validatorOperator(0), lanes, evidence, cid, salt_);
    }

    /* REVERTS: COMMIT */

    function test_RevertWhen_CommittingBeforeTheDraw() public {
        startRun();
        contributeAll();
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Draw, Phase.Score));
        commitAs(validatorOperator(0), 0);
    }

    function test_RevertWhen_CommittingTooLate() public {
        startRun();
        toScore();
        skip(60);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Settle, Phase.Score));
        commitAs(validatorOperator(0), 0);
    }

    function test_RevertWhen_CommittingInAnotherRound() public {
        startRun();
        toScore();
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 2, 0));
        commitAs(validatorOperator(0), 2);
    }

    function test_RevertWhen_CommittingAsAnother() public {
        startRun();
        toScore();
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        commitAs(stranger, 0);
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, trainerOperator(0), Role.Trainer, Role.Validator
            )
        );
        commitAs(trainerOperator(0), 0);
    }

    function test_RevertWhen_CommittingWhileNotActive() public {
        joinAll();
        joinValidator(3);
        leaveValidator(0);
        run.start();
        joinValidator(4);
        toScore();
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 0, 0));
        commitAs(validatorOperator(0), 0);
        // The seat that the first gave up.
        expectError(abi.encodeWithSelector(IRunBase.NotActive.selector, 0, 0));
        commitAs(validatorOperator(4), 0);
    }

    /// @dev It is still a member, and its operator still acts for it, but all its stake is gone.
    function test_RevertWhen_TheValidatorHasNoVotingWeight() public {
        startRun();
        (uint32[] memory indices, uint128[] memory amountsWei) = (new uint32[](1), new uint128[](1));
        (indices[0], amountsWei[0]) = (3, STAKE_WEI);
        vm.prank(address(run));
        stakes.slash(indices, amountsWei, address(0), 0);
        while (current() != run.params().epochRounds) {
            voidCurrent();
        }
        toScore();
        uint32 round = current();
        expectError(abi.encodeWithSelector(IRunBase.NoVotingWeight.selector, 0, round));
        vm.prank(validatorOperator(0));
        run.commitWeights(round, bytes32(uint256(1) << 255));
        for (uint256 v = 1; v < 3; v++) {
            commitWeights(v);
        }
        vm.warp(run.status().phaseEndsAt);
        for (uint256 v = 1; v < 3; v++) {
            revealWeights(v);
        }
        Header memory header = makeHeader(round, 0);
        expectError(abi.encodeWithSelector(IRunBase.NoVotingWeight.selector, 0, round));
        vm.prank(validatorOperator(0));
        run.attest(header, CID);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunBase.NoVotingWeight.selector, 0, round));
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_CommittingTwice() public {
        startRun();
        toScore();
        commitAs(validatorOperator(1), 0);
        expectError(abi.encodeWithSelector(IRunBase.AlreadyCommitted.selector, 1, 0));
        commitAs(validatorOperator(1), 0);
    }

    /* REVERTS: REVEAL */

    function test_RevertWhen_RevealingInTheWrongPhase() public {
        startRun();
        toScore();
        commitWeights(0);
        bytes memory lanes = vector(0, 0);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Score, Phase.WeightReveal));
        revealAs(validatorOperator(0), lanes, evidenceHash(0, 0), CID, salt(0, 0));
        skip(90);
        expectError(abi.encodeWithSelector(IRunBase.WrongPhase.selector, 0, Phase.Settle, Phase.WeightReveal));
        revealAs(validatorOperator(0), lanes, evidenceHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_RevealingAsAnother() public {
        toWeightReveal();
        bytes memory lanes = vector(0, 0);
        expectError(abi.encodeWithSelector(IRunBase.NotOperator.selector, stranger));
        revealAs(stranger, lanes, evidenceHash(0, 0), CID, salt(0, 0));
        expectError(
            abi.encodeWithSelector(
                IRunBase.WrongRole.selector, trainerOperator(1), Role.Trainer, Role.Validator
            )
        );
        revealAs(trainerOperator(1), lanes, evidenceHash(0, 0), CID, salt(0, 0));
        expectError(abi.encodeWithSelector(IRunActs.NotCommitted.selector, 2, 0));
        revealAs(validatorOperator(2), lanes, evidenceHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_TheVectorHasAnotherLength() public {
        startRun();
        toScore();
        bytes memory short = new bytes(8);
        bytes memory odd = new bytes(11);
        bytes32 sealed_ = weightsCommitment(0, 0, short, evidenceHash(0, 0), CID, salt(0, 0));
        vm.prank(validatorOperator(0));
        run.commitWeights(0, sealed_);
        sealed_ = weightsCommitment(0, 1, odd, evidenceHash(0, 0), CID, salt(0, 0));
        vm.prank(validatorOperator(1));
        run.commitWeights(0, sealed_);
        vm.warp(run.status().phaseEndsAt);
        expectError(abi.encodeWithSelector(IRunActs.BadVectorLength.selector, 8, 10));
        revealAs(validatorOperator(0), short, evidenceHash(0, 0), CID, salt(0, 0));
        expectError(abi.encodeWithSelector(IRunActs.BadVectorLength.selector, 11, 10));
        revealAs(validatorOperator(1), odd, evidenceHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_TheCidIsTooLong() public {
        toWeightReveal();
        bytes memory lanes = vector(0, 0);
        expectError(abi.encodeWithSelector(IRunBase.CidTooLong.selector, 200, 128));
        revealAs(validatorOperator(0), lanes, evidenceHash(0, 0), string(new bytes(200)), salt(0, 0));
    }

    function test_RevertWhen_TheOpeningIsWrong() public {
        toWeightReveal();
        bytes32 other = keccak256("other");
        refusesOpening(vector(0, 1), evidenceHash(0, 0), CID, salt(0, 0));
        refusesOpening(vector(0, 0), other, CID, salt(0, 0));
        refusesOpening(vector(0, 0), evidenceHash(0, 0), "bafy", salt(0, 0));
        refusesOpening(vector(0, 0), evidenceHash(0, 0), CID, other);
    }

    function test_RevertWhen_RevealingACopy() public {
        startRun();
        toScore();
        commitWeights(0);
        bytes32 copied = weightsCommitment(0, 0);
        vm.prank(validatorOperator(1));
        run.commitWeights(0, copied);
        vm.warp(run.status().phaseEndsAt);
        revealWeights(0);
        bytes memory lanes = vector(0, 0);
        vm.expectPartialRevert(IRunActs.BadOpening.selector);
        revealAs(validatorOperator(1), lanes, evidenceHash(0, 0), CID, salt(0, 0));
    }

    function test_RevertWhen_RevealingTwice() public {
        toWeightReveal();
        revealWeights(0);
        bytes memory lanes = vector(0, 0);
        expectError(abi.encodeWithSelector(IRunActs.AlreadyRevealed.selector, 0, 0));
        revealAs(validatorOperator(0), lanes, evidenceHash(0, 0), CID, salt(0, 0));
    }

    /* EFFECTS */

    function test_CommitWeights() public {
        startRun();
        toScore();
        vm.expectEmit(address(run));
        emit IRunBase.WeightsCommitted(0, 2, SEALED);
        commitAs(validatorOperator(2), 0);

        assertEq(run.status().weightCommitMask, 4, "mask");
        assertEq(run.vectorHash(0, 2), 0, "nothing revealed");
    }

    function test_RevealWeights() public {
        toWeightReveal();
        bytes32 running = run.roundInfo(0).revealsHash;
        bytes memory lanes = vector(0, 1);
        vm.expectEmit(address(run));
        emit IRunBase.WeightsRevealed(0, 1, lanes, evidenceHash(0, 1), CID);
        revealAs(validatorOperator(1), lanes, evidenceHash(0, 1), CID, salt(0, 1));

        running = keccak256(abi.encode(running, uint16(1), keccak256(lanes), evidenceHash(0, 1)));
        assertEq(run.roundInfo(0).revealsHash, running, "running hash");
        assertEq(run.status().weightRevealMask, 2, "mask");
        assertEq(run.vectorHash(0, 1), keccak256(lanes), "hash of the vector");
        assertEq(run.vectorHash(0, 0), 0, "the other has not revealed");
    }

    function test_TheVectorCoversTheSlotsAtOpening() public {
        startRun();
        joinTrainer(3);
        toScore();
        commitWeights(0);
        skip(60);
        revealWeights(0);

        assertEq(run.status().weightRevealMask, 1, "three trainers when the round opened");
    }
}
