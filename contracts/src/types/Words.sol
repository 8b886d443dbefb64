// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Member, Round, RunState} from "./Storage.sol";
import {RoundStatus} from "./Types.sol";

// The slots that acts read and write, as one word each. The compiler reads and writes a packed slot field by field; an
// act that knows the word reads it once, and writes it once. A test compares every field with the struct's.

/// @dev Slot 0 of `Round`. From the lowest bit: number 32, openedAt 40, trainEnd 24, revealEnd 24, drawn 24,
/// scoreEnd 24, weightRevealEnd 24, expected 16, expectedCommits 16, commits 16, reveals 16.
type ClockWord is uint256;

/// @dev Slot 1 of `Round`. From the lowest bit: status 8, expectedValidatorMask 16, weightCommitMask 16,
/// weightRevealMask 16, attestMask 16, signerMask 16, finedMask 16, validatorMask 16, trainerSlots 16,
/// registrySize 32, finalAt 40, previousPaid 24, attempt 8, demandsOpen 16.
type BookWord is uint256;

/// @dev `Member`. From the lowest bit: commitment 144, committedIn 24, expectedIn 24, activeFrom 24, activeUntil 24,
/// slot 8, role 8.
type MemberWord is uint256;

/// @dev `RunState`. From the lowest bit: round 24, paidPlusOne 24, settledPlusOne 24, historyRounds 24,
/// registrySize 32, trainerSlots 16, holdFrom 24, holdUntil 32, finishedAt 40, started 8, closed 8.
type StateWord is uint256;

using StateWords for StateWord global;
using ClockWords for ClockWord global;
using BookWords for BookWord global;
using MemberWords for MemberWord global;

/// @dev Offsets of fields that are moved as a whole, or counted up, in place.
uint256 constant CLOCK_EXPECTED_COMMIT = 1 << 208;
uint256 constant CLOCK_COMMIT = 1 << 224;
uint256 constant CLOCK_REVEAL = 1 << 240;

/// @title ClockWords
/// @notice Fields of a `ClockWord`. Times are offsets in seconds from `openedAt`.
/// @dev Nothing here overflows its field: offsets are bounded by the settings (see `RoundClock`), counters by the
/// number of members.
library ClockWords {
    uint256 private constant TWO_ENDS = (1 << 48) - 1;

    function load(Round storage r) internal view returns (ClockWord word) {
        assembly ("memory-safe") {
            // the first slot of the struct
            word := sload(r.slot)
        }
    }

    function store(ClockWord word, Round storage r) internal {
        assembly ("memory-safe") {
            // the first slot of the struct
            sstore(r.slot, word)
        }
    }

    /// @notice The word of a round that opens now.
    function opened(uint32 round, uint256 train, uint256 reveal, uint16 expected_)
        internal
        view
        returns (ClockWord)
    {
        return ClockWord.wrap(
            round | (uint256(uint40(block.timestamp)) << 32) | (train << 72) | ((train + reveal) << 96)
                | (uint256(expected_) << 192)
        );
    }

    function number(ClockWord word) internal pure returns (uint32) {
        return uint32(ClockWord.unwrap(word));
    }

    function openedAt(ClockWord word) internal pure returns (uint256) {
        return uint40(ClockWord.unwrap(word) >> 32);
    }

    function trainEnd(ClockWord word) internal pure returns (uint256) {
        return uint24(ClockWord.unwrap(word) >> 72);
    }

    /// @notice End of the reveals; with no commits, of the commits.
    function revealEnd(ClockWord word) internal pure returns (uint256) {
        return commits(word) == 0 ? trainEnd(word) : uint24(ClockWord.unwrap(word) >> 96);
    }

    function drawn(ClockWord word) internal pure returns (uint256) {
        return uint24(ClockWord.unwrap(word) >> 120);
    }

    function scoreEnd(ClockWord word) internal pure returns (uint256) {
        return uint24(ClockWord.unwrap(word) >> 144);
    }

    /// @notice End of the reveals of weights, if there are commits to weights.
    function weightRevealEnd(ClockWord word) internal pure returns (uint256) {
        return uint24(ClockWord.unwrap(word) >> 168);
    }

    function expected(ClockWord word) internal pure returns (uint16) {
        return uint16(ClockWord.unwrap(word) >> 192);
    }

    function expectedCommits(ClockWord word) internal pure returns (uint16) {
        return uint16(ClockWord.unwrap(word) >> 208);
    }

    function commits(ClockWord word) internal pure returns (uint16) {
        return uint16(ClockWord.unwrap(word) >> 224);
    }

    function reveals(ClockWord word) internal pure returns (uint16) {
        return uint16(ClockWord.unwrap(word) >> 240);
    }

    /// @notice Seconds since the round opened.
    function since(ClockWord word) internal view returns (uint256) {
        unchecked {
            return block.timestamp - openedAt(word);
        }
    }

    /// @notice Adds to counters: a sum of the constants above, none of which may overflow its field.
    function plus(ClockWord word, uint256 counts) internal pure returns (ClockWord) {
        unchecked {
            return ClockWord.wrap(ClockWord.unwrap(word) + counts);
        }
    }

    /// @notice With other ends of Train and Reveal.
    function withTrainEnd(ClockWord word, uint256 train, uint256 reveal) internal pure returns (ClockWord) {
        uint256 rest = ClockWord.unwrap(word) & ~(TWO_ENDS << 72);
        unchecked {
            return ClockWord.wrap(rest | (train << 72) | ((train + reveal) << 96));
        }
    }

    /// @notice With another end of Reveal.
    function withRevealEnd(ClockWord word, uint256 end) internal pure returns (ClockWord) {
        return ClockWord.wrap((ClockWord.unwrap(word) & ~(uint256(type(uint24).max) << 96)) | (end << 96));
    }

    /// @notice With other ends of Score and WeightReveal.
    function withScoreEnd(ClockWord word, uint256 score, uint256 reveal) internal pure returns (ClockWord) {
        uint256 rest = ClockWord.unwrap(word) & ~(TWO_ENDS << 144);
        unchecked {
            return ClockWord.wrap(rest | (score << 144) | ((score + reveal) << 168));
        }
    }

    /// @notice With another end of WeightReveal.
    function withWeightRevealEnd(ClockWord word, uint256 end) internal pure returns (ClockWord) {
        return ClockWord.wrap((ClockWord.unwrap(word) & ~(uint256(type(uint24).max) << 168)) | (end << 168));
    }
}

