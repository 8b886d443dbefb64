// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {LargeClaims} from "../utils/LargeClaims.sol";

/// @dev Gas of claims as whole transactions (`isolate` below). A *next* claim: the account was paid before, and
/// another claim has shown that the header is final.
/// forge-config: default.isolate = true
/// forge-config: deep.isolate = true
contract ClaimGasTest is LargeClaims {
    string private constant TABLE = "claims";

    function setUp() public override {
        super.setUp();
        fund(run, POOL_WEI);
    }

    function claims(uint32 leafCount, string memory name) private {
        (Shown memory one, Shown memory other) = large(301, leafCount, 1.234567891234567891 ether);
        rewards.claim(address(run), one.tree, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the run"));
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the account"));
        (one, other) = large(302, leafCount, 2.345678912345678912 ether);
        rewards.claim(address(run), other.tree, other.leaf, other.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", first of the header"));
        uint256 state = vm.snapshotState();
        rewards.claim(address(run), one.tree, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claim, ", name, ", next"));
        vm.revertToState(state);
        rewards.claimNext(address(run), leafCount, one.leaf, one.proof);
        vm.snapshotGasLastCall(TABLE, string.concat("claimNext, ", name));
    }

    function test_Claims1k() public {
        claims(1_000, "1,000 leaves");
    }

    function test_Claims131k() public {
        claims(131_000, "131,000 leaves");
    }
}
