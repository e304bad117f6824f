"""How do people ask the data anything, always of whole commits?

`rebuild` writes catalog.duckdb: a database without rows, only views. Those of the schema
`moment_files` name the exact files of one moment, that is the table's data files and the tail; all
others are made of these and are always the same. It replaces the one before by a rename, so whoever
opens it sees either moment, no reading twice and none missing. `query` opens it fresh for each call
and lets nothing be written.

The only module that imports duckdb. It never looks for files itself: which files belong together
is known to whoever committed them (`lake.Lake.files`, `latest.Tail.current`).
"""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from autarco_ingest import durable, paths, schema, views
from autarco_ingest.file_signature import Signature, signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyarrow.fs import FileSystem

log = structlog.get_logger(__name__)

_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""DuckDB would otherwise fetch extensions from the network when a query seems to want one."""

_READING_STATEMENTS = frozenset(
    {
        duckdb.StatementType.SELECT,
        duckdb.StatementType.EXPLAIN,
        duckdb.StatementType.MULTI,  # PIVOT
    }
)


VIEWS = ("readings", "sessions", "quarantine", "latest", *views.COLUMNS)

_FILES = "moment_files"
"""Schema of the views that change with every moment."""

_DERIVED = "analytics"
"""Schema of the views on what others derived from the tables; see `paths.derived_tables`."""

_VIEW_DEFINITIONS = """
SELECT sql FROM duckdb_views() WHERE database_name = 'catalog' AND NOT internal
"""

_FILE_NAME = re.compile(r"'((?:[^']|'')*\.parquet)'")

ATTACH_ATTEMPTS = 20
"""Catalog and latest readings are replaced every few seconds; an attempt takes milliseconds."""


class CatalogError(Exception):
    """The question cannot be answered; the message is for the person who asked."""


class NoCatalogError(CatalogError):
    """There is no catalog yet: no server ever ran on this data directory."""


class QueryError(CatalogError):
    """The SQL is wrong, or wants to change something."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The files that together hold every reading once, at one moment.

    Those of the tables may be URLs.
    """

    readings: Sequence[Path | str] = ()
    sessions: Sequence[Path | str] = ()
    quarantine: Sequence[Path | str] = ()
    tail: Path | None = None
    latest: Path | None = None


def rebuild(
    data: paths.DataDirectory,
    moment: Moment,
    *,
    time_zone: str,
    remote: FileSystem | None = None,
) -> None:
    """Replaces the catalog by one of this moment; when this returns, it is on disk.

    The files stay where they are and must exist; `remote` reads those that are URLs. `time_zone`
    decides what a local day is. Raises CatalogError or OSError; the catalog before stays in place
    then.
    """
    draft = data.catalog_draft
    _remove_draft(draft)
    try:
        draft.write_bytes(_skeleton(time_zone, draft, _derived(data)))
        with _connect(remote, draft) as connection:
            connection.begin()
            for name, sql in _sources(moment):
                connection.execute(f"CREATE OR REPLACE VIEW {_FILES}.{_name(name)} AS {sql}")
            connection.commit()
    except duckdb.Error as error:
        raise CatalogError(f"cannot build the catalog: {error}") from error
    # Somebody may have changed the old catalog by hand: its log must not be applied to this one.
    data.catalog_wal.unlink(missing_ok=True)
    durable.replace(draft, data.catalog)


def publish(data: paths.DataDirectory) -> None:
    """Shows derived tables that the catalog does not know yet; without a catalog does nothing.

    New files of a known table show by themselves, and the server's next catalog has all of them:
    this is for the first day of a table, and for when no server runs. Raises CatalogError, OSError.
    """
    for _ in range(ATTACH_ATTEMPTS):
        before = signature(data.catalog)
        if before is None:
            return
        with _connect(None) as connection:
            _attach(connection, data.catalog)
            shown = connection.execute(
                "SELECT view_name FROM duckdb_views() "
                "WHERE database_name = 'catalog' AND schema_name = ?",
                [_DERIVED],
            ).fetchall()
        if {name for (name,) in shown} >= paths.derived_tables(data).keys():
            return
        draft = data.catalog_draft.with_name(f".{data.catalog_draft.name}.derived")
        _remove_draft(draft)
        shutil.copyfile(data.catalog, draft)
        try:
            with _connect(None, draft) as connection:
                _show_derived(connection, _derived(data))
        except duckdb.Error as error:
            raise CatalogError(f"cannot show derived tables in the catalog: {error}") from error
        # A newer catalog must not give way to the copy of an older one.
        if signature(data.catalog) == before:
            durable.replace(draft, data.catalog)
            return
        _remove_draft(draft)


def query(data: paths.DataDirectory, sql: str, remote: FileSystem | None = None) -> pa.Table:
    """Returns the result of one statement that reads.

    `remote` reads the files of tables on object storage. Times come in UTC.

    Raises NoCatalogError before the first server start, QueryError for SQL that is wrong or writes,
    CatalogError when the catalog cannot be opened.
    """
    if not data.catalog.exists():
        raise NoCatalogError(
            f"no catalog in {data.root}: start `autarco-ingest serve` there once, or name the "
            "right data directory"
        )
    # The file of latest readings keeps its name, as those of derived tables do, and DuckDB opens a
    # file more than once. When it is replaced in between, what is read does not belong together.
    for attempt in range(1, ATTACH_ATTEMPTS + 1):
        before = _replaced_in_place(data)
        try:
            return _answer(data, sql, remote)
        except QueryError:
            raise
        except CatalogError:
            if _replaced_in_place(data) == before or attempt == ATTACH_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _replaced_in_place(data: paths.DataDirectory) -> list[Signature | None]:
    """Looks at what is replaced under its own name; a rename shows in the directory too."""
    directories = paths.derived_directories(data)
    return [signature(data.latest), *(signature(directory) for directory in directories)]


def _answer(data: paths.DataDirectory, sql: str, remote: FileSystem | None) -> pa.Table:
    with _connect(remote) as connection:
        _attach(connection, data.catalog)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            _check_reading(connection.extract_statements(sql))
            result: pa.Table = connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            # DuckDB has a class for what is wrong with the SQL, and none for what is wrong with a
            # file's bytes; it does not always name the file either.
            if type(error) is duckdb.Error or "Failed to read file" in str(error):
                text = f"{error}; where a data file is damaged, `autarco-ingest check` names it"
                raise CatalogError(text) from error
            raise QueryError(str(error)) from error
    return result


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the catalog answers; `faults` says by view why one does not."""

    faults: dict[str, str]
    files: list[str]
    """Every file that a view names: path or URL."""


