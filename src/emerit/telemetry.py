"""What a process tells about itself: logs, metrics and the journal of rounds.

Nothing here runs at import. A program calls `setup_logging` once, makes one `Metrics` and hands it on,
and keeps one `RoundJournal` per run and role.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO
from urllib.parse import urlsplit, urlunsplit

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from emerit import PROTOCOL_VERSION, __version__
from emerit.errors import StateError, UsageError
from emerit.files import sync_folder

LogFormat = Literal["auto", "console", "json"]
Detail = str | int | float | bool | None

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_LONG_SECRET = re.compile(r"[A-Za-z0-9_-]{20,}")
_SECRET_KEYS = ("password", "passphrase", "private_key", "secret", "mnemonic")
OUTCOMES = ("submitted", "skipped", "failed")
_LEVELS = ("debug", "info", "warning", "error", "critical")


# ---- masking


def mask_url(url: str) -> str:
    """Return `url` without what could be a credential.

    The user part, the values of the query, and path segments of 20 or more key-like characters (the way
    providers put an API key into an address) become `***`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")
    netloc = f"***@{host[2]}" if host[1] else host[2]
    path = "/".join("***" if _LONG_SECRET.fullmatch(piece) else piece for piece in parts.path.split("/"))
    query = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def short_address(address: str) -> str:
    """Return `0x1234…abcd`, enough to recognise an address in a log line."""
    return address if len(address) <= 12 else f"{address[:6]}…{address[-4:]}"


def _mask_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, value in event.items():
        if any(secret in key.lower() for secret in _SECRET_KEYS):
            event[key] = "***"
        elif isinstance(value, str) and "://" in value:
            event[key] = _URL.sub(lambda found: mask_url(found.group()), value)
    return event


# ---- logs


def _with_fields(fields: Mapping[str, str]) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**fields, **event}

    return add


