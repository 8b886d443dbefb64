// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

/// @title Minifloat
/// @notice The 16-bit code of a weight or a loss: 5 bits of exponent e, then 11 of mantissa m; its value is m
/// where e = 0, else (2048 + m) << (e - 1). A larger code is a larger value.
/// @dev Python twin: `emerit.protocol.minifloat`.
library Minifloat {
    /// @notice "I abstain": not a value.
    uint16 internal constant ABSTAIN = 0xFFFF;

    /// @notice The value of a code, at most 4095 << 30. `ABSTAIN` has none; the caller looks for it first.
    function decode(uint16 code) internal pure returns (uint64) {
        unchecked {
            uint256 exponent = code >> 11;
            uint256 mantissa = code & 0x7FF;
            return uint64(exponent == 0 ? mantissa : (2048 + mantissa) << (exponent - 1));
        }
    }
}
