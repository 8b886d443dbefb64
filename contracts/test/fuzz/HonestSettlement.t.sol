// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IDisputesBase, IHeaderDisputes} from "../../src/interfaces/IRunDisputes.sol";
import {PreviousLeaf} from "../../src/types/Types.sol";
import {DisputesFixture} from "../utils/DisputesFixture.sol";

/// @dev An honest settlement, made by the oracle, survives every challenge: with its own data and with junk.
contract HonestSettlementTest is DisputesFixture {
    function testFuzz_SurvivesItsOwnData(uint256 seed, uint8 a, uint8 b, uint8 slot) public {
        makeWorld(seed);
        settleHonestly();
        bytes[] memory calls = challenges(a % 12, b % 12, slot % 16);
        for (uint256 i = 0; i < calls.length; i++) {
            (bool done, bytes memory answer) = address(run).call(calls[i]);
            assertFalse(done);
            bytes4 why = bytes4(answer);
            bool expected = why == IDisputesBase.NothingWrong.selector
                || why == IDisputesBase.WrongLeafRole.selector || why == IDisputesBase.NotNeighbours.selector
                || why == IDisputesBase.NotTheEnd.selector || why == IDisputesBase.WrongWitness.selector;
            assertTrue(expected);
        }
        assertFalse(voided());
    }

    /// @dev One word of honest calldata is another: a leaf, a proof's node, a length, an offset.
    function testFuzz_SurvivesJunk(uint256 seed, uint8 kind, uint16 place, uint256 word, uint8 a, uint8 b)
        public
    {
        makeWorld(seed % 8);
        settleHonestly();
        bytes[] memory calls = challenges(a % 12, b % 12, b % 16);
        bytes memory data = calls[kind % calls.length];
        // Often small numbers, which offsets and lengths are, and one bit of what was there.
        uint256 at_ = 4 + 32 * (uint256(place) % ((data.length - 4) / 32));
        if (place % 3 == 0) word = word % 2_000;
        assembly ("memory-safe") {
            let slot := add(add(data, 0x20), at_)
            if eq(mod(place, 5), 1) { word := xor(mload(slot), shl(mod(word, 256), 1)) }
            mstore(slot, word)
        }
        (bool done,) = address(run).call(data);
        assertFalse(done && voided());
    }

    /// @dev Proofs of every length but the right one.
    function testFuzz_SurvivesProofsOfOtherLengths(uint8 length, uint8 index, bytes32 filler) public {
        makeWorld(3);
        settleHonestly();
        index = index % 12;
        length = length % 40;
        vm.assume(length != 4);
        bytes32[] memory right = proofOf(index);
        bytes32[] memory proof = new bytes32[](length);
        for (uint256 i = 0; i < length; i++) {
            proof[i] = i < 4 ? right[i] : filler;
        }
        expectError(abi.encodeWithSelector(IDisputesBase.LeafNotInTree.selector, ROUND, index));
        run.challengeIdentity(opened(), leaves[index], proof);
    }

    /// @dev Every challenge of a leaf, or of two, in the honest settlement.
    function challenges(uint256 a, uint256 b, uint16 slot) private returns (bytes[] memory calls) {
        calls = new bytes[](9);
        bytes32[] memory proof = proofOf(a);
        bytes memory shown = world.revealed[slot] ? vector(slot) : bytes("");
        calls[0] = abi.encodeCall(IHeaderDisputes.challengeRow, (opened(), leaves[a], proof, slot, shown));
        calls[1] = abi.encodeCall(IHeaderDisputes.challengeWeight, (opened(), leaves[a], proof));
        calls[2] = abi.encodeCall(
            IHeaderDisputes.challengeCoverage, (opened(), leaves[a], proof, leaves[b], proofOf(b))
        );
        PreviousLeaf memory previous = previousOf(a);
        calls[3] = abi.encodeCall(IHeaderDisputes.challengeAmount, (header(), leaves[a], proof, previous));
        calls[4] = abi.encodeCall(IHeaderDisputes.challengeReputation, (header(), leaves[a], proof, previous));
        uint256 next = a < 11 ? a + 1 : 0;
        calls[5] = abi.encodeCall(
            IHeaderDisputes.challengeSum, (opened(), leaves[a], proof, leaves[next], proofOf(next))
        );
        calls[6] = abi.encodeCall(IHeaderDisputes.challengeFirstSum, (opened(), leaves[a], proof));
        calls[7] = abi.encodeCall(IHeaderDisputes.challengeLastSum, (opened(), leaves[a], proof));
        calls[8] = abi.encodeCall(IHeaderDisputes.challengeIdentity, (opened(), leaves[a], proof));
    }
}
