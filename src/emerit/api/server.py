"""Run the API: the refresh loops beside uvicorn, on loopback unless told otherwise."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import uvicorn

from emerit.api.app import create_app
from emerit.api.collect import Collector
from emerit.api.evidence import EvidenceBook, FeedbackBook
from emerit.api.refresh import Pulse, Refresher, health_of
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.errors import PreconditionError
from emerit.indexer.index import Index
from emerit.ipfs.client import BlobStore
from emerit.run.context import RunContext, open_run
from emerit.scoring.evidence import MAX_EVIDENCE_BYTES
from emerit.telemetry import Metrics

log = structlog.get_logger("emerit.api")

EVIDENCE_DEADLINE_SECONDS: Final = 5.0
PROBE_DEADLINE_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 1
END_SECONDS: Final = 1.0
# A reorganisation may move the transaction that created the run into an earlier block.
START_MARGIN_BLOCKS: Final = 64


@dataclass(frozen=True)
class ApiOptions:
    """Where the API reads from and where it listens; `from_block` is one before which the run did not exist."""

    rpc_url: str
    ipfs_api: str
    run: str
    host: str = "127.0.0.1"
    port: int = 8700
    database: str = "sqlite:///.emerit/index.sqlite"
    refresh_seconds: float = 1.0
    from_block: int = 0


def serve_api(options: ApiOptions) -> None:
    """Serve until SIGINT or SIGTERM, then end within three seconds.

    Raises:
        PreconditionError: `port-in-use`, or the index's database cannot be used.
        UsageError: an address or the database's URL is malformed.
        RefusedError: the run's manifest is not what the run names.
        UnavailableError: chain or IPFS did not answer at the start.
    """
    with closing(_listen(options.host, options.port)) as listener:
        _serve(options, listener)


def _serve(options: ApiOptions, listener: socket.socket) -> None:
    metrics, pulse = Metrics("api"), Pulse()

    def observe(method: str, outcome: str) -> None:
        metrics.observe_rpc(method, outcome)
        pulse.beat()

    client = RunClient(Chain(options.rpc_url, observe=observe), options.run, from_block=options.from_block)
    context = open_run(client, BlobStore(options.ipfs_api))
    index = open_index(options.database, context)
    evidence = EvidenceBook(index, partial(_fetch, context, metrics, MAX_EVIDENCE_BYTES))
    limit, peers = context.manifest.limits.max_blob_bytes, context.manifest.reputation.feedback_peers
    feedback = FeedbackBook(index, partial(_fetch, context, metrics, limit), client.address, peers)
    collector = Collector(context, index, evidence, feedback)
    refresher = Refresher(collector, index, evidence, feedback, metrics, options.refresh_seconds, pulse)
    probe = Chain(options.rpc_url, client.chain.chain_id, PROBE_DEADLINE_SECONDS)
    store = BlobStore(options.ipfs_api, PROBE_DEADLINE_SECONDS)
    app = create_app(
        refresher, health_of(refresher, {"rpc": probe.block_number, "ipfs": store.ready}), metrics.registry
    )
    log.info("serving", url=f"http://{options.host}:{listener.getsockname()[1]}", run=client.address)
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS)
    with _signals_end_quietly():
        refresher.start()
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            refresher.end(END_SECONDS)
    log.info("stopped")


def open_index(database: str, context: RunContext) -> Index:
    """Open the index of a run's events. Raises as `Index`."""
    client = context.client
    contracts = {
        "TrainingRun": client.address,
        "Rewards": client.rewards_address,
        "Stakes": client.stakes_address,
        "Reputation": client.reputation_address,
    }
    return Index(database, client.chain, contracts, client.start_block - START_MARGIN_BLOCKS)


def _fetch(context: RunContext, metrics: Metrics, max_bytes: int, cid: str, sha256: bytes) -> bytes:
    outcome = "error"
    try:
        data = context.fetch(cid, sha256, max_bytes, EVIDENCE_DEADLINE_SECONDS)
        outcome = "ok"
    finally:
        metrics.observe_ipfs("cat", outcome)
    return data


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Keep the signals that uvicorn raises again after it has ended from killing the process, or raising here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
