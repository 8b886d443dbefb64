"""`emerit trainer start|status` and `emerit validator start|status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

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
    to_wei,
)
from emerit.errors import PreconditionError
from emerit.keys.keystore import default_folder
from emerit.run.options import NodeOptions

trainer = typer.Typer(no_args_is_help=True)
validator = typer.Typer(no_args_is_help=True)

DataOption = Annotated[Path | None, typer.Option("--data-dir", help="The node's own folder")]
StakeOption = Annotated[str | None, typer.Option("--stake", help="Tokens to join with (default: the minimum)")]
PollOption = Annotated[float, typer.Option("--poll-seconds", help="How often to look at the chain")]
STALE_SECONDS = 60.0


def _start(
    role: str,
    *,
    rpc_url: str | None,
    ipfs_api: str | None,
    run: str | None,
    deployment: Path | None,
    wallet: str | None,
    wallet_dir: Path | None,
    password_file: Path | None,
    data_dir: Path | None,
    stake: str | None,
    poll_seconds: float,
) -> None:
    where = place(rpc_url, ipfs_api, run, deployment, validator=role == "validator")
    if wallet is None:
        raise PreconditionError(
            "wallet-needed",
            f"A {role} needs a wallet of its own.",
            "Make one (emerit wallet create NAME), fund it, and name it with --wallet.",
        )
    stake_wei = None if stake is None else to_wei(stake)
    client = where.run_client(where.chain())
    from emerit.run.process import run_process

    options = NodeOptions(
        rpc_url=where.settings.rpc_url,
        ipfs_api=where.settings.ipfs_api,
        run=client.address,
        wallet=wallet,
        wallet_dir=wallet_dir,
        password_file=password_file,
        data_dir=data_dir or default_folder() / "nodes",
        stake_wei=stake_wei,
        poll_seconds=poll_seconds,
    )
    console().print(f"{role} on run {client.address}, chain {where.settings.rpc_url}; Ctrl-C stops it", highlight=False)
    raise typer.Exit(run_process(role, lambda: _role_start(role)(options)))


def _role_start(role: str) -> Callable[[NodeOptions], None]:
    """The role's entry point, imported only now: it brings torch."""
    if role == "trainer":
        from emerit_node.start import start_trainer

        return start_trainer
    from emerit_validator.start import start_validator

    return start_validator


@trainer.command("start")
def start_trainer(
    wallet: WalletOption = None,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    data_dir: DataOption = None,
    stake: StakeOption = None,
    poll_seconds: PollOption = 0.5,
) -> None:
    """Train for rewards: join with a bond, then work every round until the run ends or Ctrl-C."""
    _start(
        "trainer",
        rpc_url=rpc_url,
        ipfs_api=ipfs_api,
        run=run,
        deployment=deployment,
        wallet=wallet,
        wallet_dir=wallet_dir,
        password_file=password_file,
        data_dir=data_dir,
        stake=stake,
        poll_seconds=poll_seconds,
    )


@validator.command("start")
def start_validator(
    wallet: WalletOption = None,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    data_dir: DataOption = None,
    stake: StakeOption = None,
    poll_seconds: PollOption = 0.5,
) -> None:
    """Score contributions for rewards: join with a stake, then validate every round."""
    _start(
        "validator",
        rpc_url=rpc_url,
        ipfs_api=ipfs_api,
        run=run,
        deployment=deployment,
        wallet=wallet,
        wallet_dir=wallet_dir,
        password_file=password_file,
        data_dir=data_dir,
        stake=stake,
        poll_seconds=poll_seconds,
    )


@trainer.command("status")
@validator.command("status")
def status(data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what each node of this machine does and what it waits for; exit 3 if one is stale."""
    folder = data_dir or default_folder() / "nodes"
    rows = []
    for path in sorted(folder.glob("*/heartbeat.json")):
        record = json.loads(path.read_bytes())
        record |= {"node": path.parent.name, "seconds_ago": round(time.time() - record["time"], 1)}
        rows.append(record)
    if as_json:
        print_json(rows)
    for row in [] if as_json else rows:
        console().print(
            f"{row['node']}: round {row.get('round', '—')}, {row.get('phase', '—').lower()}, waiting for "
            f"{row['waiting_for']} ({row['seconds_ago']} s ago)",
            highlight=False,
        )
    if not rows or any(row["seconds_ago"] > STALE_SECONDS for row in rows):
        raise typer.Exit(3)
