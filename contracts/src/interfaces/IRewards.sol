// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Header, Leaf, ProofNode} from "../types/Types.sol";

/// @title IRewards
/// @notice Holds the pool of each run and pays what its settled headers say.
/// @dev One contract serves all runs, and nobody has power over it. Claims are cumulative: a leaf states all that its
/// account ever earned in the run, and what was paid before is subtracted. So one claim covers any number of rounds,
/// and a claim lost or repeated costs nothing.
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
interface IRewards {
    /// @notice The amount is zero.
    error ZeroAmount();
    /// @notice The run takes no more money.
    error RunOver(address run);
    /// @notice The run has not ended: what is left can't be refunded yet.
    error NotFinished(address run);
    /// @notice The header is not the one that the run settled in that round.
    error UnknownHeader(address run, uint32 round, bytes32 have, bytes32 settled);
    /// @notice Claims against the round's header open only then.
    error NotFinal(uint32 round, uint64 finalAt);
    /// @notice The leaf is not in the header's tree.
    error BadProof(uint32 round, uint32 index);
    /// @notice The account has been paid all that the leaf states.
    error NothingToClaim(address run, address account, uint128 claimedWei);
    /// @notice Nothing is left over.
    error NothingToRefund(address run);
    /// @notice More would be paid than the run's headers promise or its pool holds.
    error PoolExceeded(address run, uint128 wantWei, uint128 leftWei);
    /// @notice The token moved another amount than it was asked to.
    error TransferMismatch(uint256 wantWei, uint256 haveWei);

    event Funded(address indexed run, address indexed from, uint128 amountWei);
    event Claimed(address indexed run, address indexed account, uint32 indexed round, uint128 amountWei);
    event Refunded(address indexed run, address indexed sponsor, uint128 amountWei);

    /// @notice Adds to the pool of `run`. By anyone.
    function fund(address run, uint128 amountWei) external;

    /// @notice Pays the leaf's account what it earned up to the header's round and has not been paid. By anyone.
    function claim(address run, Header calldata header, Leaf calldata leaf, ProofNode[] calldata proof)
        external;

    /// @notice Pays the sponsor of a finished run what its headers did not give away. By anyone.
    function refund(address run) external;

    /// @notice The token of the run's pool; zero before the first funding.
    function tokenOf(address run) external view returns (address);

    /// @notice All that was ever funded.
    function funded(address run) external view returns (uint128);

    /// @notice All that was ever refunded.
    function refunded(address run) external view returns (uint128);

    /// @notice All that the account was ever paid.
    function claimed(address run, address account) external view returns (uint128);

    /// @notice All that was ever paid to accounts.
    function claimedTotal(address run) external view returns (uint128);
}
