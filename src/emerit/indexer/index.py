"""A reorg-safe index of a run's events in SQLite or PostgreSQL.

Each step looks at the head, walks back to the last block that index and chain share, deletes what lies above it and
adds what is new, in one transaction with the cursor. A crash at any point leaves the step undone, never half done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, select
from sqlalchemy.engine import make_url

from emerit.chain.abi import AbiEvent
from emerit.chain.artifacts import load_abi
from emerit.chain.records import Block, Log
from emerit.chain.rpc import Chain
from emerit.errors import PreconditionError, UsageError
from emerit.indexer.tables import blocks, events, evidence, marks, metadata

KEPT_BLOCKS = 256


@dataclass(frozen=True)
class StepResult:
    """What one step did: the head it reached, how many events came in, how many blocks were taken back."""

    head: int
    added: int
    rolled_back_blocks: int


class Index:
    """The events of a few contracts, kept equal to the chain.

    Args:
        contracts: address by contract name, as in the artifacts.
        start_block: where the oldest of them was created.
    """

    def __init__(self, url: str, chain: Chain, contracts: Mapping[str, str], start_block: int) -> None:
        self.engine = open_engine(url)
        self.chain = chain
        self.start_block = start_block
        self.addresses = {address.lower(): name for name, address in contracts.items()}
        self.topics: dict[tuple[str, bytes], AbiEvent] = {
            (name, item.topic): item for name in contracts for item in load_abi(name).events.values()
        }
        metadata.create_all(self.engine)
        self._belong()

    def step(self) -> StepResult:
        """Bring the index to the chain's head.

        Raises:
            UnavailableError: the chain did not answer; the index stays as it was.
        """
        head = self.chain.head()
        with self.engine.begin() as connection:
            shared, rolled_back = self._common_ancestor(connection)
            first = max(shared + 1, self.start_block)
            if rolled_back:
                connection.execute(delete(events).where(events.c.block_number > shared))
                connection.execute(delete(blocks).where(blocks.c.number > shared))
            if head.number < first:
                return StepResult(shared, 0, rolled_back)
            rows = [
                row
                for log in self.chain.logs(list(self.addresses), first, head.number)
                if (row := self._row(log)) is not None
            ]
            if rows:
                connection.execute(insert(events), rows)
            self._remember(connection, head, first)
        return StepResult(head.number, len(rows), rolled_back)

    def head(self) -> int:
        """Newest block that the index holds; -1 before the first step."""
        with self.engine.connect() as connection:
            found = connection.execute(select(func.max(blocks.c.number))).scalar()
        return -1 if found is None else int(found)

    def events(
        self, names: Sequence[str] = (), *, limit: int = 50, before_block: int | None = None
    ) -> list[dict[str, Any]]:
        """Events, the newest first, as plain data."""
        query = select(events).order_by(events.c.block_number.desc(), events.c.log_index.desc()).limit(limit)
        if names:
            query = query.where(events.c.name.in_(names))
        if before_block is not None:
            query = query.where(events.c.block_number < before_block)
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def evidence(self, sha256: bytes) -> bytes | None:
        """Evidence blob of that content hash, if it has been stored."""
        with self.engine.connect() as connection:
            found = connection.execute(select(evidence.c.data).where(evidence.c.sha256 == sha256.hex())).scalar()
        return None if found is None else bytes(found)

    def keep_evidence(self, sha256: bytes, cid: str, data: bytes) -> None:
        """Store a verified evidence blob; storing it twice changes nothing."""
        with self.engine.begin() as connection:
            known = connection.execute(select(evidence.c.cid).where(evidence.c.sha256 == sha256.hex())).scalar()
            if known is None:
                connection.execute(insert(evidence).values(sha256=sha256.hex(), cid=cid, data=data))

    def _belong(self) -> None:
        """Refuse a database that holds another run's events.

        Raises:
            PreconditionError: `index-of-another-run`.
        """
        mine = f"{self.chain.chain_id}:{','.join(sorted(self.addresses))}"[:128]
        with self.engine.begin() as connection:
            known = connection.execute(select(marks.c.value).where(marks.c.name == "source")).scalar()
            if known is None:
                connection.execute(insert(marks).values(name="source", value=mine))
            elif known != mine:
                raise PreconditionError(
                    "index-of-another-run",
                    "The database holds the index of another run or chain.",
                    "Name another one with --database, or delete this one; it can be built again.",
                )

    def _common_ancestor(self, connection: Connection) -> tuple[int, int]:
        """Newest indexed block that the chain still has, and how many indexed blocks lie above it."""
        kept = connection.execute(select(blocks).order_by(blocks.c.number.desc())).all()
        for above, row in enumerate(kept):
            block = self.chain.block(int(row.number))
            if block is not None and "0x" + block.hash.hex() == row.hash:
                return int(row.number), above
        return self.start_block - 1, len(kept)

    def _remember(self, connection: Connection, head: Block, first: int) -> None:
        rows = [{"number": head.number, "hash": "0x" + head.hash.hex()}]
        for number in range(max(first, head.number - 8), head.number):
            block = self.chain.block(number)
            if block is not None:
                rows.append({"number": number, "hash": "0x" + block.hash.hex()})
        connection.execute(insert(blocks), rows)
        connection.execute(delete(blocks).where(blocks.c.number < head.number - KEPT_BLOCKS))

    def _row(self, log: Log) -> dict[str, Any] | None:
        contract = self.addresses[log.address.lower()]
        known = self.topics.get((contract, log.topics[0])) if log.topics else None
        if known is None:
            return None
        return {
            "block_hash": "0x" + log.block_hash.hex(),
            "log_index": log.log_index,
            "block_number": log.block_number,
            "tx_hash": log.tx_hash,
            "contract": contract,
            "name": known.name,
            "arguments": plain(known.decode(log)),
        }


def open_engine(url: str) -> Engine:
    """Open a database; SQLite gets write-ahead logging so that reads and writes do not block each other.

    Raises:
        UsageError: `database-url-invalid`.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername.startswith("sqlite") and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
    except (ValueError, ImportError, OSError) as error:
        raise _bad_url(error) from error
    if parsed.drivername.startswith("sqlite"):

        @event.listens_for(engine, "connect")
        def _wal(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=5000")

    return engine


def _bad_url(error: Exception) -> UsageError:
    return UsageError(
        "database-url-invalid",
        f"The database cannot be opened: {error}.",
        "Use sqlite:///path/to/file.sqlite, or postgresql+psycopg://… with psycopg installed.",
    )


def plain(value: Any) -> Any:
    """Event arguments as JSON: bytes as 0x-hex, large integers as decimal strings, tuples as lists."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 53:
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
