// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ClaimLeaf, OpenedTree} from "../types/Types.sol";

/// @title IRewards
/// @notice Holds the pool of each run and pays what its final headers say.
/// @dev One contract serves all runs, and nobody has power over it. Claims are cumulative: a leaf states all that its
/// account ever earned in the run, and what was paid before is subtracted. So one claim covers any number of rounds,
/// and a claim lost or repeated costs nothing.
///
/// The *purse* of a run is what the latest final header shown here can still pay: the smaller of its total and the
/// pool, less what was paid. It is kept under that header's root and leaf count; a claim that finds it there
/// knows in one read that the header is final, which token it pays and how much is left, and asks the run nothing. The
/// first claim under a newer final header moves the purse. Older final headers still pay, from the same purse; each
/// such claim asks the run.
///
/// Assumptions
/// - The run is one that a trusted factory created. A hostile one can waste what was funded for it, and no more: its
///   token is fixed at the first funding and its claims and refunds never exceed that money.
/// - The token moves exactly the amount it is asked to; one that takes a fee is refused. One that changes balances by
///   itself could leave a run short.
///
/// Warnings
/// - Money funded can't be taken back before the run has finished.
/// - Anyone may claim for anyone: the reward goes to the leaf's account, so it must be able to hold the token.
/// - What is not claimed within `claimPeriodSeconds` of the end of the run goes back to the sponsor.
interface IRewards {
    /// @notice The amount is zero.
    error ZeroAmount();
    /// @notice The run takes no more money.
    error RunOver(address run);
    /// @notice The pool would hold more than this.
    error PoolTooLarge(address run, uint128 limitWei);
    /// @notice The run has not ended: what is left can't be refunded yet.
    error NotFinished(address run);
    /// @notice The last headers of the run can still fall, or must be settled again: what they promise is not certain
    /// before they are final, or (unclaimed) before then.
    error NotCertain(address run, uint64 claimableUntil);
    /// @notice The header is not the one that stands for that round.
    error UnknownHeader(address run, uint32 round, bytes32 have, bytes32 stands);
    /// @notice The round's header can still be challenged.
    error NotFinal(uint32 round);
    /// @notice The leaf is not in the header's tree.
    error BadProof(uint32 round, uint32 index);
    /// @notice The run's purse is not kept under the tree that leaf and proof lead to, or nothing was ever funded.
    error NoPurse(address run);
    /// @notice Not as many proofs as leaves.
    error LengthMismatch(uint256 leaves, uint256 proofs);
    /// @notice The account has been paid all that the leaf states.
    error NothingToClaim(address run, address account, uint128 claimedWei);
    /// @notice Nothing is left over.
    error NothingToRefund(address run);
    /// @notice More would be paid than the run's headers promise or its pool holds.
    error PoolExceeded(address run, uint256 wantWei, uint256 leftWei);
    /// @notice The token moved another amount than it was asked to.
    error TransferMismatch(uint256 wantWei, uint256 haveWei);

    event Funded(address indexed run, address indexed from, uint128 amountWei);
    event Claimed(address indexed run, address indexed account, uint128 amountWei);
    /// @dev The purse of the run is now the one of this header.
    event PurseOpened(
        address indexed run, uint32 indexed round, bytes32 root, uint32 leafCount, uint128 leftWei
    );
    event Refunded(address indexed run, address indexed sponsor, uint128 amountWei);

    /// @notice Adds to the pool of `run`. By anyone.
    function fund(address run, uint128 amountWei) external;

    /// @notice Pays the leaf's account what it earned up to the header's round and has not been paid. By anyone.
    function claim(address run, OpenedTree calldata tree, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external;

    /// @notice As `claim`, for the header that the run's purse is kept under (see `purse`): the cheapest way. It need
    /// not be opened again, because leaf and proof lead to its root.
    /// @param leafCount Of the header's tree.
    function claimNext(address run, uint32 leafCount, ClaimLeaf calldata leaf, bytes32[] calldata proof)
        external;

    /// @notice As `claim`, for many leaves of one header. If one can't be paid none is.
    function claimMany(
        address run,
        OpenedTree calldata tree,
        ClaimLeaf[] calldata leaves,
        bytes32[][] calldata proofs
    ) external;

    /// @notice Pays the sponsor of a finished run: what its headers did not give away, once all of them are final; and
    /// `claimPeriodSeconds` after the end, all that is left. By anyone.
    function refund(address run) external;

    /// @notice The token of the run's pool; zero before the first funding.
    function tokenOf(address run) external view returns (address);

    /// @notice All that was ever funded.
    function funded(address run) external view returns (uint128);

    /// @notice All that was ever refunded.
    function refunded(address run) external view returns (uint128);

    /// @notice What was funded and not refunded: paid to accounts or not. It bounds what headers may promise.
    function held(address run) external view returns (uint128);

    /// @notice All that the account was ever paid.
    function claimed(address run, address account) external view returns (uint128);

    /// @notice All that was ever paid to accounts.
    function claimedTotal(address run) external view returns (uint128);

    /// @notice The header that the run's purse is kept under, and what it can still pay. All zero before the first claim.
    function purse(address run)
        external
        view
        returns (uint32 round, bytes32 root, uint32 leafCount, uint128 leftWei);
}
