// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {MAX_VALIDATORS} from "../types/Limits.sol";

/// @title Lanes
/// @notice Sixteen 16-bit lanes in a word: lane v is bits [16v, 16v+16), counted from the least significant bit.
library Lanes {
    uint256 private constant EVEN_LANES = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;

    /// @notice One lane; `slot` is below 16.
    function lane(bytes32 lanes, uint256 slot) internal pure returns (uint16) {
        return uint16(uint256(lanes) >> (16 * slot));
    }

    /// @notice Sum of all lanes.
    /// @dev Adds in pairs: even and odd lanes side by side in 32 bits, which sixteen 16-bit numbers can't fill.
    function total(bytes32 lanes) internal pure returns (uint256 sum) {
        sum = (uint256(lanes) & EVEN_LANES) + ((uint256(lanes) >> 16) & EVEN_LANES);
        sum += sum >> 128;
        sum = uint256(uint128(sum));
        sum += sum >> 64;
        sum = uint256(uint64(sum));
        return uint256(uint32(sum)) + (sum >> 32);
    }

    /// @notice The slots whose lane is not zero, as bits.
    function mask(bytes32 lanes) internal pure returns (uint16 slots) {
        for (uint256 slot = 0; slot < MAX_VALIDATORS; slot++) {
            if (lane(lanes, slot) != 0) slots |= bit(slot);
        }
    }

    /// @notice The bit of a slot in a mask; none from 16 on.
    function bit(uint256 slot) internal pure returns (uint16) {
        return uint16(1 << slot);
    }
}
