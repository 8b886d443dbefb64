// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Lanes} from "./Lanes.sol";
import {Minifloat} from "./Minifloat.sol";

/// @title Median
/// @notice Lower stake-weighted median of a row of 16 lanes: the smallest code such that codes up to it carry
/// at least half of the stake that did not abstain.
/// @dev Python twins: `emerit.protocol.median` and `emerit.protocol.consensus`. `stakes` are the voting
/// weights of the round, in lanes too; a lane without stake has no say. Codes are compared, not values: their
/// order is the same. Unchecked: a lane is below 2^16, so no sum here passes 2^22.
library Median {
    using Lanes for bytes32;

    uint256 private constant LANE = 0xFFFF;
    uint256 private constant CELLS = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant EVEN_LANES = LANE * CELLS;
    /// @dev The lanes in the order of a search by halves, a nibble each from the lowest, up to a 1: so a row
    /// that is in order takes few steps.
    uint256 private constant ORDER = 0x10fdb97531ea62c48;

    /// @notice Consensus weight of a trainer: the median's value if two thirds of all stake voted, else 0.
    function weight(bytes32 row, bytes32 stakes) internal pure returns (uint64) {
        (uint256 voting, uint256 all) = votes(row, stakes);
        return hasQuorum(voting, all) ? Minifloat.decode(code(row, stakes, voting)) : 0;
    }

    /// @notice Stake that did not abstain, and all stake.
    function votes(bytes32 row, bytes32 stakes) internal pure returns (uint256 voting, uint256 all) {
        voting = stakeUpTo(row, stakes, Minifloat.ABSTAIN - 1);
        all = stakes.total();
    }

    /// @notice Whether so much voting stake decides a weight.
    function hasQuorum(uint256 voting, uint256 all) internal pure returns (bool) {
        return voting > 0 && 3 * voting >= 2 * all;
    }

    /// @notice The median's code; `voting`, from `votes`, must not be 0.
    function code(bytes32 row, bytes32 stakes, uint256 voting) internal pure returns (uint16) {
        unchecked {
            // The median is above `low` and at most `high`: each step looks at one lane between, and ends
            // there.
            uint256 low;
            uint256 high = Minifloat.ABSTAIN;
            bool lowIn = true;
            for (uint256 order = ORDER; order != 1; order >>= 4) {
                uint256 shift = (order & 0xF) << 4;
                uint256 lane = (uint256(row) >> shift) & LANE;
                bool between = lane < high && (lane > low || lowIn);
                if (!between || (uint256(stakes) >> shift) & LANE == 0) continue;
                if (2 * stakeUpTo(row, stakes, lane) >= voting) high = lane;
                else (low, lowIn) = (lane, false);
            }
            return uint16(high);
        }
    }

    /// @notice Stake of the lanes whose code is at most `limit`.
    /// @dev Eight lanes at a time, each in a cell of 32 bits: bit 16 of 2^16 + limit - code says that it
    /// counts. A product with a 1 in each cell has the sum of all cells in the highest.
    function stakeUpTo(bytes32 row, bytes32 stakes, uint256 limit) internal pure returns (uint256) {
        unchecked {
            uint256 limits = (limit + 0x10000) * CELLS;
            uint256 low = ((limits - (uint256(row) & EVEN_LANES)) >> 16) & CELLS;
            uint256 high = ((limits - ((uint256(row) >> 16) & EVEN_LANES)) >> 16) & CELLS;
            uint256 counted = ((low * LANE) & uint256(stakes)) + ((high * LANE) & (uint256(stakes) >> 16));
            return (counted * CELLS) >> 224;
        }
    }
}
