"""Running Kubo's own `ipfs daemon` as a private local node, in the foreground, under our eyes."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Final

from emerit.errors import PreconditionError, UnavailableError
from emerit.ipfs.client import BlobStore, NodeId
from emerit.ipfs.node_folder import LOOPBACK, NodeFolder, bind_loopback, write_config

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 1.5
_POLL_SECONDS: Final = 0.1
_SET_PARENT_DEATH_SIGNAL: Final = 1  # prctl(2), Linux


def run_daemon(
    folder: NodeFolder,
    api_port: int,
    swarm_port: int,
    peers: Sequence[str],
    announce: Callable[[Mapping[str, object]], None],
) -> int:
    """Initialise the repository once, run the daemon until a signal comes, and return the exit code.

    Raises PreconditionError `ipfs-missing`, `port-in-use` or `ipfs-init-failed`, and UnavailableError
    `ipfs-start-failed` when the daemon ends or does not answer in time.
    """
    program = shutil.which("ipfs")
    if program is None:
        raise PreconditionError(
            "ipfs-missing", "Kubo's `ipfs` is not on PATH.", "Install Kubo, or use another folder by --repo."
        )
    environment = os.environ | {"IPFS_PATH": str(folder.repo), "IPFS_TELEMETRY": "off"}
    with bind_loopback(api_port, "API") as api, bind_loopback(swarm_port, "swarm") as swarm:
        api_port, swarm_port = api.getsockname()[1], swarm.getsockname()[1]
    if folder.is_new:
        _initialise(program, environment)
    write_config(folder.repo, api_port, swarm_port, peers)

    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    daemon = subprocess.Popen(
        [program, "daemon"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        start_new_session=True,
    )
    try:
        api_url = f"http://{LOOPBACK}:{api_port}"
        identity = _wait_until_ready(daemon, api_url, stopping)
        if identity is not None:
            announce(
                {
                    "event": "ready",
                    "peer_id": identity.peer_id,
                    "addresses": list(identity.addresses),
                    "api": api_url,
                    "kind": folder.kind,
                }
            )
        while not stopping.wait(_POLL_SECONDS):
            if daemon.poll() is not None:
                raise UnavailableError("ipfs-start-failed", f"`ipfs daemon` ended with code {daemon.returncode}.")
        return 0
    finally:
        _stop(daemon)


def _initialise(program: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [program, "init", "--profile=test"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PreconditionError("ipfs-init-failed", f"`ipfs init` failed: {why[:200]}.")


def _wait_until_ready(daemon: subprocess.Popen[bytes], api_url: str, stopping: Event) -> NodeId | None:
    store = BlobStore(api_url, deadline_seconds=2)
    deadline = time.monotonic() + _START_SECONDS
    while not stopping.wait(_POLL_SECONDS):
        if daemon.poll() is not None:
            raise UnavailableError(
                "ipfs-start-failed", f"`ipfs daemon` ended with code {daemon.returncode} before it answered."
            )
        try:
            return store.id()
        except UnavailableError as error:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    "ipfs-start-failed", f"`ipfs daemon` did not answer within {_START_SECONDS:.0f} s."
                ) from error
    return None


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _die_with_parent() -> None:
    """Between fork and exec on Linux: have the kernel stop the daemon if this process is killed."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
