"""`emerit trainer estimate`: what a run may bring to one more trainer, against gas and bond, before joining."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.following import ledger_of
from emerit.cli.options import DeploymentOption, JsonOption, RpcOption, RunOption
from emerit.cli.output import print_json, print_record, say, to_wei, tokens
from emerit.cli.place import place

if TYPE_CHECKING:
    from emerit.run.estimate import Estimate

LAST_ROUNDS = 20


def estimate(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many settled rounds to look at")] = LAST_ROUNDS,
    token_price: Annotated[
        str | None, typer.Option(help="What a token is worth to you, in the chain's currency: shows what is left")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what one more trainer can expect of a run: reward per round and hour, gas, bond. Nothing is sent.

    The reward is what a newcomer with the median weight would have got in the last settled rounds. No forecast.
    """
    price_wei = None if token_price is None else to_wei(token_price)
    where = place(rpc_url, run=run, deployment=deployment)
    client = where.run_client(where.chain())
    ledger = ledger_of(client)
    from emerit.run.estimate import estimate as estimate_of

    found = estimate_of(client, ledger, last)
    if as_json:
        print_json({"run": client.address} | _record(found, price_wei))
        return
    _print(found, price_wei)


def _net_wei(found: Estimate, price_wei: int) -> tuple[int, int]:
    """What is left of the reward after gas, per round and per hour, in wei of the chain's currency."""
    expected = found.expected
    per_round = expected.per_round_wei * price_wei // 10**18 - found.round_cost_wei
    return per_round, expected.per_hour_wei * price_wei // 10**18 - expected.hourly(found.round_cost_wei)


def _record(found: Estimate, price_wei: int | None) -> dict[str, Any]:
    expected = found.expected
    record = {
        "basis": expected.basis,
        "looked_at_rounds": expected.looked_at,
        "seconds_per_round": round(expected.seconds, 1),
        "reward_per_round_wei": expected.per_round_wei,
        "reward_per_hour_wei": expected.per_hour_wei,
        "others_per_round_wei": None if expected.peers_wei is None else [str(wei) for wei in expected.peers_wei],
        "gas_per_round": found.round_gas,
        "gas_once": found.once_gas,
        "gas_per_round_wei": found.round_cost_wei,
        "gas_once_wei": found.once_cost_wei,
        "break_even_token_price_wei": found.break_even_wei,
    }
    flat = {name: value for name, value in dataclasses.asdict(found).items() if name != "expected"}
    record |= flat
    if price_wei is not None:
        record["net_per_round_wei"], record["net_per_hour_wei"] = _net_wei(found, price_wei)
    return {
        name: str(value) if name.endswith("_wei") and isinstance(value, int) else value
        for name, value in record.items()
    }


def _print(found: Estimate, price_wei: int | None) -> None:
    expected = found.expected
    if not found.open_for_members:
        say("The sponsor has closed this run, or it has ended: do not join.")
    elif expected.basis == "pool-empty":
        say("The pool is empty: nobody earns anything until somebody funds it.")
    elif expected.basis == "equal-share":
        say("Nothing has settled yet. This is an upper bound: full rounds, shared equally by those who have joined.")
    else:
        say(f"From the last {expected.looked_at} settled rounds; what comes may be more or less.")
    price = f"{found.gas_price_wei / 1e9:.3f} gwei"
    rows = {
        "reward a round": f"{tokens(expected.per_round_wei)}, {tokens(expected.per_hour_wei)} an hour "
        f"({expected.seconds:.0f} s a round)",
        "gas a round": f"{found.round_gas:,} gas: {_coins(found.round_cost_wei)} at {price}",
        "gas once": f"{found.once_gas:,} gas: {_coins(found.once_cost_wei)} to join, claim once, leave and withdraw",
        "bond": f"{tokens(found.bond_wei)}, back {_days(found.unbonding_seconds)} after the last round; "
        f"a missed reveal costs {tokens(found.miss_fine_wei)} of it",
        "trainers": f"{found.trainers} now",
        "pool": f"{tokens(found.pool_left_wei)} not given away yet"
        + ("" if found.rounds_funded is None else f", {found.rounds_funded:,} rounds"),
    }
    if expected.peers_wei is not None:
        low, middle, high = map(tokens, expected.peers_wei)
        rows["others earned"] = f"{middle} a round in the middle, half of them {low} to {high}"
    if found.break_even_wei is not None:
        rows["gas is paid"] = f"from {_coins(found.break_even_wei)} a token on"
    if price_wei is not None:
        per_round, per_hour = _net_wei(found, price_wei)
        rows["left after gas"] = f"{_coins(per_round)} a round, {_coins(per_hour)} an hour"
    print_record(rows)


def _coins(wei: int) -> str:
    return f"{wei / 1e18:.9f} of the chain's currency"


def _days(seconds: int) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds / 3600:.1f} hours"
