// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {PayChain} from "./PayChain.sol";
import {IDisputesBase} from "./interfaces/IRunDisputes.sol";

/// @title DisputesBase
/// @notice What `Disputes` and `Penalties` share.
abstract contract DisputesBase is PayChain, IDisputesBase {
    uint16 private constant DEMANDS_PER_DOUBLING = 8;

    address private immutable _self = address(this);

    /// @dev Only as the code of a run: by itself this contract has no rounds, and must keep no one's money.
    modifier onlyDelegated() {
        require(address(this) != _self, NotDelegated());
        _;
    }

    /// @dev How often the bond of the next demand is doubled with so many open.
    function _doublings(uint16 open) internal pure returns (uint8) {
        return uint8(open / DEMANDS_PER_DOUBLING);
    }

    function _bondWei(uint8 doublings) internal view returns (uint256) {
        return uint256(_params.demandBondWei) << doublings;
    }
}
