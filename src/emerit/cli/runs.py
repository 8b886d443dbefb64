"""`emerit run create|fund|close|show|list`: what a sponsor does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.options import (
    AmountArgument,
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, print_record, say, say_step, to_wei, tokens
from emerit.cli.place import Place, place, sender_for
from emerit.errors import ChainError, UsageError

if TYPE_CHECKING:
    from emerit.run.create import RunPlan

app = typer.Typer(no_args_is_help=True)

MOST_ROUNDS = 2**32 - 1
RUN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@app.command()
def create(
    corpus: Annotated[Path, typer.Option(help="Text file, or folder of text files")],
    name: Annotated[str, typer.Option(help="Name of the run")] = "run",
    preset: Annotated[str, typer.Option(help="Model and training: tiny, demo, small")] = "demo",
    clock: Annotated[str, typer.Option(help="Lengths of the phases: tiny, demo, devnet")] = "devnet",
    max_rounds: Annotated[int, typer.Option(min=0, max=MOST_ROUNDS, help="Rounds to run; 0: until closed")] = 0,
    min_trainers: Annotated[int, typer.Option(min=1, max=256, help="Trainers needed to start")] = 1,
    min_validators: Annotated[int, typer.Option(min=1, max=16, help="Validators needed to start")] = 1,
    trainers: Annotated[int, typer.Option(min=1, max=256, help="Trainers the corpus must have room for")] = 16,
    rate: Annotated[str, typer.Option(help="Tokens paid per second of a round, at most")] = "10",
    validator_share_bps: Annotated[
        int, typer.Option(min=0, max=10_000, help="Validators' part of the pay, in 1/10,000")
    ] = 2000,
    bond: Annotated[str, typer.Option(help="Least bond of a trainer, in tokens")] = "10",
    stake: Annotated[str, typer.Option(help="Least stake of a validator, in tokens; at least 1")] = "100",
    fund: Annotated[str, typer.Option(help="Tokens to put into the pool now")] = "0",
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a corpus into shards on IPFS, write the manifest, create the run's contracts. The wallet is its sponsor."""
    import secrets

    from emerit.protocol.presets import clock as clock_preset
    from emerit.protocol.presets import preset as known_preset

    timing, model = clock_preset(clock), known_preset(preset).name
    if not RUN_NAME.fullmatch(name):
        raise UsageError(
            "run-name-invalid",
            f"{name!r} cannot be a run's name.",
            "Take up to 64 lower-case letters, digits, dots, dashes and underscores; the first a letter or digit.",
        )
    pool_wei = to_wei(fund)
    amounts = {
        "reward_rate_wei_per_second": to_wei(rate),
        "min_trainer_bond_wei": to_wei(bond),
        "min_validator_stake_wei": to_wei(stake),
    }
    if amounts["min_validator_stake_wei"] < 10**18:
        raise UsageError(
            "amount-invalid", f"A stake of {stake} has no voting weight.", "Use --stake 1 or more: a token is one vote."
        )
    where = place(rpc_url, ipfs_api, deployment=deployment)
    from emerit.run.create import RunPlan

    plan = RunPlan(
        name=name,
        paths=[corpus],
        preset=model,
        clock=timing,
        seed=secrets.token_bytes(32),
        max_rounds=max_rounds,
        min_trainers=min_trainers,
        min_validators=min_validators,
        expected_trainers=trainers,
        validator_share_bps=validator_share_bps,
        **amounts,
    )
    record = _create(where, plan, pool_wei, (wallet, wallet_dir, password_file), quiet=as_json)
    if as_json:
        print_json(record)
        return
    counted = {name: record[name] for name in ("run", "train_sequences", "validation_sequences")}
    print_record(counted | {"pool": tokens(pool_wei)})
    if not pool_wei:
        say("The pool is empty: nobody is paid before `emerit run fund AMOUNT`.")
    say("Next: emerit validator start, emerit trainer start")


