"""How does everything about one logger or inverter leave the data, and who proves it?

In this order, so that nothing comes back and no reader misses a file:

1. the serial is refused from now on (`forgotten`), and the server takes it out of everything it
   holds beside the tables: journal, tail, latest readings;
2. every day of every table that has rows of it is written anew without them, also as raw frames;
3. the server names the new files in its catalog;
4. replaced files and the log entries from before are deleted, without the usual grace period;
5. every file is searched for the serial (`erasure_search`), and the proof is printed and kept.

Beside a running server steps 1 and 3 are its own; without one, a server that nobody reaches is
started for them. Other nodes that share the tables have a data directory each, to be told the same.
Whatever interrupts this, the serial stays refused, and the same command goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import (
    _core,
    check,
    day_rewrite,
    durable,
    erasure_search,
    file_lock,
    forgotten,
    held,
    maintenance,
    paths,
    registry,
    schema,
    server,
)
from autarco_ingest.lake import LakeError
from autarco_ingest.storage import StorageError
from autarco_ingest.table_store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from autarco_ingest.lake_table import LakeTable
    from autarco_ingest.settings import Settings

SERVER_S = 300.0
"""A server takes the list over within two seconds and flushes in less than a minute, unless a disk
is ill."""

POLL_S = 0.2

_TELLING_COLUMNS = ("logger_sn", "inverter_sn", "frame")
"""Whose a row is follows from these."""

LEFT_BEHIND = timedelta(hours=1)
"""A file that no version names after an hour belongs to no commit that is still being made."""


class ForgetError(Exception):
    """It could not be carried out to the end; the message is one sentence."""


class Subject(msgspec.Struct, frozen=True):
    """Whose rows are meant; `serial` as the tables have it."""

    kind: forgotten.Kind
    serial: str

    @classmethod
    def of(cls, kind: forgotten.Kind, text: str) -> Subject:
        """Returns the subject that somebody names; raises ForgottenError for no serial number."""
        return cls(kind, forgotten.serial_text(kind, text))

    def where(self, table: schema.Table) -> pc.Expression | None:
        """Returns what is true of all rows of the subject, and in `quarantine` of some others.

        None where a table can have none. `mask` tells which rows it really are.
        """
        if self.kind == "logger":
            return pc.field("logger_sn") == int(self.serial)
        if table is schema.READINGS:
            return pc.field("inverter_sn") == self.serial
        if table is schema.QUARANTINE:
            # A frame of an unknown layout names its inverter all the same.
            return pc.match_substring(pc.field("frame"), self.serial)
        return None

    def mask(self, table: schema.Table, rows: pa.Table) -> pa.ChunkedArray[Any]:
        """Returns which of the rows are the subject's."""
        if self.kind == "logger":
            return _equal(rows.column("logger_sn"), int(self.serial))
        if table is schema.READINGS:
            return _equal(rows.column("inverter_sn"), self.serial)
        frames = rows.column("frame").to_pylist()
        # Another inverter's longer serial number may hold this one.
        named = [self.serial in _core.inverter_serials(frame or b"") for frame in frames]
        return pa.chunked_array([pa.array(named, pa.bool_())])

    def needle(self) -> erasure_search.Needle:
        """Returns what a trace of the subject looks like."""
        if self.kind == "logger":
            return erasure_search.logger_needle(int(self.serial))
        return erasure_search.inverter_needle(self.serial)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased and when, without saying whose: `subject` is a keyed hash of the serial."""

    at: datetime
    kind: str
    subject: str
    rows: dict[str, int]
    """Rows erased, by table."""
    days_rewritten: int
    files_deleted: int
    log_entries_deleted: int
    bytes_searched: int
    traces: list[str]
    """Files that still hold the serial, or that could not be read; none when all is done."""
    node: str
    version: str

    def text(self) -> str:
        """Returns the proof for people, as it is printed."""
        rows = ", ".join(f"{count} rows of {table}" for table, count in self.rows.items())
        lines = [
            f"{self.kind} erased at {self.at:%Y-%m-%d %H:%M:%S} UTC on node {self.node}",
            f"subject (keyed hash): {self.subject}",
            f"erased: {rows}",
            f"written anew: {self.days_rewritten} days; deleted: {self.files_deleted} data files, "
            f"{self.log_entries_deleted} log entries",
            f"searched: {self.bytes_searched} bytes; traces left: {len(self.traces)}",
            *(f"  trace: {trace}" for trace in self.traces),
        ]
        return "\n".join(lines)


def count(settings: Settings, subject: Subject) -> dict[str, int]:
    """Returns how many rows of the subject each table has now; raises ForgetError."""
    data = paths.DataDirectory.at(settings.data, settings.lake.location)
    try:
        tables = maintenance.open_tables(settings, data)
        return {
            table.name: sum(_rows_by_day(table, where, subject).values())
            for table in tables
            if (where := subject.where(table.schema)) is not None
        }
    except (LakeError, StoreError, OSError, pa.ArrowException) as error:
        raise ForgetError(str(error)) from error


def forget(settings: Settings, subject: Subject, say: Callable[[str], None]) -> Proof:
    """Erases the subject and refuses it from then on; `say` hears of each step.

    Raises ForgetError when a step fails; the subject is refused all the same.
    """
    data = paths.DataDirectory.at(settings.data, settings.lake.location)
    if not data.journal.is_dir() and (data.is_lake_remote or not data.lake.is_dir()):
        raise ForgetError(f"{data.root} is no data directory: it has neither journal nor tables")
    try:
        revision = forgotten.add(data, subject.kind, subject.serial)
        held.remove(data.held, subject.kind, subject.serial)
        say("refused from now on; taking it out of journal, tail and latest readings")
        _purged(settings, data, revision)
        with file_lock.held(data.maintenance_lock):
            return _erase(settings, data, subject, say)
    except (
        LakeError,
        StorageError,
        StoreError,
        forgotten.ForgottenError,
        held.HeldError,
        registry.RegistryError,
        OSError,
        pa.ArrowException,
    ) as error:
        raise ForgetError(str(error)) from error


def lift(settings: Settings, subject: Subject) -> bool:
    """Serves the subject again; returns whether it was refused. Raises ForgetError."""
    try:
        data = paths.DataDirectory.at(settings.data, settings.lake.location)
        return forgotten.lift(data, subject.kind, subject.serial)
    except (forgotten.ForgottenError, OSError) as error:
        raise ForgetError(str(error)) from error


def _erase(
    settings: Settings, data: paths.DataDirectory, subject: Subject, say: Callable[[str], None]
) -> Proof:
    tables = maintenance.open_tables(settings, data)
    rows: dict[str, int] = {}
    days = 0
    for table in tables:
        where = subject.where(table.schema)
        if where is not None:
            found = _rows_by_day(table, where, subject)
            rows[table.name] = sum(found.values())
            for number, day in enumerate(found, start=1):
                say(f"{table.name}: writing day {number} of {len(found)} anew")
                day_rewrite.rewrite_day(table, day, partial(_without, subject, table.schema))
            days += len(found)
    if subject.kind == "logger":
        registry.remove(settings.registry.file or data.registry, int(subject.serial))
    say("waiting for a catalog without the replaced files")
    _purged(settings, data, forgotten.request(data))
    say("deleting replaced files and old log entries")
    now = datetime.now(UTC)
    # Anew: a server that started for the step before may have removed a checkpoint they rest on.
    tables = maintenance.open_tables(settings, data)
    files = sum(_delete_replaced(table, now) for table in tables)
    # Log entries of earlier versions tell the smallest and largest serial of each file.
    for table in tables:
        table.checkpoint()
    entries = sum(table.prune_log(now) for table in tables)
    say("searching every file")
    places = [data.root]
    if not data.is_lake_remote and not data.lake.is_relative_to(data.root):
        places.append(data.lake)
    search = erasure_search.search(places, tables, subject.needle())
    proof = Proof(
        at=datetime.now(UTC),
        kind=subject.kind,
        subject=forgotten.load(data).digest(subject.kind, subject.serial).hex(),
        rows=rows,
        days_rewritten=days,
        files_deleted=files,
        log_entries_deleted=entries,
        bytes_searched=search.bytes,
        traces=search.traces,
        node=settings.node,
        version=metadata.version("autarco-ingest"),
    )
    _keep(proof, data.erasures)
    return proof


def _rows_by_day(table: LakeTable, where: pc.Expression, subject: Subject) -> dict[str, int]:
    columns = [name for name in _TELLING_COLUMNS if name in _names(table.schema)]
    found: dict[str, int] = {}
    for file in sorted(table.refresh(), key=lambda file: file.date):
        rows = table.read([file], columns=columns, where=where)
        count = pc.sum(subject.mask(table.schema, rows)).as_py() or 0
        if count:
            found[file.date] = found.get(file.date, 0) + count
    return found


def _without(subject: Subject, table: schema.Table, rows: pa.Table) -> pa.Table:
    return rows.filter(pc.invert(subject.mask(table, rows)))


def _equal(column: pa.ChunkedArray[Any], value: int | str) -> pa.ChunkedArray[Any]:
    # The stubs know of arrays only.
    found: Any = pc.equal(column, pa.scalar(value, column.type))
    return cast("pa.ChunkedArray[Any]", found)


def _names(table: schema.Table) -> set[str]:
    return {column.name for column in table.columns}


def _delete_replaced(table: LakeTable, now: datetime) -> int:
    stored = table.stored()
    active = {file.name for file in table.refresh()}
    active |= table.awaited(stored)
    removed = table.past().removed_at
    due = [
        name
        for name, written_at in stored.items()
        if name not in active and (name in removed or now - written_at > LEFT_BEHIND)
    ]
    table.delete(due)
    return len(due)


def _purged(settings: Settings, data: paths.DataDirectory, revision: int) -> None:
    """Returns when a server has taken everything forgotten out of what it holds."""

    def is_done() -> bool:
        return (forgotten.applied(data) or 0) >= revision

    deadline = time.monotonic() + SERVER_S
    while not is_done():
        if not check.is_held(data.lock):
            # One that starts at this very moment is waited for like any other.
            with contextlib.suppress(server.AlreadyRunningError):
                server.serve_until(settings, is_done, SERVER_S)
        if is_done():
            return
        if time.monotonic() > deadline:
            raise ForgetError(
                f"the server has not taken the list over in {SERVER_S:.0f} s; its /health says "
                "why; the serial is refused, run the same command again"
            )
        time.sleep(POLL_S)


def _keep(proof: Proof, path: Path) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(proof) + b"\n")
    durable.sync(path)
    durable.sync(path.parent)
