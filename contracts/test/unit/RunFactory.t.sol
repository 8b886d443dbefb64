// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";

import {Reputation} from "../../src/Reputation.sol";
import {IRunFactory} from "../../src/interfaces/IRunFactory.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Phase, RunParams} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev See `RunFactory.tree`; the bounds of each setting are in `Params.t.sol`.
contract RunFactoryTest is RunFixture {
    /* REVERTS */

    function test_RevertWhen_ASettingIsOutOfRange() public {
        RunParams memory p = defaultParams();
        p.trainSeconds = 0;
        expectError(abi.encodeWithSelector(IRunFactory.BadParams.selector, bytes32("trainSeconds")));
        factory.createRun(p);
    }

    function test_RevertWhen_ADisputeOutlastsTheStakes() public {
        RunParams memory p = defaultParams();
        p.claimPeriodSeconds = type(uint32).max;
        p.challengeWindowSeconds = uint32(UNBONDING_SECONDS) - 43 * p.answerSeconds + 1;
        p.historyRounds = 4_096;
        expectError(abi.encodeWithSelector(IRunFactory.BadParams.selector, bytes32("unbondingSeconds")));
        factory.createRun(p);
        p.challengeWindowSeconds--;
        factory.createRun(p);
    }

    function test_RevertWhen_TheReputationIsSetUpAgain() public {
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        reputation.initialize(stranger, 1);
        Reputation code = Reputation(factory.reputationImplementation());
        expectError(abi.encodeWithSelector(Initializable.InvalidInitialization.selector));
        code.initialize(address(run), 1);
    }

    /* EFFECTS */

    function test_CreateRun() public {
        RunParams memory p = defaultParams();
        vm.expectEmit(false, false, true, true, address(factory));
        emit IRunFactory.RunCreated(address(0), address(0), stranger, p.manifestHash, p.manifestCid);
        vm.prank(stranger);
        (address made, address madeReputation) = factory.createRun(p);

        ITrainingRun other = ITrainingRun(made);
        assertTrue(factory.isRun(made), "known to the factory");
        assertFalse(factory.isRun(madeReputation), "no run");
        assertEq(other.sponsor(), stranger, "sponsor");
        assertEq(other.reputation(), madeReputation, "reputation");
        assertEq(Reputation(madeReputation).run(), made, "run of the reputation");
        assertEq(Reputation(madeReputation).keepPpb(), p.reputation.keepPpb, "what it keeps");
        assertEq(other.stakes(), address(stakes), "stakes");
        assertEq(other.rewards(), address(rewards), "rewards");
        assertEq(other.core(), factory.core(), "core");
        assertEq(other.rewardToken(), address(token), "token");
        assertEq(keccak256(abi.encode(other.params())), keccak256(abi.encode(p)), "params");
        assertEq(uint8(other.status().phase), uint8(Phase.NotStarted), "phase");
        assertEq(other.nextRound(), 0, "next round");
        assertEq(factory.unbondingSeconds(), UNBONDING_SECONDS, "unbonding");
    }

    function test_RunsAreApart() public {
        (ITrainingRun other,) = createRun(defaultParams());
        startRun();

        assertEq(uint8(other.status().phase), uint8(Phase.NotStarted), "the other has not started");
        assertEq(stakes.registrySize(address(other)), 0, "nor has anyone joined it");
        assertEq(rewards.funded(address(other)), 0, "nor funded it");
    }
}