def inspect(data: paths.DataDirectory, remote: FileSystem | None = None) -> Inspection:
    """Asks every view of one catalog for a row and lists the files the views name.

    Raises NoCatalogError, or CatalogError when it cannot be opened.
    """
    if not data.catalog.exists():
        raise NoCatalogError(f"no catalog in {data.root}")
    faults = {}
    with _connect(remote) as connection:
        _attach(connection, data.catalog)
        named = _named(connection, data.catalog)
        for view in VIEWS:
            try:
                connection.execute(f"SELECT * FROM {_name(view)} LIMIT 1").fetchall()  # noqa: S608
            except duckdb.Error as error:
                faults[view] = str(error)
    return Inspection(faults=faults, files=named)


def files(data: paths.DataDirectory) -> frozenset[str]:
    """Returns every file that the catalog names now, none without one; raises CatalogError."""
    if not data.catalog.exists():
        return frozenset()
    with _connect(None) as connection:
        _attach(connection, data.catalog)
        return frozenset(_named(connection, data.catalog))


def _named(connection: duckdb.DuckDBPyConnection, catalog: Path) -> list[str]:
    try:
        definitions = connection.execute(_VIEW_DEFINITIONS).fetchall()
    except duckdb.Error as error:
        raise CatalogError(f"cannot read {catalog}: {error}") from error
    names = {name for (sql,) in definitions for name in _FILE_NAME.findall(sql)}
    # What is matched by a pattern belongs to whoever derives it.
    return [name.replace("''", "'") for name in sorted(names) if "*" not in name]


def _connect(remote: FileSystem | None, file: Path | str = ":memory:") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(file, config=_OFFLINE)
    if remote is not None:
        from autarco_ingest.remote_files import RemoteFiles

        connection.register_filesystem(RemoteFiles(remote))
    return connection


