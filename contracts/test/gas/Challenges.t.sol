// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Member, Round} from "../../src/types/Storage.sol";
import {Body, Entry, Header, Leaf, PreviousLeaf, Role, Tree as TreeOf} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev What disputes cost at 131,000 leaves with 16 validators. Run with `--isolate`: whole transactions.
/// Those that show two proofs and look up seats or two members pass 90,000: of a validator's reputation, 49,000 are the
/// call's own (1,250 bytes other than zero), 14,500 cold reads, 10,000 the two writes, 8,500 the registry and the
/// delegation, 6,000 hashes.
contract ChallengesGasTest is DisputesFixture {
    uint32 private constant LEAVES = 131_000;
    uint256 private constant LIMIT = 90_000;
    uint32 private constant TRAINER = 99_998;
    uint32 private constant VALIDATOR = 99_999;

    Leaf[] private _previous;

    function setUp() public override {
        super.setUp();
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
        _member(TRAINER, Role.Trainer, 255);
        _member(VALIDATOR, Role.Validator, 15);
        _member(LEAVES - 1, Role.Trainer, 254);
        totals = TreeOf({
            root: 0, totalWeight: 0x1234567890AB, totalAmountWei: 987_654.321987654321987654 ether, leafCount: LEAVES
        });
        previousTotals.totalWeight = 0x1134567890AB;
        previousTotals.totalAmountWei = 987_554.321987654321987654 ether;
        for (uint256 i = 0; i < leaves.length; i++) {
            _previous.push(leaves[i]);
            _previous[i].cumulativeAmountWei -= 1.098765432109876543 ether;
        }
        storeWorld();
        previousTotals.leafCount = LEAVES;
        previousTotals.root = previousRoot();
        storeHeader();
        for (uint256 v = 0; v < 2; v++) {
            Member memory m;
            (m.role, m.slot) = (uint8(Role.Validator), uint8(v));
            harness.setMember(operator(v), m);
        }
    }

    function _member(uint32 index, Role role, uint16 slot) private {
        Entry memory e;
        (e.index, e.role, e.slot, e.activeUntil, e.stakeWei) = (index, role, slot, type(uint32).max, STAKE);
        (e.account, e.operator) = (account(index), operator(index));
        stakes.set(e);
        Leaf memory leaf;
        (leaf.index, leaf.account) = (index, e.account);
        leaf.cumulativeAmountWei = 1_234.567890123456789012 ether;
        leaf.detail.weight = 0x3FFC0000123;
        if (role == Role.Validator) leaf.detail.weight = 0;
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
        (p.cumulativeAmountWei, p.detail) = (_previous[k].cumulativeAmountWei, _previous[k].detail);
        p.proof = Tree.proof(Tree.Sparse(_previous, LEAVES), leaves[k].index);
    }

    function measured(string memory name) private {
        measured(name, LIMIT);
    }

    function measured(string memory name, uint256 limit) private {
        uint256 gas = vm.snapshotGasLastCall("challenges", name);
        assertTrue(voided());
        assertLe(gas, limit);
    }

    function test_Row() public {
        leaves[0].detail.row = bytes32(uint256(leaves[0].detail.row) ^ 1 << 240);
        storeHeader();
        bytes memory shown = vector(15);
        bytes32[] memory proof = proofOf(TRAINER);
        run.challengeRow(opened(), leaves[0], proof, 15, shown);
        measured("row");
    }

    function test_Weight() public {
        bytes32[] memory proof = proofOf(TRAINER);
        run.challengeWeight(opened(), leaves[0], proof);
        measured("weight");
    }

    function test_Coverage() public {
        leaves[0].detail.row |= bytes32(uint256(0xFFFF) << 240);
        storeHeader();
        bytes32[] memory proof = proofOf(VALIDATOR);
        bytes32[] memory witnessProof = proofOf(TRAINER);
        run.challengeCoverage(opened(), leaves[1], proof, leaves[0], witnessProof);
        measured("coverage", 97_000);
    }

    function test_Amount() public {
        bytes32[] memory proof = proofOf(TRAINER);
        PreviousLeaf memory p = previous(0);
        run.challengeAmount(header(), leaves[0], proof, p);
        measured("amount of a trainer", 94_000);
    }

    function test_AmountOfValidator() public {
        bytes32[] memory proof = proofOf(VALIDATOR);
        PreviousLeaf memory p = previous(1);
        run.challengeAmount(header(), leaves[1], proof, p);
        measured("amount of a validator", 103_000);
    }

    function test_Reputation() public {
        bytes32[] memory proof = proofOf(TRAINER);
        PreviousLeaf memory p = previous(0);
        run.challengeReputation(header(), leaves[0], proof, p);
        measured("reputation of a trainer", 105_000);
    }

    function test_ReputationOfValidator() public {
        bytes32[] memory proof = proofOf(VALIDATOR);
        PreviousLeaf memory p = previous(1);
        run.challengeReputation(header(), leaves[1], proof, p);
        measured("reputation of a validator", 100_000);
    }

    function test_Sum() public {
        bytes32[] memory proof = proofOf(TRAINER);
        bytes32[] memory rightProof = proofOf(VALIDATOR);
        run.challengeSum(opened(), leaves[0], proof, leaves[1], rightProof);
        measured("sum");
    }

    function test_LastSum() public {
        bytes32[] memory proof = proofOf(LEAVES - 1);
        run.challengeLastSum(opened(), leaves[2], proof);
        measured("sum of the last leaf");
    }

    function test_Identity() public {
        leaves[0].account = address(0xBEEF);
        storeHeader();
        bytes32[] memory proof = proofOf(TRAINER);
        run.challengeIdentity(opened(), leaves[0], proof);
        measured("identity");
    }

    function test_DemandAnswerTimeout() public {
        vm.deal(address(this), 1 ether);
        bytes32[] memory proof = proofOf(TRAINER);
        run.demand{value: BOND}(opened(), TRAINER);
        vm.snapshotGasLastCall("challenges", "demand");
        run.demand{value: BOND}(opened(), VALIDATOR);
        run.answer(opened(), leaves[0], proof);
        vm.snapshotGasLastCall("challenges", "answer");
        vm.warp(block.timestamp + ANSWER + 1);
        run.timeout(ROUND, VALIDATOR);
        measured("timeout");
    }

    function test_Equivocation() public {
        Header memory other = header();
        other.body.stateRoot = keccak256("another state");
        bytes memory a = _signed(header());
        bytes memory b = _signed(other);
        run.equivocation(header(), a, other, b);
        assertLe(vm.snapshotGasLastCall("challenges", "equivocation"), LIMIT);
    }



    function _signed(Header memory h) private view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Emerit"),
                keccak256("1"),
                block.chainid,
                address(harness)
            )
        );
        (bytes32 r, bytes32 vs) = vm.signCompact(key(0), keccak256(abi.encodePacked(hex"1901", domain, hashOf(h))));
        return abi.encodePacked(r, vs);
    }

    receive() external payable {}
}
