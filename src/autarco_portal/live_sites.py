"""What does one site look like now, computed once for all who ask?

Between store and fleet: a site's record is read at most every few seconds, its view computed once
per snapshot. A program that polls five addresses of a site asks for one view. What is read from
here is `SiteRecord` and `SiteView`; whether somebody may see them is not asked here.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from autarco_portal import inverter_record, quarters, site_view, weather_sun
from autarco_portal.counter import instant
from autarco_portal.energy import midnights
from autarco_portal.inverter_day import DAYLIGHT_ELEVATION
from autarco_portal.remembered import Believed, Remembered
from autarco_portal.shown_totals import hanging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from autarco_portal.inverter_record import InverterRecord
    from autarco_portal.live_fleet import Fleet, Snapshot
    from autarco_portal.shown_totals import ShownTotals
    from autarco_portal.site import Inverter
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.site_view import Silence, SiteView

SITES_MAX = 50_000
"""Of which something is remembered; some kilobytes each."""
HISTORIES_MAX = 2_000
REPLACED_WITHIN = timedelta(days=31)
"""An inverter that comes so soon after another one went takes its place."""
LISTED_AFTER = timedelta(days=31)
"""How long one that was taken down stays in the list: programs stumble where it vanishes."""
_FAR = 1 << 62
_DAY_US = 86_400_000_000

Seen: TypeAlias = "tuple[str, datetime | None]"
"""A site by its key, and since when it is seen."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of some days by quarter of an hour, for each inverter and meter of a site."""

    power: dict[str, dict[datetime, int | None]]
    silent: tuple[Silence, ...]


