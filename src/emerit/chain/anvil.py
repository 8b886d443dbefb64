"""Anvil, the local chain, as a process of its own."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from eth_account import Account
from eth_account.signers.local import LocalAccount

from emerit.chain.rpc import Chain
from emerit.errors import PreconditionError, StateError, UnavailableError

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1


def find_anvil(root: Path | None = None) -> Path:
    """Return Anvil's binary: the one that npm installed under `root`/contracts, else `anvil` on PATH.

    Raises PreconditionError `anvil-missing`.
    """
    base = (root or Path.cwd()) / "contracts" / "node_modules" / "@foundry-rs"
    for candidate in sorted(base.glob("anvil-*/bin/anvil*")):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which("anvil")
    if on_path is None:
        raise PreconditionError(
            "anvil-missing",
            f"There is no Anvil under {base} nor on PATH.",
            "Run make setup, or install Foundry.",
        )
    return Path(on_path)


def free_port() -> int:
    """Return a TCP port on the loopback address that nobody listens on right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def port_taken(port: int) -> bool:
    """Return whether a program listens on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does before exec so that the kernel ends it with its parent, where that exists."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_for_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_for_signal


@dataclass
class AnvilProcess:
    """A running Anvil, from `start` to `stop`; also a context manager.

    With `block_time_seconds` and `mixed_mining` a transaction is mined at once, and an empty block every
    second keeps the chain's time at wall time; `block_time_seconds=None` mines only when there is a transaction.
    `state_path` is loaded at the start if it exists and written at the stop. `mnemonic` or `seed` (not both)
    fix the rich development accounts; neither means Anvil's well-known ones. Output goes to `log_path`.
    `binary` is what `find_anvil` finds if it is None. Unless it may `outlive` this process, Anvil gets SIGTERM
    when this process ends, even when it is killed (on Linux; start it from a thread that stays).
    """

    port: int
    chain_id: int = 31337
    state_path: Path | None = None
    mnemonic: str | None = None
    seed: int | None = None
    block_time_seconds: int | None = 1
    mixed_mining: bool = True
    log_path: Path | None = None
    accounts: int = 10
    hardfork: str = "osaka"
    start_deadline_seconds: float = 30.0
    binary: Path | None = None
    outlive: bool = False

    def __post_init__(self) -> None:
        """Start with no process."""
        self._process: subprocess.Popen[bytes] | None = None
        self._keys: tuple[str, ...] = ()

    @property
    def rpc_url(self) -> str:
        """The address of its JSON-RPC."""
        return f"http://{_HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id. Raises PreconditionError `anvil-not-running`."""
        if self._process is None:
            raise PreconditionError("anvil-not-running", "Anvil has not been started.", "Start it first.")
        return self._process.pid

    def is_running(self) -> bool:
        """Return whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def dev_accounts(self) -> list[LocalAccount]:
        """Return the accounts that hold the chain's currency; anybody can know their keys."""
        return [Account.from_key(key) for key in self._keys]

    def start(self) -> Self:
        """Start Anvil and wait until it answers.

        Raises PreconditionError `port-in-use`, `anvil-failed` (with the end of its output) or `wrong-chain`;
        UnavailableError `anvil-slow`.
        """
        if self.is_running():
            return self
        if port_taken(self.port):
            raise PreconditionError(
                "port-in-use",
                f"Port {self.port} is used by another program.",
                "Stop it, or choose another port for the chain.",
            )
        with tempfile.TemporaryDirectory(prefix="emerit-anvil-") as folder:
            config = Path(folder) / "config.json"
            log_path = self.log_path or Path(folder) / "anvil.log"
            log_path.parent.mkdir(parents=True, exist_ok=True)
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(config),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=None if self.outlive else _die_with_parent(),
                )
            with ExitStack() as undo:  # whatever ends the waiting, Ctrl-C too: leave no process behind
                undo.callback(self._kill)
                self._wait_until_ready(log_path, config)
                undo.pop_all()
        return self

    def stop(self, deadline_seconds: float = 30.0) -> None:
        """Stop Anvil with SIGTERM and wait until it has written its state.

        Raises StateError `anvil-state-not-written` when the state file is not there afterwards (it is
        killed if it does not stop in time).
        """
        process = self._process
        if process is None:
            return
        before = self._state_mark()
        running = process.poll() is None
        if running:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process = None
        if running and self.state_path is not None and self._state_mark() == before:
            raise StateError(
                "anvil-state-not-written",
                f"Anvil stopped without writing {self.state_path}.",
                "Check the disk; the chain starts from the last state that was written.",
            )

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _command(self, config: Path) -> Sequence[str]:
        command = [str(self.binary or find_anvil()), "--quiet", "--host", _HOST, "--port", str(self.port)]
        command += ["--chain-id", str(self.chain_id), "--accounts", str(self.accounts)]
        command += ["--hardfork", self.hardfork, "--enable-tx-gas-limit", "--config-out", str(config)]
        if self.block_time_seconds is not None:
            command += ["--block-time", str(self.block_time_seconds)]
            command += ["--mixed-mining"] if self.mixed_mining else []
        if self.state_path is not None:
            self.state_path.parent.mkdir(parents=True, exist_ok=True)
            command += ["--state", str(self.state_path)]
        if self.mnemonic is not None:
            command += ["--mnemonic", self.mnemonic]
        elif self.seed is not None:
            command += ["--mnemonic-seed-unsafe", str(self.seed)]
        return command

    def _wait_until_ready(self, log_path: Path, config: Path) -> None:
        expires = time.monotonic() + self.start_deadline_seconds
        while time.monotonic() < expires:
            if not self.is_running():
                tail = log_path.read_bytes()[-2000:].decode("utf-8", "replace").strip()
                raise PreconditionError("anvil-failed", f"Anvil stopped at once: {tail}", f"See {self.log_path}.")
            # The file with the accounts may be there, whole, only after the first answer.
            with suppress(UnavailableError, OSError, ValueError):
                Chain(self.rpc_url, self.chain_id, deadline_seconds=2.0).close()
                self._keys = tuple(json.loads(config.read_text(encoding="utf-8"))["private_keys"])
                return
            time.sleep(_POLL_SECONDS)
        raise UnavailableError(
            "anvil-slow", f"Anvil did not answer within {self.start_deadline_seconds:g} s.", "Try again."
        )

    def _state_mark(self) -> tuple[int, int] | None:
        if self.state_path is None or not self.state_path.exists():
            return None
        stat = self.state_path.stat()
        return stat.st_mtime_ns, stat.st_ino

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None
