// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {Commitment} from "../../src/libraries/Commitment.sol";
import {Lanes} from "../../src/libraries/Lanes.sol";
import {Median} from "../../src/libraries/Median.sol";
import {Minifloat} from "../../src/libraries/Minifloat.sol";
import {SeedGraph} from "../../src/libraries/SeedGraph.sol";
import {SettlementTree} from "../../src/libraries/SettlementTree.sol";
import {ClaimLeaf, Header, Leaf, LeafDetail, OpenedTree, ReputationParams} from "../../src/types/Types.sol";
import {Tree as Trees} from "../utils/Tree.sol";
import {VectorReader} from "./VectorReader.sol";

/// @dev The Python package writes these files from its own model (tests/vectors). The libraries must agree with it.
contract VectorsTest is VectorReader {
    /* CALLDATA: what the libraries take only so */

    function headerHash(Header calldata header) external pure returns (bytes32) {
        return Commitment.headerHash(header);
    }

    function openedHash(OpenedTree calldata tree) external pure returns (bytes32) {
        return Commitment.openedHash(tree);
    }

    function detailHash(LeafDetail calldata detail) external pure returns (bytes32) {
        return SettlementTree.detailHash(detail);
    }

    function verify(Header calldata header, Leaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return SettlementTree.verify(header.tree, leaf, proof);
    }

    function verifyClaim(Header calldata header, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return SettlementTree.verifyClaim(header.tree, leaf, proof);
    }

    /* TREES */

    function test_SettlementTrees() public {
        load("settlement_tree.json");
        uint256 count;
        for (; has(item("cases", count)); count++) {
            checkTree(item("cases", count));
        }
        assertGt(count, 0, "there are cases");
    }

    function checkTree(string memory base) private view {
        Header memory header = headerOf(base, ".header");
        Leaf[] memory leaves = leavesOf(base, ".leaves");
        checkHashes(base, header);
        assertEq(header.tree.leafCount, leaves.length, "leaves");
        assertEq(words(base, ".proofs[0]").length, number(base, ".depth"), "depth");
        for (uint256 i = 0; i < leaves.length; i++) {
            string memory at = string.concat("[", vm.toString(i), "]");
            bytes32[] memory proof = words(base, string.concat(".proofs", at));
            bytes32 detail = word(base, string.concat(".detailHashes", at));
            Leaf memory leaf = leaves[i];
            assertEq(this.detailHash(leaf.detail), detail, "detail");
            assertEq(
                SettlementTree.leafHash(leaf.index, leaf.account, leaf.cumulativeAmountWei, detail),
                word(base, string.concat(".leafHashes", at)),
                "leaf"
            );
            assertTrue(this.verify(header, leaf, proof), "proof");
            ClaimLeaf memory claim = ClaimLeaf(leaf.index, leaf.account, leaf.cumulativeAmountWei, detail);
            assertTrue(this.verifyClaim(header, claim, proof), "claim");
            leaf.detail.weightBefore ^= 1;
            assertFalse(this.verify(header, leaf, proof), "changed leaf");
            claim.cumulativeAmountWei ^= 1;
            assertFalse(this.verifyClaim(header, claim, proof), "changed claim");
        }
    }

    function checkHashes(string memory base, Header memory header) private view {
        bytes32 body = word(base, ".bodyHash");
        assertEq(keccak256(abi.encode(Commitment.BODY_TYPEHASH, header.body)), body, "body");
        assertEq(
            keccak256(abi.encode(Commitment.TREE_TYPEHASH, header.tree)), word(base, ".treeHash"), "tree"
        );
        assertEq(this.headerHash(header), word(base, ".headerHash"), "header");
        assertEq(
            this.openedHash(OpenedTree(header.body.round, body, header.tree)),
            word(base, ".headerHash"),
            "opened"
        );
    }

    /* SIGNATURES */

    function test_Signatures() public {
        load("signatures.json");
        vm.chainId(number("", ".chainId"));
        bytes32 domain = Commitment.domain(account("", ".run"));
        assertEq(domain, word("", ".domain"), "domain");
        uint256 count;
        for (; has(item("headers", count)); count++) {
            string memory base = item("headers", count);
            Header memory header = headerOf(base, ".header");
            checkHashes(base, header);
            checkSignature(base, Commitment.digest(domain, this.headerHash(header)));
        }
        assertGt(count, 0, "there are headers");
        for (count = 0; has(item("commits", count)); count++) {
            string memory base = item("commits", count);
            bytes32 commit =
                Commitment.commitStruct(uint32(number(base, ".round")), word(base, ".commitment"));
            checkSignature(base, Commitment.digest(domain, commit));
        }
        assertGt(count, 0, "there are commits");
    }

    function checkSignature(string memory base, bytes32 digest) private view {
        assertEq(digest, word(base, ".digest"), "digest");
        (bytes32 r, bytes32 vs) = abi.decode(blob(base, ".signature"), (bytes32, bytes32));
        assertEq(ECDSA.recover(digest, r, vs), account("", ".signer"), "signer");
        (uint8 v, bytes32 signedR, bytes32 s) = vm.sign(uint256(word("", ".key")), digest);
        assertEq(signedR, r, "r");
        assertEq(uint256(s) | (uint256(v - 27) << 255), uint256(vs), "vs");
    }

    /* COMMITMENTS */

    function test_Contributions() public {
        load("commitments.json");
        uint256 count;
        for (; has(item("contributions", count)); count++) {
            string memory base = item("contributions", count);
            vm.chainId(number(base, ".chainId"));
            bytes32 hash = Commitment.contribution(
                account(base, ".run"),
                uint32(number(base, ".round")),
                uint16(number(base, ".slot")),
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
                uint16(number(base, ".slot")),
                keccak256(blob(base, ".vector")),
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
        string memory at = ".reveals";
        bytes32 reveals = Commitment.noReveals(account(at, ".run"), uint32(number(at, ".round")));
        assertEq(reveals, word(at, ".start"), "start");
        uint256 count;
        for (; has(item("reveals.contributions", count)); count++) {
            string memory base = item("reveals.contributions", count);
            reveals = Commitment.afterContribution(
                reveals, uint16(number(base, ".slot")), word(base, ".contentHash"), textHash(base, ".cid")
            );
        }
        assertGt(count, 0, "there are contributions");
        for (count = 0; has(item("reveals.weights", count)); count++) {
            string memory base = item("reveals.weights", count);
            bytes32 hash = keccak256(blob(base, ".vector"));
            uint16 slot = uint16(number(base, ".slot"));
            reveals = Commitment.afterWeights(reveals, slot, hash, word(base, ".evidenceHash"));
        }
        assertGt(count, 0, "there are weights");
        assertEq(reveals, word(at, ".revealsHash"), "running hash");
    }

    /* NUMBERS */

    function test_Lanes() public {
        load("commitments.json");
        uint256[] memory values = vm.parseJsonUintArray(json, ".lanes.values");
        bytes32 lanes = word(".lanes", ".word");
        for (uint16 v = 0; v < 16; v++) {
            assertEq(Lanes.lane(lanes, v), v < values.length ? values[v] : 0, "lane");
        }
    }

    function test_Minifloat() public {
        load("minifloat.json");
        assertEq(Minifloat.ABSTAIN, number("", ".abstain"), "abstain");
        uint256 count;
        for (; has(item("decode", count)); count++) {
            string memory base = item("decode", count);
            assertEq(Minifloat.decode(uint16(number(base, ".code"))), number(base, ".value"), "value");
        }
        assertGt(count, 0, "there are cases");
    }

    function test_Median() public {
        load("median.json");
        uint256 count;
        for (; has(item("cases", count)); count++) {
            string memory base = item("cases", count);
            bytes32 row = packed(vm.parseJsonUintArray(json, string.concat(base, ".values")), 0xFFFF);
            bytes32 stakes = packed(vm.parseJsonUintArray(json, string.concat(base, ".stakes")), 0);
            (uint256 voting,) = Median.votes(row, stakes);
            assertEq(Median.code(row, stakes, voting), number(base, ".median"), "median");
        }
        assertGt(count, 0, "there are cases");
    }

    function test_Reputation() public {
        load("reputation_seed.json");
        ReputationParams memory p = reputationOf(".spec");
        uint256 count;
        for (; has(item("trainers", count)); count++) {
            string memory base = item("trainers", count);
            uint256 visits = SeedGraph.trainerVisits(
                packed(vm.parseJsonUintArray(json, string.concat(base, ".codes")), 0xFFFF),
                packed(vm.parseJsonUintArray(json, string.concat(base, ".stakes")), 0),
                number(base, ".weight"),
                number(base, ".totalWeight"),
                p
            );
            assertEq(visits, number(base, ".visits"), "visits");
            checkGiven(base);
            assertEq(SeedGraph.next(number(base, ".old"), visits, p), number(base, ".reputation"), "next");
        }
        assertGt(count, 0, "there are trainers");
        for (count = 0; has(item("validators", count)); count++) {
            string memory base = item("validators", count);
            bool revealed = vm.parseJsonBool(json, string.concat(base, ".revealed"));
            uint256 visits =
                SeedGraph.validatorVisits(number(base, ".stake"), number(base, ".totalStake"), revealed, p);
            assertEq(visits, number(base, ".visits"), "visits");
        }
        assertGt(count, 0, "there are validators");
    }

    /// @dev The codes of the row are the weights that Python computes with.
    function checkGiven(string memory base) private view {
        uint256[] memory codes = vm.parseJsonUintArray(json, string.concat(base, ".codes"));
        uint256[] memory given = vm.parseJsonUintArray(json, string.concat(base, ".given"));
        assertEq(codes.length, given.length, "one weight for each code");
        for (uint256 i = 0; i < codes.length; i++) {
            assertEq(Minifloat.decode(uint16(codes[i])), given[i], "weight");
        }
    }

    /* SETTLEMENTS */

    /// @dev The roots are those of the leaves, weights those of the rows. `Challenges.t.sol` checks every field.
    function test_Settlements() public {
        load("settlement.json");
        uint256 count;
        for (; has(item("cases", count)); count++) {
            string memory base = item("cases", count);
            Header memory header = headerOf(base, ".header");
            Leaf[] memory leaves = leavesOf(base, ".leaves");
            bytes32[][] memory levels = Trees.build(leaves);
            assertEq(this.headerHash(header), word(base, ".headerHash"), "header");
            assertEq(Trees.root(levels), header.tree.root, "root");
            for (uint256 i = 0; i < leaves.length; i++) {
                assertTrue(this.verify(header, leaves[i], Trees.proof(levels, i)), "leaf");
                string memory entry = string.concat(base, ".entries[", vm.toString(i), "]");
                assertEq(leaves[i].account, account(entry, ".account"), "account");
                if (number(entry, ".role") != 1) continue;
                bytes32 stakes = word(base, ".stakeLanes");
                assertEq(Median.weight(leaves[i].detail.row, stakes), leaves[i].detail.weight, "weight");
            }
        }
        assertGt(count, 0, "there are cases");
    }
}
