// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {TestBase} from "forge-std/Base.sol";
import {StdAssertions} from "forge-std/StdAssertions.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {StdInvariant} from "forge-std/StdInvariant.sol";
import {StdUtils} from "forge-std/StdUtils.sol";

/// @dev What tests inherit. Not forge-std's Test.sol: that brings hundreds of compiler warnings, and ours would
/// be lost behind them.
abstract contract BaseTest is TestBase, StdAssertions, StdCheats, StdInvariant, StdUtils {
    bool public constant IS_TEST = true;

    /// @dev The next call must revert with this error, arguments included.
    function expectError(bytes memory encoded) internal {
        vm.expectRevert(encoded);
    }
}
