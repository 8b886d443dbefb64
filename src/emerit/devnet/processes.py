"""Child processes with a log each: started in a row, stopped together, never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emerit.errors import PreconditionError

PR_SET_PDEATHSIG = 1
STOP_GRACE_SECONDS = 6.0


@dataclass
class Child:
    """One child process: its name for people, its handle, its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def tail(self, lines: int = 12) -> str:
        """Last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def node_environment() -> dict[str, str]:
    """Environment of a node process: one thread each, or they slow each other down several times over."""
    single = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**os.environ, **single, "PYTHONUNBUFFERED": "1"}


def start(name: str, arguments: Sequence[str | Path], log: Path, *, outlive: bool = False) -> Child:
    """Start a child in a session of its own (Ctrl-C reaches the parent only), its output into `log`.

    Args:
        outlive: whether it goes on when this process ends; otherwise it gets SIGTERM with it, even when this
            process is killed (on Linux).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(item) for item in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=node_environment(),
            start_new_session=True,
            preexec_fn=None if outlive else _die_with_parent(),
        )
    return Child(name, process, log)


def python_module(module: str, *arguments: str | Path) -> list[str]:
    """Command line of a module of this installation."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def stop_all(children: Sequence[Child], grace_seconds: float = STOP_GRACE_SECONDS) -> list[str]:
    """Stop children, the last started first; returns the names of those that had to be killed."""
    for child in reversed(children):
        if child.running:
            child.process.terminate()
    deadline = time.monotonic() + grace_seconds
    killed = []
    for child in reversed(children):
        try:
            child.process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait(5)
            killed.append(child.name)
    return killed


def free_ports(count: int) -> list[int]:
    """Ports that were free on loopback a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def require_free_port(port: int, what: str) -> None:
    """Raise PreconditionError `port-in-use` unless `port` is free on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PreconditionError(
                "port-in-use",
                f"Port {port} for {what} is in use.",
                "Stop what listens there, or name another port.",
            ) from error


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def arrange() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return arrange
