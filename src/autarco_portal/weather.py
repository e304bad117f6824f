"""What was the weather at a place? One table for all sources, and a blend of the nearest stations.

Every importer (`weather_knmi`, `weather_pvgis`, `weather_epw`; `weather_files` chooses) ends in the
same columns, in which an hour is labelled by its START in UTC and says where in it the sun is to be
taken. Taking the label of an hour for its end moves the sun by an hour: 11 to 13 % of the energy of
an east or west roof. Irradiance becomes beam and diffuse in `weather_sky`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from autarco_portal.site import EARTH_RADIUS_KM

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_S = 3_600
"""All sources so far are hourly."""

SCHEMA = pl.Schema(
    {
        "station": pl.String(),
        "ts": pl.Datetime("us", "UTC"),  # start of the interval
        "sun_offset_s": pl.Int32(),  # from ts to where the sun stands for ghi, dni and dhi
        "ghi": pl.Float64(),  # W/m2, mean of the interval, as dni and dhi
        "dni": pl.Float64(),
        "dhi": pl.Float64(),
        "temp_air": pl.Float64(),  # degC
        "wind_speed": pl.Float64(),  # m/s
        "snow": pl.Boolean(),  # fell in the interval
        "source": pl.String(),
        "source_file_sha256": pl.String(),
    }
)
"""Columns of the weather table; what a source does not tell is null.

`sun_offset_s` is half the interval where values are means, and PVGIS's own "irradiance time
offset" where they are one satellite picture.
"""

MEASURES = ("ghi", "dni", "dhi", "temp_air", "wind_speed")

DISTANCE_MIN_KM = 0.1
"""Nearer than this a station is the place; its weight stays finite."""


class WeatherError(ValueError):
    """A weather file cannot be read as what it claims; one sentence with the file and the line."""


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """Where weather was measured or modelled."""

    station: str
    """As in the table: the source and its own name, such as `knmi:260`."""
    name: str
    latitude: float
    longitude: float
    altitude: float = 0.0
    """m."""


class WeatherFile(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says: rows of `SCHEMA`, sorted by station and ts, and who must be named."""

    stations: tuple[Station, ...]
    rows: pl.DataFrame
    attribution: str


class WeatherSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a derived number has its weather from; travels with every such number."""

    source: str
    stations: tuple[tuple[str, float], ...]
    """Station and weight, nearest first; the weights sum to one."""
    source_file_sha256: tuple[str, ...]
    method: str

    def __str__(self) -> str:
        """One line for people."""
        parts = " + ".join(f"{weight:.2f} {station}" for station, weight in self.stations)
        return f"{self.source}: {parts} ({self.method})"


class PlaceWeather(msgspec.Struct, frozen=True, kw_only=True):
    """Weather of one place: rows of `SCHEMA` in rising ts, and where they come from."""

    latitude: float
    longitude: float
    rows: pl.DataFrame
    source: WeatherSource


def conform(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the rows with exactly the columns of `SCHEMA`, sorted by (station, ts)."""
    missing = [
        pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in rows
    ]
    return rows.with_columns(missing).select(SCHEMA.names()).cast(SCHEMA).sort("station", "ts")


def distance_km(latitude: float, longitude: float, station: Station) -> float:
    """Returns the great-circle distance, by the haversine."""
    a, b = math.radians(latitude), math.radians(station.latitude)
    east = math.radians(station.longitude - longitude)
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(h))


def nearest_weights(
    latitude: float, longitude: float, stations: Sequence[Station], *, nearest: int = 3
) -> tuple[tuple[str, float], ...]:
    """Returns the nearest stations with weights of one over distance that sum to one."""
    if not stations:
        raise WeatherError("there is no weather station to take weather from")
    ranked = sorted((distance_km(latitude, longitude, one), one.station) for one in stations)
    inverse = [(name, 1 / max(km, DISTANCE_MIN_KM)) for km, name in ranked[:nearest]]
    total = sum(weight for _, weight in inverse)
    return tuple((name, weight / total) for name, weight in inverse)


def blend(
    latitude: float,
    longitude: float,
    stations: Sequence[Station],
    rows: pl.DataFrame,
    *,
    nearest: int = 3,
) -> PlaceWeather:
    """Returns the weather of a place from its nearest stations, weighted by inverse distance.

    A value that one station lacks at an instant is taken from the others; null where all lack it.
    Three real stations come nearer to a real Dutch roof than each alone and than every satellite
    product compared (correlation .961 against .940 to .951 and .83 to .93; reference 1.3).
    """
    weights = nearest_weights(latitude, longitude, stations, nearest=nearest)
    return weighted(latitude, longitude, weights, rows)


def weighted(
    latitude: float, longitude: float, weights: Sequence[tuple[str, float]], rows: pl.DataFrame
) -> PlaceWeather:
    """Returns the weighted mean of chosen stations as the weather of a place."""
    names = [name for name, _ in weights]
    chosen = rows.filter(pl.col("station").is_in(names)).with_columns(
        pl.col("station").replace_strict(dict(weights), return_dtype=pl.Float64).alias("weight")
    )
    absent = set(names) - set(chosen["station"].unique())
    if absent:
        raise WeatherError(f"there is no weather of {', '.join(sorted(absent))}")
    means = [_weighted_mean(name) for name in MEASURES]
    blended = chosen.group_by("ts").agg(
        *means,
        # Of no station that tells, nobody knows.
        pl.when(pl.col("snow").is_not_null().any()).then(pl.col("snow").any()).alias("snow"),
        pl.col("sun_offset_s").min(),
        pl.col("sun_offset_s").max().alias("sun_offset_max_s"),
    )
    if (blended["sun_offset_s"] != blended["sun_offset_max_s"]).any():
        raise WeatherError(
            f"{', '.join(sorted(names))} put the sun at different times of an hour and cannot be "
            "blended"
        )
    source = WeatherSource(
        source=" + ".join(sorted(chosen["source"].unique())),
        stations=tuple(weights),
        source_file_sha256=tuple(sorted(chosen["source_file_sha256"].unique())),
        method="inverse distance" if len(names) > 1 else "single station",
    )
    placed = blended.with_columns(
        pl.lit("+".join(names)).alias("station"),
        pl.lit(source.source).alias("source"),
        pl.lit("+".join(source.source_file_sha256)).alias("source_file_sha256"),
    )
    return PlaceWeather(latitude=latitude, longitude=longitude, rows=conform(placed), source=source)


def _weighted_mean(name: str) -> pl.Expr:
    known = pl.col("weight").filter(pl.col(name).is_not_null()).sum()
    total = (pl.col(name) * pl.col("weight")).sum()
    return pl.when(known > 0).then(total / known).alias(name)
