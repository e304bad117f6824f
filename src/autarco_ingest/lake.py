"""How does a batch become part of the tables, exactly once and for good?

A batch carries the version of the journal segment it came from. Its rows go into one Parquet
file per table and UTC date, the files are forced to disk, and one Delta commit per table makes
them visible together with an application transaction (application = this node, version = the
batch's). A batch that comes again after a crash finds its version there and adds nothing.

Not here: the journal (Rust), the files of `latest` and `tail`, compaction, what people query.

Order of a commit: quarantine, sessions, readings. A table without rows in the batch is left
alone, so quiet tables do not collect thousands of empty log entries; `readings` records every
version, even of an empty batch. Being last, it says for all three how far the node has come.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, Transaction

from autarco_ingest import delta_log, durable, paths, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW_GROUP_ROWS = 122_880
"""DuckDB's vector group; smaller row groups cost bytes (83 per row at 8 k, 61 at 123 k)."""

COMMIT_ATTEMPTS = 5
"""deltalake itself retries a plain conflict 15 times; more rounds than this mean a broken table."""

ENTRIES_PER_CHECKPOINT = 100
"""Log entries a reader must replay at most; the interval Delta itself uses."""

STATISTICS_TYPES = (schema.INSTANT, pa.string(), pa.int64(), pa.int32(), pa.int16())
"""Columns of these types get minimum and maximum in the log: nobody searches by a voltage."""


_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class LakeError(Exception):
    """A batch could not be committed; it is not lost as long as its journal segment is kept."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch added to one table; nothing when it was there already."""

    rows: int = 0
    bytes: int = 0
    files: int = 0


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch added; `repeated` when its version was committed before."""

    version: int
    repeated: bool
    readings: Written
    sessions: Written
    quarantine: Written


class Lake:
    """The three tables, written by one node. One caller at a time; every call may block on disk."""

    def __init__(self, root: Path, node: str) -> None:
        """Opens the tables below `root` and creates missing ones.

        `node` names this writer in every table: two running servers must not share one name.
        Raises LakeError.
        """
        self._node = node
        self._tables = {table.name: _open(root, table) for table in schema.TABLES}

    def committed_version(self) -> int:
        """Returns the newest version of this node that all tables have; 0 before the first."""
        return self._tables["readings"].node_version(self._node)

    def commit(
        self,
        version: int,
        readings: schema.ArrowData,
        sessions: schema.ArrowData,
        quarantine: schema.ArrowData,
    ) -> Commit:
        """Adds a batch; when this returns, its rows are on disk and visible in every table.

        Committing a version again adds nothing and makes sure that the first time is on disk.
        Raises SchemaError before anything is written, or LakeError; after a LakeError the same
        call may be repeated.
        """
        if version < 1:
            raise ValueError(f"version too small: {version}, the first is 1")
        batch = {
            table.name: schema.conform(table, data)
            for table, data in zip(schema.TABLES, (readings, sessions, quarantine), strict=True)
        }
        repeated = self.committed_version() >= version
        written = {
            name: self._tables[name].add(self._node, version, batch[name])
            for name in ("quarantine", "sessions")
            if batch[name].num_rows
        }
        written["readings"] = self._tables["readings"].add(self._node, version, batch["readings"])
        return Commit(
            version=version,
            repeated=repeated,
            **{table.name: written.get(table.name, Written()) for table in schema.TABLES},
        )

    def files(self, table: str) -> list[Path]:
        """Lists the data files of a table's newest state, with those of other nodes."""
        return self._tables[table].files()


class _OpenTable:
    """One Delta table and how much of its log is known to be on disk."""

    def __init__(self, table: schema.Table, directory: Path, delta: DeltaTable) -> None:
        self._table = table
        self._directory = directory
        self._delta = delta
        self._synced_version = delta.version()
        self._checkpoint_version = delta_log.checkpoint_version(directory)
        self._unsafe = False

    def node_version(self, node: str) -> int:
        # Even this reads the log.
        with _reported(self._table):
            return self._delta.transaction_version(node) or 0

    def files(self) -> list[Path]:
        with _reported(self._table):
            self._delta.update_incremental()
            added = pa.table(self._delta.get_add_actions(flatten=True))
        return sorted(self._directory / str(path) for path in added.column("path").to_pylist())

    def add(self, node: str, version: int, rows: pa.Table) -> Written:
        if self._unsafe:
            raise LakeError(
                f"table {self._table.name}: an earlier write to the log failed, what is on disk "
                "is unknown; restart the server when the disk is well"
            )
        with _reported(self._table):
            self._delta.update_incremental()
            written = Written()
            if self.node_version(node) < version:
                actions = self._write(node, version, rows)
                if self._commit(actions, node, version):
                    written = Written(
                        rows=rows.num_rows,
                        bytes=sum(action.size for action in actions),
                        files=len(actions),
                    )
            self._sync_log()
            self._checkpoint_when_due()
        return written

    def _write(self, node: str, version: int, rows: pa.Table) -> list[AddAction]:
        actions = []
        order: list[tuple[str, Literal["ascending"]]]
        order = [(name, "ascending") for name in self._table.sort_columns]
        for day, part in _by_date(rows):
            name = paths.data_file(node, version, day)
            ordered = part.take(pc.sort_indices(part, sort_keys=order))
            actions.append(_write_file(self._directory, name, day, ordered))
        return actions

    def _commit(self, actions: list[AddAction], node: str, version: int) -> bool:
        """Commits the files, or finds that a lost attempt did; returns whether this call did."""
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            try:
                self._delta.create_write_transaction(
                    [*actions],
                    "append",
                    self._delta.schema(),
                    ["date"],
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(node, version)]
                    ),
                    # The library would checkpoint and delete log entries before anything of it
                    # is on disk.
                    post_commithook_properties=PostCommitHookProperties(
                        create_checkpoint=False, cleanup_expired_logs=False
                    ),
                )
            except CommitFailedError:
                if attempt == COMMIT_ATTEMPTS:
                    raise
                self._delta.update_incremental()
                if self.node_version(node) >= version:
                    return False
            else:
                self._delta.update_incremental()
                return True
        raise AssertionError("the last attempt returns or raises")

    def _sync_log(self) -> None:
        # Entries of other nodes are forced to disk too: ours means nothing after a power cut when
        # one before it is missing.
        version = self._delta.version()
        try:
            delta_log.sync(self._directory, self._synced_version + 1, version)
        except OSError:
            # The kernel reports a lost page once; a second fsync would succeed without it.
            self._unsafe = True
            raise
        self._synced_version = version

    def _checkpoint_when_due(self) -> None:
        if self._synced_version - self._checkpoint_version < ENTRIES_PER_CHECKPOINT:
            return
        self._delta.create_checkpoint()
        delta_log.sync_checkpoint(self._directory, self._synced_version)
        self._checkpoint_version = self._synced_version
        # A handle goes on replaying every entry since it was opened, each time it updates: after
        # 1,600 commits 0.6 s. A new one starts from the checkpoint.
        self._delta = DeltaTable(self._directory)


