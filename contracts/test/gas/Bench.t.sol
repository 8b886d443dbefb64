// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Disputes} from "../../src/Disputes.sol";
import {PayChain} from "../../src/PayChain.sol";
import {Penalties} from "../../src/Penalties.sol";
import {Settlement} from "../../src/Settlement.sol";
import {Stakes} from "../../src/Stakes.sol";
import {TrainingRun} from "../../src/TrainingRun.sol";
import {IRunDisputes} from "../../src/interfaces/IRunDisputes.sol";
import {
    Entry,
    Header,
    Leaf,
    Phase,
    PreviousLeaf,
    Role,
    RunParams,
    SignedCommit,
    Tree as TreeOf
} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {DisputesFixture, RunHarness} from "../utils/DisputesFixture.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";
import {LargeClaims} from "../utils/LargeClaims.sol";
import {RunFixture} from "../utils/RunFixture.sol";
import {Tree} from "../utils/Tree.sol";

// What `scripts/bench gas` prints. Every figure is a whole transaction from an account, calldata and intrinsic gas
// included, to the contracts as they are deployed. Beside each stands the least that its calldata costs by EIP-7623.

abstract contract Bench is BaseTest {
    /// @dev Sends the call as a transaction and notes what it costs.
    function measure(string memory name, address from, address to, bytes memory data) internal {
        measure(name, from, to, data, 0);
    }

    function measure(string memory name, address from, address to, bytes memory data, uint256 valueWei)
        internal
    {
        vm.deal(from, from.balance + valueWei);
        vm.prank(from);
        (bool done,) = to.call{value: valueWei}(data);
        vm.snapshotGasLastCall("bench", name);
        assertTrue(done, name);
        vm.snapshotValue("floor", name, floorOf(data));
    }

    /// @dev EIP-7623: 10 gas for a zero byte, 40 for any other, whatever the call does.
    function floorOf(bytes memory data) internal pure returns (uint256 gas) {
        gas = 21_000;
        for (uint256 i = 0; i < data.length; i++) {
            gas += data[i] == 0 ? 10 : 40;
        }
    }
}

/// @dev Makes a run believe that its registry is larger than it is.
contract LargeRegistry is PayChain {
    constructor() PayChain(address(0), address(0)) {}

    function setRegistrySize(uint32 size) external {
        _state.registrySize = size;
        _rounds[_place(_state.round)].registrySize = size;
    }
}