@functools.lru_cache(maxsize=4)
def _skeleton(time_zone: str, draft: Path, derived: tuple[_Derived, ...]) -> bytes:
    """Returns the bytes of a catalog of no files but those that others derived.

    Made as `draft`, which must not exist.

    Its views and 150 comments are most of the work of a catalog, and the same in each.
    """
    with _connect(None, draft) as connection:
        connection.begin()
        connection.execute(f"CREATE SCHEMA {_FILES}")
        for name, sql in _sources(Moment()):
            connection.execute(f"CREATE VIEW {_FILES}.{_name(name)} AS {sql}")
        for view in _views(time_zone):
            _create(connection, view)
        for macro in views.bounded(time_zone):
            connection.execute(
                f"CREATE MACRO {_name(macro.name)}(first_day, last_day) AS TABLE {macro.sql}"
            )
        connection.commit()
        _show_derived(connection, derived)
    return draft.read_bytes()


def _views(time_zone: str) -> list[views.View]:
    return [
        *(_table_view(table.name, table.description, table) for table in schema.TABLES),
        _table_view("latest", "The newest reading of each inverter, seconds old.", schema.READINGS),
        *views.derived(time_zone),
    ]


def _table_view(name: str, comment: str, table: schema.Table) -> views.View:
    sql = _select(table, f"{_FILES}.{_name(name)}")
    return views.View(name=name, comment=comment, sql=sql, columns=table.columns)


class _Derived(NamedTuple):
    """A derived table as people see it."""

    name: str
    pattern: str
    comment: str
    columns: tuple[tuple[str, str], ...]
    """Each with its comment."""


def _derived(data: paths.DataDirectory) -> tuple[_Derived, ...]:
    """Reads what the newest file of each derived table carries of columns and comments."""
    found = []
    for name, files in paths.derived_tables(data).items():
        try:
            carried = pq.read_schema(files[-1])
        except (OSError, pa.ArrowException):
            # Whoever derives it makes it anew; the readings must show meanwhile.
            log.warning("derived table cannot be read", file=str(files[-1]))
            continue
        columns = []
        for field in carried:
            notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
            unit = f" [{notes['unit']}]" if "unit" in notes else ""
            columns.append((field.name, notes.get("description", "") + unit))
        comment = (carried.metadata or {}).get(b"description", b"").decode()
        pattern = str(files[-1].parent / "*.parquet")
        found.append(_Derived(name, pattern, comment, tuple(columns)))
    return tuple(found)


def _show_derived(connection: duckdb.DuckDBPyConnection, tables: Iterable[_Derived]) -> None:
    """Makes a view of each derived table.

    Its files are not named but matched, so that a new month shows by itself.
    """
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_DERIVED}")
    for table in tables:
        view = f"{_DERIVED}.{_name(table.name)}"
        files = f"read_parquet([{_text(table.pattern)}], union_by_name = true)"
        connection.begin()
        try:
            connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {files}")  # noqa: S608
            connection.execute(f"COMMENT ON VIEW {view} IS {_text(table.comment)}")
            for column, comment in table.columns:
                connection.execute(f"COMMENT ON COLUMN {view}.{_name(column)} IS {_text(comment)}")
        except duckdb.Error as error:
            connection.rollback()
            log.warning("derived table cannot be shown", table=table.name, error=str(error))
        else:
            connection.commit()


def _sources(moment: Moment) -> Iterator[tuple[str, str]]:
    """Yields the views that name the files of a moment."""
    yield "readings", _union(schema.READINGS, moment.readings, tail=moment.tail)
    yield "sessions", _union(schema.SESSIONS, moment.sessions)
    yield "quarantine", _union(schema.QUARANTINE, moment.quarantine)
    latest = [moment.latest] if moment.latest is not None else []
    yield "latest", _select(schema.READINGS, _parquet(latest, partitioned=False))


def _union(table: schema.Table, files: Sequence[Path | str], *, tail: Path | None = None) -> str:
    by_version: dict[int, list[Path | str]] = {}
    for file in files:
        by_version.setdefault(paths.schema_version(str(file)), []).append(file)
    parts = [
        _select(table, _parquet(alike, partitioned=True), version)
        for version, alike in sorted(by_version.items())
    ]
    if tail is not None:
        parts.append(_select(table, _parquet([tail], partitioned=False)))
    return " UNION ALL ".join(parts) or _select(table, None)


