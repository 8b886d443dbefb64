// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title EmeritToken
/// @notice A capped ERC-20 with permit, for runs that have no token of their own. Any other ERC-20 works as well.
/// @dev The minter is the only privileged account of the whole system: it can mint up to the cap, and pass that right
/// on or give it up. It has no power over tokens that others hold, nor over any run.
contract EmeritToken is ERC20Capped, ERC20Permit {
    /// @notice The caller is not the minter.
    error NotMinter(address caller);

    event MinterSet(address indexed minter);

    /// @notice Who may mint; zero if nobody may any more.
    address public minter;

    constructor(address minter_, uint256 capWei)
        ERC20("Emerit", "EMR")
        ERC20Capped(capWei)
        ERC20Permit("Emerit")
    {
        minter = minter_;

        emit MinterSet(minter_);
    }

    /// @notice Mints; by the minter, up to the cap.
    function mint(address to, uint256 amountWei) external {
        _requireMinter();

        _mint(to, amountWei);
    }

    /// @notice Passes the right to mint on, to the zero address for good; by the minter.
    function setMinter(address newMinter) external {
        _requireMinter();

        minter = newMinter;

        emit MinterSet(newMinter);
    }

    function _requireMinter() private view {
        require(msg.sender == minter, NotMinter(msg.sender));
    }

    function _update(address from, address to, uint256 amountWei) internal override(ERC20, ERC20Capped) {
        super._update(from, to, amountWei);
    }
}