class Views:
    """Sites as they are now."""

    def __init__(
        self,
        fleet: Fleet,
        load: Callable[[str], SiteRecord | None],
        *,
        revision: Callable[[], int],
        totals: ShownTotals,
    ) -> None:
        """`load` reads a site's record from the store, `revision` is the store's."""
        self.fleet = fleet
        self._load = load
        self._revision = revision
        self._totals = totals
        self._records: Believed[str, SiteRecord] = Believed(SITES_MAX, revision)
        # Two who may see one site since different moments see two sites.
        self._views: Remembered[Seen, tuple[tuple[int, datetime, datetime], SiteView]] = Remembered(
            SITES_MAX
        )
        self._histories: Remembered[tuple[object, ...], inverter_record.Days] = Remembered(
            HISTORIES_MAX
        )
        self._parts: Remembered[tuple[object, ...], pl.DataFrame] = Remembered(HISTORIES_MAX)

    def record(self, public_key: str, now: datetime) -> SiteRecord | None:
        """Returns a site by its key, None if there is none.

        What this process changed shows at once, what another one changed some seconds later.
        """
        known = self._records.get(public_key, now)
        if known is not None:
            return known
        revision = self._revision()
        record = self._load(public_key)
        if record is not None:
            # What does not exist is not remembered: there is no end of wrong keys.
            self._records.put(public_key, record, now, revision)
        return record

    def view(self, site: SiteRecord, now: datetime) -> SiteView:
        """Returns a site now; raises NotReady before the lake was read."""
        snapshot = self.fleet.snapshot
        minute = now.replace(second=0, microsecond=0)
        key = (snapshot.version, minute, site.updated_at)
        seen = (site.public_key, site.seen_from)
        found = self._views.get(seen)
        if found is not None and found[0] == key:
            return found[1]
        records = self.inverters(site, snapshot, now)
        view = site_view.site_view(records, now=now, time_zone=site.time_zone)
        view = self._totals.raised(
            site.public_key, view, hung=hanging(site.inverters), seen_from=site.seen_from
        )
        self._views.put(seen, (key, view))
        return view

    def keep_totals(self, sites: Callable[[], Set[str]]) -> None:
        """Writes down which totals were shown, of inverters that the lake knows still.

        `sites` gives those that have inverters, by key; of others nothing is kept. Raises NotReady
        before the lake was read, OSError, and what `sites` raises.
        """
        snapshot = self.fleet.snapshot
        if snapshot.version:
            self._totals.forget_gone(snapshot.inverters(), sites())
        self._totals.keep()

    def listed(self, site: SiteRecord, view: SiteView) -> SiteView:
        """Returns a view without inverters that were taken down long ago; sums keep them."""
        gone = {
            one.serial_number
            for one in site.inverters
            if one.uninstalled_at is not None and view.now - one.uninstalled_at > LISTED_AFTER
        }
        kept = tuple(one for one in view.inverters if one.serial_number not in gone)
        return msgspec.structs.replace(view, inverters=kept)

    def inverters(
        self, site: SiteRecord, snapshot: Snapshot, now: datetime
    ) -> list[InverterRecord]:
        """Returns what is known of each inverter for the time that it hangs or hung there.

        As far as it may be seen (`SiteRecord.seen_from`).
        """
        result = []
        for one in site.inverters:
            record = snapshot.record(
                one.serial_number,
                pac0=one.pac0,
                is_replacement=_is_replacement(one, site.inverters),
            )
            begin, end = site.span(one)
            first_us, begin_us = record.first_us(), instant(begin)
            # A stick may be mounted some hours before somebody writes it down: an inverter that
            # was never heard before that is new, and what its counter tells of that day is ours.
            margin_us = 0 if begin > one.installed_at else _DAY_US
            came_used = first_us is not None and first_us < begin_us - margin_us
            if came_used or end is not None:
                end_us = instant(end) if end is not None else _FAR
                days = self._history(one, site, now, begin=begin, end=end)
                record = msgspec.structs.replace(record, days=days)
                record = inverter_record.between(record, begin_us, end_us)
                record = msgspec.structs.replace(record, is_gone=end is not None)
            result.append(record)
        return result

    def series(
        self, site: SiteRecord, now: datetime, *, first: date, last: date, minutes: int = 15
    ) -> Series:
        """Returns power by quarter of an hour on some local days, asking the lake for older ones.

        Raises NotReady, CatalogError.
        """
        found = self.quarters(site, now, first=first, last=last)
        power = site_view.power_by_quarter(
            [(one.quarter_us, one.values["ac_power"]) for one in found.values()],
            first=first,
            last=last,
            time_zone=site.time_zone,
            minutes=minutes,
        )
        edges = midnights(first, last, site.time_zone)
        silent = site_view.silences(
            [one.quarter_us[one.quarter_us < edges[-1]] for one in found.values()],
            begin_us=int(edges[0]),
            now_us=min(instant(now), int(edges[-1])),
            time_zone=site.time_zone,
            is_day=lambda at: (
                weather_sun.elevation(site.latitude, site.longitude, at) > DAYLIGHT_ELEVATION
            ),
        )
        return Series(power=dict(zip(found, power, strict=True)), silent=silent)

    def quarters(
        self, site: SiteRecord, now: datetime, *, first: date, last: date
    ) -> dict[str, inverter_record.Quarters]:
        """Returns the quarters of each inverter on some local days, in the snapshot or the lake."""
        snapshot = self.fleet.snapshot
        edges = midnights(first, last, site.time_zone)
        in_memory = snapshot.quarters_from
        if in_memory is not None and int(edges[0]) >= instant(in_memory):
            return {
                one.serial_number: inverter_record.quarters_within(
                    record.quarters, *_span_us(site, one)
                )
                for one, record in zip(
                    site.inverters, self.inverters(site, snapshot, now), strict=True
                )
            }
        serials = [one.serial_number for one in site.inverters]
        begins, ends = (_moment(int(edges[n])) for n in (0, -1))
        rows = self.fleet.lake.readings(serials, begins, ends, quarters.READ)
        frame = quarters.quarters(pl.DataFrame(pl.from_arrow(rows)))
        result = {}
        for one in site.inverters:
            mine = frame.filter(pl.col("inverter_sn") == one.serial_number)
            result[one.serial_number] = inverter_record.quarters_within(
                inverter_record.quarters_of(mine), *_span_us(site, one)
            )
        return result

    def energy(
        self, site: SiteRecord, now: datetime, days: Sequence[date]
    ) -> dict[str, dict[date, int | None]]:
        """Returns whole kWh of each inverter between the midnights that begin `days`.

        The last of `days` ends the last part. Parts that nobody measured are None; parts that have
        not begun are left out.
        """
        zone = ZoneInfo(site.time_zone)
        today = now.astimezone(zone).date()
        parts = [day for day in days[:-1] if day <= today]
        if not parts:
            return {one.serial_number: {} for one in site.inverters}
        view = self.view(site, now)
        if parts[0] >= today.replace(day=1) and len(parts) == (parts[-1] - parts[0]).days + 1:
            return {
                one.serial_number: {day: one.days.get(day) for day in parts}
                for one in view.inverters
            }
        edges = [int(midnights(day, day, site.time_zone)[0]) for day in days]
        until = [min(edge, instant(now)) for edge in edges[: len(parts) + 1]]
        result = {}
        for one, record in zip(
            site.inverters, self.inverters(site, self.fleet.snapshot, now), strict=True
        ):
            whole = self._whole(one, site, record, now)
            counter = whole.counter()
            register = np.floor(
                (whole.first_wh(counter) + whole.made(counter, np.array(until))) / 1_000
            )
            at = np.concatenate((whole.days.sample_at_us, whole.quarters.counter_at_us))
            known = np.histogram(at, bins=until)[0] > 0
            result[one.serial_number] = {
                day: int(kwh) if known[n] else None
                for n, (day, kwh) in enumerate(zip(parts, np.diff(register), strict=True))
            }
        return result

    def first_day(self, site: SiteRecord) -> date:
        """Returns since when a site may have readings."""
        begins = [one.installed_at.date() for one in site.inverters]
        first = min([site.commissioned_on or site.created_at.date(), *begins])
        if site.seen_from is None:
            return first
        return max(first, site.seen_from.astimezone(ZoneInfo(site.time_zone)).date())

    def flows(
        self, site: SiteRecord, now: datetime, name: str, days: Sequence[date]
    ) -> dict[date, float | None]:
        """Returns Wh of one of `quarters.FLOWS` of a site, by day or longer part."""
        place = quarters.FLOWS.index(name)
        today = now.astimezone(ZoneInfo(site.time_zone)).date()
        records = [
            self._whole(one, site, record, now)
            for one, record in zip(
                site.inverters, self.inverters(site, self.fleet.snapshot, now), strict=True
            )
        ]
        result: dict[date, float | None] = {}
        for begin, end in itertools.pairwise(days):
            if begin > today:
                break
            sums = []
            for record in records:
                ordinal = record.days.ordinal
                here = (ordinal >= begin.toordinal()) & (ordinal < end.toordinal())
                wh = record.days.flows_wh[place][here]
                if np.isfinite(wh).any():
                    sums.append(float(np.nansum(wh)))
            # One house has one grid connection; batteries add up.
            is_grid = name in {"consumption_wh", "import_wh", "export_wh"}
            result[begin] = (max(sums) if is_grid else sum(sums)) if sums else None
        return result

    def _whole(
        self, one: Inverter, site: SiteRecord, record: InverterRecord, now: datetime
    ) -> InverterRecord:
        if record.anchor is None:
            return record
        return msgspec.structs.replace(record, anchor=None, days=self._history(one, site, now))

    def _history(
        self,
        one: Inverter,
        site: SiteRecord,
        now: datetime,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
    ) -> inverter_record.Days:
        """All summaries of an inverter: those kept of past dates, and the last days'.

        From `begin` until `end`: of the days on which these fall, only the part between.
        """
        snapshot = self.fleet.snapshot
        key = (one.serial_number, site.time_zone, snapshot.version, begin, end)
        found = self._histories.get(key)
        if found is not None:
            return found
        today = now.astimezone(UTC).date()
        past = self.fleet.past.days(
            date(2000, 1, 1), today + timedelta(days=1), [one.serial_number]
        )
        first, last = snapshot.quarter_span.get(one.serial_number, (0, 0))
        recent = quarters.day_summaries(snapshot.quarters[first:last], {}, otherwise=site.time_zone)
        summed = quarters.merged([past, recent])
        zone, day = ZoneInfo(site.time_zone), pl.col("day")
        if begin is not None:
            summed = summed.filter(day >= begin.astimezone(zone).date())
        if end is not None:
            summed = summed.filter(day <= end.astimezone(zone).date())
        # Summaries are of whole days; what is another's of a day is in none of them.
        shared = {at.astimezone(zone).date() for at in (begin, end) if at is not None}
        parts = [self._part(one, site, on, begin, end) for on in sorted(shared)]
        summed = pl.concat([summed.filter(day.is_in(list(shared)).not_()), *parts])
        days = inverter_record.days_of(summed.sort("inverter_sn", "day"))
        self._histories.put(key, days)
        return days

    def _part(
        self,
        one: Inverter,
        site: SiteRecord,
        day: date,
        begin: datetime | None,
        end: datetime | None,
    ) -> pl.DataFrame:
        """The summary of the part of a local day that lies between two moments."""
        snapshot = self.fleet.snapshot
        edges = midnights(day, day, site.time_zone)
        begins, ends = (_moment(int(edge)) for edge in edges)
        begins, ends = max(begins, begin or begins), min(ends, end or ends)
        if begins >= ends:
            return quarters.SUMMARY_SCHEMA.to_frame()
        if snapshot.quarters_from is not None and begins >= snapshot.quarters_from:
            first, last = snapshot.quarter_span.get(one.serial_number, (0, 0))
            at = pl.col("quarter")
            found = snapshot.quarters[first:last].filter(at >= begins, at < ends)
            return quarters.day_summaries(found, {}, otherwise=site.time_zone)
        key = (one.serial_number, site.time_zone, self.fleet.past.version, begins, ends)
        known = self._parts.get(key)
        if known is None:
            rows = self.fleet.lake.readings([one.serial_number], begins, ends, quarters.READ)
            found = quarters.quarters(pl.DataFrame(pl.from_arrow(rows)))
            known = quarters.day_summaries(found, {}, otherwise=site.time_zone)
            self._parts.put(key, known)
        return known


def _is_replacement(one: Inverter, all_: Sequence[Inverter]) -> bool:
    return any(
        other.uninstalled_at is not None
        # What hung for no time was written down by mistake.
        and other.uninstalled_at > other.installed_at
        and other.serial_number != one.serial_number
        and abs(one.installed_at - other.uninstalled_at) <= REPLACED_WITHIN
        for other in all_
    )


def _span_us(site: SiteRecord, one: Inverter) -> tuple[int, int]:
    begin, end = site.span(one)
    return instant(begin), instant(end) if end is not None else _FAR


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
