// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ReputationParams} from "../types/Types.sol";

/// @title SeedGraph
/// @notice MeritRank on the graph seed -> validators -> trainers, one leaf at a time, in 1e-9.
/// @dev Python twin: `emerit.protocol.reputation`, which explains the graph. Divisions round down.
library SeedGraph {
    uint256 internal constant ONE_PPB = 1e9;

    /// @notice A trainer's visits in a round, from its row and consensus weight.
    function trainerVisits(
        bytes32 row,
        bytes32 stakes,
        uint256 weight,
        uint256 totalWeight,
        ReputationParams memory p
    ) internal pure returns (uint256 visits) {
        (uint256 flow, uint256 mostFlow, uint256 voting, uint256 staked) = _flows(row, stakes, weight);
        if (flow == 0 || totalWeight == 0) return 0;

        visits = uint256(p.continuePpb) * p.continuePpb * flow / (ONE_PPB * voting * totalWeight);
        bool throughOne = mostFlow * ONE_PPB >= p.neckThresholdPpb * flow;
        if (throughOne && staked >= p.neckMinValidators) {
            visits = visits * (ONE_PPB - p.connectivityDecayPpb) / ONE_PPB;
        }
    }

    /// @notice A validator's visits in a round: its share of the stake if it revealed its weights.
    function validatorVisits(uint256 stake, uint256 totalStake, bool revealed, ReputationParams memory p)
        internal
        pure
        returns (uint256)
    {
        return revealed && totalStake > 0 ? p.continuePpb * stake / totalStake : 0;
    }

    /// @notice The running average after a round.
    function next(uint256 old, uint256 visits, ReputationParams memory p) internal pure returns (uint256) {
        return (old * (ONE_PPB - p.epochWeightPpb) + visits * p.epochWeightPpb) / ONE_PPB;
    }

    /// @dev What each validator passes on is the payable part of the smaller of its weight and the consensus,
    /// by stake. With a stake below 2^16 and a weight below 2^64, no sum here passes 2^84.
    function _flows(bytes32 row, bytes32 stakes, uint256 weight)
        private
        pure
        returns (uint256 flow, uint256 mostFlow, uint256 voting, uint256 staked)
    {
        assembly ("memory-safe") {
            // from the lowest lane up to the last that has stake
            for {} stakes {} {
                let stake := and(stakes, 0xffff)
                let code := and(row, 0xffff)
                // the next lane
                stakes := shr(16, stakes)
                row := shr(16, row)
                // one more with stake
                staked := add(staked, gt(stake, 0))
                // one that abstained is not in this graph
                if eq(code, 0xffff) { continue }
                voting := add(voting, stake)
                // what it gave: see `Minifloat`
                let part := and(code, 0x7ff)
                if gt(code, 0x7ff) { part := shl(sub(shr(11, code), 1), add(part, 0x800)) }
                // no more than the consensus
                if gt(part, weight) { part := weight }
                // 1 is not payable
                part := mul(mul(part, gt(part, 1)), stake)
                flow := add(flow, part)
                if gt(part, mostFlow) { mostFlow := part }
            }
        }
    }
}
