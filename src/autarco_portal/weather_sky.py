"""What shines on a place? Sun, beam and diffuse by interval, from weather or from a clear sky.

The sun stands where the row says (`sun_offset_s`: the middle of the interval for means). Global
irradiance alone is split into beam and diffuse by Erbs; what a source measured or modelled itself
stays. All of it is shared by every roof at the place; roofs come in `performance_expected`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pvlib  # type: ignore[import-untyped]

from autarco_portal.weather import STEP_S, WeatherSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.weather import PlaceWeather

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

DARK_ZENITH = 96.0
"""degrees; with the sun 6 degrees down the sky gives a panel nothing, measured or not."""

MICROSECONDS = 1_000_000

_PER_INTERVAL = (
    "ts_us", "sun_offset_s", "zenith", "azimuth", "ghi", "dni", "dhi", "dni_extra", "temp_air",
    "wind_speed",
)  # fmt: skip

CLEAR_SKY_METHOD = "Ineichen with the Linke turbidity of pvlib's monthly map"


class Sky(msgspec.Struct, frozen=True, kw_only=True):
    """Sun and irradiance of one place; arrays of one value per interval, NaN where unknown."""

    latitude: float
    longitude: float
    altitude: float
    step_s: int
    ts_us: np.ndarray[Any, np.dtype[np.int64]]
    """Start of each interval, microseconds since 1970 UTC."""
    sun_offset_s: np.ndarray[Any, np.dtype[np.int64]]
    zenith: Floats
    """degrees, as refraction shows it."""
    azimuth: Floats
    ghi: Floats
    dni: Floats
    dhi: Floats
    dni_extra: Floats
    temp_air: Floats
    wind_speed: Floats
    source: WeatherSource

    @property
    def is_lit(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Where there is light, or may be."""
        return np.asarray((self.ghi != 0) | (self.dni != 0) | (self.dhi != 0))

    def take(self, places: np.ndarray[Any, np.dtype[np.int64]]) -> Sky:
        """Returns the sky of some of the intervals."""
        arrays = {name: getattr(self, name)[places] for name in _PER_INTERVAL}
        return msgspec.structs.replace(self, **arrays)

    @property
    def sun_at(self) -> Any:
        """The instants for which the sun's place holds, as pvlib's DatetimeIndex."""
        return _index(self.ts_us + self.sun_offset_s * MICROSECONDS)


def sky(weather: PlaceWeather, *, altitude: float = 0.0) -> Sky:
    """Returns the sky of a place from its weather.

    Beam and diffuse that the weather lacks come from global irradiance by Erbs, Klein and Duffie
    (1982). A gap in air temperature or wind is bridged by a straight line over time: they change a
    panel's output by percents; a gap in irradiance stays a gap.
    """
    rows = weather.rows.with_columns(pl.col("temp_air", "wind_speed").interpolate())
    ts_us = rows["ts"].to_physical().to_numpy()
    offset_s = rows["sun_offset_s"].cast(pl.Int64).to_numpy()
    sun_at = _index(ts_us + offset_s * MICROSECONDS)
    sun = pvlib.solarposition.get_solarposition(
        sun_at, weather.latitude, weather.longitude, altitude
    )
    is_dark = sun["zenith"].to_numpy() > DARK_ZENITH
    ghi, dni, dhi = (
        np.where(is_dark, 0.0, rows[name].to_numpy().astype(float))
        for name in ("ghi", "dni", "dhi")
    )
    day = _day_of_year(sun_at)
    split = pvlib.irradiance.erbs(ghi, sun["zenith"].to_numpy(), day)
    is_whole = ~(np.isnan(dni) | np.isnan(dhi))
    return Sky(
        latitude=weather.latitude,
        longitude=weather.longitude,
        altitude=altitude,
        step_s=STEP_S,
        ts_us=ts_us,
        sun_offset_s=offset_s,
        zenith=sun["apparent_zenith"].to_numpy(),
        azimuth=sun["azimuth"].to_numpy(),
        ghi=ghi,
        dni=np.where(is_whole, dni, split["dni"]),
        dhi=np.where(is_whole, dhi, split["dhi"]),
        dni_extra=pvlib.irradiance.get_extra_radiation(day),
        temp_air=rows["temp_air"].to_numpy(),
        wind_speed=rows["wind_speed"].to_numpy(),
        source=weather.source,
    )


