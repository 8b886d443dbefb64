"""What every long-running node has: a stop flag, a heartbeat that says what it waits for, waits with a reason."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from emerit.chain.run_client import RunClient
from emerit.errors import PreconditionError, UnavailableError
from emerit.protocol.types import Status

T = TypeVar("T")


@dataclass
class NodeLoop:
    """Polls a run's status and lets a node wait for conditions, never for times.

    Attributes:
        stop: set by SIGINT or SIGTERM; every wait and every long computation looks at it.
        folder: the node's data folder; `heartbeat.json` in it says round, phase and what the node waits for.
    """

    client: RunClient
    folder: Path
    poll_seconds: float = 0.5
    stop: threading.Event = field(default_factory=threading.Event)
    last_status: Status | None = None
    on_status: Callable[[Status], None] | None = None
    unreachable_limit_seconds: float = 60.0

    def install_signals(self) -> None:
        """Stop cleanly on SIGINT and SIGTERM."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stop.set()

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)

    def status(self) -> Status:
        """Read the run's status; a short outage of the chain is waited out.

        Raises:
            UnavailableError: the chain has not answered for `unreachable_limit_seconds`.
        """
        first_failure: float | None = None
        while True:
            try:
                self.last_status = self.client.status()
                if self.on_status is not None:
                    self.on_status(self.last_status)
                return self.last_status
            except UnavailableError:
                now = time.monotonic()
                first_failure = first_failure or now
                if self.stop.is_set() or now - first_failure > self.unreachable_limit_seconds:
                    raise
                self.stop.wait(self.poll_seconds)

    def wait_until(self, condition: Callable[[Status], bool], waiting_for: str) -> Status | None:
        """Poll until `condition(status)` holds; None when the node was told to stop."""
        while not self.stop.is_set():
            status = self.status()
            self.heartbeat(waiting_for, status)
            if condition(status):
                return status
            self.stop.wait(self.poll_seconds)
        return None

    def heartbeat(self, waiting_for: str, status: Status | None = None) -> None:
        """Write `heartbeat.json` atomically: what `emerit trainer status` and health checks read."""
        status = status or self.last_status
        record: dict[str, Any] = {"time": time.time(), "pid": os.getpid(), "waiting_for": waiting_for}
        if status is not None:
            record |= {"round": status.round, "phase": status.phase.name, "block": status.block_number}
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / "heartbeat.json"
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(record))
        os.replace(temporary, target)


def lock_folder(folder: Path) -> int:
    """Take the node's data folder for this process; the lock goes with the process.

    Raises:
        PreconditionError: `folder-locked` when another node works in it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise PreconditionError(
            "folder-locked",
            f"Another node already works in {folder}.",
            "Stop it first, or give this node a data folder of its own (--data-dir).",
        ) from error
    return descriptor
