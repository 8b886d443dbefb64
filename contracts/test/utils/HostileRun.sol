// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, RunParams} from "../../src/types/Types.sol";

/// @dev A contract that answers as a run does, with whatever suits it.
contract HostileRun {
    address public rewardToken;
    address public sponsor;
    bool public finished;
    uint128 public settledTotalWei;
    uint32 public nextRound;
    mapping(uint32 round => bytes32) public headerHash;
    mapping(uint32 round => uint64) public finalAt;

    function set(address rewardToken_, address sponsor_, bool finished_, uint128 settledTotalWei_) external {
        (rewardToken, sponsor, finished, settledTotalWei) =
        (rewardToken_, sponsor_, finished_, settledTotalWei_);
    }

    function settle(Header calldata header) external {
        headerHash[header.round] = keccak256(abi.encode(header));
    }

    function params() external pure returns (RunParams memory) {}
}
