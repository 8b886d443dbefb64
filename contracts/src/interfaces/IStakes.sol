// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Role} from "../types/Types.sol";

/// @title IStakes
/// @notice The registry of each run: who takes part, with which keys and how much stake.
/// @dev One contract serves all runs; everything is keyed by the run's address, and nobody has power over it. It tells
/// the run of every change (`IRunCore.enroll`, `retire`, `rekey`, `forget`), so that acts in rounds call no other
/// contract. What it needs of a run's settings (token, least stakes, stake unit) is read once, when the first member
/// joins.
///
/// Slots. A trainer's slot is a lane of the weight vectors; it is given out again once its member has withdrawn. A
/// validator's slot is one of 16 seats. A seat is free for the next epoch as soon as its validator has left, because
/// the one who takes it is active only from there on. With all seats taken, who brings more stake than the lowest
/// takes its seat: the evicted validator is active until the epoch ends, then unbonds as if it had left. Among equally
/// low ones the last to have joined goes. Registry indices are never used again.
///
/// Assumptions
/// - A run is any address that answers as one. A hostile one can harm only those who join it: its token is fixed when
///   the first member joins, and it can take no more than the stakes of its own members.
/// - The token moves exactly the amount it is asked to. One that takes a fee is refused; one that changes balances
///   by itself, or can freeze accounts, may keep members from withdrawing.
///
/// Warnings
/// - A stake is at risk until it is withdrawn: for a wrong header, a missed reveal or a missed signature. A run that
///   no trusted factory created may take it for nothing.
/// - Trainer slots are open: who holds all 256 keeps others out. The minimum bond is the price of that.
/// - A member that left holds its trainer slot until somebody withdraws its stake for it, which anyone may.
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
    /// @notice The account is or was a member of the run; one that left can't come back with the same account.
    error AlreadyJoined(address run, address account);
    /// @notice The operator acts or acted for another member of the run, or is the member's operator already.
    error OperatorTaken(address run, address operator);
    /// @notice All slots of trainers are given out, and none of their members has withdrawn.
    error RunFull(address run, Role role, uint16 slots);
    /// @notice All seats of validators are taken, and the lowest stake among them is not below this one.
    error SeatsTaken(address run, uint128 amountWei, uint128 lowestWei);
    /// @notice The account is not a member of the run, or has withdrawn.
    error NotMember(address run, address account);
    /// @notice The member has left already, or was evicted.
    error AlreadyLeft(address run, uint32 index);
    /// @notice The member must leave before it can withdraw.
    error NotLeft(address run, uint32 index);
    /// @notice The last round in which the member can act is not over.
    error StillActive(uint32 index, uint32 activeUntil);
    /// @notice The stake is bound until then.
    error StillBonded(uint64 until);
    /// @notice Not as many amounts as members.
    error LengthMismatch(uint256 indices, uint256 amounts);
    /// @notice There is no member with this index.
    error UnknownMember(address run, uint32 index);
    /// @notice More than the whole was to go to the challenger.
    error BadShare(uint16 challengerBps);
    /// @notice The token moved another amount than it was asked to.
    error TransferMismatch(uint256 wantWei, uint256 haveWei);

    event Joined(
        address indexed run,
        uint32 indexed index,
        address indexed account,
        address operator,
        Role role,
        uint16 slot,
        uint32 activeFrom,
        uint128 amountWei
    );
    event StakeAdded(address indexed run, uint32 indexed index, uint128 amountWei);
    event OperatorSet(address indexed run, uint32 indexed index, address operator);
    /// @dev By its own choice, or (after `Evicted`) because another took its seat.
    event Left(address indexed run, uint32 indexed index, uint32 activeUntil);
    event Evicted(address indexed run, uint32 indexed index, uint32 byIndex);
    event Withdrawn(address indexed run, uint32 indexed index, uint128 amountWei);
    /// @dev `amountWei` = `burnedWei` + `rewardWei`.
    event Slashed(
        address indexed run, uint32 indexed index, uint128 amountWei, uint128 burnedWei, uint128 rewardWei
    );

    /// @notice Makes the caller a member of `run`, and takes its stake. A trainer is active from the next round on, a
    /// validator from the first round of the next epoch (both from round 0 before the start).
    /// @dev The caller's account is the cold key: it owns the stake and the rewards. `operator` is the hot key that
    /// acts in rounds; it may be the same address.
    function join(address run, Role role, address operator, uint128 amountWei) external;

    /// @notice Adds to the caller's stake; as a voting weight it counts from the next epoch on.
    function addStake(address run, uint128 amountWei) external;

    /// @notice Gives the caller's membership another operator, at once.
    /// @dev A key that ever acted in a run stays its member's: what it signed can be held against that member.
    function setOperator(address run, address operator) external;

    /// @notice Ends the caller's membership: a trainer's with the open round, a validator's with the epoch.
    function leave(address run) external;

    /// @notice Pays what is left of the stake back to the caller: `unbondingSeconds` after its last round was over.
    function withdraw(address run) external;

    /// @notice As `withdraw`, for somebody else: pays `account`. By anyone; frees its slot.
    function withdrawFor(address run, address account) external;

    /// @notice Takes from members of the calling run: from `indices[i]` at most `amountsWei[i]`, or what it has. Of all
    /// that, `challengerBps` / 10,000 goes to `challenger` (nothing if it is zero, or if the token refuses it),
    /// the rest is burned: sent to 0x...dEaD, or kept here for good if the token refuses that.
    /// @return takenWei What was taken of all, together.
    function slash(
        uint32[] calldata indices,
        uint128[] calldata amountsWei,
        address challenger,
        uint16 challengerBps
    ) external returns (uint128 takenWei);

    /// @notice How long a stake is bound after its member's last round.
    function unbondingSeconds() external view returns (uint64);

    /// @notice When the member can withdraw, as far as it is known: 0 while its last round is not over, or it has not
    /// left.
    function withdrawableAt(address run, uint32 index) external view returns (uint64);

    /// @notice The token staked in `run`; zero before its first member joined.
    function tokenOf(address run) external view returns (address);

    /// @notice The member at `index`; an empty entry (role None) if there is none. It stays after the member has
    /// withdrawn, with no operator.
    function entryAt(address run, uint32 index) external view returns (Entry memory);

    /// @notice What of `entryAt` never changes, or only once; in one slot, for challenges. All zero if there is no such
    /// member.
    function memberAt(address run, uint32 index)
        external
        view
        returns (address account, Role role, uint16 slot, uint32 activeFrom, uint32 activeUntil);

    /// @notice The member that `account` is or was; an empty entry (role None) if it never was.
    function entryOf(address run, address account) external view returns (Entry memory);

    /// @notice The member that `operator` acts or ever acted for; an empty entry (role None) if it never did. It acts
    /// for it now if it is the entry's operator.
    function entryOfOperator(address run, address operator) external view returns (Entry memory);

    /// @notice Of that entry only what a proof of two signatures needs; role None if there is none.
    function indexOfOperator(address run, address operator) external view returns (uint32 index, Role role);

    /// @notice At most `count` members of `run` from index `from` on.
    function entries(address run, uint32 from, uint32 count) external view returns (Entry[] memory);

    /// @notice Number of members that ever joined.
    function registrySize(address run) external view returns (uint32);

    /// @notice Number of slots ever in use, by role: one more than the highest.
    function slotCounts(address run) external view returns (uint16 trainerSlots, uint16 validatorSlots);

    /// @notice Number of members that have not left, by role.
    function activeCounts(address run) external view returns (uint16 trainers, uint16 validators);

    /// @notice Seats and voting weights of an epoch that would begin now. Lane v, bits [16v, 16v+16), is
    /// min(65535, stake / unit) of the validator in seat v; a vacant seat has lane 0 and index 0.
    function snapshot(address run) external view returns (bytes32 lanes, uint32[16] memory seats);
}
