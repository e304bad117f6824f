"""What did every inverter make on the days before the last two? Read once, kept in small files.

For each UTC date of the lake one Parquet file with the summaries of its rows, named after the
table's files that it was made of: when these change (late readings, compaction), the date is
summed up again. Of whole months before this one only the end counts: an anchor per inverter.

A first start on a lake of years takes seconds per date of a large fleet; later ones read what was
kept.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
import structlog

from autarco_portal import inverter_record, quarters
from autarco_portal.inverter_record import Anchor, InverterRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

log = structlog.get_logger(__name__)

_DAY = timedelta(days=1)
PAC0_MAX = 1_000_000.0
"""W; what judges the steps of a counter whose inverter nobody has described."""


class Lake(Protocol):
    """What `lake_reader.LakeReader` offers."""

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
        *,
        in_order: bool = True,
        rows_max: int | None = None,
    ) -> pa.Table:
        """Returns readings between two moments."""

    def latest(
        self, inverters: Collection[str] | None = None, columns: Sequence[str] = ("*",)
    ) -> pa.Table:
        """Returns the newest reading of each inverter."""

    def moment(self) -> tuple[int, int] | None:
        """Returns what differs when there is something new."""

    def dates(self) -> dict[date, frozenset[str]]:
        """Returns the files of each UTC date."""


class Past:
    """The closed dates of a lake, summed up. One caller at a time."""

    def __init__(self, lake: Lake, directory: Path) -> None:
        """Keeps its files in `directory`."""
        self._lake = lake
        self._directory = directory
        self._known: dict[date, str] = {}
        self._anchors: dict[date, dict[str, Anchor]] = {}
        self._pac0_of: Mapping[str, float] = {}
        self.version = 0
        """Counts changes."""

    def update(
        self, now: datetime, zone_of: Mapping[str, str], pac0_of: Mapping[str, float]
    ) -> bool:
        """Sums up what changed on dates before yesterday; returns whether anything did.

        Raises CatalogError or OSError; what was done so far is kept.
        """
        last = now.astimezone(UTC).date() - 2 * _DAY
        zones = sorted(zone_of.items())
        wanted = {
            day: _fingerprint(names, zones)
            for day, names in self._lake.dates().items()
            if day <= last
        }
        changed = [day for day, print_ in wanted.items() if self._known.get(day) != print_]
        gone = [day for day in self._known if day not in wanted]
        for day in gone:
            del self._known[day]
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The newest first: if this is interrupted, the numbers of this month are there sooner.
        for day in sorted(changed, reverse=True):
            file = self._file(day, wanted[day])
            if not file.exists():
                self._sum_up(day, file, zone_of)
            self._known[day] = wanted[day]
        # Also those of an earlier process: what was erased, or kept long enough, stays nowhere.
        kept = {self._file(day, print_) for day, print_ in wanted.items()}
        for file in self._directory.glob("*.parquet"):
            if file not in kept:
                file.unlink(missing_ok=True)
        touched = [*changed, *gone]
        if touched:
            earliest = (min(touched) - _DAY).replace(day=1)
            self._anchors = {m: found for m, found in self._anchors.items() if m <= earliest}
            self.version += 1
        self._pac0_of = pac0_of
        return bool(touched)

    def anchors(self, month: date) -> Mapping[str, Anchor]:
        """Returns what came before the first day of a month, by inverter."""
        if month in self._anchors:
            return self._anchors[month]
        first = min(self._known, default=None)
        if first is None or first > month:
            self._anchors[month] = {}
            return {}
        before = (month - _DAY).replace(day=1)
        found = dict(self.anchors(before))
        days = self.days(before, month - _DAY)
        if days.height:
            columns = inverter_record.day_columns(days)
            nothing = inverter_record.quarters_of(quarters.QUARTER_SCHEMA.to_frame())
            for serial, (begin, end) in spans(days["inverter_sn"]).items():
                part = inverter_record.days_between(columns, begin, end)
                record = InverterRecord(
                    serial_number=serial,
                    pac0=self._pac0_of.get(serial, PAC0_MAX),
                    quarters=nothing,
                    days=part,
                    anchor=found.get(serial),
                )
                flows = np.nansum(part.flows_wh, axis=1).tolist()
                new = inverter_record.anchor(record.counter(), tuple(flows), found.get(serial))
                if new is not None:
                    found[serial] = new
        self._anchors[month] = found
        return found

    def days(
        self, first: date, last: date, inverters: Collection[str] | None = None
    ) -> pl.DataFrame:
        """Returns the summaries of local days `first` to `last`, as far as dates are closed."""
        files = [
            self._file(day, print_)
            for day, print_ in self._known.items()
            if first - _DAY <= day <= last + _DAY
        ]
        if not files:
            return quarters.SUMMARY_SCHEMA.to_frame()
        rows = pl.scan_parquet(files).filter(pl.col("day").is_between(first, last))
        if inverters is not None:
            rows = rows.filter(pl.col("inverter_sn").is_in(list(inverters)))
        return quarters.merged([rows.collect()])

    @property
    def first(self) -> date | None:
        """The oldest date."""
        return min(self._known, default=None)

    def _sum_up(self, day: date, file: Path, zone_of: Mapping[str, str]) -> None:
        begins = datetime.combine(day, time(), UTC)
        rows = self._lake.readings(None, begins, begins + _DAY, quarters.READ, in_order=False)
        frame = pl.DataFrame(pl.from_arrow(rows))
        summed = quarters.day_summaries(quarters.quarters(frame), zone_of)
        draft = file.with_name(f".{file.name}.draft")
        summed.write_parquet(draft, statistics=True)
        os.replace(draft, file)
        log.info("summed up a date", date=str(day), inverters=summed["inverter_sn"].n_unique())

    def _file(self, day: date, fingerprint: str) -> Path:
        return self._directory / f"{day}.{fingerprint}.parquet"


def spans(serials: pl.Series) -> dict[str, tuple[int, int]]:
    """Returns first row and end of each value of a sorted column."""
    if not len(serials):
        return {}
    runs = serials.rle().struct.unnest()
    ends = runs["len"].cum_sum().to_list()
    begins = [0, *ends[:-1]]
    return dict(zip(runs["value"].to_list(), zip(begins, ends, strict=True), strict=True))


def _fingerprint(names: frozenset[str], zones: list[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.rpartition("/")[2].encode() + b"\0")
    for serial, zone in zones:
        if zone != "Europe/Amsterdam":
            digest.update(f"{serial}={zone}".encode() + b"\0")
    return digest.hexdigest()[:16]
