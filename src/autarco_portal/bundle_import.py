"""How does somebody's bundle enter an instance that does not know him?

First everything is checked, then files that harm nobody when they are there twice: telemetry
through `autarco-ingest load`, derived tables, settlements, photos. The records come last, in one
transaction, so that an import that failed may be repeated.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from autarco_ingest import durable
from autarco_portal import bundle
from autarco_portal.bundle import BundleError
from autarco_portal.bundle_export import photo_of
from autarco_portal.person_record import PersonRecords
from autarco_portal.photos import PhotoError, PhotoFiles, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from autarco_portal.bundle import Manifest, OpenBundle
    from autarco_portal.person_record import Record
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.store import Store

_IDENTIFIER = re.compile(r"[a-z0-9]{8,64}")
LOAD_S_MAX = 3_600.0
"""Ten years of two inverters take a minute."""


def take_in(
    path: Path,
    store: Store,
    data: Path,
    directory: PortalDirectory,
    now: datetime,
    note: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Takes a bundle in and returns its manifest; `note` is told what is being done.

    Raises BundleError for a bundle that is not whole, StoreError where the person is known.
    """
    with bundle.opened(path) as given:
        records = _records(given)
        person = records.records["people"][0]
        if store.people.get(records.person_id) or store.people.by_email(str(person.get("email"))):
            raise BundleError("the person is known here already")
        with tempfile.TemporaryDirectory(dir=directory.root, prefix=".import-") as room:
            files = _extract(given, "telemetry", Path(room))
            _check_whose(files, records, store)
            note(f"loading {len(files)} files of telemetry")
            _load(files, data)
            kept = directory.imported(records.person_id)
            durable.make_directory(kept)
            for file in _extract(given, "derived", Path(room)):
                file.replace(kept / file.name)
            _keep_settlements(given, records, directory, Path(room))
        _keep_photos(given, records, directory)
        note("taking in the records")
        store.person_data.restore(records, now)
        return given.manifest


def _records(given: OpenBundle) -> PersonRecords:
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in given.names("records"):
        try:
            found = msgspec.json.decode(given.read(name), type=list[dict[str, Any]])
        except msgspec.MsgspecError as error:
            raise BundleError(f"{name} is no list of records") from error
        tables[Path(name).stem] = found
    people = tables.get("people", [])
    if not _IDENTIFIER.fullmatch(given.manifest.person_id):
        raise BundleError("the bundle's person has no identifier of ours")
    if [one.get("person_id") for one in people] != [given.manifest.person_id]:
        raise BundleError("the bundle is not of the person whom its manifest names")
    return PersonRecords(
        person_id=given.manifest.person_id, records={"organisations": [], **tables}
    )


def _sites(records: PersonRecords) -> Sequence[Record]:
    return records.records.get("sites", ())


def _check_whose(files: Sequence[Path], records: PersonRecords, store: Store) -> None:
    """Refuses sites and inverters that are here, and telemetry of devices that are not his."""
    homes = records.records.get("households", ())
    mine: dict[str, set[object]] = {
        "inverter_sn": {one.get("serial_number") for one in homes},
        "logger_sn": {one.get("logger_sn") for one in homes},
    }
    for serial in mine["inverter_sn"]:
        if not isinstance(serial, str) or store.sites.by_inverter(serial) is not None:
            raise BundleError("an inverter of the bundle is known here already")
    # Before any file is written: a site of that key has settlements of its own.
    if any(store.sites.record(str(one.get("public_key"))) for one in _sites(records)):
        raise BundleError("a site of the bundle is known here already")
    for file in files:
        name = "inverter_sn" if file.stem.startswith("readings-") else "logger_sn"
        try:
            found = set(pl.read_parquet(file, columns=[name])[name].unique())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise BundleError(f"{file.name} cannot be read") from error
        if not found <= mine[name]:
            raise BundleError(f"{file.name} tells of devices that are not in the bundle")


def _extract(given: OpenBundle, place: str, room: Path) -> list[Path]:
    """Copies the Parquet files of a directory; the CSV files say the same."""
    files = []
    for name in given.names(place, ".parquet"):
        file = room / Path(name).name
        given.extract(name, file)
        files.append(file)
    return files


def _load(files: Sequence[Path], data: Path) -> None:
    if not files:
        return
    named = [f"{file.stem.rpartition('-')[0]}={file}" for file in files]
    command = [sys.executable, "-m", "autarco_ingest.cli", "load", "--data", str(data), *named]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=LOAD_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"telemetry was not loaded within {LOAD_S_MAX:.0f} s") from error
    if done.returncode:
        told = done.stderr.strip().splitlines()
        raise BundleError(told[-1] if told else "telemetry could not be loaded")


def _keep_settlements(
    given: OpenBundle, records: PersonRecords, directory: PortalDirectory, room: Path
) -> None:
    sites = {str(one.get("public_key")) for one in _sites(records)}
    for name in given.names("settlements"):
        site, _, file = Path(name).name.partition("-")
        if site not in sites or not _IDENTIFIER.fullmatch(site) or not file:
            raise BundleError(f"{name} is of a site that is not in the bundle")
        draft = room / Path(name).name
        given.extract(name, draft)
        durable.make_directory(directory.settlements / site)
        durable.replace(draft, directory.settlements / site / file)


def _keep_photos(given: OpenBundle, records: PersonRecords, directory: PortalDirectory) -> None:
    photos = PhotoFiles(directory.photos)
    try:
        for record in records.records.get("photos", ()):
            photo = photo_of(record)
            name = f"photos/{photo.file_name}"
            member = given.manifest.members.get(name)
            if member is None or member.sha256 != photo.sha256:
                raise BundleError(f"{name} is not in the bundle, or another photo")
            photos.save(
                Picture(
                    data=given.read(name),
                    sha256=photo.sha256,
                    media_type=photo.media_type,
                    width=photo.width,
                    height=photo.height,
                )
            )
    except PhotoError as error:
        raise BundleError(str(error)) from error
