"""Start the processes of one node as torchrun would, and wait for their end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

WAIT_SECONDS = 240.0


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun gives a process."""
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    paths = os.pathsep.join(path for path in sys.path if path)
    texts = {name: str(value) for name, value in given.items()}
    return {**os.environ, **texts, "MASTER_ADDR": "127.0.0.1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}


def start_ranks(program: str, folder: Path, mode: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, "-m", program, str(folder), mode],
            env=environment(rank, 2, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a process and return what it said."""
    try:
        out, err = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
    return out + err


def end_after_a_kill(program: str, folder: Path, victim: int) -> tuple[int, str]:
    """Start two processes that work for ever, kill one after a round; return how the other ended and what it said."""
    ranks = start_ranks(program, folder, "forever")
    try:
        assert ranks[0].stdout is not None
        assert "1\n" in ranks[0].stdout, "a round is done; the iterator ends with the process"
        ranks[victim].send_signal(signal.SIGKILL)
        said = ended(ranks[1 - victim])
        return ranks[1 - victim].returncode, said
    finally:
        for process in ranks:
            process.kill()
            process.communicate(timeout=WAIT_SECONDS)