def _create(
    where: Place, plan: RunPlan, pool_wei: int, signer: tuple[str | None, Path | None, Path | None], *, quiet: bool
) -> dict[str, Any]:
    """Create the run and fund it; what could stop it later is asked first."""
    from emerit.chain.token import Token
    from emerit.ipfs.client import BlobStore
    from emerit.run.create import create_run

    chain = where.chain()
    deployment = where.deployment(chain)
    sender = sender_for(where, chain, *signer)
    held_wei = Token(chain, deployment.token).balance_of(sender.address) if pool_wei else 0
    if held_wei < pool_wei:
        raise ChainError(
            "erc20-insufficient-balance",
            f"{sender.address} has {tokens(held_wei)}, the pool is to get {tokens(pool_wei)}.",
            "Get more tokens (the minter: emerit token mint), or use a smaller --fund; no run was created.",
        )
    store = BlobStore(where.settings.ipfs_api)
    store.ready()
    made = create_run(sender, deployment, store, plan, on_step=(lambda _text: None) if quiet else say_step)
    if pool_wei:
        made.client.fund(sender, pool_wei)
    return {
        "run": made.client.address,
        "train_sequences": made.train_sequences,
        "validation_sequences": made.validation_sequences,
        "funded_wei": str(pool_wei),
    }


@app.command()
def fund(
    amount: AmountArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put tokens into a run's pool."""
    amount_wei = to_wei(amount, zero_allowed=False)
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    client.fund(sender_for(where, chain, wallet, wallet_dir, password_file), amount_wei)
    if as_json:
        print_json({"run": client.address, "added_wei": str(amount_wei), "funded_wei": str(client.funded())})
        return
    say(f"funded; the pool of {client.address} has had {tokens(client.funded())} in all")


@app.command()
def close(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the present round be the last, and once the run has ended take back what it owes to nobody.

    Call it again after the last round for the refund; on a run that has ended it only refunds.
    """
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(where, chain, wallet, wallet_dir, password_file)
    if not client.finished() and not client.status().closed:
        client.close(sender)
    before_wei = client.refunded()
    finished = client.finished()
    if finished:
        try:
            client.refund(sender)
        except ChainError as error:
            if error.code != "nothing-to-refund":
                raise
    refunded_wei = client.refunded() - before_wei
    if as_json:
        print_json({"run": client.address, "finished": finished, "refunded_wei": str(refunded_wei)})
    elif not finished:
        say("closed; the present round is the last: run `emerit run close` again after it for the refund")
    else:
        say(
            f"the run has ended; {tokens(refunded_wei)} went back to the sponsor" if refunded_wei else "nothing is left"
        )


@app.command()
def show(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: phase, members, pool, parameters (--json has all of them)."""
    where = place(rpc_url, run=run, deployment=deployment)
    client = where.run_client(where.chain())
    status, params = client.status(), client.params()
    roles = [entry.role.name for entry in client.registry()]
    funded_wei, owed_wei = client.funded(), client.settled_total_wei()
    record: dict[str, Any] = {
        "run": client.address,
        "sponsor": client.sponsor(),
        "round": status.round,
        "phase": status.phase.name.lower(),
        "trainers": roles.count("TRAINER"),
        "validators": roles.count("VALIDATOR"),
        "settled_rounds": len(client.settled()),
        "max_rounds": params.max_rounds,
        "funded_wei": str(funded_wei),
        "earned_wei": str(owed_wei),
        "refunded_wei": str(client.refunded()),
        "closed": status.closed,
    }
    if as_json:
        values = {k: str(v) if "_wei" in k else v for k, v in dataclasses.asdict(params).items()}
        print_json(record | {"params": values})
        return
    print_record(
        {
            **{name: record[name] for name in ("run", "sponsor", "round")},
            "phase": record["phase"].replace("_", " "),
            "trainers": f"{record['trainers']} (starts with {params.min_trainers})",
            "validators": f"{record['validators']} (starts with {params.min_validators})",
            "settled": f"{record['settled_rounds']} rounds of {params.max_rounds or 'as many as the sponsor wants'}",
            "pool": f"{tokens(funded_wei)} funded, {tokens(owed_wei)} earned, {tokens(client.refunded())} refunded",
            "closed": "yes" if status.closed else "no",
        }
    )


@app.command(name="list")
def list_runs(rpc_url: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a deployment, the oldest first."""
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    runs = [dataclasses.asdict(item) for item in where.deployment(chain).runs(chain)]
    if as_json:
        print_json(runs)
        return
    for item in runs:
        say(f"{item['run']}  sponsor {item['sponsor']}")
    if not runs:
        say("No run yet. Create one: emerit run create --corpus PATH")
