// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Disputes} from "../../src/Disputes.sol";
import {Penalties} from "../../src/Penalties.sol";
import {Settlement} from "../../src/Settlement.sol";
import {IRunBase} from "../../src/interfaces/IRunBase.sol";
import {IRunLife} from "../../src/interfaces/IRunCore.sol";
import {Round} from "../../src/types/Storage.sol";
import {Fault, Header, RoundInfo, RoundStatus, Status} from "../../src/types/Types.sol";
import {BookWords, ClockWords, MemberWords, StateWords} from "../../src/types/Words.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev A run's disputes in which a header falls when a test says so, and the words of slots can be seen.
contract WillingDisputes is Disputes {
    constructor(address stakes_, address rewards_, address penalties_)
        Disputes(stakes_, rewards_, penalties_)
    {}

    function fall(uint32 round, Fault fault, uint32 index) external {
        _voidHeader(_round(round), round, fault, index);
    }

    function pardon(uint32 round) external {
        Round storage r = _round(round);
        r.fault = Fault.None;
        r.faultSigners = 0;
    }

    /// @dev Every field of the words against the struct's.
    function checkWords(uint32 round, address operator) external view returns (bool same) {
        Round storage r = _rounds[_place(round)];
        same = ClockWords.load(r).number() == r.number && ClockWords.load(r).openedAt() == r.openedAt;
        same = same && ClockWords.load(r).trainEnd() == r.trainEnd;
        same = same && (r.commits == 0 || ClockWords.load(r).revealEnd() == r.revealEnd);
        same = same && ClockWords.load(r).drawn() == r.drawn && ClockWords.load(r).scoreEnd() == r.scoreEnd;
        same = same && ClockWords.load(r).weightRevealEnd() == r.weightRevealEnd;
        same = same && ClockWords.load(r).expected() == r.expected;
        same = same && ClockWords.load(r).expectedCommits() == r.expectedCommits;
        same = same && ClockWords.load(r).commits() == r.commits && ClockWords.load(r).reveals() == r.reveals;
        return same && _checkBook(r) && _checkState() && _checkMember(operator);
    }

    function _checkBook(Round storage r) private view returns (bool same) {
        same = BookWords.load(r).status() == r.status;
        same = same && BookWords.load(r).expectedValidatorMask() == r.expectedValidatorMask;
        same = same && BookWords.load(r).weightCommitMask() == r.weightCommitMask;
        same = same && BookWords.load(r).weightRevealMask() == r.weightRevealMask;
        same = same && BookWords.load(r).attestMask() == r.attestMask;
        same = same && BookWords.load(r).signerMask() == r.signerMask;
        same = same && BookWords.load(r).validatorMask() == r.validatorMask;
        same = same && BookWords.load(r).trainerSlots() == r.trainerSlots;
        same = same && BookWords.load(r).registrySize() == r.registrySize;
        same = same && BookWords.load(r).finalAt() == r.finalAt;
        same = same && BookWords.load(r).previousPaid() == r.previousPaid;
        return same && BookWords.load(r).attempt() == r.attempt;
    }

    function _checkState() private view returns (bool same) {
        same = StateWords.load(_state).round() == _state.round;
        same = same && StateWords.load(_state).paidPlusOne() == _state.paidPlusOne;
        same = same && StateWords.load(_state).settledPlusOne() == _state.settledPlusOne;
        same = same && StateWords.load(_state).historyRounds() == _state.historyRounds;
        same = same && StateWords.load(_state).registrySize() == _state.registrySize;
        same = same && StateWords.load(_state).trainerSlots() == _state.trainerSlots;
        same = same && StateWords.load(_state).finishedAt() == _state.finishedAt;
        return same && StateWords.load(_state).closed() == _state.closed;
    }

    function _checkMember(address operator) private view returns (bool same) {
        same = MemberWords.load(_members[operator]).commitment() == _members[operator].commitment;
        same = same && MemberWords.load(_members[operator]).slot() == _members[operator].slot;
        same = same && MemberWords.load(_members[operator]).role() == _members[operator].role;
        uint24 committedIn = _members[operator].committedIn;
        same =
            same && (committedIn == 0 || MemberWords.load(_members[operator]).hasCommitted(committedIn - 1));
        uint24 from = _members[operator].activeFrom;
        uint24 until = _members[operator].activeUntil;
        same = same && MemberWords.load(_members[operator]).isActive(from);
        return same && !MemberWords.load(_members[operator]).isActive(until);
    }
}

