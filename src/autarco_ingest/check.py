"""Is everything that a data directory should hold there and readable, and what if not?

`run` looks at directory, journal, tables and catalog and reports each finding as it is made. It
changes nothing, takes no lock for longer than a look at it, and may run beside a server: what a
server is writing just now is no finding.

Not here: how a segment is read (Rust, `journal/inspect.rs`), how a table is (`check_tables`), and
what is done about damage (`set_aside`).
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import stat
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from autarco_ingest import _core, catalog, check_tables, descriptors, paths, registry
from autarco_ingest.address_keys import KEY_BYTES
from autarco_ingest.check_reader import Reader, ReaderError, ReadFile
from autarco_ingest.finding import Finding
from autarco_ingest.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from autarco_ingest.check_tables import DamagedFile
    from autarco_ingest.settings import Settings

FREE_BYTES_MIN = 1024 * 1024 * 1024
"""Room for a day of 10,000 sticks; with less, a server may have to stop acknowledging soon."""

CONNECTIONS_MIN = 1_000
"""A limit of open files that allows so many connections hinders no fleet that starts small."""

CATALOG_ATTEMPTS = 5
"""The catalog is replaced every few seconds; what was missing in one may be right in the next."""


class CheckError(Exception):
    """The check could not be made; the message is one sentence."""


class Outcome(msgspec.Struct, kw_only=True):
    """How much was found, and which data files can be set aside."""

    findings: int = 0
    damaged: list[DamagedFile] = []


def run(
    settings: Settings, report: Callable[[Finding], None], *, is_alone: bool = False
) -> Outcome:
    """Checks a data directory and calls `report` for each finding.

    `is_alone`: the caller holds the lock of the directory, so no server does.

    Raises CheckError when there is nothing to check or this user may not read it.
    """
    data = paths.DataDirectory.at(settings.data)
    if not data.journal.is_dir() and not data.lake.is_dir():
        raise CheckError(f"{data.root} is no data directory: it has neither journal nor tables")
    outcome = Outcome()

    def found(finding: Finding) -> None:
        outcome.findings += 1
        report(finding)

    try:
        is_running = not is_alone and is_held(data.lock)
        for finding in _directory(settings, data):
            found(finding)
        # Before the tables: a segment that is missing now is in them when they are looked at.
        _say("journal")
        segments = _core.inspect_journal(data.journal) if data.journal.is_dir() else []
        committed, outcome.damaged = _tables(settings, data, found)
        for finding in journal_findings(segments, committed=committed, is_running=is_running):
            found(finding)
        _say("catalog")
        for finding in _catalog(data):
            found(finding)
    except (ReaderError, OSError) as error:
        raise CheckError(str(error)) from error
    return outcome


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


def _say(what: str) -> None:
    sys.stderr.write(f"checking {what}\n")
    sys.stderr.flush()


# --- directory ------------------------------------------------------------------------------


def _directory(settings: Settings, data: paths.DataDirectory) -> Iterator[Finding]:
    if data.root.stat().st_mode & stat.S_IWOTH:
        yield _attention(".", "anybody on this machine may write here", "chmod o-w it")
    free = shutil.disk_usage(data.root).free
    if free < FREE_BYTES_MIN:
        yield _attention(
            ".",
            f"{free // 1024**2} MiB free on this file system",
            "make room: on a full disk no frame is acknowledged",
        )
    yield from _address_keys(settings.address.keys or data.address_keys)
    listed = settings.registry.file or data.registry
    try:
        registry.load(listed)
    except FileNotFoundError:
        if settings.registry.policy == "known":
            yield _attention(
                str(listed), "missing, so every logger is refused", "write the list of loggers"
            )
    except registry.RegistryError as error:
        yield _attention(
            str(listed),
            str(error),
            "correct it: a running server keeps the list before it, none can start with it",
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = descriptors.connections_possible(settings.connections_max, hard)
    if possible < min(settings.connections_max, CONNECTIONS_MIN):
        yield _attention(
            "limit of open files",
            f"{hard}, which leaves room for {possible} connections",
            "raise it where the server is started, as LimitNOFILE does",
        )


def _address_keys(directory: Path) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    for path in (directory, *sorted(directory.glob("*.key"))):
        try:
            status = path.stat()
        except FileNotFoundError:
            # Its time was over.
            continue
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield _attention(
                str(path),
                f"mode {stat.S_IMODE(status.st_mode):04o}: others may read the keys that hide "
                "addresses",
                "chmod go= it",
            )
        if path != directory and status.st_size != KEY_BYTES:
            yield Finding(
                severity="damage",
                place=str(path),
                seen=f"{status.st_size} bytes, wanted {KEY_BYTES}",
                do="restore it from a backup; removed, sources of its month keep no relation to "
                "those from before",
            )


def _attention(place: str, seen: str, do: str) -> Finding:
    return Finding(severity="attention", place=place, seen=seen, do=do)


# --- journal --------------------------------------------------------------------------------


def journal_findings(
    segments: list[_core.JournalSegment], *, committed: int, is_running: bool
) -> Iterator[Finding]:
    """Judges what was read of the journal; `committed` is the newest segment in the tables.

    A torn tail is none: an interrupted write was not acknowledged, and the next start leaves it
    out.
    """
    before = committed
    for segment in segments:
        place = f"journal/{segment.number:020}.wal"
        is_newest = segment is segments[-1]
        if segment.state == "damaged":
            yield Finding(
                severity="damage",
                place=place,
                seen=_hidden(segment),
                do=_rescue(is_stored=segment.number <= committed, is_running=is_running),
            )
        elif segment.records_behind_damage and segment.number > committed and not is_running:
            yield _attention(
                place,
                f"{_hidden(segment)}, and sectors in between were never written",
                "after a power cut that is normal, and none of them was acknowledged; without "
                "one, copy the file away before a server starts",
            )
        if committed and segment.number > before + 1:
            yield Finding(
                severity="damage",
                place=f"journal/{before + 1:020}.wal",
                seen=f"missing, as are all up to {segment.number - 1}, and not in the tables"
                if segment.number > before + 2
                else "missing, and not in the tables",
                do="bring it back from a backup before a server starts; without one, the "
                "readings acknowledged in it are lost",
            )
        before = max(before, segment.number)
        if segment.state == "torn" and is_newest and not is_running:
            sys.stderr.write(
                f"{place} ends in {segment.torn_bytes} bytes of an interrupted write: normal after "
                "a crash, nothing in them was acknowledged\n"
            )


def _hidden(segment: _core.JournalSegment) -> str:
    return (
        f"{segment.records} records can be read, then one is broken at byte {segment.read_bytes}, "
        f"and {segment.records_behind_damage} whole ones behind it are hidden"
    )


def _rescue(*, is_stored: bool, is_running: bool) -> str:
    if is_stored:
        return (
            "its rows are in the tables unless it was damaged before the last start of the "
            "server; look after the disk"
        )
    if is_running:
        return (
            "leave the server running or stop it with SIGTERM, never with SIGKILL: what it "
            "received itself it stores from memory; copy the file away and check again"
        )
    return (
        "start no server yet, it would store the readable records and delete the file; copy it "
        "away and put a sound copy in its place; without one, what follows the broken record is "
        "lost"
    )


# --- tables and catalog ---------------------------------------------------------------------


def _tables(
    settings: Settings, data: paths.DataDirectory, found: Callable[[Finding], None]
) -> tuple[int, list[DamagedFile]]:
    """Returns the newest committed segment and the damaged data files."""
    now_s = time.time()
    with Reader() as reader:
        tables = [
            check_tables.open_table(data, name, settings.node, reader)
            for name in ("readings", "sessions", "quarantine")
        ]
        damaged: list[DamagedFile] = []
        committed = 0
        total = sum(file.bytes for table in tables for file in table.files)
        with Meter("reading tables", total) as meter:
            for table in tables:
                report = check_tables.check(data, table, reader, meter, now_s=now_s)
                for finding in report.findings:
                    found(finding)
                damaged += report.damaged
                if table.name == "readings":
                    # Written last, it says for all how far the node has come.
                    committed = report.committed
        for path in (data.latest, *data.tail_files().values()):
            question = ReadFile(path=str(path), columns="readings", partitioned=False, rows=None)
            if path.exists() and (fault := reader.ask(question).fault) and path.exists():
                found(
                    _attention(
                        str(path.relative_to(data.root)),
                        f"cannot be read: {fault}",
                        "nothing is lost, the server writes a new one; restart it to be sure",
                    )
                )
    return committed, damaged


def _catalog(data: paths.DataDirectory) -> Iterator[Finding]:
    place = data.catalog.name
    rebuilt = "nothing is lost, a server builds a new one when it starts and every few seconds"
    for attempt in range(1, CATALOG_ATTEMPTS + 1):
        try:
            before = data.catalog.stat().st_ino if data.catalog.exists() else 0
            inspection = catalog.inspect(data)
        except catalog.NoCatalogError:
            yield _attention(place, "missing", rebuilt)
            return
        except catalog.CatalogError as error:
            yield Finding(severity="damage", place=place, seen=_one_line(error), do=rebuilt)
            return
        missing = [path for path in inspection.files if not path.exists()]
        is_same = data.catalog.exists() and data.catalog.stat().st_ino == before
        if not (missing or inspection.faults) or is_same or attempt == CATALOG_ATTEMPTS:
            break
    for view, fault in inspection.faults.items():
        yield Finding(
            severity="damage",
            place=f"{place}, view {view}",
            seen=f"does not answer: {fault}",
            do="if a data file is damaged, see there; otherwise a server builds a new catalog",
        )
    for path in missing:
        yield Finding(
            severity="damage",
            place=f"{place}, file {path}",
            seen="named and missing",
            do="if a table misses it too, see there; otherwise a server builds a new catalog",
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
