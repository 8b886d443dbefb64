// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IReputation} from "../../src/interfaces/IReputation.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {Header, Leaf, OpenedTree, Tree} from "../../src/types/Types.sol";
import {Board} from "../utils/Gated.sol";
import {RunFixture} from "../utils/RunFixture.sol";
import {Tree as Trees} from "../utils/Tree.sol";

/// @dev The board beside a real run, whose validators sign the leaves and whose rounds take time: see `Gated.tree`.
contract GatedRunTest is RunFixture {
    Leaf[] private leaves;
    bytes32[][] private levels;
    OpenedTree private opened;

    /// @dev The open round settles with a leaf for each member; trainer i has i + 1 tenths.
    function settleLeaves() private {
        toSettle();
        uint32 round = current();
        for (uint32 i = 0; i < 6; i++) {
            leaves.push();
            leaves[i].index = i;
            leaves[i].account = i < 3 ? trainer(i) : validator(i - 3);
            leaves[i].detail.reputation = i < 3 ? uint64(1e8) * (i + 1) : 0;
        }
        levels = Trees.build(leaves);
        Header memory header = headerOver(round, Tree(Trees.root(levels), 7, 0, 6));
        settle(header);
        opened = OpenedTree(round, keccak256(abi.encode(Commitment.BODY_TYPEHASH, header.body)), header.tree);
    }

    function materialise(uint256 i) private {
        reputation.materialise(opened, leaves[i], Trees.proof(levels, i));
    }

    function test_ABoardBesideARealRun() public {
        Board board = new Board(reputation, 2e8);
        startRun();
        settleLeaves();
        bytes32[] memory proof = Trees.proof(levels, 1);
        expectError(abi.encodeWithSelector(IReputation.NotFinal.selector, opened.round));
        reputation.materialise(opened, leaves[1], proof);
        vm.warp(run.roundInfo(opened.round).finalAt);
        for (uint256 i = 0; i < 3; i++) {
            materialise(i);
        }
        expectError(abi.encodeWithSelector(Board.NotReputable.selector, trainer(0), 1e8));
        vm.prank(trainer(0));
        board.write("too little");
        vm.prank(trainer(1));
        board.write("yes");
        assertEq(board.text(), "yes", "written");
        expectError(abi.encodeWithSelector(Board.NotReputable.selector, stranger, 0));
        vm.prank(stranger);
        board.write("who?");

        settleRound(0);
        expectError(abi.encodeWithSelector(Board.NotReputable.selector, trainer(1), 1.8e8));
        vm.prank(trainer(1));
        board.write("a round later");
        vm.prank(trainer(2));
        board.write("2.7 tenths are left");
        assertEq(board.text(), "2.7 tenths are left", "written");
    }
}
