"""What would a site have made in a year, hour by hour, by the model and the weather?

A settlement needs it where counters are silent: to share out a gap over the year's border, to
estimate time that no counter tells of, and, if the guarantee follows the weather, for the weather
index. Energy is what the model says of the site without its faults; `settle` scales it by what the
site really made.
"""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from autarco_portal import performance_expected, performance_kernel, weather, weather_sky
from autarco_portal.claim_file import WeatherFile
from autarco_portal.counter import Floats, Instants, instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from autarco_portal.site import Site
    from autarco_portal.weather import PlaceWeather, Station

HOUR_US = 3_600_000_000
AGELESS = performance_expected.ExpectedModel(degradation_per_year=0.0)
"""For comparing years: the site as if it were new."""
CLIMATE_YEARS_MIN = 2
_SHARE = Decimal("0.000001")


class Modelled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Energy of a site by hour, from the first hour on without gaps."""

    begins_us: int
    energy_wh: Floats
    """With the weather; NaN where it is not known."""
    clearsky_wh: Floats
    """Without clouds; always known."""
    weather_source: str = "none"
    """Codes of the stations, joined."""
    files: tuple[WeatherFile, ...] = ()

    @property
    def edges_us(self) -> Instants:
        """Begins and ends of the hours."""
        return self.begins_us + HOUR_US * np.arange(len(self.energy_wh) + 1, dtype=np.int64)

    def known(self, from_us: int, to_us: int) -> bool:
        """Tells whether the weather of that time is known and the time within these hours."""
        if from_us < self.begins_us or to_us > int(self.edges_us[-1]):
            return False
        first, last = self._hours(from_us, to_us)
        return bool(np.isfinite(self.energy_wh[first:last]).all())

    def made_wh(self, from_us: int, to_us: int) -> float:
        """Returns the modelled energy between two moments; NaN where weather is missing."""
        if not self.known(from_us, to_us):
            return float("nan")
        summed = np.concatenate(([0.0], np.cumsum(np.nan_to_num(self.energy_wh))))
        until = np.interp([from_us, to_us], self.edges_us, summed)
        return float(until[1] - until[0])

    def daily_kwh(self, time_zone: str) -> dict[date, float]:
        """Returns the energy of each whole local day of which the weather is known."""
        starts = pl.from_epoch(pl.Series(self.edges_us[:-1]), time_unit="us")
        day = starts.dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone).dt.date()
        hours = pl.DataFrame({"day": day, "wh": self.energy_wh}).filter(pl.col("wh").is_finite())
        zone = ZoneInfo(time_zone)
        found = hours.group_by("day").agg(pl.col("wh").sum(), pl.len().alias("hours"))
        return {
            day: wh / 1_000
            for day, wh, count in found.sort("day").iter_rows()
            if count == _hours_of(day, zone)
        }

    def _hours(self, from_us: int, to_us: int) -> tuple[int, int]:
        return (from_us - self.begins_us) // HOUR_US, -((self.begins_us - to_us) // HOUR_US)


def place_weather(
    site: Site, stations: Sequence[Station], rows: pl.DataFrame
) -> PlaceWeather | None:
    """Returns the weather at a site from the stations that have any; None where none has."""
    told = set(rows["station"].unique())
    known = [station for station in stations if station.station in told]
    if not known:
        return None
    return weather.blend(site.latitude, site.longitude, known, rows)


def modelled(site: Site, begins: datetime, ends: datetime, place: PlaceWeather | None) -> Modelled:
    """Returns a site's energy from the hour of `begins` to that of `ends`."""
    first = instant(begins) // HOUR_US * HOUR_US
    count = -((first - instant(ends)) // HOUR_US)
    ts_us = first + HOUR_US * np.arange(count, dtype=np.int64)
    with warnings.catch_warnings():
        # pvlib 0.16.1 looks at what pandas 3.1 calls day_of_year.
        warnings.filterwarnings("ignore", "DatetimeIndex.dayofyear is deprecated")
        clear = weather_sky.clear_sky(
            site.latitude, site.longitude, ts_us, step_s=3_600, altitude=site.altitude
        )
    clearsky_wh = _hourly_wh(clear, site)
    if place is None:
        return Modelled(begins_us=first, energy_wh=np.full(count, np.nan), clearsky_wh=clearsky_wh)
    sky = weather_sky.sky(place, altitude=site.altitude)
    energy = np.full(count, np.nan)
    at = (sky.ts_us - first) // HOUR_US
    inside = (at >= 0) & (at < count)
    energy[at[inside]] = _hourly_wh(sky, site)[inside]
    return Modelled(
        begins_us=first,
        energy_wh=energy,
        clearsky_wh=clearsky_wh,
        weather_source="_".join(name for name, _ in place.source.stations),
    )


def weather_files(place: PlaceWeather, rows: pl.DataFrame) -> tuple[WeatherFile, ...]:
    """Returns which files the weather of a place came from; `rows` are those it was blended of."""
    names = [name for name, _ in place.source.stations]
    found = (
        rows.filter(pl.col("station").is_in(names))
        .group_by("station", "source_file_sha256")
        .agg(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))
        .sort("station", "first")
    )
    return tuple(
        WeatherFile(source=station, first=first.date(), last=last.date(), sha256=sha256)
        for station, sha256, first, last in found.iter_rows()
    )


