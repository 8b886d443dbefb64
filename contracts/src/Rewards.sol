// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IRewards} from "./interfaces/IRewards.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {SettlementTree} from "./libraries/SettlementTree.sol";
import {ClaimLeaf, OpenedTree} from "./types/Types.sol";

/// @title Rewards
/// @notice Holds the pools of all runs and pays claims. See `IRewards`.
contract Rewards is IRewards, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev The money of one run. Paid to accounts so far: `limitWei` less what is left in the purse.
    struct Pool {
        // slot 0
        address token; // zero before the first funding
        uint96 limitWei; // what the purse held when it was opened, and what had been paid before
        // slot 1
        uint96 fundedWei;
        uint96 refundedWei;
        uint32 purseRound; // header that the purse is kept under
        uint32 purseLeafCount; // 0 before the first claim
        // slot 2
        bytes32 purseRoot;
    }

    /// @dev What a header can still pay. One slot, so that a claim reads and writes one.
    struct Purse {
        address token;
        uint96 leftWei;
    }

    /// @dev What an account was paid; in a struct, so that a claim computes its place once.
    struct Paid {
        uint256 amountWei;
    }

    mapping(address run => Pool) private _pools;
    mapping(bytes32 key => Purse) private _purses;
    mapping(address run => mapping(address account => Paid)) private _paid;

    /* FUNDING */

    /// @inheritdoc IRewards
    function fund(address run, uint128 amountWei) external nonReentrant {
        require(amountWei > 0, ZeroAmount());
        require(!ITrainingRun(run).finished(), RunOver(run));
        Pool storage p = _pools[run];
        uint256 fundedWei = uint256(p.fundedWei) + amountWei;
        require(fundedWei <= type(uint96).max, PoolTooLarge(run, type(uint96).max));

        if (p.token == address(0)) p.token = ITrainingRun(run).rewardToken();
        p.fundedWei = uint96(fundedWei);

        emit Funded(run, msg.sender, amountWei);

        ITrainingRun(run).noteFunds(amountWei);

        IERC20 token = IERC20(p.token);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        require(received == amountWei, TransferMismatch(amountWei, received));
    }

    /// @inheritdoc IRewards
    function refund(address run) external nonReentrant {
        require(ITrainingRun(run).finished(), NotFinished(run));
        Pool storage p = _pools[run];
        Purse storage s = _purseOf(p, run);
        uint96 paidWei = p.limitWei - s.leftWei;
        uint256 owedWei = _owedWei(run, paidWei);
        uint256 heldWei = p.fundedWei - p.refundedWei;
        require(heldWei > owedWei, NothingToRefund(run));
        address sponsor = ITrainingRun(run).sponsor();

        uint96 amountWei = uint96(heldWei - owedWei);
        p.refundedWei += amountWei;
        if (p.limitWei > owedWei) {
            p.limitWei = uint96(owedWei);
            s.leftWei = uint96(owedWei) - paidWei;
        }

        emit Refunded(run, sponsor, amountWei);

        IERC20(p.token).safeTransfer(sponsor, amountWei);
    }

    /* CLAIMS */

    /// @inheritdoc IRewards
    function claim(address run, OpenedTree calldata tree, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external
        nonReentrant
    {
        Purse storage s = _purseFor(run, tree);
        require(SettlementTree.verifyClaim(tree.tree, leaf, proof), BadProof(tree.round, leaf.index));
        _pay(run, s, leaf);
    }

    /// @inheritdoc IRewards
    function claimNext(address run, uint32 leafCount, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external
        nonReentrant
    {
        (bool fits, bytes32 root) = SettlementTree.claimRoot(leaf, leafCount, proof);
        require(fits, NoPurse(run));
        _pay(run, _purseAt(run, leafCount, root), leaf);
    }

    /// @inheritdoc IRewards
    function claimMany(
        address run,
        OpenedTree calldata tree,
        ClaimLeaf[] calldata leaves,
        bytes32[][] calldata proofs
    ) external nonReentrant {
        require(leaves.length == proofs.length, LengthMismatch(leaves.length, proofs.length));
        Purse storage s = _purseFor(run, tree);

        for (uint256 i = 0; i < leaves.length; i++) {
            bool shown = SettlementTree.verifyClaim(tree.tree, leaves[i], proofs[i]);
            require(shown, BadProof(tree.round, leaves[i].index));
            _pay(run, s, leaves[i]);
        }
    }

    /* VIEWS */

    /// @inheritdoc IRewards
    function tokenOf(address run) external view returns (address) {
        return _pools[run].token;
    }

    /// @inheritdoc IRewards
    function funded(address run) external view returns (uint128) {
        return _pools[run].fundedWei;
    }

    /// @inheritdoc IRewards
    function refunded(address run) external view returns (uint128) {
        return _pools[run].refundedWei;
    }

    /// @inheritdoc IRewards
    function held(address run) external view returns (uint128) {
        Pool storage p = _pools[run];
        return p.fundedWei - p.refundedWei;
    }

    /// @inheritdoc IRewards
    function claimed(address run, address account) external view returns (uint128) {
        return uint128(_paid[run][account].amountWei);
    }

    /// @inheritdoc IRewards
    function claimedTotal(address run) external view returns (uint128) {
        Pool storage p = _pools[run];
        return p.limitWei - _purseOf(p, run).leftWei;
    }

    /// @inheritdoc IRewards
    function purse(address run)
        external
        view
        returns (uint32 round, bytes32 root, uint32 leafCount, uint128 leftWei)
    {
        Pool storage p = _pools[run];
        return (p.purseRound, p.purseRoot, p.purseLeafCount, _purseOf(p, run).leftWei);
    }

    /* INTERNAL */

    /// @dev Pays one leaf, which the purse's header has. The purse has what that header promised and the pool holds,
    /// so nothing beyond is ever paid.
    function _pay(address run, Purse storage s, ClaimLeaf calldata leaf) private {
        address account;
        uint256 earnedWei;
        assembly ("memory-safe") {
            // `leaf.account` and `leaf.cumulativeAmountWei`. The leaf is in the tree with all bits of its words; bits
            // beyond the types are the signers' doing: those of an account do not count, an amount is never that much
            account := shr(96, shl(96, calldataload(add(leaf, 0x20))))
            earnedWei := calldataload(add(leaf, 0x40))
        }
        Paid storage paid = _paid[run][account];
        uint256 paidWei = paid.amountWei;
        require(earnedWei > paidWei, NothingToClaim(run, account, uint128(paidWei)));
        (address token, uint256 leftWei) = (s.token, s.leftWei);
        uint256 amountWei;
        unchecked {
            amountWei = earnedWei - paidWei; // positive, as checked
            if (amountWei > leftWei) _refuse(run, token, amountWei, leftWei);
            leftWei -= amountWei; // not negative, as checked
        }

        paid.amountWei = earnedWei;
        s.leftWei = uint96(leftWei);

        emit Claimed(run, account, uint128(amountWei));

        IERC20(token).safeTransfer(account, amountWei);
    }

    /// @dev Why a claim is not paid: there is no purse where it was looked for, or not enough is in it.
    function _refuse(address run, address token, uint256 wantWei, uint256 leftWei) private pure {
        require(token != address(0), NoPurse(run));
        revert PoolExceeded(run, wantWei, leftWei);
    }

    /// @dev The purse that claims under this header are paid from. If it is not kept under the header, the run is
    /// asked whether the header is final.
    function _purseFor(address run, OpenedTree calldata tree) private returns (Purse storage s) {
        s = _purseAt(run, tree.tree.leafCount, tree.tree.root);
        if (s.token != address(0)) return s;
        (bytes32 stands, bool isFinal) = ITrainingRun(run).finalHeader(tree.round);
        bytes32 hash = Commitment.openedHash(tree);
        require(stands != 0 && stands == hash, UnknownHeader(run, tree.round, hash, stands));
        require(isFinal, NotFinal(tree.round));

        Pool storage p = _pools[run];
        Purse storage kept = _purseOf(p, run);
        if (kept.token != address(0) && tree.round < p.purseRound) return kept;
        _movePurse(run, p, tree, kept, s);
    }

    /// @dev Keeps the purse under a newer final header: with what that promises beyond what was paid.
    function _movePurse(
        address run,
        Pool storage p,
        OpenedTree calldata tree,
        Purse storage from,
        Purse storage to
    ) private {
        uint96 paidWei = p.limitWei - from.leftWei;
        uint96 heldWei = p.fundedWei - p.refundedWei;
        uint128 totalWei = tree.tree.totalAmountWei;
        uint96 limitWei = totalWei < heldWei ? uint96(totalWei) : heldWei;
        if (limitWei < paidWei) limitWei = paidWei;

        (from.token, from.leftWei) = (address(0), 0);
        (to.token, to.leftWei) = (p.token, limitWei - paidWei);
        p.limitWei = limitWei;
        p.purseRound = tree.round;
        p.purseLeafCount = tree.tree.leafCount;
        p.purseRoot = tree.tree.root;

        emit PurseOpened(run, tree.round, tree.tree.root, tree.tree.leafCount, limitWei - paidWei);
    }

    /// @dev The purse of a run, where it is kept now.
    function _purseOf(Pool storage p, address run) private view returns (Purse storage) {
        return _purseAt(run, p.purseLeafCount, p.purseRoot);
    }

    /// @dev Where the purse of a run is kept for a header with this tree. What is found there was put there because
    /// the run said that the header is final. Two headers with one tree have the same leaves.
    function _purseAt(address run, uint32 leafCount, bytes32 root) private view returns (Purse storage) {
        bytes32 key;
        assembly ("memory-safe") {
            // two words of scratch space: the run with the leaf count above it, and the root
            mstore(0x00, or(run, shl(160, leafCount)))
            mstore(0x20, root)
            key := keccak256(0x00, 0x40)
        }
        return _purses[key];
    }

    /// @dev What must stay in the pool of a finished run: what its headers promise while it can be claimed, later
    /// just what was paid.
    function _owedWei(address run, uint256 paidWei) private view returns (uint256) {
        uint64 claimableUntil = ITrainingRun(run).finishedAt() + ITrainingRun(run).params().claimPeriodSeconds;
        if (block.timestamp >= claimableUntil) return paidWei;
        (bool any,,, bool isFinal) = ITrainingRun(run).payHead();
        bool certain = (!any || isFinal) && !ITrainingRun(run).behind();
        require(certain, NotCertain(run, claimableUntil));
        uint256 promisedWei = ITrainingRun(run).settledTotalWei();
        return promisedWei < paidWei ? paidWei : promisedWei;
    }
}
