"""How is the portal's database reached: which URL, which transaction, which errors?

SQLite by default: write-ahead log, foreign keys, writers wait for one another. PostgreSQL by URL.
Every method of the store is one transaction: `reading` sees one moment, `writing` takes SQLite's
one write lock at its start, so that nobody finds at its end that another was faster. Changes are
counted, so that what was read before can be remembered until there is one.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, CursorResult, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.sql.dml import UpdateBase

BUSY_TIMEOUT_S = 10.0
"""A write waits so long for others; theirs take milliseconds, a backup's a second."""
POOL_SIZE = 20
"""Connections: more than a web server has threads, less than PostgreSQL's usual 100."""


class StoreError(Exception):
    """The database cannot be used or does not hold what was asked; one sentence, no contents."""


class Conflict(StoreError):
    """The database refuses what its constraints forbid; callers say what that means."""


class StoreUnavailable(StoreError):
    """The database does not answer now; trying again later may help."""


class Revision:
    """Counts the changes that this process made by one engine."""

    def __init__(self) -> None:
        self.count = 0
        self._turn = threading.Lock()

    def advance(self) -> None:
        """Counts one more."""
        with self._turn:
            self.count += 1


def revision_of(engine: Engine) -> Revision:
    """Returns what counts the changes by an engine."""
    found: Revision = engine.get_execution_options()["autarco_revision"]
    return found


def make_engine(url: str) -> Engine:
    """Returns an engine for a URL, or for the path of an SQLite file; raises StoreError."""
    # At its DEBUG level it prints rows: people, hashes, secrets. A program's root level alone must
    # not switch that on.
    logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)
    address = _address(url)
    options = {"autarco_revision": Revision()}
    if address.get_backend_name() == "postgresql":
        return create_engine(
            address,
            pool_size=POOL_SIZE,
            max_overflow=0,
            # A connection that a restarted server cut is noticed before it is used.
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            execution_options=options,
        )
    engine = create_engine(
        address,
        pool_size=POOL_SIZE,
        max_overflow=0,
        # Values are personal data; an error must not carry them into a log.
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        execution_options=options,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that sees one moment; raises StoreError for what the database says."""
    with (
        _speaking(),
        engine.connect() as connection,
        connection.begin(),
        Session(connection) as session,
    ):
        yield session


@contextmanager
def writing(engine: Engine, *, is_note: bool = False) -> Iterator[Session]:
    """One transaction that changes something; nothing of it stays when it raises.

    It counts as a change unless `is_note`: what changes neither people nor rights nor sites, and
    comes with many requests. Raises StoreError for what the database says, Conflict where that is
    a constraint.
    """
    try:
        with _speaking(), engine.connect() as connection:
            connection.execution_options(autarco_writes=True)
            with connection.begin(), Session(connection) as session:
                yield session
                session.flush()
    finally:
        # Also after an error: whether it was carried out, a broken connection does not say.
        if not is_note:
            revision_of(engine).advance()


def affected(session: Session, statement: UpdateBase) -> int:
    """Carries out a change and returns how many rows it touched."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


@contextmanager
def _speaking() -> Iterator[None]:
    """Turns errors of drivers into ours, which leave out the values: those are personal data.

    Not as their cause either: a log would print that too.
    """
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"the database refuses that: {_what(error)}") from None
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"the database does not answer: {_what(error)}") from None
    except PoolTimeoutError:
        raise StoreUnavailable("all connections to the database are busy") from None
    except DBAPIError as error:
        raise StoreError(f"the database failed: {_what(error)}") from None


def _what(error: DBAPIError) -> str:
    """PostgreSQL's texts repeat values, its codes do not; SQLite's texts do not either."""
    if isinstance(error.orig, sqlite3.Error):
        return f"{type(error.orig).__name__} {error.orig}"
    state = getattr(error.orig, "sqlstate", None) or "no code"
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return f"{type(error.orig).__name__} {state} {constraint or ''}".strip()


def _address(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=str(Path(url).resolve()))
    try:
        address = make_url(url)
        name = address.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError("that is no database URL") from error
    if name == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if name != "sqlite":
        raise StoreError(f"expected an SQLite or PostgreSQL URL, got {name}")
    if not address.database or address.database == ":memory:":
        raise StoreError("an SQLite database needs a file: each connection has its own memory")
    return address


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver begins transactions when it thinks fit; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # With the log, losing power costs the last transactions at NORMAL; an acknowledged alarm or a
    # settlement must not be lost.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # Erased people are overwritten, not only unlinked.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("autarco_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
