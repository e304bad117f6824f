"""Which rows of the derived tables does an analysed day make?

Pure: values in, rows out. The columns are those of `derived`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from autarco_portal import derived
from autarco_portal.derived_store import frame
from autarco_portal.incidents import Incident, State, Verdict
from autarco_portal.performance_expected import MODEL_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import numpy.typing as npt
    import polars as pl

    from autarco_portal.day_analysis import SiteDay
    from autarco_portal.fleet import Fleet
    from autarco_portal.fleet_grid import FleetGrid
    from autarco_portal.fleet_sky import ClearDays
    from autarco_portal.peers import Floats
    from autarco_portal.weather import WeatherSource

METHODS = ("today", "total", "estimated", "missing")
"""Of a day's energy, from the surest to none."""


class Climate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a day of the year gives on average, per site."""

    energy_kwh: Floats
    source: list[str | None]


class DayWeather(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The weather's part of one day; arrays per site."""

    energy_kwh: Floats
    yr: Floats
    yr_25c: Floats
    temp_air: Floats
    snow: npt.NDArray[np.bool_]
    sources: tuple[WeatherSource | None, ...]


def rows_of(
    fleet: Fleet,
    grid: FleetGrid,
    clear: ClearDays,
    weather: DayWeather,
    climate: Climate,
    lake_energy: pl.DataFrame,
    found: SiteDay,
) -> dict[derived.Derived, pl.DataFrame]:
    """Returns the day's rows by table, but for the incidents, which are not of a day.

    `lake_energy` is what the lake says of the day, a row for each inverter of the grid.
    """
    sites = len(fleet.sites)
    keys: dict[str, Any] = {"site_id": fleet.site_ids, "date": [found.day] * sites}
    by_site: list[list[int]] = [[] for _ in range(sites)]
    for row, unit in enumerate(grid.units):
        by_site[unit.site].append(row)
    return {
        derived.DAILY_ENERGY: _daily_energy(fleet, grid, clear, lake_energy, found),
        derived.EXPECTED: _expected(keys, clear, weather, climate),
        derived.SITE_DAY: _site_day(fleet, keys, grid, lake_energy, found, by_site),
        derived.PEER_RATIO: _peer_ratio(keys, found),
        derived.PERFORMANCE_RATIO: _performance(fleet, keys, weather, found),
        derived.AVAILABILITY: _availability(keys, grid, found, by_site),
        derived.INVERTER_DAY: _inverter_day(fleet, found),
        derived.DETECTOR_STATE: _state(keys, found),
    }


def _daily_energy(
    fleet: Fleet,
    grid: FleetGrid,
    clear: ClearDays,
    lake_energy: pl.DataFrame,
    found: SiteDay,
) -> pl.DataFrame:
    site = grid.site
    usual = np.exp(np.nan_to_num(found.detection.baseline[0]))
    likely = found.comparison.expected_kwh[0] * usual / (fleet.pdc0_kw * 1_000)
    pdc0 = np.array([unit.pdc0 for unit in grid.units])
    energy = found.units.energy_kwh
    expected_steps = np.count_nonzero(clear.sun_elevation > 3, axis=1)[clear.cell[site]]
    return frame(
        derived.DAILY_ENERGY,
        {
            "site_id": [fleet.sites[row].site_id for row in site.tolist()],
            "date": [found.day] * len(site),
            "inverter_sn": [unit.serial_number for unit in grid.units],
            "energy_kwh": energy,
            "energy_integral_kwh": lake_energy["energy_integral_kwh"],
            "energy_estimated_kwh": np.where(np.isnan(energy), likely[site] * pdc0, np.nan),
            "energy_gap_kwh": lake_energy["energy_gap_kwh"],
            "method": lake_energy["method"],
            "n_rows": lake_energy["readings"].fill_null(0),
            "n_expected": expected_steps,
            "coverage": found.units.coverage,
            "n_resets": lake_energy["n_resets"].fill_null(0),
            "gap_max_s": lake_energy["gap_max_s"],
        },
    )


def _expected(
    keys: dict[str, Any], clear: ClearDays, weather: DayWeather, climate: Climate
) -> pl.DataFrame:
    sources = weather.sources
    return frame(
        derived.EXPECTED,
        {
            **keys,
            "energy_clearsky_kwh": clear.energy_kwh[0],
            "energy_expected_kwh": weather.energy_kwh,
            "energy_climate_kwh": climate.energy_kwh,
            "temp_air": weather.temp_air,
            "snow": weather.snow,
            "weather_source": [None if one is None else str(one) for one in sources],
            "weather_sha256": [
                None if one is None else "+".join(one.source_file_sha256) for one in sources
            ],
            "climate_source": climate.source,
            "model_version": [MODEL_VERSION] * len(sources),
        },
    )


