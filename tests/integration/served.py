"""The API as a process of its own beside a driven run, for the tests that ask it over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port
from emerit.ipfs.client import BlobStore
from emerit.ipfs.process import LocalNode
from emerit.protocol.settlement import Settlement
from tests.integration.conftest import ROOT
from tests.integration.rounds import NEEDED_ACCOUNTS, Opinion, RunDriver

START_SECONDS = 60.0
LOSSES = (5.2, 4.1, 3.3)


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


class Stage:
    """An Anvil, an IPFS node, and a run of three trainers and three validators with three settled rounds."""

    def __init__(self, folder: Path, store: BlobStore, ipfs_api: str, anvil: AnvilProcess, **params: Any) -> None:
        self.folder, self.ipfs_api = folder, ipfs_api
        self.driver = RunDriver(anvil, store, **params)
        self.driver.join(trainers=3, validators=3)
        self.driver.start()
        self.settled: list[Settlement] = []

    def play_three(self) -> None:
        """All agree; one publishes rubbish as evidence and one contribution is a copy; one validator is away."""
        paid = Opinion((300, 100, 1), LOSSES[0], 0.001)
        self.settled.append(self.driver.play(dict.fromkeys(range(3), paid)))
        copy = Opinion((200, 80, 1), LOSSES[1], reasons={2: "duplicate"})
        rubbish = replace(copy, evidence=b'{"trainers": {"0": {"reason": "<script>"}}}')
        self.settled.append(self.driver.play({0: copy, 1: copy, 2: rubbish}))
        last = Opinion((500, None, 0), LOSSES[2])
        self.settled.append(self.driver.play({0: last, 1: last}, silent_trainers=[1]))

    def api(self, name: str = "api") -> ApiProcess:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return ApiProcess(folder, self.driver.anvil.rpc_url, self.ipfs_api, self.driver.client.address)


def start_stage(folder: Path, **params: Any) -> Iterator[Stage]:
    """Start everything, with these parameters of the run, and end it when it is no longer wanted."""
    anvil = AnvilProcess(
        free_port(),
        block_time_seconds=None,
        accounts=NEEDED_ACCOUNTS,
        binary=find_anvil(ROOT),
        log_path=folder / "anvil.log",
    )
    with anvil, LocalNode(folder / "ipfs", kind="library") as node:
        yield Stage(folder, BlobStore(node.api_url), node.api_url, anvil, **params)
