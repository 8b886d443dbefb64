"""Opening the index's database, and its errors in this project's words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from emerit.errors import PreconditionError, UnavailableError, UsageError

_POSTGRES = ("postgres", "postgresql")
_CREATION_LOCK = 0x656D65726974  # "emerit"; any number that others are unlikely to use
_BUSY_SECONDS = 5.0
"""How long SQLite waits for another's lock."""


def open_engine(url: str) -> Engine:
    """Return an engine for an SQLite file (with write-ahead logging) or a PostgreSQL database.

    Nothing is contacted yet, but an SQLite file's folder is made.

    Raises:
        UsageError: `database-url-invalid`.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise _bad_url("it is not a database URL") from error
    if parsed.drivername.startswith("sqlite"):
        return _open_sqlite(parsed)
    if parsed.drivername in _POSTGRES:
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        return create_engine(parsed, pool_pre_ping=True)
    except ImportError as error:
        raise _bad_url(f"the driver {error.name} is not installed") from error
    except ArgumentError as error:
        raise _bad_url(f"there is no driver for {parsed.drivername}") from error


def create_tables(engine: Engine, metadata: MetaData) -> None:
    """Create the tables that are missing; other processes may be doing the same. Call it in `translated`."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # there, two at once trip over the types of the tables
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise _bad_url("an index in memory cannot be shared by threads")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _bad_url(f"{error.filename} cannot be made: {error.strerror}") from error
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={int(1000 * _BUSY_SECONDS)}")
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _use_write_ahead_log(connection: Any) -> None:
    """Change a new file to write-ahead logging; where two do so at once, SQLite refuses one without waiting."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _bad_url(why: str) -> UsageError:
    return UsageError(
        "database-url-invalid",
        f"The database cannot be opened: {why}.",
        "Use sqlite:///path/to/file.sqlite, or postgresql://user@host/name with psycopg installed.",
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database's errors into ours; only IntegrityError, a key that is there already, goes through.

    Raises:
        UnavailableError: `database-unavailable`, when it cannot be reached, is locked or full.
        PreconditionError: `database-unusable`, when it is no database of ours or is damaged.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError) as error:
        raise UnavailableError(
            "database-unavailable",
            f"The index's database does not answer: {_words(error)}.",
            "Check that it runs, that its disk is not full and that it may be written.",
        ) from error
    except DBAPIError as error:
        raise PreconditionError(
            "database-unusable",
            f"The index's database cannot be used: {_words(error)}.",
            "Delete it, or name another one with --database; the index can be built again.",
        ) from error
    except SQLAlchemyError as error:
        raise UnavailableError(
            "database-unavailable",
            f"The index's database does not answer: {type(error).__name__}.",
            "Try again.",
        ) from error


def _words(error: DBAPIError) -> str:
    """Return the driver's own first line, which names neither the statement nor the credentials."""
    return str(error.orig).strip().partition("\n")[0][:200]
