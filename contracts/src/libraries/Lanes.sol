// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {MAX_VALIDATORS} from "../types/Limits.sol";

/// @title Lanes
/// @notice Sixteen 16-bit lanes in a word: lane v is bits [16v, 16v+16), counted from the least significant bit.
library Lanes {
    /// @notice One lane; `slot` is below 16.
    function lane(bytes32 lanes, uint16 slot) internal pure returns (uint16) {
        return uint16(uint256(lanes) >> (16 * uint256(slot)));
    }

    /// @notice Sum of all lanes.
    function total(bytes32 lanes) internal pure returns (uint256 sum) {
        for (uint16 slot = 0; slot < MAX_VALIDATORS; slot++) {
            sum += lane(lanes, slot);
        }
    }

    /// @notice The slots whose lane is not zero, as bits.
    function mask(bytes32 lanes) internal pure returns (uint16 slots) {
        for (uint16 slot = 0; slot < MAX_VALIDATORS; slot++) {
            if (lane(lanes, slot) != 0) slots |= bit(slot);
        }
    }

    /// @notice The bit of a slot in a mask.
    function bit(uint16 slot) internal pure returns (uint16) {
        return uint16(1) << slot;
    }
}
