"""A local IPFS node as a child process: started, waited for, stopped, never leaked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Final, Literal

from emerit.errors import EmeritError, PreconditionError, StateError, UnavailableError, UsageError

_STOP_SECONDS: Final = 5.0
_BY_EXIT_CODE: Final[dict[int, type[EmeritError]]] = {
    error.exit_code: error for error in (UsageError, PreconditionError, UnavailableError)
}


class LocalNode:
    """`python -m emerit.ipfs.local_node` in a subprocess, which ends with this process unless it may `outlive` it.

    `folder` holds the node's identity and blobs and stays; ports of 0 are chosen by the system. `peers` are
    multiaddresses it stays connected to. Use as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        folder: Path,
        api_port: int = 0,
        swarm_port: int = 0,
        peers: Sequence[str] = (),
        kind: Literal["auto", "daemon", "library"] = "auto",
        log_path: Path | None = None,
        outlive: bool = False,
    ) -> None:
        self._folder = folder
        self._command = [sys.executable, "-m", "emerit.ipfs.local_node", f"--repo={folder}", f"--kind={kind}"]
        self._command += [f"--api-port={api_port}", f"--swarm-port={swarm_port}"]
        self._command += [] if outlive else [f"--parent-pid={os.getpid()}"]
        self._command += [f"--peer={peer}" for peer in peers]
        self._log_path = log_path or folder / "node.log"
        self._process: subprocess.Popen[str] | None = None
        self._ready: dict[str, Any] = {}

    def start(self, deadline_seconds: float = 30.0) -> None:
        """Start the node and return when it answers.

        Raises the error that ended the node (PreconditionError `port-in-use` and so on), or UnavailableError
        `ipfs-start-failed` when it is not ready in time or ends without a word; its log is named in the fix.
        """
        if self._process is not None:
            raise StateError("ipfs-already-started", "The local IPFS node has been started already.")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        with ExitStack() as undo:  # whatever ends the waiting, Ctrl-C too: leave no process behind
            undo.callback(self.stop)
            self._ready = self._wait_for_line(self._process, deadline_seconds)
            undo.pop_all()

    def stop(self) -> None:
        """End the node and wait until it has gone; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def api_url(self) -> str:
        """The RPC's address, `http://127.0.0.1:PORT`."""
        return str(self._ready_value("api"))

    @property
    def peer_id(self) -> str:
        """The node's peer id."""
        return str(self._ready_value("peer_id"))

    @property
    def peer_address(self) -> str:
        """The multiaddress at which other nodes dial this one."""
        return str(self._ready_value("addresses")[0])

    @property
    def kind(self) -> str:
        """`daemon` for Kubo's `ipfs`, `library` for Kubo inside the node's own process."""
        return str(self._ready_value("kind"))

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> LocalNode:
        """Start the node."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the node."""
        self.stop()

    def _ready_value(self, name: str) -> Any:
        if not self._ready:
            raise StateError("ipfs-not-started", "The local IPFS node has not been started.")
        return self._ready[name]

    def _wait_for_line(self, process: subprocess.Popen[str], deadline_seconds: float) -> dict[str, Any]:
        lines: SimpleQueue[str] = SimpleQueue()
        stdout = process.stdout
        assert stdout is not None
        reader = Thread(target=lambda: lines.put(stdout.readline()), daemon=True)
        started = time.monotonic()
        reader.start()
        try:
            line = lines.get(timeout=deadline_seconds)
        except Empty:
            process.kill()
            line = lines.get()
        if not line:
            raise UnavailableError(
                "ipfs-start-failed",
                f"The local IPFS node was not ready after {time.monotonic() - started:.0f} s.",
                f"Its log is {self._log_path}.",
            )
        message = json.loads(line)
        if message["event"] == "error":
            kind = _BY_EXIT_CODE.get(process.wait(), StateError)
            raise kind(message["code"], message["cause"], message["fix"])
        return dict(message)
