"""Where is the weather table, and what came into it from which file?

One Parquet file per station below `portal/weather`, rows of `weather.SCHEMA`, and an index of the
stations and of every imported file with its SHA-256. Importing a file again changes nothing. Where
two files tell of one hour of a station, the one imported later counts: KNMI corrects its files.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from autarco_ingest import durable, paths
from autarco_portal.weather import SCHEMA, Station, WeatherError, WeatherFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from autarco_portal.portal_paths import PortalDirectory


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What one file brought."""

    file: str
    sha256: str
    imported_at: datetime
    source: str
    attribution: str
    stations: tuple[str, ...]
    begins: datetime
    ends: datetime
    """Start of the last hour."""
    hours: int
    hours_changed: int
    """New ones, and those that an earlier file told otherwise."""
    hours_without_ghi: int


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The stations that the table knows, and the files in the order they came."""

    stations: tuple[Station, ...] = ()
    files: tuple[Imported, ...] = ()


class WeatherStore:
    """The weather table of one portal directory."""

    def __init__(self, portal: PortalDirectory) -> None:
        self._portal = portal

    def index(self) -> Index:
        """Returns what there is; raises WeatherError for an index that cannot be read."""
        path = self._portal.weather_index
        try:
            return msgspec.json.decode(path.read_bytes(), type=Index)
        except FileNotFoundError:
            return Index()
        except msgspec.DecodeError as error:
            raise WeatherError(f"{path}: {error}; import the weather files again") from error

    def has(self, sha256: str) -> bool:
        """Tells whether a file with that checksum was imported."""
        return any(known.sha256 == sha256 for known in self.index().files)

    def add(self, found: WeatherFile, *, file: str, sha256: str, now: datetime) -> Imported:
        """Takes the rows of one file into the table; raises OSError.

        The rows are on disk before the index names them, so an interrupted import is repeated.
        """
        changed = sum(
            self._merge(station.station, found.rows.filter(pl.col("station") == station.station))
            for station in found.stations
        )
        rows = found.rows
        imported = Imported(
            file=file,
            sha256=sha256,
            imported_at=now,
            source=" + ".join(sorted(rows["source"].unique())),
            attribution=found.attribution,
            stations=tuple(station.station for station in found.stations),
            begins=rows["ts"].min(),  # type: ignore[arg-type] # a file has rows
            ends=rows["ts"].max(),  # type: ignore[arg-type]
            hours=len(rows),
            hours_changed=changed,
            hours_without_ghi=rows["ghi"].null_count(),
        )
        before = self.index()
        stations = {one.station: one for one in (*before.stations, *found.stations)}
        files = [known for known in before.files if known.sha256 != sha256]
        self._write_index(
            Index(
                stations=tuple(stations[name] for name in sorted(stations)),
                files=(*files, imported),
            )
        )
        return imported

    def rows(
        self, begins: datetime, ends: datetime, stations: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Returns the hours from `begins` on and before `ends`, of some stations or of all."""
        names = [one.station for one in self.index().stations] if stations is None else stations
        files = [self._portal.weather_rows(name) for name in names]
        frames = [
            pl.scan_parquet(file).filter(pl.col("ts") >= begins, pl.col("ts") < ends).collect()
            for file in files
            if file.exists()
        ]
        return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)

    def _merge(self, station: str, rows: pl.DataFrame) -> int:
        """Returns how many hours are other than before."""
        path = self._portal.weather_rows(station)
        before = pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=SCHEMA)
        told = [name for name in SCHEMA.names() if not name.startswith("source")]
        changed = len(rows.join(before, on=told, how="anti", nulls_equal=True))
        kept = before.join(rows, on="ts", how="anti")
        durable.make_directory(path.parent)
        _replace(path, lambda draft: pl.concat([kept, rows]).sort("ts").write_parquet(draft))
        return changed

    def _write_index(self, index: Index) -> None:
        text = msgspec.json.format(msgspec.json.encode(index), indent=1)
        _replace(self._portal.weather_index, lambda draft: draft.write_bytes(text))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    draft = paths.draft(path)
    write(draft)
    durable.replace(draft, path)
