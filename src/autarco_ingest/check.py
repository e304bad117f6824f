"""Is everything that a data directory should hold there and readable, and what if not?

`run` looks at directory, journal, tables and catalog and reports each finding as it is made. It
changes nothing, takes no lock for longer than a look at it, and may run beside a server: what a
server is writing just now is no finding.

Not here: how a segment is read (Rust, `journal/inspect.rs`) and judged (`check_journal`), what is
looked at in tables (`check_tables`) and around them (`check_directory`), and what is done about
damage (`set_aside`).
"""

from __future__ import annotations

import enum
import fcntl
import os
import sys
import time
from typing import TYPE_CHECKING

from autarco_ingest import (
    _core,
    catalog,
    check_directory,
    check_journal,
    check_remote,
    check_tables,
    paths,
    set_aside,
    table_store,
)
from autarco_ingest.check_reader import Reader, ReaderError, ReadFile, TableName
from autarco_ingest.check_tables import TableReport
from autarco_ingest.file_signature import signature
from autarco_ingest.finding import Finding, attention
from autarco_ingest.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from autarco_ingest.check_tables import DamagedFile, Table
    from autarco_ingest.settings import Settings
    from autarco_ingest.table_store import TableStore

TABLES: tuple[TableName, ...] = ("sessions", "quarantine", "readings")
"""In the order of a commit: what the last one has, the others have too."""

CATALOG_ATTEMPTS = 5
"""The catalog is replaced every few seconds; what was missing in one may be right in the next."""


class CheckError(Exception):
    """The check could not be made; the message is one sentence."""


class Change(enum.Enum):
    """What a check may change; the caller holds the lock of the directory unless it is nothing."""

    NOTHING = "nothing"
    SET_ASIDE = "tables lose the data files that cannot be read"
    BRING_BACK = "tables get back files that were set aside and are there again"


def run(
    settings: Settings, report: Callable[[Finding], None], change: Change = Change.NOTHING
) -> int:
    """Checks a data directory, calls `report` for each finding, and returns how many there were.

    Raises CheckError when there is nothing to check or this user may not read it, SetAsideError
    when a wanted change is not possible.
    """
    data = paths.DataDirectory.at(settings.data, settings.lake.location)
    if not data.journal.is_dir() and (data.is_lake_remote or not data.lake.is_dir()):
        raise CheckError(f"{data.root} is no data directory: it has neither journal nor tables")
    if data.is_lake_remote and change is not Change.NOTHING:
        raise CheckError(
            "on object storage nothing can be set aside: bring a damaged object's version of "
            "before back with the tools of the service"
        )
    try:
        store = table_store.open_store(settings.lake, data, os.environ)
    except table_store.StoreError as error:
        raise CheckError(str(error)) from error
    count = 0

    def found(findings: Iterable[Finding]) -> None:
        nonlocal count
        for finding in findings:
            count += 1
            report(finding)

    try:
        is_running = change is Change.NOTHING and is_held(data.lock)
        found(check_directory.check(settings, data))
        # Before the tables: a segment that is missing now is in them when they are looked at.
        _say("checking the journal")
        segments = _core.inspect_journal(data.journal) if data.journal.is_dir() else []
        if not is_running and (note := check_journal.torn_tail(segments)):
            _say(note)
        if change is Change.BRING_BACK:
            _bring_back(settings, data)
        tables = _tables(settings, data, store)
        found(tables.findings)
        if change is Change.SET_ASIDE:
            found(set_aside.set_aside(data, tables.damaged, time_zone=settings.time_zone))
        else:
            found(_damaged(file) for file in tables.damaged)
        found(check_journal.judge(segments, committed=tables.committed, is_running=is_running))
        _say("checking the catalog")
        found(_catalog(data, store))
    except BrokenPipeError:
        raise
    except (ReaderError, OSError) as error:
        raise CheckError(str(error)) from error
    return count


