"""How is a data file of each table encoded, and why so?

`write` turns rows into the bytes of one data file, `options` are the same choices as arguments of
`pyarrow.parquet.write_table`. Types and values stay those of the schema; only their encoding is
chosen here. Every choice was measured: `benchmarks/lake_encoding.py`, table in docs/data.md.

Not here: which rows belong in a file, in which order (`schema.Table.sort_columns`; half the size
comes from it), where the file lies and when it is on disk.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from autarco_ingest import schema

ROW_GROUP_ROWS = 122_880
"""What DuckDB gives one thread. A group of 1 M rows saves 4 % of the bytes and costs a query for
one inverter three times the time, because all of the group is unpacked."""

COMPACTED_LEVEL = 6
"""zstd. Level 9 is no smaller, level 3 takes 3 to 8 % more bytes; reading costs the same."""

FLUSHED_LEVEL = 3
"""A flushed file lives until its day is compacted: not worth the CPU of a higher level."""

DICTIONARY_ROWS_MIN = 8_192
"""With fewer rows a dictionary takes more bytes than it saves: 15 % more for one inverter's day."""

PAGE_ROWS = ROW_GROUP_ROWS
"""One page per column and row group: pyarrow's 20,000 rows cost 4 % more, as each page is
compressed alone."""

GROWING_COLUMNS = frozenset(
    {
        *("ts", "inverter_clock", "at"),
        *("record_no", "uptime_s", "frames"),
        *("energy_total_wh", "energy_today_wh", "energy_year_wh"),
    }
)
"""Clocks and counters of one device, in its order: the difference to the row before is small and
often the same. As differences they take a third of what a dictionary takes."""

UNREPEATED_COLUMNS = frozenset({"received_at", "frame"})
"""Hardly a value occurs twice, so a dictionary would hold all of them."""

SEARCHED_COLUMNS = frozenset({"ts", "at", "received_at", "inverter_sn", "logger_sn", "date"})
"""Columns whose minimum and maximum let a reader skip row groups: nobody searches by a voltage."""


def write(
    rows: pa.Table, sink: Path | IO[bytes] | pa.NativeFile, table: schema.Table, *, compacted: bool
) -> None:
    """Writes the rows of one date as one Parquet file, in the order given.

    `rows` has the columns of the table; `date` is left out, the file's directory says it.
    `compacted` is for a file that stays: smaller, at some more CPU. The caller opens, closes and
    syncs `sink`. Raises pa.ArrowException or OSError.
    """
    stored = rows.drop_columns(["date"]) if "date" in rows.column_names else rows
    pq.write_table(stored, sink, **options(table, stored.num_rows, compacted=compacted))


def options(table: schema.Table, rows: int, *, compacted: bool) -> dict[str, Any]:
    """Returns the arguments of `pq.write_table` for a file of so many rows, without `date`."""
    names = [column.name for column in table.columns if column.name != "date"]
    apart = GROWING_COLUMNS | UNREPEATED_COLUMNS
    repeated = [name for name in names if name not in apart]
    return {
        # Registers are coarse: tenths of a volt have few values, and f32 hides nothing from a
        # dictionary. BYTE_STREAM_SPLIT is larger for all but `received_at` and the powers, where
        # 2 % are not worth the readers that do not know it.
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
