"""How do all other rows stay queryable when a data file is damaged, and how does it come back?

The file is moved to `damaged/` and taken out of its table's log, so that every reader finds only
files that can be read; nothing is deleted. A sound copy at the old place comes back by a log entry
that repeats the one which added it. The catalog keeps to the moment it was made for, without or
with the file. Whoever calls this holds the lock of the data directory: no server is running.

Setting aside that ended halfway leaves a table that names a file which is gone: doing it once more
finishes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from autarco_ingest import catalog, check_tables, delta_log, durable, paths
from autarco_ingest.check_reader import DataFile
from autarco_ingest.finding import Finding
from autarco_ingest.lake import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from autarco_ingest.check_reader import Reader
    from autarco_ingest.check_tables import DamagedFile, Table


_NOTHING_ELSE = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""As for a batch: nothing else may change before the entry is on disk."""


class SetAsideError(Exception):
    """Nothing, or not everything, was set aside; the message is one sentence."""


@contextlib.contextmanager
def locked(data: paths.DataDirectory) -> Iterator[None]:
    """Holds the lock of a data directory; raises SetAsideError while a server does."""
    try:
        file = data.lock.open("r")
    except FileNotFoundError as error:
        raise SetAsideError(f"no server ever ran on {data.root}") from error
    except OSError as error:
        raise SetAsideError(f"cannot open {data.lock}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetAsideError(f"a server is using {data.root}; stop it first") from error
        yield


def set_aside(
    data: paths.DataDirectory, damaged: Sequence[DamagedFile], *, time_zone: str
) -> list[Finding]:
    """Moves damaged files away and returns what is missing from the tables then.

    Raises SetAsideError; what was set aside until then stays so.
    """
    if not damaged:
        return []
    missing = []
    with _explained("cannot set aside"):
        for table in sorted({file.table for file in damaged}):
            files = [file for file in damaged if file.table == table]
            directory = paths.table_directory(data.lake, table)
            for file in files:
                missing.append(_move(data, directory, file))
            _forget(directory)
        rebuild_catalog(data, [], time_zone=time_zone)
    return missing


def _move(data: paths.DataDirectory, directory: Path, damaged: DamagedFile) -> Finding:
    """Moves one file and returns what its table lacks without it."""
    path = directory / damaged.file.name
    place = data.damaged / damaged.table / damaged.file.name
    if damaged.exists:
        durable.make_directory(place.parent)
        path.replace(place)
        durable.sync(place.parent)
        durable.sync(path.parent)
    name = data.place(path)
    rows = "an unknown number of" if damaged.file.rows is None else damaged.file.rows
    return Finding(
        severity="damage",
        place=name,
        seen=f"{damaged.seen}; set aside, so table {damaged.table} lacks {rows} rows of "
        f"{damaged.date} (UTC)",
        do="if a backup has this file, put it there again and run "
        "`autarco-ingest check --bring-back`",
    )


def bring_back(data: paths.DataDirectory, table: Table, reader: Reader) -> list[DataFile]:
    """Adds the files that were set aside and are there again, and returns them.

    One that differs from the log or cannot be read stays out. Raises SetAsideError or ReaderError.
    """
    candidates = table.on_disk.keys() & table.log.set_aside
    sound = []
    for add in _added(table.directory, candidates):
        file = DataFile(
            name=add.path, bytes=add.size, rows=json.loads(add.stats or "{}").get("numRecords")
        )
        exists = (table.directory / add.path).exists()
        if exists and check_tables.file_damage(data, table, file, reader) is None:
            sound.append((add, file))
    if sound:
        with _explained("cannot bring back"):
            delta = DeltaTable(table.directory)
            before = delta.version()
            delta.create_write_transaction(
                [add for add, _ in sound],
                "append",
                delta.schema(),
                ["date"],
                post_commithook_properties=_NOTHING_ELSE,
            )
            delta_log.sync(table.directory, before + 1, DeltaTable(table.directory).version())
    return [file for _, file in sound]


def _added(directory: Path, names: AbstractSet[str]) -> list[AddAction]:
    """Returns what the log said when it added these files."""
    found = {}
    if names:
        for _, entry in sorted(paths.log_entries(directory).items()):
            for line in entry.read_bytes().splitlines():
                add = json.loads(line).get("add")
                if add and (name := unquote(add["path"])) in names:
                    found[name] = AddAction(
                        path=name,
                        size=add["size"],
                        partition_values=add["partitionValues"],
                        modification_time=add["modificationTime"],
                        data_change=True,
                        stats=add["stats"],
                    )
    return list(found.values())


def _forget(directory: Path) -> None:
    """Takes the files that are gone out of the table, on disk."""
    delta = DeltaTable(directory)
    before = delta.version()
    delta.repair(post_commithook_properties=_NOTHING_ELSE)
    delta_log.sync(directory, before + 1, DeltaTable(directory).version())


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, DeltaError, catalog.CatalogError) as error:
        raise SetAsideError(f"{what}: {one_line(error)}") from error


def rebuild_catalog(
    data: paths.DataDirectory, brought_back: Sequence[Path], *, time_zone: str
) -> None:
    """Builds a catalog of the files that the one before named and that exist, and of more."""
    # What the catalog named and is still there is the same moment without the damage. The tables'
    # newest state could hold rows of the tail a second time.
    try:
        named = [Path(name) for name in catalog.inspect(data).files]
    except catalog.CatalogError:
        # Missing or damaged, as the check said; the next start of a server builds it.
        return
    named = [path for path in named if path.exists()]
    named += [path for path in brought_back if path not in named]

    def below(directory: Path) -> list[Path]:
        return [path for path in named if path.is_relative_to(directory)]

    tails = below(data.tail)
    moment = catalog.Moment(
        readings=below(paths.table_directory(data.lake, "readings")),
        sessions=below(paths.table_directory(data.lake, "sessions")),
        quarantine=below(paths.table_directory(data.lake, "quarantine")),
        tail=tails[0] if tails else None,
        latest=data.latest if data.latest.exists() else None,
    )
    catalog.rebuild(data, moment, time_zone=time_zone)
