// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Leaf, ReputationParams} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @dev Reads the files in tests/vectors (see the README there). `base` is a path in the file, `field` begins with a dot.
abstract contract VectorReader is BaseTest {
    string private constant BODY = "Body(address run,uint32 round,uint32 attempt,bytes32 previous,"
        "bytes32 reveals,uint128 budgetWei,bytes32 stateRoot,bytes32 aggregateHash)";
    string private constant TREE =
        "Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)";
    string private constant DETAIL = "LeafDetail(uint64 weight,uint64 reputation,bytes32 row,"
        "uint64 weightBefore,uint128 amountBeforeWei)";
    string private constant LEAF =
        "Leaf(uint32 index,address account,uint128 cumulativeAmountWei,LeafDetail detail)";

    string internal json;

    function load(string memory name) internal {
        json = vm.readFile(string.concat("../tests/vectors/", name));
    }

    function item(string memory list, uint256 i) internal pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function has(string memory key) internal view returns (bool) {
        return vm.keyExistsJson(json, key);
    }

    function word(string memory base, string memory field) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(base, field));
    }

    function words(string memory base, string memory field) internal view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, string.concat(base, field));
    }

    function blob(string memory base, string memory field) internal view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(base, field));
    }

    function number(string memory base, string memory field) internal view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(base, field));
    }

    function account(string memory base, string memory field) internal view returns (address) {
        return vm.parseJsonAddress(json, string.concat(base, field));
    }

    function textHash(string memory base, string memory field) internal view returns (bytes32) {
        return keccak256(bytes(vm.parseJsonString(json, string.concat(base, field))));
    }

    function headerOf(string memory base, string memory field) internal view returns (Header memory) {
        string memory types = string.concat("Header(Body body,Tree tree)", BODY, TREE);
        return abi.decode(vm.parseJsonType(json, string.concat(base, field), types), (Header));
    }

    function leavesOf(string memory base, string memory field) internal view returns (Leaf[] memory) {
        string memory types = string.concat(LEAF, DETAIL);
        return abi.decode(vm.parseJsonTypeArray(json, string.concat(base, field), types), (Leaf[]));
    }

    function reputationOf(string memory base) internal view returns (ReputationParams memory p) {
        p.continuePpb = uint32(number(base, ".continuePpb"));
        p.neckThresholdPpb = uint32(number(base, ".neckThresholdPpb"));
        p.connectivityDecayPpb = uint32(number(base, ".connectivityDecayPpb"));
        p.epochWeightPpb = uint32(number(base, ".epochWeightPpb"));
        p.keepPpb = uint32(number(base, ".keepPpb"));
        p.neckMinValidators = uint16(number(base, ".neckMinValidators"));
    }

    /// @dev Lanes, those that are not given filled up.
    function packed(uint256[] memory values, uint256 fill) internal pure returns (bytes32) {
        uint256 lanes;
        for (uint256 v = 0; v < 16; v++) {
            lanes |= (v < values.length ? values[v] : fill) << (16 * v);
        }
        return bytes32(lanes);
    }
}
