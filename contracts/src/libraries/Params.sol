// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunFactory} from "../interfaces/IRunFactory.sol";
import {MAX_CID_BYTES, MAX_TRAINERS, MAX_VALIDATORS} from "../types/Limits.sol";
import {ReputationParams, RunParams} from "../types/Types.sol";

/// @title Params
/// @notice What the settings of a run must fulfil for its rounds to settle and its disputes to end in time.
library Params {
    uint256 private constant ONE_BPS = 10_000;
    uint256 private constant ONE_PPB = 1e9;

    /// @dev Ends of phases are kept as 24-bit seconds after the opening. All deadlines together take at most half of
    /// that; the other half is for a draw that comes late.
    uint256 private constant MAX_ROUND_SECONDS = 2 ** 23;
    /// @dev Rounds are kept in 24 bits, plus one.
    uint256 private constant MAX_ROUNDS = 2 ** 24 - 2;
    uint256 private constant MIN_HISTORY_ROUNDS = 4;
    /// @dev A run looks back over void rounds when it opens one: their number must fit into a block.
    uint256 private constant MAX_HISTORY_ROUNDS = 4_096;
    /// @dev Where rounds may take no time at all, as on a test chain.
    uint256 private constant MIN_HISTORY_ROUNDS_UNTIMED = 64;
    /// @dev Demands for leaves keep a header from being final for at most this many times `answerSeconds` (see
    /// `IRunDisputes`), and one more for the punishment of what they show.
    uint256 private constant GAME_ANSWERS = 43;

    /// @notice Reverts with `IRunFactory.BadParams` at the first setting that is out of range.
    function check(RunParams calldata p, uint64 unbondingSeconds) internal pure {
        _checkManifest(p);
        _checkClock(p);
        _checkDisputes(p, unbondingSeconds);
        _checkMembers(p);
        _checkMoney(p);
        _checkReputation(p.reputation);
    }

    /// @notice The longest that a header can be in dispute after it settled, its signers' punishment included.
    function disputeSeconds(RunParams calldata p) internal pure returns (uint256) {
        return uint256(p.challengeWindowSeconds) + GAME_ANSWERS * p.answerSeconds;
    }

    function _checkManifest(RunParams calldata p) private pure {
        _require("rewardToken", p.rewardToken != address(0));
        _require("manifestHash", p.manifestHash != 0);
        _require("manifestCid", bytes(p.manifestCid).length <= MAX_CID_BYTES);
    }

    function _checkClock(RunParams calldata p) private pure {
        _require("trainSeconds", _isLength(p.trainSeconds));
        _require("revealSeconds", _isLength(p.revealSeconds));
        _require("drawDelaySeconds", p.drawDelaySeconds <= MAX_ROUND_SECONDS);
        _require("scoreSeconds", _isLength(p.scoreSeconds));
        _require("weightRevealSeconds", _isLength(p.weightRevealSeconds));
        _require("settleSeconds", _isLength(p.settleSeconds));
        _require("minRoundSeconds", p.minRoundSeconds <= MAX_ROUND_SECONDS);
        _require("nominalRoundSeconds", _isLength(p.nominalRoundSeconds));
        uint256 deadlines = uint256(p.trainSeconds) + p.revealSeconds + p.drawDelaySeconds + p.scoreSeconds
            + p.weightRevealSeconds + p.settleSeconds;
        _require("roundSeconds", deadlines <= MAX_ROUND_SECONDS);
        _require("maxRounds", p.maxRounds <= MAX_ROUNDS);
        _require("epochRounds", p.epochRounds > 0);
    }

    function _checkDisputes(RunParams calldata p, uint64 unbondingSeconds) private pure {
        _require("challengeWindowSeconds", p.challengeWindowSeconds > 0);
        // A demand must leave time for a timeout after its deadline.
        _require("answerSeconds", p.answerSeconds > 1);
        // Else who withholds leaves could take all places for demands, for nothing.
        _require("demandBondWei", p.demandBondWei > 0);
        uint256 longest = disputeSeconds(p);
        // Else signers could take their stakes away before they are found out.
        _require("unbondingSeconds", unbondingSeconds >= longest);
        // Else the sponsor could take back what was promised before it is final and there was time to claim it.
        _require("claimPeriodSeconds", p.claimPeriodSeconds >= 2 * longest);
        // Else a round could be forgotten while its header is in dispute.
        uint256 least = p.minRoundSeconds == 0 ? MIN_HISTORY_ROUNDS_UNTIMED : MIN_HISTORY_ROUNDS;
        _require("historyRounds", p.historyRounds >= least && p.historyRounds <= MAX_HISTORY_ROUNDS);
        bool remembered =
            p.minRoundSeconds == 0 || (uint256(p.historyRounds) - 2) * p.minRoundSeconds >= longest;
        _require("historyRounds", remembered);
    }

    function _checkMembers(RunParams calldata p) private pure {
        _require("minTrainers", p.minTrainers > 0 && p.minTrainers <= MAX_TRAINERS);
        _require("minValidators", p.minValidators > 0 && p.minValidators <= MAX_VALIDATORS);
    }

    function _checkMoney(RunParams calldata p) private pure {
        _require("validatorShareBps", p.validatorShareBps <= ONE_BPS);
        // What a wrong header costs, and with it every budget, stays far from the end of its type.
        uint256 budgets = uint256(p.nominalRoundSeconds) * (p.slashRounds == 0 ? 1 : p.slashRounds);
        _require("rewardRateWeiPerSecond", budgets * p.rewardRateWeiPerSecond <= uint256(type(uint128).max));
        _require("stakeUnitWei", p.stakeUnitWei > 0);
        // Else a validator could join without any voting weight.
        _require("minValidatorStakeWei", p.minValidatorStakeWei >= p.stakeUnitWei);
        // Else a member could join without being able to pay for one miss.
        _require(
            "missFineWei", p.missFineWei <= p.minTrainerBondWei && p.missFineWei <= p.minValidatorStakeWei
        );
    }

    function _checkReputation(ReputationParams calldata p) private pure {
        _require("continuePpb", p.continuePpb <= ONE_PPB);
        _require("neckThresholdPpb", p.neckThresholdPpb <= ONE_PPB);
        _require("connectivityDecayPpb", p.connectivityDecayPpb <= ONE_PPB);
        _require("epochWeightPpb", p.epochWeightPpb <= ONE_PPB);
        _require("keepPpb", p.keepPpb <= ONE_PPB);
    }

    function _isLength(uint32 seconds_) private pure returns (bool) {
        return seconds_ > 0 && seconds_ <= MAX_ROUND_SECONDS;
    }

    function _require(bytes32 field, bool fulfilled) private pure {
        require(fulfilled, IRunFactory.BadParams(field));
    }
}
