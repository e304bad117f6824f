"""How does NATS JetStream store readings? With a writer that takes its messages into Parquet files.

JetStream itself keeps opaque bytes: a log, as our journal is. What it is compared with ends in a
table, so `nats_writer` belongs to this contestant. One message is a reading in MessagePack, or a
record batch of Arrow of some 64 KiB; the stream lets go of it when its file is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

import peer
from processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_BYTES = 65_536
IN_FLIGHT = 16
"""Batches that are sent before the first one is confirmed."""
STREAM = "readings"
WRITTEN_S = 0.05
"""How often the writer is asked whether it is done."""


WRITER = Path(__file__).with_name("nats_writer.py")


class Nats(peer.Peer):
    """NATS JetStream on one node that flushes before it confirms, and a writer beside it."""

    name = "NATS JetStream + Parquet writer"
    durability = "sync_interval always: confirmed after fsync (its default is every two minutes)"
    does_more = "delivery to any number of consumers, replication, subjects to select by"
    does_less = (
        "JetStream keeps opaque messages; the writer, made for this comparison, puts them into "
        "Parquet files, without a table's log, deduplication or the newest readings at once"
    )
    batch = f"Arrow record batches of {BATCH_BYTES >> 10} KiB, {IN_FLIGHT} in flight"
    connections = 100
    gateway = "nats"

    def start(self, directory: Path) -> None:
        """Starts the server."""
        venv = peer.clients()
        self._store = directory / "nats"
        self._files = directory / "nats-parquet"
        self._writer: subprocess.Popen[str] | None = None
        self._port = free_port()
        self.address = f"nats://127.0.0.1:{self._port}"
        configuration = directory / "nats.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{self._port}"\n'
            f'jetstream {{ store_dir: "{self._store}", sync_interval: always }}\n',
            encoding="utf-8",
        )
        server = str(venv / "bin" / "nats-server")
        log = directory / "nats.log"
        self._run([server, "--config", str(configuration)], log)
        self._wait_for(lambda: peer.listens(self._port), log)
        self.version = asyncio.run(self._version())

    def prepare(self, rows: pa.Table) -> None:
        """Packs each reading, and batches of them."""
        # MessagePack has times only as text; the writer knows that these are microseconds.
        columns = [
            (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
            for column in rows.columns
        ]
        encode = msgspec.msgpack.Encoder().encode
        self._names = rows.column_names
        self._rows = [encode(row) for row in zip(*columns, strict=True)]
        self._subjects = [f"{STREAM}.{sn}" for sn in rows.column("inverter_sn").to_pylist()]
        self._batches = list(batches_of(rows))

    def empty(self) -> None:
        """Makes a new stream, and starts a writer of it."""
        self._end_writer()
        asyncio.run(self._empty())
        self._files.mkdir(exist_ok=True)
        for file in self._files.iterdir():
            file.unlink()
        self._writer = subprocess.Popen(
            [sys.executable, str(WRITER), self.address, STREAM, str(self._files)],
            stdout=subprocess.PIPE,
            env=os.environ | {"COLUMNS_OF_MESSAGES": ",".join(self._names)},
            text=True,
        )
        assert self._writer.stdout is not None
        if self._writer.stdout.readline() != "ready\n":
            raise SystemExit(f"{self.name}: the writer does not start")

    def one_by_one(self, seconds: float) -> peer.Loaded:
        """Publishes single readings from many connections."""
        return asyncio.run(self._one_by_one(seconds))

    def batches(self) -> peer.Loaded:
        """Publishes batches over one connection."""
        return asyncio.run(self._send_batches())

    def settle(self) -> None:
        """Waits until every message has become part of a file, and so has left the stream."""

        def is_empty() -> bool:
            assert self._writer is not None
            if self._writer.poll() is not None:
                raise SystemExit(f"{self.name}: the writer has ended")
            return asyncio.run(self._messages()) == 0

        wait_until(
            "all messages are in Parquet", is_empty, seconds=peer.SETTLE_S, every_s=WRITTEN_S
        )

    def count(self) -> int:
        """Returns the rows of the files."""
        return sum(pq.read_metadata(file).num_rows for file in self._files.glob("*.parquet"))

    def bytes_on_disk(self) -> int:
        """Returns the size of the files; the stream is empty."""
        return peer.disk_bytes(self._files)

    def cpu_parts_s(self) -> dict[str, float]:
        """Returns the CPU of the message log and of the writer."""
        assert self._writer is not None
        return {
            "message log": super().cpu_parts_s()[peer.WHOLE],
            "writer": peer.tree_cpu_s(self._writer.pid),
        }

    def stop(self) -> None:
        """Ends the writer and the server."""
        self._end_writer()
        super().stop()

    def _signal(self, number: int) -> None:
        super()._signal(number)
        if self._writer is not None:
            self._writer.send_signal(number)

    def _end_writer(self) -> None:
        if self._writer is not None:
            self._writer.kill()
            self._writer.communicate()
            self._writer = None

    async def _connect(self) -> Any:
        peer.clients()
        import nats  # type: ignore[import-not-found]

        return await nats.connect(self.address)

    async def _version(self) -> str:
        connection = await self._connect()
        version = str(connection.connected_server_version).strip("<>").rpartition(" v")[2]
        await connection.close()
        return version

    async def _empty(self) -> None:
        from nats.js.errors import NotFoundError  # type: ignore[import-not-found]

        connection = await self._connect()
        jetstream = connection.jetstream()
        with contextlib.suppress(NotFoundError):
            await jetstream.delete_stream(STREAM)
        await jetstream.add_stream(name=STREAM, subjects=[f"{STREAM}.>"])
        await connection.close()

    async def _messages(self) -> int:
        connection = await self._connect()
        found = await connection.jetstream().stream_info(STREAM)
        await connection.close()
        return int(found.state.messages)

    async def _one_by_one(self, seconds: float) -> peer.Loaded:
        connections = [await self._connect() for _ in range(self.connections)]
        waiting = iter(zip(self._subjects, self._rows, strict=True))
        clock = peer.Clock()
        until_s = clock.started_s + seconds

        async def stick(jetstream: Any) -> None:
            now_s = time.perf_counter()
            while now_s < until_s and (reading := next(waiting, None)):
                await jetstream.publish(*reading)
                now_s = clock.confirmed(now_s)

        await asyncio.gather(*(stick(connection.jetstream()) for connection in connections))
        loaded = clock.loaded(len(clock.ack_ms))
        for connection in connections:
            await connection.close()
        return loaded

    async def _send_batches(self) -> peer.Loaded:
        connection = await self._connect()
        jetstream = connection.jetstream()
        waiting = iter(self._batches)
        clock = peer.Clock()

        async def lane() -> None:
            for batch in waiting:
                asked_s = time.perf_counter()
                await jetstream.publish(f"{STREAM}.batch", batch)
                clock.confirmed(asked_s)

        await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
        loaded = clock.loaded(len(self._rows))
        await connection.close()
        return loaded


def batches_of(rows: pa.Table) -> Iterator[bytes]:
    """Cuts readings into messages of about 64 KiB."""
    (whole,) = rows.combine_chunks().to_batches()
    size = max(1, int(BATCH_BYTES / (whole.nbytes / whole.num_rows)))
    for start in range(0, whole.num_rows, size):
        sink = pa.BufferOutputStream()
        batch = whole.slice(start, size)
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        yield sink.getvalue().to_pybytes()