/// @dev The acts of a round, in a run all of whose slots have been used.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract BenchActsTest is RunFixture, Bench {
    function test_Contributions() public {
        (trainerCount, validatorCount) = (4, 8);
        startRunCheckedIn();
        lap();
        uint32 round = current();
        bytes memory data = abi.encodeCall(run.commit, (round, commitment(round, 0)));
        measure("commit_contribution", trainerOperator(0), address(run), data);
        for (uint256 i = 1; i < 4; i++) {
            commit(i);
        }
        address by = trainerOperator(0);
        data = abi.encodeCall(run.reveal, (round, by, contentHash(round, 0), CID, salt(round, 0)));
        measure("reveal_contribution", by, address(run), data);
    }

    function test_Weights() public {
        (trainerCount, validatorCount) = (4, 8);
        startRunCheckedIn();
        lap();
        uint32 round = current();
        toScore();
        for (uint256 v = 0; v < 8; v++) {
            bytes memory data = abi.encodeCall(run.commitWeights, (round, weightsCommitment(round, v)));
            if (v == 0) measure("commit_weights", validatorOperator(v), address(run), data);
            else if (v == 7) measure("commit_weights_closes_phase", validatorOperator(v), address(run), data);
            else commitWeights(v);
        }
    }

    /// @dev 256 trainers in the run, 16 validators with voting weight.
    function test_RevealOfTheLargestVector() public {
        RunParams memory p = defaultParams();
        (p.historyRounds, p.minRoundSeconds) = (4, 240);
        (run, reputation) = createRun(p);
        (trainerCount, validatorCount) = (256, 16);
        startRun();
        // The ring of rounds has four places.
        for (uint256 k = 0; k < 5; k++) {
            vm.warp(run.status().phaseEndsAt);
            draw();
            commitWeights(0);
            commitWeights(1);
            if (phase() == Phase.Score) vm.warp(run.status().phaseEndsAt);
            if (k == 4) break;
            revealWeights(0);
            revealWeights(1);
            settle(makeHeader(current(), 0));
        }
        uint32 round = current();
        bytes memory data = abi.encodeCall(
            run.revealWeights, (round, vector(round, 0), evidenceHash(round, 0), CID, salt(round, 0))
        );
        measure("reveal_weights_256", validatorOperator(0), address(run), data);
    }

    function test_RelayedCommits() public {
        trainerCount = 100;
        startRun();
        for (uint256 i = 0; i < 100; i++) {
            commit(i);
        }
        voidCurrent();
        uint32 round = current();
        SignedCommit[] memory items = new SignedCommit[](100);
        for (uint256 i = 0; i < 100; i++) {
            items[i] = signedCommit(round, i);
        }
        bytes memory data = abi.encodeCall(run.commitBatch, (round, items));
        vm.prank(stranger);
        (bool done, bytes memory accepted) = address(run).call(data);
        uint256 used = vm.snapshotGasLastCall("bench", "relayed_batch100");
        assertTrue(done && abi.decode(accepted, (uint256)) == 100, "all of them");
        vm.snapshotValue("bench", "relayed_batch100_each", used / 100);
        vm.snapshotValue("floor", "relayed_batch100", floorOf(data));
        vm.snapshotValue("floor", "relayed_batch100_each", floorOf(data) / 100);
    }

    /* SETTLEMENT */

    function test_SettleSigned() public {
        toSettleOf8(false);
        uint256 before = vm.snapshotState();
        settleSigned(10, "settle_signed_6_of_8_10_leaves");
        vm.revertToState(before);
        settleSigned(1_000, "settle_signed_6_of_8_1000_leaves");
        vm.revertToState(before);
        settleSigned(131_000, "settle_signed_6_of_8_131000_leaves");
    }

    /// @dev The round that opens is the first of an epoch: seats and voting weights are fixed anew.
    function test_SettleSignedAtAnEpochsEnd() public {
        toSettleOf8(true);
        settleSigned(131_000, "settle_signed_6_of_8_opens_epoch");
    }

    /// @dev Validators 0 to 5 have revealed and may sign; a lap has passed.
    function toSettleOf8(bool lastOfEpoch) private {
        (trainerCount, validatorCount) = (4, 8);
        startRunCheckedIn();
        lap();
        if (lastOfEpoch) {
            settleRound(1);
            settleRound(1);
        }
        assertEq((current() + 1) % run.params().epochRounds == 0, lastOfEpoch, "round");
        toSettle();
        skip(20);
    }

    function settleSigned(uint32 leafCount, string memory name) private {
        bytes memory code = address(run).code;
        vm.etch(address(run), address(new LargeRegistry()).code);
        LargeRegistry(payable(address(run))).setRegistrySize(leafCount);
        vm.etch(address(run), code);
        Header memory header = makeHeader(current(), 1);
        assertEq(header.tree.leafCount, leafCount, "leaves");
        bytes memory data = abi.encodeCall(run.settleSigned, (header, CID, signatures(header, 6)));
        measure(name, stranger, address(run), data);
    }
}

/// @dev Claims under the header that the run's purse is kept under, by accounts that were paid before.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract BenchClaimsTest is LargeClaims, Bench {
    function test_Claims1k() public {
        claims(1_000, "1k");
    }

    function test_Claims131k() public {
        claims(131_000, "131k");
    }

    function claims(uint32 leafCount, string memory name) private {
        fund(run, POOL_WEI);
        (Shown memory one, Shown memory other) = large(301, leafCount, 1.234567891234567891 ether);
        rewards.claim(address(run), one.tree, one.leaf, one.proof);
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        (one, other) = large(302, leafCount, 2.345678912345678912 ether);
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        bytes memory data = abi.encodeCall(rewards.claimNext, (address(run), leafCount, one.leaf, one.proof));
        uint256 before = vm.snapshotState();
        measure(string.concat("claim_next_", name), stranger, address(rewards), data);
        vm.revertToState(before);
        data = abi.encodeCall(rewards.claim, (address(run), one.tree, one.leaf, one.proof));
        measure(string.concat("claim_opened_", name), stranger, address(rewards), data);
    }
}

