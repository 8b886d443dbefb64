"""`emerit devnet up|status|down|fund`: chain, two IPFS nodes and contracts on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emerit.cli.options import AddressArgument, JsonOption, WalletDirOption
from emerit.cli.output import TOKEN, print_json, say, say_step, to_wei
from emerit.cli.place import DEVNET_FOLDER, address_of, running_devnet
from emerit.errors import PreconditionError

app = typer.Typer(no_args_is_help=True)

FolderOption = Annotated[Path, typer.Option("--folder", help="Where the devnet keeps everything")]
PART_NAMES = ("the chain", "IPFS", "IPFS swarm", "IPFS", "IPFS swarm")


@app.command()
def up(
    folder: FolderOption = DEVNET_FOLDER,
    port_base: Annotated[
        int,
        typer.Option(
            min=0,
            max=65531,
            help="First of five ports (chain, IPFS). 0 takes free ones, and with them another chain each time",
        ),
    ] = 8545,
    as_json: JsonOption = False,
) -> None:
    """Start a devnet in the background: chain, two IPFS nodes, contracts."""
    import dataclasses

    from emerit.devnet.detached import processes
    from emerit.devnet.devnet import Devnet
    from emerit.devnet.processes import require_free_port

    record = running_devnet(folder)
    if record is not None and any(process.running for process in processes(record)):
        raise PreconditionError(
            "devnet-running",
            f"A devnet already runs in {folder}.",
            "See it with `emerit devnet status`, stop it with `emerit devnet down`.",
        )
    ports = tuple(port_base + offset for offset in range(len(PART_NAMES))) if port_base else None
    for port, name in zip(ports or (), PART_NAMES, strict=False):
        require_free_port(port, name)
    devnet = Devnet(folder.resolve(), outlive=True, ports=ports)
    info = devnet.start((lambda _text: None) if as_json else say_step)
    if as_json:
        print_json(dataclasses.asdict(info))
        return
    say(
        f"The devnet is up: chain {info.chain_id} at {info.rpc_url}, IPFS at {info.ipfs_trainers_api} (trainers) "
        f"and {info.ipfs_validators_api} (validators).\nNext: emerit run create --corpus PATH"
    )


@app.command()
def status(folder: FolderOption = DEVNET_FOLDER, as_json: JsonOption = False) -> None:
    """Say what runs; exit 3 unless everything does."""
    from emerit.devnet.detached import processes

    record = running_devnet(folder)
    rows = [] if record is None else processes(record)
    up_now = bool(rows) and all(row.running for row in rows)
    if as_json:
        parts = {row.name: {"pid": row.pid, "running": row.running} for row in rows}
        print_json({"up": up_now, "processes": parts, "devnet": record})
    elif record is None:
        say("No devnet here. Start one: emerit devnet up")
    else:
        for row in rows:
            say(f"{'up  ' if row.running else 'down'} {row.name} (pid {row.pid})")
        say(f"chain {record['chain_id']} at {record['rpc_url']}")
        if not up_now:
            say("Not everything runs. Start it again: emerit devnet down, then emerit devnet up")
    if not up_now:
        raise typer.Exit(3)


@app.command()
def down(folder: FolderOption = DEVNET_FOLDER, as_json: JsonOption = False) -> None:
    """Stop the devnet; chain state and IPFS repositories stay in its folder."""
    from emerit.devnet.detached import stop_devnet

    record = running_devnet(folder)
    stopped = [] if record is None else stop_devnet(record, folder)
    if as_json:
        print_json({"stopped": stopped})
    else:
        say("No devnet here." if record is None else f"stopped: {', '.join(stopped) or 'nothing ran'}")


@app.command()
def fund(
    address: AddressArgument,
    ether: Annotated[str, typer.Option(help="Ether for gas")] = "10",
    tokens: Annotated[str, typer.Option(help="Tokens for bonds and stakes")] = "1000",
    folder: FolderOption = DEVNET_FOLDER,
    wallet_dir: WalletDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send devnet ether and devnet tokens to an address or a wallet."""
    ether_wei, tokens_wei = to_wei(ether), to_wei(tokens)
    record = running_devnet(folder)
    if record is None:
        raise PreconditionError("devnet-missing", "No devnet runs here.", "Start one: emerit devnet up.")
    from emerit.chain.deployment import Deployment
    from emerit.chain.rpc import Chain
    from emerit.devnet.accounts import fund as fund_address

    target = address_of(address, wallet_dir)
    chain = Chain(record["rpc_url"], record["chain_id"])
    deployment = Deployment.load(Path(record["deployment"]))
    fund_address(chain, deployment, target, ether_wei=ether_wei, tokens_wei=tokens_wei)
    if as_json:
        print_json({"address": target, "ether_wei": str(ether_wei), "tokens_wei": str(tokens_wei)})
        return
    say(f"{target} got {ether} ether and {tokens} {TOKEN}")
