"""`emerit devnet up|status|down|fund`: chain, two IPFS nodes and contracts on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emerit.chain.deployment import Deployment
from emerit.chain.rpc import Chain
from emerit.cli.shared import (
    DEVNET_FOLDER,
    JsonOption,
    WalletDirOption,
    console,
    print_json,
    running_devnet,
    to_wei,
)
from emerit.devnet.accounts import fund as fund_address
from emerit.devnet.detached import processes, stop_devnet
from emerit.errors import PreconditionError
from emerit.keys.keystore import Keystore

app = typer.Typer(no_args_is_help=True)

FolderOption = Annotated[Path, typer.Option("--folder", help="Where the devnet keeps everything")]


@app.command()
def up(
    folder: FolderOption = DEVNET_FOLDER,
    port_base: Annotated[int, typer.Option(help="First of six ports (chain, IPFS, …); 0 takes free ones")] = 8545,
) -> None:
    """Start a devnet in the background: chain, two IPFS nodes, contracts."""
    from emerit.devnet.devnet import Devnet
    from emerit.devnet.processes import require_free_port

    record = running_devnet(folder)
    if record is not None and any(process.running for process in processes(record)):
        raise PreconditionError(
            "devnet-running",
            f"A devnet already runs in {folder}.",
            "See it with `emerit devnet status`, stop it with `emerit devnet down`.",
        )
    names = ("the chain", "IPFS", "IPFS swarm", "IPFS", "IPFS swarm")
    ports = tuple(port_base + offset for offset in range(5)) if port_base else None
    for port, name in zip(ports or (), names, strict=False):
        require_free_port(port, name)
    devnet = Devnet(folder.resolve(), outlive=True, ports=ports)
    info = devnet.start(lambda text: console().print(f"· {text}", highlight=False))
    console().print(
        f"The devnet is up: chain {info.chain_id} at {info.rpc_url}, IPFS at {info.ipfs_trainers_api} (trainers) "
        f"and {info.ipfs_validators_api} (validators).\nNext: emerit run create --corpus PATH",
        highlight=False,
    )


@app.command()
def status(folder: FolderOption = DEVNET_FOLDER, as_json: JsonOption = False) -> None:
    """Say what runs."""
    record = running_devnet(folder)
    rows = [] if record is None else processes(record)
    up_now = bool(rows) and all(row.running for row in rows)
    if as_json:
        parts = {row.name: {"pid": row.pid, "running": row.running} for row in rows}
        print_json({"up": up_now, "processes": parts, "devnet": record})
    elif record is None:
        console().print("No devnet here. Start one: emerit devnet up")
    else:
        for row in rows:
            console().print(f"{'[green]up[/]  ' if row.running else '[red]down[/]'} {row.name} (pid {row.pid})")
        console().print(f"chain {record['chain_id']} at {record['rpc_url']}", highlight=False)
    if not up_now:
        raise typer.Exit(3)


@app.command()
def down(folder: FolderOption = DEVNET_FOLDER) -> None:
    """Stop the devnet; chain state and IPFS repositories stay in its folder."""
    record = running_devnet(folder)
    if record is None:
        console().print("No devnet here.")
        return
    stopped = stop_devnet(record, folder)
    console().print(f"stopped: {', '.join(stopped) or 'nothing ran'}", highlight=False)


@app.command()
def fund(
    address: Annotated[str, typer.Argument(help="Address, or name of a keystore")],
    ether: Annotated[str, typer.Option(help="Ether for gas")] = "10",
    tokens: Annotated[str, typer.Option(help="Tokens for bonds and stakes")] = "1000",
    folder: FolderOption = DEVNET_FOLDER,
    wallet_dir: WalletDirOption = None,
) -> None:
    """Send devnet ether and devnet tokens to an address."""
    record = running_devnet(folder)
    if record is None:
        raise PreconditionError("devnet-missing", "No devnet runs here.", "Start one: emerit devnet up.")
    target = address
    if not address.startswith("0x"):
        known = {entry.name: entry.address for entry in Keystore(wallet_dir).list()}
        if address not in known:
            raise PreconditionError(
                "key-not-found",
                f"There is no wallet {address!r} here.",
                f"Known: {', '.join(sorted(known)) or 'none; make one with emerit wallet create NAME'}.",
            )
        target = known[address]
    chain = Chain(record["rpc_url"], record["chain_id"])
    deployment = Deployment.load(Path(record["deployment"]))
    fund_address(chain, deployment, target, ether_wei=to_wei(ether), tokens_wei=to_wei(tokens))
    console().print(f"{target} got {ether} ether and {tokens} EMRT", highlight=False)
