"""How are the files of one day of a table exchanged for compacted ones, beside whoever writes?

The new files are written and forced to disk first, then one commit exchanges them for exactly those
they were made from. When somebody else exchanged one of those meanwhile, the day is done again from
what there is. Files that batches added meanwhile stay beside the new ones. Killed at any instant,
the table has each row once; files that no commit names are left for the sweep.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from autarco_ingest import compaction, paths, schema
from autarco_ingest.ageing import Age
from autarco_ingest.lake_table import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from autarco_ingest.lake_table import DataFile, LakeTable

log = structlog.get_logger(__name__)

ROWS_MAX = 1_000_000
"""Rows compacted at a time, some 2 GB of memory, and of one file: 3,500 inverters' day."""

CONFLICTS_MAX = 5
"""Only other maintenance can conflict, and whoever is first has done the work."""

REPEAT_WINDOW = timedelta(hours=6)
"""A stick that repeats a measurement over midnight does so every few minutes."""


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one day of one table."""

    table: str
    date: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows_before: int
    rows_after: int


def _whole(rows: pa.Table) -> Iterable[tuple[Age, pa.Table]]:
    """What becomes of rows that do not age."""
    yield Age.WHOLE, rows


def rewrite_day(
    table: LakeTable,
    day: str,
    drop: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    *,
    split: Callable[[pa.Table], Iterable[tuple[Age, pa.Table]]] = _whole,
) -> DayReport | None:
    """Exchanges all files of a day for compacted ones; None when the day has none.

    `drop` returns the rows that may stay, `split` what becomes of them once they are compacted: a
    file each. Raises LakeError.
    """
    for attempt in range(1, CONFLICTS_MAX + 1):
        files = table.refresh()
        old = [file for file in files if file.date == day]
        if not old:
            return None
        new = []
        rows_after = 0
        for rows in _rewritten(table, day, old, files, drop):
            for age, part in split(rows):
                if part.num_rows:
                    new.append(table.write(paths.compacted_file(day, age), part))
                    rows_after += part.num_rows
        try:
            table.replace(old, new)
        except ConflictError:
            # Its files stay for the sweep. Where the answer of an object store got lost, the commit
            # that seems to have failed may be our own, and then the table names them.
            if attempt == CONFLICTS_MAX:
                raise
            log.info("a day was exchanged by somebody else", table=table.name, date=day)
        else:
            return DayReport(
                table=table.name,
                date=day,
                files_before=len(old),
                files_after=len(new),
                bytes_before=sum(file.bytes for file in old),
                bytes_after=sum(file.size for file in new),
                rows_before=sum(file.rows for file in old),
                rows_after=rows_after,
            )
    raise AssertionError("the last attempt returns or raises")


def _rewritten(
    table: LakeTable,
    day: str,
    old: Sequence[DataFile],
    files: Sequence[DataFile],
    drop: Callable[[pa.Table], pa.Table],
) -> Iterator[pa.Table]:
    """Yields the rows of a day as its compacted files will have them."""
    if table.name != schema.READINGS.name:
        yield compaction.merge(table.schema, drop(table.read(old)))
        return
    midnight = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    eve = (midnight - timedelta(days=1)).date().isoformat()
    earlier = [file for file in files if file.date == eve]
    recent = pc.field("ts") >= pa.scalar(midnight - REPEAT_WINDOW, schema.INSTANT)
    for within in _portions(table, old):
        eve_of_these = recent if within is None else recent & within
        # What goes must not make anything a repeat of itself.
        before = compaction.newest_per_inverter(drop(table.read(earlier, where=eve_of_these)))
        yield compaction.compact_readings(drop(table.read(old, where=within)), before)


def _portions(table: LakeTable, files: Sequence[DataFile]) -> Iterator[pc.Expression | None]:
    """Yields what selects whole inverters whose rows fit into memory; None selects all."""
    if sum(file.rows for file in files) <= ROWS_MAX:
        yield None
        return
    serials = table.read(files, columns=["inverter_sn"]).column("inverter_sn")
    for first, last in compaction.serial_ranges(serials, ROWS_MAX):
        yield (pc.field("inverter_sn") >= first) & (pc.field("inverter_sn") <= last)
