// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IStakes} from "./interfaces/IStakes.sol";
import {ITrainingRun} from "./interfaces/ITrainingRun.sol";
import {MAX_TRAINERS, MAX_VALIDATORS} from "./types/Limits.sol";
import {Entry, Role, RunParams} from "./types/Types.sol";

/// @title Stakes
/// @notice The registries and stakes of all runs. See `IStakes`.
/// @dev A member has withdrawn when its entry has no operator.
contract Stakes is IStakes, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev The members of one run. References to members are indices plus one, so that 0 is none.
    struct Registry {
        // slot 0
        address token; // zero before the first member joined
        uint16 trainerSlots; // one more than the highest ever in use
        uint16 validatorSlots;
        uint16 trainers; // not left
        uint16 validators;
        uint16 seatsTaken; // bit v: seat v has a validator for the next epoch
        // slots 1 and 2
        uint128 minTrainerBondWei;
        uint128 minValidatorStakeWei;
        uint128 stakeUnitWei;
        // slots 3 to 6
        bytes32 lanes; // voting weights of the seats
        uint32[MAX_VALIDATORS] seats; // registry index of each
        uint256 trainerSlotsTaken; // bit s: slot s has a member that has not withdrawn
        Entry[] entries;
        mapping(address account => uint32) byAccount;
        mapping(address operator => uint32) byOperator; // former operators too
    }

    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant MAX_LANE = type(uint16).max;
    uint256 private constant ONE_BPS = 10_000;

    /// @inheritdoc IStakes
    uint64 public immutable unbondingSeconds;

    mapping(address run => Registry) private _registries;

    /* CONSTRUCTOR */

    constructor(uint64 unbondingSeconds_) {
        unbondingSeconds = unbondingSeconds_;
    }

    /* MEMBERS */

    /// @inheritdoc IStakes
    function join(address run, Role role, address operator, uint128 amountWei) external nonReentrant {
        require(role == Role.Trainer || role == Role.Validator, BadRole(role));
        require(!ITrainingRun(run).finished(), RunOver(run));
        Registry storage g = _registries[run];
        if (g.token == address(0)) _readTerms(g, run);
        uint128 minimumWei = role == Role.Trainer ? g.minTrainerBondWei : g.minValidatorStakeWei;
        require(amountWei >= minimumWei, StakeTooLow(amountWei, minimumWei));
        require(g.byAccount[msg.sender] == 0, AlreadyJoined(run, msg.sender));
        _checkOperator(g, run, operator, 0);

        uint32 index = uint32(g.entries.length);
        uint16 slot = role == Role.Trainer ? _takeTrainerSlot(g, run) : _takeSeat(g, run, index, amountWei);
        g.byAccount[msg.sender] = index + 1;
        g.byOperator[operator] = index + 1;
        Entry storage e = g.entries.push();
        e.account = msg.sender;
        e.operator = operator;
        e.role = role;
        e.slot = slot;
        e.index = index;
        e.activeUntil = type(uint32).max;
        e.stakeWei = amountWei;
        if (role == Role.Validator) _setLane(g, e);
        e.activeFrom = ITrainingRun(run).enroll(operator, role, slot, index + 1, g.trainerSlots);

        emit Joined(run, index, msg.sender, operator, role, slot, e.activeFrom, amountWei);

        _pull(g, amountWei);
    }

    /// @inheritdoc IStakes
    function addStake(address run, uint128 amountWei) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _memberThatStays(g, run);
        require(amountWei > 0, ZeroAmount());

        e.stakeWei += amountWei;
        if (e.role == Role.Validator) _setLane(g, e);

        emit StakeAdded(run, e.index, amountWei);

        _pull(g, amountWei);
    }

    /// @inheritdoc IStakes
    function setOperator(address run, address operator) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _member(g, run, msg.sender);
        require(operator != e.operator, OperatorTaken(run, operator));
        _checkOperator(g, run, operator, e.index + 1);

        address before = e.operator;
        g.byOperator[operator] = e.index + 1;
        e.operator = operator;

        emit OperatorSet(run, e.index, operator);

        ITrainingRun(run).rekey(before, operator);
    }

    /// @inheritdoc IStakes
    function leave(address run) external nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _memberThatStays(g, run);

        if (e.role == Role.Validator) {
            g.seatsTaken &= ~(uint16(1) << e.slot);
            delete g.seats[e.slot];
            _writeLane(g, e.slot, 0);
        }
        _retire(g, run, e);
    }

    /// @inheritdoc IStakes
    function withdraw(address run) external {
        withdrawFor(run, msg.sender);
    }

    /// @inheritdoc IStakes
    function withdrawFor(address run, address account) public nonReentrant {
        Registry storage g = _registries[run];
        Entry storage e = _member(g, run, account);
        require(e.activeUntil != type(uint32).max, NotLeft(run, e.index));
        uint64 until = _withdrawableAt(run, e);
        require(until != 0, StillActive(e.index, e.activeUntil));
        require(block.timestamp >= until, StillBonded(until));

        uint128 amountWei = e.stakeWei;
        address operator = e.operator;
        delete e.operator;
        delete e.stakeWei;
        if (e.role == Role.Trainer) g.trainerSlotsTaken &= ~(uint256(1) << e.slot);

        emit Withdrawn(run, e.index, amountWei);

        ITrainingRun(run).forget(operator);
        if (amountWei > 0) IERC20(g.token).safeTransfer(account, amountWei);
    }

    /* SLASHING */

    /// @inheritdoc IStakes
    function slash(
        uint32[] calldata indices,
        uint128[] calldata amountsWei,
        address challenger,
        uint16 challengerBps
    ) external nonReentrant returns (uint128 takenWei) {
        require(indices.length == amountsWei.length, LengthMismatch(indices.length, amountsWei.length));
        require(challengerBps <= ONE_BPS, BadShare(challengerBps));
        Registry storage g = _registries[msg.sender];
        uint256 shareBps = challenger == address(0) ? 0 : challengerBps;
        uint128 rewardsWei;

        for (uint256 i = 0; i < indices.length; i++) {
            (uint128 partWei, uint128 rewardWei) = _take(g, indices[i], amountsWei[i], shareBps);
            takenWei += partWei;
            rewardsWei += rewardWei;
        }

        // A token that refuses one of the two must not make a slash impossible: what the challenger can't get is burned,
        // and what can't be burned stays here, in nobody's stake.
        if (rewardsWei > 0 && !IERC20(g.token).trySafeTransfer(challenger, rewardsWei)) rewardsWei = 0;
        if (takenWei > rewardsWei) IERC20(g.token).trySafeTransfer(DEAD, takenWei - rewardsWei);
    }

    /* VIEWS */

    /// @inheritdoc IStakes
    function withdrawableAt(address run, uint32 index) external view returns (uint64) {
        Registry storage g = _registries[run];
        require(index < g.entries.length, UnknownMember(run, index));
        Entry storage e = g.entries[index];
        return e.activeUntil == type(uint32).max ? 0 : _withdrawableAt(run, e);
    }

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
    function memberAt(address run, uint32 index)
        external
        view
        returns (address account, Role role, uint16 slot, uint32 activeFrom, uint32 activeUntil)
    {
        Entry storage e = _at(_registries[run], index);
        return (e.account, e.role, e.slot, e.activeFrom, e.activeUntil);
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
    function indexOfOperator(address run, address operator) external view returns (uint32 index, Role role) {
        Registry storage g = _registries[run];
        uint32 indexPlusOne = g.byOperator[operator];
        if (indexPlusOne != 0) (index, role) = (indexPlusOne - 1, _at(g, indexPlusOne - 1).role);
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
    function snapshot(address run) external view returns (bytes32 lanes, uint32[16] memory seats) {
        Registry storage g = _registries[run];
        return (g.lanes, g.seats);
    }

    /* SLOTS AND SEATS */

    /// @dev Gives out the lowest free trainer slot.
    function _takeTrainerSlot(Registry storage g, address run) private returns (uint16 slot) {
        uint256 taken = g.trainerSlotsTaken;
        require(taken != type(uint256).max, RunFull(run, Role.Trainer, MAX_TRAINERS));
        slot = uint16(_lowestFree(taken));

        g.trainerSlotsTaken = taken | (uint256(1) << slot);
        if (slot >= g.trainerSlots) g.trainerSlots = slot + 1;
        g.trainers++;
    }

    /// @dev Gives out the lowest free seat, or that of the validator with the lowest stake, which is evicted.
    function _takeSeat(Registry storage g, address run, uint32 index, uint128 amountWei)
        private
        returns (uint16 seat)
    {
        uint16 taken = g.seatsTaken;
        if (taken == type(uint16).max) {
            Entry storage lowest = _lowest(g);
            require(amountWei > lowest.stakeWei, SeatsTaken(run, amountWei, lowest.stakeWei));
            emit Evicted(run, lowest.index, index);
            seat = lowest.slot;
            g.seats[seat] = index;
            g.validators++;
            _retire(g, run, lowest);
            return seat;
        }
        seat = uint16(_lowestFree(taken));

        g.seatsTaken = taken | (uint16(1) << seat);
        g.seats[seat] = index;
        if (seat >= g.validatorSlots) g.validatorSlots = seat + 1;
        g.validators++;
    }

    /// @dev Of the validators in the seats the one with the lowest stake; among equals the last to have joined.
    function _lowest(Registry storage g) private view returns (Entry storage lowest) {
        lowest = g.entries[g.seats[0]];
        for (uint256 seat = 1; seat < MAX_VALIDATORS; seat++) {
            Entry storage e = g.entries[g.seats[seat]];
            bool lower = e.stakeWei < lowest.stakeWei;
            if (lower || (e.stakeWei == lowest.stakeWei && e.index > lowest.index)) lowest = e;
        }
    }

    /// @dev Number of ones at the low end of `taken`: the lowest free slot.
    function _lowestFree(uint256 taken) private pure returns (uint256 slot) {
        uint256 free = ~taken & (taken + 1); // the bit of the lowest zero; `taken` is not full
        for (uint256 step = 128; step > 0; step >>= 1) {
            if (free >> step != 0) (free, slot) = (free >> step, slot + step);
        }
    }

    /// @dev Keeps the voting weight of a validator's seat in step with its stake. Not once it has left: another may
    /// have its seat.
    function _setLane(Registry storage g, Entry storage e) private {
        uint256 unitWei = g.stakeUnitWei;
        uint256 units = unitWei == 0 ? 0 : e.stakeWei / unitWei;
        _writeLane(g, e.slot, units < MAX_LANE ? units : MAX_LANE);
    }

    function _writeLane(Registry storage g, uint256 seat, uint256 units) private {
        uint256 cleared = uint256(g.lanes) & ~(MAX_LANE << (16 * seat));
        g.lanes = bytes32(cleared | (units << (16 * seat)));
    }

    /* MEMBERS */

    /// @dev What a run asks of its members; read once.
    function _readTerms(Registry storage g, address run) private {
        RunParams memory p = ITrainingRun(run).params();

        g.token = p.rewardToken;
        g.minTrainerBondWei = p.minTrainerBondWei;
        g.minValidatorStakeWei = p.minValidatorStakeWei;
        g.stakeUnitWei = p.stakeUnitWei;
    }

    /// @dev Ends a membership; its seat or slot is the caller's business.
    function _retire(Registry storage g, address run, Entry storage e) private {
        e.leftAt = uint64(block.timestamp);
        if (e.role == Role.Trainer) g.trainers--;
        else g.validators--;
        e.activeUntil = ITrainingRun(run).retire(e.operator);

        emit Left(run, e.index, e.activeUntil);
    }

    /// @dev Takes from one stake; what of that is the challenger's is rounded down.
    function _take(Registry storage g, uint32 index, uint128 amountWei, uint256 shareBps)
        private
        returns (uint128 takenWei, uint128 rewardWei)
    {
        require(index < g.entries.length, UnknownMember(msg.sender, index));
        Entry storage e = g.entries[index];
        uint128 stakeWei = e.stakeWei;
        takenWei = amountWei < stakeWei ? amountWei : stakeWei;
        rewardWei = uint128(takenWei * shareBps / ONE_BPS);

        e.stakeWei = stakeWei - takenWei;
        if (e.role == Role.Validator && e.leftAt == 0) _setLane(g, e);

        emit Slashed(msg.sender, index, takenWei, takenWei - rewardWei, rewardWei);
    }

    /// @dev When a member that has left can withdraw; 0 while its last round is not over. Who never was active has no
    /// round to wait for.
    function _withdrawableAt(address run, Entry storage e) private view returns (uint64) {
        uint64 releasedAt = e.leftAt;
        if (e.activeUntil > e.activeFrom) {
            uint64 overAt = ITrainingRun(run).releasedAt(e.activeUntil);
            if (overAt == 0) return 0;
            if (overAt > releasedAt) releasedAt = overAt;
        }
        return releasedAt + unbondingSeconds;
    }

    /// @dev The operator never acted in this run, or only for this member (index plus one, 0 for a new one).
    function _checkOperator(Registry storage g, address run, address operator, uint32 indexPlusOne)
        private
        view
    {
        require(operator != address(0), ZeroOperator());
        uint32 taken = g.byOperator[operator];
        require(taken == 0 || taken == indexPlusOne, OperatorTaken(run, operator));
    }

    /// @dev The account's membership.
    function _member(Registry storage g, address run, address account)
        private
        view
        returns (Entry storage e)
    {
        uint32 indexPlusOne = g.byAccount[account];
        require(indexPlusOne != 0, NotMember(run, account));
        e = g.entries[indexPlusOne - 1];
        require(e.operator != address(0), NotMember(run, account));
    }

    /// @dev The caller's membership, which it has not ended.
    function _memberThatStays(Registry storage g, address run) private view returns (Entry storage e) {
        e = _member(g, run, msg.sender);
        require(e.activeUntil == type(uint32).max, AlreadyLeft(run, e.index));
    }

    /// @dev The entry at an index, empty beyond the end: the array's length is not read.
    function _at(Registry storage g, uint32 index) private view returns (Entry storage e) {
        Entry[] storage all = g.entries;
        assembly ("memory-safe") {
            // where the array's slots begin; three for each entry
            mstore(0x00, all.slot)
            e.slot := add(keccak256(0x00, 0x20), mul(3, index))
        }
    }

    /// @dev The member with this index plus one; an empty entry for 0.
    function _entry(Registry storage g, uint32 indexPlusOne) private view returns (Entry memory entry) {
        if (indexPlusOne != 0) entry = g.entries[indexPlusOne - 1];
    }

    /* MONEY */

    /// @dev Takes the tokens from the caller.
    function _pull(Registry storage g, uint128 amountWei) private {
        IERC20 token = IERC20(g.token);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        require(received == amountWei, TransferMismatch(amountWei, received));
    }
}
