// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Reputation} from "./Reputation.sol";
import {IRunFactory} from "./interfaces/IRunFactory.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Params} from "./libraries/Params.sol";
import {RunParams} from "./types/Types.sol";

/// @title RunFactory
/// @notice Creates runs. See `IRunFactory`.
contract RunFactory is IRunFactory {
    /// @inheritdoc IRunFactory
    address public immutable trainingRunImplementation;
    /// @inheritdoc IRunFactory
    address public immutable reputationImplementation;

    /// @inheritdoc IRunFactory
    mapping(address run => bool) public isRun;

    constructor(address trainingRunImplementation_, address reputationImplementation_) {
        trainingRunImplementation = trainingRunImplementation_;
        reputationImplementation = reputationImplementation_;
    }

    /// @inheritdoc IRunFactory
    function createRun(RunParams calldata params) external returns (address run, address reputation) {
        Params.check(params);

        run = Clones.clone(trainingRunImplementation);
        reputation = Clones.clone(reputationImplementation);
        isRun[run] = true;

        ITrainingRun(run).initialize(params, msg.sender, reputation);
        Reputation(reputation).initialize(run);

        emit RunCreated(run, reputation, msg.sender, params.manifestHash, params.manifestCid);
    }
}
