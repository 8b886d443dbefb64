"""Run the API: a refresh loop beside uvicorn, on loopback unless told otherwise."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field

import structlog
import uvicorn

from emerit.api.app import Health, create_app
from emerit.api.views import Views
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.errors import EmeritError, PreconditionError
from emerit.indexer.index import Index
from emerit.ipfs.client import BlobStore
from emerit.run.context import open_run
from emerit.telemetry import Metrics

log = structlog.get_logger("emerit.api")

STALL_SECONDS = 60.0


@dataclass(frozen=True)
class ApiOptions:
    """Where the API reads from and where it listens."""

    rpc_url: str
    ipfs_api: str
    run: str
    host: str = "127.0.0.1"
    port: int = 8700
    database: str = "sqlite:///.emerit/index.sqlite"
    refresh_seconds: float = 1.0


@dataclass
class Refresher:
    """Keeps the views fresh in a thread of its own; a failure is shown in `/readyz` and tried again."""

    views: Views
    metrics: Metrics
    every_seconds: float
    stop: threading.Event = field(default_factory=threading.Event)
    last_turn: float = field(default_factory=time.monotonic)
    trouble: str = "starting"
    counted_rollbacks: int = 0

    def run(self) -> None:
        """Refresh until told to stop."""
        while not self.stop.is_set():
            try:
                self.views.refresh()
                self.trouble = "ok"
            except EmeritError as error:
                if self.trouble != error.code:
                    log.warning("refresh failed", **error.as_dict())
                self.trouble = error.code
            except Exception:  # a fault of ours must show in /readyz, not end the loop unseen
                log.exception("refresh failed")
                self.trouble = "refresh-fault"
            self.last_turn = time.monotonic()
            self.metrics.indexer_head_block.set(self.views.index.head())
            self.metrics.indexer_reorgs_total.inc(self.views.rollbacks - self.counted_rollbacks)
            self.counted_rollbacks = self.views.rollbacks
            self.stop.wait(self.every_seconds)

    def health(self) -> Health:
        """What the health routes ask."""
        return Health(
            alive=lambda: time.monotonic() - self.last_turn < STALL_SECONDS,
            checks=self._checks,
        )

    def _checks(self) -> dict[str, str]:
        checks = {"refresh": self.trouble, "rpc": "ok", "ipfs": "ok"}
        try:
            self.views.client.chain.block_number()
        except EmeritError as error:
            checks["rpc"] = error.code
        try:
            self.views.context.store.ready()
        except EmeritError as error:
            checks["ipfs"] = error.code
        return checks


def serve_api(options: ApiOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        PreconditionError: `port-in-use`.
        UnavailableError: chain or IPFS did not answer at the start.
    """
    listener = _listen(options.host, options.port)
    metrics = Metrics("api")
    chain = Chain(options.rpc_url)
    client = RunClient(chain, options.run)
    context = open_run(client, BlobStore(options.ipfs_api))
    contracts = {
        "TrainingRun": client.address,
        "Rewards": client.rewards_address,
        "Stakes": client.stakes_address,
        "Reputation": client.reputation_address,
    }
    index = Index(options.database, chain, contracts, client.start_block)
    refresher = Refresher(Views(context, index), metrics, options.refresh_seconds)
    app = create_app(refresher.views, refresher.health(), metrics.registry)
    thread = threading.Thread(target=refresher.run, name="refresh", daemon=True)
    thread.start()
    log.info("serving", url=f"http://{options.host}:{options.port}", run=client.address)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        refresher.stop.set()
        thread.join(5)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PreconditionError(
            "port-in-use",
            f"The API cannot listen on {host}:{port}: {error.strerror}.",
            "Stop what listens there, or name another port with --port.",
        ) from error
    return listener
