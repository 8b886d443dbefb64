// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ClaimLeaf, OpenedTree} from "../../src/types/Types.sol";
import {HostileRun} from "./HostileRun.sol";
import {MoneyFixture} from "./MoneyFixture.sol";
import {OpenToken} from "./OddTokens.sol";

/// @dev What the tests of rewards share. The run is one that does as it is told.
abstract contract RewardsFixture is MoneyFixture {
    function setUp() public override {
        super.setUp();
        fund(run, POOL_WEI);
    }

    function claim(uint256 index) internal {
        rewards.claim(address(run), opened, claimLeaf(index), proofOf(index));
    }

    function claimNext(uint256 index) internal {
        rewards.claimNext(address(run), opened.tree.leafCount, claimLeaf(index), proofOf(index));
    }

    function finish() internal {
        run.setFinished(true, uint64(block.timestamp));
    }

    /// @dev A header of one leaf in another run, and a claim of it.
    function claimAlone(HostileRun from, uint32 round, address to, uint128 amountWei) internal {
        (OpenedTree memory t, ClaimLeaf memory leaf) = alone(from, round, to, amountWei);
        rewards.claim(address(from), t, leaf, new bytes32[](0));
    }

    function alone(HostileRun from, uint32 round, address to, uint128 amountWei)
        internal
        returns (OpenedTree memory, ClaimLeaf memory)
    {
        HostileRun before = run;
        run = from;
        delete leaves;
        addLeaf(to, amountWei);
        settleLeaves(round);
        run = before;
        return (opened, claimLeaf(0));
    }

    function fundWith(HostileRun to, OpenToken odd, uint128 amountWei) internal {
        odd.mint(address(this), amountWei);
        odd.approve(address(rewards), amountWei);
        rewards.fund(address(to), amountWei);
    }
}
