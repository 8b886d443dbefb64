"""A reorg-safe index of a run's events in SQLite or PostgreSQL.

Each step finds the last block that index and chain share, drops what lies above it and adds what is new, in one
transaction with the cursor. A crash at any point leaves the step undone, never half done; a second process on the
same database loses the race for the cursor and starts its step again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from emerit.errors import PreconditionError, UnavailableError
from emerit.indexer.database import create_tables, open_engine, translated
from emerit.indexer.follow import ChainMovedError, Change, Follower, Mark, ReadableChain, Spans
from emerit.indexer.rows import LogReader
from emerit.indexer.tables import SCHEMA_VERSION, blocks, events, evidence, facts, headers, metadata

_ATTEMPTS: Final = 8

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did.

    Attributes:
        head: block that the index stands at.
        added: how many events came in.
        kept: everything up to this block was left as it was; below `head` before the step if the chain was
            reorganised.
        rolled_back_blocks: how many blocks were taken back.
        contracts: names of the contracts of which events came in.
        began: where the index stood before; None if another process moved it meanwhile.
        ended: where it stood afterwards.
    """

    head: int
    added: int
    kept: int
    rolled_back_blocks: int
    contracts: frozenset[str]
    began: Mark | None = None
    ended: Mark | None = None

    def follows(self, ended: Mark | None) -> bool:
        """Return whether nothing but this step has changed the index since a step that ended there."""
        return self.began == ended