def _site_day(
    fleet: Fleet,
    keys: dict[str, Any],
    grid: FleetGrid,
    lake_energy: pl.DataFrame,
    found: SiteDay,
    by_site: list[list[int]],
) -> pl.DataFrame:
    sites = len(fleet.sites)
    numbers = {
        name: np.full(sites, np.nan)
        for name in (
            "pac_max", "minutes_producing", "minutes_clipped", "ac_voltage_max_l1",
            "ac_voltage_max_l2", "ac_voltage_max_l3", "minutes_over_253", "minutes_tripped",
            "curtailed_kwh", "mppt_ratio",
        )
    }  # fmt: skip
    methods = lake_energy["method"].to_list()
    method: list[str] = ["missing"] * sites
    voltage = np.fmax.reduce(grid.ac_voltage, axis=2, initial=np.nan)
    for site, rows in enumerate(by_site):
        if not rows:
            continue
        inverters = [found.inverters[row] for row in rows]
        power = np.nan_to_num(grid.ac_power[rows]).sum(axis=0)
        heard = grid.present[rows].any()
        numbers["pac_max"][site] = power.max() if heard else np.nan
        for phase in range(3):
            highest = np.fmax.reduce(voltage[phase, rows])
            numbers[f"ac_voltage_max_l{phase + 1}"][site] = highest
        numbers["minutes_producing"][site] = max(
            one.availability.producing_minutes for one in inverters
        )
        numbers["minutes_clipped"][site] = max(one.minutes_clipped for one in inverters)
        numbers["minutes_over_253"][site] = max(one.minutes_over_limit for one in inverters)
        numbers["minutes_tripped"][site] = max(one.minutes_tripped for one in inverters)
        numbers["curtailed_kwh"][site] = sum(one.curtailed_kwh for one in inverters)
        numbers["mppt_ratio"][site] = np.fmin.reduce([one.mppt_ratio for one in inverters])
        method[site] = max((methods[row] for row in rows), key=METHODS.index)
    return frame(
        derived.SITE_DAY,
        {
            **keys,
            "energy_kwh": found.energy_kwh,
            "specific_yield": found.energy_kwh / fleet.pdc0_kw,
            **numbers,
            "coverage": found.coverage,
            "method": method,
        },
    )


def _peer_ratio(keys: dict[str, Any], found: SiteDay) -> pl.DataFrame:
    beside, seen = found.comparison, found.detection
    return frame(
        derived.PEER_RATIO,
        {
            **keys,
            "n_peers": beside.n_peers[0],
            "peer_yield": beside.peer_yield[0],
            "index_own": beside.index_own[0],
            "index_peer_median": beside.index_peer_median[0],
            "ratio": beside.ratio[0],
            "log_residual": beside.log_residual[0],
            "baseline": seen.baseline[0],
            "sigma": seen.sigma[0],
            "z": seen.z[0],
            "cusum": seen.cusum[0],
            "usable": seen.usable[0],
            "held": found.held,
            "compared_with": beside.method,
            "model_version": [f"{beside.model_version} {seen.model_version}"] * len(found.held),
        },
    )


def _performance(
    fleet: Fleet, keys: dict[str, Any], weather: DayWeather, found: SiteDay
) -> pl.DataFrame:
    yf = found.energy_kwh / fleet.pdc0_kw
    return frame(
        derived.PERFORMANCE_RATIO,
        {
            **keys,
            "yr": weather.yr,
            "yr_25c": weather.yr_25c,
            "yf": yf,
            "pr": _over(yf, weather.yr),
            "pr_25c": _over(yf, weather.yr_25c),
            "performance_index": _over(found.energy_kwh, weather.energy_kwh),
            "weather_source": [None if one is None else str(one) for one in weather.sources],
        },
    )


