"""How do all other rows stay queryable when a data file is damaged?

The file is moved to `damaged/` and taken out of its table's log, so that every reader finds only
files that can be read; nothing is deleted. The catalog then names what is left of the moment it
was made for. Whoever calls this holds the lock of the data directory: no server is running.

Ended halfway, the table names a file that is gone: setting aside once more finishes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError

from autarco_ingest import catalog, delta_log, durable, paths
from autarco_ingest.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from autarco_ingest.check_tables import DamagedFile


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
    missing = []
    try:
        for table in sorted({file.table for file in damaged}):
            files = [file for file in damaged if file.table == table]
            directory = paths.table_directory(data.lake, table)
            for file in files:
                missing.append(_move(data, directory, file))
            _forget(directory)
        _rebuild_catalog(data, time_zone)
    except (OSError, DeltaError, catalog.CatalogError) as error:
        raise SetAsideError(f"cannot set aside: {' '.join(str(error).split())}") from error
    return missing


def _move(data: paths.DataDirectory, directory: Path, damaged: DamagedFile) -> Finding:
    """Moves one file and returns what its table lacks without it."""
    path = directory / damaged.file.name
    place = data.damaged / damaged.table / damaged.file.name
    seen = f"missing, and taken out of table {damaged.table}"
    if damaged.exists:
        durable.make_directory(place.parent)
        os.replace(path, place)
        durable.sync(place.parent)
        durable.sync(path.parent)
        seen = f"set aside from table {damaged.table}"
    return Finding(
        severity="damage",
        place=str(place.relative_to(data.root)),
        seen=f"{seen}: {damaged.file.rows} rows of {damaged.date} (UTC) are not in it any more",
        do=f"if a backup has {path.relative_to(data.root)}, bring it back as docs/check.md says",
    )


def _forget(directory: Path) -> None:
    """Takes the files that are gone out of the table, on disk."""
    delta = DeltaTable(directory)
    before = delta.version()
    delta.repair(
        # As for a batch: nothing else may change before the entry is on disk.
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=False, cleanup_expired_logs=False
        )
    )
    delta_log.sync(directory, before + 1, DeltaTable(directory).version())


def _rebuild_catalog(data: paths.DataDirectory, time_zone: str) -> None:
    # What the catalog named and is still there is the same moment without the damage. The tables'
    # newest state could hold rows of the tail a second time.
    try:
        named = [path for path in catalog.inspect(data).files if path.exists()]
    except catalog.CatalogError:
        # Missing or damaged, as the check said; the next start of a server builds it.
        return

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
