// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunCore} from "./IRunCore.sol";
import {IRunDisputes} from "./IRunDisputes.sol";

/// @title ITrainingRun
/// @notice All that a run's address answers: `IRunCore` and `IRunDisputes`.
/// @dev Three parts over one storage (`RunStorage`). `TrainingRun` is at the run's address; what it does not know it
/// delegates to `Settlement`, and that to `Disputes`.
interface ITrainingRun is IRunCore, IRunDisputes {}
