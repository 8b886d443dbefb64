// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Reputation} from "../../src/Reputation.sol";
import {ReputationAdapter} from "../../src/ReputationAdapter.sol";
import {Role} from "../../src/types/Types.sol";
import {MoneyFixture} from "../utils/MoneyFixture.sol";

/// @dev Members 0 to 2 of the run have the registry's indices 0 to 2; of 1 a leaf was shown.
contract ReputationAdapterTest is MoneyFixture {
    Reputation private reputation;
    ReputationAdapter private adapter;

    function setUp() public override {
        super.setUp();
        reputation = Reputation(Clones.clone(address(new Reputation())));
        reputation.initialize(address(run), 900_000_000);
        adapter = new ReputationAdapter(address(reputation));
        for (uint256 i = 0; i < 3; i++) {
            deal(account(i), BOND_WEI, address(stakes));
            vm.prank(account(i));
            stakes.join(address(run), Role.Trainer, named("operator", i), BOND_WEI);
        }
        settle(0, 1 ether);
        leaves[1].detail.reputation = 123_456_789;
        settleLeaves(0);
        reputation.materialise(opened, leaves[1], proofOf(1));
    }

    /* REVERTS */

    function test_RevertWhen_NothingIsStored() public {
        expectError(abi.encodeWithSelector(ReputationAdapter.NoScore.selector, account(0)));
        adapter.getScore(account(0));
    }

    function test_RevertWhen_TheAgentIsUnknown() public {
        expectError(abi.encodeWithSelector(ReputationAdapter.UnknownAgent.selector, 3));
        adapter.getAgentWallet(3);
        uint256 beyond = uint256(type(uint32).max) + 2;
        expectError(abi.encodeWithSelector(ReputationAdapter.UnknownAgent.selector, beyond));
        adapter.getSummary(beyond, new address[](0), "", "");
    }

    function test_RevertWhen_TheFeedbackIsUnknown() public {
        expectError(abi.encodeWithSelector(ReputationAdapter.UnknownFeedback.selector, 0, address(run), 1));
        adapter.readFeedback(0, address(run), 1);
        expectError(abi.encodeWithSelector(ReputationAdapter.UnknownFeedback.selector, 1, stranger, 1));
        adapter.readFeedback(1, stranger, 1);
        expectError(abi.encodeWithSelector(ReputationAdapter.UnknownFeedback.selector, 1, address(run), 2));
        adapter.readFeedback(1, address(run), 2);
    }

    /* EFFECTS */

    function test_GetScore() public {
        assertEq(adapter.getScore(account(1)), 123_456, "12.3456 of 100");
        run.setHead(true, 1);
        assertEq(adapter.getScore(account(1)), 111_111, "fades");
    }

    function test_GetSummary() public {
        address[] memory clients = new address[](0);
        (uint64 count, int128 value, uint8 decimals) = adapter.getSummary(1, clients, "", "");
        assertEq(count, 1, "one feedback");
        assertEq(value, 123_456_789, "value");
        assertEq(decimals, 9, "decimals");
        clients = new address[](2);
        clients[1] = address(run);
        (count,,) = adapter.getSummary(1, clients, "reputation", "");
        assertEq(count, 1, "of the run");
        (count,,) = adapter.getSummary(1, clients, "quality", "");
        assertEq(count, 0, "another tag");
        (count,,) = adapter.getSummary(1, clients, "", "x");
        assertEq(count, 0, "another second tag");
        clients[1] = stranger;
        (count, value,) = adapter.getSummary(1, clients, "", "");
        assertEq(count, 0, "of somebody else");
        assertEq(value, 0, "no value");
        (count,,) = adapter.getSummary(0, new address[](0), "", "");
        assertEq(count, 0, "nothing is stored");
        run.setHead(true, 1);
        (, value,) = adapter.getSummary(1, new address[](0), "", "");
        assertEq(value, 111_111_110, "fades");
    }

    function test_ReadFeedback() public view {
        (int128 value, uint8 decimals, string memory tag1, string memory tag2, bool isRevoked) =
            adapter.readFeedback(1, address(run), 1);
        assertEq(value, 123_456_789, "value");
        assertEq(decimals, 9, "decimals");
        assertEq(tag1, "reputation", "tag");
        assertEq(tag2, "", "no second tag");
        assertFalse(isRevoked, "never revoked");
        assertEq(adapter.getLastIndex(1, address(run)), 1, "one feedback");
        assertEq(adapter.getLastIndex(1, stranger), 0, "none of others");
        assertEq(adapter.getLastIndex(0, address(run)), 0, "none of another agent");
        assertEq(adapter.getClients(1).length, 1, "one client");
        assertEq(adapter.getClients(1)[0], address(run), "the run");
        assertEq(adapter.getClients(0).length, 0, "no client");
        assertEq(adapter.getAgentWallet(2), account(2), "account");
        assertEq(adapter.getIdentityRegistry(), address(stakes), "registry");
    }
}
