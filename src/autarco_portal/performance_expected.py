"""What should a site have produced? The model, step by step in pvlib: slow, and the reference.

sun and weather (`weather_sky`) → irradiance on the roof → what the glass lets through → cell
temperature → DC → losses → inverter. `performance_kernel` does the same for many sites at once and
is tested against this file.

Hay-Davies is the default for the diffuse sky: on the one real Dutch roof at hand it is 2 % nearer
to the meter than Perez (reference 1.3), and no worse hour by hour. Perez stays for comparison with
PVWatts, which uses it.
"""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import polars as pl
import pvlib  # type: ignore[import-untyped]

from autarco_portal.site import HOURS, MONTHS
from autarco_portal.weather import WeatherSource  # noqa: TC001 - msgspec looks at it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.site import RoofPlane, Site
    from autarco_portal.weather_sky import Floats, Sky

MODEL_VERSION = "expected-1"
"""Changes whenever the same inputs give other numbers; stands beside every derived number."""

SECONDS_PER_YEAR = 365.25 * 86_400

Z90 = NormalDist().inv_cdf(0.9)
"""1.2816: nine of ten normally distributed years lie above the mean less this many sigmas."""


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """Percent each, as PVWatts version 5 assumes them; together 14.08 %."""

    soiling: float = 2.0
    shading: float = 3.0
    snow: float = 0.0
    mismatch: float = 2.0
    wiring: float = 2.0
    connections: float = 0.5
    lid: float = 1.5
    nameplate_rating: float = 1.0
    age: float = 0.0
    availability: float = 3.0

    @property
    def factor(self) -> float:
        """What is left, 0 to 1."""
        return 1 - float(pvlib.pvsystem.pvwatts_losses(**msgspec.structs.asdict(self))) / 100


class ExpectedModel(msgspec.Struct, frozen=True, kw_only=True):
    """All that the model assumes beyond the site and the weather."""

    transposition: Literal["haydavies", "perez"] = "haydavies"
    albedo: float = 0.2
    iam_b: float = 0.05
    """ASHRAE's incidence angle coefficient."""
    cell_temperature: Literal["faiman", "sapm"] = "faiman"
    faiman_u0: float = 25.0
    """W/(m2 K)."""
    faiman_u1: float = 6.84
    """W/(m2 K) per m/s."""
    sapm_mounting: Literal[
        "open_rack_glass_glass",
        "close_mount_glass_glass",
        "open_rack_glass_polymer",
        "insulated_back_glass_polymer",
    ] = "close_mount_glass_glass"
    losses: Losses = Losses()
    inverter_efficiency: float = 0.96
    degradation_per_year: float = 0.005
    """Of the power left, from the site's first day on; 0.5 % suits a cool climate (NREL 2022)."""
    version: str = MODEL_VERSION


DEFAULT = ExpectedModel()


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a site should give in each interval of its sky; NaN where the weather is unknown."""

    poa_global: Floats
    """W/m2, the mean of the planes weighted by their pdc0."""
    temp_cell: Floats
    """degC, weighted the same."""
    dc_power: Floats
    """W, after losses and before the inverter."""
    ac_power: Floats
    """W, clipped at the site's pac0."""
    step_s: int
    weather: WeatherSource
    model: ExpectedModel

    @property
    def energy_kwh(self) -> Floats:
        """AC energy of each interval."""
        return self.ac_power * (self.step_s / 3.6e6)


def expected(sky: Sky, site: Site, model: ExpectedModel = DEFAULT) -> Expected:
    """Returns what the site should give under the sky, plane by plane.

    The planes' DC goes through one inverter of the site's pac0.
    """
    # In the dark there is no power, whatever the temperature, known or not.
    lit = np.flatnonzero(sky.is_lit)
    shown = sky.take(lit)
    poa, cell, dc = np.zeros(len(lit)), np.zeros(len(lit)), np.zeros(len(lit))
    left = model.losses.factor * aging(shown, site, model)
    for plane in site.planes:
        share = plane.pdc0 / site.pdc0
        one = _plane(shown, plane, model)
        poa += share * one["poa_global"]
        cell += share * one["temp_cell"]
        dc += left * pvlib.pvsystem.pvwatts_dc(
            one["effective_irradiance"], one["temp_cell"], plane.pdc0, plane.gamma_pdc
        )
    ac = pvlib.inverter.pvwatts(
        dc, site.pac0 / model.inverter_efficiency, eta_inv_nom=model.inverter_efficiency
    )

    def everywhere(values: Floats, dark: Floats) -> Floats:
        whole = dark.copy()
        whole[lit] = values
        return whole

    no_light = np.zeros(len(sky.ts_us))
    return Expected(
        poa_global=everywhere(poa, no_light),
        temp_cell=everywhere(cell, sky.temp_air),
        dc_power=everywhere(dc, no_light),
        ac_power=everywhere(ac, no_light),
        step_s=sky.step_s,
        weather=sky.source,
        model=model,
    )


