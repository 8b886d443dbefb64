// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {BaseTest} from "../utils/BaseTest.sol";
import {History} from "./History.sol";

/// @dev A history, called at random. README.md explains each invariant.
abstract contract RunInvariants is BaseTest {
    History internal history;

    function begin(bytes32 salt) internal {
        // Not `new`: the compiler would put all of it into each test, and optimise it again.
        history = History(deployCode("History.sol:History", abi.encode(salt)));
        history.setUp();
        targetContract(address(history));
        targetSelector(FuzzSelector({addr: address(history), selectors: history.handlers()}));
    }

    /// @dev With EMERIT_HISTORY=1 in the environment each history leaves a line in snapshots/.history.
    function afterInvariant() external {
        if (vm.envOr("EMERIT_HISTORY", false)) history.tell();
    }
}

/// @dev Where the money is.
contract MoneyInvariants is RunInvariants {
    function setUp() external {
        begin("money");
    }

    function invariant_balanceCoversAllClaims() external {
        history.check_balanceCoversAllClaims();
    }

    function invariant_claimedNeverFallsOrPassesTheLeaf() external view {
        history.check_claimedNeverFallsOrPassesTheLeaf();
    }

    function invariant_claimsStayWithinBudgets() external view {
        history.check_claimsStayWithinBudgets();
    }

    function invariant_totalGrowsByNoMoreThanItsBudget() external view {
        history.check_totalGrowsByNoMoreThanItsBudget();
    }

    function invariant_noWeiCreatedOrLost() external view {
        history.check_noWeiCreatedOrLost();
    }
}

/// @dev What members have at stake.
contract StakesInvariants is RunInvariants {
    function setUp() external {
        begin("stakes");
    }

    function invariant_slashedIsBurnedPlusRewarded() external view {
        history.check_slashedIsBurnedPlusRewarded();
    }

    function invariant_lockedStakeCannotLeave() external {
        history.check_lockedStakeCannotLeave();
    }

    function invariant_registryHasNoDoubles() external view {
        history.check_registryHasNoDoubles();
    }
}

/// @dev Rounds, and the chain of their headers.
contract RoundsInvariants is RunInvariants {
    function setUp() external {
        begin("rounds");
    }

    function invariant_phaseIsMonotone() external view {
        history.check_phaseIsMonotone();
    }

    function invariant_oneVectorPerValidatorAndRound() external view {
        history.check_oneVectorPerValidatorAndRound();
    }

    function invariant_payChainLinksAreConsistent() external view {
        history.check_payChainLinksAreConsistent();
    }

    function invariant_finalStaysFinal() external view {
        history.check_finalStaysFinal();
    }
}

/// @dev What can fall, and what can not.
contract DisputesInvariants is RunInvariants {
    function setUp() external {
        begin("disputes");
    }

    function invariant_anHonestHeaderStands() external {
        history.check_anHonestHeaderStands();
    }

    function invariant_everyWrongHeaderCanFallInTime() external {
        history.check_everyWrongHeaderCanFallInTime();
    }

    function invariant_anOpenDemandHoldsItsHeader() external {
        history.check_anOpenDemandHoldsItsHeader();
    }

    function invariant_aFinalHeaderCannotFall() external {
        history.check_aFinalHeaderCannotFall();
    }

    function invariant_whatMustBeRefusedIsRefused() external view {
        history.check_whatMustBeRefusedIsRefused();
    }
}
