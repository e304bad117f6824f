"""What is known of every inverter of the fleet at this moment, without asking the lake each time?

Ten thousand sites are polled every five minutes; the lake changes every half minute. So one thread
reads for all what is new (`refresh`), and requests look at a snapshot in memory, which is replaced
whole. The last hour is read with each change, yesterday and today anew every half an hour for what
came late; older days are the business of `live_past`.
"""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from autarco_portal import inverter_record, quarters
from autarco_portal.inverter_record import InverterRecord
from autarco_portal.live_past import PAC0_MAX, Past, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from autarco_portal.inverter_record import Anchor, Days, Latest, Quarters
    from autarco_portal.live_past import Lake

LATE = timedelta(minutes=30)
"""How soon a replayed sample of yesterday or this morning shows."""
RECENT = timedelta(hours=1)
FUTURE = timedelta(minutes=10)
"""How far ahead of our clock a sample may be (the gateway refuses later ones)."""
_DAY = timedelta(days=1)
LATEST_COLUMNS = (
    "inverter_sn", "ts", "inverter_clock", "ac_power", "battery_power", "battery_soc_pct",
    "grid_power", "load_power", "energy_total_wh", "ac_voltage_l1", "ac_voltage_l2",
    "ac_voltage_l3", "status", "fault_vendor",
)  # fmt: skip


