// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {BaseTest} from "../utils/BaseTest.sol";
import {History} from "./History.sol";

/// @dev Histories told on purpose, by the same handlers, whose own checks are what is tested.
contract HistoryTest is BaseTest {
    uint256 private constant MOST_CALLS = 400;
    uint32 private constant HISTORY_ROUNDS = 24;

    History private history;

    function setUp() external {
        history = History(deployCode("History.sol:History", abi.encode(bytes32("told"))));
        history.setUp();
    }

    /// @dev A header becomes final with a demand still open, and the ring gives its place to another round. The bond goes
    /// back then; the header does not fall.
    function test_DemandsOutliveTheMemoryOfTheirRound() external {
        uint256 seed;
        while (_demands() < 2) {
            history.settle(_next(seed++));
            history.demand(_next(seed++));
        }
        uint32 last = _round() + HISTORY_ROUNDS;
        while (_round() <= last) {
            history.letExpire(_next(seed++));
            history.settle(_next(seed++));
        }
        assertEq(_demands(), 2, "open");

        // A timeout, which must be refused; then the bonds.
        while (history.counted("lateTimeout") == 0) {
            uint256 before = vm.snapshotState();
            history.endDemand(_next(seed++));
            if (_demands() < 2) vm.revertToState(before);
        }
        while (_demands() > 0) history.endDemand(_next(seed++));

        assertEq(history.counted("reclaimed"), 2, "bonds go back");
        history.check_noWeiCreatedOrLost();
        history.check_finalStaysFinal();
    }

    /// @dev A seed for a handler, if the history has not become too long: then it does not get to where it should.
    function _next(uint256 seed) private pure returns (uint256) {
        require(seed < MOST_CALLS, "the history does not get there");
        return seed;
    }

    function _round() private view returns (uint32 round) {
        (round,) = history.progress();
    }

    function _demands() private view returns (uint256 demands) {
        (, demands) = history.progress();
    }
}
