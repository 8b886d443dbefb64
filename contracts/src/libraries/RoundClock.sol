// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Round} from "../types/Storage.sol";
import {Phase, RoundStatus, RunParams} from "../types/Types.sol";

/// @title RoundClock
/// @notice When each phase of a round ends, from the clock settings, the counters and the times of the last acts.
/// @dev A phase ends at its deadline, or when all who can act have acted. Each phase begins at the time the one
/// before ended, in the same block too. Once a phase has ended its end time no longer changes, because the acts
/// that it depends on are only possible within it.
library RoundClock {
    /// @notice Last time at which a trainer may commit.
    function trainEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        bool all = r.expected > 0 && r.expectedCommits == r.expected;
        return all ? r.lastCommitAt : uint64(r.openedAt) + p.trainSeconds;
    }

    /// @notice End of the reveals of contributions.
    function revealEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        if (r.commits == 0) return trainEndsAt(r, p);
        return r.reveals == r.commits ? r.lastRevealAt : trainEndsAt(r, p) + p.revealSeconds;
    }

    /// @notice First time at which the evaluation seed may be drawn.
    function drawableAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        return revealEndsAt(r, p) + p.drawDelaySeconds + 1;
    }

    /// @notice End of the commits to weights; 0 before the draw.
    function scoreEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        if (r.drawnAt == 0) return 0;
        uint16 waitFor = r.expectedValidatorMask;
        bool all = waitFor != 0 && waitFor & ~r.weightCommitMask == 0;
        return all ? r.lastWeightCommitAt : uint64(r.drawnAt) + p.scoreSeconds;
    }

    /// @notice End of the reveals of weights; 0 before the draw.
    function weightRevealEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        if (r.drawnAt == 0) return 0;
        if (r.weightCommitMask == 0) return scoreEndsAt(r, p);
        return r.weightRevealMask == r.weightCommitMask
            ? r.lastWeightRevealAt
            : scoreEndsAt(r, p) + p.weightRevealSeconds;
    }

    /// @notice First time at which the round may settle, by its minimum length.
    function settleableAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        return uint64(r.openedAt) + p.minRoundSeconds;
    }

    /// @notice End of the settling; 0 before the draw.
    /// @dev Counted from the end of the minimum length where that comes later: a round whose members were all
    /// quick could otherwise never settle.
    function settleEndsAt(Round storage r, RunParams storage p) internal view returns (uint64) {
        if (r.drawnAt == 0) return 0;
        uint64 from = weightRevealEndsAt(r, p);
        uint64 least = settleableAt(r, p);
        return (from > least ? from : least) + p.settleSeconds;
    }

    /// @notice The phase of an open round now, and when it ends.
    function phase(Round storage r, RunParams storage p) internal view returns (Phase, uint64 endsAt) {
        endsAt = trainEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.Train, endsAt);
        endsAt = revealEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.Reveal, endsAt);
        if (r.drawnAt == 0) return (Phase.Draw, drawableAt(r, p));
        endsAt = scoreEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.Score, endsAt);
        endsAt = weightRevealEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.WeightReveal, endsAt);
        endsAt = settleEndsAt(r, p);
        if (block.timestamp < endsAt) return (Phase.Settle, endsAt);
        return (Phase.Expired, 0);
    }

    /// @notice What the round may pay: for its length up to the nominal one, and no more than the pool held when
    /// it opened. 0 before the draw.
    function budgetWei(Round storage r, RunParams storage p) internal view returns (uint128) {
        if (r.drawnAt == 0) return 0;
        uint256 elapsed = weightRevealEndsAt(r, p) - r.openedAt;
        if (elapsed > p.nominalRoundSeconds) elapsed = p.nominalRoundSeconds;
        uint256 earned = elapsed * p.rewardRateWeiPerSecond;
        return earned < r.poolAtOpenWei ? uint128(earned) : r.poolAtOpenWei;
    }
}