class Index:
    """The events of a run's contracts, kept equal to the chain. Reads may come from any thread.

    Marks of all of the last 256 blocks are kept, and of every 2048th below, so that a reorganisation of any depth is
    followed by reading no more than 2048 blocks too many.
    """

    def __init__(
        self,
        url: str,
        chain: ReadableChain,
        contracts: Mapping[str, str],
        start_block: int,
        spans: Spans | None = None,
    ) -> None:
        """Open or create the database.

        Args:
            url: SQLAlchemy URL of an SQLite file or a PostgreSQL database.
            contracts: address by contract name, as in the artifacts; `TrainingRun` is the run.
            start_block: a block before which none of them emitted an event of this run.
            spans: how far to look at once and what to remember; the defaults suit every chain.

        Raises:
            UsageError: `database-url-invalid`.
            PreconditionError: `index-of-another-run`, `database-unusable`.
            UnavailableError: `database-unavailable`.
        """
        self.chain = chain
        self._origin = Mark(max(0, start_block) - 1, b"")
        self._reader = LogReader(contracts)
        self._spans = spans or Spans()
        self._follower = Follower(chain, sorted(contracts.values()), self._spans)
        self._engine = open_engine(url)
        with translated():
            create_tables(self._engine, metadata)
        self._belong(contracts)

    def close(self) -> None:
        """Close the database's connections."""
        self._engine.dispose()

    # ---- keeping up

    def step(self) -> StepResult:
        """Bring the index to the chain's head.

        Raises:
            UnavailableError: the chain did not answer or keeps changing (`chain-unsettled`), or the database did
                not answer. What was taken in so far stays, and is consistent.
        """
        stood = self._newest()
        began: Mark | None = stood
        kept = stood.number
        rolled_back = added = attempts = 0
        contracts: set[str] = set()
        while True:
            newest = self._newest()
            if newest != stood:
                began = None
            stood = newest
            try:
                change = self._follower.next_change(newest, self._marks)
            except ChainMovedError:
                change = None
            else:
                if change is None:
                    return StepResult(newest.number, added, kept, rolled_back, frozenset(contracts), began, newest)
            rows = None if change is None else self._apply(newest, change)
            if change is None or rows is None:
                attempts += 1
                if attempts >= _ATTEMPTS:
                    raise _unsettled()
                continue
            kept = min(kept, change.shared.number)
            rolled_back += newest.number - change.shared.number
            added += len(rows)
            contracts.update(row["contract"] for row in rows)
            stood = change.end
            if change.complete:
                return StepResult(stood.number, added, kept, rolled_back, frozenset(contracts), began, stood)

    def _apply(self, newest: Mark, change: Change) -> list[dict[str, Any]] | None:
        """Make the change in one transaction; None if another process has moved the cursor meanwhile."""
        rows = {(log.block_hash, log.log_index): row for log in change.logs if (row := self._reader.row(log))}
        with self._transaction() as connection:
            moved = connection.execute(
                update(facts)
                .where(facts.c.name == "cursor", facts.c.value == _written(newest))
                .values(value=_written(change.end))
            )
            if moved.rowcount != 1:
                return None
            if change.shared != newest:
                connection.execute(delete(events).where(events.c.block_number > change.shared.number))
                connection.execute(delete(blocks).where(blocks.c.number > change.shared.number))
            if rows:
                connection.execute(insert(events), list(rows.values()))
            if change.marks:
                marks = [{"number": mark.number, "hash": "0x" + mark.hash.hex()} for mark in change.marks]
                connection.execute(insert(blocks), marks)
            self._forget_marks(connection, change.end)
        return list(rows.values())

    def _forget_marks(self, connection: Connection, end: Mark) -> None:
        old = blocks.c.number < end.number - self._spans.kept
        connection.execute(delete(blocks).where(old, blocks.c.number % self._spans.stride != 0))

    def _newest(self) -> Mark:
        with self._transaction() as connection:
            return _read_mark(_fact(connection, "cursor") or _written(self._origin))

    def _marks(self) -> Sequence[Mark]:
        with self._transaction() as connection:
            rows = connection.execute(select(blocks).order_by(blocks.c.number)).all()
        return [self._origin, *(Mark(int(row.number), bytes.fromhex(row.hash[2:])) for row in rows)]

    # ---- reading

    def head(self) -> int:
        """Newest block that the index holds; -1 before the first step."""
        newest = self._newest()
        return -1 if newest.is_origin else newest.number

    def events(
        self, names: Sequence[str] = (), *, limit: int = 50, before: Position | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest events as plain data, the newest first.

        Args:
            names: of events; all when empty.
            limit: at most so many.
            before: only events before this (block number, log index).
        """
        query = select(events).order_by(events.c.block_number.desc(), events.c.log_index.desc()).limit(limit)
        if names:
            query = query.where(events.c.name.in_(names))
        if before is not None:
            block, log_index = before
            earlier = and_(events.c.block_number == block, events.c.log_index < log_index)
            query = query.where(or_(events.c.block_number < block, earlier))
        with self._transaction() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def named(self, *names: str, after_block: int = -1) -> list[dict[str, Any]]:
        """Return all events of these names in the blocks after `after_block`, the oldest first."""
        query = (
            select(events)
            .where(events.c.name.in_(names), events.c.block_number > after_block)
            .order_by(events.c.block_number, events.c.log_index)
        )
        with self._transaction() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    # ---- what IPFS had

    def evidence(self, sha256: bytes) -> bytes | None:
        """Evidence blob of that content hash, if it has been stored."""
        return self._stored(evidence, sha256)

    def keep_evidence(self, sha256: bytes, data: bytes) -> None:
        """Store a verified evidence blob; storing it twice changes nothing."""
        self._store(evidence, sha256, data)

    def header(self, sha256: bytes) -> bytes | None:
        """How the contribution of that content hash begins, if it has been stored."""
        return self._stored(headers, sha256)

    def keep_header(self, sha256: bytes, data: bytes) -> None:
        """Store the beginning of a verified contribution; storing it twice changes nothing."""
        self._store(headers, sha256, data)

    def _stored(self, table: Table, sha256: bytes) -> bytes | None:
        with self._transaction() as connection:
            query = select(table.c.data).where(table.c.sha256 == sha256.hex())
            found = connection.execute(query).scalar()
        return None if found is None else bytes(found)

    def _store(self, table: Table, sha256: bytes, data: bytes) -> None:
        try:
            with self._transaction() as connection:
                connection.execute(insert(table).values(sha256=sha256.hex(), data=data))
        except IntegrityError:
            return  # it is there already, and content with one hash is one content

    # ---- the database's purpose

    def _belong(self, contracts: Mapping[str, str]) -> None:
        """Note what the database is for, or refuse one that is for something else.

        Raises:
            PreconditionError: `index-of-another-run`.
        """
        source = {"chain": self.chain.chain_id, **{name: contracts[name].lower() for name in sorted(contracts)}}
        mine = {"schema": str(SCHEMA_VERSION), "source": json.dumps(source)}
        try:
            with self._transaction() as connection:
                fresh = {**mine, "origin": str(self._origin.number), "cursor": _written(self._origin)}
                connection.execute(insert(facts), [{"name": k, "value": v} for k, v in fresh.items()])
        except IntegrityError:
            self._join(mine)

    def _join(self, mine: Mapping[str, str]) -> None:
        with self._transaction() as connection:
            for name, value in mine.items():
                if _fact(connection, name) != value:
                    raise PreconditionError(
                        "index-of-another-run",
                        "The database holds the index of another run, chain or version.",
                        "Name another one with --database, or delete this one; it can be built again.",
                    )
            if _fact(connection, "origin") != str(self._origin.number):
                self._start_over(connection)

    def _start_over(self, connection: Connection) -> None:
        """Empty the index, because it begins at another block than it did."""
        connection.execute(delete(events))
        connection.execute(delete(blocks))
        for name, value in (("origin", str(self._origin.number)), ("cursor", _written(self._origin))):
            connection.execute(update(facts).where(facts.c.name == name).values(value=value))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction; it is undone when the block raises."""
        with translated(), self._engine.begin() as connection:
            yield connection


def _fact(connection: Connection, name: str) -> str | None:
    found = connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar()
    return None if found is None else str(found)


def _written(mark: Mark) -> str:
    return f"{mark.number}:{mark.hash.hex()}"


def _read_mark(text: str) -> Mark:
    number, _, digest = text.partition(":")
    return Mark(int(number), bytes.fromhex(digest))


def _unsettled() -> UnavailableError:
    return UnavailableError(
        "chain-unsettled", "The head of the chain keeps changing under the index's reads.", "Try again."
    )
