"""`emerit reputation show ADDRESS`: MeritRank on the run's seed graph, from the settled leaves and from chain."""

from __future__ import annotations

from typing import Annotated

import typer

from emerit.cli.following import ledger_of
from emerit.cli.shared import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    RpcOption,
    RunOption,
    console,
    place,
    print_json,
    print_record,
)
from emerit.errors import UsageError
from emerit.protocol.reputation import REPUTATION_ONE

app = typer.Typer(no_args_is_help=True)


@app.callback()
def root() -> None:
    """Ask for reputation."""


@app.command()
def show(
    address: Annotated[str, typer.Argument(help="Owner account or operator of a participant")],
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a participant's reputation, how it came about round by round, and what the contract answers."""
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    entry = client.entry_of(address)
    if entry is None:
        raise UsageError(
            "not-in-run",
            f"{address} is not in run {client.address}.",
            "See `emerit run show` and the address.",
        )
    ledger = ledger_of(where, client)
    history = [
        {
            "round": item.onchain.header.round,
            "reputation": item.settlement.leaves[entry.index].reputation,
            "weight": item.settlement.leaves[entry.index].weight,
        }
        for item in ledger.entries
        if entry.index < len(item.settlement.leaves)
    ]
    latest = int(history[-1]["reputation"]) if history else 0
    record = {
        "address": entry.account,
        "role": entry.role.name.lower(),
        "reputation": latest,
        "of": REPUTATION_ONE,
        "on_chain": client.reputation_of(entry.account),
    }
    if as_json:
        print_json(record | {"history": history})
        return
    print_record(record | {"share": f"{latest / REPUTATION_ONE:.4%}"})
    for row in history[-10:]:
        console().print(
            f"  round {row['round']}: weight {row['weight']}, reputation {row['reputation']}", highlight=False
        )
    if record["on_chain"] == 0 and latest:
        console().print("The contract answers 0 until the leaf is shown to it: emerit rewards claim does so.")
