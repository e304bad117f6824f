"""What would a fleet of roofs have yielded, day by day, under real weather?

A stand-in for a fleet whose faults are known: its roofs are made up, the weather over them is
real (BRON: KNMI, the two nearest of five stations, for each cell of a tenth of a degree), and
between them is the portal's own model (`weather_sky`, `performance_kernel`): beam and diffuse,
planes with their horizons, cells' temperature, inverters' limits. Each roof then has its own level,
noise from day to day, a slow wander of weeks, and days without data.

Beside it stands what the portal would hold against it, of roofs whose horizon it knows or does not:
the energy of the clear sky, and that of the weather, which it has from the other three stations and
so never exactly.

Another fleet can take its place if it fills `FleetDays`. There is no snow and no fault.
"""

from __future__ import annotations

import datetime as dt
import functools
import warnings
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

import record
from autarco_portal import peers, performance_kernel, weather, weather_files, weather_sky
from autarco_portal.performance_expected import DEFAULT
from autarco_portal.site import Inverter, RoofPlane, Site

if TYPE_CHECKING:
    from autarco_portal.peers import Floats

KNMI = record.REPOSITORY.parent / "shared" / "data" / "weather" / "knmi"
STATIONS = (240, 260, 348, 356, 370)
LATITUDES, LONGITUDES = (51.75, 52.15), (4.80, 5.50)
"""Between the stations."""
NEAREST = 2
"""Stations that make a roof's own weather."""
TIME_ZONE = "Europe/Amsterdam"
_HORIZON_STEP = 30


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How the made roofs differ from each other and from what is known of them."""

    daily_low: float
    daily_high: float
    """Robust sd from day to day; each site has its own."""
    horizon_deg: float
    """Mean height of what stands around."""
    horizon_error_deg: float | None = None
    """How well the portal knows it (sd); None: not at all."""
    wander: float = 0.010
    wander_days: float = 20.0
    incomplete_share: float = 0.03
    missing_share: float = 0.01


class FleetDays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A fleet's days; arrays days x sites, or one value per site."""

    dates: list[dt.date]
    sites: list[Site]
    """As the portal knows them."""
    energy_kwh: Floats
    clearsky_kwh: Floats
    weather_kwh: Floats
    """Expected with the weather of stations farther away."""
    coverage: Floats

    @property
    def pdc0_kw(self) -> Floats:
        """kWp of each site."""
        return np.array([site.pdc0 for site in self.sites]) / 1_000

    def neighbours(self) -> peers.Neighbours:
        """Returns the peers of each site, as the portal chooses them."""
        tilt, azimuth = np.array([peers.orientation(site) for site in self.sites]).T
        places = np.array([(site.latitude, site.longitude) for site in self.sites])
        return peers.neighbours(places[:, 0], places[:, 1], tilt, azimuth)


