// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Reputation} from "./Reputation.sol";
import {TrainingRun} from "./TrainingRun.sol";
import {IRunCore} from "./interfaces/IRunCore.sol";
import {IRunFactory} from "./interfaces/IRunFactory.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {Params} from "./libraries/Params.sol";
import {RunParams} from "./types/Types.sol";

/// @title RunFactory
/// @notice Creates runs. See `IRunFactory`.
contract RunFactory is IRunFactory {
    /// @inheritdoc IRunFactory
    address public immutable core;
    /// @inheritdoc IRunFactory
    address public immutable reputationImplementation;
    /// @inheritdoc IRunFactory
    uint64 public immutable unbondingSeconds;

    /// @inheritdoc IRunFactory
    mapping(address run => bool) public isRun;

    constructor(address core_, address reputationImplementation_) {
        core = core_;
        reputationImplementation = reputationImplementation_;
        unbondingSeconds = IStakes(IRunCore(core_).stakes()).unbondingSeconds();
    }

    /// @inheritdoc IRunFactory
    function createRun(RunParams calldata params) external returns (address run, address reputation) {
        Params.check(params, unbondingSeconds);

        reputation = Clones.clone(reputationImplementation);
        run = address(new TrainingRun(core, params, msg.sender, reputation));
        isRun[run] = true;
        Reputation(reputation).initialize(run, params.reputation.keepPpb);

        emit RunCreated(run, reputation, msg.sender, params.manifestHash, params.manifestCid);
    }
}