def _select(table: schema.Table, source: str | None, version: int | None = None) -> str:
    """Returns a query for the columns of a table; without a source, one of no rows.

    `version` is that of the schema which the source was written with, today's if not given.
    """
    if source is None:
        return f"SELECT {', '.join(map(_null, table.columns))} WHERE false"
    columns = [
        _name(column.name) if version is None or column.since <= version else _null(column)
        for column in table.columns
    ]
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608


def _null(column: schema.Column) -> str:
    return f"NULL::{_sql_type(column.type)} AS {_name(column.name)}"


def _parquet(files: Sequence[Path | str], *, partitioned: bool) -> str | None:
    if not files:
        return None
    names = ", ".join(_text(str(file)) for file in files)
    # Files of one table and schema version have the same columns, so only the first one's are
    # looked at: matching names over all (union_by_name) opens every file, 0.7 s instead of 0.06 s
    # for 2,000 of them.
    options = "hive_partitioning = true, hive_types = {'date': DATE}"
    return f"read_parquet([{names}], {options if partitioned else 'hive_partitioning = false'})"


def _create(connection: duckdb.DuckDBPyConnection, view: views.View) -> None:
    connection.execute(f"CREATE VIEW {_name(view.name)} AS {view.sql}")
    connection.execute(f"COMMENT ON VIEW {_name(view.name)} IS {_text(view.comment)}")
    for column in view.columns:
        connection.execute(
            f"COMMENT ON COLUMN {_name(view.name)}.{_name(column.name)} "
            f"IS {_text(_column_comment(column))}"
        )


def _column_comment(column: schema.Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    point = f" SunSpec {column.sunspec}." if column.sunspec else ""
    return f"{column.description}{unit}{point}"


def _attach(connection: duckdb.DuckDBPyConnection, catalog: Path) -> None:
    # DuckDB opens the file twice, for its header and for its blocks. When it is replaced in
    # between, the two do not belong together.
    for attempt in range(1, ATTACH_ATTEMPTS + 1):
        before = signature(catalog)
        try:
            _attach_once(connection, catalog)
        except CatalogError:
            if signature(catalog) == before or attempt == ATTACH_ATTEMPTS:
                raise
        else:
            if signature(catalog) == before or attempt == ATTACH_ATTEMPTS:
                break
            connection.execute("DETACH catalog")
    connection.execute("USE catalog")


def _attach_once(connection: duckdb.DuckDBPyConnection, catalog: Path) -> None:
    # Attached, not opened: DuckDB keeps one instance per opened path and process, and would go on
    # answering from a catalog that was replaced meanwhile.
    try:
        connection.execute(f"ATTACH {_text(str(catalog))} AS catalog (READ_ONLY)")
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            raise CatalogError(f"cannot open {catalog}: {error}") from error
        _attach_copy(connection, catalog)
    except duckdb.Error as error:
        raise CatalogError(f"cannot open {catalog}: {error}") from error


def _attach_copy(connection: duckdb.DuckDBPyConnection, catalog: Path) -> None:
    """Attaches a copy: somebody opened the catalog for writing and holds DuckDB's lock on it."""
    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copyfile(catalog, Path(directory) / catalog.name)
        try:
            connection.execute(f"ATTACH {_text(str(copy))} AS catalog (READ_ONLY)")
        except duckdb.Error as error:
            raise CatalogError(f"cannot open a copy of {catalog}: {error}") from error


def _check_reading(statements: Sequence[Any]) -> None:
    if len(statements) != 1:
        raise QueryError(f"{len(statements) or 'no'} statements given, one wanted")
    kind = statements[0].type
    if kind not in _READING_STATEMENTS:
        raise QueryError(f"only reading statements are allowed here, not {kind.name}")


def _remove_draft(draft: Path) -> None:
    draft.unlink(missing_ok=True)
    draft.with_name(f"{draft.name}.wal").unlink(missing_ok=True)


def _name(name: str) -> str:
    """Returns an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    """Returns an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def _sql_type(arrow_type: pa.DataType) -> str:
    return _SQL_TYPES[arrow_type]


_SQL_TYPES = {
    schema.INSTANT: "TIMESTAMPTZ",
    schema.WALL_CLOCK: "TIMESTAMP",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.int16(): "SMALLINT",
    pa.float32(): "FLOAT",
    pa.date32(): "DATE",
}