/// @title BookWords
/// @notice Fields of a `BookWord`.
library BookWords {
    /// @dev What a settlement writes: status, attestMask, signerMask, and from finalAt on all.
    uint256 private constant OF_SETTLEMENT =
        type(uint8).max | (uint256(type(uint32).max) << 56) | (uint256(type(uint88).max) << 168);

    function load(Round storage r) internal view returns (BookWord word) {
        assembly ("memory-safe") {
            // the second slot of the struct
            word := sload(add(r.slot, 1))
        }
    }

    function store(BookWord word, Round storage r) internal {
        assembly ("memory-safe") {
            // the second slot of the struct
            sstore(add(r.slot, 1), word)
        }
    }

    /// @notice The word of a round that opens.
    function opened(uint16 expected, uint16 validators, uint16 slots, uint32 size)
        internal
        pure
        returns (BookWord)
    {
        return BookWord.wrap(
            uint256(RoundStatus.Open) | (uint256(expected) << 8) | (uint256(validators) << 104)
                | (uint256(slots) << 120) | (uint256(size) << 136)
        );
    }

    function status(BookWord word) internal pure returns (RoundStatus) {
        return RoundStatus(uint8(BookWord.unwrap(word)));
    }

    function expectedValidatorMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 8);
    }

    function weightCommitMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 24);
    }

    function weightRevealMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 40);
    }

    function attestMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 56);
    }

    function signerMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 72);
    }

    function validatorMask(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 104);
    }

    function trainerSlots(BookWord word) internal pure returns (uint16) {
        return uint16(BookWord.unwrap(word) >> 120);
    }

    function registrySize(BookWord word) internal pure returns (uint32) {
        return uint32(BookWord.unwrap(word) >> 136);
    }

    function finalAt(BookWord word) internal pure returns (uint256) {
        return uint40(BookWord.unwrap(word) >> 168);
    }

    function previousPaid(BookWord word) internal pure returns (uint24) {
        return uint24(BookWord.unwrap(word) >> 208);
    }

    function attempt(BookWord word) internal pure returns (uint8) {
        return uint8(BookWord.unwrap(word) >> 232);
    }

    /// @notice With a bit of `weightCommitMask` set.
    function withWeightCommit(BookWord word, uint16 bit) internal pure returns (BookWord) {
        return BookWord.wrap(BookWord.unwrap(word) | (uint256(bit) << 24));
    }

    /// @notice With a bit of `weightRevealMask` set.
    function withWeightReveal(BookWord word, uint16 bit) internal pure returns (BookWord) {
        return BookWord.wrap(BookWord.unwrap(word) | (uint256(bit) << 40));
    }

    /// @notice Settled; nobody has signed the next attempt, and no leaf is demanded.
    function settled(BookWord word, uint16 signers, uint256 finalAt_, uint256 previous, uint256 attempt_)
        internal
        pure
        returns (BookWord)
    {
        return BookWord.wrap(
            (BookWord.unwrap(word) & ~OF_SETTLEMENT) | uint256(RoundStatus.Settled) | (uint256(signers) << 72)
                | (uint256(uint40(finalAt_)) << 168) | (previous << 208) | (attempt_ << 232)
        );
    }
}

