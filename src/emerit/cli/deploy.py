"""`emerit deploy`: put the contracts on a chain, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emerit.chain.deployment import Deployment, deploy_all
from emerit.cli.shared import (
    DeploymentOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    WalletDirOption,
    WalletOption,
    console,
    place,
    print_json,
    print_record,
    sender_for,
    to_wei,
    unlock,
)
from emerit.errors import PreconditionError


def deploy(
    rpc_url: RpcOption = None,
    chain_id: Annotated[int | None, typer.Option(help="Refuse any other chain")] = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    deployment: DeploymentOption = None,
    token_cap: Annotated[str, typer.Option(help="Cap of the reward token")] = "1000000000",
    unbonding_seconds: Annotated[int, typer.Option(help="How long stakes stay after leaving")] = 3600,
    as_json: JsonOption = False,
) -> None:
    """Deploy the contracts; a second call finds them again and deploys nothing."""
    where = place(rpc_url, deployment=deployment)
    chain = where.chain()
    if chain_id is not None and chain.chain_id != chain_id:
        raise PreconditionError(
            "wrong-chain",
            f"{where.settings.rpc_url} is chain {chain.chain_id}, not {chain_id}.",
            "Check --rpc-url and --chain-id.",
        )
    path = where.settings.deployment or Path("deployments") / f"{chain.chain_id}.json"
    existing = Deployment.load(path) if path.exists() else None
    account = unlock(where, wallet, wallet_dir, password_file)
    result = deploy_all(
        chain,
        sender_for(chain, account),
        cap_wei=to_wei(token_cap),
        unbonding_seconds=unbonding_seconds,
        existing=existing,
    )
    result.save(path)
    if as_json:
        print_json({"file": str(path), "chain_id": result.chain_id, "addresses": result.addresses})
        return
    print_record({**result.addresses, "file": path})
    console().print("Next: emerit run create --corpus PATH")
