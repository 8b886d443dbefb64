// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {Lanes} from "../../src/libraries/Lanes.sol";
import {MerkleSum} from "../../src/libraries/MerkleSum.sol";
import {Header, Leaf, ProofNode} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev The Python package writes these files from its own model (tests/vectors). The contracts must agree with it.
contract VectorsTest is BaseTest {
    string private constant HEADER = "Header(address run,uint32 round,uint32 attempt,bytes32 previous,"
        "bytes32 reveals,bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount,"
        "uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)";
    string private constant LEAF = "Leaf(uint32 index,address account,uint128 cumulativeAmountWei,"
        "uint64 weight,uint64 reputation,bytes32 row)";
    string private constant PROOF_NODE = "ProofNode(bytes32 hash,uint64 weight,uint128 amountWei)";

    string private json;

    function load(string memory name) private {
        json = vm.readFile(string.concat("../tests/vectors/", name));
    }

    function item(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function has(string memory key) private view returns (bool) {
        return vm.keyExistsJson(json, key);
    }

    function word(string memory base, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(base, field));
    }

    function number(string memory base, string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(base, field));
    }

    function account(string memory base, string memory field) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(base, field));
    }

    function textHash(string memory base, string memory field) private view returns (bytes32) {
        return keccak256(bytes(vm.parseJsonString(json, string.concat(base, field))));
    }

    function headerOf(string memory base) private view returns (Header memory) {
        return abi.decode(vm.parseJsonType(json, string.concat(base, ".header"), HEADER), (Header));
    }

    function leavesOf(string memory base) private view returns (Leaf[] memory) {
        return abi.decode(vm.parseJsonTypeArray(json, string.concat(base, ".leaves"), LEAF), (Leaf[]));
    }

    function proofOf(string memory base, uint256 i) private view returns (ProofNode[] memory) {
        string memory key = string.concat(base, ".proofs[", vm.toString(i), "]");
        return abi.decode(vm.parseJsonTypeArray(json, key, PROOF_NODE), (ProofNode[]));
    }

    function test_MerkleSum() public {
        load("merkle_sum.json");
        uint256 count;
        for (; has(item("cases", count)); count++) {
            checkTree(item("cases", count));
        }
        assertGt(count, 0, "there are cases");
    }

    function checkTree(string memory base) private view {
        Header memory header = headerOf(base);
        Leaf[] memory leaves = leavesOf(base);
        assertEq(Commitment.headerHash(header), word(base, ".headerHash"), "header");
        assertEq(header.leafCount, leaves.length, "leaves");
        assertEq(MerkleSum.depthOf(header.leafCount), number(base, ".depth"), "depth");
        for (uint256 i = 0; i < leaves.length; i++) {
            ProofNode[] memory proof = proofOf(base, i);
            assertEq(
                MerkleSum.leafHash(leaves[i]),
                word(base, string.concat(".leafHashes[", vm.toString(i), "]")),
                "leaf"
            );
            assertTrue(MerkleSum.verify(header, leaves[i], proof), "proof");
            leaves[i].weight ^= 2;
            assertFalse(MerkleSum.verify(header, leaves[i], proof), "changed leaf");
        }
    }

    function test_Settlements() public {
        load("settlement.json");
        uint256 count;
        for (; has(item("cases", count)); count++) {
            string memory base = item("cases", count);
            Header memory header = headerOf(base);
            Leaf[] memory leaves = leavesOf(base);
            ProofNode[][] memory levels = Tree.build(leaves);
            assertEq(Commitment.headerHash(header), word(base, ".headerHash"), "header");
            for (uint256 i = 0; i < leaves.length; i++) {
                assertTrue(MerkleSum.verify(header, leaves[i], Tree.proof(levels, i)), "leaf");
            }
        }
        assertGt(count, 0, "there are cases");
    }

    function test_Contributions() public {
        load("commitments.json");
        uint256 count;
        for (; has(item("contributions", count)); count++) {
            string memory base = item("contributions", count);
            vm.chainId(number(base, ".chainId"));
            bytes32 hash = Commitment.contribution(
                account(base, ".run"),
                uint32(number(base, ".round")),
                account(base, ".account"),
                word(base, ".contentHash"),
                textHash(base, ".cid"),
                word(base, ".salt")
            );
            assertEq(hash, word(base, ".commitment"), "commitment");
        }
        assertGt(count, 0, "there are cases");
    }

    function test_Weights() public {
        load("commitments.json");
        uint256 count;
        for (; has(item("weights", count)); count++) {
            string memory base = item("weights", count);
            vm.chainId(number(base, ".chainId"));
            bytes32 hash = Commitment.weights(
                account(base, ".run"),
                uint32(number(base, ".round")),
                account(base, ".account"),
                keccak256(vm.parseJsonBytes(json, string.concat(base, ".vector"))),
                word(base, ".evidenceHash"),
                textHash(base, ".evidenceCid"),
                word(base, ".salt")
            );
            assertEq(hash, word(base, ".commitment"), "commitment");
        }
        assertGt(count, 0, "there are cases");
    }

    function test_Seeds() public {
        load("commitments.json");
        uint256 count;
        for (; has(item("seeds", count)); count++) {
            string memory base = item("seeds", count);
            vm.chainId(number(base, ".chainId"));
            vm.prevrandao(word(base, ".prevrandao"));
            address run = account(base, ".run");
            uint32 round = uint32(number(base, ".round"));
            assertEq(Commitment.assignSeed(run, round), word(base, ".assignSeed"), "assign");
            assertEq(Commitment.evalSeed(run, round), word(base, ".evalSeed"), "evaluate");
        }
        assertGt(count, 0, "there are cases");
    }

    function test_RunningHashOfReveals() public {
        load("commitments.json");
        bytes32 reveals;
        uint256 count;
        for (; has(item("reveals.contributions", count)); count++) {
            string memory base = item("reveals.contributions", count);
            reveals = Commitment.afterContribution(
                reveals, uint32(number(base, ".index")), word(base, ".contentHash"), textHash(base, ".cid")
            );
        }
        assertGt(count, 0, "there are contributions");
        for (count = 0; has(item("reveals.weights", count)); count++) {
            string memory base = item("reveals.weights", count);
            reveals = Commitment.afterWeights(
                reveals,
                uint16(number(base, ".slot")),
                keccak256(vm.parseJsonBytes(json, string.concat(base, ".vector"))),
                word(base, ".evidenceHash")
            );
        }
        assertGt(count, 0, "there are weights");
        assertEq(reveals, word(".reveals", ".revealsHash"), "running hash");
    }

    function test_Lanes() public {
        load("commitments.json");
        uint256[] memory values = vm.parseJsonUintArray(json, ".lanes.values");
        bytes32 lanes = word(".lanes", ".word");
        for (uint16 v = 0; v < 16; v++) {
            assertEq(Lanes.lane(lanes, v), v < values.length ? values[v] : 0, "lane");
        }
    }
}
