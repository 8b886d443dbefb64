"""What a node process is started with, and how its parts are put together from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.ipfs.client import BlobStore
from emerit.keys.keystore import Keystore
from emerit.keys.password import read_password
from emerit.run.context import RunContext, open_run
from emerit.run.node import NodeLoop, lock_folder
from emerit.run.ready import check_ready


@dataclass(frozen=True)
class NodeOptions:
    """Everything that a trainer or validator process needs to know.

    Attributes:
        run: address of the run's contract.
        wallet: name, address or path of the operator's keystore.
        data_dir: the node's own folder; one process at a time works in it.
        stake_wei: bond or stake to join with, None for the run's minimum.
    """

    rpc_url: str
    ipfs_api: str
    run: str
    wallet: str
    data_dir: Path
    password_file: Path | None = None
    wallet_dir: Path | None = None
    stake_wei: int | None = None
    poll_seconds: float = 0.5


@dataclass(frozen=True)
class NodeParts:
    """The shell around a node's core: run, signer, folder, loop."""

    context: RunContext
    sender: Sender
    folder: Path
    loop: NodeLoop


def node_folder_name(chain: Chain, account: str, run: str) -> str:
    """Name of a node's folder: account, run and the chain's first block, since devnets use addresses again."""
    genesis = chain.block(0)
    chain_mark = genesis.hash.hex()[:8] if genesis is not None else str(chain.chain_id)
    return f"{account.lower()}-{run.lower()[2:]}-{chain_mark}"


def assemble(options: NodeOptions, role: str) -> NodeParts:
    """Connect to chain and IPFS, unlock the wallet, take the data folder, check that this machine can play the run.

    Args:
        role: "trainer" or "validator", for the heartbeat.

    Raises:
        EmeritError: each with its cause and fix; nothing is left running.
    """
    account = Keystore(options.wallet_dir).load(
        options.wallet, read_password("Wallet password", file=options.password_file)
    )
    chain = Chain(options.rpc_url)
    client = RunClient(chain, options.run)
    store = BlobStore(options.ipfs_api)
    store.ready()
    folder = options.data_dir / node_folder_name(chain, account.address, client.address)
    lock_folder(folder)
    loop = NodeLoop(client, folder, options.poll_seconds, role=role)
    loop.install_signals()
    context = open_run(client, store)
    check_ready(context, role)
    return NodeParts(context, Sender(chain, account), folder, loop)
