"""How is a data file of each table encoded, and why so?

`write` turns rows into the bytes of one data file, `options` are the same choices as arguments of
`pyarrow.parquet.write_table`. Types and values stay those of the schema; only their encoding is
chosen here. Every choice was measured: `benchmarks/lake_encoding.py`, table in docs/data.md.

Not here: which rows belong in a file, in which order (`schema.Table.sort_columns`: in any other
order a file takes twice the bytes), where the file lies and when it is on disk.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest import schema

ROW_GROUP_ROWS = 122_880
"""What DuckDB gives one thread. A group of 1 M rows takes 4 % fewer bytes, but one inverter's day
costs a query half as much CPU again, because all of a group is unpacked."""

COMPACTED_LEVEL = 6
"""zstd. Level 3 takes 2 to 3 % more bytes and a third less CPU, level 9 at most 5 % fewer bytes and
a fifth more CPU. Queries cost the same."""

FLUSHED_LEVEL = 3
"""A flushed file lives until its day is compacted: not worth the CPU of a higher level."""

DICTIONARY_ROWS_MIN = 8_192
"""With fewer rows dictionaries cost more than they save: 17 % more bytes for one inverter's day."""

PAGE_ROWS = ROW_GROUP_ROWS
"""One page per column and row group. Each page is compressed alone: with pyarrow's own 20,000 rows
a file takes 6 to 8 % more bytes."""

GROWING_COLUMNS = frozenset(
    {
        *("ts", "inverter_clock", "at"),
        *("record_no", "uptime_s", "frames"),
        *("energy_total_wh", "energy_today_wh", "energy_year_wh"),
    }
)
"""Clocks and counters of one device, in its order: the difference to the row before is small and
often the same. As differences they take a third of what they take in a dictionary."""

UNREPEATED_COLUMNS = frozenset({"received_at", "frame"})
"""Hardly a value occurs twice, so a dictionary would hold all of them."""

SEARCHED_COLUMNS = frozenset({"ts", "at", "received_at", "inverter_sn", "logger_sn"})
"""Columns whose minimum and maximum let a reader skip row groups: nobody searches by a voltage."""


def write(
    rows: pa.Table,
    sink: Path | IO[bytes] | pa.NativeFile,
    table: schema.Table,
    *,
    compacted: bool,
    order: pa.UInt64Array | None = None,
) -> None:
    """Writes the rows of one date as one Parquet file, as given or in the `order` of indices.

    `rows` has the columns of the table; `date` is left out, the file's directory says it.
    `compacted` is for a file that stays: smaller, at some more CPU. The caller opens, closes and
    syncs `sink`. Raises pa.ArrowException or OSError.
    """
    stored = rows.drop_columns(["date"]) if "date" in rows.column_names else rows
    if order is None:
        pq.write_table(stored, sink, **options(table, stored.num_rows, compacted=compacted))
        return
    chosen = options(table, len(order), compacted=compacted)
    group_rows = chosen.pop("row_group_size")
    filled = [name for name in stored.column_names if stored[name].null_count < stored.num_rows]
    with pq.ParquetWriter(sink, stored.schema, **chosen) as writer:
        # One row group at a time: all rows in order would be the batch once more in memory.
        for start in range(0, len(order), group_rows):
            part = order.slice(start, group_rows)
            writer.write_table(_taken(stored, part, filled), group_rows)


def _taken(rows: pa.Table, order: pa.UInt64Array, filled: list[str]) -> pa.Table:
    """Returns rows in the `order` of indices; only columns in `filled` have values to look up.

    An inverter has no value for some twenty columns: battery, meter, phases and inputs it lacks.
    """
    # Indices that come from sorting these rows lie within them.
    found = pc.take(rows.select(filled), order, boundscheck=False)
    taken = dict(zip(filled, found.columns, strict=True))
    columns = [
        taken[field.name] if field.name in taken else pa.nulls(len(order), field.type)
        for field in rows.schema
    ]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def options(table: schema.Table, rows: int, *, compacted: bool) -> dict[str, Any]:
    """Returns the arguments of `pq.write_table` for a file of so many rows, without `date`."""
    names = [column.name for column in table.columns if column.name != "date"]
    apart = GROWING_COLUMNS | UNREPEATED_COLUMNS
    repeated = [name for name in names if name not in apart]
    return {
        # Registers are coarse: tenths of a volt have few values, and f32 hides nothing from a
        # dictionary. BYTE_STREAM_SPLIT makes floats larger; for `received_at` and the powers it
        # would save 4 %, but Spark's vectorised reader had none until 2026 at least (SPARK-56894).
        "use_dictionary": repeated if rows >= DICTIONARY_ROWS_MIN else False,
        "column_encoding": {
            name: "DELTA_BINARY_PACKED" for name in names if name in GROWING_COLUMNS
        },
        "compression": "zstd",
        "compression_level": COMPACTED_LEVEL if compacted else FLUSHED_LEVEL,
        "row_group_size": ROW_GROUP_ROWS,
        "max_rows_per_page": PAGE_ROWS,
        "write_statistics": [name for name in names if name in SEARCHED_COLUMNS],
        # The table's own schema says it all; a copy in each small file costs kilobytes.
        "store_schema": False,
        # A flipped bit would otherwise be a wrong measurement; 6 bytes per page.
        "write_page_checksum": True,
    }
