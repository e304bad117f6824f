"""What becomes of rows that are older than the settings keep them as they are?

Days that are too old leave their table; readings that are old age before (`ageing`). Rows that
somebody holds (`held`) do neither: then the day is written anew, with them as they are. One commit
per day, or one for all days that leave whole.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import ageing, lake, maintenance_plan, paths, schema
from autarco_ingest.ageing import Age
from autarco_ingest.day_rewrite import CONFLICTS_MAX, DayReport, rewrite_day
from autarco_ingest.lake_table import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from autarco_ingest.held import Held
    from autarco_ingest.lake_table import DataFile, LakeTable
    from autarco_ingest.settings import RetentionSettings


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did; `held` names the dates of which some rows stayed as they were."""

    expired: dict[str, list[str]] = {}
    aged: list[DayReport] = []
    held: dict[str, list[str]] = {}
    failures: list[str] = []
    """Days that cannot be read; they must not keep the others from ageing."""


def run(
    tables: Sequence[LakeTable], keep: RetentionSettings, held: Held, now: datetime
) -> Retained:
    """Takes out what has expired, then lets the rest age; raises LakeError."""
    days = {
        schema.READINGS.name: keep.readings_days,
        schema.SESSIONS.name: keep.sessions_days,
        schema.QUARANTINE.name: keep.quarantine_days,
    }
    expired: dict[str, list[str]] = {}
    stayed: dict[str, list[str]] = {}
    for table in tables:
        expired[table.name], kept = _expire(table, days[table.name], held, now)
        if kept:
            stayed[table.name] = kept
    aged: list[DayReport] = []
    failures: list[str] = []
    for table in tables:
        if table.name == schema.READINGS.name:
            aged, kept = _age(table, keep, held, now, failures)
            if kept:
                stayed[table.name] = sorted({*stayed.get(table.name, []), *kept})
    return Retained(expired=expired, aged=aged, held=stayed, failures=failures)


def _expire(
    table: LakeTable, keep_days: int, held: Held, now: datetime
) -> tuple[list[str], list[str]]:
    """Returns the dates that rows left, and those where held ones stayed."""
    for attempt in range(1, CONFLICTS_MAX + 1):
        files = table.refresh()
        dates = maintenance_plan.days_expired(files, now.date(), keep_days)
        shares = {day: _held_share(table, held, day, _of(files, day)) for day in dates}
        gone = [day for day in dates if shares[day] == 0]
        try:
            if gone:
                table.replace([file for file in files if file.date in gone], [])
        except ConflictError:
            if attempt == CONFLICTS_MAX:
                raise
        else:
            break
    parted = [day for day in dates if 0 < shares[day] < 1]
    for day in parted:
        rewrite_day(table, day, partial(_only_held, table.schema, held, day))
    return sorted([*gone, *parted]), [day for day in dates if shares[day] > 0]


def _age(
    table: LakeTable, keep: RetentionSettings, held: Held, now: datetime, failures: list[str]
) -> tuple[list[DayReport], list[str]]:
    """Returns the days that aged, and the dates where held rows stayed whole."""
    files = table.refresh()
    due = maintenance_plan.days_ageing(
        files,
        now.date(),
        {Age.WITHOUT_ADDRESSES: keep.addresses_days, Age.QUARTER_HOURS: keep.samples_days},
    )
    reports: list[DayReport] = []
    stayed = []
    for day, age in due.items():
        younger = [file for file in _of(files, day) if paths.age(file.name) < age]
        try:
            if _held_share(table, held, day, younger) > 0:
                stayed.append(day)
            if not any(_ages_further(table, held, day, file, age) for file in younger):
                # They are younger because they are held: the day has aged as far as it may.
                continue
            portions = partial(_portions, table.schema, held, day, age)
            report = rewrite_day(table, day, split=portions)
        except (lake.LakeError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            failures.append(f"{day}: {error}")
            continue
        if report is not None:
            reports.append(report)
        table.checkpoint(entries_min=lake.ENTRIES_PER_CHECKPOINT)
    return reports, stayed


def _portions(
    table: schema.Table, held: Held, day: str, age: Age, rows: pa.Table
) -> Iterator[tuple[Age, pa.Table]]:
    for limit in Age:
        if limit < age:
            part = rows.filter(held.mask(table, day, rows, limit))
            yield limit, ageing.aged(part, limit)
            rows = rows.filter(pc.invert(held.mask(table, day, rows, limit)))
    yield age, ageing.aged(rows, age)


def _only_held(table: schema.Table, held: Held, day: str, rows: pa.Table) -> pa.Table:
    return rows.filter(held.mask(table, day, rows))


def _held_share(table: LakeTable, held: Held, day: str, files: Iterable[DataFile]) -> float:
    """Returns which share of the files' rows is held; most days have none, and nobody reads."""
    if not held.ages(table.schema, day):
        return 0.0
    rows = table.read(files, columns=["inverter_sn" if table.name == "readings" else "logger_sn"])
    count = pc.sum(held.mask(table.schema, day, rows)).as_py() or 0
    return count / rows.num_rows if rows.num_rows else 0.0


def _ages_further(table: LakeTable, held: Held, day: str, file: DataFile, age: Age) -> bool:
    """Whether a file has rows that may age further than they have."""
    limits = held.ages(table.schema, day)
    if not limits:
        return True
    serials = pc.unique(table.read([file], columns=["inverter_sn"]).column("inverter_sn"))
    return any(
        min(age, limits.get(str(serial), age)) > paths.age(file.name)
        for serial in serials.to_pylist()
    )


def _of(files: Iterable[DataFile], day: str) -> list[DataFile]:
    return [file for file in files if file.date == day]
