"""`emerit run create|fund|close|fine|show|list`: what a sponsor does, and anybody's look at a run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.create import create
from emerit.cli.following import entry_in
from emerit.cli.options import (
    AddressArgument,
    AmountArgument,
    DeploymentOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, print_record, say, to_wei, tokens, when
from emerit.cli.place import address_of, place, sender_for
from emerit.errors import ChainError

if TYPE_CHECKING:
    from emerit.run.refunds import Leftover

app = typer.Typer(no_args_is_help=True)

app.command("create")(create)


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

    Call it again after the last round for the refund; on a run that has ended it only refunds. What is promised and
    unclaimed can be taken back once the claim period is over.
    """
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(where, chain, wallet, wallet_dir, password_file)
    if not client.finished() and not client.status().closed:
        client.close(sender)
    from emerit.run.refunds import leftover

    before_wei = client.refunded()
    if leftover(client).finished:
        try:
            client.refund(sender)
        except ChainError as error:
            if error.code not in ("nothing-to-refund", "not-certain"):
                raise
    refunded_wei, left = client.refunded() - before_wei, leftover(client)
    if as_json:
        values = {k: str(v) if k.endswith("_wei") else v for k, v in dataclasses.asdict(left).items()}
        print_json({"run": client.address, "refunded_wei": str(refunded_wei)} | values)
        return
    if refunded_wei:
        say(f"the run has ended; {tokens(refunded_wei)} went back to the sponsor")
    for line in _left_lines(left):
        say(line)


def _left_lines(left: Leftover) -> list[str]:
    """What of the pool the sponsor does not have back yet, and when it can."""
    again = "run `emerit run close` again"
    if not left.finished:
        return [f"closed; the present round is the last: {again} after it for the refund"]
    lines = []
    if left.free_wei:
        lines.append(
            f"{tokens(left.free_wei)} more can be refunded once the last settlements cannot be challenged any more"
            + (f" ({when(left.free_from)})" if left.free_from else "")
            + f": {again} then"
        )
    if left.promised_wei and left.promised_from:
        lines.append(
            f"{tokens(left.promised_wei)} are promised and not claimed; what still is so on {when(left.promised_from)} "
            f"can be refunded then: {again}"
        )
    return lines or ["nothing is left"]


@app.command()
def fine(
    round_number: Annotated[int, typer.Argument(metavar="ROUND", min=0, help="The round in which it was missed")],
    member: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine a member that did not open its commitment, or a validator that did not sign in a void round. By anybody.

    The contract checks it; the fine is burned, nobody gets it. A trainer can be fined until it commits again.
    """
    target = address_of(member, wallet_dir)
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    entry = entry_in(client, target)
    sender = sender_for(where, chain, wallet, wallet_dir, password_file)
    if entry.role.name == "TRAINER":
        receipt = client.fine_trainer(sender, round_number, entry.operator)
    else:
        receipt = client.fine_validator(sender, round_number, entry.slot)
    fined_wei = entry.stake_wei - entry_in(client, entry.account).stake_wei
    if as_json:
        print_json(
            {
                "account": entry.account,
                "round": round_number,
                "fined_wei": str(fined_wei),
                "transaction": receipt.tx_hash,
            }
        )
        return
    say(f"{entry.account} was fined {tokens(fined_wei)} for round {round_number}")


@app.command()
def show(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: phase, members, harmful rounds taken back, pool, parameters (--json has all of them)."""
    from emerit.run.rollback import take_backs

    where = place(rpc_url, run=run, deployment=deployment)
    client = where.run_client(where.chain())
    status, params = client.status(), client.params()
    roles = [entry.role.name for entry in client.registry() if not entry.left_at]
    funded_wei, owed_wei = client.funded(), client.settled_total_wei()
    undone = take_backs(client.state_chain(), params.initial_state_root)
    record: dict[str, Any] = {
        "run": client.address,
        "sponsor": client.sponsor(),
        "round": status.round,
        "phase": status.phase.name.lower(),
        "trainers": roles.count("TRAINER"),
        "validators": roles.count("VALIDATOR"),
        "settled_rounds": len(client.pay_chain()),
        "took_back": {str(number): taken for number, taken in undone.items()},
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
            "taken back": ", ".join(f"round {taken} in round {number}" for number, taken in undone.items()) or "none",
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
