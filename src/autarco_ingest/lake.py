"""How does a batch become part of the tables, exactly once and for good?

A batch carries the version of the journal segment it came from. Its rows go into one Parquet
file per table and UTC date, the files are made safe, and one Delta commit per table makes them
visible together with an application transaction (application = this node, version = the batch's).
A batch that comes again after a crash finds its version there and adds nothing.

Not here: where files live and when they are safe (`table_store`), the journal (Rust), the files of
`latest` and `tail`, compaction, what people query.

Order of a commit: quarantine, sessions, readings. A table without rows in the batch is left
alone, so quiet tables do not collect thousands of empty log entries; `readings` records every
version, even of an empty batch. Being last, it says for all three how far the node has come.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, Transaction

from autarco_ingest import parquet_format, paths, schema
from autarco_ingest.table_store import Draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autarco_ingest.table_store import Stored, TableStore

COMMIT_ATTEMPTS = 5
"""deltalake itself retries a plain conflict 15 times; more rounds than this mean a broken table."""

ENTRIES_PER_CHECKPOINT = 100
"""Log entries a reader must replay at most; the interval Delta itself uses."""

STATISTICS_TYPE = schema.INSTANT
"""Columns of this type get minimum and maximum in the log, nothing else does.

The log outlives the data files: no rewriting of those erases a serial number or an address that
an entry repeats as a limit. Nobody searches by a voltage, files are sorted by serial number inside,
and counts of nulls, which no query of ours uses, are half of an entry's bytes.
"""

SCHEMA_VERSION_KEY = "autarco.schemaVersion"
"""Where a table says by which version of the schema it was written; absent means 1 or 2."""


NOTHING_ELSE = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""The library would checkpoint and delete log entries before anything of it is safe."""

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

    def __init__(self, store: TableStore, node: str, owner: int | None = None) -> None:
        """Opens the tables in `store`, creates missing ones and brings old ones up to date.

        `node` names this writer in every table: two servers must not share one name, or each
        takes batches of the other for its own. Where servers of other machines can come, `owner`,
        a random number of this data directory, tells them apart. Raises LakeError.
        """
        self._node = node
        self._tables = {table.name: _open(store, table, node) for table in schema.TABLES}
        if owner is not None:
            self._tables["readings"].claim(node, owner)

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

    def files(self, table: str) -> list[str]:
        """Lists the data files of a table's newest state, with those of other nodes.

        Each is a full path or URL.
        """
        return self._tables[table].files()


class _OpenTable:
    """One Delta table and how much of its log is known to be on disk."""

    def __init__(self, table: schema.Table, store: TableStore, delta: DeltaTable) -> None:
        self._table = table
        self._store = store
        self._delta = delta
        self._synced_version = delta.version()
        self._checkpoint_version = store.checkpoint_version(table.name)
        self._unsafe = False

    def node_version(self, node: str) -> int:
        # Even this reads the log.
        with reported(self._table):
            return self._delta.transaction_version(node) or 0

    def claim(self, node: str, owner: int) -> None:
        """Makes the name ours for ever; raises LakeError when it is another's already."""
        # As a transaction, because of two that claim at once the log lets one pass.
        name = f"{node}.owner"
        with reported(self._table):
            for _ in range(COMMIT_ATTEMPTS):
                found = self._delta.transaction_version(name)
                if found is not None:
                    break
                with suppress(CommitFailedError):
                    self._append([], name, owner)
                self._delta.update_incremental()
            self._sync_log()
        if found != owner:
            raise LakeError(
                f"node name {node!r} belongs to another data directory of this lake: choose "
                "another `node`"
            )

    def files(self) -> list[str]:
        with reported(self._table):
            self._delta.update_incremental()
            names = _names(self._delta)
        return [self._store.full_name(self._table.name, name) for name in names]

    def add(self, node: str, version: int, rows: pa.Table) -> Written:
        if self._unsafe:
            raise LakeError(
                f"table {self._table.name}: an earlier write to the log failed, what is on disk "
                "is unknown; restart the server when the disk is well"
            )
        with reported(self._table):
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
        parts = {
            paths.data_file(node, version, day): part for day, part in by_date(self._table, rows)
        }
        return _write_files(self._store, self._table, parts)

    def _commit(self, actions: list[AddAction], node: str, version: int) -> bool:
        """Commits the files, or finds that a lost attempt did; returns whether this call did."""
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            try:
                self._append(actions, node, version)
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

    def _append(self, actions: list[AddAction], application: str, version: int) -> None:
        self._delta.create_write_transaction(
            [*actions],
            "append",
            self._delta.schema(),
            ["date"],
            commit_properties=CommitProperties(
                app_transactions=[Transaction(application, version)]
            ),
            post_commithook_properties=NOTHING_ELSE,
        )

    def _sync_log(self) -> None:
        # Entries of other nodes are forced to disk too: ours means nothing after a power cut when
        # one before it is missing.
        version = self._delta.version()
        try:
            self._store.sync_log(self._table.name, self._synced_version + 1, version)
        except OSError:
            # The kernel reports a lost page once; a second fsync would succeed without it.
            self._unsafe = True
            raise
        self._synced_version = version

    def _checkpoint_when_due(self) -> None:
        if self._synced_version - self._checkpoint_version < ENTRIES_PER_CHECKPOINT:
            return
        self._delta.create_checkpoint()
        self._store.sync_checkpoint(self._table.name, self._synced_version)
        self._checkpoint_version = self._synced_version
        # A handle goes on replaying every entry since it was opened, each time it updates: after
        # 1,600 commits 0.6 s. A new one starts from the checkpoint.
        self._delta = open_delta(self._store, self._table.name)


