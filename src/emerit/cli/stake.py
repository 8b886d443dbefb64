"""`emerit stake show|join|add|remove|operator|leave|withdraw`: membership of a run, by the owner account."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

if TYPE_CHECKING:
    from emerit.chain.run_client import RunClient
    from emerit.chain.transactions import Sender
    from emerit.protocol.types import RegistryEntry

app = typer.Typer(no_args_is_help=True)

FOREVER = 2**32 - 1
Signer = tuple[str | None, Path | None, Path | None]


class JoinRole(StrEnum):
    """What one can join a run as."""

    TRAINER = "trainer"
    VALIDATOR = "validator"


@app.command()
def show(
    address: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a membership: role, operator, stake, from which to which round, when it can be withdrawn."""
    target = address_of(address, wallet_dir)
    where = place(rpc_url, run=run, deployment=deployment)
    client = where.run_client(where.chain())
    _print(_record(client, entry_in(client, target)), as_json=as_json)


@app.command()
def join(
    role: Annotated[JoinRole, typer.Argument(help="trainer or validator")],
    operator: Annotated[
        str | None, typer.Option(help="Address or wallet that acts in rounds; default: the wallet itself")
    ] = None,
    amount: Annotated[str | None, typer.Option(help="Tokens to stake; default: the run's minimum")] = None,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Join a run with a bond or stake; the wallet is the owner, the operator's key goes to the node.

    A node whose wallet is the operator finds the membership and joins no more.
    """
    amount_wei = None if amount is None else to_wei(amount)
    hot = None if operator is None else address_of(operator, wallet_dir)

    def act(client: RunClient, sender: Sender) -> None:
        from emerit.protocol.types import Role

        params = client.params()
        chosen = Role.TRAINER if role is JoinRole.TRAINER else Role.VALIDATOR
        least_wei = params.min_trainer_bond_wei if chosen is Role.TRAINER else params.min_validator_stake_wei
        client.join(sender, chosen, hot or sender.address, least_wei if amount_wei is None else amount_wei)

    _change(act, run, rpc_url, deployment, (wallet, wallet_dir, password_file), as_json=as_json)


@app.command()
def add(
    amount: AmountArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add to a member's stake; a validator's votes count for more from the next epoch on."""
    amount_wei = to_wei(amount, zero_allowed=False)
    signer = (wallet, wallet_dir, password_file)
    _change(
        lambda client, sender: client.add_stake(sender, amount_wei), run, rpc_url, deployment, signer, as_json=as_json
    )


@app.command()
def operator(
    address: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another key act in rounds, at once; for a key that was lost or stolen."""
    hot = address_of(address, wallet_dir)
    signer = (wallet, wallet_dir, password_file)
    _change(lambda client, sender: client.set_operator(sender, hot), run, rpc_url, deployment, signer, as_json=as_json)


@app.command(name="remove")
@app.command(name="leave")
def leave(
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the membership: a trainer's with the present round, a validator's with the epoch. Then the stake unbinds.

    It goes back whole, less what was slashed: there is no partial removal. `remove` and `leave` are the same.
    """
    signer = (wallet, wallet_dir, password_file)
    _change(lambda client, sender: client.leave(sender), run, rpc_url, deployment, signer, as_json=as_json)


@app.command()
def withdraw(
    member: Annotated[
        str | None,
        typer.Option("--for", help="Account or wallet whose stake is paid back to it; default: the wallet that signs"),
    ] = None,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the stake back after leaving, once it is no longer bound; anybody may send it, the owner gets it."""
    owner = None if member is None else address_of(member, wallet_dir)

    def act(client: RunClient, sender: Sender) -> None:
        client.withdraw_for(sender, entry_in(client, owner or sender.address).account)

    _change(act, run, rpc_url, deployment, (wallet, wallet_dir, password_file), as_json=as_json, member=owner)


def _change(
    act: Callable[[RunClient, Sender], object],
    run: str | None,
    rpc_url: str | None,
    deployment: Path | None,
    signer: Signer,
    *,
    as_json: bool,
    member: str | None = None,
) -> None:
    """Send one change and show the membership after it: the sender's, unless `member` is named."""
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(where, chain, *signer)
    act(client, sender)
    _print(_record(client, entry_in(client, member or sender.address)), as_json=as_json)


def _record(client: RunClient, entry: RegistryEntry) -> dict[str, Any]:
    return {
        "account": entry.account,
        "operator": entry.operator,
        "role": entry.role.name.lower(),
        "slot": entry.slot,
        "index": entry.index,
        "stake_wei": str(entry.stake_wei),
        "active_from": entry.active_from,
        "active_until": None if entry.active_until == FOREVER else entry.active_until,
        "withdrawable_at": client.withdrawable_at(entry.index) or None,
    }


def _print(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    until, bound = record["active_until"], record["withdrawable_at"]
    print_record(
        {
            **{name: record[name] for name in ("account", "operator", "role", "slot", "index")},
            "stake": tokens(int(record["stake_wei"])),
            "active": f"from round {record['active_from']}" + ("" if until is None else f" to before round {until}"),
        }
    )
    if until is not None and int(record["stake_wei"]):
        say(
            "The stake unbinds once its last round is over."
            if bound is None
            else f"The stake can be withdrawn from {when(bound)} on: emerit stake withdraw"
        )
