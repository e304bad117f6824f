"""How does the lake stay small and young while servers write to it?

- `compact` turns the many small files of a day into few sorted ones (`compaction` says what is in
  them), one commit per day.
- `retain` lets old readings age, and takes days out of the tables that are older than the settings
  keep (`maintenance_retention`).
- `sweep` deletes what no version of a table needs any more, after a grace period for readers that
  still have the catalog of before, and the log entries that a checkpoint has replaced.

Each may run beside a server, beside itself on another machine, and may be killed at any instant
(`day_rewrite` says why).
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pyarrow as pa
import structlog

from autarco_ingest import (
    catalog,
    file_lock,
    held,
    lake,
    maintenance_plan,
    maintenance_retention,
    paths,
    schema,
    set_aside,
    table_store,
)
from autarco_ingest.day_rewrite import DayReport, rewrite_day
from autarco_ingest.lake import LakeError
from autarco_ingest.lake_table import LakeTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_ingest.settings import Settings

log = structlog.get_logger(__name__)

SET_ASIDE_KEPT = timedelta(days=90)
"""Whoever has a backup of a damaged file has brought it back by then."""

LOG_KEPT = timedelta(days=1)
"""Entries that a checkpoint has replaced stay so long for readers that began before it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of maintenance did."""

    days: list[DayReport]
    expired: dict[str, list[str]]
    """Dates taken out of each table."""
    aged: list[DayReport]
    """Days whose readings have aged."""
    held: dict[str, list[str]]
    """Dates of which some rows stayed as they were, although old: somebody holds them."""
    deleted: int
    """Files that are not stored any more."""


class MaintenanceError(Exception):
    """Maintenance could not be done; the message is one sentence. What is done stays done."""


def run(
    settings: Settings,
    now: datetime,
    *,
    compact: bool = True,
    every_day: bool = False,
    retain: bool = True,
    note: Callable[[DayReport], None] = lambda _: None,
) -> Outcome:
    """Does one round, with a sweep at its end; raises MaintenanceError.

    `every_day` compacts all days that are over, without waiting for late samples. `note` hears of
    each compacted day when it is done.
    """
    data = paths.DataDirectory.at(settings.data, settings.lake.location)
    try:
        # Before the lock: where no tables are, nothing is left behind.
        tables = open_tables(settings, data)
        # Two rounds at once would do the same work twice.
        with file_lock.held(data.maintenance_lock):
            before = _named_by(tables)
            failures: list[str] = []
            days = _compact(tables, settings, now, every_day, note, failures) if compact else []
            old = maintenance_retention.Retained()
            if retain:
                old = maintenance_retention.run(
                    tables, settings.retention, held.load(data.held), now
                )
                failures += old.failures
            _renew_catalog(tables, settings, data, before)
            deleted = _sweep(tables, settings, data, now)
            if failures:
                raise MaintenanceError("; ".join(failures))
            return Outcome(
                days=days, expired=old.expired, aged=old.aged, held=old.held, deleted=deleted
            )
    except (
        LakeError,
        table_store.StoreError,
        catalog.CatalogError,
        held.HeldError,
        OSError,
        pa.ArrowException,
    ) as error:
        raise MaintenanceError(str(error)) from error


def open_tables(settings: Settings, data: paths.DataDirectory) -> list[LakeTable]:
    """Opens the tables as a bystander: nothing is created or repaired. Raises LakeError."""
    store = table_store.open_store(settings.lake, data, os.environ)
    return [LakeTable(store, table) for table in schema.TABLES]


def _compact(
    tables: Sequence[LakeTable],
    settings: Settings,
    now: datetime,
    every_day: bool,
    note: Callable[[DayReport], None],
    failures: list[str],
) -> list[DayReport]:
    policy = maintenance_plan.Policy(
        small_files_max=settings.maintenance.small_files_max,
        late_wait=timedelta(seconds=settings.maintenance.late_wait_s),
    )
    reports = []
    for table in tables:
        files = table.refresh()
        if every_day:
            days = maintenance_plan.days_over(files, now)
        else:
            days = maintenance_plan.days_due(files, now, policy)
        for day in days:
            try:
                report = rewrite_day(table, day)
            except (LakeError, pa.ArrowException, pl.exceptions.PolarsError) as error:
                # One day that cannot be read must not keep the others, or what has expired.
                failures.append(f"{day}: {error}")
                continue
            if report is not None:
                note(report)
                reports.append(report)
            table.checkpoint(entries_min=lake.ENTRIES_PER_CHECKPOINT)
    return reports


def _sweep(
    tables: Sequence[LakeTable], settings: Settings, data: paths.DataDirectory, now: datetime
) -> int:
    grace = timedelta(seconds=settings.maintenance.retired_grace_s)
    # Where no server runs, nobody renews the catalog, and it must go on answering.
    in_use = catalog.files(data)
    deleted = 0
    for table in tables:
        # Before the table's state: a file committed in between would look as if nobody named it.
        stored = table.stored()
        active = {file.name for file in table.refresh()}
        past = table.past()
        # What was set aside comes back by what the log says of it.
        kept = active | table.awaited(stored) | past.set_aside_at.keys()
        due = [
            name
            for name in maintenance_plan.files_to_delete(stored, kept, past.removed_at, now, grace)
            if table.full_name(name) not in in_use
        ]
        table.delete(due)
        if not any(now - since < SET_ASIDE_KEPT for since in past.set_aside_at.values()):
            table.prune_log(now - max(LOG_KEPT, grace))
        deleted += len(due)
    return deleted


def _named_by(tables: Sequence[LakeTable]) -> dict[str, list[str]]:
    return {
        table.name: [table.full_name(file.name) for file in table.refresh()] for table in tables
    }


def _renew_catalog(
    tables: Sequence[LakeTable],
    settings: Settings,
    data: paths.DataDirectory,
    before: dict[str, list[str]],
) -> None:
    """Lets the catalog name the new files where no server does so anyway within seconds.

    Only if it names what the tables held `before`, and nothing came since but compacted files:
    otherwise a server ended between a commit and its catalog, and the rows of the tail may be in
    the tables already.
    """
    with contextlib.suppress(set_aside.SetAsideError), set_aside.locked(data):
        named = catalog.files(data)
        own = {name for name in named if Path(name).parent in (data.tail, data.latest.parent)}
        after = _named_by(tables)
        known = {name for names in before.values() for name in names}
        came = {name for names in after.values() for name in names} - known
        if named - own != known or not all(map(paths.is_compacted, came)):
            return
        tails = [Path(name) for name in own if Path(name).parent == data.tail]
        moment = catalog.Moment(
            readings=after[schema.READINGS.name],
            sessions=after[schema.SESSIONS.name],
            quarantine=after[schema.QUARANTINE.name],
            tail=tails[0] if tails else None,
            latest=data.latest if str(data.latest) in own else None,
        )
        catalog.rebuild(data, moment, time_zone=settings.time_zone, remote=tables[0].file_system)
