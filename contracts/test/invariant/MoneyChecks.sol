// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Leaf} from "../../src/types/Types.sol";
import {MoneyHandler} from "./MoneyHandler.sol";

/// @dev Where the money is. README.md explains each check.
abstract contract MoneyChecks is MoneyHandler {
    function check_balanceCoversAllClaims() external {
        uint256 heldWei = _fundedWei - _refundedWei;
        uint256 claimedWei = rewards.claimedTotal(address(run));
        assertEq(rewards.held(address(run)), heldWei, "held");
        assertEq(token.balanceOf(address(rewards)), heldWei - claimedWei, "balance");
        if (_final.length == 0) return;
        // Everybody can have what the newest final header promises, unless a wrong header was left to become final.
        bytes32 hash = _final[_final.length - 1];
        bool forgotten = run.headerHash(_notes[hash].round) != hash;
        if (!_notes[hash].clean || forgotten || _refundedWei > 0) return;
        (, Leaf[] memory leaves) = _open(hash);
        uint256 openWei;
        for (uint256 i = 0; i < leaves.length; i++) {
            openWei += leaves[i].cumulativeAmountWei - rewards.claimed(address(run), leaves[i].account);
        }
        if (openWei > 0) assertTrue(_claimEverything(hash), "everybody is paid");
        assertEq(rewards.claimedTotal(address(run)), _notes[hash].totalWei, "all of it");
    }

    function check_claimedNeverFallsOrPassesTheLeaf() external view {
        assertEq(_claimedFell, 0, "fell");
        assertEq(_claimedPast, 0, "passed the leaf");
    }

    function check_claimsStayWithinBudgets() external view {
        uint256 sumWei;
        for (uint256 i = 0; i < _payees.length; i++) {
            sumWei += rewards.claimed(address(run), _payees[i]);
        }
        assertEq(sumWei, rewards.claimedTotal(address(run)), "sum");
        uint256 budgetsWei;
        for (uint256 i = 0; i < _final.length; i++) {
            budgetsWei += _notes[_final[i]].budgetWei;
        }
        assertLe(sumWei, budgetsWei, "budgets of final rounds");
        assertLe(sumWei, _fundedWei - _refundedWei, "pool");
    }

    function check_totalGrowsByNoMoreThanItsBudget() external view {
        uint256 last;
        for (uint256 i = 0; i < _chain.length; i++) {
            Note storage n = _notes[_chain[i]];
            assertGe(n.totalWei, last, "falls");
            assertLe(n.totalWei, last + n.budgetWei, "budget");
            assertLe(n.budgetWei, 120 ether, "nominal round");
            last = n.totalWei;
        }
        assertLe(last, _fundedWei, "funded");
        assertEq(run.settledTotalWei(), last, "what the run has promised");
    }

    function check_noWeiCreatedOrLost() external view {
        uint256 sumWei = token.balanceOf(address(stakes)) + token.balanceOf(address(rewards))
            + token.balanceOf(burned) + token.balanceOf(challenger) + token.balanceOf(demander)
            + token.balanceOf(answerer) + token.balanceOf(sponsor);
        for (uint256 i = 0; i < _payees.length; i++) {
            sumWei += token.balanceOf(_payees[i]);
        }
        assertEq(sumWei, token.totalSupply(), "tokens");

        uint256 bondsWei;
        for (uint256 i = 0; i < _asked.length; i++) {
            bondsWei += _asked[i].bondWei;
        }
        assertEq(address(run).balance, bondsWei, "bonds");
        assertEq(burned.balance, _answeredWei, "burned coins");
        uint256 coins = address(run).balance + burned.balance + demander.balance + answerer.balance;
        assertEq(coins, _coins, "coins");
    }
}
