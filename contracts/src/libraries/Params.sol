// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunFactory} from "../interfaces/IRunFactory.sol";
import {MAX_CID_BYTES, MAX_TRAINERS, MAX_VALIDATORS} from "../types/Limits.sol";
import {RunParams} from "../types/Types.sol";

/// @title Params
/// @notice What the settings of a run must fulfil for its rounds to be able to settle.
library Params {
    uint256 private constant ONE_BPS = 10_000;
    uint256 private constant ONE_PPB = 1e9;

    /// @notice Reverts with `IRunFactory.BadParams` at the first setting that is out of range.
    function check(RunParams calldata p) internal pure {
        _require("rewardToken", p.rewardToken != address(0));
        _require("manifestHash", p.manifestHash != 0);
        _require("manifestCid", bytes(p.manifestCid).length <= MAX_CID_BYTES);
        _require("trainSeconds", p.trainSeconds > 0);
        _require("revealSeconds", p.revealSeconds > 0);
        _require("scoreSeconds", p.scoreSeconds > 0);
        _require("weightRevealSeconds", p.weightRevealSeconds > 0);
        _require("settleSeconds", p.settleSeconds > 0);
        _require("nominalRoundSeconds", p.nominalRoundSeconds > 0);
        _require("minTrainers", p.minTrainers > 0 && p.minTrainers <= MAX_TRAINERS);
        _require("minValidators", p.minValidators > 0 && p.minValidators <= MAX_VALIDATORS);
        _require("validatorShareBps", p.validatorShareBps <= ONE_BPS);
        _require("stakeUnitWei", p.stakeUnitWei > 0);
        // Else a validator could join without any voting weight.
        _require("minValidatorStakeWei", p.minValidatorStakeWei >= p.stakeUnitWei);
        _require("reputationKeepPpb", p.reputationKeepPpb <= ONE_PPB);
    }

    function _require(bytes32 field, bool fulfilled) private pure {
        require(fulfilled, IRunFactory.BadParams(field));
    }
}
