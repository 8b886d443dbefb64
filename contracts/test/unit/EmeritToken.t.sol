// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";

import {EmeritToken} from "../../src/EmeritToken.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract EmeritTokenTest is BaseTest {
    address private immutable minter = makeAddr("minter");
    address private immutable holder = makeAddr("holder");

    EmeritToken private token;

    function setUp() public {
        token = new EmeritToken(minter, 100 ether);
    }

    /* REVERTS */

    function test_RevertWhen_AnotherMints() public {
        expectError(abi.encodeWithSelector(EmeritToken.NotMinter.selector, holder));
        vm.prank(holder);
        token.mint(holder, 1);
    }

    function test_RevertWhen_AnotherSetsTheMinter() public {
        expectError(abi.encodeWithSelector(EmeritToken.NotMinter.selector, holder));
        vm.prank(holder);
        token.setMinter(holder);
    }

    function test_RevertWhen_MintingPastTheCap() public {
        vm.startPrank(minter);
        token.mint(holder, 60 ether);
        expectError(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, 100 ether + 1, 100 ether));
        token.mint(holder, 40 ether + 1);
    }

    function test_RevertWhen_TheMinterGaveUp() public {
        vm.startPrank(minter);
        token.setMinter(address(0));
        expectError(abi.encodeWithSelector(EmeritToken.NotMinter.selector, minter));
        token.mint(holder, 1);
    }

    /* EFFECTS */

    function test_Mint() public {
        vm.prank(minter);
        token.mint(holder, 100 ether);

        assertEq(token.balanceOf(holder), 100 ether, "balance");
        assertEq(token.totalSupply(), token.cap(), "supply");
        assertEq(token.name(), "Emerit", "name");
        assertEq(token.symbol(), "EMR", "symbol");
        assertEq(token.decimals(), 18, "decimals");
    }

    function test_SetMinter() public {
        vm.expectEmit(address(token));
        emit EmeritToken.MinterSet(holder);
        vm.prank(minter);
        token.setMinter(holder);

        assertEq(token.minter(), holder, "minter");
        vm.prank(holder);
        token.mint(holder, 1);
    }

    function test_Permit() public {
        (address signer, uint256 key) = makeAddrAndKey("signer");
        bytes32 domain = token.DOMAIN_SEPARATOR();
        bytes32 kind =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 message = keccak256(abi.encode(kind, signer, holder, 5, 0, block.timestamp + 1));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked("\x19\x01", domain, message)));

        token.permit(signer, holder, 5, block.timestamp + 1, v, r, s);

        assertEq(token.allowance(signer, holder), 5, "allowance");
    }
}
