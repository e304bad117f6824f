"""What is on the page of a site? Put together from store, lake and derived tables.

What cannot be read is left out of the page rather than the page refused: somebody who looks for a
phone number needs no chart. Only a lake that is ill is said to be so.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from msgspec import Struct

from autarco_ingest import schema
from autarco_portal import alarm_record
from autarco_portal.energy import midnights
from autarco_portal.lake_reader import NoCatalogError
from autarco_portal.pages import models
from autarco_portal.pages.alarm_rows import alarm_row
from autarco_portal.pages.board import NOT_HEARD, since
from autarco_portal.pages.fleet import sites_now
from autarco_portal.pages.site_charts import (
    COLUMNS,
    DayEnergy,
    energy_chart,
    mppt_chart,
    power_chart,
)
from autarco_portal.portal import Portal, answering
from autarco_portal.site_health import Health
from autarco_portal.site_history import History, HistoryError, comparison
from autarco_portal.site_record import SiteRecord  # noqa: TC001 - msgspec looks at it
from autarco_portal.web_problems import NotReadYet, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autarco_portal.pages.board import Board, SiteNow
    from autarco_portal.pages.words import Words
    from autarco_portal.site_view import SiteView

SILENT_DAYS = 30
"""Days back over which times without data are listed."""
SILENT_MAX = 20
ALARMS_MAX = 10
"""Newest ones that a site's page lists; /alarms has them all."""
_MONTHS = 12


class SiteAt(Struct, frozen=True, kw_only=True):
    """A site, the day that is looked at, and what whoever looks may see of it."""

    record: SiteRecord
    now: datetime
    today: date
    earliest: date
    day: date
    shows_contact: bool
    shows_guarantee: bool
    shows_looks: bool


def site_page(
    portal: Portal, board: Board, history: History, at: SiteAt, words: Words
) -> models.SitePage:
    """Returns the page; raises Unavailable when readings or tables cannot be read."""
    record, day = at.record, at.day
    key, time_zone = record.public_key, record.time_zone
    here = since(sites_now(portal, board, at.now).get(key, NOT_HEARD), record.seen_from)
    view = _view(portal, at)
    heard = view is not None and any(one.at is not None for one in view.inverters)
    serials = _there(record, day, time_zone)
    readings = _readings(portal, record, serials, day)
    trackers = [mppt_chart(readings, one, day, time_zone, words) for one in serials]
    days = _history(history, record, day.year)
    months = [date(day.year, n, 1) for n in range(1, _MONTHS + 1)]
    month = months[day.month - 1]
    after = months[day.month] if day.month < _MONTHS else date(day.year + 1, 1, 1)
    in_month = [month + timedelta(days=n) for n in range((after - month).days)]
    by_day = _energies(portal, at, [*in_month, after])
    by_month = _energies(portal, at, [*months, date(day.year + 1, 1, 1)])
    # A month is compared over the days of which both are known, as its share would be wrong else.
    both = days.filter(pl.col("energy_kwh").is_not_null())
    expected = dict(days.select("date", "energy_expected_kwh").iter_rows())
    compared = dict(both.select("date", "energy_expected_kwh").iter_rows())
    contracts = portal.store.guarantees.of_site(key) if at.shows_guarantee else []
    all_alarms = [alarm_record.of_site(one, record) for one in portal.store.alarms.of_site(key)]
    alarms = [one for one in all_alarms if one is not None]
    address = record.address
    street = f"{address.street}, {address.postcode} " if at.shows_contact else ""
    return models.SitePage(
        site_id=key,
        name=record.name,
        address=f"{street}{address.city}",
        health=here.health,
        time_zone=time_zone,
        latest_at=here.latest_at,
        peak_kw=record.nominal_power / 1_000,
        power=here.power,
        today_kwh=view.pv.today if view is not None and heard else None,
        month_kwh=view.pv.month if view is not None and heard else None,
        total_kwh=view.pv.to_date if view is not None and heard else None,
        day=day,
        previous_day=day - timedelta(days=1) if day > at.earliest else None,
        next_day=day + timedelta(days=1) if day < at.today else None,
        earliest_day=at.earliest,
        power_chart=power_chart(readings, serials, day, time_zone, words),
        mppt_charts=tuple(chart for chart in trackers if chart is not None),
        month_chart=energy_chart(
            "month",
            words.month(month),
            {
                one: DayEnergy(energy_kwh=by_day.get(one), expected_kwh=expected.get(one))
                for one in in_month
            },
            words,
            by_month=False,
        ),
        year_chart=energy_chart(
            "year",
            str(day.year),
            {
                one: DayEnergy(energy_kwh=by_month.get(one), expected_kwh=_month_sum(compared, one))
                for one in months
            },
            words,
            by_month=True,
        ),
        comparisons=_comparisons(days, month, words),
        silent_times=_silent(portal, at),
        alarms=tuple(alarm_row(one, record.name) for one in alarms[:ALARMS_MAX]),
        inverters=_inverters(record, here, view),
        guarantee_id=contracts[-1].contract.contract_id if contracts else "",
        shows_people=at.shows_contact,
        shows_looks=at.shows_looks,
    )


