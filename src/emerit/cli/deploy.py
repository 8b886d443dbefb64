"""`emerit deploy`: put the contracts on a chain, once."""

from __future__ import annotations

from typing import Annotated

import typer

from emerit.cli.options import DeploymentOption, JsonOption, PasswordOption, RpcOption, WalletDirOption, WalletOption
from emerit.cli.output import print_json, print_record, say, say_step, to_wei
from emerit.cli.place import place, sender_for
from emerit.errors import PreconditionError

# Longer than any dispute under any clock of `emerit.protocol.presets`.
UNBONDING_SECONDS = 7 * 86_400
MOST_UNBONDING = 2**32 - 1


def deploy(
    rpc_url: RpcOption = None,
    chain_id: Annotated[int | None, typer.Option(help="Refuse any other chain")] = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    deployment: DeploymentOption = None,
    token_cap: Annotated[str, typer.Option(help="Most tokens that can ever exist")] = "1000000000",
    unbonding_seconds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_UNBONDING,
            help="How long stakes stay bound after leaving; default: a week, on a devnet an hour",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy the contracts; a second call finds them again and deploys nothing.

    The addresses go to the deployment file, after each contract: an interrupted deployment goes on where it was.
    The wallet becomes the token's minter; nothing else has an owner.
    """
    cap_wei = to_wei(token_cap, zero_allowed=False)
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    if chain_id is not None and chain.chain_id != chain_id:
        raise PreconditionError(
            "wrong-chain",
            f"{where.settings.rpc_url} is chain {chain.chain_id}, not {chain_id}.",
            "Check --rpc-url and --chain-id.",
        )
    from emerit.chain.deployment import deploy_all

    path = where.deployment_path(chain)
    if unbonding_seconds is None:
        from emerit.devnet.devnet import UNBONDING_SECONDS as DEVNET_SECONDS

        unbonding_seconds = DEVNET_SECONDS if where.devnet is not None else UNBONDING_SECONDS
    made = 0

    def on_step(name: str, _address: str, reused: bool) -> None:
        nonlocal made
        made += not reused
        if not as_json:
            say_step(f"{name} {'found' if reused else 'deployed'}")

    result = deploy_all(
        chain,
        sender_for(where, chain, wallet, wallet_dir, password_file),
        cap_wei=cap_wei,
        unbonding_seconds=unbonding_seconds,
        path=path,
        on_step=on_step,
    )
    record = {"file": str(path), "chain_id": result.chain_id, "deployed": made}
    if as_json:
        print_json(record | {"addresses": dict(result.addresses)})
        return
    print_record({**result.addresses, "file": path})
    say("Next: emerit run create --corpus PATH")
