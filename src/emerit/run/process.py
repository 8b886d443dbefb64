"""The outermost layer of a node process: arguments, logging, one sentence per error, exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from emerit.errors import EmeritError
from emerit.out_of_memory import out_of_memory
from emerit.run.options import NodeOptions
from emerit.telemetry import setup_logging


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that trainer and validator share."""
    parser.add_argument("--rpc-url", required=True, help="JSON-RPC of the chain")
    parser.add_argument("--ipfs-api", required=True, help="RPC of a Kubo node")
    # torchrun takes --run for an abbreviation of an option of its own, wherever it stands.
    parser.add_argument("--run", "--run-address", required=True, help="address of the run")
    parser.add_argument("--wallet", required=True, help="name, address or path of the operator's keystore")
    parser.add_argument("--wallet-dir", type=Path, help="folder of the keystores")
    parser.add_argument("--password-file", type=Path, help="file with the wallet's password")
    parser.add_argument("--data-dir", type=Path, required=True, help="the node's own folder")
    parser.add_argument("--stake-wei", type=int, help="bond or stake to join with (default: the run's minimum)")
    parser.add_argument("--poll-seconds", type=float, default=0.5, help="how often to look at the chain")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def options_from(given: argparse.Namespace) -> NodeOptions:
    """Turn parsed arguments into options."""
    return NodeOptions(
        rpc_url=given.rpc_url,
        ipfs_api=given.ipfs_api,
        run=given.run,
        wallet=given.wallet,
        wallet_dir=given.wallet_dir,
        password_file=given.password_file,
        data_dir=given.data_dir,
        stake_wei=given.stake_wei,
        poll_seconds=given.poll_seconds,
    )


def run_process(role: str, start: Callable[[], None], log_level: str = "info") -> int:
    """Run a node; an error becomes one log line with cause and fix, and its exit code."""
    setup_logging(role=role, level=log_level)
    try:
        start()
    except EmeritError as error:
        structlog.get_logger(f"emerit.{role}").error("stopped", **error.as_dict())
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RuntimeError) as error:
        known = out_of_memory(error)
        if known is None:
            raise
        structlog.get_logger(f"emerit.{role}").error("stopped", **known.as_dict())
        return known.exit_code
    return 0


def node_main(
    role: str, start: Callable[[NodeOptions], None], description: str, arguments: list[str] | None = None
) -> int:
    """Entry point of `python -m emerit_node` and `python -m emerit_validator`."""
    parser = argparse.ArgumentParser(description=description)
    add_node_arguments(parser)
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    return run_process(role, lambda: start(options_from(given)), given.log_level)
