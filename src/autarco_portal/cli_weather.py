"""`autarco-portal import-weather`: which weather files come into the weather table, and how?"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError, console, data_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from autarco_portal.cli_command import Add
    from autarco_portal.weather_store import Imported, Index


def register(add: Add) -> None:
    """Adds the command."""
    command = add(
        "import-weather",
        _import_weather,
        "Take weather files of KNMI, PVGIS or EPW into the weather table.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a zip is fine")
    command.add_argument(
        "--stations",
        type=Path,
        metavar="CSV",
        help="where KNMI stations are, for files that do not tell",
    )
    command.add_argument("--year", type=int, metavar="Y", help="the true year of an EPW file")


def _import_weather(parsed: argparse.Namespace) -> int:
    from autarco_ingest.progress import Meter
    from autarco_portal import weather_files
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.weather import WeatherError
    from autarco_portal.weather_store import WeatherStore

    store = WeatherStore(PortalDirectory.of(data_directory(parsed)))
    brought: list[Imported] = []
    known: list[str] = []
    at = parsed.stations
    try:
        stations = weather_files.load_stations(at) if at is not None else None
        with Meter("weather files", len(parsed.files)) as meter:
            for at in parsed.files:
                sha256 = hashlib.sha256(at.read_bytes()).hexdigest()
                if store.has(sha256):
                    known.append(at.name)
                else:
                    found = weather_files.load_weather(at, stations=stations, year=parsed.year)
                    now = datetime.now(UTC)
                    brought.append(store.add(found, file=at.name, sha256=sha256, now=now))
                meter.advance(1, at.name)
        index = store.index()
    except WeatherError as error:
        raise UsageError(str(error)) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{at}: is no text: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot read {error.filename or at}: {error.strerror}") from error
    _show(brought, known, index)
    return DONE


def _show(brought: Iterable[Imported], known: Iterable[str], index: Index) -> None:
    from rich.table import Table

    shown = console()
    table = Table("file", "stations", "from", "to", box=None, pad_edge=False)
    for name in ("hours", "changed", "dark"):
        table.add_column(name, justify="right")
    for one in brought:
        table.add_row(
            one.file,
            ", ".join(one.stations),
            f"{one.begins:%Y-%m-%d}",
            f"{one.ends:%Y-%m-%d}",
            f"{one.hours:,}",
            f"{one.hours_changed:,}",
            f"{one.hours_without_ghi:,}",
        )
    if table.row_count:
        shown.print(table)
        shown.print("changed: new, or other than before; dark: hours without irradiance, a gap")
    for name in known:
        shown.print(f"{name}: is in the table already")
    shown.print(
        f"{len(index.stations)} stations: "
        + ", ".join(f"{one.station} {one.name}" for one in index.stations),
    )
    for attribution in sorted({one.attribution for one in index.files}):
        shown.print(attribution)
