"""How does QuestDB store readings? Lines over HTTP, one per request or 10,000 of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import peer
from processes import free_port, wait_until
from record import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

JAVA_MIN = 17
BATCH = 10_000
SINGLES = 8_000
"""Requests of one line that are kept ready; a load of them ends early when all are confirmed."""
TYPES = {
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
    pa.timestamp("us"): "TIMESTAMP",
    pa.string(): "SYMBOL",
    pa.bool_(): "BOOLEAN",
    # A SHORT cannot be null.
    pa.int16(): "INT",
    pa.int32(): "INT",
    pa.int64(): "LONG",
    pa.float32(): "FLOAT",
}


class QuestDB(peer.SqlPeer):
    """QuestDB that flushes before it confirms."""

    name = "QuestDB"
    durability = (
        "cairo.commit.mode sync: confirmed after the log is flushed, column by column and for each "
        "request alone (its default is never; durable confirmations of 10.2 could not be had here)"
    )
    does_more = (
        "SQL over all readings within moments of their arrival, columns that change in place, "
        "exact deduplication by inverter and time for all of the past"
    )
    does_less = "columns are not compressed; devices have to speak its protocol"
    batch = f"lines over HTTP, {BATCH:,} rows per request"
    connections = 4

    def start(self, directory: Path) -> None:
        """Starts the server, if Java and QuestDB are there."""
        peer.clients()
        java = _java()
        jars = sorted((REPOSITORY / "target" / "questdb").glob("questdb-*.jar"))
        if not jars:
            raise peer.NotHere(
                "it is not in target/questdb; `make target/questdb/.packages` fetches it, by mvn"
            )
        self._root = directory / "questdb"
        self._http, sql = free_port(), free_port()
        settings = {
            "cairo.commit.mode": "sync",
            "http.bind.to": f"127.0.0.1:{self._http}",
            "pg.net.bind.to": f"127.0.0.1:{sql}",
            "http.min.enabled": "false",
            "line.tcp.enabled": "false",
            "telemetry.enabled": "false",
        }
        configuration = self._root / "conf" / "server.conf"
        configuration.parent.mkdir(parents=True)
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        configuration.write_text("".join(lines), encoding="utf-8")
        command = [java, "-p", str(jars[-1]), "-m", "io.questdb/io.questdb.ServerMain"]
        log = directory / "questdb.log"
        self._run([*command, "-d", str(self._root)], log)
        address = f"postgresql://admin:quest@127.0.0.1:{sql}/qdb"
        self._connect_sql(address, log)
        self.version = jars[-1].stem.partition("-")[2]

    def prepare(self, rows: pa.Table) -> None:
        """Keeps data frames of batches, and the lines of single readings."""
        import pandas as pd  # type: ignore[import-untyped]

        self._columns = {field.name: TYPES[field.type] for field in rows.schema}
        self._symbols = [name for name, kind in self._columns.items() if kind == "SYMBOL"]
        nanoseconds = pa.schema(
            [
                field.with_type(pa.timestamp("ns", tz=field.type.tz))
                if pa.types.is_timestamp(field.type)
                else field
                for field in rows.schema
            ]
        )
        # Whole numbers stay such beside nulls.
        whole: dict[Any, Any] = {
            pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()
        }  # fmt: skip
        frame = rows.cast(nanoseconds).to_pandas(types_mapper=whole.get)
        self._maker = self._sender()
        self._maker.establish()
        self._batches = [
            self._lines(frame.iloc[start : start + BATCH]) for start in range(0, len(frame), BATCH)
        ]
        self._frame = frame
        self._singles: list[Any] = []

    def empty(self) -> None:
        """Makes a new table."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self._columns.items())
        self.connection.execute("DROP TABLE IF EXISTS readings")
        self.connection.execute(
            f"CREATE TABLE readings ({columns}) TIMESTAMP(ts) PARTITION BY DAY WAL "
            "DEDUP UPSERT KEYS(ts, inverter_sn)"
        )
        # Directories of dropped tables stay for a while.
        sql = "SELECT directoryName FROM tables() WHERE table_name = 'readings'"
        self._table = self._root / "db" / self.connection.execute(sql).fetchone()[0]

    def one_by_one(self, seconds: float) -> peer.Loaded:
        """Sends requests of one line from many threads, one connection each."""
        if not self._singles:
            rows = range(min(len(self._frame), SINGLES))
            self._singles = [self._lines(self._frame.iloc[row : row + 1]) for row in rows]
        waiting = iter(self._singles)
        senders = [self._sender() for _ in range(self.connections)]
        for sender in senders:
            sender.establish()
        lock = threading.Lock()
        failures: list[Exception] = []
        clock = peer.Clock()
        until_s = clock.started_s + seconds

        def stick(sender: Any) -> None:
            from questdb import QuestDBError  # type: ignore[import-not-found]

            now_s = time.perf_counter()
            try:
                while now_s < until_s:
                    with lock:
                        lines = next(waiting, None)
                    if lines is None:
                        break
                    sender.flush(lines, clear=False)
                    now_s = clock.confirmed(now_s)
            except QuestDBError as error:
                failures.append(error)

        threads = [threading.Thread(target=stick, args=(sender,)) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        loaded = clock.loaded(len(clock.ack_ms))
        for sender in senders:
            sender.close()
        if failures:
            raise SystemExit(f"QuestDB: {failures[0]}")
        return loaded

    def batches(self) -> peer.Loaded:
        """Sends batches over one connection."""
        with self._sender() as sender:
            clock = peer.Clock()
            for batch in self._batches:
                asked_s = time.perf_counter()
                sender.flush(batch, clear=False)
                clock.confirmed(asked_s)
            return clock.loaded(len(self._frame))

    def settle(self) -> None:
        """Waits until the log is in the table."""

        def applied() -> bool:
            sql = "SELECT suspended, writerTxn = sequencerTxn FROM wal_tables()"
            suspended, is_applied = self.connection.execute(
                f"{sql} WHERE name = 'readings'"
            ).fetchone()
            if suspended:
                raise SystemExit("QuestDB suspended the table")
            return bool(is_applied)

        wait_until("QuestDB applied its log", applied, seconds=peer.SETTLE_S, every_s=peer.LOOK_S)

    def bytes_on_disk(self) -> int:
        """Returns the size of the table's partitions, without the log.

        A server that runs holds 16 MiB more for each column.
        """
        return sum(peer.disk_bytes(partition) for partition in self._table.glob("20??-*"))

    def _lines(self, frame: Any) -> Any:
        lines = self._maker.new_buffer()
        lines.dataframe(frame, table_name="readings", symbols=self._symbols, at="ts")
        return lines

    def _sender(self) -> Any:
        from questdb import Sender

        address = f"http::addr=127.0.0.1:{self._http};auto_flush=off;"
        # Thousands of single lines are kept ready.
        address += "retry_timeout=0;init_buf_size=2048;"
        return Sender.from_conf(address)


def _java() -> str:
    """Returns the Java to run it with; raises NotHere without one that is new enough."""
    java = shutil.which("java")
    if java is None:
        raise peer.NotHere("there is no java")
    told = subprocess.run([java, "-version"], check=False, capture_output=True, text=True)
    version = java_version(told.stderr + told.stdout)
    if version is None or version < JAVA_MIN:
        raise peer.NotHere(f"QuestDB needs Java {JAVA_MIN}, this one is {version or 'unknown'}")
    return java


def java_version(told: str) -> int | None:
    """Returns the major version from what `java -version` says: 17 of 17.0.15, 8 of 1.8.0_412."""
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else None
