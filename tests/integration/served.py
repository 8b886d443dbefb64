"""The API as a process of its own beside a driven run, for the tests that ask it over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerit.chain.anvil import free_port

START_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """A response: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class ApiProcess:
    """`python -m emerit.api`; leaving the context ends it."""

    def __init__(self, folder: Path, rpc_url: str, ipfs_api: str, run: str) -> None:
        self.port = free_port()
        self.log = folder / "api.log"
        self.command = [sys.executable, "-W", "error::ResourceWarning", "-m", "emerit.api"]
        self.command += ["--rpc-url", rpc_url, "--ipfs-api", ipfs_api, "--run", run, "--port", str(self.port)]
        self.command += ["--database", f"sqlite:///{folder / 'index.sqlite'}", "--refresh-seconds", "0.1"]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ApiProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Send one request; an answer of any status is returned."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.base + path, headers=names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())

    def json(self, path: str) -> Any:
        """The JSON that a path answers, which must be there."""
        reply = self.get(path)
        assert reply.status == 200, (path, reply)
        return reply.json

    def wait(self, condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
        """Return once the condition holds; a connection that is refused counts as not yet."""
        until = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except urllib.error.URLError:
                pass
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, f"not in time: {what}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    def wait_ready(self) -> None:
        """Return once all checks pass."""
        self.wait(lambda: self.get("/readyz").status == 200, "ready")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; returns the exit code and how many seconds the end took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(20)
        return code, time.monotonic() - began
