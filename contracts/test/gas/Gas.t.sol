// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Leaf, ProofNode, Role} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Gas of each act as a transaction of its own, calldata and intrinsic gas included. `forge test` writes it to
/// snapshots/, which is checked in: a change shows in review.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract GasTest is RunFixture {
    string private constant TABLE = "gas";

    function snapshot(string memory act) private {
        vm.snapshotGasLastCall(TABLE, act);
    }

    function test_Members() public {
        vm.prank(sponsor);
        factory.createRun(defaultParams());
        snapshot("createRun");
        fund(run, 1 ether);
        snapshot("fund, again");
        joinTrainer(0);
        snapshot("join, first of the run");
        joinTrainer(1);
        snapshot("join, trainer");
        joinTrainer(2);
        for (uint256 v = 0; v < 3; v++) {
            joinValidator(v);
        }
        snapshot("join, validator");
        checkInTrainer(0);
        checkInTrainer(1);
        snapshot("checkIn, trainer");
        run.start();
        snapshot("start, 3 validators");
        vm.prank(trainer(0));
        stakes.leave(address(run));
        snapshot("leave");
        skip(UNBONDING_SECONDS);
        vm.prank(trainer(0));
        stakes.withdraw(address(run));
        snapshot("withdraw");
    }

    function test_Round() public {
        startRunCheckedIn();
        settleRound(1 ether);
        uint32 round = 1;
        commit(0);
        snapshot("commit, first of the round");
        commit(1);
        snapshot("commit, next");
        commit(2);
        reveal(0);
        snapshot("reveal, first of the round");
        reveal(1);
        snapshot("reveal, next");
        reveal(2);
        vm.warp(run.status().phaseEndsAt);
        run.draw(round);
        snapshot("draw");
        commitWeights(0);
        snapshot("commitWeights, first of the round");
        commitWeights(1);
        snapshot("commitWeights, next");
        commitWeights(2);
        revealWeights(0);
        snapshot("revealWeights, 3 trainers, first of the round");
        revealWeights(1);
        snapshot("revealWeights, 3 trainers, next");
        revealWeights(2);
        Header memory header = makeHeader(0.5 ether);
        skip(20);
        attest(0, header);
        snapshot("attest, first of the round");
        attest(1, header);
        snapshot("attest, settles and opens the next round");
    }

    function test_Money() public {
        startRun();
        Header memory header = settleRound(1 ether);
        skip(50);
        ProofNode[] memory proof = proofOf(0);
        rewards.claim(address(run), header, leaves[0], proof);
        snapshot("claim, 6 leaves, first of the account");
        reputation.materialise(header, leaves[0], proof);
        snapshot("materialise, 6 leaves, first of the account");
        header = settleRound(1 ether);
        skip(50);
        proof = proofOf(0);
        rewards.claim(address(run), header, leaves[0], proof);
        snapshot("claim, 6 leaves, next of the account");
        reputation.materialise(header, leaves[0], proof);
        snapshot("materialise, 6 leaves, next of the account");
        reputation.reputationOf(trainer(0));
        snapshot("reputationOf");
    }

    function test_LargestRun() public {
        for (uint256 i = 0; i < 256; i++) {
            joinTrainer(i);
        }
        for (uint256 v = 0; v < 16; v++) {
            joinValidator(v);
        }
        run.start();
        snapshot("start, 16 validators");
        contributeAll();
        draw();
        for (uint256 v = 0; v < 16; v++) {
            commitWeights(v);
        }
        vm.warp(run.status().phaseEndsAt);
        revealWeights(0);
        snapshot("revealWeights, 256 trainers, first of the round");
        revealWeights(1);
        snapshot("revealWeights, 256 trainers, next");
        vm.warp(run.status().phaseEndsAt);
        Header memory header = makeHeader(0.1 ether);
        for (uint256 v = 0; v < 11; v++) {
            attest(v, header);
        }
        snapshot("attest, settles and opens the next round, 16 validators");
        skip(50);
        rewards.claim(address(run), header, leaves[0], proofOf(0));
        snapshot("claim, 272 leaves, first of the account");
        run.status();
        snapshot("status");
    }

    function test_VoidAndRefund() public {
        startRun();
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(0);
        snapshot("voidRound, opens the next round");
        toSettle();
        vm.prank(sponsor);
        run.close();
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(1);
        rewards.refund(address(run));
        snapshot("refund");
    }

    function test_BytesOfCode() public {
        vm.snapshotValue("bytes", "TrainingRun", factory.trainingRunImplementation().code.length);
        vm.snapshotValue("bytes", "Reputation", factory.reputationImplementation().code.length);
        vm.snapshotValue("bytes", "RunFactory", address(factory).code.length);
        vm.snapshotValue("bytes", "Stakes", address(stakes).code.length);
        vm.snapshotValue("bytes", "Rewards", address(rewards).code.length);
        vm.snapshotValue("bytes", "EmeritToken", address(token).code.length);
        assertLe(factory.trainingRunImplementation().code.length, 24_576, "EIP-170");
    }
}
