"""Can every row of the tables be read, by the log's own word of what there is?

The log is read twice: entry by entry here, so that one damaged entry is named and the files can
still be found, and as a whole by deltalake, as every reader of the tables does it. Files are read
to the last value (`check_reader`). A file that is gone or an entry that is new since the check
began is no finding: a server may be writing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from autarco_ingest import paths
from autarco_ingest.check_reader import Answer, DataFile, OpenTable, ReadFile, TableName
from autarco_ingest.finding import Finding, attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_ingest.check_reader import Reader
    from autarco_ingest.progress import Meter

ORPHAN_S = 3600.0
"""A batch is written and committed within seconds; a file that no version names after an hour was
left behind."""

ACTIONS = frozenset(
    {"add", "remove", "txn", "commitInfo", "metaData", "protocol", "domainMetadata", "cdc"}
)
"""What a log entry can hold by Delta's protocol."""


class DamagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A data file whose rows cannot all be read."""

    table: TableName
    file: DataFile
    seen: str
    exists: bool
    place: str

    @property
    def date(self) -> str:
        """The UTC date of its rows."""
        return self.file.name.partition("/")[0].removeprefix("date=")


class Log(msgspec.Struct, kw_only=True):
    """What the entries of a Delta log say, as far as they can be read."""

    versions: list[int] = []
    files: dict[str, DataFile] = {}
    entries: dict[str, str] = {}
    """Which entry added a file, by the file's name."""
    set_aside: set[str] = set()
    """Files that a repair took out, and that no later entry added again."""
    committed: int = 0
    findings: list[Finding] = []


class TableReport(msgspec.Struct, kw_only=True):
    """What was found in one table; `committed` is the newest batch of this node in it."""

    findings: list[Finding] = []
    damaged: list[DamagedFile] = []
    committed: int = 0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table opened for checking: what to read, and what was found on the way."""

    name: TableName
    directory: Path
    on_disk: dict[str, float]
    log: Log
    answer: Answer
    node: str

    @property
    def files(self) -> list[DataFile]:
        """The data files of the newest version."""
        return self.answer.files if self.answer.fault is None else list(self.log.files.values())


def open_table(data: paths.DataDirectory, name: TableName, node: str, reader: Reader) -> Table:
    """Lists the files of a table, on disk and in its log; raises ReaderError or OSError."""
    directory = paths.table_directory(data.lake, name)
    # Before the log: what is written from here on is too young to be left behind.
    on_disk = dict(_on_disk(directory))
    log = _read_log(directory, node, place=data.place(paths.log_directory(directory)))
    answer = reader.ask(OpenTable(directory=str(directory), node=node))
    return Table(name=name, directory=directory, on_disk=on_disk, log=log, answer=answer, node=node)


def check(
    data: paths.DataDirectory, table: Table, reader: Reader, meter: Meter, *, now_s: float
) -> TableReport:
    """Reads every file of a table; raises ReaderError or OSError."""
    report = TableReport(
        findings=list(table.log.findings),
        committed=table.answer.committed or table.log.committed,
    )
    if not report.findings:
        report.findings += _checkpoint_findings(data, table)
    if table.answer.other_version:
        place = data.place(table.directory)
        report.findings.append(version_finding(place, table.answer.other_version))
        meter.advance(sum(file.bytes for file in table.files))
        return report
    for file in table.files:
        damage = file_damage(data, table, file, reader)
        meter.advance(file.bytes)
        if damage is not None:
            report.damaged.append(damage)
    report.findings += _left_behind(data, table, now_s=now_s)
    return report


def version_finding(place: str, other_version: str) -> Finding:
    """Returns what to do about a table whose files this program cannot judge."""
    return attention(
        place,
        f"{other_version}; its files were not read",
        "start a server, which brings older tables up to date, or update autarco-ingest",
    )


def file_damage(
    data: paths.DataDirectory, table: Table, file: DataFile, reader: Reader
) -> DamagedFile | None:
    """Reads one data file; None when it is as the log says, or not wanted any more."""
    path = table.directory / file.name

    def damaged(seen: str, *, exists: bool = True) -> DamagedFile:
        place = data.place(path)
        return DamagedFile(table=table.name, file=file, seen=seen, exists=exists, place=place)

    try:
        size = path.stat().st_size
    except FileNotFoundError:
        again = reader.ask(OpenTable(directory=str(table.directory), node=table.node))
        if again.fault is None and file.name not in {other.name for other in again.files}:
            return None
        return damaged("missing", exists=False)
    if size != file.bytes:
        return damaged(f"{size} bytes, {file.bytes} in the log")
    question = ReadFile(
        path=str(path),
        columns=table.name,
        partitioned=True,
        rows=file.rows,
        entry=table.log.entries.get(file.name),
    )
    fault = reader.ask(question).fault
    return damaged(f"cannot be read: {fault}") if fault else None


def _left_behind(data: paths.DataDirectory, table: Table, *, now_s: float) -> Iterator[Finding]:
    known = table.log.entries.keys() | {file.name for file in table.files}
    for name in sorted(table.on_disk.keys() & table.log.set_aside):
        yield attention(
            data.place(table.directory / name),
            "was set aside and is there again",
            "stop the server and run `autarco-ingest check --bring-back`",
        )
    for name, modified_s in table.on_disk.items():
        if name not in known and now_s - modified_s > ORPHAN_S:
            yield attention(
                data.place(table.directory / name),
                "no version of the table names it",
                "it takes space only, unless a log entry is reported as lost; move it away",
            )


def _on_disk(directory: Path) -> Iterator[tuple[str, float]]:
    """Yields the table's data files and when each was written."""
    for path in directory.rglob("*.parquet"):
        name = str(path.relative_to(directory))
        if name.startswith(paths.log_directory(directory).name):
            continue
        try:
            yield name, path.stat().st_mtime
        except FileNotFoundError:
            continue


