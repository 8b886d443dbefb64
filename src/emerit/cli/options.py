"""Options that more than one command has, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RpcOption = Annotated[str | None, typer.Option("--rpc-url", help="JSON-RPC of the chain [EMERIT_RPC_URL]")]
IpfsOption = Annotated[str | None, typer.Option("--ipfs-api", help="RPC of a Kubo node [EMERIT_IPFS_API]")]
RunOption = Annotated[str | None, typer.Option("--run", help="Address of the run [EMERIT_RUN]; default: the newest")]
RunArgument = Annotated[str | None, typer.Argument(help="Address of the run [EMERIT_RUN]; default: the newest")]
DeploymentOption = Annotated[Path | None, typer.Option("--deployment", help="Deployment file [EMERIT_DEPLOYMENT]")]
WalletOption = Annotated[str | None, typer.Option("--wallet", help="Name, address or path of a keystore")]
WalletDirOption = Annotated[Path | None, typer.Option("--wallet-dir", help="Folder of the keystores")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password; else EMERIT_PASSWORD, else asked for")
]
AddressArgument = Annotated[str, typer.Argument(help="Address, or name of a wallet of this machine")]
AmountArgument = Annotated[str, typer.Argument(help="Whole tokens, decimals allowed: 12.5")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
