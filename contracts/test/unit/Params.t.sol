// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunFactory} from "../../src/interfaces/IRunFactory.sol";
import {Params} from "../../src/libraries/Params.sol";
import {RunParams} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract Checker {
    function check(RunParams calldata p, uint64 unbondingSeconds) external pure {
        Params.check(p, unbondingSeconds);
    }
}

/// @dev Each setting at its bounds and one beyond: see `Params.tree`.
contract ParamsTest is BaseTest {
    uint64 private constant UNBONDING_SECONDS = 480;

    Checker private checker;
    RunParams private p;

    function setUp() public {
        checker = new Checker();
        delete p;
        p.rewardToken = address(1);
        p.manifestHash = keccak256("manifest");
        p.manifestCid = string(new bytes(128));
        (p.trainSeconds, p.revealSeconds, p.drawDelaySeconds) = (60, 30, 0);
        (p.scoreSeconds, p.weightRevealSeconds, p.settleSeconds) = (60, 30, 60);
        (p.minRoundSeconds, p.nominalRoundSeconds) = (20, 120);
        // the longest dispute: 50 + 43 * 10 = 480
        (p.challengeWindowSeconds, p.answerSeconds, p.claimPeriodSeconds) = (50, 10, 960);
        (p.historyRounds, p.epochRounds) = (26, 1);
        (p.minTrainers, p.minValidators) = (1, 1);
        p.slashRounds = 2;
        p.rewardRateWeiPerSecond = 1 ether;
        (p.minTrainerBondWei, p.minValidatorStakeWei) = (10, 10);
        (p.stakeUnitWei, p.missFineWei, p.demandBondWei) = (10, 10, 1);
    }

    function refuses(bytes32 field) private {
        expectError(abi.encodeWithSelector(IRunFactory.BadParams.selector, field));
        checker.check(p, UNBONDING_SECONDS);
        setUp();
    }

    function accepts() private {
        checker.check(p, UNBONDING_SECONDS);
        setUp();
    }

    function test_RevertWhen_TokenOrManifestIsMissing() public {
        accepts();
        p.rewardToken = address(0);
        refuses("rewardToken");
        p.manifestHash = 0;
        refuses("manifestHash");
        p.manifestCid = string(new bytes(129));
        refuses("manifestCid");
    }

    function test_RevertWhen_APhaseHasNoTimeOrTooMuch() public {
        uint32 most = 2 ** 23;
        p.trainSeconds = 0;
        refuses("trainSeconds");
        p.trainSeconds = most + 1;
        refuses("trainSeconds");
        p.revealSeconds = 0;
        refuses("revealSeconds");
        p.drawDelaySeconds = most + 1;
        refuses("drawDelaySeconds");
        p.scoreSeconds = 0;
        refuses("scoreSeconds");
        p.weightRevealSeconds = 0;
        refuses("weightRevealSeconds");
        p.settleSeconds = 0;
        refuses("settleSeconds");
        p.minRoundSeconds = most + 1;
        refuses("minRoundSeconds");
        p.nominalRoundSeconds = 0;
        refuses("nominalRoundSeconds");
        p.nominalRoundSeconds = type(uint32).max;
        refuses("nominalRoundSeconds");
        p.trainSeconds = most - 180;
        accepts();
        p.trainSeconds = most - 179;
        refuses("roundSeconds");
    }

    function test_RevertWhen_RoundsAreOutOfRange() public {
        p.maxRounds = 2 ** 24 - 2;
        accepts();
        p.maxRounds = 2 ** 24 - 1;
        refuses("maxRounds");
        p.epochRounds = 0;
        refuses("epochRounds");
        p.historyRounds = 4_096;
        accepts();
        p.historyRounds = 4_097;
        refuses("historyRounds");
        p.historyRounds = 25;
        refuses("historyRounds");
        (p.historyRounds, p.minRoundSeconds) = (3, 10_000);
        refuses("historyRounds");
        (p.historyRounds, p.minRoundSeconds) = (4, 10_000);
        accepts();
        (p.historyRounds, p.minRoundSeconds) = (63, 0);
        refuses("historyRounds");
        (p.historyRounds, p.minRoundSeconds) = (64, 0);
        accepts();
    }

    function test_RevertWhen_ADisputeHasNoTime() public {
        p.challengeWindowSeconds = 0;
        refuses("challengeWindowSeconds");
        p.answerSeconds = 1;
        refuses("answerSeconds");
        p.demandBondWei = 0;
        refuses("demandBondWei");
        p.challengeWindowSeconds = 51;
        refuses("unbondingSeconds");
        p.challengeWindowSeconds = type(uint32).max;
        refuses("unbondingSeconds");
        p.answerSeconds = type(uint32).max;
        refuses("unbondingSeconds");
        p.claimPeriodSeconds = 959;
        refuses("claimPeriodSeconds");
    }

    function test_RevertWhen_MemberLimitsAreOutOfRange() public {
        (p.minTrainers, p.minValidators) = (256, 16);
        accepts();
        p.minTrainers = 0;
        refuses("minTrainers");
        p.minTrainers = 257;
        refuses("minTrainers");
        p.minValidators = 0;
        refuses("minValidators");
        p.minValidators = 17;
        refuses("minValidators");
    }

    function test_RevertWhen_MoneyIsOutOfRange() public {
        p.validatorShareBps = 10_000;
        accepts();
        p.validatorShareBps = 10_001;
        refuses("validatorShareBps");
        p.rewardRateWeiPerSecond = type(uint128).max / 240;
        accepts();
        p.rewardRateWeiPerSecond = type(uint128).max / 240 + 1;
        refuses("rewardRateWeiPerSecond");
        (p.slashRounds, p.rewardRateWeiPerSecond) = (0, type(uint128).max / 120 + 1);
        refuses("rewardRateWeiPerSecond");
        p.stakeUnitWei = 0;
        refuses("stakeUnitWei");
        p.stakeUnitWei = 11;
        refuses("minValidatorStakeWei");
        p.missFineWei = 11;
        refuses("missFineWei");
        (p.missFineWei, p.minTrainerBondWei) = (11, 11);
        refuses("missFineWei");
    }

    function test_RevertWhen_ReputationIsOutOfRange() public {
        p.reputation.continuePpb = 1_000_000_001;
        refuses("continuePpb");
        p.reputation.neckThresholdPpb = 1_000_000_001;
        refuses("neckThresholdPpb");
        p.reputation.connectivityDecayPpb = 1_000_000_001;
        refuses("connectivityDecayPpb");
        p.reputation.epochWeightPpb = 1_000_000_001;
        refuses("epochWeightPpb");
        p.reputation.keepPpb = 1_000_000_001;
        refuses("keepPpb");
    }

    /// @dev No settings make the check itself overflow.
    function testFuzz_NeverPanics(RunParams memory any, uint64 unbondingSeconds) public view {
        any.manifestCid = "";
        try checker.check(any, unbondingSeconds) {}
        catch (bytes memory reason) {
            assertEq(bytes4(reason), IRunFactory.BadParams.selector, "a reason that names a setting");
        }
    }
}
