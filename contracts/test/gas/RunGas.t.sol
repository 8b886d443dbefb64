// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {Header, Leaf, OpenedTree, Phase, RunParams, SignedCommit, Tree} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Gas of the acts of a round as transactions of their own, calldata and intrinsic gas included, in a run whose
/// slots have all been used. `forge test` writes it to snapshots/, which is checked in: a change shows in review.
/// Limits are asserted, so that a change that breaks one fails.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract RunGasTest is RunFixture {
    string private constant TABLE = "run";

    /// @dev The limits that a settlement has to keep whatever the number of leaves.
    uint256 private constant COMMIT = 36_000;
    uint256 private constant REVEAL = 45_000;
    uint256 private constant COMMIT_WEIGHTS = 40_000;
    uint256 private constant REVEAL_WEIGHTS = 65_000;
    uint256 private constant SETTLE = 165_000;
    uint256 private constant RELAYED = 20_000;

    function snapshot(string memory act) private returns (uint256) {
        return vm.snapshotGasLastCall(TABLE, act);
    }

    function test_Life() public {
        vm.prank(sponsor);
        factory.createRun(defaultParams());
        snapshot("createRun");
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
        voidCurrent();
        snapshot("voidRound, opens the next round, first lap");
        leaveTrainer(0);
        snapshot("leave");
    }

    function test_Round() public {
        trainerCount = 4;
        validatorCount = 8;
        startRunCheckedIn();
        lap();
        // Not the first of an epoch, which is measured apart.
        uint32 round = current();
        assertEq(round % run.params().epochRounds, 1, "round");
        commit(0);
        assertLe(snapshot("commit"), COMMIT, "commit");
        commit(1);
        commit(2);
        commit(3);
        snapshot("commit, closes the phase");
        reveal(0);
        assertLe(snapshot("reveal"), REVEAL, "reveal");
        reveal(1);
        reveal(2);
        reveal(3);
        snapshot("reveal, closes the phase");
        vm.warp(run.status().phaseEndsAt);
        run.draw(round);
        snapshot("draw");
        for (uint256 v = 0; v < 8; v++) {
            commitWeights(v);
            if (v == 0) assertLe(snapshot("commitWeights"), COMMIT_WEIGHTS, "commitWeights");
        }
        snapshot("commitWeights, closes the phase");
        for (uint256 v = 0; v < 8; v++) {
            revealWeights(v);
            if (v == 0) snapshot("revealWeights, 4 trainers");
        }
        snapshot("revealWeights, 4 trainers, closes the phase");
        skip(20);
        Header memory header = makeHeader(round, 1);
        bytes memory signed = signatures(header, 6);
        run.settleSigned(header, CID, signed);
        assertLe(snapshot("settleSigned, 6 of 8, opens the next round"), SETTLE, "settleSigned");
    }

    function test_SettleAtAnEpochsEnd() public {
        validatorCount = 8;
        startRunCheckedIn();
        lap();
        settleRound(1);
        settleRound(1);
        toSettle();
        skip(20);
        Header memory header = makeHeader(current(), 1);
        assertEq((current() + 1) % run.params().epochRounds, 0, "round");
        bytes memory signed = signatures(header, 6);
        run.settleSigned(header, CID, signed);
        snapshot("settleSigned, 6 of 8, opens the next round and an epoch");
    }

    function test_Attest() public {
        startRunCheckedIn();
        lap();
        toSettle();
        skip(20);
        Header memory header = makeHeader(current(), 1);
        attest(0, header);
        snapshot("attest");
        attest(1, header);
        snapshot("attest, settles and opens the next round");
    }

    function test_RelayedCommits() public {
        trainerCount = 100;
        startRun();
        SignedCommit[] memory items = new SignedCommit[](100);
        uint256 used;
        for (uint32 round = 0; round < 2; round++) {
            for (uint256 i = 0; i < 100; i++) {
                items[i] = signedCommit(round, i);
            }
            vm.prank(stranger);
            run.commitBatch(round, items);
            used = vm.snapshotGasLastCall(TABLE, "commitBatch of 100");
            assertEq(run.status().commits, 100, "commits");
            if (round == 0) voidCurrent();
        }
        vm.snapshotValue(TABLE, "commitBatch of 100, each", used / 100);
        assertLe(used / 100, RELAYED, "relayed");
    }

    function test_LargestVector() public {
        RunParams memory p = defaultParams();
        p.historyRounds = 4;
        p.minRoundSeconds = 240;
        (run, reputation) = createRun(p);
        trainerCount = 256;
        startRun();
        for (uint256 k = 0; k < 5; k++) {
            vm.warp(run.status().phaseEndsAt);
            draw();
            commitWeights(0);
            commitWeights(1);
            if (phase() == Phase.Score) vm.warp(run.status().phaseEndsAt);
            revealWeights(0);
            uint256 used = k < 4
                ? snapshot("revealWeights, 256 trainers, first lap")
                : snapshot("revealWeights, 256 trainers");
            if (k == 4) assertLe(used, REVEAL_WEIGHTS, "revealWeights");
            revealWeights(1);
            settle(makeHeader(current(), 0));
        }
    }

    /// @dev Settlements with a leaf for each of six members, of which the first is shown.
    function test_Money() public {
        startRunCheckedIn();
        settleRound(1);
        deal(token, sponsor, 1 ether, address(rewards));
        vm.prank(sponsor);
        rewards.fund(address(run), 1 ether);
        snapshot("fund, again");
        leaveTrainer(2);
        trainerCount = 2;
        show(1 ether);
        snapshot("materialise, 6 leaves, first of the account");
        show(1 ether);
        snapshot("materialise, 6 leaves, next of the account");
        vm.prank(sponsor);
        run.close();
        snapshot("close");
        voidCurrent();
        vm.warp(block.timestamp + 2 hours);
        stakes.withdrawFor(address(run), trainer(2));
        snapshot("withdraw");
        rewards.refund(address(run));
        snapshot("refund");
    }

    /// @dev Settles a round, waits until it is final, and stores the first trainer's reputation.
    function show(uint128 addedWei) private {
        toSettle();
        Leaf memory leaf;
        leaf.account = trainer(0);
        leaf.cumulativeAmountWei = run.settledTotalWei() + addedWei;
        leaf.detail.reputation = uint64(1_000 * current());
        bytes32[] memory proof = new bytes32[](3);
        bytes32 root = keccak256(
            abi.encodePacked(
                bytes1(0),
                uint256(leaf.index),
                uint256(uint160(leaf.account)),
                uint256(leaf.cumulativeAmountWei),
                keccak256(abi.encode(leaf.detail))
            )
        );
        for (uint256 i = 0; i < 3; i++) {
            proof[i] = keccak256(abi.encode("beside", i));
            root = keccak256(abi.encodePacked(bytes1(0x01), root, proof[i]));
        }
        Header memory header = headerOver(current(), Tree(root, 7, leaf.cumulativeAmountWei, 6));
        settle(header);
        vm.warp(run.roundInfo(header.body.round).finalAt);
        bytes32 bodyHash = keccak256(abi.encode(Commitment.BODY_TYPEHASH, header.body));
        OpenedTree memory opened = OpenedTree(header.body.round, bodyHash, header.tree);
        reputation.materialise(opened, leaf, proof);
    }

    function test_Views() public {
        startRunCheckedIn();
        settleRound(1);
        run.status();
        snapshot("status");
    }

    function test_BytesOfCode() public {
        address core = factory.core();
        vm.snapshotValue("bytes", "TrainingRun", address(run).code.length);
        vm.snapshotValue("bytes", "Settlement", core.code.length);
        vm.snapshotValue("bytes", "Disputes", run.disputes().code.length);
        vm.snapshotValue("bytes", "Penalties", run.penalties().code.length);
        vm.snapshotValue("bytes", "Reputation", factory.reputationImplementation().code.length);
        vm.snapshotValue("bytes", "RunFactory", address(factory).code.length);
        vm.snapshotValue("bytes", "Stakes", address(stakes).code.length);
        vm.snapshotValue("bytes", "Rewards", address(rewards).code.length);
        vm.snapshotValue("bytes", "EmeritToken", address(token).code.length);
        assertLe(core.code.length, 24_576, "EIP-170");
        assertLe(run.disputes().code.length, 24_576, "EIP-170");
        assertLe(run.penalties().code.length, 24_576, "EIP-170");
        assertLe(address(factory).code.length, 24_576, "EIP-170");
    }
}
