"""What does a PVGIS file say? Typical years and hourly series, as csv or json, by pvlib's readers.

PVGIS labels hours in UTC, and its irradiance is that of one satellite picture some minutes into the
hour: a typical year states the minutes as "Irradiance Time Offset", an hourly series has them in
its labels. The sun belongs there, so they become `sun_offset_s`.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import polars as pl
from pvlib.iotools import read_pvgis_hourly, read_pvgis_tmy  # type: ignore[import-untyped]
from pvlib.irradiance import dni  # type: ignore[import-untyped]

from autarco_portal.weather import STEP_S, Station, WeatherError, WeatherFile, conform

ATTRIBUTION = "PVGIS (c) European Union"

TYPICAL_HOURS = 8_760


def parse(data: bytes, *, file: str, sha256: str) -> WeatherFile:
    """Reads one file of either kind and format. Raises WeatherError."""
    is_json = data.lstrip()[:1] == b"{"
    if is_json:
        outputs = _json_outputs(data, file)
        is_typical = "tmy_hourly" in outputs
        if not is_typical and "hourly" not in outputs:
            raise WeatherError(f"{file}: the json has neither tmy_hourly nor hourly")
    else:
        is_typical = b"time(UTC)" in data
        _check_csv(data, file)
    kind = "json" if is_json else "csv"
    read = _typical if is_typical else _series
    try:
        return read(data, kind, file, sha256)
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, WeatherError):
            raise
        raise WeatherError(f"{file}: not a PVGIS {kind} file as pvlib knows it: {error}") from error


def _typical(data: bytes, kind: str, file: str, sha256: str) -> WeatherFile:
    frame, meta = read_pvgis_tmy(io.BytesIO(data), pvgis_format=kind)
    if len(frame) != TYPICAL_HOURS:
        raise WeatherError(f"{file}: {len(frame)} hours instead of {TYPICAL_HOURS}")
    place = meta["inputs"].get("location", meta["inputs"])
    # Before PVGIS 5.3 files did not say; those values belong to the label.
    offset_h = place.get("irradiance_time_offset", place.get("irradiance time offset", 0.0))
    return _weather(
        frame,
        {name: frame[name].to_numpy() for name in ("ghi", "dni", "dhi")},
        place=place,
        database=meta["inputs"].get("meteo_data", {}).get("radiation_db", "PVGIS"),
        kind="typical year",
        offset_s=np.full(len(frame), round(offset_h * STEP_S)),
        sha256=sha256,
    )


def _series(data: bytes, kind: str, file: str, sha256: str) -> WeatherFile:
    text = io.StringIO(data.decode("latin-1"))
    frame, meta = read_pvgis_hourly(text, pvgis_format=kind)
    needed = ("poa_direct", "poa_sky_diffuse", "poa_ground_diffuse", "solar_elevation")
    missing = [name for name in needed if name not in frame]
    if missing:
        raise WeatherError(
            f"{file}: no column {', '.join(missing)}; ask PVGIS for components of radiation"
        )
    if (frame["poa_ground_diffuse"] != 0).any():
        raise WeatherError(
            f"{file}: irradiance of an inclined plane; ask PVGIS for slope 0, from which every "
            "plane follows"
        )
    dhi = frame["poa_sky_diffuse"]
    ghi = frame["poa_direct"] + dhi
    beam = dni(ghi, dhi, 90 - frame["solar_elevation"]).fillna(0.0)
    labels = frame.index
    inputs = meta["inputs"]
    place = inputs.get("location", inputs)
    database = inputs.get("meteo_data", {}).get("radiation_db") or inputs.get(
        "radiation_database", "PVGIS"
    )
    return _weather(
        frame.set_axis(labels.floor("h")),
        {"ghi": ghi.to_numpy(), "dni": beam.to_numpy(), "dhi": dhi.to_numpy()},
        place=place,
        database=database,
        kind="hourly",
        offset_s=labels.minute.to_numpy() * 60,
        sha256=sha256,
    )


def _weather(
    frame: Any,
    irradiance: dict[str, Any],
    *,
    place: dict[str, Any],
    database: str,
    kind: str,
    offset_s: Any,
    sha256: str,
) -> WeatherFile:
    latitude, longitude = float(place["latitude"]), float(place["longitude"])
    station = Station(
        station=f"pvgis:{latitude:.3f},{longitude:.3f}",
        name="PVGIS",
        latitude=latitude,
        longitude=longitude,
        altitude=float(place["elevation"]),
    )
    ts = frame.index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    rows = pl.DataFrame(
        {
            "ts": pl.Series(ts).dt.replace_time_zone("UTC"),
            "sun_offset_s": offset_s,
            # PVGIS writes nights as -0.0.
            **{name: values + 0.0 for name, values in irradiance.items()},
            "temp_air": frame["temp_air"].to_numpy(),
            "wind_speed": frame["wind_speed"].to_numpy(),
        }
    ).with_columns(
        pl.lit(station.station).alias("station"),
        pl.lit(f"{database} {kind}" if database == "PVGIS" else f"PVGIS {database} {kind}").alias(
            "source"
        ),
        pl.lit(sha256).alias("source_file_sha256"),
    )
    return WeatherFile(stations=(station,), rows=conform(rows), attribution=ATTRIBUTION)


def _json_outputs(data: bytes, file: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise WeatherError(f"{file}: not whole json, is the file cut? {error}") from error
    outputs = found.get("outputs") if isinstance(found, dict) else None
    if not isinstance(outputs, dict) or "inputs" not in found or "meta" not in found:
        raise WeatherError(f"{file}: json, but not of PVGIS")
    return outputs


def _check_csv(data: bytes, file: str) -> None:
    """Names the first line of the table that is not like the others; pvlib would only stumble."""
    lines = data.decode("latin-1").splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("time")), None)
    if first is None:
        raise WeatherError(f"{file}: no line that starts with 'time', so no PVGIS csv")
    columns = lines[first].split(",")
    for number, line in enumerate(lines[first + 1 :], first + 2):
        if not line.strip():
            return
        fields = line.split(",")
        if len(fields) != len(columns):
            raise WeatherError(
                f"{file}, line {number}: {len(fields)} columns instead of {len(columns)}, is the "
                "file cut?"
            )
        try:
            [float(field) for field in fields[1:]]
        except ValueError as error:
            raise WeatherError(f"{file}, line {number}: {error}") from error
    raise WeatherError(f"{file}: ends within its table, at line {len(lines)}, is the file cut?")
