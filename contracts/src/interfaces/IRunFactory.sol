// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {RunParams} from "../types/Types.sol";

/// @title IRunFactory
/// @notice Creates runs. By anyone; the caller is the run's sponsor.
/// @dev Each run has the code of a round's acts at its own address and delegates the rest to `core`; its reputation
/// contract is a minimal proxy. Nothing of that can change.
/// The bounds of every setting are in `libraries/Params.sol`.
interface IRunFactory {
    /// @notice A setting of the new run is out of range; `field` is its name.
    error BadParams(bytes32 field);

    event RunCreated(
        address indexed run,
        address indexed reputation,
        address indexed sponsor,
        bytes32 manifestHash,
        string manifestCid
    );

    /// @notice Creates a run, open to members. It starts when enough have joined and somebody calls `start`.
    function createRun(RunParams calldata params) external returns (address run, address reputation);

    /// @notice True if this factory created `run`.
    function isRun(address run) external view returns (bool);

    /// @notice The code behind all runs.
    function core() external view returns (address);

    /// @notice The code behind all reputation contracts.
    function reputationImplementation() external view returns (address);

    /// @notice How long stakes are bound; the longest dispute that a run's settings allow must be over by then.
    function unbondingSeconds() external view returns (uint64);
}
