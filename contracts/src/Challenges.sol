// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {DisputesBase} from "./DisputesBase.sol";
import {IHeaderDisputes} from "./interfaces/IRunDisputes.sol";
import {IStakes} from "./interfaces/IStakes.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {Lanes} from "./libraries/Lanes.sol";
import {Median} from "./libraries/Median.sol";
import {Minifloat} from "./libraries/Minifloat.sol";
import {SeedGraph} from "./libraries/SeedGraph.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";
import {MAX_VALIDATORS} from "./types/Limits.sol";
import {Round} from "./types/Storage.sol";
import {
    Fault,
    Header,
    Leaf,
    OpenedTree,
    PreviousLeaf,
    ReputationParams,
    Role,
    RoundStatus,
    Tree
} from "./types/Types.sol";
import {BookWord, BookWords, StateWord, StateWords} from "./types/Words.sol";

/// @title Challenges
/// @notice The challenges of headers: what each field of a leaf must be. See `IHeaderDisputes`.
/// @dev Expected values are computed in uint256 wherever a leaf's own figures enter: one that is too large
/// must be found wrong, not overflow.
abstract contract Challenges is DisputesBase, IHeaderDisputes {
    using Lanes for bytes32;

    /// @dev What of a member's entry decides about its leaf. A validator is active exactly while it has its
    /// seat.
    struct Mate {
        address account;
        Role role;
        uint16 slot;
        uint32 activeFrom;
        uint32 activeUntil;
    }

    uint256 private constant ONE_BPS = 10_000;
    uint256 private constant BASE_LANE = 0;
    uint256 private constant RESERVED_LANES = 2;
    /// @dev A base loss may differ from the median by one part in 2^10 and one unit.
    uint256 private constant BASE_TOLERANCE_SHIFT = 10;

    /* CHALLENGES */

    /// @inheritdoc IHeaderDisputes
    function challengeRow(
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        uint16 validatorSlot,
        bytes calldata vector
    ) external onlyDelegated {
        require(validatorSlot < MAX_VALIDATORS, NoSuchSlot(validatorSlot));
        Round storage r = _opened(tree);
        _requireLeaf(tree.round, tree.tree, leaf, proof);

        uint256 expected = _expectedLane(r, tree.round, leaf.index, validatorSlot, vector);
        uint256 found = leaf.detail.row.lane(validatorSlot);
        _voidIfWrong(r, tree.round, Fault.Row, leaf.index, expected, found);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeWeight(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        onlyDelegated
    {
        Round storage r = _opened(tree);
        _requireLeaf(tree.round, tree.tree, leaf, proof);
        Role role = _mate(leaf.index).role;
        require(role == Role.Trainer, WrongLeafRole(leaf.index, role));

        uint256 expected = Median.weight(leaf.detail.row, _stakeLanes(tree.round));
        _voidIfWrong(r, tree.round, Fault.Weight, leaf.index, expected, leaf.detail.weight);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeCoverage(
        OpenedTree calldata tree,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        Leaf calldata witness,
        bytes32[] calldata witnessProof
    ) external onlyDelegated {
        Round storage r = _opened(tree);
        _requireLeaf(tree.round, tree.tree, leaf, proof);
        _requireLeaf(tree.round, tree.tree, witness, witnessProof);
        Mate memory member = _mate(leaf.index);
        require(member.role == Role.Validator, WrongLeafRole(leaf.index, member.role));

        uint256 named = leaf.detail.weight;
        bool missed = _missed(tree.round, member, witness);
        uint256 expected = named;
        if (named > tree.tree.leafCount) {
            // It names no leaf at all. What it should name is not known from the witness alone.
            expected = 0;
        } else if (missed) {
            // The first missed leaf is the witness, or one before it.
            if (named == 0 || named > uint256(witness.index) + 1) expected = uint256(witness.index) + 1;
        } else {
            require(named == 0 || named == uint256(witness.index) + 1, WrongWitness(witness.index, named));
            expected = 0;
        }
        _voidIfWrong(r, tree.round, Fault.Coverage, leaf.index, expected, named);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeAmount(
        Header calldata header,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        PreviousLeaf calldata previous
    ) external onlyDelegated {
        Round storage r = _openedWhole(header);
        uint32 round = header.body.round;
        _requireLeaf(round, header.tree, leaf, proof);
        _requirePrevious(header, leaf, previous);

        uint256 expected = uint256(previous.cumulativeAmountWei) + _earned(header, leaf);
        _voidIfWrong(r, round, Fault.Amount, leaf.index, expected, leaf.cumulativeAmountWei);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeReputation(
        Header calldata header,
        Leaf calldata leaf,
        bytes32[] calldata proof,
        PreviousLeaf calldata previous
    ) external onlyDelegated {
        Round storage r = _openedWhole(header);
        uint32 round = header.body.round;
        _requireLeaf(round, header.tree, leaf, proof);
        _requirePrevious(header, leaf, previous);

        uint256 expected = _nextReputation(header, leaf, previous.detail.reputation);
        _voidIfWrong(r, round, Fault.Reputation, leaf.index, expected, leaf.detail.reputation);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeSum(
        OpenedTree calldata tree,
        Leaf calldata left,
        bytes32[] calldata leftProof,
        Leaf calldata right,
        bytes32[] calldata rightProof
    ) external onlyDelegated {
        Round storage r = _opened(tree);
        require(uint256(left.index) + 1 == right.index, NotNeighbours(left.index, right.index));
        _requireLeaf(tree.round, tree.tree, left, leftProof);
        _requireLeaf(tree.round, tree.tree, right, rightProof);

        (uint256 weight, uint256 amountWei) = _totalsAfter(left);
        _voidIfWrongSum(
            r,
            tree.round,
            right.index,
            weight,
            right.detail.weightBefore,
            amountWei,
            right.detail.amountBeforeWei
        );
    }

    /// @inheritdoc IHeaderDisputes
    function challengeFirstSum(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        onlyDelegated
    {
        Round storage r = _opened(tree);
        require(leaf.index == 0, NotTheEnd(leaf.index, 0));
        _requireLeaf(tree.round, tree.tree, leaf, proof);

        _voidIfWrongSum(r, tree.round, 0, 0, leaf.detail.weightBefore, 0, leaf.detail.amountBeforeWei);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeLastSum(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        onlyDelegated
    {
        Round storage r = _opened(tree);
        uint256 end = tree.tree.leafCount;
        require(uint256(leaf.index) + 1 == end, NotTheEnd(leaf.index, tree.tree.leafCount));
        _requireLeaf(tree.round, tree.tree, leaf, proof);

        (uint256 weight, uint256 amountWei) = _totalsAfter(leaf);
        Tree calldata t = tree.tree;
        _voidIfWrongSum(r, tree.round, leaf.index, weight, t.totalWeight, amountWei, t.totalAmountWei);
    }

    /// @inheritdoc IHeaderDisputes
    function challengeIdentity(OpenedTree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        external
        onlyDelegated
    {
        Round storage r = _opened(tree);
        _requireLeaf(tree.round, tree.tree, leaf, proof);

        uint256 expected = uint160(_mate(leaf.index).account);
        _voidIfWrong(r, tree.round, Fault.Identity, leaf.index, expected, uint160(leaf.account));
    }

    /* WHAT A LEAF MUST SAY */

    /// @dev The lane of a validator in the row of the leaf at `index`.
    function _expectedLane(Round storage r, uint32 round, uint32 index, uint16 slot, bytes calldata vector)
        private
        view
        returns (uint256)
    {
        Mate memory member = _mate(index);
        // A validator whose stake has no voting weight has no seat.
        bool here =
            member.role == Role.Trainer ? _isIn(round, member) : _isSeated(round, member, _stakeLanes(round));
        if (!here || r.weightRevealMask & Lanes.bit(slot) == 0) return Minifloat.ABSTAIN;
        bytes32 revealed = _vectorHashes[_place(round)][slot];
        require(keccak256(vector) == revealed, WrongVector(slot, keccak256(vector), revealed));

        uint256 start = 2 * (member.role == Role.Trainer ? RESERVED_LANES + member.slot : BASE_LANE);
        return uint16(bytes2(vector[start:start + 2]));
    }

    /// @dev Whether two thirds of the stake voted on the witness, a trainer, and the validator did not.
    function _missed(uint32 round, Mate memory validator, Leaf calldata witness) private view returns (bool) {
        if (_mate(witness.index).role != Role.Trainer) return false;
        bytes32 row = witness.detail.row;
        bytes32 stakes_ = _stakeLanes(round);
        (uint256 voting, uint256 all) = Median.votes(row, stakes_);
        if (!Median.hasQuorum(voting, all)) return false;
        // The slot of a validator without a seat may be another's.
        return !_isSeated(round, validator, stakes_) || row.lane(validator.slot) == Minifloat.ABSTAIN;
    }

    /// @dev What the leaf's member earned in the round.
    function _earned(Header calldata header, Leaf calldata leaf) private view returns (uint256) {
        uint256 totalWeight = header.tree.totalWeight;
        if (totalWeight == 0) return 0;
        Mate memory member = _mate(leaf.index);
        uint256 budgetWei = header.body.budgetWei;
        uint256 share = _params.validatorShareBps;
        if (member.role == Role.Trainer) {
            return budgetWei * (ONE_BPS - share) / ONE_BPS * _payable(leaf.detail.weight) / totalWeight;
        }
        uint32 round = header.body.round;
        bytes32 stakes_ = _stakeLanes(round);
        if (leaf.detail.weight != 0 || !_isSeated(round, member, stakes_)) return 0;
        if (!_isBaseRight(leaf.detail.row, stakes_, member.slot)) return 0;
        return budgetWei * share / ONE_BPS * stakes_.lane(member.slot) / stakes_.total();
    }

    /// @dev Whether the validator's base loss is there, and near enough to the median of its row.
    function _isBaseRight(bytes32 row, bytes32 stakes_, uint16 slot) private pure returns (bool) {
        uint16 own = row.lane(slot);
        if (own == Minifloat.ABSTAIN) return false;
        (uint256 voting,) = Median.votes(row, stakes_);
        uint256 base = Minifloat.decode(Median.code(row, stakes_, voting));
        uint256 given = Minifloat.decode(own);
        uint256 distance = given > base ? given - base : base - given;
        return distance <= (base >> BASE_TOLERANCE_SHIFT) + 1;
    }

    /// @dev The reputation that follows from the last one, the row and the weight.
    function _nextReputation(Header calldata header, Leaf calldata leaf, uint256 last)
        private
        view
        returns (uint256)
    {
        Mate memory member = _mate(leaf.index);
        ReputationParams memory p = _params.reputation;
        uint32 round = header.body.round;
        bytes32 row = leaf.detail.row;
        bytes32 stakes_ = _stakeLanes(round);
        uint256 visits;
        if (member.role == Role.Trainer) {
            visits = SeedGraph.trainerVisits(row, stakes_, leaf.detail.weight, header.tree.totalWeight, p);
        } else if (_isSeated(round, member, stakes_)) {
            bool revealed = row.lane(member.slot) != Minifloat.ABSTAIN;
            visits = SeedGraph.validatorVisits(stakes_.lane(member.slot), stakes_.total(), revealed, p);
        }
        return SeedGraph.next(last, visits, p);
    }

    /// @dev The running totals after the leaf.
    function _totalsAfter(Leaf calldata leaf) private view returns (uint256 weight, uint256 amountWei) {
        bool isTrainer = _mate(leaf.index).role == Role.Trainer;
        weight = uint256(leaf.detail.weightBefore) + (isTrainer ? _payable(leaf.detail.weight) : 0);
        amountWei = uint256(leaf.detail.amountBeforeWei) + leaf.cumulativeAmountWei;
    }

    /// @dev The weight that is paid: 1 means admissible but unpaid.
    function _payable(uint64 weight) private pure returns (uint256) {
        return weight > 1 ? weight : 0;
    }

    /* SHARED CHECKS */

    /// @dev The round whose standing header this is the tree of; it is not final.
    function _opened(OpenedTree calldata tree) internal view returns (Round storage r) {
        r = _disputable(tree.round);
        _requireHash(r, tree.round, Commitment.openedHash(tree));
    }

    /// @dev The round whose standing header this is; it is not final.
    function _openedWhole(Header calldata header) private view returns (Round storage r) {
        r = _disputable(header.body.round);
        _requireHash(r, header.body.round, Commitment.headerHash(header));
    }

    /// @dev The round, if its header stands and is not final.
    function _disputable(uint32 round) internal view returns (Round storage r) {
        StateWord s = StateWords.load(_state);
        (uint32 current, uint32 history) = (s.round(), s.historyRounds());
        require(round <= current && current - round < history, WrongRound(round, current));
        r = _rounds[round % history];
        BookWord book = BookWords.load(r);
        bool stands = book.status() == RoundStatus.Settled && round < s.paidPlusOne();
        require(stands, NoStandingHeader(round));
        require(!_isSafe(book.finalAt(), round), HeaderIsFinal(round));
    }

    function _requireHash(Round storage r, uint32 round, bytes32 have) private view {
        bytes32 settled = r.headerHash;
        require(have == settled, WrongHeader(round, have, settled));
    }

    function _requireLeaf(uint32 round, Tree calldata tree, Leaf calldata leaf, bytes32[] calldata proof)
        internal
        pure
    {
        require(SettlementTree.verify(tree, leaf, proof), LeafNotInTree(round, leaf.index));
    }

    /// @dev `previous` is the leaf of the same index and account in the header before, or there is none.
    function _requirePrevious(Header calldata header, Leaf calldata leaf, PreviousLeaf calldata previous)
        private
        pure
    {
        bytes32 want = header.body.previous;
        bytes32 have;
        uint32 leafCount = previous.tree.leafCount;
        if (want != 0) have = Commitment.headerHash(previous.bodyHash, Commitment.hashOfTree(previous.tree));
        require(have == want, WrongPrevious(header.body.round, have, want));

        bool fits = want != 0 && leaf.index < leafCount ? _isPreviousLeaf(leaf, previous) : _isNone(previous);
        require(fits, WrongPrevious(header.body.round, have, want));
    }

    function _isPreviousLeaf(Leaf calldata leaf, PreviousLeaf calldata previous) private pure returns (bool) {
        bytes32 hash = SettlementTree.leafHash(
            leaf.index,
            previous.account,
            previous.cumulativeAmountWei,
            SettlementTree.detailHash(previous.detail)
        );
        Tree calldata tree = previous.tree;
        return SettlementTree.verifyHash(tree.root, tree.leafCount, hash, leaf.index, previous.proof);
    }

    /// @dev Only the figures that are used must be zero; the rest can do no harm.
    function _isNone(PreviousLeaf calldata previous) private pure returns (bool) {
        return
            previous.cumulativeAmountWei == 0 && previous.detail.reputation == 0 && previous.proof.length == 0;
    }

    /// @dev The registry's entry of an index below the tree's leaf count: there is one.
    function _mate(uint32 index) private view returns (Mate memory m) {
        (m.account, m.role, m.slot, m.activeFrom, m.activeUntil) =
            IStakes(_stakes).memberAt(address(this), index);
    }

    /// @dev Whether the member is a validator with voting weight in the round's epoch.
    function _isSeated(uint32 round, Mate memory m, bytes32 stakes_) private pure returns (bool) {
        return m.role == Role.Validator && _isIn(round, m) && stakes_.lane(m.slot) != 0;
    }

    function _isIn(uint32 round, Mate memory m) private pure returns (bool) {
        return m.activeFrom <= round && round < m.activeUntil;
    }

    /// @dev Voting weights in the round.
    function _stakeLanes(uint32 round) private view returns (bytes32) {
        return _epochOf(round).stakeLanes;
    }

    /* VOIDING */

    function _voidIfWrong(
        Round storage r,
        uint32 round,
        Fault fault,
        uint32 index,
        uint256 expected,
        uint256 found
    ) private {
        require(expected != found, NothingWrong(fault, expected, found));
        _voidHeader(r, round, fault, index);
    }

    function _voidIfWrongSum(
        Round storage r,
        uint32 round,
        uint32 index,
        uint256 weight,
        uint256 foundWeight,
        uint256 amountWei,
        uint256 foundAmountWei
    ) private {
        if (weight != foundWeight) return _voidHeader(r, round, Fault.Sum, index);
        _voidIfWrong(r, round, Fault.Sum, index, amountWei, foundAmountWei);
    }
}
