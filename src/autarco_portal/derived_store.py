"""Where are the derived tables, and how does a day come into them?

One Parquet file per table and month below `portal/analytics`, replaced whole by a rename, so that
whoever reads sees either the month before or the month after. Writers are one at a time: `locked`.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autarco_ingest import durable, paths
from autarco_portal import derived

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from autarco_portal.derived import Derived
    from autarco_portal.portal_paths import PortalDirectory


class DerivedError(Exception):
    """A derived table cannot be read or written; the message is one sentence."""


class DerivedStore:
    """The derived tables of one portal directory."""

    def __init__(self, portal: PortalDirectory) -> None:
        self._portal = portal

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other writers out; raises DerivedError if there is one."""
        path = self._portal.analysis_lock
        durable.make_directory(path.parent)
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise DerivedError("another analysis runs on this data directory") from error
        finally:
            os.close(descriptor)

    def read(
        self,
        table: Derived,
        first: date,
        last: date,
        columns: Sequence[str] | None = None,
        *,
        site_id: str | None = None,
    ) -> pl.DataFrame:
        """Returns the rows of the days from `first` to `last`; raises DerivedError.

        Those of one site are read without the rest of the fleet.
        """
        wanted = table.names if columns is None else [*columns]
        found = [
            self._load(file, table, site_id)
            .filter(pl.col("date").is_between(first, last))
            .select(wanted)
            for file in self.files(table)
            if f"{first:%Y-%m}" <= file.stem <= f"{last:%Y-%m}"
        ]
        return pl.concat(found) if found else _empty(table).select(wanted)

    def everything(self, table: Derived) -> pl.DataFrame:
        """Returns all rows of a table; raises DerivedError."""
        found = [self._load(file, table) for file in self.files(table)]
        return pl.concat(found) if found else _empty(table)

    def files(self, table: Derived) -> list[Path]:
        """Returns the files of a table, by month."""
        return sorted(self._portal.table(table.name).glob("*.parquet"))

    def put(
        self,
        table: Derived,
        rows: pl.DataFrame,
        days: Collection[date],
        site_ids: Collection[str] | None = None,
    ) -> None:
        """Replaces the rows of some days by `rows`, of all sites or of those named.

        A month is on disk when its file is there; several months are not replaced together.
        """
        months = {day.replace(day=1) for day in days}
        for month in sorted(months):
            file = self._portal.month(table.name, month)
            in_month = pl.col("date").is_in([day for day in days if day.replace(day=1) == month])
            gone = in_month
            if site_ids is not None:
                gone = gone & pl.col("site_id").is_in(list(site_ids))
            kept = self._load(file, table).filter(~gone) if file.exists() else _empty(table)
            self._write(file, table, pl.concat([kept, rows.filter(in_month)]))

    def replace_all(self, table: Derived, rows: pl.DataFrame) -> None:
        """Replaces a table whole, one file per month of `date`; months without rows go."""
        months = rows.with_columns(pl.col("date").dt.strftime("%Y-%m").alias("month"))
        parts = {
            str(key[0]): part.drop("month")
            for key, part in months.partition_by("month", as_dict=True).items()
        }
        for month, part in parts.items():
            self._write(self._portal.table(table.name) / f"{month}.parquet", table, part)
        for file in self.files(table):
            if file.stem not in parts:
                file.unlink()

    def put_whole(self, table: Derived, rows: pl.DataFrame) -> None:
        """Replaces a table that has no days, in one file."""
        self._write(self._portal.table(table.name) / "all.parquet", table, rows)

    def forget(self, site_ids: Collection[str]) -> int:
        """Takes every row of some sites out of all tables; returns how many there were.

        Files are replaced, so nothing of them is left but in a file system's or backup's memory.
        """
        gone = 0
        for table in derived.TABLES:
            if "site_id" not in table.names:
                continue
            for file in self.files(table):
                rows = self._load(file, table)
                kept = rows.filter(~pl.col("site_id").is_in(list(site_ids)))
                if len(kept) < len(rows):
                    self._write(file, table, kept)
                    gone += len(rows) - len(kept)
        return gone

    def _load(self, file: Path, table: Derived, site_id: str | None = None) -> pl.DataFrame:
        only = None if site_id is None else pc.field("site_id") == site_id
        try:
            rows = pl.DataFrame(pq.read_table(file, filters=only))
        except (OSError, pa.ArrowException) as error:
            raise DerivedError(f"cannot read {file}: {error}") from error
        missing = [
            pl.lit(None).alias(column.name)
            for column in table.columns
            if column.name not in rows.columns
        ]
        return rows.with_columns(missing).select(_empty(table).columns).cast(_schema(table))

    def _write(self, file: Path, table: Derived, rows: pl.DataFrame) -> None:
        ordered = rows.select(_empty(table).columns).sort(*table.keys)
        arrow = ordered.cast(_schema(table)).to_arrow().cast(table.arrow_schema)
        draft = paths.draft(file)
        try:
            durable.make_directory(file.parent)
            pq.write_table(arrow, draft, compression="zstd")
            durable.replace(draft, file)
        except OSError as error:
            raise DerivedError(f"cannot write {file}: {error.strerror}") from error


def frame(table: Derived, columns: dict[str, object]) -> pl.DataFrame:
    """Returns rows of a table from its columns; NaN becomes null."""
    rows = pl.DataFrame(columns, schema=_schema(table))
    return rows.with_columns(pl.col(pl.Float64).fill_nan(None))


def _schema(table: Derived) -> pl.Schema:
    return _empty(table).schema


def _empty(table: Derived) -> pl.DataFrame:
    return pl.DataFrame(table.arrow_schema.empty_table())