def aging(sky: Sky, site: Site, model: ExpectedModel) -> Floats:
    """Returns what age leaves of the power in each interval; 1 before the site was there."""
    years = (sky.ts_us / 1e6 - commissioned_s(site)) / SECONDS_PER_YEAR
    return np.asarray((1 - model.degradation_per_year) ** np.maximum(years, 0))


def commissioned_s(site: Site) -> float:
    """Returns the start of the site's first day, in seconds since 1970."""
    day = site.commissioned_on
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _plane(sky: Sky, plane: RoofPlane, model: ExpectedModel) -> dict[str, Floats]:
    tilt, azimuth = plane.surface_tilt, plane.surface_azimuth
    with np.errstate(invalid="ignore", divide="ignore"):
        poa = pvlib.irradiance.get_total_irradiance(
            tilt, azimuth, sky.zenith, sky.azimuth, sky.dni, sky.ghi, sky.dhi,
            dni_extra=sky.dni_extra, albedo=model.albedo, model=model.transposition,
            diffuse_components=True,
        )  # fmt: skip
    aoi = pvlib.irradiance.aoi(tilt, azimuth, sky.zenith, sky.azimuth)
    # The circumsolar part of the diffuse sky comes from around the sun and is shaded with it.
    around_sun = poa["poa_direct"] + poa["poa_circumsolar"]
    if plane.horizon or plane.shading:
        around_sun = around_sun * sun_access(sky, plane)
    dome = np.maximum(poa["poa_sky_diffuse"] - poa["poa_circumsolar"], 0) * sky_view(plane)
    ground = poa["poa_ground_diffuse"]
    poa_global = around_sun + dome + ground
    through_dome, through_ground = diffuse_iam(tilt, model.iam_b)
    effective = (
        around_sun * pvlib.iam.ashrae(aoi, model.iam_b)
        + dome * through_dome
        + ground * through_ground
    )
    return {
        "poa_global": poa_global,
        "effective_irradiance": effective,
        "temp_cell": sky.temp_air + poa_global * heating(sky, model),
    }


def heating(sky: Sky, model: ExpectedModel) -> Floats:
    """Returns by how many K one W/m2 on the roof heats the cells over the air: K m2/W.

    Faiman's model and Sandia's are both linear in irradiance, so this is all that is needed.
    """
    if model.cell_temperature == "faiman":
        rise = pvlib.temperature.faiman(
            1.0, 0.0, sky.wind_speed, u0=model.faiman_u0, u1=model.faiman_u1
        )
    else:
        parameters = pvlib.temperature.TEMPERATURE_MODEL_PARAMETERS["sapm"][model.sapm_mounting]
        rise = pvlib.temperature.sapm_cell(1.0, 0.0, sky.wind_speed, **parameters)
    return np.asarray(rise, dtype=float)


@functools.cache
def _diffuse_iam_table(iam_b: float) -> tuple[Floats, Floats]:
    found = pvlib.iam.marion_diffuse("ashrae", np.arange(91.0), b=iam_b)
    return found["sky"], found["ground"]


def diffuse_iam(surface_tilt: float | Floats, iam_b: float) -> tuple[Any, Any]:
    """Returns which shares of sky and ground irradiance get through the glass (Marion 2017).

    Integrated once for whole degrees of tilt, straight lines between.
    """
    sky, ground = _diffuse_iam_table(iam_b)
    degrees = np.arange(91.0)
    return np.interp(surface_tilt, degrees, sky), np.interp(surface_tilt, degrees, ground)


