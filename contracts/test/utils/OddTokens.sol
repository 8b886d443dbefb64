// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token that anybody mints.
contract OpenToken is ERC20("Open", "OPEN") {
    function mint(address to, uint256 amountWei) external {
        _mint(to, amountWei);
    }
}

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

/// @dev A token that says false where others revert, and moves nothing then.
contract FalseToken is ERC20("False", "FALSE") {
    bool public refuses;

    function mint(address to, uint256 amountWei) external {
        _mint(to, amountWei);
    }

    function setRefuses(bool refuses_) external {
        refuses = refuses_;
    }

    function transfer(address to, uint256 amountWei) public override returns (bool) {
        return !refuses && super.transfer(to, amountWei);
    }

    function transferFrom(address from, address to, uint256 amountWei) public override returns (bool) {
        return !refuses && super.transferFrom(from, to, amountWei);
    }
}

/// @dev A token whose transfers return nothing, as the first ones did; and which refuses to move to some.
contract SilentToken {
    error Blocked(address to);

    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    mapping(address account => bool) public blocked;

    function mint(address to, uint256 amountWei) external {
        balanceOf[to] += amountWei;
    }

    function setBlocked(address to, bool blocked_) external {
        blocked[to] = blocked_;
    }

    function approve(address spender, uint256 amountWei) external {
        allowance[msg.sender][spender] = amountWei;
    }

    function transfer(address to, uint256 amountWei) external {
        _move(msg.sender, to, amountWei);
    }

    function transferFrom(address from, address to, uint256 amountWei) external {
        allowance[from][msg.sender] -= amountWei;
        _move(from, to, amountWei);
    }

    function _move(address from, address to, uint256 amountWei) private {
        require(!blocked[to], Blocked(to));
        balanceOf[from] -= amountWei;
        balanceOf[to] += amountWei;
    }
}