def clear_sky(
    latitude: float,
    longitude: float,
    ts_us: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]],
    *,
    step_s: int,
    altitude: float = 0.0,
    temp_air: float = 10.0,
    wind_speed: float = 3.0,
) -> Sky:
    """Returns the sky without clouds over intervals that start at `ts_us` and last `step_s`.

    Ineichen and Perez (2002) with the monthly turbidity map that comes with pvlib: no network.
    Temperature (degC) and wind (m/s) have no clear-sky model; the defaults are the Dutch year's
    means, so that clear-sky energy differs between sites by their roofs alone.
    """
    starts = np.asarray(ts_us, dtype=np.int64)
    offset_s = np.full(len(starts), step_s // 2)
    sun_at = _index(starts + offset_s * MICROSECONDS)
    place = pvlib.location.Location(latitude, longitude, altitude=altitude)
    sun = place.get_solarposition(sun_at)
    dni_extra = pvlib.irradiance.get_extra_radiation(_day_of_year(sun_at))
    with warnings.catch_warnings():
        # pvlib 0.16.1 looks at what pandas 3.1 calls day_of_year.
        warnings.filterwarnings("ignore", "DatetimeIndex.dayofyear is deprecated")
        turbidity = pvlib.clearsky.lookup_linke_turbidity(sun_at, latitude, longitude)
    clear = place.get_clearsky(
        sun_at,
        model="ineichen",
        solar_position=sun,
        dni_extra=dni_extra,
        linke_turbidity=turbidity,
    )
    return Sky(
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        step_s=step_s,
        ts_us=starts,
        sun_offset_s=offset_s,
        zenith=sun["apparent_zenith"].to_numpy(),
        azimuth=sun["azimuth"].to_numpy(),
        ghi=clear["ghi"].to_numpy(),
        dni=clear["dni"].to_numpy(),
        dhi=clear["dhi"].to_numpy(),
        dni_extra=dni_extra,
        temp_air=np.full(len(starts), temp_air),
        wind_speed=np.full(len(starts), wind_speed),
        source=WeatherSource(
            source="clear sky", stations=(), source_file_sha256=(), method=CLEAR_SKY_METHOD
        ),
    )


def clock_error_h(found: Sky) -> float:
    """Returns by how many hours the weather's labels seem late (early: negative); 0 when right.

    Compares global irradiance with the height of the sun moved by up to an hour and a half: over
    months clouds do not prefer mornings or evenings. For weather of a file whose labels or zone are
    not believed. Needs some sunny weeks.
    """
    known = np.isfinite(found.ghi)
    instants = found.ts_us + found.sun_offset_s * MICROSECONDS
    moves_h = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
    likeness = []
    for move_h in moves_h:
        moved = _index(instants - round(move_h * 3_600) * MICROSECONDS)
        sun = pvlib.solarposition.get_solarposition(moved, found.latitude, found.longitude)
        height = np.maximum(np.cos(np.radians(sun["zenith"].to_numpy())), 0)
        likeness.append(np.corrcoef(found.ghi[known], height[known])[0, 1])
    return moves_h[int(np.argmax(likeness))]


def _day_of_year(sun_at: Any) -> Floats:
    """As numbers: from a DatetimeIndex pvlib 0.16.1 takes it in a way that pandas 3.1 warns of."""
    return np.asarray(sun_at.day_of_year, dtype=float)


def _index(microseconds: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    return pd.DatetimeIndex(microseconds.astype("datetime64[us]")).tz_localize("UTC")