/// @dev Headers that fall, and rounds that are settled again.
contract TrainingRunPayChainTest is RunFixture {
    Header private header;
    /// @dev As `fall` and `pardon` above, at the run's address.
    WillingDisputes private willing;

    function deployCore() internal override returns (address) {
        address penalties = address(new Penalties(address(stakes), address(rewards)));
        address disputes = address(new WillingDisputes(address(stakes), address(rewards), penalties));
        return address(new Settlement(address(stakes), address(rewards), disputes));
    }

    function setUp() public override {
        super.setUp();
        willing = WillingDisputes(payable(address(run)));
        startRun();
    }

    function again(uint32 round, uint128 addedWei) private {
        header = makeHeader(round, addedWei);
        settle(header);
    }

    /// @dev Three rounds are settled, and the second has fallen and been punished.
    function fallen() private {
        settleQuickly(1 ether);
        settleQuickly(2 ether);
        settleQuickly(4 ether);
        willing.fall(1, Fault.Amount, 5);
        willing.pardon(1);
    }

    /* REVERTS */

    function test_RevertWhen_TheHeaderStands() public {
        settleQuickly(1 ether);
        header = makeHeader(0, 1 ether);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunLife.StillPaid.selector, 0));
        run.settleSigned(header, CID, signed);
        expectError(abi.encodeWithSelector(IRunLife.StillPaid.selector, 0));
        vm.prank(validatorOperator(0));
        run.attest(header, CID);
    }

    function test_RevertWhen_TheFaultIsNotPunished() public {
        settleQuickly(1 ether);
        willing.fall(0, Fault.Row, 3);
        header = makeHeader(0, 1 ether);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunLife.PunishFirst.selector, 0));
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_ARoundBeforeItIsNotSettledAgain() public {
        fallen();
        header = makeHeader(2, 4 ether);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunLife.OutOfTurn.selector, 2, 1));
        run.settleSigned(header, CID, signed);
        toSettleQuickly();
        header = makeHeader(3, 4 ether);
        signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunLife.OutOfTurn.selector, 3, 1));
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_TheAttemptIsTheLastOne() public {
        fallen();
        header = makeHeader(1, 2 ether);
        header.body.attempt = 0;
        bytes memory signed = signatures(header, 3);
        expectError(
            abi.encodeWithSelector(
                IRunLife.HeaderMismatch.selector, bytes32("attempt"), 0, bytes32(uint256(1))
            )
        );
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_AVoidRoundIsSettled() public {
        voidCurrent();
        header = makeHeader(0, 0);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunBase.WrongRound.selector, 0, 1));
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_ClaimsAreOver() public {
        settleQuickly(1 ether);
        vm.prank(sponsor);
        run.close();
        settleQuickly(1 ether);
        willing.fall(1, Fault.Row, 3);
        willing.pardon(1);
        skip(2 hours);
        header = makeHeader(1, 1 ether);
        bytes memory signed = signatures(header, 3);
        expectError(abi.encodeWithSelector(IRunLife.ClaimsOver.selector, block.timestamp));
        run.settleSigned(header, CID, signed);
    }

    function test_RevertWhen_AttestingAfterTheEnd() public {
        vm.prank(sponsor);
        run.close();
        settleQuickly(1 ether);
        willing.fall(0, Fault.Row, 3);
        willing.pardon(0);
        header = makeHeader(0, 1 ether);
        expectError(abi.encodeWithSelector(IRunBase.RunHasFinished.selector));
        vm.prank(validatorOperator(0));
        run.attest(header, CID);
    }

    /* EFFECTS */

    function test_AFallTakesThePayOfAllLaterRounds() public {
        bytes32 first = hashOf(settleQuickly(1 ether));
        settleQuickly(2 ether);
        settleQuickly(4 ether);
        assertEq(run.settledTotalWei(), 7 ether, "before");
        vm.expectEmit(address(run));
        emit IRunBase.HeaderVoided(1, 0, Fault.Amount, 5, address(this));
        willing.fall(1, Fault.Amount, 5);

        (bool any, uint32 round, bytes32 hash,) = run.payHead();
        assertTrue(any && round == 0 && hash == first, "head");
        assertEq(run.settledTotalWei(), 1 ether, "total");
        assertTrue(run.behind(), "behind");
        assertEq(run.headerHash(1), 0, "no header");
        assertEq(run.headerHash(2), 0, "no header after it");
        assertFalse(run.isFinal(1), "not final");
        assertEq(uint8(run.roundInfo(2).status), uint8(RoundStatus.Settled), "its state stands");
        assertEq(uint8(run.roundInfo(1).fault), uint8(Fault.Amount), "what was wrong");
        assertEq(uint8(run.roundInfo(2).fault), uint8(Fault.None), "with it, not with the next");
        Status memory s = run.status();
        assertTrue(s.behind, "told to nodes");
        assertEq(s.behindRound, 1, "which round");
        assertEq(s.behindAttempt, 1, "which attempt");
        assertEq(s.lastHeaderHash, first, "on which header");
    }

    function test_TheFirstHeaderCanFall() public {
        settleQuickly(1 ether);
        willing.fall(0, Fault.Row, 3);

        (bool any,,,) = run.payHead();
        assertFalse(any, "no head");
        assertEq(run.settledTotalWei(), 0, "nothing owed");
        assertEq(run.status().lastHeaderHash, 0, "no header");
        willing.pardon(0);
        again(0, 1 ether);
        assertEq(header.body.previous, 0, "first again");
        assertEq(run.headerHash(0), hashOf(header), "stands");
    }

    function test_RoundsAreSettledAgainInOrder() public {
        fallen();
        uint32 open = current();
        skip(10);
        again(1, 1 ether);
        assertEq(header.body.attempt, 1, "attempt");
        assertEq(run.finalAt(1), block.timestamp + 50, "a window of its own");
        assertTrue(run.behind(), "one more");
        assertEq(run.status().behindRound, 2, "which");
        bytes32 middle = hashOf(header);
        again(2, 4 ether);
        assertEq(header.body.previous, middle, "chain");
        assertEq(header.body.attempt, 1, "attempt of a round that was right");
        assertFalse(run.behind(), "caught up");
        assertEq(run.settledTotalWei(), 6 ether, "total");
        assertEq(current(), open, "no round opened by that");
        assertEq(run.roundInfo(2).attempt, 1, "record");
        settleQuickly(1 ether);
        assertEq(run.settledTotalWei(), 7 ether, "and on");
    }

    function test_ARoundCanFallAgain() public {
        fallen();
        again(1, 1 ether);
        willing.fall(1, Fault.Sum, 0);
        assertEq(run.settledTotalWei(), 1 ether, "total");
        willing.pardon(1);
        again(1, 2 ether);
        assertEq(header.body.attempt, 2, "attempt");
        again(2, 3 ether);
        assertEq(run.settledTotalWei(), 6 ether, "total");
    }

    function test_VoidRoundsAreNotInTheChain() public {
        settleQuickly(1 ether);
        voidCurrent();
        settleQuickly(2 ether);
        willing.fall(0, Fault.Row, 0);
        willing.pardon(0);
        again(0, 1 ether);
        assertEq(run.status().behindRound, 2, "past the void one");
        again(2, 2 ether);
        assertFalse(run.behind(), "caught up");
    }

    function test_AttestationsSettleAgain() public {
        fallen();
        header = makeHeader(1, 2 ether);
        attest(0, header);
        header.body.stateRoot = keccak256("other");
        attest(0, header);
        attest(1, header);
        assertEq(run.headerHash(1), hashOf(header), "settled");
        assertEq(run.roundInfo(1).signerMask, 3, "signers");
    }

    function test_AttestationsOfAnotherEpochDoNotCount() public {
        fallen();
        header = makeHeader(1, 2 ether);
        attest(0, header);
        voidCurrent();
        assertEq(run.epochOf(current()), 1, "another epoch");
        attest(1, header);
        assertEq(run.headerHash(1), 0, "one of this epoch");
        attest(0, header);
        assertEq(run.headerHash(1), hashOf(header), "two");
    }

    function test_TheValidatorsOfTodaySettleAgain() public {
        fallen();
        leaveValidator(2);
        joinValidator(3);
        voidCurrent();
        header = makeHeader(1, 2 ether);
        bytes memory signed = bytes.concat(signature(0, header), signature(2, header));
        vm.expectPartialRevert(IRunBase.NotActive.selector);
        run.settleSigned(header, CID, signed);
        // The newcomer has the seat that became free.
        signed = bytes.concat(signature(0, header), signature(1, header), signature(3, header));
        run.settleSigned(header, CID, signed);
        assertEq(run.roundInfo(1).signerMask, 7, "signers");
    }

    function test_SettlingAgainAfterTheEndBindsTheSigners() public {
        settleQuickly(1 ether);
        vm.prank(sponsor);
        run.close();
        settleQuickly(1 ether);
        assertTrue(run.finished(), "finished");
        uint64 ended = run.finishedAt();
        assertEq(run.releasedAt(4), ended, "released");
        willing.fall(1, Fault.Row, 3);
        willing.pardon(1);
        skip(10);
        again(1, 1 ether);

        assertEq(run.finishedAt(), ended + 10, "later");
        assertEq(run.releasedAt(4), ended + 10, "released later");
        assertFalse(run.behind(), "caught up");
        assertEq(run.settledTotalWei(), 2 ether, "paid");
    }

    function test_ARunThatIsNotSettledAgainFinishes() public {
        settleQuickly(1 ether);
        willing.fall(0, Fault.Row, 3);
        for (uint256 k = 1; k < 32; k++) {
            voidCurrent();
        }
        assertTrue(run.finished(), "round 32 would take its place");
        willing.pardon(0);
        again(0, 1 ether);
        assertEq(run.settledTotalWei(), 1 ether, "it can still be paid");
    }

    function test_TheBudgetFollowsTheChain() public {
        fund(run, 1 ether);
        RoundInfo memory info = run.roundInfo(0);
        assertEq(info.heldAtOpenWei, POOL_WEI, "of the last opening");
        fallen();
        assertEq(run.roundInfo(3).heldAtOpenWei, POOL_WEI + 1 ether, "with what came in");
        assertEq(run.budgetOf(1), 120 ether, "nominal");
    }

    /* WORDS */

    function test_WordsAreTheirStructs() public {
        checkInTrainer(1);
        checkInValidator(1);
        assertTrue(willing.checkWords(current(), trainerOperator(1)), "opened");
        commit(0);
        assertTrue(willing.checkWords(current(), trainerOperator(0)), "committed");
        commit(2);
        commit(1);
        for (uint256 i = 0; i < 3; i++) {
            skip(1);
            reveal(i);
        }
        assertTrue(willing.checkWords(current(), trainerOperator(0)), "revealed");
        draw();
        assertTrue(willing.checkWords(current(), trainerOperator(0)), "drawn");
        commitWeights(0);
        assertTrue(willing.checkWords(current(), validatorOperator(0)), "weights committed");
        commitWeights(1);
        revealWeights(0);
        revealWeights(1);
        assertTrue(willing.checkWords(current(), validatorOperator(0)), "weights revealed");
        skip(20);
        header = makeHeader(0, 1 ether);
        attest(1, header);
        assertTrue(willing.checkWords(0, validatorOperator(1)), "attested");
        leaveTrainer(0);
        attest(0, header);
        assertTrue(willing.checkWords(0, trainerOperator(0)), "settled, and left");
        assertTrue(willing.checkWords(1, trainerOperator(2)), "next");
        willing.fall(0, Fault.Row, 1);
        assertTrue(willing.checkWords(0, trainerOperator(2)), "fallen");
    }
}
