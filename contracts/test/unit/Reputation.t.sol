// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {Reputation} from "../../src/Reputation.sol";
import {IReputation} from "../../src/interfaces/IReputation.sol";
import {Leaf, OpenedTree} from "../../src/types/Types.sol";
import {MoneyFixture} from "../utils/MoneyFixture.sol";

/// @dev The run is one that does as it is told: see `Reputation.tree`.
contract ReputationTest is MoneyFixture {
    Reputation private reputation;

    function setUp() public override {
        super.setUp();
        reputation = Reputation(Clones.clone(address(new Reputation())));
        reputation.initialize(address(run), 900_000_000);
    }

    function materialise(uint256 index) private {
        reputation.materialise(opened, leaves[index], proofOf(index));
    }

    function setGateway(string memory url) private {
        string[] memory urls = new string[](1);
        urls[0] = url;
        vm.prank(sponsor);
        reputation.setGateways(urls);
    }

    function response(uint256 index) private view returns (bytes memory) {
        return abi.encode(opened, leaves[index], proofOf(index));
    }

    /* REVERTS */

    function test_RevertWhen_SetUpTwice() public {
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        reputation.initialize(stranger, 1);
        Reputation code = new Reputation();
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        code.initialize(address(run), 1);
    }

    function test_RevertWhen_TheHeaderIsUnknown() public {
        settle(0, 1 ether);
        bytes32 stands = headerHash();
        opened.bodyHash = 0;
        bytes32 hash = headerHash();
        bytes32[] memory proof = proofOf(0);
        bytes memory unknown =
            abi.encodeWithSelector(IReputation.UnknownHeader.selector, address(run), 0, hash, stands);
        expectError(unknown);
        reputation.materialise(opened, leaves[0], proof);
        expectError(unknown);
        reputation.scoreFrom(account(0), opened, leaves[0], proof);
        run.setHeader(0, 0, true);
        expectError(abi.encodeWithSelector(IReputation.UnknownHeader.selector, address(run), 0, hash, 0));
        reputation.materialise(opened, leaves[0], proof);
    }

    function test_RevertWhen_TheHeaderIsNotFinal() public {
        settle(2, 1 ether);
        run.setHeader(2, headerHash(), false);
        bytes32[] memory proof = proofOf(0);
        expectError(abi.encodeWithSelector(IReputation.NotFinal.selector, 2));
        reputation.materialise(opened, leaves[0], proof);
        expectError(abi.encodeWithSelector(IReputation.NotFinal.selector, 2));
        reputation.scoreFrom(account(0), opened, leaves[0], proof);
    }

    function test_RevertWhen_TheLeafIsNotInTheTree() public {
        settle(0, 1 ether);
        bytes32[] memory proof = proofOf(3);
        for (uint256 field = 0; field < 6; field++) {
            Leaf memory leaf = leaves[3];
            if (field == 0) leaf.index = 2;
            else if (field == 1) leaf.account = stranger;
            else if (field == 2) leaf.cumulativeAmountWei++;
            else if (field == 3) leaf.detail.reputation++;
            else if (field == 4) leaf.detail.row = 0;
            else leaf.detail.weightBefore++;
            expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, leaf.index));
            reputation.materialise(opened, leaf, proof);
            expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, leaf.index));
            reputation.scoreFrom(leaf.account, opened, leaf, proof);
        }
    }

    function test_RevertWhen_TheLeafIsNotNewer() public {
        settle(0, 1 ether);
        OpenedTree memory older = opened;
        Leaf memory olderLeaf = leaves[0];
        bytes32[] memory olderProof = proofOf(0);
        materialise(0);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, account(0), 0, 0));
        reputation.materialise(older, olderLeaf, olderProof);
        settle(1, 2 ether);
        materialise(0);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, account(0), 0, 1));
        reputation.materialise(older, olderLeaf, olderProof);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, account(0), 0, 1));
        reputation.scoreFrom(account(0), older, olderLeaf, olderProof);
    }

    function test_RevertWhen_AnotherSetsGateways() public {
        expectError(abi.encodeWithSelector(IReputation.NotSponsor.selector, stranger));
        vm.prank(stranger);
        reputation.setGateways(new string[](0));
    }

    function test_RevertWhen_GatewaysAreTooManyOrTooLong() public {
        vm.startPrank(sponsor);
        expectError(abi.encodeWithSelector(IReputation.TooManyGateways.selector, 9, 8));
        reputation.setGateways(new string[](9));
        string[] memory urls = new string[](2);
        urls[0] = "https://one.example/{sender}/{data}.json";
        expectError(abi.encodeWithSelector(IReputation.BadGateway.selector, 1, 0, 256));
        reputation.setGateways(urls);
        urls[1] = string(new bytes(257));
        expectError(abi.encodeWithSelector(IReputation.BadGateway.selector, 1, 257, 256));
        reputation.setGateways(urls);
    }

    function test_RevertWhen_TheGatewayAnswersForAnother() public {
        settle(0, 1 ether);
        bytes memory answer = response(1);
        expectError(abi.encodeWithSelector(IReputation.WrongAccount.selector, account(1), account(0)));
        reputation.scoreOfCallback(answer, abi.encode(account(0)));
    }

    function test_RevertWhen_TheGatewayLies() public {
        settle(0, 1 ether);
        leaves[0].detail.reputation = 1e9;
        bytes memory answer = abi.encode(opened, leaves[0], proofOf(0));
        expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, 0));
        reputation.scoreOfCallback(answer, abi.encode(account(0)));
        vm.expectRevert();
        reputation.scoreOfCallback("junk", abi.encode(account(0)));
    }

    /* EFFECTS */

    function test_Materialise() public {
        settle(0, 1 ether);
        bytes32[] memory proof = proofOf(1);
        vm.expectEmit(address(reputation));
        emit IReputation.ReputationUpdated(account(1), 0, 2e6);
        vm.prank(stranger);
        reputation.materialise(opened, leaves[1], proof);

        (bool known, uint32 round, uint64 value) = reputation.stored(account(1));
        assertTrue(known, "known");
        assertEq(round, 0, "round");
        assertEq(value, 2e6, "value");
        assertEq(reputation.reputationOf(account(1)), 2e6, "now");
        assertEq(reputation.reputationOf(account(0)), 0, "of another");
        (known,,) = reputation.stored(account(0));
        assertFalse(known, "another");
    }

    function test_FadesWithEachRound() public {
        settle(0, 1 ether);
        materialise(2);
        run.setHead(true, 1);
        assertEq(reputation.reputationOf(account(2)), 2_700_000, "0.9");
        run.setHead(true, 2);
        assertEq(reputation.reputationOf(account(2)), 2_430_000, "0.9^2");
        run.setHead(true, 4);
        assertEq(reputation.reputationOf(account(2)), 1_968_300, "0.9^4: rounds, void ones too");
        settle(4, 1 ether);
        materialise(2);
        assertEq(reputation.reputationOf(account(2)), 3e6, "restored by a newer leaf");
        run.setHead(false, 0);
        assertEq(reputation.reputationOf(account(2)), 3e6, "a chain cut back takes nothing");
        run.setHead(true, type(uint32).max - 1);
        assertEq(reputation.reputationOf(account(2)), 0, "at last nothing is left");
    }

    function test_Verify() public {
        settle(0, 1 ether);
        bytes32[] memory proof = proofOf(5);
        assertTrue(reputation.verify(opened, leaves[5], proof), "in the tree");
        assertFalse(reputation.verify(opened, leaves[4], proof), "another leaf");
        run.setHeader(0, headerHash(), false);
        assertFalse(reputation.verify(opened, leaves[5], proof), "not final");
        run.setHeader(0, headerHash(), true);
        opened.bodyHash = 0;
        assertFalse(reputation.verify(opened, leaves[5], proof), "another header");
        opened.round = 7;
        assertFalse(reputation.verify(opened, leaves[5], proof), "no such round");
    }

    /* ERC-3668 */

    function test_ScoreOfWithoutGateways() public {
        assertEq(reputation.scoreOf(account(0)), 0, "nothing is stored");
        settle(0, 1 ether);
        materialise(0);
        run.setHead(true, 1);
        assertEq(reputation.scoreOf(account(0)), 900_000, "what is stored");
    }

    function test_ScoreOfAsksAGateway() public {
        settle(0, 1 ether);
        setGateway("https://one.example/{sender}/{data}.json");
        bytes memory lookup = abi.encodeWithSelector(
            IReputation.OffchainLookup.selector,
            address(reputation),
            reputation.gateways(),
            abi.encodeCall(IReputation.scoreOf, (account(0))),
            IReputation.scoreOfCallback.selector,
            abi.encode(account(0))
        );
        expectError(lookup);
        reputation.scoreOf(account(0));
        run.setHead(true, 2);
        uint256 score = reputation.scoreOfCallback(response(0), abi.encode(account(0)));
        assertEq(score, 810_000, "the leaf's, faded to the head");

        materialise(0);
        expectError(lookup);
        reputation.scoreOf(account(0)); // stored, but not the last
        assertEq(
            reputation.scoreOfCallback(response(0), abi.encode(account(0))), 810_000, "the same leaf again"
        );
        settle(3, 2 ether);
        materialise(0);
        assertEq(reputation.scoreOf(account(0)), 1e6, "stored and fresh: no gateway");
    }

    function test_SetGateways() public {
        setGateway("https://one.example/{sender}/{data}.json");
        string[] memory urls = new string[](8);
        for (uint256 i = 0; i < 8; i++) {
            urls[i] = string(new bytes(256));
        }
        vm.expectEmit(address(reputation));
        emit IReputation.GatewaysSet(urls);
        vm.prank(sponsor);
        reputation.setGateways(urls);
        assertEq(reputation.gateways().length, 8, "replaced");
        vm.prank(sponsor);
        reputation.setGateways(new string[](0));
        assertEq(reputation.gateways().length, 0, "removed");
    }

    /* ERC-165 */

    function test_SupportsInterface() public view {
        assertTrue(reputation.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        assertTrue(reputation.supportsInterface(type(IReputation).interfaceId), "reputation");
        assertFalse(reputation.supportsInterface(0xffffffff), "the invalid one");
        assertEq(reputation.run(), address(run), "run");
        assertEq(reputation.keepPpb(), 900_000_000, "kept");
    }
}
