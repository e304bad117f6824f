"""What becomes of a batch, and what do readers see when?

The order that keeps readers right: the batch enters the tables, then a tail without its rows is
written, then a catalog that names both replaces the one before. A reader who opened the old
catalog finds the old files; they go after the grace period.

Nothing of a forgotten logger or inverter passes here, wherever its rows come from.

Not here: when any of this happens (`server`).
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog

from autarco_ingest import _core, catalog, paths, schema, table_store
from autarco_ingest.lake import Commit, Lake, LakeError
from autarco_ingest.latest import Latest, Tail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from autarco_ingest.forgotten import Forgotten
    from autarco_ingest.paths import DataDirectory
    from autarco_ingest.settings import Settings

log = structlog.get_logger(__name__)


class StorageError(Exception):
    """A table, the tail or the catalog could not be written; the journal keeps the rows."""


class Storage:
    """Tables, tail, latest readings and catalog of one data directory. One caller at a time."""

    def __init__(self, settings: Settings, directory: DataDirectory, forgotten: Forgotten) -> None:
        """Opens or creates everything below `directory`; raises StorageError."""
        self._directory = directory
        self._forgotten = forgotten
        self._time_zone = settings.time_zone
        try:
            self._store = table_store.open_store(settings.lake, directory, os.environ)
            # The lock of the data directory keeps servers from a lake inside it.
            owner = _owner(directory) if directory.lake_location else None
            self._lake = Lake(self._store, settings.node, owner)
            self._latest = Latest(directory)
            self._tail = Tail(
                directory, grace_s=settings.superseded_grace_s, now_s=time.monotonic()
            )
        except (
            LakeError,
            table_store.StoreError,
            schema.SchemaError,
            OSError,
            pa.ArrowException,
        ) as error:
            raise StorageError(str(error)) from error
        self.forget(forgotten)

    def committed_version(self) -> int:
        """Returns the newest journal segment whose rows are in the tables; 0 before the first."""
        return self._lake.committed_version()

    def commit(self, batch: _core.Batch) -> Commit:
        """Adds a batch to the tables, once however often it is called; raises StorageError."""
        try:
            return self._lake.commit(
                batch.version,
                self._kept(schema.READINGS, batch.readings),
                self._kept(schema.SESSIONS, batch.sessions),
                self._kept(schema.QUARANTINE, batch.quarantine),
            )
        except LakeError as error:
            raise StorageError(str(error)) from error

    def show(self, waiting: Iterable[schema.ArrowData]) -> None:
        """Makes the tables and the `waiting` rows visible together; raises StorageError.

        `waiting` is every durable reading that no commit holds, each once.
        """
        try:
            tail = self._tail.write(
                (self._kept(schema.READINGS, rows) for rows in waiting), now_s=time.monotonic()
            )
            moment = catalog.Moment(
                readings=self._lake.files("readings"),
                sessions=self._lake.files("sessions"),
                quarantine=self._lake.files("quarantine"),
                tail=tail,
                latest=self._latest.file,
            )
            catalog.rebuild(
                self._directory,
                moment,
                time_zone=self._time_zone,
                remote=self._store.file_system,
            )
            self._tail.sweep(now_s=time.monotonic())
        except (LakeError, catalog.CatalogError, OSError, pa.ArrowException) as error:
            raise StorageError(str(error)) from error

    def show_latest(self, readings: schema.ArrowData) -> None:
        """Takes newer readings into the file of latest readings; raises OSError."""
        self._latest.merge(self._kept(schema.READINGS, readings))

    def forget(self, forgotten: Forgotten) -> None:
        """Takes over a new list: from now on nothing passes of those on it."""
        self._forgotten = forgotten
        try:
            self._latest.forget(forgotten)
        except (OSError, pa.ArrowException) as error:
            # The catalog goes without the file until it could be rewritten.
            log.warning("latest readings still hold forgotten ones", error=str(error))

    def purge(self, waiting: Iterable[schema.ArrowData]) -> None:
        """Erases the forgotten from tail and latest readings; raises StorageError or OSError.

        `waiting` as for `show`. Before this, the tables must have been given what was sealed
        while somebody was not forgotten yet.
        """
        try:
            self._latest.forget(self._forgotten, anew=True)
        except pa.ArrowException as error:
            raise StorageError(str(error)) from error
        # Files go only after the catalog that still names them: a query must not miss one.
        self.show(waiting)
        self._tail.purge()

    def _kept(self, table: schema.Table, data: schema.ArrowData) -> schema.ArrowData:
        if not self._forgotten.digests:
            return data
        return self._forgotten.without(table, schema.conform(table, data))


def _owner(directory: DataDirectory) -> int:
    """Returns the number of this data directory, made at its first start; raises OSError."""
    if not directory.owner.exists():
        paths.write(directory.owner, b"%d\n" % secrets.randbits(62))
    try:
        return int(directory.owner.read_text(encoding="ascii"))
    except ValueError as error:
        raise StorageError(
            f"{directory.owner} holds no number: restore it, or remove it and choose another `node`"
        ) from error
