"""What a newcomer is told to expect: from settled rounds, from an equal share before any, from an empty pool."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from emerit.protocol.presets import CLOCKS
from emerit.protocol.types import ReputationParams, RunParams
from emerit.run.estimate import APPROVE_GAS, EACH_ROUND, GAS, ONCE, Estimate, PastRound, expect

TOKEN = 10**18
ENOUGH = 10**9 * TOKEN


def params(**changes: Any) -> RunParams:
    plain: dict[str, Any] = dict(
        reward_token="0x" + "11" * 20,
        manifest_hash=bytes(32),
        manifest_cid="",
        initial_state_root=bytes(32),
        max_rounds=0,
        min_trainers=1,
        min_validators=1,
        validator_share_bps=2000,
        reward_rate_wei_per_second=TOKEN,
        min_trainer_bond_wei=10 * TOKEN,
        min_validator_stake_wei=100 * TOKEN,
        stake_unit_wei=TOKEN,
        miss_fine_wei=TOKEN,
        demand_bond_wei=1,
        reputation=ReputationParams(0, 0, 0, 0, 0, 1),
        **asdict(CLOCKS["demo"]),
    )
    return RunParams(**(plain | changes))


def past(number: int, weights: tuple[int, ...], pot_wei: int = 24 * TOKEN) -> PastRound:
    total = sum(weights)
    rewards = tuple(pot_wei * weight // total if total else 0 for weight in weights)
    return PastRound(number, pot_wei, weights, rewards, opened_at=1000 + 30 * number, settled_at=1030 + 30 * number)


def test_a_newcomer_shares_the_pot_with_those_who_are_there() -> None:
    found = expect([past(0, (100, 100, 100))], params(), ENOUGH, 3)
    assert (found.basis, found.looked_at, found.seconds) == ("settled-rounds", 1, 30.0)
    assert found.per_round_wei == 24 * TOKEN // 4, "a fourth part, not the third that each of three had"
    assert found.peers_wei == (8 * TOKEN,) * 3
    assert found.per_hour_wei == found.per_round_wei * 120


def test_the_median_weight_counts_and_who_got_nothing_counts_too() -> None:
    found = expect([past(0, (0, 50, 1000))], params(), ENOUGH, 3)
    assert found.per_round_wei == 24 * TOKEN * 50 // 1100
    assert expect([past(0, (0, 0, 1000))], params(), ENOUGH, 3).per_round_wei == 0


def test_void_rounds_make_rewards_rarer() -> None:
    full = expect([past(0, (1,)), past(1, (1,))], params(), ENOUGH, 1)
    gap = expect([past(0, (1,)), past(3, (1,))], params(), ENOUGH, 1)
    assert full.per_round_wei == gap.per_round_wei
    assert gap.per_hour_wei == full.per_hour_wei // 2
    assert gap.seconds == full.seconds == 30.0


def test_nothing_has_settled_yet() -> None:
    found = expect([], params(), ENOUGH, 3)
    assert (found.basis, found.looked_at, found.peers_wei) == ("equal-share", 0, None)
    assert found.per_round_wei == 24 * TOKEN // 4
    assert found.per_hour_wei == found.per_round_wei * 120


def test_a_pool_that_runs_out_pays_less() -> None:
    rounds = [past(0, (100,))]
    assert expect(rounds, params(), 15 * TOKEN, 1).per_round_wei == 6 * TOKEN
    assert expect(rounds, params(), 0, 1).per_round_wei == 0
    assert expect(rounds, params(), 0, 1).basis == "pool-empty"
    assert expect([], params(), 0, 1).basis == "pool-empty"
    assert expect([], params(reward_rate_wei_per_second=0), ENOUGH, 1).basis == "pool-empty"


def test_rounds_in_which_nobody_worked() -> None:
    found = expect([past(0, ())], params(), ENOUGH, 0)
    assert (found.per_round_wei, found.peers_wei) == (0, None)


def made(per_round_tokens: int, gas_price_wei: int) -> Estimate:
    expected = expect([past(0, (100, 100, 100), per_round_tokens * 4 * TOKEN)], params(), ENOUGH, 3)
    return Estimate(expected, 3, ENOUGH, 5, True, 10 * TOKEN, 3600, TOKEN, gas_price_wei)


def test_gas_is_paid_from_the_break_even_price_on() -> None:
    found = made(6, 10**9)
    assert found.round_cost_wei == sum(GAS[name] for name in EACH_ROUND) * 10**9
    price = found.break_even_wei
    assert price is not None
    assert found.expected.per_round_wei * price // TOKEN >= found.round_cost_wei
    assert found.expected.per_round_wei * (price - 1) // TOKEN < found.round_cost_wei
    assert made(0, 10**9).break_even_wei is None


def test_every_act_has_a_figure_and_is_counted_once() -> None:
    assert sorted(GAS) == sorted((*EACH_ROUND, *ONCE))
    found = made(6, 1)
    assert found.round_gas + found.once_gas == sum(GAS.values()) + APPROVE_GAS


@pytest.mark.parametrize("price", [0, 1, 10**12])
def test_what_is_printed_and_what_programs_get(price: int, capsys: pytest.CaptureFixture[str]) -> None:
    from emerit.cli.estimate import _print, _record

    found = made(6, price)
    record = _record(found, 10**15)
    assert record["reward_per_round_wei"] == str(6 * TOKEN)
    assert record["gas_per_round_wei"] == str(found.round_cost_wei)
    assert int(record["net_per_round_wei"]) == 6 * 10**15 - found.round_cost_wei
    assert record["others_per_round_wei"] == [str(8 * TOKEN)] * 3
    assert json.loads(json.dumps(record)) == record
    _print(found, 10**15)
    printed = capsys.readouterr().out
    assert "6.0000 EMR, 720.0000 EMR an hour (30 s a round)" in printed
    assert "From the last 1 settled rounds" in printed
    assert "8.0000 EMR a round in the middle" in printed
