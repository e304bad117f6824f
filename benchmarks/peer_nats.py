"""How does NATS JetStream store readings? One message per reading, or 64 KiB of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec

import peer
from processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

BATCH_BYTES = 65_536
IN_FLIGHT = 16
"""Batches that are sent before the first one is confirmed."""
STREAM = "readings"


class Nats(peer.Peer):
    """NATS JetStream on one node that flushes before it confirms."""

    name = "NATS JetStream"
    durability = "sync_interval always: confirmed after fsync (its default is every two minutes)"
    does_more = "delivery to any number of consumers, replication, subjects to select by"
    does_less = (
        "it keeps opaque messages (here a MessagePack array of the same values) and has neither "
        "columns nor a way to ask for them; nothing is compressed"
    )
    batch = f"messages of {BATCH_BYTES >> 10} KiB, {IN_FLIGHT} in flight"
    connections = 100

    def start(self, directory: Path) -> None:
        """Starts the server."""
        venv = peer.clients()
        self._store = directory / "nats"
        self._port = free_port()
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
        self._per_message: list[int] = [1]

    def prepare(self, rows: pa.Table) -> None:
        """Packs each reading, and batches of them."""
        columns = [column.to_pylist() for column in rows.columns]
        encode = msgspec.msgpack.Encoder().encode
        self._rows = [encode(row) for row in zip(*columns, strict=True)]
        self._subjects = [f"{STREAM}.{sn}" for sn in rows.column("inverter_sn").to_pylist()]
        self._batches = list(_batches(self._rows))

    def empty(self) -> None:
        """Makes a new stream."""
        asyncio.run(self._empty())

    def one_by_one(self, seconds: float) -> peer.Loaded:
        """Publishes single readings from many connections."""
        return asyncio.run(self._one_by_one(seconds))

    def batches(self) -> peer.Loaded:
        """Publishes batches over one connection."""
        return asyncio.run(self._send_batches())

    def settle(self) -> None:
        """Does nothing: what is confirmed is where it stays."""

    def count(self) -> int:
        """Returns the messages of the stream, times the readings that each holds."""
        messages = asyncio.run(self._messages())
        if self._sent_batches:
            if messages != len(self._batches):
                raise SystemExit(f"NATS: {messages} messages of {len(self._batches)}")
            return len(self._rows)
        return messages

    def bytes_on_disk(self) -> int:
        """Returns the size of the stream's files."""
        return peer.disk_bytes(self._store)

    async def _connect(self) -> Any:
        peer.clients()
        import nats  # type: ignore[import-not-found]

        return await nats.connect(f"nats://127.0.0.1:{self._port}")

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
        self._sent_batches = False
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
        self._sent_batches = True
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


def _batches(rows: list[bytes]) -> Iterator[bytes]:
    """Joins readings to messages of at most 64 KiB."""
    batch: list[bytes] = []
    size = 0
    for row in rows:
        if batch and size + len(row) > BATCH_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(row)
        size += len(row)
    if batch:
        yield b"".join(batch)
