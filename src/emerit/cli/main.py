"""The `emerit` command: nouns, then verbs. Importing it does not import torch."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from emerit import __version__
from emerit.cli import deploy, devnet, model, nodes, reputation, rewards, runs, serve, wallet
from emerit.cli.shared import errors_console
from emerit.errors import EmeritError

app = typer.Typer(
    name="emerit",
    help="Train one model with strangers' computers and pay each of them for what its work was worth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(devnet.app, name="devnet", help="A whole network on this machine.")
app.command("deploy")(deploy.deploy)
app.add_typer(runs.app, name="run", help="Create, fund, close and look at runs.")
app.add_typer(nodes.trainer, name="trainer", help="Run a trainer for rewards.")
app.add_typer(nodes.validator, name="validator", help="Run a validator for rewards.")
app.add_typer(serve.app, name="api", help="Serve the HTTP API and its page.")
app.add_typer(reputation.app, name="reputation", help="Ask for reputation.")
app.add_typer(rewards.app, name="rewards", help="What an account earned, and claiming it.")
app.add_typer(wallet.app, name="wallet", help="Keystores of this machine.")
app.add_typer(model.app, name="model", help="Export a run's model, sample from it, evaluate it.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emerit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something must be there first, 75 try again later."""


def main() -> None:
    """Entry point: errors become one sentence with cause and fix, or JSON where `--json` was asked for."""
    try:
        app()
    except EmeritError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": error.as_dict()}))
        else:
            errors_console().print(f"[red]error[/] {error.code}: {error.cause}", highlight=False)
            if error.fix:
                errors_console().print(f"  fix: {error.fix}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