def sun_access(
    sky: Sky, plane: RoofPlane, slot: np.ndarray[Any, np.dtype[np.int64]] | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns the share of the sun that reaches the plane, 0 to 1: its horizon and shading table.

    `slot` is that of `shading_slot`, for who asks for many planes.
    """
    access = np.ones(len(sky.ts_us), dtype=np.float32)
    if plane.shading:
        table = 1 - np.asarray(plane.shading, dtype=np.float32).ravel()
        access = table[shading_slot(sky) if slot is None else slot]
    if plane.horizon:
        access[90 - sky.zenith < horizon_elevation(plane.horizon, sky.azimuth)] = 0
    return access


def shading_slot(sky: Sky) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Returns which of the 12 x 24 fields of a shading table holds in each interval.

    Months and hours are those of the mean solar day: UTC moved by the longitude.
    """
    solar_us = sky.ts_us + sky.sun_offset_s * 1_000_000 + round(sky.longitude * 240e6)
    months = solar_us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % MONTHS
    return np.asarray(months * HOURS + solar_us // 3_600_000_000 % HOURS)


def horizon_elevation(horizon: Sequence[tuple[float, float]], azimuth: float | Floats) -> Floats:
    """Returns how high the horizon stands at azimuths, in degrees; it closes through north."""
    azimuths, elevations = zip(*horizon, strict=True)
    # numpy's own `period` sorts anew at each call.
    around = (azimuths[-1] - 360, *azimuths, azimuths[0] + 360)
    return np.asarray(np.interp(azimuth, around, (elevations[-1], *elevations, elevations[0])))


def sky_view(plane: RoofPlane) -> float:
    """Returns which share of the even sky a plane would see remains above its horizon, 0 to 1."""
    return _sky_view(plane.horizon, plane.surface_tilt, plane.surface_azimuth)


@functools.lru_cache(maxsize=65_536)
def _sky_view(
    horizon: tuple[tuple[float, float], ...], surface_tilt: float, surface_azimuth: float
) -> float:
    if not horizon:
        return 1.0
    azimuth, elevation, directions, area = _dome()
    tilt, facing = math.radians(surface_tilt), math.radians(surface_azimuth)
    east, north = math.sin(tilt) * math.sin(facing), math.sin(tilt) * math.cos(facing)
    weight = np.maximum(directions @ (east, north, math.cos(tilt)), 0) * area
    is_open = elevation[:, None] > horizon_elevation(horizon, azimuth)
    return float(weight[is_open].sum() / weight.sum())


@functools.cache
def _dome() -> tuple[Floats, Floats, Floats, Floats]:
    """The sky in cells of 3 degrees of azimuth by 1 of elevation: middles, directions, areas.

    Sums over it are within 0.5 % of the integral.
    """
    azimuth, elevation = np.arange(1.5, 360, 3), np.arange(0.5, 90)
    a, e = np.radians(azimuth), np.radians(elevation)[:, None]
    up = np.sin(e) * np.ones_like(a)
    directions = np.stack([np.cos(e) * np.sin(a), np.cos(e) * np.cos(a), up], axis=-1)
    return azimuth, elevation, directions, np.cos(e) * np.ones_like(a)


class Climate(msgspec.Struct, frozen=True, kw_only=True):
    """What a site gives in a typical year, and how far years lie apart."""

    p50_kwh: float
    """The mean of the years; with normally distributed years also their median."""
    sigma_interannual: float
    """Of one year, as a share of P50."""
    sigma_model: float
    """Of the model itself, the same in all years, as a share of P50."""
    years: tuple[int, ...]
    weather: WeatherSource
    method: str = "mean and standard deviation of modelled years"
    model_version: str = MODEL_VERSION

    def sigma(self, years: int = 1) -> float:
        """Returns the uncertainty of the mean of so many years, as a share of P50."""
        return sigma_of_mean(self.sigma_model, self.sigma_interannual, years)

    def p90_kwh(self, years: int = 1) -> float:
        """Returns what nine of ten spans of so many years reach, per year."""
        return self.p50_kwh * (1 - Z90 * self.sigma(years))


def sigma_of_mean(sigma_model: float, sigma_interannual: float, years: int) -> float:
    """Returns sqrt(s_model^2 + s_iav^2 / N): years average out, the model does not."""
    if years < 1:
        raise ValueError(f"a span has at least one year, not {years}")
    return math.sqrt(sigma_model**2 + sigma_interannual**2 / years)


def climate(
    energy_kwh_by_year: dict[int, float],
    *,
    weather: WeatherSource,
    model: ExpectedModel = DEFAULT,
    sigma_model: float = 0.05,
) -> Climate:
    """Returns P50 and P90 from the modelled energy of whole real years.

    Take the last 10 to 15 years: the mean of 1991 to 2010 lies 9 % below that of 2015 to 2024 at De
    Bilt (reference 6). The age of the site is not part of it: model the years with
    `degradation_per_year` zero. Raises ValueError for fewer than two years or unknown energy.
    """
    if len(energy_kwh_by_year) < 2:
        raise ValueError("a climate takes at least two years")
    energies = np.array(list(energy_kwh_by_year.values()))
    if not np.isfinite(energies).all():
        raise ValueError("a climate takes whole years, one has gaps")
    p50 = float(energies.mean())
    return Climate(
        p50_kwh=p50,
        sigma_interannual=float(energies.std(ddof=1)) / p50,
        sigma_model=sigma_model,
        years=tuple(sorted(energy_kwh_by_year)),
        weather=weather,
        model_version=model.version,
    )


def whole_years(daily: pl.DataFrame) -> pl.DataFrame:
    """Returns (site_id, year, energy_kwh) of the years of which every day is known.

    `daily` has (site_id, date, energy_kwh), as `performance_kernel.daily` gives it.
    """
    year = pl.col("date").dt.year()
    leap = pl.col("date").dt.is_leap_year().first()
    return (
        daily.drop_nulls("energy_kwh")
        .group_by("site_id", year.alias("year"))
        .agg(pl.col("energy_kwh").sum(), pl.len().alias("days"), leap.alias("leap"))
        .filter(pl.col("days") == pl.when("leap").then(366).otherwise(365))
        .select("site_id", "year", "energy_kwh")
        .sort("site_id", "year")
    )


def climate_by_day(daily: pl.DataFrame) -> pl.DataFrame:
    """Returns (site_id, month, day, energy_kwh, years): what each day of a year gives on average.

    Over the years in which that day is known; 29 February over leap years.
    """
    return (
        daily.drop_nulls("energy_kwh")
        .group_by(
            "site_id",
            pl.col("date").dt.month().alias("month"),
            pl.col("date").dt.day().alias("day"),
        )
        .agg(pl.col("energy_kwh").mean(), pl.len().alias("years"))
        .sort("site_id", "month", "day")
    )