class NotReady(Exception):
    """The lake was not read yet; ask again later."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter as the store knows it."""

    serial_number: str
    time_zone: str
    pac0: float


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The fleet at one moment."""

    version: int
    month: date
    """First day of the month that `days` begins with."""
    quarters_from: datetime | None = None
    """Since when `quarters` is complete."""
    latest: pl.DataFrame
    latest_place: dict[str, int]
    quarters: pl.DataFrame
    quarter_columns: dict[str, Any]
    quarter_span: dict[str, tuple[int, int]]
    days: pl.DataFrame
    day_columns: dict[str, Any]
    day_span: dict[str, tuple[int, int]]
    anchors: Mapping[str, Anchor]

    def record(
        self, serial_number: str, *, pac0: float | None, is_replacement: bool = False
    ) -> InverterRecord:
        """Returns what is known of an inverter; of an unknown one, nothing."""
        return InverterRecord(
            serial_number=serial_number,
            pac0=pac0 or PAC0_MAX,
            is_replacement=is_replacement,
            latest=self._latest(serial_number),
            quarters=self._quarters(serial_number),
            days=self._days(serial_number),
            anchor=self.anchors.get(serial_number),
        )

    def inverters(self) -> set[str]:
        """Returns the serial numbers of all that anything is known of."""
        return {*self.latest_place, *self.quarter_span, *self.day_span, *self.anchors}

    def _latest(self, serial_number: str) -> Latest | None:
        place = self.latest_place.get(serial_number)
        return (
            inverter_record.latest(self.latest.row(place, named=True))
            if place is not None
            else None
        )

    def _quarters(self, serial_number: str) -> Quarters:
        begin, end = self.quarter_span.get(serial_number, (0, 0))
        return inverter_record.quarters_between(self.quarters, self.quarter_columns, begin, end)

    def _days(self, serial_number: str) -> Days:
        begin, end = self.day_span.get(serial_number, (0, 0))
        return inverter_record.days_between(self.day_columns, begin, end)


class Fleet:
    """Keeps the snapshot; any thread may look, one at a time refreshes."""

    def __init__(
        self,
        lake: Lake,
        directory: Path,
        *,
        placed: Callable[[], Sequence[Placed]] = lambda: (),
        time_zone: str = "Europe/Amsterdam",
    ) -> None:
        """`directory` keeps summaries of past days; `placed` gives the inverters of the store."""
        self.lake = lake
        self.past = Past(lake, directory)
        self._placed = placed
        self._time_zone = time_zone
        self._turn = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._moment: tuple[int, int] | None = None
        self._quarters: pl.DataFrame = quarters.QUARTER_SCHEMA.to_frame()
        self._whole_at: datetime | None = None
        self._zone_of: dict[str, str] = {}

    @property
    def snapshot(self) -> Snapshot:
        """What was read last; raises NotReady before the first time."""
        if self._snapshot is None:
            raise NotReady("the readings are being read, which takes a while after a first start")
        return self._snapshot

    def refresh(self, now: datetime) -> bool:
        """Reads what is new; returns whether anything was. Raises CatalogError or OSError."""
        with self._turn:
            moment = self.lake.moment()
            month = now.astimezone(ZoneInfo(self._time_zone)).date().replace(day=1)
            is_known = self._snapshot is not None and self._snapshot.month == month
            is_due = self._whole_at is None or now - self._whole_at >= LATE
            if is_known and moment == self._moment and not is_due:
                return False
            if moment is None:
                self._snapshot = _snapshot(0, month)
                return False
            if is_due:
                placed = self._placed()
                self._zone_of = {one.serial_number: one.time_zone for one in placed}
                pac0_of = {one.serial_number: one.pac0 for one in placed}
                self.past.update(now, self._zone_of, pac0_of)
                self._quarters = self._read(_midnight(now) - _DAY, now)
                self._whole_at = now
            else:
                self._quarters = self._with_recent(now)
            self._snapshot = self._put_together(now, month)
            self._moment = moment
            return True

    def _read(self, begins: datetime, now: datetime) -> pl.DataFrame:
        rows = self.lake.readings(None, begins, now + FUTURE, quarters.READ, in_order=False)
        return quarters.quarters(pl.DataFrame(pl.from_arrow(rows)))

    def _with_recent(self, now: datetime) -> pl.DataFrame:
        """The last hour anew, the rest as known; registers known from before it are no news."""
        begins = now - RECENT
        begins = begins.replace(minute=begins.minute // 15 * 15, second=0, microsecond=0)
        kept = self._quarters.filter(pl.col("quarter") < begins)
        clocks = (
            kept.group_by("inverter_sn")
            .agg(pl.col("inverter_clock").last())
            .drop_nulls()
            .rename({"inverter_clock": "clock"})
        )
        rows = self.lake.readings(None, begins, now + FUTURE, quarters.READ, in_order=False)
        fresh = (
            pl.DataFrame(pl.from_arrow(rows))
            .join(clocks, on="inverter_sn", how="left")
            .filter((pl.col("clock") != pl.col("inverter_clock")).fill_null(value=True))
        )
        return pl.concat([kept, quarters.quarters(fresh)]).sort("inverter_sn", "quarter")

    def _put_together(self, now: datetime, month: date) -> Snapshot:
        recent = quarters.day_summaries(self._quarters, self._zone_of, otherwise=self._time_zone)
        # In a zone further east the month has begun already.
        until = now.astimezone(UTC).date() + _DAY
        days = quarters.merged(
            [self.past.days(month, until), recent.filter(pl.col("day") >= month)]
        )
        latest = pl.DataFrame(pl.from_arrow(self.lake.latest(None, LATEST_COLUMNS)))
        version = (self._snapshot.version if self._snapshot is not None else 0) + 1
        return _snapshot(
            version,
            month,
            latest=latest,
            found=self._quarters,
            quarters_from=_midnight(self._whole_at or now) - _DAY,
            days=days,
            anchors=self._anchors(month, recent),
        )

    def _anchors(self, month: date, recent: pl.DataFrame) -> Mapping[str, Anchor]:
        """What came before this month: on the first two days of it, partly not yet closed."""
        anchors = self.past.anchors(month)
        open_days = recent.filter(pl.col("day") < month)
        if not open_days.height:
            return anchors
        found = dict(anchors)
        columns = inverter_record.day_columns(open_days)
        nothing = inverter_record.quarters_of(quarters.QUARTER_SCHEMA.to_frame())
        for serial, (begin, end) in spans(open_days["inverter_sn"]).items():
            part = inverter_record.days_between(columns, begin, end)
            record = InverterRecord(
                serial_number=serial,
                pac0=PAC0_MAX,
                quarters=nothing,
                days=part,
                anchor=found.get(serial),
            )
            flows = tuple(float(value) for value in _sums(part))
            new = inverter_record.anchor(record.counter(), flows, found.get(serial))
            if new is not None:
                found[serial] = new
        return found


def _sums(days: Days) -> list[float]:
    import numpy as np

    return [float(value) for value in np.nansum(days.flows_wh, axis=1)]


def _snapshot(
    version: int,
    month: date,
    *,
    latest: pl.DataFrame | None = None,
    found: pl.DataFrame | None = None,
    quarters_from: datetime | None = None,
    days: pl.DataFrame | None = None,
    anchors: Mapping[str, Anchor] | None = None,
) -> Snapshot:
    if latest is None:
        latest = pl.DataFrame(schema={"inverter_sn": pl.String})
    found = quarters.QUARTER_SCHEMA.to_frame() if found is None else found
    days = quarters.SUMMARY_SCHEMA.to_frame() if days is None else days
    return Snapshot(
        version=version,
        month=month,
        quarters_from=quarters_from,
        latest=latest,
        latest_place={serial: n for n, serial in enumerate(latest["inverter_sn"].to_list())},
        quarters=found,
        quarter_columns=inverter_record.quarter_columns(found),
        quarter_span=spans(found["inverter_sn"]),
        days=days,
        day_columns=inverter_record.day_columns(days),
        day_span=spans(days["inverter_sn"]),
        anchors=anchors or {},
    )


def _midnight(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