/// @dev Each challenge against a header of 131,000 leaves, in a run with 16 validators and 256 trainers, by the code
/// that is deployed: only its storage is written by the test.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract BenchChallengesTest is DisputesFixture, Bench {
    uint32 private constant LEAVES = 131_000;
    uint32 private constant TRAINER = 99_998;
    uint32 private constant VALIDATOR = 99_999;

    Stakes private _registry;
    Leaf[] private _previous;
    bytes private _runCode;
    bytes private _harnessCode;

    function setUp() public override {
        super.setUp();
        deployReal();
        world.round = ROUND;
        world.budgetWei = 120.123456789123456789 ether;
        world.validatorShareBps = 2_000;
        for (uint32 v = 0; v < 16; v++) {
            (world.stakes[v], world.seats[v], world.revealed[v]) = (1_000 + uint16(v), 77_000 + v, true);
            world.vectors.push();
            for (uint32 lane = 0; lane < 258; lane++) {
                world.vectors[v].push(uint16(0xE123 - 0x0111 * v - lane));
            }
        }
        world.seats[15] = VALIDATOR;
        addMember(TRAINER, Role.Trainer, 255);
        addMember(VALIDATOR, Role.Validator, 15);
        addMember(LEAVES - 1, Role.Trainer, 254);
        addMember(0, Role.Trainer, 253);
        totals = TreeOf(0, 0x1234567890AB, 987_654.321987654321987654 ether, LEAVES);
        previousTotals = TreeOf(0, 0x1134567890AB, 987_554.321987654321987654 ether, LEAVES);
        for (uint256 i = 0; i < leaves.length; i++) {
            _previous.push(leaves[i]);
            _previous[i].cumulativeAmountWei -= 1.098765432109876543 ether;
        }
        storeWorld();
        previousTotals.leafCount = LEAVES;
        previousTotals.root = previousRoot();
        storeHeader();
    }

    /// @dev The deployed parts; the fixture's harness moves to the address of the run, for writing its storage.
    function deployReal() private {
        _registry = new Stakes(1 hours);
        address penalties_ = address(new Penalties(address(_registry), address(0xBEEF)));
        address disputes_ = address(new Disputes(address(_registry), address(0xBEEF), penalties_));
        address core = address(new Settlement(address(_registry), address(0xBEEF), disputes_));
        TrainingRun real = new TrainingRun(core, params(), address(0xA), address(0xB));
        (_runCode, _harnessCode) = (address(real).code, address(harness).code);
        vm.etch(address(real), _harnessCode);
        RunHarness before = harness;
        harness = RunHarness(payable(address(real)));
        harness.setState(before.getState());
        harness.setRound(before.getRound(6));
        run = IRunDisputes(address(real));
    }

    /// @dev A member of the registry of 131,000, and its leaf.
    function addMember(uint32 index, Role role, uint16 slot) private {
        register(index, role, slot);
        Leaf memory leaf;
        (leaf.index, leaf.account) = (index, account(index));
        leaf.cumulativeAmountWei = 1_234.567890123456789012 ether;
        if (role == Role.Trainer) leaf.detail.weight = 0x3FFC0000123;
        leaf.detail.reputation = 123_456_789;
        uint16[16] memory row;
        for (uint256 v = 0; v < 16; v++) {
            row[v] = world.vectors[v][role == Role.Trainer ? 2 + slot : 0];
        }
        leaf.detail.row = HonestSettlement.packed(row);
        leaf.detail.weightBefore = 0x1034567890AB;
        leaf.detail.amountBeforeWei = 587_654.321987654321987654 ether;
        leaves.push(leaf);
    }

    /// @dev Writes an entry of the real registry: 131,000 members join in no test.
    function register(uint32 index, Role role, uint16 slot) private {
        uint256 registry = uint256(keccak256(abi.encode(address(harness), uint256(0))));
        uint256 entries = registry + 7;
        vm.store(address(_registry), bytes32(entries), bytes32(uint256(LEAVES)));
        uint256 first = uint256(keccak256(abi.encode(entries))) + 3 * uint256(index);
        uint256 word = uint256(uint160(account(index))) | (uint256(role) << 160) | (uint256(slot) << 168)
            | (uint256(type(uint32).max) << 216);
        vm.store(address(_registry), bytes32(first), bytes32(word));
        vm.store(
            address(_registry),
            bytes32(first + 1),
            bytes32(uint256(uint160(operator(index))) | (uint256(index) << 160))
        );
        // Former and present operators, plus one: 0 is nobody.
        bytes32 key_ = keccak256(abi.encode(operator(index), registry + 9));
        vm.store(address(_registry), key_, bytes32(uint256(index) + 1));
        Entry memory e = _registry.entryOfOperator(address(harness), operator(index));
        assertTrue(e.account == account(index) && e.operator == operator(index), "layout of Stakes");
        assertTrue(e.role == role && e.slot == slot && e.index == index, "layout of Stakes");
        assertTrue(e.activeFrom == 0 && e.activeUntil == type(uint32).max, "layout of Stakes");
    }

    /* TREES */

    function previousRoot() internal view override returns (bytes32) {
        return Tree.root(Tree.Sparse(_previous, LEAVES));
    }

    function treeRoot() internal view override returns (bytes32) {
        return Tree.root(Tree.Sparse(leaves, LEAVES));
    }

    function proofOf(uint256 index) internal view override returns (bytes32[] memory) {
        return Tree.proof(Tree.Sparse(leaves, LEAVES), index);
    }

    function previous(uint256 k) private view returns (PreviousLeaf memory p) {
        (p.bodyHash, p.tree) = (keccak256("body of round 4"), previousTotals);
        p.account = _previous[k].account;
        (p.cumulativeAmountWei, p.detail) = (_previous[k].cumulativeAmountWei, _previous[k].detail);
        p.proof = Tree.proof(Tree.Sparse(_previous, LEAVES), leaves[k].index);
    }

    /* MEASUREMENT */

    /// @dev As a transaction to the deployed code.
    function send(string memory name, bytes memory data, uint256 valueWei) private {
        vm.etch(address(harness), _runCode);
        measure(name, address(0xCAFE), address(harness), data, valueWei);
        vm.etch(address(harness), _harnessCode);
    }

    function challenge(string memory name, bytes memory data) private {
        send(string.concat("challenge_", name, "_131k"), data, 0);
        assertTrue(voided(), name);
    }

    /* LEAVES */

    function test_Row() public {
        leaves[0].detail.row = bytes32(uint256(leaves[0].detail.row) ^ 1 << 240);
        storeHeader();
        challenge(
            "row", abi.encodeCall(run.challengeRow, (opened(), leaves[0], proofOf(TRAINER), 15, vector(15)))
        );
    }

    function test_Weight() public {
        challenge("weight", abi.encodeCall(run.challengeWeight, (opened(), leaves[0], proofOf(TRAINER))));
    }

    function test_Coverage() public {
        leaves[0].detail.row |= bytes32(uint256(0xFFFF) << 240);
        storeHeader();
        bytes memory data = abi.encodeCall(
            run.challengeCoverage, (opened(), leaves[1], proofOf(VALIDATOR), leaves[0], proofOf(TRAINER))
        );
        challenge("coverage", data);
    }

    function test_Amount() public {
        bytes memory data =
            abi.encodeCall(run.challengeAmount, (header(), leaves[0], proofOf(TRAINER), previous(0)));
        challenge("amount", data);
    }

    function test_AmountOfValidator() public {
        bytes memory data =
            abi.encodeCall(run.challengeAmount, (header(), leaves[1], proofOf(VALIDATOR), previous(1)));
        challenge("amount_validator", data);
    }

    function test_Reputation() public {
        bytes memory data =
            abi.encodeCall(run.challengeReputation, (header(), leaves[0], proofOf(TRAINER), previous(0)));
        challenge("reputation", data);
    }

    function test_ReputationOfValidator() public {
        bytes memory data =
            abi.encodeCall(run.challengeReputation, (header(), leaves[1], proofOf(VALIDATOR), previous(1)));
        challenge("reputation_validator", data);
    }

    function test_Sum() public {
        bytes memory data = abi.encodeCall(
            run.challengeSum, (opened(), leaves[0], proofOf(TRAINER), leaves[1], proofOf(VALIDATOR))
        );
        challenge("sum", data);
    }

    function test_FirstSum() public {
        challenge("first_sum", abi.encodeCall(run.challengeFirstSum, (opened(), leaves[3], proofOf(0))));
    }

    function test_LastSum() public {
        bytes memory data = abi.encodeCall(run.challengeLastSum, (opened(), leaves[2], proofOf(LEAVES - 1)));
        challenge("last_sum", data);
    }

    function test_Identity() public {
        leaves[0].account = address(0xBEEF);
        storeHeader();
        challenge("identity", abi.encodeCall(run.challengeIdentity, (opened(), leaves[0], proofOf(TRAINER))));
    }

    /* SIGNERS AND DEMANDS */

    function test_Equivocation() public {
        Header memory other = header();
        other.body.stateRoot = keccak256("another state");
        bytes memory data =
            abi.encodeCall(run.equivocation, (header(), signed(header()), other, signed(other)));
        send("challenge_equivocation", data, 0);
    }

    function test_Withheld() public {
        vm.deal(address(0xCAFE), 1 ether);
        send("demand_131k", abi.encodeCall(run.demand, (opened(), TRAINER)), BOND);
        uint256 before = vm.snapshotState();
        bytes memory data = abi.encodeCall(run.answer, (opened(), leaves[0], proofOf(TRAINER)));
        send("answer_131k", data, 0);
        vm.revertToState(before);
        vm.warp(block.timestamp + ANSWER + 1);
        challenge("timeout", abi.encodeCall(run.timeout, (ROUND, TRAINER)));
    }

    function signed(Header memory h) private view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Emerit"),
                keccak256("1"),
                block.chainid,
                address(harness)
            )
        );
        (bytes32 r, bytes32 vs) =
            vm.signCompact(key(VALIDATOR), keccak256(abi.encodePacked(hex"1901", domain, hashOf(h))));
        return abi.encodePacked(r, vs);
    }
}
