"""Run a cheating trainer: `python -m emerit.devnet.adversary free-rider|sybil-leader|sybil-follower …`.

The process is an ordinary trainer with another worker; chain, validators and API see a trainer like any other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emerit.devnet.adversaries import NoiseWorker, SybilFollower, SybilLeader
from emerit.protocol.manifest import Manifest
from emerit.run.process import add_node_arguments, options_from, run_process
from emerit_node.start import WorkerFactory, start_trainer
from emerit_node.worker import HonestWorker, Worker


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("free-rider", "sybil-leader", "sybil-follower"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=Path, default=Path("shared"))
    parser.add_argument("--noise", type=float, default=0.1)
    add_node_arguments(parser)
    given = parser.parse_args(arguments)
    factory = make_factory(given.kind, given.seed, given.share, given.noise)
    return run_process("trainer", lambda: start_trainer(options_from(given), factory), given.log_level)


def make_factory(kind: str, seed: int, share: Path, noise: float) -> WorkerFactory:
    """Worker factory of one kind of cheat."""

    def build(manifest: Manifest, folder: Path, private_seed: bytes) -> Worker:
        if kind == "free-rider":
            return NoiseWorker(manifest, seed)
        if kind == "sybil-follower":
            return SybilFollower(manifest, share, noise, seed)
        return SybilLeader(HonestWorker(manifest, folder, private_seed), share, noise, seed)

    return build


if __name__ == "__main__":
    sys.exit(main())
