"""The `emerit` command: nouns, then verbs. Importing it imports neither torch nor web3, so that help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from emerit import __version__
from emerit.cli import (
    audit,
    deploy,
    devnet,
    doctor,
    lab,
    model,
    nodes,
    reputation,
    rewards,
    runs,
    serve,
    stake,
    token,
    wallet,
)
from emerit.cli.output import print_error
from emerit.errors import EmeritError, PreconditionError, UsageError
from emerit.out_of_memory import out_of_memory

app = typer.Typer(
    name="emerit",
    help="Train one model with strangers' computers and pay each of them for what its work was worth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(devnet.app, name="devnet", help="Chain, IPFS and contracts on this machine.")
app.command("deploy")(deploy.deploy)
app.add_typer(runs.app, name="run", help="Create, fund, close and look at runs.")
app.add_typer(nodes.trainer, name="trainer", help="Run a trainer for rewards.")
app.add_typer(nodes.validator, name="validator", help="Run a validator for rewards.")
app.add_typer(rewards.app, name="rewards", help="What an account earned and why, and claiming it.")
app.add_typer(reputation.app, name="reputation", help="Ask for reputation.")
app.add_typer(model.app, name="model", help="Export a run's model, sample from it, evaluate it.")
app.add_typer(lab.app, name="lab", help="Try attacks and defences without a chain.")
app.command("audit")(audit.audit)
app.command("doctor")(doctor.doctor)
app.add_typer(serve.app, name="api", help="Serve the HTTP API and its page.")
app.add_typer(wallet.app, name="wallet", help="Keystores of this machine.")
app.add_typer(stake.app, name="stake", help="Bonds and stakes: join, add, leave, withdraw, change the operator.")
app.add_typer(token.app, name="token", help="The reward token: balances, transfers, minting.")


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
    """Train one model with strangers' computers and pay each of them for what its work was worth.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something must be there first, 75 try again later.
    """


def main() -> None:
    """Entry point: errors become one sentence with cause and fix, or JSON where `--json` was asked for."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    as_json = "--json" in arguments
    try:
        # Standing alone, Typer prints wrong usage itself, for people.
        code = app(args=arguments, prog_name="emerit", standalone_mode=not as_json)
        return code if isinstance(code, int) else 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except EmeritError as error:
        return _failed(error, as_json)
    except TyperException as error:
        explain = getattr(error, "format_message", None)
        cause = explain() if explain is not None else str(error)
        return _failed(UsageError("usage", cause, "See the command's --help."), as_json)
    except OSError as error:
        what = error.filename or "A file or socket"
        cause = f"{what} cannot be used: {error.strerror or error}."
        return _failed(PreconditionError("file-unusable", cause, "Check path, permissions and free space."), as_json)
    except (MemoryError, RuntimeError) as error:
        known = out_of_memory(error)
        if known is None:
            raise
        return _failed(known, as_json)


def _failed(error: EmeritError, as_json: bool) -> int:
    print_error(error, as_json=as_json)
    return error.exit_code


if __name__ == "__main__":
    main()