def open_delta(store: TableStore, table: str) -> DeltaTable:
    """Opens a table as deltalake does; raises what that raises."""
    return DeltaTable(store.uri(table), storage_options=store.storage_options)


def _open(store: TableStore, table: schema.Table, node: str) -> _OpenTable:
    with reported(table):
        store.repair(table.name)
        _create_if_missing(store, table)
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            delta = open_delta(store, table.name)
            _check_columns(table, delta)
            try:
                if not _bring_up_to_date(store, table, delta, node):
                    break
            except CommitFailedError:
                # Another node that starts now does the same.
                if attempt == COMMIT_ATTEMPTS:
                    raise
        store.sync_log(table.name, store.checkpoint_version(table.name), delta.version())
    return _OpenTable(table, store, delta)


def _create_if_missing(store: TableStore, table: schema.Table) -> None:
    def is_there() -> bool:
        return DeltaTable.is_deltatable(store.uri(table.name), store.storage_options)

    if is_there():
        return
    try:
        DeltaTable.create(
            store.uri(table.name),
            schema=Schema.from_arrow(schema.arrow_schema(table)),
            mode="ignore",
            partition_by=["date"],
            name=table.name,
            description=table.description,
            configuration=_properties(table),
            storage_options=store.storage_options,
            raise_if_key_not_exists=False,
        )
    except DeltaError:
        # Another node may have made it a moment ago.
        if not is_there():
            raise


def _properties(table: schema.Table) -> dict[str, str | None]:
    timed = [column.name for column in table.columns if column.type == STATISTICS_TYPE]
    return {
        SCHEMA_VERSION_KEY: str(schema.SCHEMA_VERSION),
        # For whoever else writes here, as `optimize` of any library does.
        "delta.dataSkippingStatsColumns": ",".join(timed),
    }


def schema_version(delta: DeltaTable) -> int:
    """Returns by which version of the schema a table was written; 0 when it does not say."""
    said = delta.metadata().configuration.get(SCHEMA_VERSION_KEY, "0")
    if not said.isdecimal():
        raise DeltaError(f"{SCHEMA_VERSION_KEY} is {said!r}, not a number")
    return int(said)


def other_version(table: str, delta: DeltaTable) -> str | None:
    """Says in words which other version of the schema a table has; None when it has today's."""
    version = schema_version(delta)
    if version > schema.SCHEMA_VERSION:
        return f"schema version {version}, newer than this program"
    wanted = next(known for known in schema.TABLES if known.name == table)
    there = {field.name for field in delta.schema().fields}
    if {column.name for column in wanted.columns} <= there:
        return None
    return f"schema version {version or 1}, older than this program"


def _check_columns(table: schema.Table, delta: DeltaTable) -> None:
    """Refuses what this program cannot write: a newer version, or other columns."""
    version = schema_version(delta)
    if version > schema.SCHEMA_VERSION:
        raise LakeError(
            f"table {table.name}: schema version {version}, this program knows "
            f"{schema.SCHEMA_VERSION}: update autarco-ingest"
        )
    # The order may be another one: added columns come last.
    found = {field.name: (field.type, field.nullable) for field in delta.schema().fields}
    expected = {
        field.name: (field.type, field.nullable)
        for field in Schema.from_arrow(schema.arrow_schema(table)).fields
    }
    different = {name for name in found if found[name] != expected.get(name)}
    # Rows that are there have no value for a column that is added.
    different |= {name for name in expected.keys() - found.keys() if not expected[name][1]}
    if different:
        raise LakeError(
            f"table {table.name}: columns are not those of schema version "
            f"{schema.SCHEMA_VERSION}; different: {sorted(different)}"
        )


def _bring_up_to_date(store: TableStore, table: schema.Table, delta: DeltaTable, node: str) -> bool:
    """Adds what an older version of the schema lacked; returns whether anything was changed."""
    version = schema_version(delta)
    there = {field.name for field in delta.schema().fields}
    missing = [
        field
        for field in Schema.from_arrow(schema.arrow_schema(table)).fields
        if field.name not in there
    ]
    if not missing and version == schema.SCHEMA_VERSION:
        return False
    if missing and version == 0:
        # Names of files without a mark stand for version 2; these are older.
        _rewrite(store, table, delta, node)
    elif missing:
        delta.alter.add_columns(missing, post_commithook_properties=NOTHING_ELSE)
    delta.alter.set_table_properties(
        {key: value for key, value in _properties(table).items() if value is not None},
        raise_if_not_exists=False,
    )
    return True


