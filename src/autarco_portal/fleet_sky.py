"""What could each site of a fleet have made on some days, and where was the sun?

Sites that lie close together share a sky: sun and weather cost a hundred times what a roof costs.
A cell of a quarter of a degree moves the sun by half a minute and the weather by some kilometres.

Pure: values in, values out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from autarco_portal import performance_kernel
from autarco_portal.energy import midnights
from autarco_portal.inverter_day import STEP
from autarco_portal.performance_expected import DEFAULT, ExpectedModel
from autarco_portal.weather import WeatherSource, blend, distance_km
from autarco_portal.weather_sky import MICROSECONDS, clear_sky, sky

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import numpy.typing as npt

    from autarco_portal.fleet import Fleet
    from autarco_portal.peers import Bools, Floats
    from autarco_portal.site import Site
    from autarco_portal.weather import Station

CELL_DEG = 0.25
CLIMATE_CELL_DEG = 0.5
"""Means over many years differ less from place to place than days do."""


class ClearDays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Sun and clear sky over the steps of some local days."""

    edges: npt.NDArray[np.int64]
    """Steps before each day's beginning, one more than there are days."""
    cell: npt.NDArray[np.int64]
    """Of each site."""
    sun_elevation: Floats
    """Degrees in the middle of the step; cells x steps."""
    sun_azimuth: Floats
    ac_power: Floats
    """W; sites x steps."""

    def of_day(self, number: int) -> ClearDays:
        """Returns one of the days alone."""
        span = slice(int(self.edges[number]), int(self.edges[number + 1]))
        return ClearDays(
            edges=np.array([0, span.stop - span.start]),
            cell=self.cell,
            sun_elevation=self.sun_elevation[:, span],
            sun_azimuth=self.sun_azimuth[:, span],
            ac_power=self.ac_power[:, span],
        )

    @property
    def energy_kwh(self) -> Floats:
        """Days x sites."""
        hours = STEP / timedelta(hours=1)
        kwh = np.add.reduceat(self.ac_power, self.edges[:-1], axis=1) * hours / 1_000
        return np.ascontiguousarray(kwh.T, dtype=float)


class WeatherDays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the weather of some days asks of each site; arrays days x sites, NaN where unknown."""

    energy_kwh: Floats
    yr: Floats
    """Hours at 1 kW/m2 on the roof."""
    yr_25c: Floats
    """The same as if the cells had been at 25 °C, but for what their real temperature took."""
    temp_air: Floats
    """°C, the day's mean."""
    snow: Bools
    sources: tuple[WeatherSource | None, ...]
    """Of each site."""


