"""How do the days of a fleet become derived tables, one after the other, each only when it must?

Which days must be done is the business of `analysis_days`. A day stands on what the days before it
left behind (`detector_state`, `peer_ratio`, `inverter_day`), which it reads from the tables: doing
days one by one gives what doing them at once gives.

Readings, weather and tables come in as objects that read and write; this file only says in which
order. It is the portal's only writer of derived tables.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
import polars as pl

from autarco_portal import derived, derived_rows, fleet_sky
from autarco_portal.analysis_climate import Climates
from autarco_portal.analysis_days import DAY, LOOK_BACK_DAYS, Days, between, span
from autarco_portal.day_analysis import Rules, SiteDay, analyse_day
from autarco_portal.derived_store import frame
from autarco_portal.fleet import Fleet, fleet, units
from autarco_portal.fleet_edges import edges, silent_at_an_end
from autarco_portal.fleet_grid import COLUMNS, fleet_grid
from autarco_portal.fleet_memory import Memories, SiteMemory, days_remembered, states
from autarco_portal.peers import NOBODY
from autarco_portal.site import Site, SiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pyarrow as pa

    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.fleet import Unit
    from autarco_portal.fleet_sky import ClearDays, WeatherDays
    from autarco_portal.incidents import Incident
    from autarco_portal.weather_store import Index

AROUND = timedelta(days=31)
"""So far from a silent day its neighbouring readings are looked for."""
CHUNK_SITE_DAYS = 30_000
"""Site-days whose skies are computed together: 35 MB each per thousand of them."""
CHUNK_DAYS = 31


class Readings(Protocol):
    """What analysis asks of the lake (`lake_reader.LakeReader`)."""

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Returns readings of a span."""

    def daily_energy(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """Returns energy by counters."""

    def received(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """Returns what came per hour."""

    def around(
        self, inverters: Collection[str], begins: datetime, ends: datetime, within: timedelta
    ) -> pa.Table:
        """Returns readings next to a span."""


class Weather(Protocol):
    """What analysis asks of the weather table (`weather_store.WeatherStore`)."""

    def index(self) -> Index:
        """Returns the stations and files."""

    def rows(
        self, begins: datetime, ends: datetime, stations: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Returns hours."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which days to do, of which sites."""

    first: date
    last: date
    site_ids: frozenset[str] | None = None
    """None for all; others serve as neighbours only, and their rows stay as they are."""
    again: bool = False
    """Even where nothing changed."""


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one day brought."""

    day: date
    sites: int
    with_energy: int
    energy_kwh: float
    clearsky_kwh: float
    performance_index: float | None
    """Of all sites with energy and weather, sum over sum."""
    found: tuple[Incident, ...]
    closed: tuple[Incident, ...]
    still_open: int


class AnalysisError(Exception):
    """The days cannot be analysed as asked; the message is one sentence."""


def analyse(
    sites: Sequence[Site],
    lake: Readings,
    weather: Weather,
    store: DerivedStore,
    plan: Plan,
    *,
    clock: Callable[[date], datetime],
    rules: Rules | None = None,
    begun: Callable[[int], None] = lambda days: None,
    done: Callable[[DayReport], None] = lambda report: None,
    modelled: Callable[[int, int], None] = lambda now, total: None,
) -> list[DayReport]:
    """Does the days of the plan that must be done, and returns what they brought.

    `clock` says what time it is when a day is analysed. `begun` hears how many days there are,
    `done` each of them, `modelled` of sites whose years of weather were modelled: now, and in all.
    Raises AnalysisError, SiteError, and what lake, weather and store raise.
    """
    run = _Run(sites, lake, weather, store, plan, clock, rules or Rules(), modelled)
    return run.run(begun, done)


class _Run:
    """One analysis."""

    def __init__(
        self,
        sites: Sequence[Site],
        lake: Readings,
        weather: Weather,
        store: DerivedStore,
        plan: Plan,
        clock: Callable[[date], datetime],
        rules: Rules,
        modelled: Callable[[int, int], None],
    ) -> None:
        self.lake, self.weather, self.store = lake, weather, store
        self.plan, self.clock, self.rules = plan, clock, rules
        self.everybody = fleet(sites, rules.peers)
        self.fleet = self._chosen()
        self.serials = sorted(
            {one.serial_number for site in self.fleet.sites for one in site.inverters}
        )
        self.index = weather.index()
        self.climates = Climates(store, weather, modelled)
        self.now = datetime.min.replace(tzinfo=UTC)

    def _chosen(self) -> Fleet:
        """All sites, or those of the plan with their neighbours."""
        wanted = self.plan.site_ids
        if wanted is None:
            return self.everybody
        names = self.everybody.site_ids
        if unknown := wanted - set(names):
            raise SiteError(f"there is no site {sorted(unknown)[0]}")
        rows = {row for row, name in enumerate(names) if name in wanted}
        peer = self.everybody.neighbours.peer[sorted(rows)]
        rows |= set(peer[peer != NOBODY].tolist())
        return fleet([self.everybody.sites[row] for row in sorted(rows)], self.rules.peers)

    def run(
        self, begun: Callable[[int], None], done: Callable[[DayReport], None]
    ) -> list[DayReport]:
        self.incidents = derived_rows.incidents_of(self.store.everything(derived.ALARMS))
        days = self._due()
        begun(len(days))
        if not days:
            return []
        self._remember(days[0], days[-1])
        chunk = max(1, min(CHUNK_DAYS, CHUNK_SITE_DAYS // len(self.fleet.sites)))
        reports = []
        for number in range(0, len(days), chunk):
            reports += self._chunk(days[number : number + chunk], done)
        return reports

    def _due(self) -> list[date]:
        """The days to do; some sites alone are done as asked."""
        plan = self.plan
        rows = self.store.everything(derived.ANALYSED_DAYS).iter_rows(named=True)
        known = {row["date"]: row for row in rows}
        first = plan.first - (LOOK_BACK_DAYS + 1) * DAY
        came = self.lake.received(self.serials, first, max([plan.last, *known]) + DAY)
        self.days = Days(
            received={
                row["hour"]: (row["readings"], row["received_at"]) for row in came.to_pylist()
            },
            index=self.index,
            time_zone=self.fleet.time_zone,
            sites=len(self.fleet.sites),
            rules=self.rules.version,
        )
        if plan.site_ids is not None:
            return between(plan.first, plan.last)
        return self.days.due(plan.first, plan.last, known, again=plan.again)

    # --- what is remembered -------------------------------------------------------------

    def _remember(self, first: date, last: date) -> None:
        ids = self.fleet.site_ids
        oldest = first - days_remembered(self.rules.detection) * DAY
        rows = self.store.read(derived.PEER_RATIO, oldest, first - DAY)
        # Room for years of which nothing is known would only slow the seasons down.
        begin = rows["date"].min() if len(rows) else first
        assert isinstance(begin, date)  # noqa: S101 - a column of dates
        self.memory = SiteMemory(begin, last, ids)
        self.memory.load(rows)
        self.memories = Memories(self.rules.intraday)
        back = first - self.memories.days * DAY
        self.memories.load(self.store.read(derived.INVERTER_DAY, back, first - DAY))
        before = self.store.read(derived.DETECTOR_STATE, first - DAY, first - DAY)
        self.state = states(before, ids, self.rules.detection)

    # --- some days ----------------------------------------------------------------------

    def _chunk(self, days: Sequence[date], done: Callable[[DayReport], None]) -> list[DayReport]:
        first, last = days[0], days[-1]
        clear = fleet_sky.clear_days(self.fleet, first, last)
        begins, ends = span(first, self.fleet.time_zone)[0], span(last, self.fleet.time_zone)[1]
        under = fleet_sky.weather_days(
            self.fleet, self.index.stations, self.weather.rows(begins, ends), first, last
        )
        climate = self.climates.of(self.fleet, self.index)
        tables: dict[derived.Derived, list[pl.DataFrame]] = {}
        reports = []
        for number, day in enumerate(days):
            weather = _day_weather(under, number)
            found, rows = self._day(day, clear.of_day(number), weather, climate.of_day(day))
            for table, part in rows.items():
                tables.setdefault(table, []).append(part)
            report = self._report(found, clear.energy_kwh[number], weather.energy_kwh)
            self.incidents = self._kept(found)
            reports.append(report)
            done(report)
        self._write(tables, days)
        return reports

    def _day(
        self,
        day: date,
        clear: ClearDays,
        weather: derived_rows.DayWeather,
        climate: derived_rows.Climate,
    ) -> tuple[SiteDay, dict[derived.Derived, pl.DataFrame]]:
        begins, ends = span(day, self.fleet.time_zone)
        present = units(self.fleet.sites, begins, ends)
        serials = [unit.serial_number for unit in present]
        readings = self.lake.readings(serials, begins, ends, COLUMNS)
        grid = fleet_grid(readings, present, day=day, begins=begins, ends=ends)
        energy = _lake_energy(self.lake.daily_energy(serials, day, day), present)
        silent = silent_at_an_end(grid, clear)
        around = self.lake.around(silent, begins, ends, AROUND) if silent else None
        # Two days are never done in one second: incidents are named by it.
        self.now = max(self.clock(day), self.now + timedelta(seconds=1))
        found = analyse_day(
            self.fleet,
            grid,
            clear,
            energy_kwh=energy["energy_kwh"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            weather_kwh=weather.energy_kwh,
            temp_air=weather.temp_air,
            snow=weather.snow,
            edges=edges(grid, clear, silent, around),
            memory=self.memory,
            memories=self.memories,
            state=self.state,
            incidents=self.incidents,
            now=self.now,
            rules=self.rules,
        )
        self.state = found.state
        return found, derived_rows.rows_of(self.fleet, grid, clear, weather, climate, energy, found)

    def _kept(self, found: SiteDay) -> list[Incident]:
        """The incidents after the day; of sites that only serve as neighbours those before."""
        wanted = self.plan.site_ids
        if wanted is None:
            return found.incidents
        return [one for one in self.incidents if one.site_id not in wanted] + [
            one for one in found.incidents if one.site_id in wanted
        ]

    def _report(self, found: SiteDay, clear_kwh: object, expected: object) -> DayReport:
        before = {one.incident_id: one for one in self.incidents}
        after = self._kept(found)
        made = found.energy_kwh
        known = np.isfinite(made)
        asked = np.asarray(expected, float)
        both = known & np.isfinite(asked)
        index = None
        if both.any() and asked[both].sum() > 0:
            index = float(made[both].sum() / asked[both].sum())
        return DayReport(
            day=found.day,
            sites=len(made),
            with_energy=int(known.sum()),
            energy_kwh=float(made[known].sum()),
            clearsky_kwh=float(np.asarray(clear_kwh, float)[known].sum()),
            performance_index=index,
            found=tuple(one for one in after if one.incident_id not in before),
            closed=tuple(
                one
                for one in after
                if one.closed_at is not None
                and (was := before.get(one.incident_id)) is not None
                and was.closed_at is None
            ),
            still_open=sum(one.is_open for one in after),
        )

    def _write(
        self, tables: dict[derived.Derived, list[pl.DataFrame]], days: Sequence[date]
    ) -> None:
        """Writes the tables, then that the days are done: what breaks in between is repeated."""
        wanted = self.plan.site_ids
        ids = self.fleet.site_ids if wanted is None else sorted(wanted)
        for table, parts in tables.items():
            rows = pl.concat(parts).filter(pl.col("site_id").is_in(ids))
            self.store.put(table, rows, days, ids)
        self.store.replace_all(
            derived.ALARMS, derived_rows.incident_rows(self.incidents, self.fleet.time_zone)
        )
        if wanted is None:
            self.store.put(derived.ANALYSED_DAYS, self._analysed(days), days)

    def _analysed(self, days: Sequence[date]) -> pl.DataFrame:
        came = [self.days.came(day) for day in days]
        return frame(
            derived.ANALYSED_DAYS,
            {
                "date": list(days),
                "sites": [len(self.fleet.sites)] * len(days),
                "inverters": [len(self.serials)] * len(days),
                "readings": [one.readings for one in came],
                "received_at": [one.received_at for one in came],
                "weather": [one.weather for one in came],
                "rules": [self.rules.version] * len(days),
                "analysed_at": [self.now] * len(days),
            },
        )


def _lake_energy(table: pa.Table, present: Sequence[Unit]) -> pl.DataFrame:
    """A row for each inverter, in their order; `missing` where the lake knows nothing."""
    names = pl.DataFrame(
        {"inverter_sn": [unit.serial_number for unit in present]}, schema={"inverter_sn": pl.String}
    )
    return names.join(
        pl.DataFrame(table), on="inverter_sn", how="left", maintain_order="left"
    ).with_columns(
        pl.when(pl.col("energy_kwh").is_null())
        .then(pl.lit("missing"))
        .otherwise(pl.col("method"))
        .alias("method")
    )


def _day_weather(days: WeatherDays, number: int) -> derived_rows.DayWeather:
    return derived_rows.DayWeather(
        energy_kwh=days.energy_kwh[number],
        yr=days.yr[number],
        yr_25c=days.yr_25c[number],
        temp_air=days.temp_air[number],
        snow=days.snow[number],
        sources=days.sources,
    )
