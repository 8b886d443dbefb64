// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Entry, Role} from "../../src/types/Types.sol";
import {MoneyFixture} from "./MoneyFixture.sol";

/// @dev What the tests of stakes share. The run is one that does as it is told.
abstract contract StakesFixture is MoneyFixture {
    address internal constant DEAD = 0x000000000000000000000000000000000000dEaD;
    address internal immutable member = makeAddr("member");
    address internal immutable operator = makeAddr("operator");

    function setUp() public override {
        super.setUp();
        deal(member, 1_000 ether, address(stakes));
    }

    function joinAs(Role role, uint128 amountWei) internal {
        vm.prank(member);
        stakes.join(address(run), role, operator, amountWei);
    }

    function join(uint256 i, Role role, uint128 amountWei) internal {
        deal(account(i), amountWei, address(stakes));
        vm.prank(account(i));
        stakes.join(address(run), role, operatorOf(i), amountWei);
    }

    function operatorOf(uint256 i) internal pure returns (address) {
        return named("operator", i);
    }

    function leaveAs(address who) internal {
        vm.prank(who);
        stakes.leave(address(run));
    }

    function withdrawAs(address who) internal {
        vm.prank(who);
        stakes.withdraw(address(run));
    }

    /// @dev The last round of whoever left until now is over, and the stakes are free.
    function release(uint32 activeUntil) internal {
        run.setReleased(activeUntil, uint64(block.timestamp));
        skip(UNBONDING_SECONDS);
    }

    function slash(uint32 index, uint128 amountWei, address challenger, uint16 bps)
        internal
        returns (uint128)
    {
        (uint32[] memory indices, uint128[] memory amounts) = (new uint32[](1), new uint128[](1));
        (indices[0], amounts[0]) = (index, amountWei);
        bytes memory result =
            run.execute(address(stakes), abi.encodeCall(IStakes.slash, (indices, amounts, challenger, bps)));
        return abi.decode(result, (uint128));
    }

    function entry(address who) internal view returns (Entry memory) {
        return stakes.entryOf(address(run), who);
    }
}
