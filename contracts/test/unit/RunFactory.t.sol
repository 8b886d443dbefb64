// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";

import {Reputation} from "../../src/Reputation.sol";
import {TrainingRun} from "../../src/TrainingRun.sol";
import {IRunFactory} from "../../src/interfaces/IRunFactory.sol";
import {Phase, RunParams} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

contract RunFactoryTest is RunFixture {
    function refuses(RunParams memory p, bytes32 field) internal {
        expectError(abi.encodeWithSelector(IRunFactory.BadParams.selector, field));
        factory.createRun(p);
    }

    /* REVERTS */

    function test_RevertWhen_AddressOrManifestIsMissing() public {
        RunParams memory p = defaultParams();
        p.rewardToken = address(0);
        refuses(p, "rewardToken");
        p = defaultParams();
        p.manifestHash = 0;
        refuses(p, "manifestHash");
        p = defaultParams();
        p.manifestCid = string(new bytes(129));
        refuses(p, "manifestCid");
    }

    function test_RevertWhen_APhaseHasNoTime() public {
        RunParams memory p = defaultParams();
        p.trainSeconds = 0;
        refuses(p, "trainSeconds");
        p = defaultParams();
        p.revealSeconds = 0;
        refuses(p, "revealSeconds");
        p = defaultParams();
        p.scoreSeconds = 0;
        refuses(p, "scoreSeconds");
        p = defaultParams();
        p.weightRevealSeconds = 0;
        refuses(p, "weightRevealSeconds");
        p = defaultParams();
        p.settleSeconds = 0;
        refuses(p, "settleSeconds");
        p = defaultParams();
        p.nominalRoundSeconds = 0;
        refuses(p, "nominalRoundSeconds");
    }

    function test_RevertWhen_MemberLimitsAreOutOfRange() public {
        RunParams memory p = defaultParams();
        p.minTrainers = 0;
        refuses(p, "minTrainers");
        p.minTrainers = 257;
        refuses(p, "minTrainers");
        p = defaultParams();
        p.minValidators = 0;
        refuses(p, "minValidators");
        p.minValidators = 17;
        refuses(p, "minValidators");
    }

    function test_RevertWhen_MoneyIsOutOfRange() public {
        RunParams memory p = defaultParams();
        p.validatorShareBps = 10_001;
        refuses(p, "validatorShareBps");
        p = defaultParams();
        p.stakeUnitWei = 0;
        refuses(p, "stakeUnitWei");
        p = defaultParams();
        p.minValidatorStakeWei = p.stakeUnitWei - 1;
        refuses(p, "minValidatorStakeWei");
        p = defaultParams();
        p.reputationKeepPpb = 1_000_000_001;
        refuses(p, "reputationKeepPpb");
    }

    function test_RevertWhen_SetUpTwice() public {
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        run.initialize(defaultParams(), stranger, address(reputation));
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        reputation.initialize(stranger);
    }

    function test_RevertWhen_CodeItselfIsSetUp() public {
        TrainingRun runCode = TrainingRun(factory.trainingRunImplementation());
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        runCode.initialize(defaultParams(), stranger, address(reputation));
        Reputation reputationCode = Reputation(factory.reputationImplementation());
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        reputationCode.initialize(address(run));
    }

    /* EFFECTS */

    function test_CreateRun() public {
        RunParams memory p = defaultParams();
        vm.expectEmit(false, false, true, true, address(factory));
        emit IRunFactory.RunCreated(address(0), address(0), stranger, p.manifestHash, p.manifestCid);
        vm.prank(stranger);
        (address made, address madeReputation) = factory.createRun(p);

        TrainingRun other = TrainingRun(made);
        assertTrue(factory.isRun(made), "known to the factory");
        assertFalse(factory.isRun(madeReputation), "no run");
        assertEq(other.sponsor(), stranger, "sponsor");
        assertEq(other.reputation(), madeReputation, "reputation");
        assertEq(Reputation(madeReputation).run(), made, "run of the reputation");
        assertEq(other.stakes(), address(stakes), "stakes");
        assertEq(other.rewards(), address(rewards), "rewards");
        assertEq(other.rewardToken(), address(token), "token");
        assertEq(keccak256(abi.encode(other.params())), keccak256(abi.encode(p)), "params");
        assertEq(uint8(other.status().phase), uint8(Phase.NotStarted), "phase");
        assertEq(other.nextRound(), 0, "next round");
    }

    function test_RunsAreApart() public {
        (TrainingRun other,) = createRun(defaultParams());
        startRun();

        assertEq(uint8(other.status().phase), uint8(Phase.NotStarted), "the other has not started");
        assertEq(stakes.registrySize(address(other)), 0, "nor has anyone joined it");
        assertEq(rewards.funded(address(other)), 0, "nor funded it");
    }
}
