"""`emerit trainer start|status|estimate` and `emerit validator start|status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.estimate import estimate
from emerit.cli.options import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, say, to_wei
from emerit.cli.place import place
from emerit.cli.replay import replay
from emerit.errors import PreconditionError

if TYPE_CHECKING:
    from emerit.run.options import NodeOptions

trainer = typer.Typer(no_args_is_help=True)
validator = typer.Typer(no_args_is_help=True)

DataOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the nodes' folders; default: nodes in EMERIT_DATA_DIR")
]
StakeOption = Annotated[str | None, typer.Option("--stake", help="Tokens to join with; default: the run's minimum")]
PollOption = Annotated[
    float | None,
    typer.Option(
        "--poll-seconds", min=0.05, max=60, help="How often to look at the chain [EMERIT_POLL_SECONDS]; default: 0.5"
    ),
]
STALE_SECONDS = 60.0


def _starter(role: str, text: str) -> Callable[..., None]:
    """The `start` command of a role."""

    def start(
        wallet: WalletOption = None,
        run: RunOption = None,
        rpc_url: RpcOption = None,
        ipfs_api: IpfsOption = None,
        deployment: DeploymentOption = None,
        wallet_dir: WalletDirOption = None,
        password_file: PasswordOption = None,
        data_dir: DataOption = None,
        stake: StakeOption = None,
        poll_seconds: PollOption = None,
    ) -> None:
        stake_wei = None if stake is None else to_wei(stake)
        if wallet is None:
            raise PreconditionError(
                "wallet-needed",
                f"A {role} needs a wallet of its own.",
                "Make one (emerit wallet create NAME), fund it, and name it with --wallet.",
            )
        more = {"poll_seconds": poll_seconds}
        where = place(rpc_url, ipfs_api, run, deployment, validator=role == "validator", more=more)
        settings = where.settings
        client = where.run_client(where.chain())
        from emerit.run.options import NodeOptions
        from emerit.telemetry import setup_logging

        setup_logging(role=role, level=settings.log_level, log_format=settings.log_format)
        options = NodeOptions(
            rpc_url=settings.rpc_url,
            ipfs_api=settings.ipfs_api,
            run=client.address,
            wallet=wallet,
            wallet_dir=wallet_dir,
            password_file=password_file,
            data_dir=data_dir or where.settings.data_dir / "nodes",
            stake_wei=stake_wei,
            poll_seconds=settings.poll_seconds,
        )
        say(f"{role} on run {client.address}, chain {client.chain.display_url}; Ctrl-C stops it")
        _role_start(role)(options)

    start.__doc__ = text
    return start


def _role_start(role: str) -> Callable[[NodeOptions], None]:
    """The role's entry point, imported only now: it brings torch."""
    if role == "trainer":
        from emerit_node.start import start_trainer

        return start_trainer
    from emerit_validator.start import start_validator

    return start_validator


trainer.command("start")(
    _starter("trainer", "Train for rewards: join with a bond, then work every round until the run ends or Ctrl-C.")
)
validator.command("start")(
    _starter("validator", "Score contributions for rewards: join with a stake, then validate every round.")
)


trainer.command("estimate")(estimate)
validator.command("replay")(replay)


@trainer.command("status")
@validator.command("status")
def status(data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what each node of this machine does and what it waits for, trainers and validators alike.

    Exit 3 if there is none, if one has not shown itself for a minute, or if one stopped in the middle of a run.
    """
    folder = data_dir or place().settings.data_dir / "nodes"
    rows = [_row(path) for path in sorted(folder.glob("*/heartbeat.json"))]
    if as_json:
        print_json(rows)
    for row in [] if as_json else rows:
        say(_line(row))
    if not rows and not as_json:
        say(f"No node has run here ({folder}). Start one: emerit trainer start --wallet NAME")
    if not rows or any(row["state"] in ("stale", "stopped") for row in rows):
        raise typer.Exit(3)


def _row(path: Path) -> dict[str, Any]:
    """One node's heartbeat and its state: running, stale, stopped (in the middle of a run) or finished."""
    record: dict[str, Any] = json.loads(path.read_bytes())
    age = time.time() - record["time"]
    if _lives(record):
        state = "running" if age <= STALE_SECONDS else "stale"
    else:
        state = "finished" if record.get("phase") == "FINISHED" else "stopped"
    return record | {"node": path.parent.name, "state": state, "seconds_ago": round(age, 1)}


def _line(row: dict[str, Any]) -> str:
    account, _, rest = row["node"].partition("-")
    phase = row.get("phase", "unknown").lower().replace("_", " ")
    role = f"{row['role']} " if row.get("role") else ""
    text = f"{role}{account} on run 0x{rest[:8]}…: {row['state']}, round {row.get('round', 'unknown')}"
    if row["state"] != "finished":
        text += f", {phase}, waiting for {row['waiting_for']}"
    return f"{text} ({row['seconds_ago']} s ago)"


def _lives(record: dict[str, Any]) -> bool:
    """Whether the process that wrote a heartbeat still runs; pids are used again, so its birth must be earlier."""
    import psutil

    try:
        process = psutil.Process(record["pid"])
        return process.create_time() <= record["time"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