def is_held(lock: Path) -> bool:
    """Whether a server holds the lock of a data directory."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        # Given back at once: a server that starts in this moment must not be turned away for long.
        os.close(descriptor)
    return False


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _open_tables(settings: Settings, data: paths.DataDirectory, reader: Reader) -> list[Table]:
    return [check_tables.open_table(data, name, settings.node, reader) for name in TABLES]


def _bring_back(settings: Settings, data: paths.DataDirectory) -> None:
    with Reader() as reader:
        for table in _open_tables(settings, data, reader):
            files = set_aside.bring_back(data, table, reader)
            for file in files:
                _say(f"{file.name}: back in table {table.name} with {file.rows} rows")
            brought = [table.directory / file.name for file in files]
            if brought:
                set_aside.rebuild_catalog(data, brought, time_zone=settings.time_zone)


def _tables(settings: Settings, data: paths.DataDirectory, store: TableStore) -> TableReport:
    """Reads all tables and what stands beside them; `committed` is that of the readings."""
    total = _remote_tables(settings, store) if data.is_lake_remote else TableReport()
    with Reader() as reader:
        if not data.is_lake_remote:
            _read_tables(settings, data, reader, total)
        for path in (data.latest, *data.tail_files().values()):
            question = ReadFile(path=str(path), columns="readings", partitioned=False, rows=None)
            if path.exists() and (fault := reader.ask(question).fault) and path.exists():
                place = str(path.relative_to(data.root))
                todo = "nothing is lost: delete it and restart the server, which writes a new one"
                total.findings.append(attention(place, f"cannot be read: {fault}", todo))
    return total


def _remote_tables(settings: Settings, store: TableStore) -> TableReport:
    total = TableReport()
    for name in TABLES:
        _say(f"looking at {store.uri(name)}")
        report, files = check_remote.check(store, name, settings.node, now_s=time.time())
        total.findings += report.findings
        total.committed = report.committed
        _say(f"not read: the values in its {files} data files, whose bytes the service guards")
    return total


def _read_tables(
    settings: Settings, data: paths.DataDirectory, reader: Reader, total: TableReport
) -> None:
    now_s = time.time()
    tables = _open_tables(settings, data, reader)
    bytes_all = sum(file.bytes for table in tables for file in table.files)
    with Meter("reading tables", bytes_all) as meter:
        for table in tables:
            report = check_tables.check(data, table, reader, meter, now_s=now_s)
            total.findings += report.findings
            total.damaged += report.damaged
            # Readings are written last and say for all how far the node has come.
            total.committed = report.committed


def _damaged(damaged: DamagedFile) -> Finding:
    return Finding(
        severity="damage",
        place=damaged.place,
        seen=damaged.seen,
        do="bring the file back from a backup, or stop the server and run "
        "`autarco-ingest check --set-aside` so that all other rows can be queried",
    )


def _catalog(data: paths.DataDirectory, store: TableStore) -> Iterator[Finding]:
    place = data.catalog.name
    rebuilt = "nothing is lost, a server builds a new one when it starts and every few seconds"
    for attempt in range(1, CATALOG_ATTEMPTS + 1):
        try:
            before = signature(data.catalog)
            inspection = catalog.inspect(data, store.file_system)
        except catalog.NoCatalogError:
            yield attention(place, "missing", rebuilt)
            return
        except catalog.CatalogError as error:
            yield Finding(severity="damage", place=place, seen=_one_line(error), do=rebuilt)
            return
        # What is on object storage was looked at with its table.
        missing = [
            name for name in inspection.files if "://" not in name and not os.path.exists(name)
        ]
        is_same = signature(data.catalog) == before
        if not (missing or inspection.faults) or is_same or attempt == CATALOG_ATTEMPTS:
            break
    for view, fault in inspection.faults.items():
        yield Finding(
            severity="damage",
            place=f"{place}, view {view}",
            seen=f"does not answer: {fault}",
            do="if a data file is damaged, see there; otherwise a server builds a new catalog",
        )
    for name in missing:
        yield Finding(
            severity="damage",
            place=f"{place}, file {name}",
            seen="named and missing",
            do="if a table misses it too, see there; otherwise a server builds a new catalog",
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