def made_fleet(count: int, seed: int, noise: Noise, first: dt.date, last: dt.date) -> FleetDays:
    """Makes roofs and their local days from `first` to before `last`.

    The same seed gives the same roofs, whatever the noise. Raises OSError without the weather.
    """
    random = np.random.default_rng(seed)
    roofs = [_site(str(number), random) for number in range(count)]
    shape = (count, 360 // _HORIZON_STEP)
    horizons = np.minimum(noise.horizon_deg * random.exponential(1.0, shape), 35)
    errors = random.normal(0, 1, shape)
    real = [_seen(site, horizon) for site, horizon in zip(roofs, horizons, strict=True)]
    known = roofs
    if noise.horizon_error_deg is not None:
        surveyed = np.maximum(horizons + noise.horizon_error_deg * errors, 0)
        known = [_seen(site, horizon) for site, horizon in zip(roofs, surveyed, strict=True)]

    days = (last - first).days
    energy, clearsky, expected = (np.empty((days, count)) for _ in range(3))
    cells: dict[tuple[float, float], list[int]] = {}
    for number, site in enumerate(roofs):
        cell = round(site.latitude, 1), round(site.longitude, 1)
        cells.setdefault(cell, []).append(number)
    for cell, numbers in cells.items():
        cloudy, farther, clear = _skies(cell, first, last)
        energy[:, numbers] = _daily(cloudy, [real[number] for number in numbers])
        seen = [known[number] for number in numbers]
        clearsky[:, numbers], expected[:, numbers] = _daily(clear, seen), _daily(farther, seen)

    level = random.normal(1, 0.05, count)
    sd = random.uniform(noise.daily_low, noise.daily_high, count)
    daily = random.normal(0, 1, (days, count)) * sd
    energy = energy * level * np.exp(daily + _wander(days, count, noise, random))
    coverage = np.where(random.random((days, count)) < noise.incomplete_share, 0.5, 1.0)
    energy[random.random((days, count)) < noise.missing_share] = np.nan
    return FleetDays(
        dates=[first + dt.timedelta(days=day) for day in range(days)],
        sites=known,
        energy_kwh=energy,
        clearsky_kwh=clearsky,
        weather_kwh=expected,
        coverage=coverage,
    )


def _site(name: str, random: np.random.Generator) -> Site:
    """Half the roofs look south, more or less; a tenth is flat, a sixth east and west at once."""
    tilt = 10.0 if random.random() < 0.1 else random.uniform(15, 50)
    if random.random() < 1 / 6:
        east = random.normal(90, 20)
        azimuths = [east, east + 180]
    elif random.random() < 0.6:
        azimuths = [random.normal(180, 30)]
    else:
        azimuths = [random.uniform(70, 290)]
    modules = int(random.integers(5, 23))
    planes = tuple(
        RoofPlane(
            name=str(number), surface_tilt=tilt, surface_azimuth=facing % 360, modules=modules,
            pdc0=400.0 * modules,
        )
        for number, facing in enumerate(azimuths)
    )  # fmt: skip
    inverter = Inverter(
        serial_number=name,
        pac0=sum(plane.pdc0 for plane in planes) * random.uniform(0.75, 1.0),
        installed_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    )
    return Site(
        site_id=name,
        latitude=random.uniform(*LATITUDES),
        longitude=random.uniform(*LONGITUDES),
        time_zone=TIME_ZONE,
        commissioned_on=dt.date(2020, 1, 1),
        planes=planes,
        inverters=(inverter,),
    )


def _seen(site: Site, heights: Floats) -> Site:
    """The site with that horizon before each of its planes."""
    horizon = tuple(
        (float(azimuth), float(height))
        for azimuth, height in zip(range(0, 360, _HORIZON_STEP), heights, strict=True)
    )
    planes = tuple(msgspec.structs.replace(plane, horizon=horizon) for plane in site.planes)
    return msgspec.structs.replace(site, planes=planes)


@functools.cache
def _skies(
    cell: tuple[float, float], first: dt.date, last: dt.date
) -> tuple[weather_sky.Sky, weather_sky.Sky, weather_sky.Sky]:
    """The sky of a cell, that of stations farther away, and the clear one, for the span's hours."""
    stations, rows = _weather(first, last)
    nearest = [name for name, _ in weather.nearest_weights(*cell, stations, nearest=NEAREST)]
    near = [station for station in stations if station.station in nearest]
    far = [station for station in stations if station.station not in nearest]
    cloudy, farther = (
        weather_sky.sky(weather.blend(*cell, chosen, rows)) for chosen in (near, far)
    )
    with warnings.catch_warnings():
        # pvlib 0.16.1 looks at what pandas 3.1 calls day_of_year.
        warnings.filterwarnings("ignore", "DatetimeIndex.dayofyear is deprecated")
        clear = weather_sky.clear_sky(*cell, cloudy.ts_us, step_s=weather.STEP_S)
    return cloudy, farther, clear


@functools.cache
def _weather(first: dt.date, last: dt.date) -> tuple[list[weather.Station], pl.DataFrame]:
    known = weather_files.load_stations(KNMI / "knmi_stations.csv")
    decades = ["2011-2020"] * (first.year <= 2020) + ["2021-2030"] * (last.year > 2020)
    files = [
        weather_files.load_weather(KNMI / f"uurgeg_{number}_{decade}.zip", stations=known)
        for number in STATIONS
        for decade in decades
    ]
    local = pl.col("ts").dt.convert_time_zone(TIME_ZONE).dt.date()
    rows = pl.concat(file.rows for file in files).filter(local >= first, local < last)
    stations = {station.station: station for file in files for station in file.stations}
    return list(stations.values()), rows


def _daily(sky: weather_sky.Sky, sites: list[Site]) -> Floats:
    _, period = performance_kernel.local_days(sky, TIME_ZONE)
    energy = performance_kernel.energy_kwh(
        performance_kernel.share(sky), performance_kernel.roofs(sites), period, DEFAULT
    )
    assert np.isfinite(energy).all(), "the weather of all stations has a gap"
    return energy.T.astype(float)


def _wander(days: int, sites: int, noise: Noise, random: np.random.Generator) -> Floats:
    keep = np.exp(-1 / noise.wander_days)
    steps = random.normal(0, noise.wander * np.sqrt(1 - keep**2), (days, sites))
    steps[0] = random.normal(0, noise.wander, sites)
    for day in range(1, days):
        steps[day] += keep * steps[day - 1]
    return steps