def clear_days(fleet: Fleet, first: date, last: date, model: ExpectedModel = DEFAULT) -> ClearDays:
    """Returns what the sites would make without a cloud, from `first` to `last`."""
    borders = midnights(first, last, fleet.time_zone)
    step_us = STEP // timedelta(microseconds=1)
    starts = np.arange(borders[0], borders[-1], step_us, dtype=np.int64)
    cell, centres = _cells(fleet)
    elevation, azimuth = np.empty((2, len(centres), len(starts)))
    power = np.empty((len(fleet.sites), len(starts)), np.float32)
    for number, (latitude, longitude, members) in enumerate(_members(fleet, cell, centres)):
        found = clear_sky(latitude, longitude, starts, step_s=step_us // MICROSECONDS)
        elevation[number], azimuth[number] = 90 - found.zenith, found.azimuth
        power[cell == number] = performance_kernel.ac_power(
            performance_kernel.share(found, model), performance_kernel.roofs(members, model), model
        )
    return ClearDays(
        edges=(borders - borders[0]) // step_us,
        cell=cell,
        sun_elevation=elevation,
        sun_azimuth=azimuth,
        ac_power=power,
    )


def weather_days(
    fleet: Fleet,
    stations: Sequence[Station],
    rows: pl.DataFrame,
    first: date,
    last: date,
    model: ExpectedModel = DEFAULT,
) -> WeatherDays:
    """Returns what the sites should have made under the weather of the days `first` to `last`.

    `rows` are those of any stations; each cell takes its nearest three among those that measured
    then and have one source. Without any, everything is unknown.
    """
    borders = midnights(first, last, fleet.time_zone)
    shape = len(borders) - 1, len(fleet.sites)
    energy, yr, yr_25c, temp = np.full((4, *shape), np.nan)
    snow = np.zeros(shape, bool)
    sources: list[WeatherSource | None] = [None] * len(fleet.sites)
    rows = rows.filter(pl.col("ts") >= _instant(borders[0]), pl.col("ts") < _instant(borders[-1]))
    spoke = set(rows["station"].unique())
    stations = [one for one in stations if one.station in spoke]
    cell, centres = _cells(fleet)
    for number, (latitude, longitude, members) in enumerate(_members(fleet, cell, centres)):
        if not stations:
            break
        alike = _of_one_source(latitude, longitude, stations, rows)
        place = blend(latitude, longitude, alike, rows)
        hours = _whole(place.rows, borders)
        found = sky(msgspec.structs.replace(place, rows=hours))
        period = np.searchsorted(borders, found.ts_us, side="right") - 1
        here = np.flatnonzero(cell == number)
        shared = performance_kernel.share(found, model)
        roofs = performance_kernel.roofs(members, model)
        energy[:, here] = performance_kernel.energy_kwh(shared, roofs, period, model).T
        plain, corrected = performance_kernel.reference_yields(shared, roofs, period)
        yr[:, here], yr_25c[:, here] = plain.T, corrected.T
        daily = _daily(hours, period, shape[0])
        temp[:, here], snow[:, here] = daily[0][:, None], daily[1][:, None]
        for row in here.tolist():
            sources[row] = place.source
    return WeatherDays(
        energy_kwh=energy,
        yr=yr,
        yr_25c=yr_25c,
        temp_air=temp,
        snow=snow,
        sources=tuple(sources),
    )


def weather_years(
    sites: Sequence[Site],
    fleet: Fleet,
    stations: Sequence[Station],
    rows: pl.DataFrame,
    model: ExpectedModel = DEFAULT,
) -> Iterator[tuple[pl.DataFrame, WeatherSource, int]]:
    """Yields the modelled days of some of the fleet's sites, cell by cell, and how many sites.

    As `performance_kernel.daily` gives them, over all of `rows`; the sites do not age.
    """
    ageless = msgspec.structs.replace(model, degradation_per_year=0.0)
    wanted = {site.site_id for site in sites}
    cell, centres = _cells(fleet, CLIMATE_CELL_DEG)
    for latitude, longitude, members in _members(fleet, cell, centres):
        chosen = [site for site in members if site.site_id in wanted]
        if not chosen or not stations:
            continue
        alike = _of_one_source(latitude, longitude, stations, rows)
        found = sky(blend(latitude, longitude, alike, rows))
        daily = performance_kernel.daily(found, chosen, ageless, time_zone=fleet.time_zone)
        yield daily, found.source, len(chosen)


def _cells(
    fleet: Fleet, size_deg: float = CELL_DEG
) -> tuple[npt.NDArray[np.int64], list[tuple[float, float]]]:
    """The cell of each site, and the middles of the cells."""
    places = np.column_stack((fleet.latitude, fleet.longitude))
    corners, cell = np.unique(np.floor(places / size_deg), axis=0, return_inverse=True)
    middles = ((corners + 0.5) * size_deg).tolist()
    return cell.ravel(), [(latitude, longitude) for latitude, longitude in middles]


def _members(
    fleet: Fleet, cell: npt.NDArray[np.int64], centres: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float, list[Site]]]:
    for number, (latitude, longitude) in enumerate(centres):
        members = [fleet.sites[row] for row in np.flatnonzero(cell == number).tolist()]
        yield latitude, longitude, members


def _of_one_source(
    latitude: float, longitude: float, stations: Sequence[Station], rows: pl.DataFrame
) -> list[Station]:
    """Measured and typical weather do not mix: the nearest station says which source it is."""
    kind = dict(rows.group_by("station").agg(pl.col("source").last()).iter_rows())
    nearest = min(stations, key=lambda one: distance_km(latitude, longitude, one))
    return [one for one in stations if kind[one.station] == kind[nearest.station]]


def _whole(rows: pl.DataFrame, borders: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Hours that nobody told of become rows that know nothing: no day is short by silence."""
    hours = pl.datetime_range(
        _instant(borders[0]), _instant(borders[-1]), "1h", closed="left", time_unit="us", eager=True
    )
    offset = rows["sun_offset_s"][0]
    return (
        pl.DataFrame({"ts": hours})
        .join(rows, on="ts", how="left")
        .with_columns(pl.col("sun_offset_s").fill_null(offset))
        .select(rows.columns)
        .sort("ts")
    )


def _daily(hours: pl.DataFrame, period: npt.NDArray[np.int64], days: int) -> tuple[Floats, Bools]:
    by_day = (
        hours.with_columns(pl.Series("day", period))
        .group_by("day")
        .agg(pl.col("temp_air").mean(), pl.col("snow").any())
        .sort("day")
    )
    temp = by_day["temp_air"].cast(pl.Float64).to_numpy()
    snow = by_day["snow"].fill_null(value=False).to_numpy().astype(bool)
    if len(temp) != days:
        raise AssertionError("a day has no hours")
    return temp, snow


def _instant(at_us: int | np.integer) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(at_us))
