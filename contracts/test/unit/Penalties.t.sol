// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IDisputesBase} from "../../src/interfaces/IRunDisputes.sol";
import {Member, Round, RunState} from "../../src/types/Storage.sol";
import {Entry, Fault, Header, Role, RoundStatus, RunParams} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";

/// @dev Who pays for a wrong header, for two headers, and for what was missed; to the wei. A nominal round's
/// budget is 120 ether and a wrong header costs two; voting weights are 100, 80, 60, 40, 50.
contract PenaltiesTest is DisputesFixture {
    address private _alice = address(0xA11CE);
    address private _bob = address(0xB0B);
    bytes32 private constant SALT = keccak256("salt");

    function setUp() public override {
        super.setUp();
        makeWorld(1);
        settleHonestly();
        for (uint256 v = 0; v < 5; v++) {
            Member memory m;
            (m.role, m.slot, m.activeUntil) = (uint8(Role.Validator), uint8(v), type(uint24).max);
            harness.setMember(operator(world.seats[v]), m);
        }
    }

    /// @dev The header falls by the account of leaf 3.
    function fall() private {
        leaves[3].account = address(0xBEEF);
        storeHeader();
        run.challengeIdentity(opened(), leaves[3], proofOf(3));
    }

    function precommitted(address challenger) private returns (bytes32 hash) {
        hash = run.precommitHash(ROUND, 0, Fault.Identity, 3, challenger, SALT);
        run.precommit(hash);
    }

    /* PUNISH */

    function test_PrecommitHash() public view {
        assertEq(
            run.precommitHash(ROUND, 0, Fault.Identity, 3, _alice, SALT),
            keccak256(abi.encode(address(harness), ROUND, uint32(0), Fault.Identity, uint32(3), _alice, SALT))
        );
    }

    function test_RevertWhen_NothingIsWrong() public {
        expectError(abi.encodeWithSelector(IDisputesBase.NothingToPunish.selector, ROUND));
        run.punish(ROUND, _alice, SALT);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 7, 6));
        run.punish(7, _alice, SALT);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingToPunish.selector, ROUND));
        run.punishEquivocation(ROUND, 0, _alice, SALT);
    }

    function test_RevertWhen_OldFaultLiesInAnOpenRoundsPlace() public {
        fall();
        Round memory r = harness.getRound(ROUND);
        (r.number, r.status) = (ROUND, RoundStatus.Open);
        harness.setRound(r);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingToPunish.selector, ROUND));
        run.punish(ROUND, address(0), SALT);
    }

    function test_RevertWhen_PrecommittedTwice() public {
        bytes32 hash = precommitted(_alice);
        expectError(abi.encodeWithSelector(IDisputesBase.AlreadyPrecommitted.selector, hash));
        run.precommit(hash);
        assertEq(run.precommittedAt(hash), settledAt);
    }

    function test_RevertWhen_ChallengerDidNotPrecommitInTime() public {
        vm.warp(settledAt + 10);
        fall();
        bytes32 hash = run.precommitHash(ROUND, 0, Fault.Identity, 3, _alice, SALT);
        bytes4 error_ = IDisputesBase.NotPrecommitted.selector;
        expectError(abi.encodeWithSelector(error_, hash, 0, settledAt + 10));
        run.punish(ROUND, _alice, SALT);
        // In the same block, as one who saw the challenge on its way.
        precommitted(_alice);
        expectError(abi.encodeWithSelector(error_, hash, settledAt + 10, settledAt + 10));
        run.punish(ROUND, _alice, SALT);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, settledAt + 10 + ANSWER));
        run.punish(ROUND, address(0), SALT);
    }

    function test_RevertWhen_PrecommitmentIsAnothers() public {
        precommitted(_alice);
        vm.warp(settledAt + 10);
        fall();
        bytes32 hash = run.precommitHash(ROUND, 0, Fault.Identity, 3, _bob, SALT);
        expectError(abi.encodeWithSelector(IDisputesBase.NotPrecommitted.selector, hash, 0, settledAt + 10));
        run.punish(ROUND, _bob, SALT);
    }

    function test_PunishSharesByVotingWeight() public {
        precommitted(_alice);
        vm.warp(settledAt + 10);
        fall();
        vm.prank(_bob);
        run.punish(ROUND, _alice, SALT);

        // 240 ether by 100 : 80 : 60.
        assertEq(stakeOf(1), STAKE - 100 ether);
        assertEq(stakeOf(3), STAKE - 80 ether);
        assertEq(stakeOf(5), STAKE - 60 ether);
        assertEq(stakeOf(7), STAKE);
        assertEq(stakes.rewardOf(_alice), 24 ether);
        assertEq(stakes.burnedWei(), 216 ether);
        (Fault fault,,,, uint16 signers) = run.faultOf(ROUND);
        assertEq(uint8(fault), uint8(Fault.None));
        assertEq(signers, 0);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingToPunish.selector, ROUND));
        run.punish(ROUND, _alice, SALT);
    }

    function test_PunishTakesNoMoreThanStakes() public {
        Entry memory e = world.entries[1];
        e.stakeWei = 7 ether;
        stakes.set(e);
        fall();
        vm.warp(settledAt + ANSWER);
        run.punish(ROUND, address(0), SALT);
        assertEq(stakeOf(1), 0);
        assertEq(stakeOf(3), STAKE - 80 ether);
        assertEq(stakes.rewardOf(address(0)), 0);
        assertEq(stakes.burnedWei(), 147 ether);
    }

    function testFuzz_PunishNeverPassesTheCap(uint16 signers, uint16 rounds, uint128 rate, uint32 nominal)
        public
    {
        signers = signers & 31;
        vm.assume(signers != 0);
        RunParams memory p = params();
        (p.slashRounds, p.rewardRateWeiPerSecond, p.nominalRoundSeconds) = (rounds, rate, nominal);
        harness.setParams(p);
        fall();
        Round memory r = harness.getRound(ROUND);
        r.faultSigners = signers;
        harness.setRound(r);
        vm.warp(settledAt + ANSWER);
        run.punish(ROUND, address(0), SALT);
        uint256 cap = uint256(rounds) * rate * nominal;
        assertLe(stakes.burnedWei(), cap);
        for (uint256 v = 0; v < 5; v++) {
            if (signers >> v & 1 == 0) assertEq(stakeOf(world.seats[v]), STAKE);
        }
    }

    function stakeOf(uint32 index) private view returns (uint256) {
        return stakes.entryAt(address(run), index).stakeWei;
    }

    /* EQUIVOCATION */

    function other() private view returns (Header memory h) {
        h = header();
        h.body.stateRoot = keccak256("another state");
    }

    function signed(Header memory h, uint256 index) private view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Emerit"),
                keccak256("1"),
                block.chainid,
                address(harness)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, hashOf(h)));
        (bytes32 r, bytes32 vs) = vm.signCompact(key(index), digest);
        return abi.encodePacked(r, vs);
    }

    function expectConsistent(Header memory a, Header memory b) private {
        bytes memory signatureA = signed(a, 1);
        bytes memory signatureB = signed(b, 1);
        expectError(abi.encodeWithSelector(IDisputesBase.NotContradictory.selector));
        run.equivocation(a, signatureA, b, signatureB);
    }

    function test_RevertWhen_HeadersDoNotContradict() public {
        expectConsistent(header(), header());
        Header memory b = other();
        b.body.run = address(this);
        expectConsistent(header(), b);
        expectConsistent(b, header());
        b = other();
        b.body.round++;
        expectConsistent(header(), b);
        b = other();
        b.body.attempt++;
        expectConsistent(header(), b);
        b = other();
        b.body.previous = 0;
        expectConsistent(header(), b);
        b = other();
        b.body.reveals = 0;
        expectConsistent(header(), b);
        b = other();
        b.body.budgetWei++;
        expectConsistent(header(), b);
    }

    function test_RevertWhen_SignersAreNotOneValidator() public {
        Header memory b = other();
        bytes memory a1 = signed(header(), 1);
        bytes memory b1 = signed(b, 3);
        expectError(abi.encodeWithSelector(IDisputesBase.NotOneValidator.selector, operator(1), operator(3)));
        run.equivocation(header(), a1, b, b1);
        // A trainer, and nobody.
        a1 = signed(header(), 2);
        b1 = signed(b, 2);
        expectError(
            abi.encodeWithSelector(IRunBase.WrongRole.selector, operator(2), Role.Trainer, Role.Validator)
        );
        run.equivocation(header(), a1, b, b1);
        expectError(abi.encodeWithSelector(IDisputesBase.MalformedSignature.selector));
        run.equivocation(header(), bytes.concat(a1, hex"00"), b, b1);
        expectError(abi.encodeWithSelector(IDisputesBase.MalformedSignature.selector));
        run.equivocation(header(), new bytes(64), b, b1);
    }

    function test_EquivocationIsPunishedOnce() public {
        Header memory b = other();
        bytes memory a1 = signed(header(), 3);
        bytes memory b1 = signed(b, 3);
        bytes32 hash = run.precommitHash(ROUND, 0, Fault.Equivocation, 3, _alice, SALT);
        run.precommit(hash);
        vm.warp(settledAt + 1);
        run.equivocation(header(), a1, b, b1);
        assertFalse(voided());
        expectError(abi.encodeWithSelector(IDisputesBase.AlreadyProven.selector, ROUND, 3));
        run.equivocation(b, b1, header(), a1);

        run.punishEquivocation(ROUND, 3, _alice, SALT);
        assertEq(stakeOf(3), STAKE - 240 ether);
        assertEq(stakes.rewardOf(_alice), 24 ether);
        assertEq(stakes.burnedWei(), 216 ether);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingToPunish.selector, ROUND));
        run.punishEquivocation(ROUND, 3, _alice, SALT);
    }

    function test_EquivocationWithAFormerKey() public {
        // The run has forgotten the key; the registry has not.
        Member memory none;
        harness.setMember(operator(5), none);
        Header memory b = other();
        run.equivocation(header(), signed(header(), 5), b, signed(b, 5));
        vm.warp(settledAt + ANSWER);
        run.punishEquivocation(ROUND, 5, address(0), SALT);
        assertEq(stakeOf(5), STAKE - 240 ether);
        assertEq(stakes.burnedWei(), 240 ether);
    }

    function test_AnEquivocatorShieldsNobody() public {
        // Who had the same slot before, or has it now, has a record of its own.
        Header memory b = other();
        run.equivocation(header(), signed(header(), 5), b, signed(b, 5));
        run.equivocation(header(), signed(header(), 3), b, signed(b, 3));
        vm.warp(settledAt + ANSWER);
        run.punishEquivocation(ROUND, 3, address(0), SALT);
        run.punishEquivocation(ROUND, 5, address(0), SALT);
        assertEq(stakes.burnedWei(), 480 ether);
    }

    /* FINES */

    function trainerWord(uint24 committedIn, bytes18 commitment) private {
        Member memory m;
        (m.role, m.slot, m.committedIn, m.commitment) = (uint8(Role.Trainer), 1, committedIn, commitment);
        harness.setMember(operator(2), m);
    }

    function test_RevertWhen_TrainerMissedNothing() public {
        bytes memory nothing = abi.encodeWithSelector(IDisputesBase.NothingMissed.selector, ROUND);
        trainerWord(uint24(ROUND), bytes18(uint144(1)));
        expectError(nothing);
        run.fineTrainer(ROUND, operator(2));
        trainerWord(uint24(ROUND + 1), 0);
        expectError(nothing);
        run.fineTrainer(ROUND, operator(2));
        expectError(
            abi.encodeWithSelector(IRunBase.WrongRole.selector, operator(1), Role.Validator, Role.Trainer)
        );
        run.fineTrainer(ROUND, operator(1));
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 7, 6));
        run.fineTrainer(7, operator(2));
    }

    function test_FineTrainerOnce() public {
        trainerWord(uint24(6 + 1), bytes18(uint144(1)));
        Round memory r = harness.getRound(6);
        (r.trainEnd, r.revealEnd, r.commits) = (60, 90, 1);
        harness.setRound(r);
        vm.warp(settledAt + 89);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, settledAt + 90));
        run.fineTrainer(6, operator(2));
        vm.warp(settledAt + 90);
        run.fineTrainer(6, operator(2));
        assertEq(stakeOf(2), STAKE - 3 ether);
        assertEq(stakes.burnedWei(), 3 ether);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingMissed.selector, 6));
        run.fineTrainer(6, operator(2));
    }

    function test_RevertWhen_ValidatorMissedNothing() public {
        bytes memory nothing = abi.encodeWithSelector(IDisputesBase.NothingMissed.selector, ROUND);
        // Did not commit; revealed, and the round settled.
        expectError(nothing);
        run.fineValidator(ROUND, 3);
        expectError(nothing);
        run.fineValidator(ROUND, 0);
        expectError(abi.encodeWithSelector(IDisputesBase.NoSuchSlot.selector, 16));
        run.fineValidator(ROUND, 16);
        // Void, and nobody signed: nobody could have.
        Round memory r = harness.getRound(ROUND);
        r.status = RoundStatus.Void;
        harness.setRound(r);
        expectError(nothing);
        run.fineValidator(ROUND, 0);
        // Signed.
        r.attestMask = 1;
        harness.setRound(r);
        expectError(nothing);
        run.fineValidator(ROUND, 0);
        // Others signed, each something else: nobody says that it was right.
        r.attestMask = 0xfffe;
        harness.setRound(r);
        for (uint16 slot = 1; slot < 16; slot++) {
            harness.setAttested(ROUND, slot, bytes32(uint256(slot)));
        }
        expectError(nothing);
        run.fineValidator(ROUND, 0);
    }

    function test_FineValidatorForVoidRound() public {
        Round memory r = harness.getRound(ROUND);
        (r.status, r.attestMask) = (RoundStatus.Void, 0xfffd);
        harness.setRound(r);
        for (uint16 slot = 0; slot < 16; slot++) {
            harness.setAttested(ROUND, slot, bytes32(uint256(7)));
        }
        run.fineValidator(ROUND, 1);
        assertEq(stakeOf(3), STAKE - 3 ether);
        expectError(abi.encodeWithSelector(IDisputesBase.NothingMissed.selector, ROUND));
        run.fineValidator(ROUND, 1);
        assertEq(stakes.burnedWei(), 3 ether);
    }

    function test_FineValidatorForReveal() public {
        Round memory r = harness.getRound(6);
        (r.drawn, r.scoreEnd, r.weightRevealEnd, r.weightCommitMask) = (10, 20, 50, 8);
        harness.setRound(r);
        vm.warp(settledAt + 49);
        expectError(abi.encodeWithSelector(IRunBase.TooEarly.selector, settledAt + 50));
        run.fineValidator(6, 3);
        vm.warp(settledAt + 50);
        run.fineValidator(6, 3);
        assertEq(stakeOf(7), STAKE - 3 ether);
        assertEq(harness.getRound(6).finedMask, 8);
    }

    /* VIEWS */

    function test_Views() public {
        fall();
        (Fault fault, uint32 attempt, uint32 index, uint64 at_, uint16 signers) = run.faultOf(ROUND);
        assertEq(uint8(fault), uint8(Fault.Identity));
        assertEq(attempt, 0);
        assertEq(index, 3);
        assertEq(at_, settledAt);
        assertEq(signers, SIGNERS);
        assertTrue(run.status().behind);
        assertEq(run.status().behindRound, ROUND);
        assertEq(run.status().behindAttempt, 1);
        assertEq(run.status().lastSettledRound, 4);
        assertEq(run.status().lastHeaderHash, previousHash());
        assertFalse(run.roundInfo(ROUND).paid);
        assertEq(run.roundInfo(ROUND).finalAt, settledAt + WINDOW);
        assertEq(run.finalAt(ROUND), settledAt + WINDOW);
        assertEq(run.finalAt(6), 0);
        assertEq(run.epochOf(ROUND), 1);
        (bytes32 lanes, uint32[16] memory seats) = run.seatsOf(ROUND);
        assertEq(uint256(lanes) & 0xFFFF, 100);
        assertEq(seats[4], 11);
        (lanes, seats) = run.seatsOf(7);
        assertEq(lanes, 0);
        assertEq(uint8(run.roundInfo(7).status), 0);
        assertEq(run.memberOf(operator(1)).slot, 0);
        assertEq(run.expectedIn(operator(1)), type(uint32).max);
        assertEq(run.params().answerSeconds, ANSWER);
        assertEq(run.penalties(), address(penalties));
        RunState memory s = harness.getState();
        (s.started, s.paidPlusOne, s.settledPlusOne) = (false, 0, 0);
        harness.setState(s);
        assertFalse(run.status().hasSettled);
    }
}
