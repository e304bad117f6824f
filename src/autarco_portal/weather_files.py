"""Which kind of weather file is this? Reads it from disk and hands its bytes to the right importer.

The hash kept with every row is that of the file as it lies on disk, a zip included, so that anyone
can check which file a number came from.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

from autarco_portal import weather_epw, weather_knmi, weather_pvgis
from autarco_portal.weather import WeatherError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from autarco_portal.weather import Station, WeatherFile

UNZIPPED_BYTES_MAX = 256 * 2**20
"""Ten years of KNMI are 14 MB; more than this is no weather file but a bomb."""


def load_weather(
    path: Path, *, stations: Mapping[str, Station] | None = None, year: int | None = None
) -> WeatherFile:
    """Reads a weather file from disk. Raises WeatherError, and OSError where it cannot be read.

    `stations` tells where KNMI stations are, for files that do not; `year` is the true year of an
    EPW file that carries others.
    """
    on_disk = path.read_bytes()
    sha256 = hashlib.sha256(on_disk).hexdigest()
    file = path.name
    data = _unzipped(on_disk, file) if on_disk.startswith(b"PK") else on_disk
    if not data.strip():
        raise WeatherError(f"{file}: is empty")
    if data.startswith(b"LOCATION,"):
        return weather_epw.parse(data, file=file, sha256=sha256, year=year)
    if year is not None:
        raise WeatherError(f"{file}: only EPW files take a year, this one knows its own")
    if data.lstrip()[:1] == b"{" or data.startswith(b"Latitude (decimal degrees)"):
        return weather_pvgis.parse(data, file=file, sha256=sha256)
    return weather_knmi.parse(data, file=file, sha256=sha256, stations=stations)


def load_stations(path: Path) -> dict[str, Station]:
    """Reads a list of KNMI stations from disk, for `load_weather`. Raises WeatherError."""
    return weather_knmi.parse_stations(path.read_text(encoding="utf-8"), file=path.name)


def _unzipped(on_disk: bytes, file: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(on_disk)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) != 1:
                raise WeatherError(f"{file}: holds {len(members)} files, a weather zip holds one")
            if members[0].file_size > UNZIPPED_BYTES_MAX:
                raise WeatherError(
                    f"{file}: {members[0].file_size} bytes unzipped, limit {UNZIPPED_BYTES_MAX}"
                )
            return archive.read(members[0])
    except zipfile.BadZipFile as error:
        raise WeatherError(f"{file}: a damaged zip: {error}") from error
