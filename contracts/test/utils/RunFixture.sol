// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Disputes} from "../../src/Disputes.sol";
import {EmeritToken} from "../../src/EmeritToken.sol";
import {Penalties} from "../../src/Penalties.sol";
import {Reputation} from "../../src/Reputation.sol";
import {Rewards} from "../../src/Rewards.sol";
import {RunFactory} from "../../src/RunFactory.sol";
import {Settlement} from "../../src/Settlement.sol";
import {Stakes} from "../../src/Stakes.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {
    Body,
    Header,
    Phase,
    Role,
    RoundInfo,
    RunParams,
    SignedCommit,
    Status,
    Tree
} from "../../src/types/Types.sol";
import {BaseTest} from "./BaseTest.sol";

/// @dev A deployment with one run, three trainers and three validators of equal weight, and the acts of a round.
/// Trainer i has registry index i and slot i, validator v has index 3 + v and slot v. Operators have keys and can sign.
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
    ITrainingRun internal run;
    Reputation internal reputation;

    /// @dev How many of each take part in the helpers for whole phases.
    uint256 internal trainerCount = 3;
    uint256 internal validatorCount = 3;

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
        factory = new RunFactory(deployCore(), address(new Reputation()));
    }

    /// @dev The parts of all runs. Tests may put others in their place.
    function deployCore() internal virtual returns (address) {
        address penalties = address(new Penalties(address(stakes), address(rewards)));
        address disputes = address(new Disputes(address(stakes), address(rewards), penalties));
        return address(new Settlement(address(stakes), address(rewards), disputes));
    }

    function defaultParams() internal view virtual returns (RunParams memory p) {
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
        p.answerSeconds = 10;
        p.claimPeriodSeconds = 2 hours;
        p.historyRounds = 32;
        p.epochRounds = 4;
        p.minTrainers = 3;
        p.minValidators = 3;
        p.validatorShareBps = 2_000;
        p.slashRounds = 2;
        p.rewardRateWeiPerSecond = 1 ether;
        p.minTrainerBondWei = BOND_WEI;
        p.minValidatorStakeWei = STAKE_WEI;
        p.stakeUnitWei = 1 ether;
        p.missFineWei = 1 ether;
        p.demandBondWei = 0.01 ether;
        p.reputation.continuePpb = 850_000_000;
        p.reputation.neckThresholdPpb = 500_000_000;
        p.reputation.connectivityDecayPpb = 800_000_000;
        p.reputation.epochWeightPpb = 100_000_000;
        p.reputation.keepPpb = 900_000_000;
        p.reputation.neckMinValidators = 3;
    }

    function createRun(RunParams memory p) internal returns (ITrainingRun, Reputation) {
        vm.prank(sponsor);
        (address run_, address reputation_) = factory.createRun(p);
        return (ITrainingRun(run_), Reputation(reputation_));
    }

    function fund(ITrainingRun run_, uint128 amountWei) internal {
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
        return vm.addr(key("trainer", i));
    }

    function trainerOperator(uint256 i) internal pure returns (address) {
        return vm.addr(trainerKey(i));
    }

    function trainerKey(uint256 i) internal pure returns (uint256) {
        return key("trainer operator", i);
    }

    function validator(uint256 v) internal pure returns (address) {
        return vm.addr(key("validator", v));
    }

    function validatorOperator(uint256 v) internal pure returns (address) {
        return vm.addr(validatorKey(v));
    }

    function validatorKey(uint256 v) internal pure returns (uint256) {
        return key("validator operator", v);
    }

    function key(string memory kind, uint256 i) private pure returns (uint256) {
        // Far below the order of the curve.
        return uint256(keccak256(abi.encode(kind, i))) >> 8;
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

    function leaveTrainer(uint256 i) internal {
        vm.prank(trainer(i));
        stakes.leave(address(run));
    }

    function leaveValidator(uint256 v) internal {
        vm.prank(validator(v));
        stakes.leave(address(run));
    }

    function joinAll() internal {
        for (uint256 i = 0; i < trainerCount; i++) {
            joinTrainer(i);
        }
        for (uint256 v = 0; v < validatorCount; v++) {
            joinValidator(v);
        }
    }

    function checkInAll() internal {
        for (uint256 i = 0; i < trainerCount; i++) {
            checkInTrainer(i);
        }
        for (uint256 v = 0; v < validatorCount; v++) {
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
                keccak256("emerit/contribution/v2"),
                block.chainid,
                address(run),
                round,
                uint16(i),
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

    /// @dev A trainer's commitment as it gives it to a relayer.
    function signedCommit(uint32 round, uint256 i) internal view returns (SignedCommit memory item) {
        item.commitment = commitment(round, i);
        bytes32 structHash = keccak256(
            abi.encode(keccak256("Commit(uint32 round,bytes32 commitment)"), round, item.commitment)
        );
        (item.r, item.vs) = signCompact(trainerKey(i), structHash);
    }

    function reveal(uint256 i) internal {
        uint32 round = current();
        vm.prank(trainerOperator(i));
        run.reveal(round, trainerOperator(i), contentHash(round, i), CID, salt(round, i));
    }

    function draw() internal {
        vm.warp(run.status().phaseEndsAt);
        run.draw(current());
    }

    /* WEIGHTS */

    /// @dev The vector that a validator reveals. Tests may put another in its place.
    function vector(uint32 round, uint256 v) internal view virtual returns (bytes memory lanes) {
        lanes = new bytes(2 * (2 + run.roundInfo(round).trainerSlots));
        for (uint256 k = 0; k < lanes.length; k++) {
            lanes[k] = bytes1(uint8(uint256(keccak256(abi.encode(round, v, k)))));
        }
    }

    function evidenceHash(uint32 round, uint256 v) internal pure returns (bytes32) {
        return keccak256(abi.encode("evidence", round, v));
    }

    function weightsCommitment(uint32 round, uint256 v) internal view returns (bytes32) {
        return weightsCommitment(round, v, vector(round, v), evidenceHash(round, v), CID, salt(round, v));
    }

    function weightsCommitment(
        uint32 round,
        uint256 v,
        bytes memory lanes,
        bytes32 evidence,
        string memory cid,
        bytes32 salt_
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("emerit/weights/v2"),
                block.chainid,
                address(run),
                round,
                uint16(v),
                keccak256(lanes),
                evidence,
                keccak256(bytes(cid)),
                salt_
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

    /// @dev A header of the round over this tree, right in all fields that the chain checks, for a round that settles
    /// next (the open one, or one that lost its pay).
    function headerOver(uint32 round, Tree memory tree) internal view returns (Header memory) {
        Status memory s = run.status();
        RoundInfo memory info = run.roundInfo(round);
        return Header({
            body: Body({
                run: address(run),
                round: round,
                attempt: s.behind && s.behindRound == round ? s.behindAttempt : info.attempt,
                previous: s.lastHeaderHash,
                reveals: info.revealsHash,
                budgetWei: run.budgetOf(round),
                stateRoot: keccak256(abi.encode("state", round)),
                aggregateHash: keccak256(abi.encode("aggregate", round))
            }),
            tree: tree
        });
    }

    /// @dev A header of the round that pays `addedWei` more than the last header did, to nobody knows whom.
    function makeHeader(uint32 round, uint128 addedWei) internal view returns (Header memory) {
        return headerOver(
            round,
            Tree({
                root: keccak256(abi.encode("root", round, addedWei)),
                totalWeight: 1_000,
                totalAmountWei: run.settledTotalWei() + addedWei,
                leafCount: run.roundInfo(round).registrySize
            })
        );
    }

    function hashOf(Header memory header) internal view returns (bytes32) {
        return this.hashOfCalldata(header);
    }

    function hashOfCalldata(Header calldata header) external pure returns (bytes32) {
        return Commitment.headerHash(header);
    }

    function attest(uint256 v, Header memory header) internal {
        vm.prank(validatorOperator(v));
        run.attest(header, CID);
    }

    /// @dev Signatures of the first `count` validators.
    function signatures(Header memory header, uint256 count) internal view returns (bytes memory all) {
        for (uint256 v = 0; v < count; v++) {
            all = bytes.concat(all, signature(v, header));
        }
    }

    function signature(uint256 v, Header memory header) internal view returns (bytes memory) {
        (bytes32 r, bytes32 vs) = signCompact(validatorKey(v), hashOf(header));
        return abi.encodePacked(r, vs);
    }

    /// @dev A signature over a struct of this run, in the form of EIP-2098.
    function signCompact(uint256 privateKey, bytes32 structHash)
        internal
        view
        returns (bytes32 r, bytes32 vs)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Emerit"),
                keccak256("1"),
                block.chainid,
                address(run)
            )
        );
        return vm.signCompact(privateKey, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
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
        for (uint256 i = 0; i < trainerCount; i++) {
            skip(2);
            commit(i);
        }
        if (phase() == Phase.Train) vm.warp(run.status().phaseEndsAt);
        for (uint256 i = 0; i < trainerCount; i++) {
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
        for (uint256 v = 0; v < validatorCount; v++) {
            skip(2);
            commitWeights(v);
        }
        if (phase() == Phase.Score) vm.warp(run.status().phaseEndsAt);
        for (uint256 v = 0; v < validatorCount; v++) {
            skip(2);
            revealWeights(v);
        }
    }

    /// @dev From Train to a time at which the round may settle; a few acts only.
    function toSettleQuickly() internal {
        vm.warp(run.status().phaseEndsAt);
        draw();
        vm.warp(run.status().phaseEndsAt);
    }

    /// @dev The open round becomes void, whatever phase it is in.
    function voidCurrent() internal {
        uint32 round = current();
        while (phase() != Phase.Expired) {
            if (phase() == Phase.Draw) draw();
            else vm.warp(run.status().phaseEndsAt);
        }
        run.voidRound(round);
    }

    /// @dev Settles a round with the signatures of all validators.
    function settle(Header memory header) internal {
        vm.warp(
            max(block.timestamp, run.roundInfo(header.body.round).openedAt + run.params().minRoundSeconds)
        );
        bytes memory signed = signatures(header, validatorCount);
        run.settleSigned(header, CID, signed);
    }

    /// @dev From Train to the next round, in which `addedWei` more are paid.
    function settleRound(uint128 addedWei) internal returns (Header memory header) {
        toSettle();
        header = makeHeader(current(), addedWei);
        settle(header);
    }

    /// @dev As `settleRound`, but nobody contributed.
    function settleQuickly(uint128 addedWei) internal returns (Header memory header) {
        toSettleQuickly();
        header = makeHeader(current(), addedWei);
        settle(header);
    }

    /// @dev A lap of the ring in which everybody acted in every round.
    function lap() internal {
        // The ring of epochs is two epochs longer than that of rounds.
        uint256 rounds = run.params().historyRounds + 2 * run.params().epochRounds + 1;
        for (uint256 k = 0; k < rounds; k++) {
            settleRound(1);
        }
    }

    function max(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }
}
