// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Leaf, ReputationParams, Role} from "../../src/types/Types.sol";

/// @dev The settlement that follows from a round, written from the rules and apart from `src`: an oracle.
library HonestSettlement {
    uint16 internal constant ABSTAIN = 0xFFFF;

    /// @dev Everything that a settlement depends on.
    struct World {
        uint32 round;
        Entry[] entries; // of the round's registry, in index order
        uint16[16] stakes; // voting weights of the epoch
        uint32[16] seats; // registry indices of the epoch
        bool[16] revealed;
        uint16[][] vectors; // by validator slot: base loss, health, then one lane a trainer slot
        uint128 budgetWei;
        uint16 validatorShareBps;
        ReputationParams reputation;
        Leaf[] previous; // leaves of the header before
    }

    /// @dev What the tree of a header says beside its root.
    struct Totals {
        uint64 weight;
        uint128 amountWei;
    }

    function settle(World memory w) internal pure returns (Leaf[] memory leaves, Totals memory totals) {
        leaves = new Leaf[](w.entries.length);
        for (uint256 i = 0; i < leaves.length; i++) {
            leaves[i].index = uint32(i);
            leaves[i].account = w.entries[i].account;
            leaves[i].detail.row = packed(rowOf(w, w.entries[i]));
            if (w.entries[i].role == Role.Trainer) {
                leaves[i].detail.weight = consensus(w, rowOf(w, w.entries[i]));
                if (leaves[i].detail.weight > 1) totals.weight += leaves[i].detail.weight;
            }
        }
        for (uint256 i = 0; i < leaves.length; i++) {
            if (w.entries[i].role == Role.Validator) leaves[i].detail.weight = firstMissed(w, w.entries[i]);
        }
        uint64 weightBefore;
        for (uint256 i = 0; i < leaves.length; i++) {
            fill(w, leaves[i], totals.weight);
            leaves[i].detail.weightBefore = weightBefore;
            leaves[i].detail.amountBeforeWei = totals.amountWei;
            bool paid = w.entries[i].role == Role.Trainer && leaves[i].detail.weight > 1;
            if (paid) weightBefore += leaves[i].detail.weight;
            totals.amountWei += leaves[i].cumulativeAmountWei;
        }
    }

    /// @dev Amount and reputation, on top of what the member had.
    function fill(World memory w, Leaf memory leaf, uint256 totalWeight) internal pure {
        Entry memory e = w.entries[leaf.index];
        uint256 amountWei;
        uint256 before;
        if (leaf.index < w.previous.length) {
            amountWei = w.previous[leaf.index].cumulativeAmountWei;
            before = w.previous[leaf.index].detail.reputation;
        }
        bool isTrainer = e.role == Role.Trainer;
        amountWei += isTrainer ? trainerPay(w, leaf, totalWeight) : validatorPay(w, e, leaf, totalWeight);
        uint256 visits = isTrainer ? trainerVisits(w, e, leaf, totalWeight) : validatorVisits(w, e);
        leaf.cumulativeAmountWei = uint128(amountWei);
        uint256 new_ = w.reputation.epochWeightPpb;
        leaf.detail.reputation = uint64((before * (1e9 - new_) + visits * new_) / 1e9);
    }

    /* ROWS AND WEIGHTS */

    function isSeated(World memory w, Entry memory e) internal pure returns (bool) {
        return e.role == Role.Validator && w.stakes[e.slot] > 0 && w.seats[e.slot] == e.index;
    }

    function rowOf(World memory w, Entry memory e) internal pure returns (uint16[16] memory row) {
        bool here =
            e.role == Role.Trainer ? e.activeFrom <= w.round && w.round < e.activeUntil : isSeated(w, e);
        uint256 lane = e.role == Role.Trainer ? 2 + uint256(e.slot) : 0;
        for (uint256 v = 0; v < 16; v++) {
            row[v] = here && w.revealed[v] && w.stakes[v] > 0 ? w.vectors[v][lane] : ABSTAIN;
        }
    }

    function stakeOf(World memory w, uint16[16] memory row)
        internal
        pure
        returns (uint256 voting, uint256 all)
    {
        for (uint256 v = 0; v < 16; v++) {
            all += w.stakes[v];
            if (row[v] != ABSTAIN) voting += w.stakes[v];
        }
    }

    function consensus(World memory w, uint16[16] memory row) internal pure returns (uint64) {
        return decided(w, row) ? value(median(w, row)) : 0;
    }

    function decided(World memory w, uint16[16] memory row) internal pure returns (bool) {
        (uint256 voting, uint256 all) = stakeOf(w, row);
        return voting > 0 && 3 * voting >= 2 * all;
    }

    /// @dev By sorting: the first code, in order, up to which half of the voting stake lies.
    function median(World memory w, uint16[16] memory row) internal pure returns (uint16) {
        uint256[16] memory sorted;
        for (uint256 v = 0; v < 16; v++) {
            sorted[v] = (uint256(row[v]) << 16) | (row[v] == ABSTAIN ? 0 : w.stakes[v]);
        }
        for (uint256 i = 1; i < 16; i++) {
            for (uint256 k = i; k > 0 && sorted[k - 1] > sorted[k]; k--) {
                (sorted[k - 1], sorted[k]) = (sorted[k], sorted[k - 1]);
            }
        }
        (uint256 voting,) = stakeOf(w, row);
        uint256 seen;
        for (uint256 i = 0; i < 16; i++) {
            seen += sorted[i] & 0xFFFF;
            if (sorted[i] & 0xFFFF != 0 && 2 * seen >= voting) return uint16(sorted[i] >> 16);
        }
        revert("no stake");
    }

    function value(uint16 code) internal pure returns (uint64) {
        uint256 exponent = code / 2048;
        uint256 mantissa = code % 2048;
        return uint64(exponent == 0 ? mantissa : (2048 + mantissa) * 2 ** (exponent - 1));
    }

    /// @dev One more than the index of the first trainer that was decided on without this validator; 0 if
    /// none.
    function firstMissed(World memory w, Entry memory validator) internal pure returns (uint64) {
        for (uint256 i = 0; i < w.entries.length; i++) {
            if (w.entries[i].role != Role.Trainer) continue;
            uint16[16] memory row = rowOf(w, w.entries[i]);
            if (!decided(w, row)) continue;
            if (!isSeated(w, validator) || row[validator.slot] == ABSTAIN) return uint64(i + 1);
        }
        return 0;
    }

    /* PAY AND REPUTATION */

    function trainerPay(World memory w, Leaf memory leaf, uint256 totalWeight)
        internal
        pure
        returns (uint256)
    {
        if (leaf.detail.weight < 2) return 0;
        uint256 pot = uint256(w.budgetWei) * (10_000 - w.validatorShareBps) / 10_000;
        return pot * leaf.detail.weight / totalWeight;
    }

    function validatorPay(World memory w, Entry memory e, Leaf memory leaf, uint256 totalWeight)
        internal
        pure
        returns (uint256)
    {
        if (totalWeight == 0 || !isSeated(w, e) || leaf.detail.weight != 0) return 0;
        uint16[16] memory row = rowOf(w, e);
        if (row[e.slot] == ABSTAIN) return 0;
        int256 base = int256(uint256(value(median(w, row))));
        int256 off = int256(uint256(value(row[e.slot]))) - base;
        if ((off < 0 ? -off : off) > base / 1024 + 1) return 0;
        (, uint256 all) = stakeOf(w, row);
        uint256 pot = uint256(w.budgetWei) * w.validatorShareBps / 10_000;
        return pot * w.stakes[e.slot] / all;
    }

    function trainerVisits(World memory w, Entry memory e, Leaf memory leaf, uint256 totalWeight)
        internal
        pure
        returns (uint256 visits)
    {
        uint16[16] memory row = rowOf(w, e);
        uint256 flow;
        uint256 most;
        uint256 staked;
        for (uint256 v = 0; v < 16; v++) {
            if (w.stakes[v] > 0) staked++;
            if (row[v] == ABSTAIN) continue;
            uint256 given = value(row[v]);
            if (given > leaf.detail.weight) given = leaf.detail.weight;
            if (given == 1) given = 0;
            given *= w.stakes[v];
            flow += given;
            if (given > most) most = given;
        }
        if (flow == 0 || totalWeight == 0) return 0;
        (uint256 voting,) = stakeOf(w, row);
        ReputationParams memory p = w.reputation;
        visits = uint256(p.continuePpb) ** 2 * flow / (1e9 * voting * totalWeight);
        if (most * 1e9 >= p.neckThresholdPpb * flow && staked >= p.neckMinValidators) {
            visits = visits * (1e9 - p.connectivityDecayPpb) / 1e9;
        }
    }

    function validatorVisits(World memory w, Entry memory e) internal pure returns (uint256) {
        uint16[16] memory row = rowOf(w, e);
        if (!isSeated(w, e) || row[e.slot] == ABSTAIN) return 0;
        (, uint256 all) = stakeOf(w, row);
        return uint256(w.reputation.continuePpb) * w.stakes[e.slot] / all;
    }

    /* PACKING */

    function packed(uint16[16] memory lanes) internal pure returns (bytes32) {
        uint256 word;
        for (uint256 v = 16; v > 0; v--) {
            word = (word << 16) | lanes[v - 1];
        }
        return bytes32(word);
    }

    function vectorBytes(uint16[] memory codes) internal pure returns (bytes memory out) {
        for (uint256 i = 0; i < codes.length; i++) {
            out = bytes.concat(out, bytes2(codes[i]));
        }
    }
}
