"""`emerit reputation show ADDRESS`: MeritRank on the run's seed graph, from the settled leaves and from chain."""

from __future__ import annotations

import typer

from emerit.cli.following import entry_in, ledger_of
from emerit.cli.options import (
    AddressArgument,
    DeploymentOption,
    IpfsOption,
    JsonOption,
    RpcOption,
    RunOption,
    WalletDirOption,
)
from emerit.cli.output import print_json, print_record, say
from emerit.cli.place import address_of, place

app = typer.Typer(no_args_is_help=True)

SHOWN_ROUNDS = 10


@app.callback()
def root() -> None:
    """Ask for reputation."""


@app.command()
def show(
    address: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a participant's reputation, how it came about round by round, and what the contract answers."""
    target = address_of(address, wallet_dir)
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    entry = entry_in(client, target)
    ledger = ledger_of(where, client)
    from emerit.protocol.reputation import REPUTATION_ONE

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
    for row in history[-SHOWN_ROUNDS:]:
        say(f"  round {row['round']}: weight {row['weight']}, reputation {row['reputation']}")
    if len(history) > SHOWN_ROUNDS:
        say(f"  ({len(history) - SHOWN_ROUNDS} earlier rounds: --json)")
    if record["on_chain"] == 0 and latest:
        say("The contract answers 0 until the leaf is shown to it: emerit rewards claim does so.")