/// @title MemberWords
/// @notice Fields of a `MemberWord`.
library MemberWords {
    /// @dev What a commit writes: commitment and committedIn.
    uint256 private constant COMMITTED = (1 << 168) - 1;

    function load(Member storage m) internal view returns (MemberWord word) {
        assembly ("memory-safe") {
            // the only slot of the struct
            word := sload(m.slot)
        }
    }

    function store(MemberWord word, Member storage m) internal {
        assembly ("memory-safe") {
            // the only slot of the struct
            sstore(m.slot, word)
        }
    }

    function commitment(MemberWord word) internal pure returns (bytes18) {
        return bytes18(uint144(MemberWord.unwrap(word)));
    }

    /// @notice Whether the member's last commit was in this round.
    function hasCommitted(MemberWord word, uint256 round) internal pure returns (bool) {
        unchecked {
            return uint24(MemberWord.unwrap(word) >> 144) == round + 1;
        }
    }

    /// @notice Whether the trainer is waited for in this round.
    function isExpected(MemberWord word, uint256 round) internal pure returns (bool) {
        unchecked {
            return uint24(MemberWord.unwrap(word) >> 168) == round + 1;
        }
    }

    /// @notice Whether the member takes part in the round.
    function isActive(MemberWord word, uint256 round) internal pure returns (bool) {
        uint256 w = MemberWord.unwrap(word);
        return uint24(w >> 192) <= round && round < uint24(w >> 216);
    }

    function slot(MemberWord word) internal pure returns (uint16) {
        return uint8(MemberWord.unwrap(word) >> 240);
    }

    function role(MemberWord word) internal pure returns (uint8) {
        return uint8(MemberWord.unwrap(word) >> 248);
    }

    /// @notice With a commitment of the round.
    function withCommitment(MemberWord word, bytes32 commitment_, uint256 round)
        internal
        pure
        returns (MemberWord)
    {
        unchecked {
            return MemberWord.wrap(
                (MemberWord.unwrap(word) & ~COMMITTED) | ((round + 1) << 144) | (uint256(commitment_) >> 112)
            );
        }
    }

    /// @notice With no commitment that waits to be opened.
    function withoutCommitment(MemberWord word) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) & ~uint256(type(uint144).max));
    }

    /// @notice Expected in the round.
    function withExpectedIn(MemberWord word, uint256 round) internal pure returns (MemberWord) {
        unchecked {
            return MemberWord.wrap(
                (MemberWord.unwrap(word) & ~(uint256(type(uint24).max) << 168)) | ((round + 1) << 168)
            );
        }
    }
}

/// @title StateWords
/// @notice Fields of a `StateWord`.
library StateWords {
    uint256 private constant ROUND = type(uint24).max;

    function load(RunState storage s) internal view returns (StateWord word) {
        assembly ("memory-safe") {
            // the only slot of the struct
            word := sload(s.slot)
        }
    }

    function store(StateWord word, RunState storage s) internal {
        assembly ("memory-safe") {
            // the only slot of the struct
            sstore(s.slot, word)
        }
    }

    function round(StateWord word) internal pure returns (uint32) {
        return uint24(StateWord.unwrap(word));
    }

    function paidPlusOne(StateWord word) internal pure returns (uint32) {
        return uint24(StateWord.unwrap(word) >> 24);
    }

    function settledPlusOne(StateWord word) internal pure returns (uint32) {
        return uint24(StateWord.unwrap(word) >> 48);
    }

    function historyRounds(StateWord word) internal pure returns (uint32) {
        return uint24(StateWord.unwrap(word) >> 72);
    }

    function registrySize(StateWord word) internal pure returns (uint32) {
        return uint32(StateWord.unwrap(word) >> 96);
    }

    function trainerSlots(StateWord word) internal pure returns (uint16) {
        return uint16(StateWord.unwrap(word) >> 128);
    }

    function holdFrom(StateWord word) internal pure returns (uint32) {
        return uint24(StateWord.unwrap(word) >> 144);
    }

    function holdUntil(StateWord word) internal pure returns (uint256) {
        return uint32(StateWord.unwrap(word) >> 168);
    }

    function finishedAt(StateWord word) internal pure returns (uint256) {
        return uint40(StateWord.unwrap(word) >> 200);
    }

    function closed(StateWord word) internal pure returns (bool) {
        return StateWord.unwrap(word) >> 248 != 0;
    }

    /// @notice With another open round.
    function withRound(StateWord word, uint32 round_) internal pure returns (StateWord) {
        return StateWord.wrap((StateWord.unwrap(word) & ~ROUND) | round_);
    }

    /// @notice With another head of the pay chain.
    function withPaid(StateWord word, uint32 plusOne) internal pure returns (StateWord) {
        return StateWord.wrap((StateWord.unwrap(word) & ~(ROUND << 24)) | (uint256(plusOne) << 24));
    }

    /// @notice With another round that settled last.
    function withSettled(StateWord word, uint32 plusOne) internal pure returns (StateWord) {
        return StateWord.wrap((StateWord.unwrap(word) & ~(ROUND << 48)) | (uint256(plusOne) << 48));
    }

    /// @notice Finished now.
    function withFinish(StateWord word) internal view returns (StateWord) {
        uint256 rest = StateWord.unwrap(word) & ~(uint256(type(uint40).max) << 200);
        return StateWord.wrap(rest | (uint256(uint40(block.timestamp)) << 200));
    }
}
