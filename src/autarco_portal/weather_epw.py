"""What does an EPW file say? EnergyPlus weather, by pvlib's reader.

EPW counts hours 1 to 24 by their END in local standard time; pvlib's reader labels their start, as
our table does. Two traps:

- **The year.** A typical year has months of different years, and files converted from measurements
  often carry the template's years instead of their own. `year` puts all rows into the year that the
  caller knows.
- **The zone.** PVGIS writes UTC rows under a header of another zone (seen with PVGIS 5.3: equal in
  all rows to its csv in UTC). Its files are known by the comment with the irradiance time offset,
  which counts from the end of the hour.
"""

from __future__ import annotations

import calendar
import io
import re
from typing import Any

import numpy as np
import polars as pl
from pvlib.iotools import read_epw  # type: ignore[import-untyped]

from autarco_portal.weather import STEP_S, Station, WeatherError, WeatherFile, conform

HEADER_LINES = 8
COLUMNS = 35

# EnergyPlus marks what is missing by these values (or above).
MISSING = {"ghi": 9_999.0, "dni": 9_999.0, "dhi": 9_999.0, "temp_air": 99.9, "wind_speed": 999.0}

_PVGIS = re.compile(r"Irradiance Time Offset \(h\):\s*(-?\d+\.?\d*)")


def parse(data: bytes, *, file: str, sha256: str, year: int | None = None) -> WeatherFile:
    """Reads one file; `year` replaces the years of its rows. Raises WeatherError."""
    text = data.decode("latin-1")
    lines = text.splitlines()
    _check(lines, file)
    frame, meta = read_epw(io.StringIO(text))
    if year is not None:
        _check_year(frame, year, file)
        frame, meta = read_epw(io.StringIO(text), coerce_year=year)
    pvgis = _PVGIS.search("\n".join(lines[:HEADER_LINES]))
    if pvgis:
        labels = frame.index.tz_localize(None)
        offset_s = round((1 + float(pvgis[1])) * STEP_S)
    else:
        labels = frame.index.tz_convert("UTC").tz_localize(None)
        offset_s = STEP_S // 2
    station = Station(
        station=f"epw:{meta['WMO_code']}:{meta['latitude']:.3f},{meta['longitude']:.3f}",
        name=meta["city"],
        latitude=meta["latitude"],
        longitude=meta["longitude"],
        altitude=meta["altitude"],
    )
    measures = {}
    for name, missing in MISSING.items():
        values = frame[name].to_numpy(dtype=float) + 0.0
        measures[name] = pl.Series(np.where(values >= missing, np.nan, values), nan_to_null=True)
    ts = labels.to_numpy().astype("datetime64[us]")
    rows = pl.DataFrame({"ts": pl.Series(ts).dt.replace_time_zone("UTC"), **measures}).with_columns(
        pl.lit(station.station).alias("station"),
        pl.lit(offset_s).alias("sun_offset_s"),
        pl.lit(f"EPW {meta['data_type']}").alias("source"),
        pl.lit(sha256).alias("source_file_sha256"),
    )
    return WeatherFile(
        stations=(station,), rows=conform(rows), attribution=f"EPW: {meta['data_type']}"
    )


def _check(lines: list[str], file: str) -> None:
    """Finds what pvlib would read as something else: short rows, no numbers, missing hours."""
    if not lines or not lines[0].startswith("LOCATION,") or lines[0].count(",") < 9:
        raise WeatherError(f"{file}, line 1: no EPW file, it does not start with LOCATION,...")
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    rows = rows[HEADER_LINES:]
    for number, line in rows:
        fields = line.split(",")
        if len(fields) != COLUMNS:
            raise WeatherError(
                f"{file}, line {number}: {len(fields)} columns instead of {COLUMNS}, is the file "
                "cut?"
            )
        try:
            [int(field) for field in fields[:4]]
            [float(fields[column]) for column in (6, 13, 14, 15, 21)]
        except ValueError as error:
            raise WeatherError(f"{file}, line {number}: {error}") from error
    if not rows or len(rows) % 24 or rows[-1][1].split(",")[3].strip() != "24":
        last = rows[-1][0] if rows else len(lines)
        raise WeatherError(f"{file}: ends within a day, at line {last}, is the file cut?")


def _check_year(frame: Any, year: int, file: str) -> None:
    has_leap_day = ((frame["month"] == 2) & (frame["day"] == 29)).any()
    if has_leap_day and not calendar.isleap(year):
        raise WeatherError(f"{file}: has a 29 February, so it cannot be the year {year}")