def _availability(
    keys: dict[str, Any], grid: FleetGrid, found: SiteDay, by_site: list[list[int]]
) -> pl.DataFrame:
    minutes = ("daylight_minutes", "data_minutes", "producing_minutes", "outage_minutes",
               "comms_gap_minutes")  # fmt: skip
    shares = ("availability_time", "availability_energy")
    columns = {name: np.full(len(by_site), np.nan) for name in (*minutes, *shares, "lost_kwh")}
    for site, rows in enumerate(by_site):
        if not rows:
            continue
        days = [found.inverters[row].availability for row in rows]
        weight = np.array([grid.units[row].pac0 for row in rows])
        for name in minutes:
            columns[name][site] = np.average([getattr(day, name) for day in days], weights=weight)
        lost = sum(day.lost_kwh for day in days)
        made = sum(day.energy_kwh for day in days)
        columns["lost_kwh"][site] = lost
        if made + lost > 0:
            columns["availability_energy"][site] = made / (made + lost)
        known = [number for number, day in enumerate(days) if day.availability_time is not None]
        if known:
            columns["availability_time"][site] = np.average(
                [days[number].availability_time or 0.0 for number in known], weights=weight[known]
            )
    return frame(derived.AVAILABILITY, {**keys, **columns})


def _inverter_day(fleet: Fleet, found: SiteDay) -> pl.DataFrame:
    inverters = found.inverters
    memories = [one.memory for one in inverters]
    return frame(
        derived.INVERTER_DAY,
        {
            "site_id": [fleet.sites[one.unit.site].site_id for one in inverters],
            "date": [found.day] * len(inverters),
            "inverter_sn": [one.unit.serial_number for one in inverters],
            "is_clear": [one.is_clear for one in memories],
            **{
                name: [getattr(one, name) for one in memories]
                for name in (
                    "limit_plateau",
                    "energy_centroid",
                    "peer_centroid",
                    "dark_energy_share",
                    "night_offset",
                )
            },
            "tracker_energy": [_list(one.tracker_energy) for one in memories],
        },
    )


def _state(keys: dict[str, Any], found: SiteDay) -> pl.DataFrame:
    state = found.state
    return frame(
        derived.DETECTOR_STATE,
        {
            **keys,
            **{
                name: getattr(state, name)
                for name in ("cusum", "baseline", "spread", "loss", "run_days", "blank_days")
            },
            "recent": [_list(column) for column in state.recent.T],
        },
    )


def incident_rows(incidents: Sequence[Incident], time_zone: str) -> pl.DataFrame:
    """Returns the table `alarms`."""
    zone = ZoneInfo(time_zone)
    return frame(
        derived.ALARMS,
        {
            "incident_id": [one.incident_id for one in incidents],
            "site_id": [one.site_id for one in incidents],
            "inverter_sn": [one.inverter_sn for one in incidents],
            "cause": [str(one.cause) for one in incidents],
            "severity": [str(one.severity) for one in incidents],
            "date": [one.opened_at.astimezone(zone).date() for one in incidents],
            "opened_at": [one.opened_at for one in incidents],
            "detected_at": [one.detected_at for one in incidents],
            "closed_at": [one.closed_at for one in incidents],
            "close_reason": [one.close_reason and str(one.close_reason) for one in incidents],
            "found_on": [found_on(one) for one in incidents],
            "lost_kwh": [one.lost_kwh for one in incidents],
            "method": [one.method for one in incidents],
            "evidence": [msgspec.json.encode(_evidence(one)).decode() for one in incidents],
            "days": [msgspec.json.encode(one.days).decode() for one in incidents],
            "model_version": [one.model_version for one in incidents],
        },
    )


def incidents_of(rows: pl.DataFrame) -> list[Incident]:
    """Returns the incidents of rows of `alarms`, in the order they were opened."""
    found = [
        msgspec.convert(
            {
                **{name: row[name] for name in ("site_id", "inverter_sn", "cause", "severity",
                   "opened_at", "detected_at", "closed_at", "close_reason", "lost_kwh", "method",
                   "model_version")},
                "days": msgspec.json.decode(row["days"]),
            },
            Incident,
        )
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.opened_at, one.incident_id))


def found_on(incident: Incident) -> date | None:
    """Returns the first local day that alarmed."""
    return min((verdict.day for verdict in incident.days if verdict.alarm), default=None)


def _evidence(incident: Incident) -> dict[str, Any]:
    faulty: Iterable[Verdict] = [one for one in incident.days if one.state is State.FAULTY]
    return next((dict(one.evidence) for one in reversed([*faulty])), {})


def _list(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values.ravel()]


def _over(over: Floats, under: Floats) -> Floats:
    share: Floats = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
    return share