def _open(root: Path, table: schema.Table) -> _OpenTable:
    directory = paths.table_directory(root, table.name)
    with _reported(table):
        durable.make_directory(paths.log_directory(directory))
        delta_log.repair(directory)
        wanted = Schema.from_arrow(schema.arrow_schema(table))
        if not DeltaTable.is_deltatable(str(directory)):
            DeltaTable.create(
                directory,
                schema=wanted,
                mode="ignore",
                partition_by=["date"],
                name=table.name,
                description=table.description,
            )
        delta = DeltaTable(directory)
        delta_log.sync(directory, delta_log.checkpoint_version(directory), delta.version())
    _check_columns(table, delta)
    return _OpenTable(table, directory, delta)


def _check_columns(table: schema.Table, delta: DeltaTable) -> None:
    found = [(field.name, field.type) for field in delta.schema().fields]
    expected = Schema.from_arrow(schema.arrow_schema(table)).fields
    if found != [(field.name, field.type) for field in expected]:
        names = {field.name for field in expected} ^ {name for name, _ in found}
        raise LakeError(
            f"table {table.name}: columns are not those of schema version "
            f"{schema.SCHEMA_VERSION}; different: {sorted(names) or 'order or types'}"
        )


def _by_date(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Cuts rows into one table per date; the date as the partition's name has it."""
    dates = rows.column("date")
    for day in pc.unique(dates):
        yield str(day), rows.filter(pc.equal(dates, day))


def _write_file(directory: Path, name: str, day: str, rows: pa.Table) -> AddAction:
    path = directory / name
    durable.make_directory(path.parent)
    columns = rows.drop_columns(["date"])
    with path.open("wb") as sink:
        pq.write_table(
            columns,
            sink,
            compression="zstd",
            compression_level=1,
            row_group_size=ROW_GROUP_ROWS,
            # The table's own schema says it all; a copy in each small file costs kilobytes.
            store_schema=False,
            # A flipped bit would otherwise be a wrong measurement; 6 bytes per page.
            write_page_checksum=True,
        )
    durable.sync(path)
    durable.sync(path.parent)
    status = path.stat()
    return AddAction(
        path=name,
        size=status.st_size,
        partition_values={"date": day},
        modification_time=status.st_mtime_ns // 1_000_000,
        data_change=True,
        stats=json.dumps(_statistics(columns)),
    )


def _statistics(rows: pa.Table) -> dict[str, object]:
    """Returns what lets a Delta reader skip the file: rows, nulls, smallest and largest values."""
    smallest: dict[str, object] = {}
    largest: dict[str, object] = {}
    nulls: dict[str, int] = {}
    for field, values in zip(rows.schema, rows.columns, strict=True):
        nulls[field.name] = values.null_count
        if field.type in STATISTICS_TYPES and values.null_count < len(values):
            smallest[field.name] = bound(pc.min(values).as_py())
            largest[field.name] = bound(pc.max(values).as_py(), up=True)
    return {
        "numRecords": rows.num_rows,
        "minValues": smallest,
        "maxValues": largest,
        "nullCount": nulls,
    }


def bound(value: Any, *, up: bool = False) -> Any:
    """Returns a limit as JSON; times are in milliseconds there, rounded away from the rows."""
    if not isinstance(value, datetime):
        return value
    surplus = timedelta(microseconds=value.microsecond % 1000)
    rounded = value - surplus
    if up and surplus:
        rounded += timedelta(milliseconds=1)
    return rounded.strftime("%Y-%m-%dT%H:%M:%S.") + f"{rounded.microsecond // 1000:03d}Z"


@contextmanager
def _reported(table: schema.Table) -> Iterator[None]:
    """Turns what the libraries raise about disk and table into one LakeError."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise LakeError(f"table {table.name}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """deltalake draws its causes as a coloured tree; a log field is one plain line."""
    return " ".join(_COLOUR.sub("", str(error)).split())
