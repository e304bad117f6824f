"""How do rows that another instance handed out get into the tables of this one?

From Parquet files with the columns of a table; what the tables derive themselves (`date`, `repeat`)
may be missing. The rows of one file enter once, however often it is loaded: the commits carry the
hash of its bytes. Nothing of a forgotten logger or inverter comes in this way either. No server may
run meanwhile: it alone says what is visible.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from autarco_ingest import catalog, forgotten, schema, set_aside, table_store
from autarco_ingest.lake import Lake, LakeError
from autarco_ingest.latest import Latest
from autarco_ingest.paths import DataDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from autarco_ingest.forgotten import Forgotten
    from autarco_ingest.settings import Settings

ROWS_PER_COMMIT = 500_000
"""About two years of one inverter; 300 MB while it is written."""


class LoadError(Exception):
    """Rows could not be loaded; the message is one sentence. What was loaded stays."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What one file brought."""

    file: str
    table: str
    rows: int
    refused: int
    """Of loggers or inverters that are forgotten here."""
    was_there: bool
    """Loaded before, so that nothing was added."""


def run(
    settings: Settings,
    files: Sequence[tuple[str, Path]],
    note: Callable[[Loaded], None] = lambda _: None,
) -> None:
    """Loads Parquet files, each with the name of its table; `note` hears of each.

    Raises LoadError.
    """
    data = DataDirectory.at(settings.data, settings.lake.location)
    try:
        data.create()
        data.lock.touch()
        with set_aside.locked(data):
            _load(settings, data, files, note)
    except (
        LakeError,
        catalog.CatalogError,
        forgotten.ForgottenError,
        set_aside.SetAsideError,
        table_store.StoreError,
        schema.SchemaError,
        OSError,
        pa.ArrowException,
    ) as error:
        raise LoadError(str(error)) from error


def _load(
    settings: Settings,
    data: DataDirectory,
    files: Sequence[tuple[str, Path]],
    note: Callable[[Loaded], None],
) -> None:
    refused = forgotten.load(data)
    store = table_store.open_store(settings.lake, data, os.environ)
    latest = Latest(data)
    # Opened as a node of its own: it makes the tables where there are none.
    lake = Lake(store, "load")
    before = {table.name: lake.files(table.name) for table in schema.TABLES}
    try:
        for name, file in files:
            note(_load_file(store, _table(name), file, refused, latest))
    finally:
        _show(settings, data, lake, store, before)


def _load_file(
    store: table_store.TableStore,
    table: schema.Table,
    file: Path,
    refused: Forgotten,
    latest: Latest,
) -> Loaded:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    lake = Lake(store, f"load-{digest[:24]}")
    rows_in = rows_out = 0
    was_there = True
    for version, given in enumerate(_pieces(table, file), start=1):
        rows = refused.without(table, given)
        batch = {one.name: schema.empty(one) for one in schema.TABLES} | {table.name: rows}
        # The version of the whole batch stands in `readings`, so its commit comes for each.
        commit = lake.commit(version, batch["readings"], batch["sessions"], batch["quarantine"])
        was_there &= commit.repeated
        rows_in += given.num_rows
        rows_out += rows.num_rows
        if table is schema.READINGS:
            latest.merge(rows)
    return Loaded(
        file=str(file),
        table=table.name,
        rows=0 if was_there else rows_out,
        refused=rows_in - rows_out,
        was_there=was_there and rows_in > 0,
    )


def _pieces(table: schema.Table, file: Path) -> Iterator[pa.Table]:
    """Yields a file's rows, some at a time, with all columns of the table."""
    derived = {"date", "repeat"}
    for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS_PER_COMMIT):
        rows = pa.Table.from_batches([batch])
        for column in table.columns:
            if column.name in derived and column.name not in rows.column_names:
                nothing: pa.Array[Any] = pa.array([None] * rows.num_rows, column.type)
                rows = rows.append_column(column.name, nothing)
        yield schema.conform(table, rows)


def _show(
    settings: Settings,
    data: DataDirectory,
    lake: Lake,
    store: table_store.TableStore,
    before: Mapping[str, Sequence[str]],
) -> None:
    """Renews the catalog: what it named, and the new files.

    The tables' newest state alone could hold rows of the tail a second time.
    """
    named = catalog.files(data)
    files: dict[str, list[str]] = {}
    for table in schema.TABLES:
        shown = [name for name in before[table.name] if not named or name in named]
        came = [name for name in lake.files(table.name) if name not in set(before[table.name])]
        files[table.name] = shown + came
    tails = [Path(name) for name in sorted(named) if Path(name).parent == data.tail]
    moment = catalog.Moment(
        readings=files["readings"],
        sessions=files["sessions"],
        quarantine=files["quarantine"],
        tail=tails[0] if tails else None,
        latest=data.latest if data.latest.exists() else None,
    )
    catalog.rebuild(data, moment, time_zone=settings.time_zone, remote=store.file_system)


def _table(name: str) -> schema.Table:
    for table in schema.TABLES:
        if table.name == name:
            return table
    raise LoadError(f"there is no table {name!r}")
