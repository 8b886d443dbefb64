// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {IRunActs, IRunLife} from "../../src/interfaces/IRunCore.sol";
import {IHeaderDisputes, IPenalties} from "../../src/interfaces/IRunDisputes.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev A run's code is in four contracts, each of which passes on what it does not know: TrainingRun -> Settlement ->
/// Disputes -> Penalties. No function may be in two of them, and nobody can use the last three as if they were runs.
contract PartsTest is RunFixture {
    address[4] private parts;
    bytes4[][4] private selectors;

    function setUp() public override {
        super.setUp();
        parts = [address(run), run.core(), run.disputes(), run.penalties()];
        for (uint256 p = 0; p < 4; p++) {
            selectors[p] = dispatched(parts[p].code);
        }
    }

    /// @dev The selectors that a contract's code compares with, as the compiler writes its dispatch:
    /// DUP1 PUSH4 selector EQ PUSH2 target JUMPI.
    function dispatched(bytes memory code) private pure returns (bytes4[] memory found) {
        found = new bytes4[](256);
        uint256 count;
        for (uint256 i = 0; i + 10 < code.length; i++) {
            if (code[i] != 0x80 || code[i + 1] != 0x63 || code[i + 6] != 0x14) continue;
            if (code[i + 7] != 0x61 || code[i + 10] != 0x57) continue;
            bytes4 selector;
            assembly ("memory-safe") {
                selector := mload(add(add(code, 0x22), i))
            }
            found[count++] = bytes4(selector);
        }
        assembly ("memory-safe") {
            mstore(found, count)
        }
    }

    function has(uint256 part, bytes4 selector) private view returns (bool) {
        for (uint256 i = 0; i < selectors[part].length; i++) {
            if (selectors[part][i] == selector) return true;
        }
        return false;
    }

    function test_TheDispatchIsRead() public view {
        assertTrue(has(0, IRunActs.commit.selector) && has(0, IRunActs.revealWeights.selector), "run");
        assertTrue(has(1, IRunLife.settleSigned.selector) && has(1, IRunLife.noteFunds.selector), "core");
        assertTrue(has(2, IHeaderDisputes.challengeSum.selector), "disputes");
        assertTrue(has(2, IHeaderDisputes.demand.selector), "disputes");
        assertTrue(has(3, IPenalties.punish.selector) && has(3, IPenalties.status.selector), "penalties");
        assertEq(selectors[0].length, 7, "six acts and core()");
        assertGe(selectors[1].length, 25, "life, hooks, light views");
        assertGe(selectors[2].length, 15, "challenges and demands");
        assertGe(selectors[3].length, 15, "penalties and large views");
    }

    function test_NoFunctionIsInTwoParts() public view {
        for (uint256 p = 0; p < 4; p++) {
            for (uint256 i = 0; i < selectors[p].length; i++) {
                for (uint256 q = 0; q < 4; q++) {
                    if (q == p) continue;
                    assertFalse(
                        has(q, selectors[p][i]), string.concat("twice: ", vm.toString(selectors[p][i]))
                    );
                }
            }
        }
    }

    /// @dev Whatever is called at a part itself, with whatever data: it keeps no coins, no stake and no pool moves, and
    /// no run notices.
    function testFuzz_APartCalledDirectlyDoesNoHarm(bytes calldata data, uint256 word, uint96 valueWei)
        public
    {
        startRunCheckedIn();
        bytes32 before = stateOfTheRest();
        for (uint256 p = 1; p < 4; p++) {
            bytes memory code = parts[p].code;
            for (uint256 q = 1; q < 4; q++) {
                for (uint256 i = 0; i < selectors[q].length; i++) {
                    callPart(parts[p], bytes.concat(selectors[q][i], data), valueWei);
                    callPart(parts[p], bytes.concat(selectors[q][i], abi.encode(word, word, word, 0)), 0);
                    callPart(parts[p], bytes.concat(selectors[q][i], new bytes(1_024)), valueWei);
                }
            }
            assertEq(parts[p].balance, 0, "coins");
            assertEq(keccak256(parts[p].code), keccak256(code), "code");
        }
        assertEq(stateOfTheRest(), before, "the run and its money");
    }

    /// @dev Also not as a delegate of the registry or the pool: they only believe `msg.sender`.
    function test_APartCalledDirectlyKeepsNoCoins() public {
        startRunCheckedIn();
        for (uint256 p = 1; p < 4; p++) {
            vm.deal(address(this), 1 ether);
            (bool sent,) = parts[p].call{value: 1 ether}("");
            assertFalse(sent, "plain coins");
            (sent,) = parts[p].call{value: 1 ether}(
                bytes.concat(IHeaderDisputes.demand.selector, new bytes(7 * 32))
            );
            assertFalse(sent, "a demand against nothing");
            assertEq(parts[p].balance, 0, "coins");
        }
    }

    function callPart(address part, bytes memory data, uint256 valueWei) private {
        vm.deal(stranger, valueWei);
        vm.prank(stranger);
        (bool done,) = part.call{value: valueWei}(data);
        // Views answer, `precommit` at Settlement notes a hash in storage that no run reads; the rest reverts.
        done;
    }

    function stateOfTheRest() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                run.status(),
                run.roundInfo(0),
                run.params(),
                token.balanceOf(address(stakes)),
                token.balanceOf(address(rewards)),
                stakes.entries(address(run), 0, 100),
                rewards.held(address(run)),
                address(run).balance
            )
        );
    }
}
