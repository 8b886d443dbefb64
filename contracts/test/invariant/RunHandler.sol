// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Header, Leaf, Phase, ProofNode, Role, RoundInfo, Status} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev Drives a run through whole rounds. Every act is one that must succeed now: what is not possible is not tried,
/// and a revert fails the suite. Beside the run it keeps its own books, which the invariants compare.
contract RunHandler is RunFixture {
    uint256 private constant MOST_TRAINERS = 6;
    uint256 private constant MOST_VALIDATORS = 5;

    /* BOOKS */

    uint256 public trainers;
    uint256 public validators;
    uint32[] public settledRounds;
    mapping(uint32 round => bytes32) public settledHash;
    mapping(uint32 round => mapping(uint256 i => bool)) public committed;
    mapping(uint32 round => mapping(uint256 i => bool)) public revealed;
    mapping(uint32 round => mapping(uint256 v => bool)) public weightsCommitted;
    mapping(uint32 round => uint256) public commitCount;
    /// @dev Trainers expected in a round, by their own acts.
    mapping(uint32 round => uint256[]) private _expected;
    mapping(uint32 round => mapping(uint256 v => bool)) public expectedValidator;
    /// @dev Round and phase after the last act, as one number that may only grow.
    uint256 public lastStep;
    bool public phaseWentBack;
    bool public secondCommitPassed;
    mapping(bytes32 act => uint256) public calls;

    mapping(uint32 round => Leaf[]) private _leaves;
    mapping(uint32 round => Header) private _headers;

    modifier watched(bytes32 act) {
        calls[act]++;
        watch();
        _;
        watch();
    }

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 3; i++) {
            joinTrainer(trainers++);
            joinValidator(validators++);
        }
        run.start();
    }

    function watch() private {
        Status memory s = run.status();
        uint256 step = uint256(s.round) * 16 + uint256(s.phase);
        if (step < lastStep) phaseWentBack = true;
        lastStep = step;
    }

    /* TIME */

    function warp(uint256 seed) external watched("warp") {
        skip(bound(seed, 1, 25));
    }

    /// @dev To the end of the phase, so that rounds get on.
    function warpToEnd() external watched("warpToEnd") {
        uint64 endsAt = run.status().phaseEndsAt;
        if (endsAt > block.timestamp) vm.warp(endsAt);
    }

    /* MEMBERS */

    function joinAsTrainer() external watched("join") {
        if (run.finished() || trainers == MOST_TRAINERS) return;
        joinTrainer(trainers++);
    }

    function joinAsValidator() external watched("join") {
        if (run.finished() || validators == MOST_VALIDATORS) return;
        joinValidator(validators++);
    }

    function addStake(uint256 seed) external watched("addStake") {
        address account = anyone(seed);
        if (stakes.entryOf(address(run), account).activeUntil != type(uint32).max) return;
        uint128 amountWei = uint128(bound(seed, 1, 50 ether));
        deal(token, account, amountWei, address(stakes));
        vm.prank(account);
        stakes.addStake(address(run), amountWei);
    }

    /// @dev Rarely, and never the first two of a kind: a run without members teaches nothing.
    function leave(uint256 seed) external watched("leave") {
        if (seed % 4 != 0) return;
        bool asTrainer = seed % 8 == 0;
        uint256 place = 2 + seed / 8 % 4;
        address account = asTrainer ? trainer(place) : validator(place);
        Entry memory e = stakes.entryOf(address(run), account);
        if (e.role == Role.None || e.activeUntil != type(uint32).max) return;
        vm.prank(account);
        stakes.leave(address(run));
    }

    function withdraw(uint256 seed) external watched("withdraw") {
        address account = anyone(seed);
        Entry memory e = stakes.entryOf(address(run), account);
        if (e.withdrawableAt == 0 || e.stakeWei == 0) return;
        if (block.timestamp < e.withdrawableAt) vm.warp(e.withdrawableAt);
        vm.prank(account);
        stakes.withdraw(address(run));
    }

    /* ROUNDS */

    function checkIn(uint256 seed) external watched("checkIn") {
        if (seed % 2 == 0) checkInAsTrainer(seed / 2 % trainers);
        else checkInAsValidator(seed / 2 % validators);
    }

    /// @dev What the phase asks of a trainer: commit or reveal.
    function contribute(uint256 seed) external watched("contribute") {
        Status memory s = run.status();
        uint256 i = seed % trainers;
        if (s.phase == Phase.Train) tryCommit(s.round, i);
        else if (s.phase == Phase.Reveal) tryReveal(s.round, i);
    }

    function drawNow() external watched("draw") {
        if (phase() == Phase.Draw) draw();
    }

    /// @dev What the phase asks of a validator: commit or reveal weights, or attest.
    function validate(uint256 seed) external watched("validate") {
        Status memory s = run.status();
        uint256 v = seed % validators;
        if (s.phase == Phase.Score) tryCommitWeights(s, v);
        else if (s.phase == Phase.WeightReveal) tryRevealWeights(s, v);
        else if (s.phase == Phase.Settle) tryAttest(s, v, seed);
    }

    /// @dev Everyone does what the phase asks; so that some rounds are settled within the suite's depth.
    function everyone(uint256 seed) external watched("everyone") {
        Status memory s = run.status();
        if (s.phase == Phase.Draw) draw();
        for (uint256 i = 0; i < trainers; i++) {
            if (s.phase == Phase.Train) tryCommit(s.round, i);
            if (s.phase == Phase.Reveal) tryReveal(s.round, i);
        }
        for (uint256 v = 0; v < validators; v++) {
            if (s.phase == Phase.Score) tryCommitWeights(s, v);
            if (s.phase == Phase.WeightReveal) tryRevealWeights(s, v);
            if (s.phase == Phase.Settle) tryAttest(s, v, seed);
        }
        if (s.phase == Phase.Expired) run.voidRound(s.round);
    }

    function voidRound() external watched("void") {
        Status memory s = run.status();
        if (s.phase == Phase.Expired) run.voidRound(s.round);
    }

    /// @dev Seldom: after it only claims are left.
    function close(uint256 seed) external watched("close") {
        if (seed % 32 != 0 || run.finished() || run.status().closed) return;
        vm.prank(sponsor);
        run.close();
    }

    /* MONEY */

    function addFunds(uint256 seed) external watched("fund") {
        if (run.finished()) return;
        fund(run, uint128(bound(seed, 1, 10 ether)));
    }

    function claim(uint256 seed) external watched("claim") {
        if (settledRounds.length == 0) return;
        uint32 round = settledRounds[seed % settledRounds.length];
        if (block.timestamp < run.finalAt(round)) return;
        Leaf memory leaf = _leaves[round][(seed / 7) % _leaves[round].length];
        if (leaf.cumulativeAmountWei <= rewards.claimed(address(run), leaf.account)) return;
        rewards.claim(address(run), _headers[round], leaf, Tree.proof(Tree.build(_leaves[round]), leaf.index));
    }

    function refund() external watched("refund") {
        if (!run.finished()) return;
        uint256 heldWei = rewards.funded(address(run)) - rewards.refunded(address(run));
        if (heldWei > run.settledTotalWei()) rewards.refund(address(run));
    }

    /* FOR THE INVARIANTS */

    function settledCount() external view returns (uint256) {
        return settledRounds.length;
    }

    /// @dev True if someone was expected in the round and all of them committed.
    function allExpectedCommitted(uint32 round) external view returns (bool) {
        for (uint256 k = 0; k < _expected[round].length; k++) {
            if (!committed[round][_expected[round][k]]) return false;
        }
        return _expected[round].length > 0;
    }

    function expectedCount(uint32 round) external view returns (uint256) {
        return _expected[round].length;
    }

    function contracts() external view returns (address, address, address, address) {
        return (address(token), address(stakes), address(rewards), address(run));
    }

    /* INTERNAL */

    function anyone(uint256 seed) private view returns (address) {
        return seed % 2 == 0 ? trainer(seed / 2 % trainers) : validator(seed / 2 % validators);
    }

    function activeIn(Entry memory e, uint32 round) private pure returns (bool) {
        return e.activeFrom <= round && round < e.activeUntil;
    }

    function checkInAsTrainer(uint256 i) private {
        Status memory s = run.status();
        Entry memory e = stakes.entryOf(address(run), trainer(i));
        if (s.phase == Phase.Finished || committed[s.round][i]) return;
        uint32 round = s.phase == Phase.Train && activeIn(e, s.round) ? s.round : s.round + 1;
        if (!activeIn(e, round) || run.expectedIn(e.index) == round) return;
        checkInTrainer(i);
        _expected[round].push(i);
    }

    function checkInAsValidator(uint256 v) private {
        Status memory s = run.status();
        Entry memory e = stakes.entryOf(address(run), validator(v));
        if (s.phase == Phase.Finished) return;
        bool now_ = s.phase <= Phase.Score && s.validatorMask >> v & 1 == 1;
        uint32 round = now_ ? s.round : s.round + 1;
        if (!activeIn(e, round) || expectedValidator[round][v]) return;
        if (now_ && weightsCommitted[round][v]) return;
        checkInValidator(v);
        expectedValidator[round][v] = true;
    }

    function tryCommit(uint32 round, uint256 i) private {
        if (!activeIn(stakes.entryOf(address(run), trainer(i)), round)) return;
        // The first commit of all may end the phase for the others.
        if (phase() != Phase.Train) return;
        if (committed[round][i]) {
            vm.prank(trainerOperator(i));
            try run.commit(round, "again") {
                secondCommitPassed = true;
            } catch {}
            return;
        }
        commit(i);
        committed[round][i] = true;
        commitCount[round]++;
    }

    function tryReveal(uint32 round, uint256 i) private {
        if (!committed[round][i] || revealed[round][i]) return;
        reveal(i);
        revealed[round][i] = true;
        if (activeIn(stakes.entryOf(address(run), trainer(i)), round + 1)) _expected[round + 1].push(i);
    }

    function tryCommitWeights(Status memory s, uint256 v) private {
        if (s.validatorMask >> v & 1 == 0 || weightsCommitted[s.round][v] || phase() != Phase.Score) return;
        commitWeights(v);
        weightsCommitted[s.round][v] = true;
    }

    function tryRevealWeights(Status memory s, uint256 v) private {
        bool done = run.vectorHash(s.round, uint16(v)) != 0;
        if (done || s.weightCommitMask >> v & 1 == 0) return;
        revealWeights(v);
        expectedValidator[s.round + 1][v] = true;
    }

    /// @dev Validators mostly sign the header that all make; now and then one signs another.
    function tryAttest(Status memory s, uint256 v, uint256 seed) private {
        if (phase() != Phase.Settle || current() != s.round) return;
        bool signed = run.status().attestMask >> v & 1 == 1;
        if (s.validatorMask >> v & 1 == 0 || signed) return;
        uint64 least = run.roundInfo(s.round).openedAt + run.params().minRoundSeconds;
        if (block.timestamp < least) vm.warp(least);
        Header memory header = roundHeader(s.round);
        bool dissents = seed / 16 % 8 == 0;
        if (dissents) header.stateRoot = keccak256(abi.encode("dissent", v));
        attest(v, header);
        if (run.headerHash(s.round) == 0) return;
        settledRounds.push(s.round);
        settledHash[s.round] = run.headerHash(s.round);
        _headers[s.round] = header;
    }

    /// @dev The header that all validators make of a round: it pays each member a random part of the budget.
    function roundHeader(uint32 round) private returns (Header memory) {
        if (_leaves[round].length == 0) {
            RoundInfo memory info = run.roundInfo(round);
            uint256 budgetWei = run.budgetOf(round);
            uint256 last = settledRounds.length;
            for (uint32 i = 0; i < info.registrySize; i++) {
                Leaf memory leaf;
                leaf.index = i;
                leaf.account = stakes.entryAt(address(run), i).account;
                leaf.weight = uint64(uint256(keccak256(abi.encode(round, i))) % 1e6);
                leaf.reputation = i;
                if (last > 0 && i < _leaves[settledRounds[last - 1]].length) {
                    leaf.cumulativeAmountWei = _leaves[settledRounds[last - 1]][i].cumulativeAmountWei;
                }
                uint256 share = uint256(keccak256(abi.encode("pay", round, i))) % 1e6;
                leaf.cumulativeAmountWei += uint128(budgetWei * share / 1e6 / info.registrySize);
                _leaves[round].push(leaf);
            }
        }
        return headerOver(_leaves[round]);
    }
}
