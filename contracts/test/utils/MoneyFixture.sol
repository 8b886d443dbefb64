// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {EmeritToken} from "../../src/EmeritToken.sol";
import {Rewards} from "../../src/Rewards.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Commitment} from "../../src/libraries/Commitment.sol";
import {ClaimLeaf, Leaf, LeafDetail, OpenedTree, RunParams, Tree} from "../../src/types/Types.sol";
import {BaseTest} from "./BaseTest.sol";
import {HostileRun} from "./HostileRun.sol";

/// @dev Stakes and Rewards with a run that does as it is told, and settlements of any leaves.
abstract contract MoneyFixture is BaseTest {
    uint64 internal constant UNBONDING_SECONDS = 1 hours;
    uint128 internal constant BOND_WEI = 10 ether;
    uint128 internal constant STAKE_WEI = 100 ether;
    uint128 internal constant POOL_WEI = 1_000 ether;
    uint32 internal constant CLAIM_PERIOD_SECONDS = 1 days;

    address internal immutable minter = makeAddr("minter");
    address internal immutable sponsor = makeAddr("sponsor");
    address internal immutable stranger = makeAddr("stranger");

    EmeritToken internal token;
    Stakes internal stakes;
    Rewards internal rewards;
    HostileRun internal run;

    /// @dev The leaves of the header that was made last, and that header.
    Leaf[] internal leaves;
    OpenedTree internal opened;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = new EmeritToken(minter, type(uint256).max);
        stakes = new Stakes(UNBONDING_SECONDS);
        rewards = new Rewards();
        run = newRun(address(token));
    }

    function newRun(address token_) internal returns (HostileRun made) {
        made = new HostileRun(token_, sponsor);
        made.setStakes(address(stakes));
        RunParams memory p;
        p.rewardToken = token_;
        p.minTrainerBondWei = BOND_WEI;
        p.minValidatorStakeWei = STAKE_WEI;
        p.stakeUnitWei = 1 ether;
        p.claimPeriodSeconds = CLAIM_PERIOD_SECONDS;
        p.reputation.keepPpb = 900_000_000;
        made.setParams(p);
    }

    function deal(address to, uint256 amountWei, address spender) internal {
        vm.prank(minter);
        token.mint(to, amountWei);
        vm.prank(to);
        token.approve(spender, type(uint256).max);
    }

    function fund(HostileRun to, uint128 amountWei) internal {
        deal(sponsor, amountWei, address(rewards));
        vm.prank(sponsor);
        rewards.fund(address(to), amountWei);
    }

    function named(string memory kind, uint256 i) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(kind, i)))));
    }

    function account(uint256 i) internal pure returns (address) {
        return named("account", i);
    }

    /* SETTLEMENTS */

    /// @dev Six leaves, each with `eachWei` to its account, in a final header of the run.
    function settle(uint32 round, uint128 eachWei) internal {
        delete leaves;
        for (uint32 i = 0; i < 6; i++) {
            addLeaf(account(i), eachWei);
        }
        settleLeaves(round);
    }

    function addLeaf(address to, uint128 amountWei) internal {
        uint32 index = uint32(leaves.length);
        leaves.push();
        leaves[index].index = index;
        leaves[index].account = to;
        leaves[index].cumulativeAmountWei = amountWei;
        leaves[index].detail.weight = 1_000 + index;
        leaves[index].detail.reputation = uint64(1e6) * (index + 1);
        leaves[index].detail.row = keccak256(abi.encode(index));
    }

    /// @dev Makes the leaves those of the run's final header.
    function settleLeaves(uint32 round) internal {
        uint128 totalWei;
        for (uint256 i = 0; i < leaves.length; i++) {
            totalWei += leaves[i].cumulativeAmountWei;
        }
        opened = OpenedTree({
            round: round,
            bodyHash: keccak256(abi.encode("body", round)),
            tree: Tree({
                root: rootOf(), totalWeight: 7, totalAmountWei: totalWei, leafCount: uint32(leaves.length)
            })
        });
        run.setHeader(round, headerHash(), true);
        run.setHead(true, round);
        run.setTotal(totalWei);
    }

    function headerHash() internal view returns (bytes32) {
        return
            Commitment.headerHash(
                opened.bodyHash, keccak256(abi.encode(Commitment.TREE_TYPEHASH, opened.tree))
            );
    }

    function claimLeaf(uint256 index) internal view returns (ClaimLeaf memory) {
        Leaf memory leaf = leaves[index];
        return ClaimLeaf({
            index: leaf.index,
            account: leaf.account,
            cumulativeAmountWei: leaf.cumulativeAmountWei,
            detailHash: keccak256(abi.encode(leaf.detail))
        });
    }

    function rootOf() internal view returns (bytes32) {
        bytes32[] memory level = bottom();
        while (level.length > 1) {
            level = above(level);
        }
        return level[0];
    }

    function proofOf(uint256 index) internal view returns (bytes32[] memory proof) {
        bytes32[] memory level = bottom();
        uint256 depth;
        while (level.length >> depth > 1) {
            depth++;
        }
        proof = new bytes32[](depth);
        for (uint256 height = 0; height < depth; height++) {
            proof[height] = level[(index >> height) ^ 1];
            level = above(level);
        }
    }

    function hashOf(Leaf memory leaf) internal pure returns (bytes32) {
        LeafDetail memory detail = leaf.detail;
        bytes memory fields =
            abi.encode(leaf.index, leaf.account, leaf.cumulativeAmountWei, keccak256(abi.encode(detail)));
        return keccak256(bytes.concat(bytes1(0x00), fields));
    }

    function bottom() private view returns (bytes32[] memory level) {
        uint256 size = 1;
        while (size < leaves.length) {
            size *= 2;
        }
        level = new bytes32[](size);
        for (uint256 i = 0; i < leaves.length; i++) {
            level[i] = hashOf(leaves[i]);
        }
    }

    function above(bytes32[] memory level) private pure returns (bytes32[] memory next) {
        next = new bytes32[](level.length / 2);
        for (uint256 i = 0; i < next.length; i++) {
            next[i] = keccak256(abi.encodePacked(bytes1(0x01), level[2 * i], level[2 * i + 1]));
        }
    }
}