def climate_days(site: Site, place: PlaceWeather) -> pl.DataFrame:
    """Returns (site_id, date, energy_kwh) of all local days of the weather, of a site that is new.

    The days of whole calendar years only; none where the weather has fewer than two of them, which
    are no climate.
    """
    days = performance_kernel.daily(
        weather_sky.sky(place, altitude=site.altitude), [site], AGELESS, time_zone=site.time_zone
    )
    whole = performance_expected.whole_years(days)["year"].to_list()
    if len(whole) < CLIMATE_YEARS_MIN:
        whole = []
    return days.filter(pl.col("date").dt.year().is_in(whole))


def monthly_share(days: pl.DataFrame) -> tuple[Decimal, ...]:
    """Returns the shares of January to December in the energy of `climate_days`; none of none."""
    if days.is_empty():
        return ()
    months = days.group_by(pl.col("date").dt.month().alias("month")).agg(pl.col("energy_kwh").sum())
    energies = months.sort("month")["energy_kwh"]
    total = float(energies.sum())
    return tuple(Decimal(str(kwh / total)).quantize(_SHARE) for kwh in energies)


def climate_year_kwh(days: pl.DataFrame) -> float:
    """Returns the mean year of `climate_days`, in kWh; NaN of none."""
    years = days["date"].dt.year().n_unique()
    return float(days["energy_kwh"].sum()) / years if years else float("nan")


def year_kwh(site: Site, place: PlaceWeather, begins: datetime, ends: datetime) -> float:
    """Returns what a new site would have made between two moments; NaN where weather is missing."""
    sky = weather_sky.sky(place, altitude=site.altitude)
    inside = (sky.ts_us >= instant(begins)) & (sky.ts_us < instant(ends))
    if np.count_nonzero(inside) < (instant(ends) - instant(begins)) // HOUR_US:
        return float("nan")
    return float(_hourly_wh(sky, site, AGELESS)[inside].sum()) / 1_000


def _hourly_wh(
    sky: weather_sky.Sky,
    site: Site,
    model: performance_expected.ExpectedModel = performance_expected.DEFAULT,
) -> Floats:
    power = performance_kernel.ac_power(
        performance_kernel.share(sky, model), performance_kernel.roofs([site], model), model
    )
    return np.asarray(power[0], dtype=np.float64)


def _hours_of(day: date, zone: ZoneInfo) -> int:
    begins, ends = (
        datetime(one.year, one.month, one.day, tzinfo=zone).timestamp()
        for one in (day, day + timedelta(days=1))
    )
    return round((ends - begins) / 3_600)
