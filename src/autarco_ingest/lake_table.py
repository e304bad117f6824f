"""What can be done to one table besides adding batches: read it, exchange its files, delete them.

`LakeTable` is a bystander: it creates and repairs nothing, and others may write at the same time.
Its commits name exactly the files they take out. When somebody else took one of those out first,
nothing is committed and ConflictError says so; files that were added meanwhile are no conflict.

Not here: how batches enter (`lake`), where files live (`table_store`), and which files should be
exchanged or deleted (`maintenance`).
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import RemoveAction

from autarco_ingest import lake, paths, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow.compute as pc
    from deltalake.transaction import AddAction
    from pyarrow.fs import FileSystem

    from autarco_ingest.table_store import TableStore


class ConflictError(lake.LakeError):
    """Somebody else took a file out first; nothing was committed."""


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """A data file of a table's newest version; `name` is relative to the table."""

    name: str
    date: str
    bytes: int
    rows: int
    modified_at: datetime


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What the log's entries still tell of files that the newest version does without."""

    removed_at: dict[str, datetime]
    """Since when, by name."""
    set_aside_at: dict[str, datetime]
    """Of these, what `check --set-aside` has kept out and nobody has brought back."""


class LakeTable:
    """One table of the lake. One caller at a time; every call may block, and raises LakeError."""

    def __init__(self, store: TableStore, table: schema.Table) -> None:
        """Opens the table as it is."""
        self.schema = table
        self.name = table.name
        self._store = store
        with lake.reported(table):
            try:
                self._delta = lake.open_delta(store, table.name)
            except TableNotFoundError as error:
                raise lake.LakeError(
                    f"no table at {store.uri(table.name)}: start `autarco-ingest serve` there once"
                ) from error

    @property
    def file_system(self) -> FileSystem | None:
        """What DuckDB needs to read the files, where they are not on this machine's disks."""
        return self._store.file_system

    def refresh(self) -> list[DataFile]:
        """Returns the files of the newest version."""
        with lake.reported(self.schema):
            self._delta.update_incremental()
            found = pa.table(self._delta.get_add_actions(flatten=True)).to_pylist()
        return [
            DataFile(
                name=str(file["path"]),
                date=lake.date_of(str(file["path"])),
                bytes=int(file["size_bytes"]),
                rows=int(file["num_records"] or 0),
                modified_at=_moment(int(file["modification_time"])),
            )
            for file in found
        ]

    def read(
        self,
        files: Iterable[DataFile],
        *,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Returns rows of the files; columns younger than a file are null in it."""
        wanted = schema.arrow_schema(self.schema, metadata=False)
        if columns is not None:
            wanted = pa.schema([wanted.field(name) for name in columns])
        parts = [wanted.empty_table()]
        with lake.reported(self.schema):
            for file in files:
                with self._store.open(self.name, file.name) as source:
                    parts.append(_selected(source, file, wanted, where))
        return pa.concat_tables(parts)

    def write(self, name: str, rows: pa.Table) -> AddAction:
        """Writes one file and returns when it is safe; `replace` makes it part of the table."""
        with lake.reported(self.schema):
            return lake.write_file(self._store, self.schema, name, rows)

    def replace(self, old: Sequence[DataFile], new: Sequence[AddAction]) -> None:
        """Exchanges files by one commit and returns when it is safe.

        Raises ConflictError when one of `old` is not in the table any more.
        """
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        removed = [
            RemoveAction(
                path=file.name,
                data_change=True,
                deletion_timestamp=now_ms,
                partition_values={"date": file.date},
                size=file.bytes,
            )
            for file in old
        ]
        with lake.reported(self.schema):
            before = self._delta.version()
            try:
                self._delta.create_write_transaction(
                    [*removed, *new],
                    "append",
                    self._delta.schema(),
                    ["date"],
                    post_commithook_properties=lake.NOTHING_ELSE,
                )
            except CommitFailedError as error:
                raise ConflictError(f"table {self.name}: {lake.one_line(error)}") from error
            self._delta.update_incremental()
            # Entries of others too: after a power cut ours means nothing without those before.
            self._store.sync_log(self.name, before + 1, self._delta.version())

    def checkpoint(self, *, entries_min: int = 1) -> None:
        """Writes a checkpoint of the newest version when so many entries came since the last."""
        with lake.reported(self.schema):
            self._delta.update_incremental()
            version = self._delta.version()
            last = self._store.checkpoint_version(self.name)
            if version - last < entries_min:
                return
            self._store.sync_log(self.name, last + 1, version)
            self._delta.create_checkpoint()
            self._store.sync_checkpoint(self.name, version)
            # A handle goes on replaying every entry since it was opened; a new one starts here.
            self._delta = lake.open_delta(self._store, self.name)

    def prune_log(self, before: datetime) -> int:
        """Deletes what the newest checkpoint has replaced and is older; returns how many files.

        A checkpoint is safe when it is written (`checkpoint`), so nothing is lost with the rest.
        """
        with lake.reported(self.schema), self._store.log_locked(self.name):
            last = self._store.checkpoint_version(self.name)
            if last < 0:
                return 0
            # A server may have written it and not asked the disk to keep it yet.
            self._store.sync_checkpoint(self.name, last)
            due = [
                file.name
                for file in self._store.log_files(self.name)
                if (version := paths.log_file_version(file.name)) is not None
                and version < last
                and _moment(file.modified_ms) < before
            ]
            self._store.delete(self.name, due)
        return len(due)

    def stored(self) -> dict[str, datetime]:
        """Returns when each data file was written that is there, named by a version or not."""
        with lake.reported(self.schema):
            found = self._store.names(self.name)
        return {file.name: _moment(file.modified_ms) for file in found}

    def past(self) -> Past:
        """Reads the log's entries; those that a checkpoint has replaced may be gone."""
        removed: dict[str, datetime] = {}
        aside: dict[str, datetime] = {}
        for action, is_repair in self._log():
            if remove := action.get("remove"):
                name, since = unquote(remove["path"]), _moment(remove["deletionTimestamp"])
                removed[name] = since
                if is_repair:
                    aside[name] = since
            elif add := action.get("add"):
                aside.pop(unquote(add["path"]), None)
        return Past(removed_at=removed, set_aside_at=aside)

    def _log(self) -> Iterator[tuple[dict[str, Any], bool]]:
        """Yields every action of the log's entries, oldest first, and whether a repair made it."""
        with lake.reported(self.schema):
            files = sorted(self._store.log_files(self.name), key=lambda file: file.name)
            for file in files:
                if not file.name.endswith(".json"):
                    continue
                try:
                    lines = self.content(file.name).splitlines()
                except FileNotFoundError:
                    # Somebody else prunes the log at the same time.
                    continue
                actions = [json.loads(line) for line in lines]
                is_repair = any(
                    action.get("commitInfo", {}).get("operation") == "FSCK" for action in actions
                )
                yield from ((action, is_repair) for action in actions)

    def awaited(self, names: Iterable[str]) -> set[str]:
        """Returns which files a batch may still come to name, as the table was last read.

        The name of a batch's file follows from node and version. A node that crashed before its
        commit writes and names the same file when it is back, days later perhaps; once it has
        committed that version, never again.
        """
        found = set()
        with lake.reported(self.schema):
            for name in names:
                batch = paths.batch_of(name)
                if batch is not None:
                    node, version = batch
                    if version > (self._delta.transaction_version(node) or 0):
                        found.add(name)
        return found

    def delete(self, names: Iterable[str]) -> None:
        """Deletes data files for good."""
        with lake.reported(self.schema):
            self._store.delete(self.name, names)

    def full_name(self, name: str) -> str:
        """Returns a file's path or URL, as the catalog names it."""
        return self._store.full_name(self.name, name)

    def is_below(self, directory: Path) -> bool:
        """Whether the table's files are on this disk below the directory."""
        uri = self._store.uri(self.name)
        return "://" not in uri and Path(uri).is_relative_to(directory)

    def everything(self) -> list[str]:
        """Returns the names of all files of the table, with those of its log."""
        with lake.reported(self.schema):
            found = [*self._store.names(self.name), *self._store.log_files(self.name)]
        return [file.name for file in found]

    def content(self, name: str) -> bytes:
        """Returns the bytes of one file; raises OSError."""
        with self._store.open(self.name, name) as file:
            return bytes(file.read())


def _selected(
    source: pa.NativeFile, file: DataFile, wanted: pa.Schema, where: pc.Expression | None
) -> pa.Table:
    with pq.ParquetFile(source) as parquet:
        there = set(parquet.schema_arrow.names)
        names = [name for name in wanted.names if name in there]
        if where is None:
            rows = parquet.read(columns=names)
        else:
            # Skips row groups by their limits; a query of its own for each file, so only then.
            source.seek(0)
            rows = pq.read_table(source, columns=names, filters=where, partitioning=None)
    arrays = [
        rows.column(field.name).cast(field.type)
        if field.name in there
        else pa.chunked_array([_absent(field, file, rows.num_rows)])
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _absent(field: pa.Field[Any], file: DataFile, rows: int) -> pa.Array[Any]:
    """The date is in the name only; a column younger than the file is null in it."""
    if field.name == "date":
        return pa.repeat(pa.scalar(date.fromisoformat(file.date), pa.date32()), rows)
    absent: pa.Array[Any] = pa.nulls(rows, field.type)
    return absent


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
