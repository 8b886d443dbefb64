// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {EmeritToken} from "../../src/EmeritToken.sol";
import {Reputation} from "../../src/Reputation.sol";
import {Rewards} from "../../src/Rewards.sol";
import {RunFactory} from "../../src/RunFactory.sol";
import {Stakes} from "../../src/Stakes.sol";
import {TrainingRun} from "../../src/TrainingRun.sol";
import {
    Entry,
    Header,
    Leaf,
    Phase,
    ProofNode,
    Role,
    RoundInfo,
    RunParams,
    Status
} from "../../src/types/Types.sol";
import {BaseTest} from "./BaseTest.sol";
import {Tree} from "./Tree.sol";

/// @dev A deployment with one run, three trainers and three validators of equal weight, and the acts of a round.
/// Trainer i has registry index i, validator v has index 3 + v.
abstract contract RunFixture is BaseTest {
    uint64 internal constant UNBONDING_SECONDS = 1 hours;
    uint128 internal constant BOND_WEI = 10 ether;
    uint128 internal constant STAKE_WEI = 100 ether;
    uint128 internal constant POOL_WEI = 1_000 ether;
    string internal constant CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

    address internal immutable minter = makeAddr("minter");
    address internal immutable sponsor = makeAddr("sponsor");
    address internal immutable stranger = makeAddr("stranger");

    EmeritToken internal token;
    Stakes internal stakes;
    Rewards internal rewards;
    RunFactory internal factory;
    TrainingRun internal run;
    Reputation internal reputation;

    /// @dev The leaves of the header that was made last.
    Leaf[] internal leaves;
    Header internal lastHeader;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.prevrandao(uint256(keccak256("randomness")));
        deploy();
        (run, reputation) = createRun(defaultParams());
        fund(run, POOL_WEI);
    }

    /* DEPLOYMENT */

    function deploy() internal {
        token = new EmeritToken(minter, 1_000_000_000 ether);
        stakes = new Stakes(UNBONDING_SECONDS);
        rewards = new Rewards();
        TrainingRun runCode = new TrainingRun(address(stakes), address(rewards));
        factory = new RunFactory(address(runCode), address(new Reputation()));
    }

    function defaultParams() internal view returns (RunParams memory p) {
        p.rewardToken = address(token);
        p.manifestHash = keccak256("manifest");
        p.manifestCid = CID;
        p.initialStateRoot = keccak256("state");
        p.trainSeconds = 60;
        p.revealSeconds = 30;
        p.drawDelaySeconds = 4;
        p.scoreSeconds = 60;
        p.weightRevealSeconds = 30;
        p.settleSeconds = 60;
        p.minRoundSeconds = 20;
        p.nominalRoundSeconds = 120;
        p.challengeWindowSeconds = 50;
        p.minTrainers = 3;
        p.minValidators = 3;
        p.validatorShareBps = 2_000;
        p.rewardRateWeiPerSecond = 1 ether;
        p.minTrainerBondWei = BOND_WEI;
        p.minValidatorStakeWei = STAKE_WEI;
        p.stakeUnitWei = 1 ether;
        p.reputationKeepPpb = 900_000_000;
    }

    function createRun(RunParams memory p) internal returns (TrainingRun, Reputation) {
        vm.prank(sponsor);
        (address run_, address reputation_) = factory.createRun(p);
        return (TrainingRun(run_), Reputation(reputation_));
    }

    function fund(TrainingRun run_, uint128 amountWei) internal {
        deal(token, sponsor, amountWei, address(rewards));
        vm.prank(sponsor);
        rewards.fund(address(run_), amountWei);
    }

    function deal(EmeritToken token_, address to, uint256 amountWei, address spender) internal {
        vm.prank(minter);
        token_.mint(to, amountWei);
        vm.prank(to);
        token_.approve(spender, type(uint256).max);
    }

    /* MEMBERS */

    function trainer(uint256 i) internal pure returns (address) {
        return named("trainer", i);
    }

    function trainerOperator(uint256 i) internal pure returns (address) {
        return named("trainer operator", i);
    }

    function validator(uint256 v) internal pure returns (address) {
        return named("validator", v);
    }

    function validatorOperator(uint256 v) internal pure returns (address) {
        return named("validator operator", v);
    }

    function named(string memory kind, uint256 i) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(kind, i)))));
    }

    function join(address account, address operator, Role role, uint128 amountWei) internal {
        deal(token, account, amountWei, address(stakes));
        vm.prank(account);
        stakes.join(address(run), role, operator, amountWei);
    }

    function joinTrainer(uint256 i) internal {
        join(trainer(i), trainerOperator(i), Role.Trainer, BOND_WEI);
    }

    function joinValidator(uint256 v) internal {
        join(validator(v), validatorOperator(v), Role.Validator, STAKE_WEI);
    }

    function joinAll() internal {
        for (uint256 i = 0; i < 3; i++) {
            joinTrainer(i);
        }
        for (uint256 v = 0; v < 3; v++) {
            joinValidator(v);
        }
    }

    function checkInAll() internal {
        for (uint256 i = 0; i < 3; i++) {
            checkInTrainer(i);
        }
        for (uint256 v = 0; v < 3; v++) {
            checkInValidator(v);
        }
    }

    function checkInTrainer(uint256 i) internal {
        vm.prank(trainerOperator(i));
        run.checkIn();
    }

    function checkInValidator(uint256 v) internal {
        vm.prank(validatorOperator(v));
        run.checkIn();
    }

    /// @dev Everybody has joined, nobody is expected, round 0 is open.
    function startRun() internal {
        joinAll();
        run.start();
    }

    /// @dev Everybody has joined and is expected, round 0 is open.
    function startRunCheckedIn() internal {
        joinAll();
        checkInAll();
        run.start();
    }

    /* CONTRIBUTIONS */

    function contentHash(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("content", round, i));
    }

    function salt(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", round, i));
    }

    function commitment(uint32 round, uint256 i) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("emerit/contribution/v1"),
                block.chainid,
                address(run),
                round,
                trainer(i),
                contentHash(round, i),
                keccak256(bytes(CID)),
                salt(round, i)
            )
        );
    }

    function commit(uint256 i) internal {
        uint32 round = current();
        bytes32 sealed_ = commitment(round, i);
        vm.prank(trainerOperator(i));
        run.commit(round, sealed_);
    }

    function reveal(uint256 i) internal {
        uint32 round = current();
        vm.prank(trainerOperator(i));
        run.reveal(round, contentHash(round, i), CID, salt(round, i));
    }

    function draw() internal {
        vm.warp(run.status().phaseEndsAt);
        run.draw(current());
    }

    /* WEIGHTS */

    function vector(uint32 round, uint256 v) internal view returns (bytes memory lanes) {
        lanes = new bytes(2 * (2 + run.roundInfo(round).trainerSlots));
        for (uint256 k = 0; k < lanes.length; k++) {
            lanes[k] = bytes1(uint8(uint256(keccak256(abi.encode(round, v, k)))));
        }
    }

    function evidenceHash(uint32 round, uint256 v) internal pure returns (bytes32) {
        return keccak256(abi.encode("evidence", round, v));
    }

    function weightsCommitment(uint32 round, uint256 v) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("emerit/weights/v1"),
                block.chainid,
                address(run),
                round,
                validator(v),
                keccak256(vector(round, v)),
                evidenceHash(round, v),
                keccak256(bytes(CID)),
                salt(round, v)
            )
        );
    }

    function commitWeights(uint256 v) internal {
        uint32 round = current();
        bytes32 sealed_ = weightsCommitment(round, v);
        vm.prank(validatorOperator(v));
        run.commitWeights(round, sealed_);
    }

    function revealWeights(uint256 v) internal {
        uint32 round = current();
        bytes memory lanes = vector(round, v);
        vm.prank(validatorOperator(v));
        run.revealWeights(round, lanes, evidenceHash(round, v), CID, salt(round, v));
    }

    /* SETTLEMENT */

    /// @dev A header of the open round that pays each of the six members `eachWei` more than the last header did.
    function makeHeader(uint128 eachWei) internal returns (Header memory) {
        uint32 round = current();
        uint32 size = run.roundInfo(round).registrySize;
        uint128 beforeWei = lastHeader.leafCount == 0 ? 0 : leaves[0].cumulativeAmountWei;
        delete leaves;
        for (uint32 i = 0; i < size; i++) {
            Entry memory e = stakes.entryAt(address(run), i);
            leaves.push(
                Leaf({
                    index: i,
                    account: e.account,
                    cumulativeAmountWei: beforeWei + eachWei,
                    weight: e.role == Role.Trainer ? 1_000 + i : 0,
                    reputation: uint64(1e6 * (i + 1)),
                    row: e.role == Role.Trainer ? keccak256(abi.encode(round, i)) : bytes32(0)
                })
            );
        }
        lastHeader = headerOver(leaves);
        return lastHeader;
    }

    /// @dev A header of the open round over these leaves, right in all fields that the chain checks.
    function headerOver(Leaf[] memory leaves_) internal view returns (Header memory) {
        Status memory s = run.status();
        RoundInfo memory info = run.roundInfo(s.round);
        ProofNode memory root = Tree.root(Tree.build(leaves_));
        return Header({
            run: address(run),
            round: s.round,
            attempt: 0,
            previous: s.lastHeaderHash,
            reveals: info.revealsHash,
            root: root.hash,
            totalWeight: root.weight,
            totalAmountWei: root.amountWei,
            leafCount: uint32(leaves_.length),
            budgetWei: run.budgetOf(s.round),
            stateRoot: keccak256(abi.encode("state", s.round)),
            aggregateHash: keccak256(abi.encode("aggregate", s.round))
        });
    }

    function proofOf(uint256 index) internal view returns (ProofNode[] memory) {
        return Tree.proof(Tree.build(leaves), index);
    }

    function attest(uint256 v, Header memory header) internal {
        vm.prank(validatorOperator(v));
        run.attest(header, CID);
    }

    /* WHOLE PHASES */

    function current() internal view returns (uint32) {
        return run.status().round;
    }

    function phase() internal view returns (Phase) {
        return run.status().phase;
    }

    /// @dev From Train to the end of the reveals: every trainer commits and reveals, two seconds apart.
    function contributeAll() internal {
        for (uint256 i = 0; i < 3; i++) {
            skip(2);
            commit(i);
        }
        if (phase() == Phase.Train) vm.warp(run.status().phaseEndsAt);
        for (uint256 i = 0; i < 3; i++) {
            skip(2);
            reveal(i);
        }
    }

    /// @dev From Train to Score.
    function toScore() internal {
        contributeAll();
        draw();
    }

    /// @dev From Train to Settle; every validator commits and reveals weights.
    function toSettle() internal {
        toScore();
        for (uint256 v = 0; v < 3; v++) {
            skip(2);
            commitWeights(v);
        }
        if (phase() == Phase.Score) vm.warp(run.status().phaseEndsAt);
        for (uint256 v = 0; v < 3; v++) {
            skip(2);
            revealWeights(v);
        }
    }

    /// @dev From Train to the next round; each member gets `eachWei`.
    function settleRound(uint128 eachWei) internal returns (Header memory header) {
        toSettle();
        header = makeHeader(eachWei);
        vm.warp(max(block.timestamp, run.roundInfo(header.round).openedAt + run.params().minRoundSeconds));
        attest(0, header);
        attest(1, header);
    }

    function max(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }
}
