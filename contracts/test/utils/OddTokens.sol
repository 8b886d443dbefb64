// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token that keeps a hundredth of each transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function mint(address to, uint256 amountWei) external {
        _mint(to, amountWei);
    }

    function _update(address from, address to, uint256 amountWei) internal override {
        super._update(from, to, amountWei);
        if (from != address(0) && to != address(0)) super._update(to, address(0), amountWei / 100);
    }
}

/// @dev A token that calls somebody back in each transfer, as ERC-777 does.
contract HookToken is ERC20("Hook", "HOOK") {
    address public hooked;
    bytes public callback;
    bool public callbackFailed;
    bytes public callbackResult;

    function mint(address to, uint256 amountWei) external {
        _mint(to, amountWei);
    }

    function setHook(address hooked_, bytes calldata callback_) external {
        (hooked, callback) = (hooked_, callback_);
    }

    function _update(address from, address to, uint256 amountWei) internal override {
        super._update(from, to, amountWei);
        address target = hooked;
        if (target == address(0) || from == address(0)) return;
        hooked = address(0);
        bool ok;
        (ok, callbackResult) = target.call(callback);
        callbackFailed = !ok;
    }
}
