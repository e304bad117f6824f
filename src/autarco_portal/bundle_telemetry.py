"""Which rows of the lake are somebody's, and how do they become files?

Readings of his inverters, and what their sticks said, for the time that they hung in his house and
the house was his. Part by part, so that ten years fit; one file per calendar year of UTC. Every
column is handed out except what the tables derive themselves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from autarco_ingest import schema
from autarco_portal.bundle import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from autarco_portal.person_record import Present

StickTable: TypeAlias = Literal["sessions", "quarantine"]

_MONTHS_PER_PART = {"readings": 3, "sessions": 12, "quarantine": 12}
"""Each question costs about 0.1 s; a quarter of two inverters is 50,000 rows, 25 MB."""

DERIVED = {
    "date": "the UTC date of the time column",
    "repeat": "set when a day is compacted",
}
"""Columns that are not handed out, and why."""
TABLES = {table.name: table for table in schema.TABLES}
_ORDER = {
    "readings": ("inverter_sn", "ts", "received_at", "logger_sn", "record_no", "historic"),
    "sessions": ("at", "logger_sn", "event", "code"),
    "quarantine": ("received_at", "logger_sn", "frame"),
}


class Telemetry(Protocol):
    """Who answers for the lake: `lake_reader.LakeReader`."""

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Returns readings of inverters between two moments."""

    def of_sticks(
        self,
        table: StickTable,
        loggers: Collection[int],
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Returns rows of another table about sticks between two moments."""


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of files with the same rows."""

    name: str
    """Such as `readings-2025`."""
    parquet: Path
    csv: Path
    rows: int


def columns(table: str) -> tuple[Column, ...]:
    """Returns the columns of a table that are handed out."""
    return tuple(
        Column(name=column.name, description=column.description, unit=column.unit)
        for column in TABLES[table].columns
        if column.name not in DERIVED
    )


def write(
    lake: Telemetry,
    present: Sequence[Present],
    until: datetime,
    directory: Path,
    progress: Callable[[int, int], None],
) -> Iterator[Files]:
    """Writes what the lake holds of somebody; yields each pair of files when it is done.

    `progress` is told of parts done and parts in all. A year without rows has no files.
    """
    spans = [one for one in present if one.from_at < (one.until or until)]
    if not spans:
        return
    first = min(one.from_at for one in spans)
    parts = {name: list(_parts(first, until, _MONTHS_PER_PART[name])) for name in TABLES}
    total = sum(map(len, parts.values()))
    done = 0
    for table in TABLES.values():
        pair: _Pair | None = None
        for begins, ends in parts[table.name]:
            rows = _rows(lake, table, spans, begins, ends)
            done += 1
            progress(done, total)
            name = f"{table.name}-{begins.year}"
            if pair is not None and pair.name != name:
                yield pair.close()
                pair = None
            if rows.num_rows:
                pair = pair or _Pair(name, table, directory)
                pair.write(rows)
        if pair is not None:
            yield pair.close()


def _rows(
    lake: Telemetry,
    table: schema.Table,
    spans: Sequence[Present],
    begins: datetime,
    ends: datetime,
) -> pa.Table:
    here = [one for one in spans if one.from_at < ends and (one.until or ends) > begins]
    names = [column.name for column in columns(table.name)]
    wanted: pc.Expression | None = None
    for one in here:
        if table is schema.READINGS:
            whose = pc.field("inverter_sn") == one.serial_number
        elif one.logger_sn is not None:
            whose = pc.field("logger_sn") == one.logger_sn
        else:
            continue
        at = pc.field(table.time_column)
        part = whose & (at >= one.from_at)
        if one.until is not None:
            part &= at < one.until
        wanted = part if wanted is None else wanted | part
    if wanted is None:
        return _arrow_schema(table).empty_table()
    if table is schema.READINGS:
        serials = {one.serial_number for one in here}
        rows = lake.readings(serials, begins, ends, names)
    else:
        loggers = {one.logger_sn for one in here if one.logger_sn is not None}
        kind: StickTable = "sessions" if table is schema.SESSIONS else "quarantine"
        rows = lake.of_sticks(kind, loggers, begins, ends, names)
    order: list[tuple[str, Literal["ascending", "descending"]]] = [
        (name, "ascending") for name in _ORDER[table.name]
    ]
    return rows.filter(wanted).cast(_arrow_schema(table)).sort_by(order)


class _Pair:
    """A Parquet and a CSV file that grow together."""

    def __init__(self, name: str, table: schema.Table, directory: Path) -> None:
        self.name = name
        self._parquet_path = directory / f"{name}.parquet"
        self._csv_path = directory / f"{name}.csv"
        as_text = _as_text(_arrow_schema(table).empty_table()).schema
        self._parquet = pq.ParquetWriter(
            self._parquet_path, _arrow_schema(table), compression="zstd"
        )
        self._csv = pyarrow.csv.CSVWriter(self._csv_path, as_text)
        self._rows = 0

    def write(self, rows: pa.Table) -> None:
        self._parquet.write_table(rows)
        self._csv.write_table(_as_text(rows))
        self._rows += rows.num_rows

    def close(self) -> Files:
        self._parquet.close()
        self._csv.close()
        return Files(
            name=self.name, parquet=self._parquet_path, csv=self._csv_path, rows=self._rows
        )


def _arrow_schema(table: schema.Table) -> pa.Schema:
    return pa.schema(
        [
            pa.field(column.name, column.type, nullable=column.nullable)
            for column in table.columns
            if column.name not in DERIVED
        ]
    )


def _as_text(rows: pa.Table) -> pa.Table:
    """Bytes of frames become hexadecimal: CSV has none."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_binary(field.type):
            texts = [None if raw is None else raw.hex() for raw in rows.column(index).to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(texts, pa.string()))
    return rows


def _parts(first: datetime, until: datetime, months: int) -> Iterator[tuple[datetime, datetime]]:
    """Yields parts of calendar years that many months long."""
    first = first.astimezone(UTC)
    begins = datetime(first.year, (first.month - 1) // months * months + 1, 1, tzinfo=UTC)
    while begins < until:
        later = begins.year * 12 + begins.month - 1 + months
        ends = datetime(later // 12, later % 12 + 1, 1, tzinfo=UTC)
        yield begins, ends
        begins = ends
