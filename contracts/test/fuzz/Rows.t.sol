// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Median} from "../../src/libraries/Median.sol";
import {Minifloat} from "../../src/libraries/Minifloat.sol";
import {SeedGraph} from "../../src/libraries/SeedGraph.sol";
import {Entry, Leaf, Role} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";

/// @dev What is computed of a row, against the oracle's sorting and adding.
contract RowsTest is DisputesFixture {
    /// @dev Codes from a small range often, so that there are ties; some abstain, some have no stake.
    function load(uint256 seed) private returns (bytes32 row, bytes32 stakes_, uint16[16] memory lanes) {
        delete world.stakes;
        for (uint256 v = 0; v < 16; v++) {
            uint256 random = uint256(keccak256(abi.encode(seed, v)));
            bool few = seed % 3 == 0;
            lanes[v] = random % 5 == 0 ? 0xFFFF : uint16((random >> 8) % (few ? 4 : 0xFFFF));
            world.stakes[v] = random % 4 == 1 ? 0 : uint16(random >> 64);
            if (seed % 7 == 0) world.stakes[v] = 0xFFFF;
        }
        row = HonestSettlement.packed(lanes);
        stakes_ = HonestSettlement.packed(world.stakes);
    }

    function testFuzz_MedianIsThatOfSorting(uint256 seed) public {
        (bytes32 row, bytes32 stakes_, uint16[16] memory lanes) = load(seed);
        (uint256 voting, uint256 all) = Median.votes(row, stakes_);
        (uint256 wantVoting, uint256 wantAll) = HonestSettlement.stakeOf(world, lanes);
        assertEq(voting, wantVoting);
        assertEq(all, wantAll);
        assertEq(Median.hasQuorum(voting, all), HonestSettlement.decided(world, lanes));
        if (voting > 0) assertEq(Median.code(row, stakes_, voting), HonestSettlement.median(world, lanes));
        assertEq(Median.weight(row, stakes_), HonestSettlement.consensus(world, lanes));
    }

    function testFuzz_StakeUpTo(uint256 seed, uint16 limit) public {
        (bytes32 row, bytes32 stakes_, uint16[16] memory lanes) = load(seed);
        uint256 want;
        for (uint256 v = 0; v < 16; v++) {
            if (lanes[v] <= limit) want += world.stakes[v];
        }
        assertEq(Median.stakeUpTo(row, stakes_, limit), want);
    }

    function testFuzz_RowsInOrder(uint16 first, uint16 step, bool down, uint256 seed) public {
        (, bytes32 stakes_, uint16[16] memory lanes) = load(seed);
        for (uint256 v = 0; v < 16; v++) {
            lanes[v] = uint16((uint256(first) + uint256(step % 4000) * (down ? 15 - v : v)) % 0xFFFF);
        }
        bytes32 row = HonestSettlement.packed(lanes);
        (uint256 voting,) = Median.votes(row, stakes_);
        if (voting > 0) assertEq(Median.code(row, stakes_, voting), HonestSettlement.median(world, lanes));
    }

    function testFuzz_MinifloatIsMonotone(uint16 a, uint16 b) public pure {
        vm.assume(a != 0xFFFF && b != 0xFFFF);
        (uint64 x, uint64 y) = (Minifloat.decode(a), Minifloat.decode(b));
        assertEq(x, HonestSettlement.value(a));
        assertEq(a < b, x < y);
        assertEq(a == b, x == y);
    }

    function test_MinifloatEnds() public pure {
        assertEq(Minifloat.decode(0), 0);
        assertEq(Minifloat.decode(4095), 4095);
        assertEq(Minifloat.decode(4096), 4096);
        assertEq(Minifloat.decode(4097), 4098);
        assertEq(Minifloat.decode(0xFFFE), uint64(4094) << 30);
    }

    function testFuzz_TrainerVisits(uint256 seed, uint64 weight, uint64 others) public {
        (bytes32 row, bytes32 stakes_,) = load(seed);
        makeOneTrainer(row);
        Leaf memory leaf;
        leaf.detail.weight = seed % 2 == 0 ? weight % 5_000 : weight;
        uint256 totalWeight = seed % 5 == 0 ? 0 : uint256(leaf.detail.weight) + others;
        uint256 want = HonestSettlement.trainerVisits(world, world.entries[0], leaf, totalWeight);
        uint256 have =
            SeedGraph.trainerVisits(row, stakes_, leaf.detail.weight, totalWeight, world.reputation);
        assertEq(have, want);
        if (totalWeight >= leaf.detail.weight) assertLe(have, 1e9);
    }

    /// @dev A world in which the first trainer's row is this one.
    function makeOneTrainer(bytes32 row) private {
        world.reputation = params().reputation;
        Entry memory e;
        (e.role, e.activeUntil) = (Role.Trainer, 1);
        world.entries.push(e);
        for (uint256 v = 0; v < 16; v++) {
            world.revealed[v] = true;
            uint16[] memory lanes = new uint16[](3);
            lanes[2] = uint16(uint256(row) >> (16 * v));
            world.vectors.push(lanes);
        }
    }
}
