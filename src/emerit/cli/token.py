"""`emerit token balance|send|mint`: the deployment's reward token."""

from __future__ import annotations

from pathlib import Path

import typer

from emerit.cli.options import (
    AddressArgument,
    AmountArgument,
    DeploymentOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, say, to_wei, tokens
from emerit.cli.place import address_of, place, sender_for

app = typer.Typer(no_args_is_help=True)


@app.command()
def balance(
    address: AddressArgument,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many tokens, and how much of the chain's currency for gas, an account holds."""
    target = address_of(address, wallet_dir)
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    from emerit.chain.token import Token

    token = Token(chain, where.deployment(chain).token)
    held_wei, gas_wei = token.balance_of(target), chain.balance_wei(target)
    if as_json:
        print_json({"address": target, "token": token.address, "tokens_wei": str(held_wei), "gas_wei": str(gas_wei)})
        return
    say(f"{target} has {tokens(held_wei)}, and {gas_wei / 1e18:.6f} of the chain's currency for gas")


@app.command()
def send(
    to: AddressArgument,
    amount: AmountArgument,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send tokens of the wallet's."""
    _move("transfer", to, amount, rpc_url, deployment, (wallet, wallet_dir, password_file), as_json=as_json)


@app.command()
def mint(
    to: AddressArgument,
    amount: AmountArgument,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make new tokens, up to the cap; by the token's minter, who deployed it."""
    _move("mint", to, amount, rpc_url, deployment, (wallet, wallet_dir, password_file), as_json=as_json)


def _move(
    act: str,
    to: str,
    amount: str,
    rpc_url: str | None,
    deployment: Path | None,
    signer: tuple[str | None, Path | None, Path | None],
    *,
    as_json: bool,
) -> None:
    amount_wei = to_wei(amount, zero_allowed=False)
    target = address_of(to, signer[1])
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    from emerit.chain.token import Token

    token = Token(chain, where.deployment(chain).token)
    sender = sender_for(where, chain, *signer)
    receipt = token.mint(sender, target, amount_wei) if act == "mint" else token.transfer(sender, target, amount_wei)
    if as_json:
        print_json({"to": target, "amount_wei": str(amount_wei), "transaction": receipt.tx_hash})
        return
    say(f"{target} got {tokens(amount_wei)}")
