"""The main job, end to end, on one machine: `make demo`, or `python -m emerit.devnet.demo --help`.

A real chain, two real IPFS nodes, contracts, honest trainers, free-riders, Sybils, validators and the API, each a
process of its own with its own key. Only this driver knows who is who.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from emerit.devnet.demo_report import report
from emerit.devnet.demo_stage import Stage
from emerit.errors import EmeritError, UsageError
from emerit.training.threads import single_thread

LOG_WIDTH = 170


@dataclass(frozen=True)
class DemoOptions:
    """How many of whom, how long, and where.

    Attributes:
        seed: permutes who joins in which order, and seeds the adversaries.
        folder: where chain state, IPFS repositories, logs and `summary.json` go.
    """

    seed: int = 1
    trainers: int = 4
    free_riders: int = 1
    sybils: int = 2
    validators: int = 3
    rounds: int = 12
    preset: str = "demo"
    corpus: Path | None = None
    folder: Path = Path(".emerit/demo")
    stay: bool = True

    def check(self) -> None:
        """Raise UsageError `demo-options` for numbers that cannot work."""
        for name, least, most in (
            ("trainers", 1, 64),
            ("free_riders", 0, 32),
            ("sybils", 0, 32),
            ("validators", 1, 16),
            ("rounds", 1, 10_000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(
                    "demo-options",
                    f"--{name.replace('_', '-')} {value} is out of range.",
                    f"Use {least} to {most}.",
                )
        if self.sybils == 1:
            raise UsageError("demo-options", "One Sybil is no Sybil.", "Use --sybils 0, or 2 and more.")


def parse(arguments: list[str] | None = None) -> DemoOptions:
    """Read the command line and the two environment variables DEMO_EXIT and EMERIT_DEMO_DIR."""
    parser = argparse.ArgumentParser(prog="emerit demo", description=__doc__)
    defaults = DemoOptions()
    for name, text in (
        ("seed", "permutes who joins when, seeds the adversaries"),
        ("trainers", "honest trainers"),
        ("free-riders", "trainers that submit well-formed noise"),
        ("sybils", "identities that publish one worker's update with a little noise"),
        ("validators", "validators"),
        ("rounds", "rounds to settle"),
    ):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name.replace("-", "_")), help=text)
    parser.add_argument("--preset", default=defaults.preset, help="model and training preset")
    parser.add_argument("--corpus", type=Path, help="text file or folder (default: Shakespeare)")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: EMERIT_DEMO_DIR)")
    parser.add_argument("--exit", action="store_true", help="do not stay up at the end (or DEMO_EXIT=1)")
    given = parser.parse_args(arguments)
    folder = given.folder or Path(os.environ.get("EMERIT_DEMO_DIR") or defaults.folder)
    options = DemoOptions(
        seed=given.seed,
        trainers=given.trainers,
        free_riders=given.free_riders,
        sybils=given.sybils,
        validators=given.validators,
        rounds=given.rounds,
        preset=given.preset,
        corpus=given.corpus,
        folder=folder.resolve(),
        stay=not (given.exit or os.environ.get("DEMO_EXIT") == "1"),
    )
    options.check()
    return options


def run_demo(options: DemoOptions, console: Console, stop: threading.Event) -> int:
    """Run the demo to its end; returns the exit code (1 when a check failed, 130 when stopped)."""
    began = time.monotonic()
    single_thread()  # this driver shares the cores with its nodes
    with Stage(options, console, stop) as stage:
        stage.set_up(secrets.token_bytes(32) if options.seed < 0 else _run_seed(options.seed))
        stage.start_nodes()
        stage.follow()
        if stop.is_set():
            console.print("stopped")
            return 130
        summary = report(stage, began)
        if options.stay:
            console.print(f"\nThe API and its page stay up at {stage.api_url} until Ctrl-C.")
            while not stop.wait(0.5):
                stage.require_alive(nodes=False)
    return 1 if summary.failed else 0


def _run_seed(seed: int) -> bytes:
    import hashlib

    return hashlib.sha256(b"emerit/demo/v1" + seed.to_bytes(8, "big")).digest()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; every error ends as one sentence with its fix."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        return run_demo(parse(arguments), console, stop)
    except EmeritError as error:
        if stop.is_set():
            return 130
        Console(stderr=True).print(f"[red]error[/] {error.code}: {error.cause} {error.fix}", highlight=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
