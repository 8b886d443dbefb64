"""`emerit run create|fund|close|show|list`: what a sponsor does."""

from __future__ import annotations

import dataclasses
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from emerit.chain.factory import FactoryClient
from emerit.cli.shared import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
    console,
    place,
    print_json,
    print_record,
    sender_for,
    to_wei,
    tokens,
    unlock,
)
from emerit.protocol.presets import clock as clock_preset

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    corpus: Annotated[Path, typer.Option(help="Text file, or folder of text files")],
    name: Annotated[str, typer.Option(help="Name of the run")] = "run",
    preset: Annotated[str, typer.Option(help="Model and training preset: tiny, demo, small")] = "demo",
    clock: Annotated[str, typer.Option(help="Lengths of the phases: demo, devnet")] = "devnet",
    max_rounds: Annotated[int, typer.Option(help="Rounds to run; 0 until closed")] = 0,
    min_trainers: Annotated[int, typer.Option(help="Trainers needed to start")] = 1,
    min_validators: Annotated[int, typer.Option(help="Validators needed to start")] = 1,
    trainers: Annotated[int, typer.Option(help="Trainers the corpus must have room for")] = 16,
    rate: Annotated[str, typer.Option(help="Tokens paid per second of a round, at most")] = "10",
    fund: Annotated[str, typer.Option(help="Tokens to put into the pool now")] = "0",
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a corpus into shards on IPFS, write the manifest, create the run's contracts."""
    where = place(rpc_url, ipfs_api, deployment=deployment)
    timing = clock_preset(clock)
    pool, per_second = to_wei(fund), to_wei(rate)
    from emerit.ipfs.client import BlobStore
    from emerit.run.create import RunPlan, create_run

    chain = where.chain()
    sender = sender_for(chain, unlock(where, wallet, wallet_dir, password_file))
    plan = RunPlan(
        name=name,
        paths=[corpus],
        preset=preset,
        clock=timing,
        seed=secrets.token_bytes(32),
        reward_rate_wei_per_second=per_second,
        max_rounds=max_rounds,
        min_trainers=min_trainers,
        min_validators=min_validators,
        expected_trainers=trainers,
    )
    say = (lambda _t: None) if as_json else lambda text: console().print(f"· {text}", highlight=False)
    made = create_run(sender, where.deployment(chain), BlobStore(where.settings.ipfs_api), plan, on_step=say)
    if pool:
        made.client.fund(sender, pool)
    record = {
        "run": made.client.address,
        "train_sequences": made.train_sequences,
        "validation_sequences": made.validation_sequences,
        "funded_wei": str(pool),
    }
    if as_json:
        print_json(record)
        return
    print_record(record)
    if not pool:
        console().print("The pool is empty: nobody is paid before `emerit run fund AMOUNT`.")
    console().print("Next: emerit validator start, emerit trainer start", highlight=False)


@app.command()
def fund(
    amount: Annotated[str, typer.Argument(help="Tokens")],
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Put tokens into a run's pool."""
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(chain, unlock(where, wallet, wallet_dir, password_file))
    client.fund(sender, to_wei(amount))
    console().print(f"funded; the pool has had {tokens(client.funded())} in all", highlight=False)


@app.command()
def close(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Let the present round be the last; what is not owed to anybody then returns to the sponsor."""
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(chain, unlock(where, wallet, wallet_dir, password_file))
    if not client.status().closed:
        client.close(sender)
    if client.finished():
        client.refund(sender)
        console().print("closed and refunded")
    else:
        console().print("closed; after the present round run `emerit run close` again for the refund")


@app.command()
def show(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: phase, members, pool, parameters."""
    where = place(rpc_url, run=run, deployment=deployment)
    client = where.run_client(where.chain())
    status = client.status()
    registry = client.registry()
    record: dict[str, Any] = {
        "run": client.address,
        "round": status.round,
        "phase": status.phase.name.lower(),
        "trainers": sum(1 for entry in registry if entry.role.name == "TRAINER"),
        "validators": sum(1 for entry in registry if entry.role.name == "VALIDATOR"),
        "settled_rounds": len(client.settled()),
        "funded_wei": str(client.funded()),
        "closed": status.closed,
    }
    if as_json:
        params = {k: str(v) if "_wei" in k else v for k, v in dataclasses.asdict(client.params()).items()}
        print_json(record | {"params": params})
    else:
        print_record(record)


@app.command(name="list")
def list_runs(rpc_url: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a deployment, the oldest first."""
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    runs = [dataclasses.asdict(item) for item in FactoryClient(chain, where.deployment(chain).factory).runs()]
    if as_json:
        print_json(runs)
        return
    for item in runs:
        console().print(f"{item['run']}  sponsor {item['sponsor']}", highlight=False)
    if not runs:
        console().print("No run yet. Create one: emerit run create --corpus PATH")
