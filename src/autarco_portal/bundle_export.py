"""How does everything about a person come together in one file?

Records from the store, telemetry from the lake, derived tables, settlements and photos from the
data directory; `bundle` writes them. Files are made in a directory beside the result, which appears
whole or not at all, for its owner's eyes only.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from autarco_ingest import durable
from autarco_portal import bundle_about, bundle_telemetry, guarantee
from autarco_portal.bundle import BundleError, BundleWriter
from autarco_portal.photos import Photo, PhotoError, PhotoFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date, datetime

    from autarco_portal.bundle import Manifest, Profile
    from autarco_portal.bundle_telemetry import Telemetry
    from autarco_portal.person_record import Households, PersonRecords, Record
    from autarco_portal.portal_paths import PortalDirectory


def export(
    records: PersonRecords,
    lake: Telemetry,
    directory: PortalDirectory,
    out: Path,
    *,
    profile: Profile,
    now: datetime,
    generated_at: datetime | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Writes the bundle of a person to `out`, which must not exist; returns its manifest.

    `records` are of the same profile. `generated_at` is what the manifest says instead of `now`:
    that of another bundle, to compare both byte for byte. Raises BundleError.
    """
    if out.exists():
        raise BundleError(f"{out} exists already")
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as room:
            draft = Path(room) / "bundle.zip"
            with BundleWriter(draft) as writer:
                _write(writer, records, lake, directory, Path(room), profile, now, progress)
                manifest = writer.finish(
                    profile=profile,
                    person_id=records.person_id,
                    generated_at=generated_at or now,
                    columns={
                        name: bundle_telemetry.columns(name) for name in bundle_telemetry.TABLES
                    },
                )
            draft.chmod(0o600)
            durable.sync(draft)
            # A link, because a rename would replace a file that came meanwhile.
            os.link(draft, out)
            durable.sync(out.parent)
    except FileExistsError as error:
        raise BundleError(f"{out} exists already") from error
    except PhotoError as error:
        raise BundleError(str(error)) from error
    except OSError as error:
        raise BundleError(f"cannot write {out}: {error.strerror}") from error
    return manifest


def _write(
    writer: BundleWriter,
    records: PersonRecords,
    lake: Telemetry,
    directory: PortalDirectory,
    room: Path,
    profile: Profile,
    now: datetime,
    progress: Callable[[int, int], None],
) -> None:
    for table, found in sorted(records.records.items()):
        writer.add_json(f"records/{table}.json", found, rows=len(found))
    has_telemetry = False
    for pair in bundle_telemetry.write(lake, records.households.present, now, room, progress):
        has_telemetry = True
        _add_pair(writer, "telemetry", pair.name, room, pair.rows)
    if profile == "access":
        for name, rows in _derived(directory, records):
            pq.write_table(rows, room / f"{name}.parquet", compression="zstd")
            pyarrow.csv.write_csv(rows, room / f"{name}.csv")
            _add_pair(writer, "derived", name, room, rows.num_rows)
        for site in sorted(records.households.sites):
            first_day = records.households.first_days.get(site)
            for file in _settlements(directory, site, first_day):
                writer.add_file(f"settlements/{site}-{file.name}", file)
    photos = PhotoFiles(directory.photos)
    for record in records.records.get("photos", ()):
        photo = photo_of(record)
        name = f"photos/{photo.file_name}"
        # Two sites of one person may have the same photo.
        if name not in writer:
            writer.add(name, photos.load(photo))
    about = bundle_about.about(records.records, telemetry=has_telemetry)
    writer.add_json("about.json", {"profile": profile, **about})


def _add_pair(writer: BundleWriter, place: str, name: str, room: Path, rows: int) -> None:
    """Moves a pair of files into the bundle; they are not needed on disk any more."""
    for suffix in (".parquet", ".csv"):
        path = room / f"{name}{suffix}"
        writer.add_file(f"{place}/{name}{suffix}", path, rows=rows)
        path.unlink()


def _settlements(directory: PortalDirectory, site: str, first_day: date | None) -> list[Path]:
    """Settlements of a site as documents and claim files, with those they stand in for.

    Without periods that ended before somebody's first day there; None is since ever.
    """
    place = directory.settlements / site
    found = sorted(path for path in place.glob("*") if path.suffix in (".json", ".zip"))
    if first_day is None:
        return found
    anothers = {
        path.stem
        for path in found
        if path.suffix == ".json"
        and guarantee.from_json(path.read_bytes()).years[-1].ends_before <= first_day
    }
    return [path for path in found if path.stem not in anothers]


def photo_of(record: Record) -> Photo:
    """Returns the photo that a record tells of; raises PhotoError for no such record."""
    try:
        return msgspec.convert({**record, "site": str(record["site_number"])}, type=Photo)
    except (KeyError, msgspec.ValidationError) as error:
        raise PhotoError("a record of a photo is none of ours") from error


# --- derived tables -------------------------------------------------------------------------


def _derived(directory: PortalDirectory, records: PersonRecords) -> Iterator[tuple[str, pa.Table]]:
    """Yields what was derived from telemetry: of each table his rows, or those that were imported.

    Until the analysis has run, an instance that took somebody in has only what he brought along.
    """
    brought = directory.imported(records.person_id)
    names = {path.name for path in _directories(directory.analytics)}
    names |= {path.stem for path in brought.glob("*.parquet")}
    for name in sorted(names):
        files = sorted(directory.table(name).glob("*.parquet"))
        rows = _of(files, records.households) if files else None
        if (rows is None or rows.is_empty()) and (brought / f"{name}.parquet").exists():
            rows = pl.read_parquet(brought / f"{name}.parquet")
        if rows is not None and not rows.is_empty():
            yield name, rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def _directories(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _of(files: list[Path], home: Households) -> pl.DataFrame:
    rows = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore")
    names = rows.collect_schema().names()
    if not {"site_id", "date"} <= set(names):
        raise BundleError(f"the derived table in {files[0].parent} has no site_id or no date")
    his = pl.lit(value=False)
    for site in home.sites:
        part = pl.col("site_id") == site
        if site in home.first_days:
            part &= pl.col("date") >= home.first_days[site]
        his |= part
    return rows.filter(his).sort(["site_id", "date", *_rest(names)]).collect()


def _rest(names: list[str]) -> list[str]:
    return [name for name in names if name not in ("site_id", "date")]
