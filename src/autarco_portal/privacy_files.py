"""Which files of the portal tell something of a site, and how do they go?

Photos are named by their hash and may belong to several sites; settlements lie in a directory per
site; derived tables hold all sites of a month and are written anew, whole, while no analysis runs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autarco_ingest import durable, file_lock, paths
from autarco_portal import guarantee, shown_totals
from autarco_portal.photos import PhotoFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from autarco_portal.photos import Photo
    from autarco_portal.portal_paths import PortalDirectory


def delete_photos(portal: PortalDirectory, photos: Iterable[Photo]) -> int:
    """Deletes the files of photos that no site has any more; returns how many there were."""
    files = PhotoFiles(portal.photos)
    return sum(files.remove(photo) for photo in photos)


def delete_settlements(portal: PortalDirectory, sites: Iterable[str], *, keep_paid: bool) -> int:
    """Deletes settlements of sites; returns how many files went.

    With `keep_paid` those stay that owe something, with their claim files.
    """
    gone = 0
    for site in sites:
        directory = portal.settlements / site
        if not directory.is_dir():
            continue
        for document in sorted(directory.glob("*.json")):
            if keep_paid and _is_paid(document):
                continue
            for file in (document, document.with_suffix(".zip")):
                if file.exists():
                    file.unlink()
                    gone += 1
        if not any(directory.iterdir()):
            directory.rmdir()
        durable.sync(portal.settlements)
    return gone


def forget_totals(portal: PortalDirectory, sites: Collection[str]) -> int:
    """Takes sites out of the totals that were shown; returns how many files changed.

    A portal that runs forgets them by itself once they have left the store. Raises OSError.
    """
    return int(shown_totals.forget(portal.shown_totals, sites))


def delete_imported(portal: PortalDirectory, person_id: str) -> int:
    """Deletes the derived tables that somebody brought along; returns how many there were."""
    directory = portal.imported(person_id)
    files = sorted(directory.glob("*")) if directory.is_dir() else []
    for file in files:
        file.unlink()
    if directory.is_dir():
        directory.rmdir()
        durable.sync(directory.parent)
    return len(files)


def delete_bundles(portal: PortalDirectory, person_id: str) -> int:
    """Deletes what somebody had prepared of his data; returns how many files there were.

    Waits for one that is being written: it would come back otherwise.
    """
    gone = 0
    for lock in sorted(portal.bundles.glob(f"{person_id}-*.lock")):
        with file_lock.held(lock):
            for file in (lock.with_suffix(".zip"), lock.with_suffix(".json"), lock):
                if file.exists():
                    file.unlink()
                    gone += 1
    return gone


def erase_from_tables(portal: PortalDirectory, sites: Collection[str]) -> int:
    """Writes the derived tables anew without the sites; returns how many files changed.

    Waits for an analysis that runs. Raises OSError and pyarrow's errors.
    """
    if not portal.analytics.is_dir() or not sites:
        return 0
    wanted = pa.array(sorted(sites), pa.string())
    changed = 0
    with file_lock.held(portal.analysis_lock):
        for file in sorted(portal.analytics.rglob("*.parquet")):
            changed += _without(file, wanted)
    return changed


def erase_from_summaries(portal: PortalDirectory, inverters: Collection[str]) -> int:
    """Writes what the pages keep of past days anew without the inverters; returns how many changed.

    A running portal finds the files under their names, and sums them up anew by itself.
    """
    wanted = pa.array(sorted(inverters), pa.string())
    changed = 0
    for file in sorted(portal.summaries.glob("*.parquet")) if portal.summaries.is_dir() else ():
        # That portal may have removed one meanwhile.
        with contextlib.suppress(FileNotFoundError):
            changed += _without(file, wanted, column="inverter_sn")
    return changed


def sites_in_tables(portal: PortalDirectory) -> set[str]:
    """Returns the sites that the derived tables name: after a restore, to find who came back."""
    found: set[str] = set()
    for file in portal.analytics.rglob("*.parquet") if portal.analytics.is_dir() else ():
        if "site_id" in pq.read_schema(file).names:
            column = pq.read_table(file, columns=["site_id"]).column("site_id")
            found.update(str(site) for site in pc.unique(column).to_pylist() if site is not None)
    return found


def _without(file: Path, gone: pa.StringArray, *, column: str = "site_id") -> bool:
    if column not in pq.read_schema(file).names:
        return False
    rows = pq.read_table(file)
    whose = rows.column(column).cast(pa.string())
    kept = rows.filter(pc.invert(pc.is_in(whose, value_set=gone)))
    if kept.num_rows == rows.num_rows:
        return False
    if not kept.num_rows and column == "site_id":
        file.unlink()
        durable.sync(file.parent)
        return True
    draft = paths.draft(file)
    pq.write_table(kept, draft, compression="zstd")
    durable.replace(draft, file)
    return True


def _is_paid(document: Path) -> bool:
    """Whether it owes something; one that cannot be read is kept: it may be evidence."""
    try:
        return guarantee.from_json(document.read_bytes()).compensation_eur > 0
    except msgspec.DecodeError:
        return True
