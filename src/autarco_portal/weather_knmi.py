"""What does a KNMI hourly file say? The text of `uurgeg_*` and of KNMI's download script.

In these files `HH` is the END of the hour in UT: HH=05 is 04:00 to 05:00, HH=24 ends at midnight.
Blank is missing. `Q` is J/cm2 of the hour, `T` and `FH` are tenths; the -1 of `RH` and `SQ` (less
than 0.05) does not occur in the columns read here, and a negative `Q` is an error. `T` is read at
the end of the hour and `FH` is its mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from autarco_portal.weather import STEP_S, Station, WeatherError, WeatherFile, conform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ATTRIBUTION = "BRON: KNMI"
"""KNMI's licence (CC BY 4.0) asks to show it."""

SOURCE = "KNMI hourly"
NEEDED = ("STN", "YYYYMMDD", "HH", "FH", "T", "Q")
W_M2_PER_J_CM2 = 1e4 / STEP_S

Q_MAX = 500
"""J/cm2 per hour; the sun outside the atmosphere gives 490."""

_STATION = re.compile(r"#?\s*(\d{3}):?\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+(-?\d+(?:\.\d+)?)\s+(\S.*)")
"""A line of the download script's header: number, longitude, latitude, altitude, name."""


def parse(
    data: bytes, *, file: str, sha256: str, stations: Mapping[str, Station] | None = None
) -> WeatherFile:
    """Reads the text of one file.

    Files of the download script name their stations' coordinates; the older `uurgeg_*` files do
    not, so that `stations` must know them (by `knmi:<number>`). Raises WeatherError.
    """
    lines = data.decode("latin-1").splitlines()
    first = next((n for n, line in enumerate(lines) if "STN," in line.replace(" ", "")), None)
    if first is None:
        raise WeatherError(f"{file}: no line '# STN,YYYYMMDD, HH, ...', so no KNMI hourly file")
    columns = [name.strip() for name in lines[first].lstrip("# ").split(",")]
    for name in NEEDED:
        if name not in columns:
            raise WeatherError(f"{file}, line {first + 1}: there is no column {name}")
    cells = _cells(lines[first + 1 :], columns, file=file, line=first + 2)
    named = dict(stations or {}) | _stations(lines[:first])
    return WeatherFile(
        stations=_known(cells, named, file=file),
        rows=_rows(cells, sha256),
        attribution=ATTRIBUTION,
    )


def parse_stations(text: str, *, file: str) -> dict[str, Station]:
    """Reads a list of stations: five rows of number, name, code, latitude and longitude."""
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    if len(rows) != 5 or len({len(row) for row in rows}) != 1:
        raise WeatherError(
            f"{file}: a list of stations has five rows (number, name, code, latitude, longitude) "
            "of equal length"
        )
    found = {}
    for number, name, _, latitude, longitude in zip(*rows, strict=True):
        try:
            place = float(latitude), float(longitude)
        except ValueError as error:
            raise WeatherError(
                f"{file}: station {number} has no coordinates: {latitude!r}, {longitude!r}"
            ) from error
        found[f"knmi:{number}"] = Station(
            station=f"knmi:{number}", name=name, latitude=place[0], longitude=place[1]
        )
    return found


def _stations(header: Sequence[str]) -> dict[str, Station]:
    found = {}
    for line in header:
        if match := _STATION.fullmatch(line.strip()):
            number, longitude, latitude, altitude, name = match.groups()
            found[f"knmi:{number}"] = Station(
                station=f"knmi:{number}",
                name=name,
                latitude=float(latitude),
                longitude=float(longitude),
                altitude=float(altitude),
            )
    return found


def _known(cells: pl.DataFrame, named: Mapping[str, Station], *, file: str) -> tuple[Station, ...]:
    found = [f"knmi:{number}" for number in cells["STN"].unique().sort()]
    for station in found:
        if station not in named:
            raise WeatherError(
                f"{file}: nothing says where station {station.removeprefix('knmi:')} is; give a "
                "list of stations"
            )
    return tuple(named[station] for station in found)


def _cells(body: Sequence[str], columns: list[str], *, file: str, line: int) -> pl.DataFrame:
    """Returns the columns we need as integers, or says which line is wrong."""
    text = pl.DataFrame({"text": body}, schema={"text": pl.String()}).with_row_index("line", line)
    text = text.filter(pl.col("text").str.strip_chars() != "")
    if text.is_empty():
        raise WeatherError(f"{file}, line {line}: there are no rows after the column names")
    commas = pl.col("text").str.count_matches(",", literal=True)
    ragged = text.filter(commas != len(columns) - 1)
    if not ragged.is_empty():
        bad = ragged.row(0, named=True)
        fields = bad["text"].count(",") + 1
        raise WeatherError(
            f"{file}, line {bad['line']}: {fields} columns instead of {len(columns)}, is the file "
            "cut?"
        )
    names = [*NEEDED, *(["S"] if "S" in columns else [])]
    split = text.select(
        "line", pl.col("text").str.split_exact(",", len(columns) - 1).alias("fields")
    ).select(
        "line",
        *(
            pl.col("fields").struct.field(f"field_{columns.index(name)}").str.strip_chars()
            .alias(name)
            for name in names
        ),
    )  # fmt: skip
    cells = split.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in names)
    for name in names:
        wrong = split.filter((split[name] != "") & cells[name].is_null())
        _refuse(wrong, name, "is not a whole number", file)
    for name in ("STN", "YYYYMMDD", "HH"):
        _refuse(cells.filter(pl.col(name).is_null()), name, "is missing", file)
    _refuse(cells.filter(~pl.col("HH").is_between(1, 24)), "HH", "is not 1 to 24", file)
    _refuse(cells.filter(~pl.col("Q").is_between(0, Q_MAX)), "Q", f"is not 0 to {Q_MAX}", file)
    dated = cells.with_columns(
        pl.col("YYYYMMDD").cast(pl.String).str.to_datetime("%Y%m%d", strict=False).alias("date")
    )
    _refuse(dated.filter(pl.col("date").is_null()), "YYYYMMDD", "is not a date", file)
    _refuse(
        dated.filter(~pl.struct("STN", "YYYYMMDD", "HH").is_first_distinct()),
        "HH", "comes twice for this day and station", file,
    )  # fmt: skip
    ends = dated.group_by("STN", maintain_order=True).last().filter(pl.col("HH") != 24)
    _refuse(ends, "HH", "ends the station's rows within a day, is the file cut?", file)
    return dated


def _refuse(rows: pl.DataFrame, name: str, why: str, file: str) -> None:
    if not rows.is_empty():
        row = rows.row(0, named=True)
        raise WeatherError(f"{file}, line {row['line']}: {name} {row[name]!r} {why}")


def _rows(cells: pl.DataFrame, sha256: str) -> pl.DataFrame:
    return conform(
        cells.select(
            pl.format("knmi:{}", "STN").alias("station"),
            # HH is the end: hour 1 starts with the day.
            (pl.col("date") + pl.duration(hours=pl.col("HH") - 1))
            .dt.replace_time_zone("UTC")
            .alias("ts"),
            pl.lit(STEP_S // 2).alias("sun_offset_s"),
            (pl.col("Q") * W_M2_PER_J_CM2).alias("ghi"),
            (pl.col("T") / 10).alias("temp_air"),
            (pl.col("FH") / 10).alias("wind_speed"),
            (pl.col("S") == 1 if "S" in cells.columns else pl.lit(None)).alias("snow"),
            pl.lit(SOURCE).alias("source"),
            pl.lit(sha256).alias("source_file_sha256"),
        )
    )