def _view(portal: Portal, at: SiteAt) -> SiteView | None:
    try:
        return portal.view(at.record, at.now)
    except NotReadYet:
        return None


def _there(record: SiteRecord, day: date, time_zone: str) -> list[str]:
    """Inverters that hung there on a day and may be seen, the first that came first."""
    begin, end = midnights(day, day, time_zone).tolist()
    return [
        one.serial_number
        for one in sorted(record.inverters, key=lambda one: one.installed_at)
        if record.span(one)[0].timestamp() * 1_000_000 < end
        and (one.uninstalled_at is None or one.uninstalled_at.timestamp() * 1_000_000 > begin)
    ]


def _readings(
    portal: Portal, record: SiteRecord, serials: Sequence[str], day: date
) -> pl.DataFrame:
    """Of the time in which the inverters hung there and may be seen."""
    begins, ends = (
        datetime.fromtimestamp(edge / 1_000_000).astimezone()
        for edge in midnights(day, day, record.time_zone).tolist()
    )
    try:
        with answering():
            rows = portal.sites.fleet.lake.readings(serials, begins, ends, COLUMNS)
    except Unavailable as error:
        # Before the first reading of all there is no table to ask.
        if not isinstance(error.__cause__, NoCatalogError):
            raise
        kinds = {column.name: column.type for column in schema.READINGS.columns}
        rows = pa.schema([(name, kinds[name]) for name in COLUMNS]).empty_table()
    is_his = pl.lit(value=False)
    for one in record.inverters:
        begin, end = record.span(one)
        there = (pl.col("inverter_sn") == one.serial_number) & (pl.col("ts") >= begin)
        is_his |= there if end is None else there & (pl.col("ts") < end)
    return pl.DataFrame(pl.from_arrow(rows)).filter(is_his)


def _history(history: History, record: SiteRecord, year: int) -> pl.DataFrame:
    first, last = date(year, 1, 1), date(year, _MONTHS, 31)
    if record.seen_from_day is not None:
        first = min(max(first, record.seen_from_day), last)
    try:
        days = history.days(record.public_key, first, last)
    except HistoryError as error:
        raise Unavailable("the tables of past days cannot be read now") from error
    return days.filter(pl.col("date") >= (record.seen_from_day or first))


def _energies(portal: Portal, at: SiteAt, edges: Sequence[date]) -> Mapping[date, float]:
    """kWh of the whole site between edges; what one inverter does not know counts nothing."""
    try:
        found = portal.energy(at.record, at.now, edges)
    except NotReadYet:
        return {}
    sums: dict[date, float] = {}
    for parts in found.values():
        for part, kwh in parts.items():
            if kwh is not None:
                sums[part] = sums.get(part, 0.0) + kwh
    return sums


def _month_sum(expected: Mapping[date, float | None], month: date) -> float | None:
    """Expected energy of the days of a month that are known."""
    known = [
        kwh
        for day, kwh in expected.items()
        if kwh is not None and (day.year, day.month) == (month.year, month.month)
    ]
    return sum(known) if known else None


def _comparisons(days: pl.DataFrame, month: date, words: Words) -> tuple[models.Comparison, ...]:
    in_month = days.filter(pl.col("date").dt.month() == month.month)
    found = ((words.month(month), comparison(in_month)), (str(month.year), comparison(days)))
    return tuple(
        models.Comparison(
            period=period,
            energy_kwh=one.energy_kwh,
            expected_kwh=one.expected_kwh,
            performance_index=one.performance_index,
            performance_ratio=one.performance_ratio,
            peer_ratio=one.peer_ratio,
            peers=one.peers,
            availability=one.availability,
        )
        for period, one in found
        if one.energy_kwh is not None or one.availability is not None
    )


def _silent(portal: Portal, at: SiteAt) -> tuple[models.SilentTime, ...]:
    """The newest first."""
    first = max(at.today - timedelta(days=SILENT_DAYS), at.earliest)
    try:
        found = portal.series(at.record, at.now, first=first, last=at.today, minutes=15).silent
    except NotReadYet:
        return ()
    except Unavailable as error:
        if not isinstance(error.__cause__, NoCatalogError):
            raise
        return ()
    return tuple(models.SilentTime(start=one.start, end=one.end) for one in found[::-1])[
        :SILENT_MAX
    ]


def _inverters(
    record: SiteRecord, here: SiteNow, view: SiteView | None
) -> tuple[models.InverterRow, ...]:
    known = {one.serial_number: one for one in view.inverters} if view is not None else {}
    rows = []
    for one in record.inverters:
        now = known.get(one.serial_number)
        is_heard = now is not None and now.at is not None
        rows.append(
            models.InverterRow(
                serial_number=one.serial_number,
                rated_kw=one.pac0 / 1_000,
                health=here.inverters.get(one.serial_number, Health.UNMONITORED),
                power=now.power if now is not None and is_heard else None,
                total_kwh=now.energy_total if now is not None and is_heard else None,
                latest_at=now.at if now is not None else None,
                is_installed=one.uninstalled_at is None,
            )
        )
    return tuple(rows)
