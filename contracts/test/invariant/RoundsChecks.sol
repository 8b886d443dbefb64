// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Status} from "../../src/types/Types.sol";
import {StakesChecks} from "./StakesChecks.sol";

/// @dev Rounds, and the chain of their headers. README.md explains each check.
abstract contract RoundsChecks is StakesChecks {
    function check_phaseIsMonotone() external view {
        assertEq(_phaseFell, 0);
    }

    function check_oneVectorPerValidatorAndRound() external view {
        assertEq(_vectorsChanged, 0);
        Status memory s = run.status();
        assertEq(s.weightRevealMask & ~s.weightCommitMask, 0, "revealed without commitment");
        assertEq(s.weightCommitMask & ~s.validatorMask, 0, "without voting weight");
        assertLe(s.reveals, s.commits, "reveals");
        assertLe(s.expectedCommits, s.expected, "expected");
        for (uint16 v = 0; v < 16; v++) {
            bool revealed = (s.weightRevealMask >> v) & 1 == 1;
            assertEq(run.vectorHash(s.round, v), revealed ? keccak256(_vectors[s.round][v]) : bytes32(0));
        }
    }

    function check_payChainLinksAreConsistent() external view {
        bytes32 before;
        Status memory s = run.status();
        uint256 history = run.params().historyRounds;
        for (uint256 i = 0; i < _chain.length; i++) {
            Note storage n = _notes[_chain[i]];
            assertEq(n.before, before, "previous");
            assertEq(n.round, _settledRounds[i], "order");
            before = _chain[i];
            if (n.round + history <= s.round) continue;
            assertEq(run.headerHash(n.round), before, "stands");
            assertEq(run.roundInfo(n.round).attempt, n.attempt, "attempt");
        }
        assertEq(s.lastHeaderHash, before, "head");
        assertEq(s.hasSettled, _chain.length > 0, "any");
        bool behind = _chain.length < _settledRounds.length;
        assertEq(run.behind(), behind, "behind");
        if (behind) {
            uint32 round = _settledRounds[_chain.length];
            assertEq(s.behindRound, round, "next");
            assertEq(s.behindAttempt, _nextAttempt(round), "next attempt");
        }
        for (uint256 i = _chain.length; i < _settledRounds.length; i++) {
            assertEq(run.headerHash(_settledRounds[i]), 0, "fell");
        }
    }

    function check_finalStaysFinal() external view {
        assertEq(_finalFell, 0, "fell");
        assertEq(_tooEarlyFinal, 0, "before the end of its window");
        assertEq(_tooEarlyForgotten, 0, "forgotten before it was final");
        uint256 longest = 42 * run.params().answerSeconds;
        for (uint256 i = _final.length; i < _chain.length; i++) {
            uint32 round = _notes[_chain[i]].round;
            bool over = block.timestamp >= run.finalAt(round) + longest;
            assertTrue(!over || run.isFinal(round), "not final in time");
        }
    }
}
