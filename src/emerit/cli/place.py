"""Where the commands work: settings, clients of chain and IPFS, the run that is meant, the wallet that signs.

What is heavy (web3, the keystore, pydantic) is imported by the functions that need it, so that `--help` is quick.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from emerit.errors import PreconditionError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from emerit.chain.deployment import Deployment
    from emerit.chain.rpc import Chain
    from emerit.chain.run_client import RunClient
    from emerit.chain.transactions import Sender
    from emerit.config import Settings

DEVNET_FOLDER: Final = Path(".emerit/devnet")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


@dataclass(frozen=True)
class Place:
    """Where the commands work: settings after flags, environment, file and a devnet that runs here."""

    settings: Settings
    devnet: dict[str, Any] | None

    def chain(self) -> Chain:
        """Client of the chain.

        Raises:
            UnavailableError: `rpc-unreachable`, or another code of the transport.
            PreconditionError: `wrong-chain` when it is not the devnet's.
        """
        from emerit.chain.rpc import Chain

        expected = self.devnet["chain_id"] if self.devnet else None
        return Chain(self.settings.rpc_url, expected)

    def deployment_path(self, chain: Chain) -> Path:
        """File with the contracts' addresses on that chain: the one named, else `deployments/<chain id>.json`."""
        return self.settings.deployment or Path("deployments") / f"{chain.chain_id}.json"

    def deployment(self, chain: Chain) -> Deployment:
        """The contracts' addresses on that chain.

        Raises:
            PreconditionError: `not-deployed`, or `wrong-chain` when the file is another chain's.
        """
        from emerit.chain.deployment import Deployment

        path = self.deployment_path(chain)
        if not path.exists():
            raise PreconditionError(
                "not-deployed",
                f"There is no deployment file for chain {chain.chain_id} ({path}).",
                "Run `emerit deploy` first, or name the file with --deployment.",
            )
        deployment = Deployment.load(path)
        deployment.check_chain(chain)
        return deployment

    def run_client(self, chain: Chain) -> RunClient:
        """Client of the run that is meant: the one named, else the newest of the deployment.

        Raises:
            PreconditionError: `no-run` when there is none.
        """
        from emerit.chain.run_client import RunClient

        if self.settings.run:
            return RunClient(chain, self.settings.run)
        runs = self.deployment(chain).runs(chain)
        if not runs:
            raise PreconditionError(
                "no-run", "No run has been created here yet.", "Create one: emerit run create --corpus PATH."
            )
        return RunClient(chain, runs[-1].run, from_block=runs[-1].block)


def place(
    rpc_url: str | None = None,
    ipfs_api: str | None = None,
    run: str | None = None,
    deployment: Path | None = None,
    *,
    validator: bool = False,
    more: dict[str, Any] | None = None,
) -> Place:
    """Settings from flags, environment, `emerit.toml`, and below those a devnet running in this folder.

    A devnet counts only while its chain is the one that is meant.

    Args:
        validator: whether the devnet's IPFS node of the validators is meant rather than the trainers'.
        more: flags of a single command, by setting.
    """
    from emerit.config import load_settings

    flags = {"rpc_url": rpc_url, "ipfs_api": ipfs_api, "run": run, "deployment": deployment, **(more or {})}
    home = os.environ.get("EMERIT_HOME")
    defaults: dict[str, Any] = {"data_dir": Path(home)} if home else {}
    devnet = running_devnet()
    if devnet is None:
        return Place(load_settings(flags, defaults), None)
    side = "ipfs_validators_api" if validator else "ipfs_trainers_api"
    of_devnet = {
        "rpc_url": devnet["rpc_url"],
        "ipfs_api": devnet[side],
        "deployment": Path(devnet["deployment"]),
    }
    settings = load_settings(flags, defaults | of_devnet)
    if settings.rpc_url != str(devnet["rpc_url"]).rstrip("/"):
        return Place(load_settings(flags, defaults), None)
    return Place(settings, devnet)


def running_devnet(folder: Path = DEVNET_FOLDER) -> dict[str, Any] | None:
    """What `devnet.json` in this folder says, or None where there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / "devnet.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record


def unlock(where: Place, wallet: str | None, wallet_dir: Path | None, password_file: Path | None) -> LocalAccount:
    """The wallet that signs; on a devnet, its own funded account unless another is named.

    Raises:
        PreconditionError: `wallet-needed` off a devnet without --wallet, and as the keystore.
    """
    if wallet is None:
        if where.devnet is not None:
            from emerit.devnet.accounts import devnet_account

            return devnet_account()
        raise PreconditionError(
            "wallet-needed",
            "This needs a wallet that signs.",
            "Name one with --wallet, or make one: emerit wallet create NAME.",
        )
    from emerit.keys.keystore import Keystore
    from emerit.keys.password import read_password

    return Keystore(wallet_dir).load(wallet, read_password("Wallet password", file=password_file))


def sender_for(
    where: Place, chain: Chain, wallet: str | None, wallet_dir: Path | None, password_file: Path | None
) -> Sender:
    """Transaction sender of the wallet that signs; raises as `unlock`."""
    from emerit.chain.transactions import Sender

    return Sender(chain, unlock(where, wallet, wallet_dir, password_file))


def address_of(text: str, wallet_dir: Path | None = None) -> str:
    """Checksummed address for an address, or for the name of a wallet of this machine.

    Raises:
        PreconditionError: `key-not-found` for a name that no wallet has.
        UsageError: `address-invalid` for something that begins like an address.
    """
    from emerit.chain.contract import checked_address
    from emerit.keys.keystore import Keystore

    if text.startswith("0x"):
        return checked_address(text)
    known = {entry.name: entry.address for entry in Keystore(wallet_dir).list()}
    if text not in known:
        raise PreconditionError(
            "key-not-found",
            f"{text!r} is neither an address nor a wallet of this machine.",
            f"Known: {', '.join(sorted(known)) or 'none; make one with emerit wallet create NAME'}.",
        )
    return known[text]
