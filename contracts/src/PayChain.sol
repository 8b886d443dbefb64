// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {RunStorage} from "./RunStorage.sol";
import {RoundClock} from "./libraries/RoundClock.sol";
import {Round} from "./types/Storage.sol";
import {Fault, RoundStatus} from "./types/Types.sol";
import {BookWord, BookWords, StateWord, StateWords} from "./types/Words.sol";

/// @title PayChain
/// @notice Which settlements count. Shared by `Settlement`, which makes the chain longer, and `Disputes`, which cuts it.
/// @dev Each settled round names the one before it (`previousPaid`), the state the last one (`paidPlusOne`). A header
/// stands if its round is settled and not past the head. A header that falls takes the head back to the one before it,
/// and so all later ones with it; their rounds stay settled, as to the training state, and are settled again in order.
abstract contract PayChain is RunStorage {
    using RoundClock for Round;

    /// @dev A demand can be made so many `answerSeconds` after the challenge window, and its header fall by it two more
    /// `answerSeconds` later.
    uint256 internal constant LATEST_DEMAND = 40;
    uint256 internal constant LONGEST_HOLD = LATEST_DEMAND + 2;

    address internal immutable _stakes;
    address internal immutable _rewards;

    constructor(address stakes_, address rewards_) {
        _stakes = stakes_;
        _rewards = rewards_;
    }

    /// @dev True if the round has a header that counts. False for a place that holds another round.
    function _stands(Round storage r, uint32 round) internal view returns (bool) {
        return _isKept(round) && r.status == RoundStatus.Settled && round < _state.paidPlusOne;
    }

    /// @dev True if the round has a header that counts and can't be challenged any more.
    function _isFinal(Round storage r, uint32 round) internal view returns (bool) {
        return _stands(r, round) && _isSafe(r.finalAt, round);
    }

    /// @dev True if the time has passed in which the header of a settled round could be challenged. Demands for this or
    /// an earlier one hold that up, but not any more when all must have ended that were possible. It stays true: a
    /// demand is only possible for a header that is not safe, and holds up no earlier one.
    function _isSafe(uint256 finalAt, uint32 round) internal view returns (bool) {
        return block.timestamp >= _safeAt(finalAt, round);
    }

    /// @dev When that will be, if nobody makes further demands.
    function _safeAt(uint256 finalAt, uint32 round) internal view returns (uint64) {
        if (block.timestamp < finalAt) return uint64(finalAt);
        uint256 heldUntil = _state.holdUntil;
        if (round < _state.holdFrom || block.timestamp >= heldUntil) return uint64(finalAt);
        uint256 latest = finalAt + LONGEST_HOLD * _params.answerSeconds;
        return uint64(heldUntil < latest ? heldUntil : latest);
    }

    /// @dev True if a round that settled has lost its pay and was not settled again.
    function _isBehind() internal view returns (bool) {
        return _state.paidPlusOne != _state.settledPlusOne;
    }

    /// @dev Hash of the header at the head of the chain, 0 if the chain is empty. The head is always remembered.
    function _headHash(StateWord s) internal view returns (bytes32) {
        uint32 head = s.paidPlusOne();
        return head == 0 ? bytes32(0) : _rounds[(head - 1) % s.historyRounds()].headerHash;
    }

    /// @dev Sum of the cumulative amounts at the head of the chain. The stored one is the last settlement's: the head's,
    /// unless the chain was cut since.
    function _settledTotalWei() internal view returns (uint128) {
        if (!_isBehind()) return _money.settledTotalWei;
        uint32 head = _state.paidPlusOne;
        return head == 0 ? 0 : _rounds[_place(head - 1)].totalAmountWei;
    }

    /// @dev What a round may pay if it is settled next: what it earned, and no more than the pool had when the last
    /// round opened beyond what the chain has given away.
    function _budgetWei(Round storage r) internal view returns (uint128) {
        uint256 earnedWei = r.earnedWei(_params);
        uint256 heldWei = _money.heldWei;
        uint256 owedWei = _settledTotalWei();
        uint256 freeWei = heldWei > owedWei ? heldWei - owedWei : 0;
        return uint128(earnedWei < freeWei ? earnedWei : freeWei);
    }

    /// @dev Takes the pay of a round that stands, and of all after it, and keeps what is needed to punish who signed.
    function _voidHeader(Round storage r, uint32 round, Fault fault, uint32 index) internal {
        BookWord book = BookWords.load(r);
        uint256 signers = book.signerMask();
        assembly ("memory-safe") {
            // the slot of what was paid
            let slot := add(r.slot, 6)
            // who signed; no fault yet, it is a settled round's
            let word := or(sload(slot), shl(128, signers))
            // what was wrong
            word := or(word, shl(144, fault))
            // since when
            word := or(word, shl(152, timestamp()))
            // at which leaf
            sstore(slot, or(word, shl(192, index)))
        }
        StateWords.load(_state).withPaid(book.previousPaid()).store(_state);

        emit HeaderVoided(round, book.attempt(), fault, index, msg.sender);
    }
}
