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
from typing import Any

import structlog

from emerit.chain.run_client import RunClient
from emerit.errors import PreconditionError, UnavailableError
from emerit.files import SHARED, replace_file
from emerit.protocol.types import Status

log = structlog.get_logger("emerit.node")

WARN_EVERY_SECONDS = 30.0
SAY_AFTER_SECONDS = 10.0


@dataclass
class NodeLoop:
    """Polls a run's status and lets a node wait for conditions, never for times.

    Attributes:
        stop: set by SIGINT or SIGTERM; every wait and every long computation looks at it.
        hurry: set by a second signal: nothing is finished first.
        role: what the node is in the run; for the heartbeat.
        folder: the node's data folder; `heartbeat.json` in it says round, phase and what the node waits for.
        duties: what the node does beside its rounds, called at every poll of a wait.
    """

    client: RunClient
    folder: Path
    poll_seconds: float = 0.5
    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    last_status: Status | None = None
    duties: Callable[[Status], None] | None = None
    unreachable_limit_seconds: float = 900.0
    role: str = ""

    def install_signals(self) -> None:
        """Stop cleanly on SIGINT and SIGTERM; at once on the second one."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.stop.is_set():
                self.hurry.set()
            self.stop.set()

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)

    def status(self) -> Status:
        """Read the run's status; a short outage of the chain is waited out.

        Raises:
            UnavailableError: the chain has not answered for `unreachable_limit_seconds`.
        """
        first_failure: float | None = None
        warned = 0.0
        while True:
            try:
                self.last_status = self.client.status()
                return self.last_status
            except UnavailableError:
                now = time.monotonic()
                if first_failure is None or now - warned > WARN_EVERY_SECONDS:
                    first_failure, warned = first_failure or now, now
                    log.warning("the chain does not answer; waiting", seconds=round(now - first_failure))
                if self.stop.is_set() or now - first_failure > self.unreachable_limit_seconds:
                    raise
                self.stop.wait(self.poll_seconds)

    def wait_until(
        self, condition: Callable[[Status], bool], waiting_for: str, *, despite_stop_seconds: float = 0.0
    ) -> Status | None:
        """Poll until `condition(status)` holds; None when the node was told to stop.

        Args:
            despite_stop_seconds: how long to go on after the first stop signal, to finish what others wait for; a
                second signal ends it at once.
        """
        give_up: float | None = None
        began, said = time.monotonic(), False
        while True:
            if not said and time.monotonic() - began > SAY_AFTER_SECONDS:
                said = True
                log.info("waiting", waiting_for=waiting_for)
            if self.stop.is_set():
                give_up = give_up or time.monotonic() + despite_stop_seconds
                if self.hurry.is_set() or time.monotonic() >= give_up:
                    return None
            status = self.status()
            self.heartbeat(waiting_for, status)
            if self.duties is not None:
                self.duties(status)
            if condition(status):
                return status
            (self.hurry if give_up else self.stop).wait(self.poll_seconds)

    def heartbeat(self, waiting_for: str, status: Status | None = None) -> None:
        """Write `heartbeat.json` atomically: what `emerit trainer status` and health checks read."""
        status = status or self.last_status
        record: dict[str, Any] = {"time": time.time(), "pid": os.getpid(), "waiting_for": waiting_for}
        if self.role:
            record["role"] = self.role
        if status is not None:
            record |= {"round": status.round, "phase": status.phase.name, "block": status.block_number}
        # Out of date after a crash, so it need not be on disk before this goes on.
        replace_file(self.folder / "heartbeat.json", json.dumps(record).encode(), mode=SHARED, durable=False)


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
            "Stop it first: one key runs one node.",
        ) from error
    return descriptor
