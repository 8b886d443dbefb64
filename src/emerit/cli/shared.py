"""What the commands share: settings, clients, the run that is meant, printing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from eth_account.signers.local import LocalAccount
from rich.console import Console
from rich.table import Table

from emerit.chain.deployment import Deployment
from emerit.chain.factory import FactoryClient
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.config import Settings, load_settings
from emerit.errors import PreconditionError
from emerit.keys.keystore import Keystore
from emerit.keys.password import read_password

DEVNET_FOLDER = Path(".emerit/devnet")

RpcOption = Annotated[str | None, typer.Option("--rpc-url", help="JSON-RPC of the chain [EMERIT_RPC_URL]")]
IpfsOption = Annotated[str | None, typer.Option("--ipfs-api", help="RPC of a Kubo node [EMERIT_IPFS_API]")]
RunOption = Annotated[str | None, typer.Option("--run", help="Address of the run (default: the newest) [EMERIT_RUN]")]
DeploymentOption = Annotated[Path | None, typer.Option("--deployment", help="Deployment file [EMERIT_DEPLOYMENT]")]
WalletOption = Annotated[str | None, typer.Option("--wallet", help="Name, address or path of a keystore")]
WalletDirOption = Annotated[Path | None, typer.Option("--wallet-dir", help="Folder of the keystores")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password (or EMERIT_PASSWORD)")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


@dataclass(frozen=True)
class Place:
    """Where the commands work: settings after flags, environment, file and a devnet that runs here."""

    settings: Settings
    devnet: dict[str, Any] | None

    def chain(self) -> Chain:
        """Client of the chain."""
        expected = self.devnet["chain_id"] if self.devnet else None
        return Chain(self.settings.rpc_url, expected)

    def deployment(self, chain: Chain) -> Deployment:
        """The contracts' addresses on that chain.

        Raises:
            PreconditionError: `not-deployed`.
        """
        path = self.settings.deployment or Path("deployments") / f"{chain.chain_id}.json"
        if not path.exists():
            raise PreconditionError(
                "not-deployed",
                f"There is no deployment file for chain {chain.chain_id} ({path}).",
                "Run `emerit deploy` first, or name the file with --deployment.",
            )
        return Deployment.load(path)

    def run_client(self, chain: Chain) -> RunClient:
        """Client of the run that is meant: the one named, else the newest of the deployment.

        Raises:
            PreconditionError: `no-run` when there is none.
        """
        if self.settings.run:
            return RunClient(chain, self.settings.run)
        runs = FactoryClient(chain, self.deployment(chain).factory).runs()
        if not runs:
            raise PreconditionError(
                "no-run", "No run has been created here yet.", "Create one: emerit run create --corpus PATH."
            )
        return RunClient(chain, runs[-1].run)


def place(
    rpc_url: str | None = None,
    ipfs_api: str | None = None,
    run: str | None = None,
    deployment: Path | None = None,
    *,
    validator: bool = False,
) -> Place:
    """Settings from flags, environment, `emerit.toml`, and below those a devnet running in this folder.

    Args:
        validator: whether the devnet's IPFS node of the validators is meant rather than the trainers'.
    """
    flags = {"rpc_url": rpc_url, "ipfs_api": ipfs_api, "run": run, "deployment": deployment}
    devnet = running_devnet()
    defaults: dict[str, Any] = {}
    if devnet is not None:
        side = "ipfs_validators_api" if validator else "ipfs_trainers_api"
        defaults = {
            "rpc_url": devnet["rpc_url"],
            "ipfs_api": devnet[side],
            "deployment": Path(devnet["deployment"]),
        }
    settings = load_settings(flags, defaults)
    if devnet is not None and settings.rpc_url != devnet["rpc_url"]:
        devnet = None
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
        PreconditionError: `wallet-needed` off a devnet without --wallet.
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
    return Keystore(wallet_dir).load(wallet, read_password("Wallet password", file=password_file))


def sender_for(chain: Chain, account: LocalAccount) -> Sender:
    """Transaction sender of an account."""
    return Sender(chain, account)


def console() -> Console:
    """Where results go."""
    return Console(soft_wrap=True)


def errors_console() -> Console:
    """Where errors go."""
    return Console(stderr=True, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print data as JSON, bytes as 0x-hex."""
    print(json.dumps(data, indent=2, default=_plain))


def print_record(record: dict[str, Any]) -> None:
    """Print a record as two columns."""
    table = Table.grid(padding=(0, 2))
    for key, value in record.items():
        table.add_row(f"[dim]{key}[/]", str(value))
    console().print(table, highlight=False)


def tokens(wei: int) -> str:
    """Wei as whole tokens for people; machines get wei."""
    return f"{wei // 10**18:,}.{wei % 10**18 // 10**14:04d} EMRT"


def to_wei(amount: str) -> int:
    """Read an amount of whole tokens, decimals allowed, into wei without floats.

    Raises:
        UsageError: `amount-invalid`.
    """
    from decimal import Decimal, InvalidOperation

    from emerit.errors import UsageError

    try:
        wei = Decimal(amount) * 10**18
    except InvalidOperation:
        wei = Decimal(-1)
    if wei < 0 or wei != wei.to_integral_value():
        raise UsageError("amount-invalid", f"{amount!r} is not an amount.", "Use a number such as 12.5.")
    return int(wei)


def _plain(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