def _rewrite(store: TableStore, table: schema.Table, delta: DeltaTable, node: str) -> None:
    """Writes all files anew with today's columns and replaces schema and files by one commit."""
    wanted = schema.arrow_schema(table, metadata=False)
    parts = []
    for name in _names(delta):
        with store.open(table.name, name) as file:
            # The date is in the name only.
            old = pq.ParquetFile(file).read()
        days = pa.array([date_of(name)] * old.num_rows, pa.string())
        old = old.append_column("date", days.cast(pa.date32()))
        lacking = [field for field in wanted if field.name not in old.column_names]
        for field in lacking:
            old = old.append_column(field, pa.nulls(old.num_rows, field.type))
        parts.append(old.select(wanted.names).cast(wanted))
    rows = pa.concat_tables(parts) if parts else wanted.empty_table()
    # No batch has version 0; a start that was interrupted here writes the same files again.
    files = {paths.data_file(node, 0, day): part for day, part in by_date(table, rows)}
    delta.create_write_transaction(
        [*_write_files(store, table, files)],
        "overwrite",
        Schema.from_arrow(schema.arrow_schema(table)),
        ["date"],
        post_commithook_properties=NOTHING_ELSE,
    )
    delta.update_incremental()


def _names(delta: DeltaTable) -> list[str]:
    """Lists the data files of a table as it was last read, relative to it."""
    added = pa.table(delta.get_add_actions(flatten=True))
    return sorted(str(name) for name in added.column("path").to_pylist())


def date_of(name: str) -> str:
    """Returns the date of a data file's rows, which its name has."""
    return name.partition("/")[0].removeprefix("date=")


class Part(NamedTuple):
    """Rows of a batch that belong into one file: their indices, in the order of the file."""

    rows: pa.Table
    order: pa.UInt64Array

    def times(self) -> pa.Table:
        """Returns what `statistics` looks at."""
        names = [field.name for field in self.rows.schema if field.type == STATISTICS_TYPE]
        return self.rows.select(names).take(self.order)


def by_date(table: schema.Table, rows: pa.Table) -> Iterator[tuple[str, Part]]:
    """Cuts rows into one sorted part per date; the date as the partition's name has it."""
    keys: list[tuple[str, Literal["ascending", "descending"]]]
    keys = [(name, "ascending") for name in ("date", *table.sort_columns)]
    # Sorted once and cut: a selection per date would go through all rows for each of them, and
    # whoever pleases can send rows of ten years.
    # Of the keys alone, each in one piece: looking a row up in its chunk costs more than comparing.
    compared = rows.select([name for name, _ in keys]).combine_chunks()
    order = pc.sort_indices(compared, sort_keys=keys)
    dates = compared.column("date").take(order).combine_chunks()
    runs: Any = pc.run_end_encode(dates)  # type: ignore[attr-defined]
    start = 0
    for end, day in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        yield day.isoformat(), Part(rows, order.slice(start, end - start))
        start = end


def _write_files(store: TableStore, table: schema.Table, parts: dict[str, Part]) -> list[AddAction]:
    """Writes files, given by name, and returns when they are safe how the log is told of them."""
    drafts = [
        Draft(
            name,
            partial(
                parquet_format.write, part.rows, table=table, compacted=False, order=part.order
            ),
        )
        for name, part in parts.items()
    ]
    return [
        _add_action(stored, parts[stored.name].times())
        for stored in store.write_all(table.name, drafts)
    ]


def write_file(store: TableStore, table: schema.Table, name: str, rows: pa.Table) -> AddAction:
    """Writes one file as compaction leaves it and returns how the log is told of it."""
    write = partial(parquet_format.write, rows, table=table, compacted=True)
    return _add_action(store.write(table.name, name, write), rows)


def _add_action(stored: Stored, rows: pa.Table) -> AddAction:
    return AddAction(
        path=stored.name,
        size=stored.bytes,
        partition_values={"date": date_of(stored.name)},
        modification_time=stored.modified_ms,
        data_change=True,
        stats=json.dumps(statistics(rows)),
    )


def statistics(rows: pa.Table) -> dict[str, object]:
    """Returns what lets a Delta reader skip the file: its number of rows, and limits of times."""
    smallest: dict[str, object] = {}
    largest: dict[str, object] = {}
    for field, values in zip(rows.schema, rows.columns, strict=True):
        if field.type == STATISTICS_TYPE and values.null_count < len(values):
            smallest[field.name] = bound(pc.min(values).as_py())
            largest[field.name] = bound(pc.max(values).as_py(), up=True)
    return {"numRecords": rows.num_rows, "minValues": smallest, "maxValues": largest}


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
def reported(table: schema.Table) -> Iterator[None]:
    """Turns what the libraries raise about disk and table into one LakeError."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise LakeError(f"table {table.name}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """deltalake draws its causes as a coloured tree; a log field is one plain line."""
    return " ".join(_COLOUR.sub("", str(error)).split())
