// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Role} from "../types/Types.sol";

/// @title IStakes
/// @notice The registry of each run: who takes part, with which keys and how much stake.
/// @dev One contract serves all runs; everything is keyed by the run's address, and nobody has power over it.
///
/// Assumptions
/// - A run is any address that answers `rewardToken`, `params`, `nextRound` and `finished`. A hostile one can
///   harm only those who join it: its token is fixed when the first member joins, and each member gets back from
///   this contract exactly what it put in.
/// - The token moves exactly the amount it is asked to. One that takes a fee is refused; one that changes balances
///   by itself, or can freeze accounts, may keep members from withdrawing.
///
/// Warnings
/// - Slots are never used again: a run takes at most 256 trainers and 16 validators in its whole life.
/// - This version never takes stake away. A stake is a voting weight and a bond, not yet at risk.
/// - Member counts are open: who holds all slots keeps others out. The minimum bond is the price of that.
interface IStakes {
    /// @notice The run takes no more members.
    error RunOver(address run);
    /// @notice The role is not one that can be joined with.
    error BadRole(Role role);
    /// @notice The operator is the zero address.
    error ZeroOperator();
    /// @notice The amount is zero.
    error ZeroAmount();
    /// @notice The amount is below what the run asks of this role.
    error StakeTooLow(uint128 amountWei, uint128 minimumWei);
    /// @notice The account is a member of the run already; a member that left can't come back with it.
    error AlreadyJoined(address run, address account);
    /// @notice The operator acts for a member of the run already.
    error OperatorTaken(address run, address operator);
    /// @notice All slots of the role have been given out.
    error RunFull(address run, Role role, uint16 slots);
    /// @notice The account is not a member of the run.
    error NotMember(address run, address account);
    /// @notice The member has left already.
    error AlreadyLeft(address run, uint32 index);
    /// @notice The member must leave before it can withdraw.
    error NotLeft(address run, uint32 index);
    /// @notice The stake is bound until then.
    error StillBonded(uint64 until);
    /// @notice There is no stake left to withdraw.
    error NothingToWithdraw(address run, uint32 index);
    /// @notice No validator has this slot.
    error UnknownSlot(address run, uint16 slot);
    /// @notice The token moved another amount than it was asked to.
    error TransferMismatch(uint256 wantWei, uint256 haveWei);

    event Joined(
        address indexed run,
        uint32 indexed index,
        address indexed account,
        address operator,
        Role role,
        uint16 slot,
        uint128 amountWei
    );
    event StakeAdded(address indexed run, uint32 indexed index, uint128 amountWei);
    event OperatorSet(address indexed run, uint32 indexed index, address operator);
    event Left(address indexed run, uint32 indexed index, uint32 activeUntil, uint64 withdrawableAt);
    event Withdrawn(address indexed run, uint32 indexed index, uint128 amountWei);

    /// @notice Makes the caller a member of `run` from its next round on, and takes its stake.
    /// @dev The caller's account is the cold key: it owns the stake and the rewards. `operator` is the hot key that
    /// acts in rounds; it may be the same address.
    function join(address run, Role role, address operator, uint128 amountWei) external;

    /// @notice Adds to the caller's stake; it counts from the next round on.
    function addStake(address run, uint128 amountWei) external;

    /// @notice Gives the caller's membership another operator, at once.
    function setOperator(address run, address operator) external;

    /// @notice Ends the caller's membership before the next round; the stake is bound for `unbondingSeconds` more.
    function leave(address run) external;

    /// @notice Pays the whole stake back to the caller, once it is no longer bound.
    function withdraw(address run) external;

    /// @notice How long a stake is bound after its member left.
    function unbondingSeconds() external view returns (uint64);

    /// @notice The token staked in `run`; zero before its first member joined.
    function tokenOf(address run) external view returns (address);

    /// @notice The member at `index`; an empty entry (role None) if there is none.
    function entryAt(address run, uint32 index) external view returns (Entry memory);

    /// @notice The member that `account` is; an empty entry (role None) if it is none.
    function entryOf(address run, address account) external view returns (Entry memory);

    /// @notice The member that `operator` acts for; an empty entry (role None) if it acts for none.
    function entryOfOperator(address run, address operator) external view returns (Entry memory);

    /// @notice At most `count` members of `run` from index `from` on.
    function entries(address run, uint32 from, uint32 count) external view returns (Entry[] memory);

    /// @notice Number of members that ever joined.
    function registrySize(address run) external view returns (uint32);

    /// @notice Number of slots given out, by role.
    function slotCounts(address run) external view returns (uint16 trainerSlots, uint16 validatorSlots);

    /// @notice Number of members that have not left, by role.
    function activeCounts(address run) external view returns (uint16 trainers, uint16 validators);

    /// @notice Voting weights in `round`: lane v, bits [16v, 16v+16), is min(65535, stake / unit) of validator slot
    /// v if that validator is active in the round, else 0.
    function stakeLanes(address run, uint32 round, uint128 unitWei) external view returns (bytes32);

    /// @notice Registry index of the validator with `slot`.
    function validatorIndexAt(address run, uint16 slot) external view returns (uint32);
}
