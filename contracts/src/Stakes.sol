// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {IStakes} from "./interfaces/IStakes.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {MAX_TRAINERS, MAX_VALIDATORS} from "./types/Limits.sol";
import {Entry, Role, RunParams} from "./types/Types.sol";

/// @title Stakes
/// @notice The registries and stakes of all runs. See `IStakes`.
contract Stakes is IStakes, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// @dev The members of one run. References to members are indices plus one, so that 0 is none.
    struct Registry {
        address token;
        uint16 trainerSlots;
        uint16 validatorSlots;
        uint16 trainers;
        uint16 validators;
        Entry[] entries;
        uint32[] validatorIndices;
        mapping(address account => uint32) byAccount;
        mapping(address operator => uint32) byOperator;
    }

    uint256 private constant MAX_LANE = type(uint16).max;

    /// @inheritdoc IStakes
    uint64 public immutable unbondingSeconds;

    mapping(address run => Registry) private _registries;

    /* CONSTRUCTOR */

    constructor(uint64 unbondingSeconds_) {
        unbondingSeconds = unbondingSeconds_;
    }

    /* WRITES */

    /// @inheritdoc IStakes
    function join(address run, Role role, address operator, uint128 amountWei) external nonReentrant {
        Registry storage g = _registries[run];
        _checkStake(run, role, amountWei);
        require(!ITrainingRun(run).finished(), RunOver(run));
        require(g.byAccount[msg.sender] == 0, AlreadyJoined(run, msg.sender));
        _checkOperator(g, run, operator);

        if (g.token == address(0)) g.token = ITrainingRun(run).rewardToken();
        uint32 index = uint32(g.entries.length);
        uint16 slot = _takeSlot(g, run, role, index);
        g.byAccount[msg.sender] = index + 1;
        g.byOperator[operator] = index + 1;
        g.entries
            .push(
                Entry({
                    account: msg.sender,
                    operator: operator,
                    role: role,
                    slot: slot,
                    index: index,
                    activeFrom: ITrainingRun(run).nextRound(),
                    activeUntil: type(uint32).max,
                    stakeWei: amountWei,
                    withdrawableAt: 0
                })
            );

        emit Joined(run, index, msg.sender, operator, role, slot, amountWei);

        _pull(g, amountWei);
    }

    /// @inheritdoc IStakes
    function addStake(address run, uint128 amountWei) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _memberThatStays(g, run);
        require(amountWei > 0, ZeroAmount());

        e.stakeWei += amountWei;

        emit StakeAdded(run, e.index, amountWei);

        _pull(g, amountWei);
    }

    /// @inheritdoc IStakes
    function setOperator(address run, address operator) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _member(g, run);
        _checkOperator(g, run, operator);

        delete g.byOperator[e.operator];
        g.byOperator[operator] = e.index + 1;
        e.operator = operator;

        emit OperatorSet(run, e.index, operator);
    }

    /// @inheritdoc IStakes
    function leave(address run) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _memberThatStays(g, run);

        e.activeUntil = ITrainingRun(run).nextRound();
        e.withdrawableAt = uint64(block.timestamp) + unbondingSeconds;
        if (e.role == Role.Trainer) g.trainers--;
        else g.validators--;

        emit Left(run, e.index, e.activeUntil, e.withdrawableAt);
    }

    /// @inheritdoc IStakes
    function withdraw(address run) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _member(g, run);
        require(e.activeUntil != type(uint32).max, NotLeft(run, e.index));
        require(block.timestamp >= e.withdrawableAt, StillBonded(e.withdrawableAt));
        uint128 amountWei = e.stakeWei;
        require(amountWei > 0, NothingToWithdraw(run, e.index));

        e.stakeWei = 0;

        emit Withdrawn(run, e.index, amountWei);

        IERC20(g.token).safeTransfer(msg.sender, amountWei);
    }

    /* VIEWS */

    /// @inheritdoc IStakes
    function tokenOf(address run) external view returns (address) {
        return _registries[run].token;
    }

    /// @inheritdoc IStakes
    function entryAt(address run, uint32 index) external view returns (Entry memory entry) {
        Registry storage g = _registries[run];
        if (index < g.entries.length) entry = g.entries[index];
    }

    /// @inheritdoc IStakes
    function entryOf(address run, address account) external view returns (Entry memory) {
        Registry storage g = _registries[run];
        return _entry(g, g.byAccount[account]);
    }

    /// @inheritdoc IStakes
    function entryOfOperator(address run, address operator) external view returns (Entry memory) {
        Registry storage g = _registries[run];
        return _entry(g, g.byOperator[operator]);
    }

    /// @inheritdoc IStakes
    function entries(address run, uint32 from, uint32 count) external view returns (Entry[] memory page) {
        Registry storage g = _registries[run];
        uint256 size = g.entries.length;
        uint256 left = from < size ? size - from : 0;
        page = new Entry[](count < left ? count : left);
        for (uint256 i = 0; i < page.length; i++) {
            page[i] = g.entries[from + i];
        }
    }

    /// @inheritdoc IStakes
    function registrySize(address run) external view returns (uint32) {
        return uint32(_registries[run].entries.length);
    }

    /// @inheritdoc IStakes
    function slotCounts(address run) external view returns (uint16 trainerSlots, uint16 validatorSlots) {
        Registry storage g = _registries[run];
        return (g.trainerSlots, g.validatorSlots);
    }

    /// @inheritdoc IStakes
    function activeCounts(address run) external view returns (uint16 trainers, uint16 validators) {
        Registry storage g = _registries[run];
        return (g.trainers, g.validators);
    }

    /// @inheritdoc IStakes
    function stakeLanes(address run, uint32 round, uint128 unitWei) external view returns (bytes32) {
        Registry storage g = _registries[run];
        uint256 lanes;
        for (uint256 slot = 0; slot < g.validatorIndices.length; slot++) {
            Entry storage e = g.entries[g.validatorIndices[slot]];
            if (e.activeFrom > round || round >= e.activeUntil) continue;
            uint256 units = e.stakeWei / unitWei;
            lanes |= (units < MAX_LANE ? units : MAX_LANE) << (16 * slot);
        }
        return bytes32(lanes);
    }

    /// @inheritdoc IStakes
    function validatorIndexAt(address run, uint16 slot) external view returns (uint32) {
        Registry storage g = _registries[run];
        require(slot < g.validatorIndices.length, UnknownSlot(run, slot));
        return g.validatorIndices[slot];
    }

    /* INTERNAL */

    /// @dev The role can be joined with, and the stake is what the run asks for it.
    function _checkStake(address run, Role role, uint128 amountWei) private view {
        require(role == Role.Trainer || role == Role.Validator, BadRole(role));
        RunParams memory p = ITrainingRun(run).params();
        uint128 minimumWei = role == Role.Trainer ? p.minTrainerBondWei : p.minValidatorStakeWei;
        require(amountWei >= minimumWei, StakeTooLow(amountWei, minimumWei));
    }

    /// @dev The operator acts for nobody in this run.
    function _checkOperator(Registry storage g, address run, address operator) private view {
        require(operator != address(0), ZeroOperator());
        require(g.byOperator[operator] == 0, OperatorTaken(run, operator));
    }

    /// @dev Gives out the next slot of the role.
    function _takeSlot(Registry storage g, address run, Role role, uint32 index)
        private
        returns (uint16 slot)
    {
        if (role == Role.Trainer) {
            slot = g.trainerSlots;
            require(slot < MAX_TRAINERS, RunFull(run, role, MAX_TRAINERS));
            g.trainerSlots = slot + 1;
            g.trainers++;
        } else {
            slot = g.validatorSlots;
            require(slot < MAX_VALIDATORS, RunFull(run, role, MAX_VALIDATORS));
            g.validatorSlots = slot + 1;
            g.validators++;
            g.validatorIndices.push(index);
        }
    }

    /// @dev The caller's membership.
    function _member(Registry storage g, address run) private view returns (Entry storage) {
        uint32 indexPlusOne = g.byAccount[msg.sender];
        require(indexPlusOne != 0, NotMember(run, msg.sender));
        return g.entries[indexPlusOne - 1];
    }

    /// @dev The caller's membership, which it has not ended.
    function _memberThatStays(Registry storage g, address run) private view returns (Entry storage e) {
        e = _member(g, run);
        require(e.activeUntil == type(uint32).max, AlreadyLeft(run, e.index));
    }

    /// @dev The member with this index plus one; an empty entry for 0.
    function _entry(Registry storage g, uint32 indexPlusOne) private view returns (Entry memory entry) {
        if (indexPlusOne != 0) entry = g.entries[indexPlusOne - 1];
    }

    /// @dev Takes the tokens from the caller.
    function _pull(Registry storage g, uint128 amountWei) private {
        IERC20 token = IERC20(g.token);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        require(received == amountWei, TransferMismatch(amountWei, received));
    }
}
