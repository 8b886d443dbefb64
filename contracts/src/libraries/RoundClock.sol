// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Round} from "../types/Storage.sol";
import {Phase, RunParams} from "../types/Types.sol";

/// @title RoundClock
/// @notice When each phase of a round ends.
/// @dev A phase ends at its deadline, or when all who can act have acted; the act that ends it moves the stored ends
/// (in `ClockWords`). Each phase begins at the time the one before ended, in the same block too. Once a phase has
/// ended its end time no longer changes, because the acts that it depends on are only possible within it.
///
/// Assumption: the settings' phase lengths sum to at most 2^23 seconds (`Params`), so that offsets fit into 24 bits.
library RoundClock {
    /// @dev A draw later than this counts as made then: what follows it has passed, and the round can only be void.
    uint256 private constant LAST_DRAW = 1 << 23;

    /* ENDS */

    /// @notice Last time at which a trainer may commit, plus one second.
    function trainEndsAt(Round storage r) internal view returns (uint64) {
        return uint64(r.openedAt) + r.trainEnd;
    }

    /// @notice End of the reveals of contributions.
    function revealEndsAt(Round storage r) internal view returns (uint64) {
        return uint64(r.openedAt) + (r.commits == 0 ? r.trainEnd : r.revealEnd);
    }

    /// @notice First time at which the evaluation seed may be drawn.
    function drawableAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        return revealEndsAt(r) + p.drawDelaySeconds + 1;
    }

    /// @notice End of the commits to weights; 0 before the draw.
    function scoreEndsAt(Round storage r) internal view returns (uint64) {
        return r.drawn == 0 ? 0 : uint64(r.openedAt) + r.scoreEnd;
    }

    /// @notice End of the reveals of weights; 0 before the draw.
    function weightRevealEndsAt(Round storage r) internal view returns (uint64) {
        return r.drawn == 0 ? 0 : r.openedAt + uint64(_weightRevealEnd(r));
    }

    /// @notice First time at which the round may settle, by its minimum length.
    function settleableAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        return uint64(r.openedAt) + p.minRoundSeconds;
    }

    /// @notice End of the settling; 0 before the draw.
    /// @dev Counted from the end of the minimum length where that comes later: a round whose members were all
    /// quick could otherwise never settle.
    function settleEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        if (r.drawn == 0) return 0;
        uint64 from = weightRevealEndsAt(r);
        uint64 least = settleableAt(r, p);
        return (from > least ? from : least) + p.settleSeconds;
    }

    /// @notice The phase of an open round now, and when it ends.
    function phase(Round storage r, RunParams storage p) internal view returns (Phase, uint64 endsAt) {
        endsAt = trainEndsAt(r);
        if (block.timestamp < endsAt) return (Phase.Train, endsAt);
        endsAt = revealEndsAt(r);
        if (block.timestamp < endsAt) return (Phase.Reveal, endsAt);
        if (r.drawn == 0) return (Phase.Draw, drawableAt(r, p));
        endsAt = scoreEndsAt(r);
        if (block.timestamp < endsAt) return (Phase.Score, endsAt);
        endsAt = weightRevealEndsAt(r);
        if (block.timestamp < endsAt) return (Phase.WeightReveal, endsAt);
        endsAt = settleEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.Settle, endsAt);
        return (Phase.Expired, 0);
    }

    /* MOVES */

    /// @notice The evaluation seed has been drawn.
    function startScore(Round storage r, RunParams storage p) internal {
        uint256 since = block.timestamp - r.openedAt;
        if (since > LAST_DRAW) since = LAST_DRAW;
        r.drawn = uint24(since);
        r.scoreEnd = uint24(since + p.scoreSeconds);
        r.weightRevealEnd = uint24(since + p.scoreSeconds + p.weightRevealSeconds);
    }

    function _weightRevealEnd(Round storage r) private view returns (uint24) {
        return r.weightCommitMask == 0 ? r.scoreEnd : r.weightRevealEnd;
    }

    /// @notice What the round may earn: for its length up to the nominal one. 0 before the draw.
    function earnedWei(Round storage r, RunParams storage p) internal view returns (uint256) {
        if (r.drawn == 0) return 0;
        uint256 elapsed = _weightRevealEnd(r);
        if (elapsed > p.nominalRoundSeconds) elapsed = p.nominalRoundSeconds;
        return elapsed * p.rewardRateWeiPerSecond;
    }
}
