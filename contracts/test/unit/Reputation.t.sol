// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {IReputation} from "../../src/interfaces/IReputation.sol";
import {Header, Leaf, ProofNode} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract ReputationTest is RunFixture {
    Header private header;

    function settleAndWait() private {
        startRun();
        header = settleRound(1 ether);
        vm.warp(run.finalAt(0));
    }

    function materialise(uint256 index) private {
        reputation.materialise(header, leaves[index], proofOf(index));
    }

    /* REVERTS */

    function test_RevertWhen_TheHeaderIsUnknown() public {
        settleAndWait();
        bytes32 settled = run.headerHash(0);
        header.aggregateHash = 0;
        bytes32 hash = keccak256(abi.encode(header));
        ProofNode[] memory proof = proofOf(0);
        expectError(
            abi.encodeWithSelector(IReputation.UnknownHeader.selector, address(run), 0, hash, settled)
        );
        reputation.materialise(header, leaves[0], proof);
    }

    function test_RevertWhen_TheHeaderIsNotFinal() public {
        startRun();
        header = settleRound(1 ether);
        uint64 finalAt = run.finalAt(0);
        vm.warp(finalAt - 1);
        ProofNode[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IReputation.NotFinal.selector, 0, finalAt));
        reputation.materialise(header, leaves[0], proof);
    }

    function test_RevertWhen_TheLeafIsNotInTheTree() public {
        settleAndWait();
        ProofNode[] memory proof = proofOf(3);
        Leaf memory leaf = leaves[3];
        leaf.reputation++;
        expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, 3));
        reputation.materialise(header, leaf, proof);
    }

    function test_RevertWhen_TheLeafIsNotNewer() public {
        settleAndWait();
        Header memory older = header;
        Leaf memory olderLeaf = leaves[0];
        ProofNode[] memory olderProof = proofOf(0);
        materialise(0);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, trainer(0), 0, 0));
        reputation.materialise(older, olderLeaf, olderProof);
        header = settleRound(1 ether);
        vm.warp(run.finalAt(1));
        materialise(0);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, trainer(0), 0, 1));
        reputation.materialise(older, olderLeaf, olderProof);
    }

    /* EFFECTS */

    function test_Materialise() public {
        settleAndWait();
        ProofNode[] memory proof = proofOf(1);
        vm.expectEmit(address(reputation));
        emit IReputation.ReputationUpdated(trainer(1), 0, 2e6);
        vm.prank(stranger);
        reputation.materialise(header, leaves[1], proof);

        (bool known, uint32 round, uint64 value) = reputation.stored(trainer(1));
        assertTrue(known, "known");
        assertEq(round, 0, "round");
        assertEq(value, 2e6, "value");
        assertEq(reputation.reputationOf(trainer(1)), 2e6, "now");
        assertEq(reputation.reputationOf(trainer(0)), 0, "of another");
        (known,,) = reputation.stored(trainer(0));
        assertFalse(known, "another");
    }

    function test_FadesWithEachSettledRound() public {
        settleAndWait();
        materialise(2);
        settleRound(0);
        assertEq(reputation.reputationOf(trainer(2)), 2_700_000, "0.9");
        settleRound(0);
        assertEq(reputation.reputationOf(trainer(2)), 2_430_000, "0.9^2");
        toSettle();
        vm.warp(run.status().phaseEndsAt);
        run.voidRound(3);
        assertEq(reputation.reputationOf(trainer(2)), 2_430_000, "a void round takes nothing");
        header = settleRound(0);
        assertEq(reputation.reputationOf(trainer(2)), 1_968_300, "0.9^4: rounds, not headers");
        vm.warp(run.finalAt(4));
        materialise(2);
        assertEq(reputation.reputationOf(trainer(2)), 3e6, "restored by a newer leaf");
    }

    function test_Verify() public {
        startRun();
        header = settleRound(1 ether);
        ProofNode[] memory proof = proofOf(5);
        assertFalse(reputation.verify(header, leaves[5], proof), "not final");
        vm.warp(run.finalAt(0));

        assertTrue(reputation.verify(header, leaves[5], proof), "in the tree");
        assertFalse(reputation.verify(header, leaves[4], proof), "another leaf");
        header.stateRoot = 0;
        assertFalse(reputation.verify(header, leaves[5], proof), "another header");
        header.round = 7;
        assertFalse(reputation.verify(header, leaves[5], proof), "no such round");
    }

    function test_SupportsInterface() public view {
        assertTrue(reputation.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        assertTrue(reputation.supportsInterface(type(IReputation).interfaceId), "reputation");
        assertFalse(reputation.supportsInterface(0xffffffff), "the invalid one");
    }
}
