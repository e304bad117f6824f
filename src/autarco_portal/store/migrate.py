"""Are the database's tables those of this program, and how do they become that?

By Alembic; the revisions are in `migrations/versions`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from autarco_portal.store.engine import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_218_044_913
"""Any number; whoever migrates a PostgreSQL database holds the lock of this name."""


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Brings the tables up to date; returns the version before and after.

    All or nothing. Raises StoreError for a database of a newer program, or that is not there.
    """
    _make_private(engine)
    with _connected(engine, writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        before, newest = _versions(connection)
        config = config_of(connection)
        if before != newest:
            _check_known(config, before)
            command.upgrade(config, "head")
        return before, newest


def check_version(engine: Engine) -> None:
    """Raises StoreError unless the tables are those of this program."""
    with _connected(engine, writes=False) as connection:
        found, newest = _versions(connection)
        if found == newest:
            return
        _check_known(config_of(connection), found)
        raise StoreError(
            "the database has no tables yet, run `autarco-portal migrate`"
            if found is None
            else f"the database has version {found}, this program wants {newest}; run "
            "`autarco-portal migrate`"
        )


def config_of(connection: Connection) -> Config:
    """Returns what Alembic's commands want: where the revisions are, and the open connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _make_private(engine: Engine) -> None:
    """Makes SQLite's file for its owner only: SQLite lets all read what it makes itself.

    Its log takes the mode of the file. One that is there keeps its mode.
    """
    name = engine.url.database
    if engine.dialect.name != "sqlite" or name is None or name.startswith("file:"):
        return
    try:
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError("the database is not there, or does not let this program in") from error


def _connected(engine: Engine, *, writes: bool) -> Connection:
    try:
        return engine.connect().execution_options(autarco_writes=writes)
    except DBAPIError as error:
        raise StoreError("the database is not there, or does not let this program in") from error


def _versions(connection: Connection) -> tuple[str | None, str]:
    newest = ScriptDirectory.from_config(config_of(connection)).get_current_head()
    if newest is None:
        raise StoreError("this program has no migrations: it is not installed completely")
    return MigrationContext.configure(connection).get_current_revision(), newest


def _check_known(config: Config, version: str | None) -> None:
    scripts = ScriptDirectory.from_config(config)
    if version is not None and version not in {one.revision for one in scripts.walk_revisions()}:
        raise StoreError(f"the database has version {version}, which a newer program made")
