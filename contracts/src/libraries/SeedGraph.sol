// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {ReputationParams} from "../types/Types.sol";
import {Lanes} from "./Lanes.sol";
import {Minifloat} from "./Minifloat.sol";

/// @title SeedGraph
/// @notice MeritRank on the graph seed -> validators -> trainers, one leaf at a time, in 1e-9.
/// @dev Python twin: `emerit.protocol.reputation`, which explains the graph. Divisions round down.
library SeedGraph {
    using Lanes for bytes32;

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
            // The factory takes no connectivity decay above one; a run without it is not a run of ours.
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

    /// @dev What each validator passes on is the payable part of the smaller of its weight and the consensus, by stake.
    /// Unchecked: with a stake below 2^16 and a weight below 2^64, no sum here passes 2^84.
    function _flows(bytes32 row, bytes32 stakes, uint256 weight)
        private
        pure
        returns (uint256 flow, uint256 mostFlow, uint256 voting, uint256 staked)
    {
        unchecked {
            uint256 lanes = uint256(row);
            for (uint256 rest = uint256(stakes); rest != 0; rest >>= 16) {
                uint256 stake = rest & 0xFFFF;
                uint256 code = lanes & 0xFFFF;
                lanes >>= 16;
                if (stake == 0) continue;
                staked++;
                if (code == Minifloat.ABSTAIN) continue;
                voting += stake;
                uint256 part = Minifloat.decode(uint16(code));
                if (part > weight) part = weight;
                if (part < 2) continue;
                part *= stake;
                flow += part;
                if (part > mostFlow) mostFlow = part;
            }
        }
    }
}