def _read_log(directory: Path, node: str, *, place: str) -> Log:
    """Reads every entry; `place` is where the log is, for the findings."""
    log = Log()
    entries = paths.log_entries(directory)
    log.versions = sorted(entries)
    checkpoint = max(paths.checkpoints(directory), default=-1)
    newest = max(entries, default=-1)
    if newest < 0 and checkpoint < 0:
        log.findings.append(
            Finding(
                severity="damage",
                place=place,
                seen="there is no log, so there is no table",
                do="restore it from a backup; a server that starts would make an empty table",
            )
        )
    for version, entry in sorted(entries.items()):
        try:
            content = entry.read_bytes()
            _take(log, list(_actions(content)), str(entry), node)
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            is_torn = version == newest and (not content or b"\0" in content)
            log.findings.append(
                _entry_finding(
                    f"{place}/{entry.name}",
                    f"cannot be read: {error}",
                    is_torn=is_torn,
                    is_needed=version > checkpoint,
                )
            )
    for version in sorted(set(range(checkpoint + 1, newest)) - entries.keys()):
        entry = paths.log_entry(directory, version)
        # Not every listing shows what was made while it was read.
        if not entry.exists():
            log.findings.append(
                _entry_finding(f"{place}/{entry.name}", "missing", is_torn=False, is_needed=True)
            )
    return log


def _entry_finding(place: str, seen: str, *, is_torn: bool, is_needed: bool) -> Finding:
    if is_torn:
        do = (
            "after a power cut that is normal: start the server, which removes it and takes its "
            "rows from the journal"
        )
    elif is_needed:
        do = "restore it from a backup before a server starts; no reader can open the table"
    else:
        do = "a newer checkpoint holds the same, so nothing is lost; restore it from a backup"
    return Finding(
        severity="damage" if is_needed and not is_torn else "attention",
        place=place,
        seen=seen,
        do=do,
    )


def _actions(entry: bytes) -> Iterator[dict[str, Any]]:
    """Yields the actions of a log entry; raises ValueError."""
    lines = entry.splitlines()
    if not lines:
        raise ValueError("empty")
    for line in lines:
        action = json.loads(line)
        if not isinstance(action, dict) or not action.keys() <= ACTIONS:
            # A reader would pass over it, and the rows it adds would be missing without a word.
            raise ValueError(f"unknown action {line[:40].decode(errors='replace')!r}")
        yield action


def _take(log: Log, actions: list[dict[str, Any]], entry: str, node: str) -> None:
    is_repair = any(action.get("commitInfo", {}).get("operation") == "FSCK" for action in actions)
    for action in actions:
        if add := action.get("add"):
            name = unquote(add["path"])
            rows = json.loads(add.get("stats") or "{}").get("numRecords")
            log.files[name] = DataFile(name=name, bytes=add["size"], rows=rows)
            log.entries[name] = entry
            log.set_aside.discard(name)
        if remove := action.get("remove"):
            name = unquote(remove["path"])
            log.files.pop(name, None)
            if is_repair:
                log.set_aside.add(name)
        if (transaction := action.get("txn")) and transaction["appId"] == node:
            log.committed = max(log.committed, transaction["version"])


def _checkpoint_findings(data: paths.DataDirectory, table: Table) -> Iterator[Finding]:
    """Compares what deltalake makes of the log with its entries, which are all whole."""
    checkpoints = paths.checkpoints(table.directory)
    newest = checkpoints.get(max(checkpoints, default=-1), [])
    hint = paths.last_checkpoint(table.directory)
    is_complete = table.log.versions[:1] == [0]
    cure = "restore the log from a backup; data files not named here are sound"
    if newest and is_complete:
        names = ", ".join(sorted(path.name for path in newest))
        cure = f"stop the server and remove {names} and {hint.name}: the entries hold the same"
    log = data.place(paths.log_directory(table.directory))
    if table.answer.fault:
        seen = f"the table cannot be opened: {table.answer.fault}"
        yield Finding(severity="damage", place=log, seen=seen, do=cure)
    elif is_complete:
        opened = {file.name: file for file in table.answer.files}
        wrong = [name for name, file in table.log.files.items() if opened.get(name) != file]
        if wrong:
            seen = f"the checkpoint contradicts the entries about {len(wrong)} files"
            yield Finding(severity="damage", place=log, seen=f"{seen}, as {wrong[0]}", do=cure)
    if hint.exists() and not _is_whole_hint(hint):
        do = "remove it: readers list the directory then"
        yield attention(data.place(hint), "does not name a checkpoint", do)


def _is_whole_hint(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes())["version"], int)
    except (ValueError, TypeError, KeyError):
        return False
