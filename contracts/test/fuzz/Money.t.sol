// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Commitment} from "../../src/libraries/Commitment.sol";
import {Lanes} from "../../src/libraries/Lanes.sol";
import {ITrainingRun} from "../../src/interfaces/ITrainingRun.sol";
import {Header, Leaf, ProofNode, Role, RunParams, Status} from "../../src/types/Types.sol";
import {RunFixture} from "../utils/RunFixture.sol";

/// @dev Properties of stakes, commitments, claims and reputation over random values.
contract MoneyTest is RunFixture {
    struct Settled {
        Header header;
        Leaf leaf;
        ProofNode[] proof;
    }

    Settled[] private settled;

    /// @dev Whatever rounds pay and in whatever order they are claimed, an account gets its highest cumulative
    /// amount among those shown, and the pool never pays more than was promised.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_ClaimsAreCumulative(uint64[3] memory payWei, uint8[6] memory order) public {
        startRun();
        for (uint256 k = 0; k < payWei.length; k++) {
            settleRound(payWei[k] % 4 ether);
            settled.push();
            settled[k].header = lastHeader;
            settled[k].leaf = leaves[2];
            ProofNode[] memory proof = proofOf(2);
            for (uint256 i = 0; i < proof.length; i++) {
                settled[k].proof.push(proof[i]);
            }
        }
        skip(50);
        uint256 paidWei;
        for (uint256 i = 0; i < order.length; i++) {
            Settled memory s = settled[order[i] % payWei.length];
            bool more = s.leaf.cumulativeAmountWei > paidWei;
            if (!more) vm.expectRevert();
            rewards.claim(address(run), s.header, s.leaf, s.proof);
            if (more) paidWei = s.leaf.cumulativeAmountWei;

            assertEq(token.balanceOf(trainer(2)), paidWei, "highest shown");
            assertEq(rewards.claimed(address(run), trainer(2)), paidWei, "recorded");
            assertLe(rewards.claimedTotal(address(run)), run.settledTotalWei(), "promised");
        }
        assertLe(run.settledTotalWei(), rewards.funded(address(run)), "funded");
    }

    /// @dev A header is accepted just if its total lies between the last one and that plus the budget.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_TotalsStayWithinTheBudget(uint128 totalWei, uint128 poolWei) public {
        poolWei = uint128(bound(poolWei, 1, 500 ether));
        totalWei = uint128(bound(totalWei, 0, 600 ether));
        (run, reputation) = createRun(defaultParams());
        fund(run, poolWei);
        startRun();
        toSettle();
        Header memory header = makeHeader(0);
        header.totalAmountWei = totalWei;
        uint128 budgetWei = run.budgetOf(0);
        assertLe(budgetWei, poolWei, "no more than the pool");
        if (totalWei > budgetWei) vm.expectPartialRevert(ITrainingRun.BudgetExceeded.selector);
        attest(0, header);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_StakeLanes(uint96[16] memory stakeWei, uint64 unitWei, uint16 leavers) public {
        RunParams memory p = defaultParams();
        unitWei = uint64(bound(unitWei, 1, type(uint64).max));
        (p.minValidatorStakeWei, p.stakeUnitWei) = (unitWei, unitWei);
        (run, reputation) = createRun(p);
        uint256 expected;
        uint16 mask;
        uint256 total;
        for (uint256 v = 0; v < 16; v++) {
            stakeWei[v] = uint96(bound(stakeWei[v], unitWei, 1e24));
            join(validator(v), validatorOperator(v), Role.Validator, stakeWei[v]);
            if (leavers >> v & 1 == 1) {
                vm.prank(validator(v));
                stakes.leave(address(run));
                continue;
            }
            uint256 units = uint256(stakeWei[v]) / unitWei;
            units = units > 65_535 ? 65_535 : units;
            expected |= units << (16 * v);
            total += units;
            if (units > 0) mask |= uint16(1 << v);
        }
        bytes32 lanes = stakes.stakeLanes(address(run), 0, unitWei);

        assertEq(lanes, bytes32(expected), "lanes");
        assertEq(Lanes.total(lanes), total, "total");
        assertEq(Lanes.mask(lanes), mask, "mask");
    }

    function testFuzz_StakesComeBackWhole(uint96 firstWei, uint96 moreWei, uint32 waitSeconds) public {
        firstWei = uint96(bound(firstWei, BOND_WEI, 1e26));
        moreWei = uint96(bound(moreWei, 1, 1e26));
        join(trainer(0), trainerOperator(0), Role.Trainer, firstWei);
        deal(token, trainer(0), moreWei, address(stakes));
        vm.startPrank(trainer(0));
        stakes.addStake(address(run), moreWei);
        stakes.leave(address(run));
        skip(waitSeconds);
        if (waitSeconds < UNBONDING_SECONDS) vm.expectRevert();
        stakes.withdraw(address(run));

        uint256 back = waitSeconds < UNBONDING_SECONDS ? 0 : uint256(firstWei) + moreWei;
        assertEq(token.balanceOf(trainer(0)), back, "all or nothing");
    }

    /// @dev No two openings that differ in one field share a commitment.
    function testFuzz_CommitmentsBindEveryField(
        address author,
        uint32 round,
        bytes32[4] memory words,
        uint8 field,
        uint32 change
    ) public {
        vm.assume(change != 0);
        bytes32 contribution =
            Commitment.contribution(address(run), round, author, words[0], words[1], words[3]);
        bytes32 weights =
            Commitment.weights(address(run), round, author, words[0], words[1], words[2], words[3]);
        assertNotEq(contribution, weights, "kinds");
        address place = address(run);
        field = field % 7;
        if (field == 0) author = address(uint160(author) ^ change);
        else if (field == 1) round ^= change;
        else if (field == 2) place = address(uint160(place) ^ change);
        else words[field - 3] ^= bytes32(uint256(change));

        if (field != 5) {
            bytes32 other = Commitment.contribution(place, round, author, words[0], words[1], words[3]);
            assertNotEq(contribution, other, "contribution");
        }
        bytes32 otherWeights =
            Commitment.weights(place, round, author, words[0], words[1], words[2], words[3]);
        assertNotEq(weights, otherWeights, "weights");
        vm.chainId(uint64(block.chainid) ^ change);
        assertNotEq(
            otherWeights,
            Commitment.weights(place, round, author, words[0], words[1], words[2], words[3]),
            "chain"
        );
    }

    /// @dev Reputation fades as its rate says, and never grows on its own.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_ReputationFades(uint64 value, uint32 keepPpb, uint16 rounds) public {
        RunParams memory p = defaultParams();
        p.reputationKeepPpb = uint32(bound(keepPpb, 0, 1e9));
        rounds = uint16(bound(rounds, 0, 500));
        value = uint64(bound(value, 0, 1e9));
        (run, reputation) = createRun(p);
        startRun();
        settleRound(0);
        skip(50);
        leaves[0].reputation = value;
        lastHeader = headerWithRoot();
        vm.mockCall(
            address(run), abi.encodeCall(run.headerHash, (0)), abi.encode(keccak256(abi.encode(lastHeader)))
        );
        reputation.materialise(lastHeader, leaves[0], proofOf(0));
        Status memory later = run.status();
        later.lastSettledRound = rounds;
        vm.mockCall(address(run), abi.encodeCall(run.status, ()), abi.encode(later));

        uint256 faded = value;
        for (uint256 i = 0; i < rounds; i++) {
            faded = faded * p.reputationKeepPpb / 1e9;
        }
        assertLe(reputation.reputationOf(trainer(0)), value, "does not grow");
        assertApproxEqAbs(reputation.reputationOf(trainer(0)), faded, rounds + 1, "rounding only");
    }

    function headerWithRoot() private view returns (Header memory header) {
        header = headerOver(leaves);
        header.round = 0;
    }
}