def setup_logging(
    role: str | None = None,
    address: str | None = None,
    level: str = "info",
    log_format: LogFormat = "auto",
    stream: TextIO | None = None,
) -> structlog.typing.FilteringBoundLogger:
    """Set structlog up for this process and return its root logger.

    The role and the shortened address, if given, are on every line of every thread. `auto` writes for people
    when the stream (standard error by default) is a terminal, and one JSON object a line otherwise. URLs are
    masked and values of secret-looking keys hidden in either form.

    Raises UsageError `log-level-unknown`.
    """
    if level.lower() not in _LEVELS:
        raise UsageError("log-level-unknown", f"{level!r} is not a log level.", f"Use one of {', '.join(_LEVELS)}.")
    target = sys.stderr if stream is None else stream
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    fixed = {"role": role, "address": short_address(address) if address else None}
    shared: list[structlog.typing.Processor] = [
        _with_fields({name: value for name, value in fixed.items() if value}),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if console:
        shared += [_mask_event, structlog.dev.ConsoleRenderer(colors=target.isatty())]
    else:
        shared += [
            structlog.processors.format_exc_info,
            _mask_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()


def bind_logger(
    logger: structlog.typing.FilteringBoundLogger,
    role: str | None = None,
    address: str | None = None,
    round: int | None = None,
) -> structlog.typing.FilteringBoundLogger:
    """Return `logger` with the role, the shortened address and the round on every line."""
    fields: dict[str, str | int] = {}
    if role is not None:
        fields["role"] = role
    if address is not None:
        fields["address"] = short_address(address)
    if round is not None:
        fields["round"] = round
    return logger.bind(**fields)


# ---- metrics


class Metrics:
    """The counters of one process, on a registry of their own (no address or CID is ever a label)."""

    def __init__(self, role: str) -> None:
        """`role` is what the process is: trainer, validator, api."""
        self.registry = CollectorRegistry()
        labels = ["version", "protocol", "role"]
        build = Gauge("emerit_build_info", "1, labelled with versions.", labels, registry=self.registry)
        build.labels(__version__, str(PROTOCOL_VERSION), role).set(1)
        self._last_progress = self._gauge(
            "emerit_node_last_progress_timestamp_seconds",
            "Unix time at which the node last did something useful.",
        )
        self.node_round = self._gauge("emerit_node_round", "Round that the node works in.")
        self.rounds_total = self._counter("emerit_node_rounds", "Rounds ended, by outcome.", "outcome")
        self.rpc_requests_total = self._counter(
            "emerit_chain_rpc_requests", "JSON-RPC calls, by method and outcome.", "method", "outcome"
        )
        self.ipfs_requests_total = self._counter(
            "emerit_ipfs_requests", "IPFS operations, by operation and outcome.", "op", "outcome"
        )
        self.evaluations_total = self._counter(
            "emerit_validator_evaluations", "Contributions evaluated, by verdict.", "verdict"
        )
        self.indexer_head_block = self._gauge("emerit_indexer_head_block", "Last block that was indexed.")
        self.indexer_reorgs_total = Counter(
            "emerit_indexer_reorgs",
            "Chain reorganisations that the indexer rolled back.",
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def progress(self, timestamp_seconds: float | None = None) -> None:
        """Note that something useful was done, now or at the given Unix time."""
        self._last_progress.set(time.time() if timestamp_seconds is None else timestamp_seconds)

    def observe_rpc(self, method: str, outcome: str) -> None:
        """Count one JSON-RPC call; the shape that `emerit.chain.Chain(observe=...)` calls."""
        self.rpc_requests_total.labels(method, outcome).inc()

    def observe_ipfs(self, op: str, outcome: str) -> None:
        """Count one IPFS operation."""
        self.ipfs_requests_total.labels(op, outcome).inc()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


# ---- the journal of rounds


@dataclass(frozen=True)
class RoundOutcome:
    """How one round ended for one participant; `reason` is a code, empty only for `submitted`."""

    round: int
    outcome: str
    reason: str = ""
    at_seconds: float = 0.0
    details: Mapping[str, Detail] = field(default_factory=dict)


class RoundJournal:
    """Append-only file with exactly one outcome per round, one JSON object a line.

    Each line is on disk (fsync) before the call returns. A last line that a crash cut off is dropped when the
    journal is opened again; any other damage is an error, because what is recorded decides what is done next.

    Raises StateError `journal-corrupt` on opening, `round-already-recorded` on a second outcome for a round.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._outcomes = _read_journal(path)

    def record(self, round: int, outcome: str, reason: str = "", **details: Detail) -> RoundOutcome:
        """Record a round's outcome: `submitted`, `skipped` or `failed`, the latter two with a reason's code.

        Raises ValueError for any other outcome, or without a reason where one is needed.
        """
        if outcome not in OUTCOMES or (outcome != "submitted" and not reason):
            raise ValueError(f"{outcome!r} with reason {reason!r} is no outcome of a round")
        with self._lock:
            if (known := self._outcomes.get(round)) is not None:
                raise StateError(
                    "round-already-recorded",
                    f"Round {round} is already recorded as {known.outcome} in {self.path}.",
                    "Is a second node running on the same data directory?",
                )
            record = RoundOutcome(round, outcome, reason, self._clock(), details)
            self._write(record)
            self._outcomes[round] = record
            return record

    def has(self, round: int) -> bool:
        """Return whether a round has an outcome."""
        return round in self._outcomes

    def outcome(self, round: int) -> RoundOutcome | None:
        """Return the outcome of a round, or None if there is none yet."""
        return self._outcomes.get(round)

    def outcomes(self) -> list[RoundOutcome]:
        """Return all outcomes by round."""
        return [self._outcomes[number] for number in sorted(self._outcomes)]

    def failures_in_a_row(self) -> int:
        """Return how many of the last recorded rounds failed without one in between that did not."""
        count = 0
        for outcome in reversed(self.outcomes()):
            if outcome.outcome != "failed":
                break
            count += 1
        return count

    def _write(self, record: RoundOutcome) -> None:
        created = not self.path.exists()
        with self.path.open("ab") as file:
            file.write(json.dumps(asdict(record), sort_keys=True).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if created:
            sync_folder(self.path.parent)


def _read_journal(path: Path) -> dict[int, RoundOutcome]:
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
    outcomes: dict[int, RoundOutcome] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        record = _parse_outcome(line)
        if record is None or record.round in outcomes:
            raise StateError(
                "journal-corrupt",
                f"Line {number} of {path} is not a new round's outcome.",
                "Move the file away; the node starts a new journal.",
            )
        outcomes[record.round] = record
    return outcomes


def _parse_outcome(line: bytes) -> RoundOutcome | None:
    try:
        fields = json.loads(line)
        record = RoundOutcome(**fields)
    except (ValueError, TypeError):
        return None
    known = isinstance(record.round, int) and record.outcome in OUTCOMES
    return record if known and isinstance(record.details, dict) else None
