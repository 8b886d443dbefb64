// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Reputation} from "../../src/Reputation.sol";
import {ReputationAdapter} from "../../src/ReputationAdapter.sol";
import {IReputation} from "../../src/interfaces/IReputation.sol";
import {Leaf, OpenedTree} from "../../src/types/Types.sol";
import {Board, Door, IPassport} from "../utils/Gated.sol";
import {HostileRun} from "../utils/HostileRun.sol";
import {MoneyFixture} from "../utils/MoneyFixture.sol";

/// @dev The leaf of account i says (i + 1) times 1e6, of which nine tenths are left after each round; the
/// board wants three: see `Gated.tree`.
contract GatedTest is MoneyFixture {
    uint256 private constant MINIMUM = 3e6;

    Reputation private reputation;
    Board private board;

    function setUp() public override {
        super.setUp();
        reputation = newReputation(run);
        board = new Board(reputation, MINIMUM);
        settle(0, 1 ether);
    }

    function newReputation(HostileRun run_) private returns (Reputation made) {
        made = Reputation(Clones.clone(address(new Reputation())));
        made.initialize(address(run_), 900_000_000);
    }

    function materialise(uint256 index) private {
        reputation.materialise(opened, leaves[index], proofOf(index));
    }

    function expectRefusal(address caller, uint256 have) private {
        expectError(abi.encodeWithSelector(Board.NotReputable.selector, caller, have));
    }

    function expectWrite(address caller, string memory text) private {
        vm.prank(caller);
        board.write(text);
        assertEq(board.text(), text, "written");
    }

    function writeWith(address caller, Leaf memory leaf, bytes32[] memory proof) private {
        vm.prank(caller);
        board.writeWith("shown", opened, leaf, proof);
    }

    /* BY WHAT IS STORED */

    function test_RevertWhen_TheBoardHasNoMinimum() public {
        expectError(abi.encodeWithSelector(Board.NoMinimum.selector));
        new Board(reputation, 0);
    }

    function test_RevertWhen_TheCallerIsUnknown() public {
        expectRefusal(stranger, 0);
        vm.prank(stranger);
        board.write("no");
        expectRefusal(account(5), 0); // has a leaf that nobody has shown
        vm.prank(account(5));
        board.write("no");
    }

    function test_LetsInFromTheMinimumOn() public {
        materialise(1);
        materialise(2);
        materialise(3);
        expectRefusal(account(1), 2e6);
        vm.prank(account(1));
        board.write("too little");
        expectWrite(account(2), "just enough");
        expectWrite(account(3), "more");
    }

    function test_RevertWhen_TheReputationHasFaded() public {
        materialise(3);
        run.setHead(true, 2);
        expectWrite(account(3), "3.24 are left");
        run.setHead(true, 3);
        expectRefusal(account(3), 2_916_000);
        vm.prank(account(3));
        board.write("too late");

        settle(5, 2 ether);
        expectRefusal(account(3), 2_361_960);
        vm.prank(account(3));
        board.write("no newer leaf is stored");
        materialise(3);
        expectWrite(account(3), "back");
    }

    /// @dev For any reputation and any number of rounds the board agrees with what `reputationOf` says, never above the
    /// leaf.
    function testFuzz_AgreesWithWhatIsLeft(uint64 value, uint8 rounds) public {
        leaves[0].detail.reputation = uint64(bound(value, 0, 1e9));
        settleLeaves(0);
        materialise(0);
        run.setHead(true, rounds);
        uint256 left = reputation.reputationOf(account(0));
        assertLe(left, leaves[0].detail.reputation, "never more than the leaf");
        if (left < MINIMUM) expectRefusal(account(0), left);
        vm.prank(account(0));
        board.write("perhaps");
    }

    function test_RevertWhen_AnothersLeafIsStored() public {
        bytes32[] memory proof = proofOf(5);
        vm.prank(stranger);
        reputation.materialise(opened, leaves[5], proof);
        expectRefusal(stranger, 0);
        vm.prank(stranger);
        board.write("stolen");

        vm.prank(account(0));
        materialise(0);
        expectRefusal(account(0), 1e6);
        vm.prank(account(0));
        board.write("stolen");
        expectWrite(account(5), "mine");
    }

    function test_RevertWhen_TheLeafIsChanged() public {
        Leaf memory leaf = leaves[5];
        leaf.account = stranger;
        bytes32[] memory proof = proofOf(5);
        expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, 5));
        reputation.materialise(opened, leaf, proof);
        leaf = leaves[0];
        leaf.detail.reputation = 1e9;
        proof = proofOf(0);
        expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, 0));
        reputation.materialise(opened, leaf, proof);
        expectRefusal(account(0), 0);
        vm.prank(account(0));
        board.write("forged");
    }

    /* BY A LEAF THAT IS SHOWN */

    function test_LetsInByAShownLeaf() public {
        bytes32[] memory proof = proofOf(3);
        writeWith(account(3), leaves[3], proof);
        assertEq(board.text(), "shown", "written");
        assertEq(reputation.reputationOf(account(3)), 0, "nothing is stored");
        run.setHead(true, 3);
        expectRefusal(account(3), 2_916_000);
        writeWith(account(3), leaves[3], proof);
    }

    function test_RevertWhen_TheShownLeafIsNotTheCallers() public {
        bytes32[] memory proof = proofOf(5);
        materialise(5);
        expectError(abi.encodeWithSelector(IReputation.WrongAccount.selector, account(5), stranger));
        writeWith(stranger, leaves[5], proof);
        Leaf memory leaf = leaves[5];
        leaf.account = stranger;
        expectError(abi.encodeWithSelector(IReputation.BadProof.selector, 0, 5));
        writeWith(stranger, leaf, proof);
        bytes32[] memory poor = proofOf(0);
        expectRefusal(account(0), 1e6);
        writeWith(account(0), leaves[0], poor);
    }

    function test_RevertWhen_TheShownHeaderDoesNotStand() public {
        bytes32[] memory proof = proofOf(5);
        run.setHeader(0, headerHash(), false);
        expectError(abi.encodeWithSelector(IReputation.NotFinal.selector, 0));
        writeWith(account(5), leaves[5], proof);

        HostileRun other = newRun(address(token));
        board = new Board(newReputation(other), MINIMUM);
        expectError(
            abi.encodeWithSelector(
                IReputation.UnknownHeader.selector, address(other), 0, headerHash(), bytes32(0)
            )
        );
        writeWith(account(5), leaves[5], proof);
    }

    function test_RevertWhen_AnOlderLeafSaysMore() public {
        OpenedTree memory older = opened;
        Leaf memory leaf = leaves[5];
        bytes32[] memory proof = proofOf(5);
        settle(1, 2 ether);
        leaves[5].detail.reputation = 1;
        settleLeaves(1);
        materialise(5);
        expectError(abi.encodeWithSelector(IReputation.NotNewer.selector, account(5), 0, 1));
        vm.prank(account(5));
        board.writeWith("of better days", older, leaf, proof);
    }

    /* BY A PASSPORT'S SCORE */

    function test_ADoorThatReadsAnyPassport() public {
        leaves[0].detail.reputation = 250_000_000;
        leaves[1].detail.reputation = 199_999_999;
        settleLeaves(0);
        Door door = new Door(IPassport(address(new ReputationAdapter(address(reputation)))), 200_000);
        expectError(abi.encodeWithSelector(ReputationAdapter.NoScore.selector, account(0)));
        vm.prank(account(0));
        door.enter();
        materialise(0);
        materialise(1);
        vm.prank(account(0));
        door.enter();
        assertTrue(door.inside(account(0)), "a quarter is enough");
        expectError(abi.encodeWithSelector(Door.ScoreTooLow.selector, account(1), 199_999));
        vm.prank(account(1));
        door.enter();
        expectError(abi.encodeWithSelector(ReputationAdapter.NoScore.selector, stranger));
        vm.prank(stranger);
        door.enter();
        run.setHead(true, 3);
        expectError(abi.encodeWithSelector(Door.ScoreTooLow.selector, account(0), 182_250));
        vm.prank(account(0));
        door.enter();
    }
}
