"""`emerit wallet create|list`: keystores of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from emerit.cli.options import JsonOption, PasswordOption, WalletDirOption
from emerit.cli.output import print_json, say

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new wallet")],
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and keep it encrypted (keystore V3, mode 0600); never overwrites one."""
    from emerit.keys.keystore import Keystore
    from emerit.keys.password import read_password

    keystore = Keystore(wallet_dir)
    password = read_password("Password for the new wallet", file=password_file, confirm=True)
    address = keystore.create(name, password)
    if as_json:
        print_json({"name": name, "address": address, "folder": str(keystore.folder)})
        return
    say(f"{name}: {address}\nkept in {keystore.folder}; back it up: whoever loses file or password loses the account")
    say("Nobody of this project will ever ask for either.")


@app.command(name="list")
def list_wallets(wallet_dir: WalletDirOption = None, as_json: JsonOption = False) -> None:
    """List the wallets of this machine."""
    from emerit.keys.keystore import Keystore

    rows = Keystore(wallet_dir).list()
    if as_json:
        print_json([{"name": row.name, "address": row.address, "path": str(row.path)} for row in rows])
        return
    for row in rows:
        say(f"{row.name:<20} {row.address}")
    if not rows:
        say("No wallet yet. Make one: emerit wallet create NAME")
