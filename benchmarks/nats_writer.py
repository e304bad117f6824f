"""How do messages of NATS JetStream become a table? This takes them off the stream, file by file.

`python nats_writer.py URL STREAM DIRECTORY`, run by `peer_nats`: the half of the job that a message
log leaves to somebody else. Files are written as ours are, by the same code: sorted by inverter and
time, one file per batch, forced to disk before their messages are acknowledged and so leave the
stream. Prints `ready` when it waits for messages; ends when it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

import peer
from autarco_ingest import durable, parquet_format, schema

MESSAGES_MAX = 500
ROWS_PER_FILE = 250_000
"""Where one inverter's rows lie together, a file of them compresses as ours do."""
IDLE_S = 0.5
"""After a pause of the stream what there is becomes a file."""


async def main(url: str, stream: str, directory: Path) -> None:
    """Waits for messages and writes them, for ever."""
    peer.clients()
    import nats  # type: ignore[import-not-found]
    from nats.js.api import AckPolicy, ConsumerConfig  # type: ignore[import-not-found]

    connection = await nats.connect(url)
    # One acknowledgement for all messages up to one.
    jetstream = connection.jetstream()
    consumer = await jetstream.pull_subscribe(
        f"{stream}.>",
        durable="writer",
        stream=stream,
        config=ConsumerConfig(ack_policy=AckPolicy.ALL, max_ack_pending=-1),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    tables: list[pa.Table] = []
    last: Any = None
    files = 0
    while True:
        try:
            messages = await consumer.fetch(MESSAGES_MAX, timeout=IDLE_S)
        except TimeoutError:
            messages = []
        if messages:
            tables.append(_rows([message.data for message in messages]))
            last = messages[-1]
        rows = sum(table.num_rows for table in tables)
        if rows >= ROWS_PER_FILE or (rows and not messages):
            _write(pa.concat_tables(tables), directory / f"{files:06}.parquet")
            await last.ack_sync()
            # What is in a file leaves the stream, up to the message before this one.
            await jetstream.purge_stream(stream, seq=last.metadata.sequence.stream + 1)
            tables, files = [], files + 1


def _rows(messages: list[bytes]) -> pa.Table:
    """Decodes record batches of Arrow, or single readings in MessagePack."""
    if messages[0][:1] == b"\xff":
        batches = [pa.ipc.open_stream(message).read_next_batch() for message in messages]
        return pa.Table.from_batches(batches)
    decode = msgspec.msgpack.Decoder(list[Any]).decode
    columns = zip(*map(decode, messages), strict=True)
    known = schema.arrow_schema(schema.READINGS)
    names = os.environ["COLUMNS_OF_MESSAGES"].split(",")
    arrays = [
        pa.array(values, known.field(name).type)
        for name, values in zip(names, columns, strict=True)
    ]
    return pa.table(dict(zip(names, arrays, strict=True)))


def _write(rows: pa.Table, path: Path) -> None:
    stored = schema.conform(schema.READINGS, _completed(rows))
    keys: list[tuple[str, Literal["ascending"]]]
    keys = [(name, "ascending") for name in schema.READINGS.sort_columns]
    order = pc.sort_indices(stored, sort_keys=keys)
    draft = path.with_suffix(".draft")
    parquet_format.write(stored, draft, schema.READINGS, compacted=False, order=order)
    durable.replace(draft, path)


def _completed(rows: pa.Table) -> pa.Table:
    """Adds the columns that no reading has a value for."""
    for column in schema.READINGS.columns:
        if column.name not in rows.column_names and column.name != "date":
            rows = rows.append_column(column.name, pa.nulls(rows.num_rows).cast(column.type))
    return rows


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
