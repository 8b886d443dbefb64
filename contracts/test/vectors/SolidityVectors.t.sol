// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Entry, Leaf, ReputationParams, Role} from "../../src/types/Types.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {HonestSettlement} from "../utils/HonestSettlement.sol";
import {Tree} from "../utils/Tree.sol";

/// @dev The other way round: random rounds settled by the Solidity oracle, for the Python package to settle again
/// (tests/unit/protocol/test_solidity_vectors.py). With `VECTORS_WRITE=true` the file is written, else compared.
contract SolidityVectorsTest is BaseTest {
    string private constant FILE = "../tests/vectors/solidity/settlements.json";
    uint256 private constant CASES = 12;

    uint256 private drawn;

    function test_TheFileIsUpToDate() public {
        string memory text = "[";
        for (uint256 i = 0; i < CASES; i++) {
            text = string.concat(text, i == 0 ? "\n" : ",\n", caseText(i));
        }
        text = string.concat(text, "\n]\n");
        if (vm.envOr("VECTORS_WRITE", false)) vm.writeFile(FILE, text);
        assertEq(vm.readFile(FILE), text, "run with VECTORS_WRITE=true, and review the difference");
    }

    function caseText(uint256 i) private returns (string memory) {
        HonestSettlement.World memory w = world(i);
        (Leaf[] memory leaves, HonestSettlement.Totals memory totals) = HonestSettlement.settle(w);
        bytes32[][] memory levels = Tree.build(leaves);
        return string.concat(
            '{"world": "',
            vm.toString(abi.encode(w)),
            '",\n"leaves": "',
            vm.toString(abi.encode(leaves)),
            '",\n"root": "',
            vm.toString(Tree.root(levels)),
            '",\n"proof": "',
            vm.toString(abi.encode(Tree.proof(levels, leaves.length / 2))),
            '",\n"totalWeight": "',
            vm.toString(totals.weight),
            '", "totalAmountWei": "',
            vm.toString(totals.amountWei),
            '"}'
        );
    }

    /* RANDOM ROUNDS */

    /// @dev A number below `limit`, the same in each run.
    function pick(uint256 limit) private returns (uint256) {
        return uint256(keccak256(abi.encode("solidity vectors", drawn++))) % limit;
    }

    function world(uint256 i) private returns (HonestSettlement.World memory w) {
        drawn = 1000 * i;
        w.round = 5;
        w.budgetWei = uint128(pick(1e24));
        w.validatorShareBps = uint16(pick(10_001));
        w.reputation = ReputationParams({
            continuePpb: uint32(pick(1e9 + 1)),
            neckThresholdPpb: uint32(pick(1e9 + 1)),
            connectivityDecayPpb: uint32(pick(1e9 + 1)),
            epochWeightPpb: uint32(pick(1e9 + 1)),
            keepPpb: uint32(pick(1e9 + 1)),
            neckMinValidators: uint16(pick(4))
        });
        uint256 slots = fillEntries(w, 1 + pick(14));
        fillVectors(w, slots);
        w.previous = new Leaf[](pick(w.entries.length + 1));
        for (uint256 k = 0; k < w.previous.length; k++) {
            w.previous[k].index = uint32(k);
            w.previous[k].account = w.entries[k].account;
            w.previous[k].cumulativeAmountWei = uint128(pick(1e24));
            w.previous[k].detail.reputation = uint64(pick(1e9 + 1));
        }
    }

    /// @dev Members that are active have slots of their own; those that left have any. Returns the trainer slots.
    function fillEntries(HonestSettlement.World memory w, uint256 count) private returns (uint256 slots) {
        w.entries = new Entry[](count);
        uint256[3] memory next;
        for (uint256 k = 0; k < count; k++) {
            Entry memory e = w.entries[k];
            uint256 role = 1 + pick(2);
            bool active = pick(4) > 0;
            (e.account, e.operator) = (address(uint160(pick(1 << 160))), address(uint160(pick(1 << 160))));
            e.role = Role(role);
            e.slot = uint16(active ? next[role]++ : pick(8));
            e.index = uint32(k);
            e.activeFrom = uint32(pick(6));
            e.activeUntil = active ? type(uint32).max : uint32(pick(6));
            if (role == 1) {
                if (e.slot >= slots) slots = uint256(e.slot) + 1;
            } else if (active) {
                w.seats[e.slot] = uint32(k);
                w.stakes[e.slot] = pick(5) == 0 ? 0 : uint16(pick(65_536));
            }
        }
    }

    /// @dev Most give what others give, so that there are quorums and medians worth the name.
    function fillVectors(HonestSettlement.World memory w, uint256 slots) private {
        uint16[] memory usual = new uint16[](2 + slots);
        for (uint256 lane = 0; lane < usual.length; lane++) {
            usual[lane] = code();
        }
        w.vectors = new uint16[][](16);
        for (uint256 v = 0; v < 16; v++) {
            w.revealed[v] = w.stakes[v] > 0 && pick(5) > 0;
            w.vectors[v] = new uint16[](w.revealed[v] ? usual.length : 0);
            for (uint256 lane = 0; lane < w.vectors[v].length; lane++) {
                w.vectors[v][lane] = pick(4) > 0 ? usual[lane] : code();
            }
        }
    }

    function code() private returns (uint16) {
        uint256 kind = pick(6);
        return uint16(kind == 0 ? 0xFFFF : kind == 1 ? pick(3) : pick(65_535));
    }
}
