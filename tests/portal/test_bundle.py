"""Is everything in the bundle, nobody else, and does another instance hand out the same bytes?"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sqlalchemy import delete

import person_rows
import rows
from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from autarco_portal import (
    bundle,
    bundle_export,
    bundle_import,
    bundle_telemetry,
    photos,
    privacy_files,
)
from autarco_portal.bundle import BundleError
from autarco_portal.lake_reader import LakeReader
from autarco_portal.photos import Photo, PhotoFiles, PhotoKind
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.store import Store
from autarco_portal.store.declarative import Base
from autarco_portal.store.engine import make_engine, writing
from autarco_portal.store.person_rules import REACHES
from autarco_portal.store.record_tables import PhotoRow
from autarco_portal.store.tables import PersonRow
from person_rows import ANNA, BOB, LOGGERS, NOW, SERIALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_portal.bundle import Manifest, Profile

FIRST = datetime(2024, 12, 31, 22, tzinfo=NOW.tzinfo)


class Instance:
    """A data directory with a database, as a running portal has them."""

    def __init__(self, root: Path, database: Path, to: Path) -> None:
        """Copies the database to `to`: another one may use the same data directory."""
        self.data = paths.DataDirectory.at(root)
        self.data.create()
        self.directory = PortalDirectory.of(self.data)
        self.directory.root.mkdir(exist_ok=True)
        file = shutil.copy(database, to)
        self.store = Store(make_engine(str(file)))
        self.lake = LakeReader(self.data)

    def export(
        self,
        out: Path,
        *,
        profile: Profile = "access",
        generated_at: datetime | None = None,
    ) -> Manifest:
        is_portable = profile == "portability"
        records = self.store.person_data.collect(ANNA, NOW, is_portable=is_portable)
        return bundle_export.export(
            records,
            self.lake,
            self.directory,
            out,
            profile=profile,
            now=NOW,
            generated_at=generated_at,
        )

    def take_in(self, path: Path) -> Manifest:
        return bundle_import.take_in(path, self.store, self.data.root, self.directory, NOW)


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("databases")
    for name in ("filled", "empty"):
        engine = person_rows.database(place / name)
        if name == "filled":
            person_rows.fill(engine)
            with writing(engine) as session:
                session.execute(delete(PhotoRow))
        engine.dispose()
    return place / "filled", place / "empty"


@pytest.fixture(scope="module")
def here(
    databases: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Instance]:
    place = tmp_path_factory.mktemp("here")
    found = Instance(place / "data", databases[0], place / "portal.sqlite")
    fill_lake(found.data)
    fill_files(found)
    yield found
    found.store.close()


@pytest.fixture(scope="module")
def bundled(here: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Anna's bundle."""
    out = tmp_path_factory.mktemp("bundled") / "anna.zip"
    here.export(out)
    return out


@pytest.fixture
def changing(here: Instance, tmp_path: Path) -> Iterator[Instance]:
    """The same instance, with a database that a test may change."""
    here.store.close()
    database = here.data.root.parent / "portal.sqlite"
    found = Instance(here.data.root, database, tmp_path / "changing.sqlite")
    yield found
    found.store.close()


@pytest.fixture
def there(databases: tuple[Path, Path], tmp_path: Path) -> Iterator[Instance]:
    found = Instance(tmp_path / "there", databases[1], tmp_path / "there.sqlite")
    yield found
    found.store.close()


def fill_lake(data: paths.DataDirectory) -> None:
    lake = Lake(LocalStore(data.lake), "n1")
    readings = rows.readings(
        *(
            rows.reading(
                ts=FIRST + timedelta(hours=hour),
                inverter_sn=SERIALS[who],
                logger_sn=LOGGERS[who],
                ac_power=hour,
                source="203.0.113.0/24",
            )
            for hour in range(30)
            for who in (ANNA, BOB)
        )
    )
    sessions = rows.sessions(
        *({"at": FIRST, "logger_sn": LOGGERS[who], "firmware": f"F{who}"} for who in (ANNA, BOB))
    )
    frames = rows.quarantine(
        *(
            {"received_at": FIRST, "logger_sn": LOGGERS[who], "frame": who.encode()}
            for who in (ANNA, BOB)
        )
    )
    lake.commit(1, readings, sessions, frames)
    moment = catalog.Moment(
        readings=lake.files("readings"),
        sessions=lake.files("sessions"),
        quarantine=lake.files("quarantine"),
    )
    catalog.rebuild(data, moment, time_zone="Europe/Amsterdam")


def fill_files(instance: Instance) -> None:
    """A derived table of two months, and the same photo of both sites and one of Anna's."""
    place = instance.directory.table("site_day")
    place.mkdir(parents=True)
    for month in (1, 2):
        table = pa.table(
            {
                "site_id": ["annasite", "bobssite"],
                "date": [date(2025, month, 3)] * 2,
                "energy_kwh": [1.5 * month, 99.0],
            }
        )
        pq.write_table(table, instance.directory.month("site_day", date(2025, month, 3)))
    for site in ("annasite", "bobssite"):
        place = instance.directory.settlements / site
        place.mkdir(parents=True)
        (place / "C-1.year-1.v1.json").write_text(f'{{"site_id":"{site}"}}')
        (place / "C-1.year-1.v1.zip").write_bytes(site.encode())
    for site, colour in (("annasite", 10), ("annasite", 200), ("bobssite", 90)):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "PNG")
        picture = photos.stripped(buffer.getvalue())
        PhotoFiles(instance.directory.photos).save(picture)
        instance.store.photos.add(
            Photo(
                sha256=picture.sha256,
                site=site,
                kind=PhotoKind.ROOF,
                media_type=picture.media_type,
                bytes=len(picture.data),
                width=8,
                height=8,
                uploaded_by=BOB,
                uploaded_at=NOW,
                verdict=photos.Verdict(is_approved=True, reviewed_by=BOB, reviewed_at=NOW),
            )
        )


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- out ------------------------------------------------------------------------------------


def test_a_bundle_holds_every_table_that_is_about_the_person(bundled: Path) -> None:
    found = members(bundled)
    manifest = msgspec.json.decode(found["manifest.json"], type=bundle.Manifest)
    assert set(found) == {*manifest.members, "manifest.json"}
    for name in REACHES:
        assert manifest.members[f"records/{name}.json"].rows, name
    # Every table of the lake, the year that it spans, and every column that is not derived.
    for table in schema.TABLES:
        names = [column.name for column in bundle_telemetry.columns(table.name)]
        assert set(names) == {column.name for column in table.columns} - set(
            bundle_telemetry.DERIVED
        )
        files = [name for name in found if name.startswith(f"telemetry/{table.name}-")]
        assert files
        for name in files:
            if name.endswith(".csv"):
                assert found[name].decode().splitlines()[0] == ",".join(f'"{n}"' for n in names)
            else:
                assert pq.read_schema(io.BytesIO(found[name])).names == names
    assert manifest.members["telemetry/readings-2024.csv"].rows == 2
    assert manifest.members["telemetry/readings-2025.parquet"].rows == 28
    assert [name for name in found if name.startswith("photos/")]
    assert manifest.members["derived/site_day.csv"].rows == 2
    assert found["settlements/annasite-C-1.year-1.v1.zip"] == b"annasite"
    assert set(manifest.columns) == {table.name for table in schema.TABLES}
    assert bundled.stat().st_mode & 0o077 == 0


def test_nothing_of_anybody_else_is_in_any_file(bundled: Path) -> None:
    canaries = [
        word.encode()
        for word in ("BOB ", BOB, "bobssite", "bob@example.org", SERIALS[BOB], str(LOGGERS[BOB]))
    ]
    for name, content in members(bundled).items():
        texts = [content]
        if name.endswith(".parquet"):
            # What compression hides from a search of bytes.
            frame = pl.read_parquet(content).with_columns(pl.col(pl.Binary).bin.encode("hex"))
            texts.append(frame.write_json().encode())
        for text in texts:
            assert not [word for word in canaries if word in text], name
            assert BOB.encode().hex().encode() not in text


def test_what_it_is_for_and_who_gets_it_is_told(bundled: Path) -> None:
    about = json.loads(members(bundled)["about.json"])
    assert {one["purpose"] for one in about["purposes"]} >= {"monitoring", "guarantee", "research"}
    assert all(one["text"]["nl"] and one["text"]["en"] for one in about["purposes"])
    assert "telemetry" in about["categories"]
    assert {one["attribute"] for one in about["sources"]} >= {"name", "email", "street"}
    assert about["recipients"][0]["recipient"] == person_rows.canary(ANNA, "organisations", "name")
    assert {one["store"] for one in about["retention"]} >= {"readings", "audit_log"}


def test_what_is_taken_elsewhere_has_no_scores(here: Instance, tmp_path: Path) -> None:
    here.export(tmp_path / "anna.zip", profile="portability")

    found = members(tmp_path / "anna.zip")
    assert "telemetry/readings-2025.csv" in found
    assert not [name for name in found if name.startswith(("derived/", "settlements/"))]
    assert "records/alarms.json" not in found


def test_progress_comes_part_by_part(here: Instance, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    bundle_export.export(
        here.store.person_data.collect(ANNA, NOW),
        here.lake,
        here.directory,
        tmp_path / "anna.zip",
        profile="access",
        now=NOW,
        progress=lambda done, total: told.append((done, total)),
    )

    # From December 2024 to May 2026: seven quarters, and twice three years.
    assert told == [(step, 13) for step in range(1, 14)]


def test_telemetry_from_after_it_moved_is_the_next_ones(changing: Instance, tmp_path: Path) -> None:
    moved = FIRST + timedelta(hours=10)
    changing.store.sites.uninstall("annasite", SERIALS[ANNA], moved, NOW)

    manifest = changing.export(tmp_path / "anna.zip")

    counts = [manifest.members[f"telemetry/readings-{year}.csv"].rows for year in (2024, 2025)]
    assert counts == [2, 8]


# --- in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["access", "portability"])
def test_another_instance_hands_out_the_same_bytes(
    here: Instance, there: Instance, tmp_path: Path, profile: Profile
) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    here.export(first, profile=profile)

    manifest = there.take_in(first)
    there.export(second, profile=profile, generated_at=manifest.generated_at)

    found = members(second)
    for name, content in members(first).items():
        assert found[name] == content, name
    assert first.read_bytes() == second.read_bytes()
    assert there.store.sites.record("annasite") is not None
    # What was brought along goes when he goes.
    brought = 1 if profile == "access" else 0
    assert privacy_files.delete_imported(there.directory, ANNA) == brought
    assert not there.directory.imported(ANNA).exists()


def test_a_bundle_comes_in_where_nobody_knows_the_person(here: Instance, bundled: Path) -> None:
    with pytest.raises(BundleError, match="known here already"):
        here.take_in(bundled)


def rewritten(path: Path, to: Path, name: str, content: bytes, *, honest: bool) -> Path:
    """A bundle with another file in it; an honest one has the right hash."""
    files = members(path)
    manifest = msgspec.json.decode(files.pop("manifest.json"), type=bundle.Manifest)
    files[name] = content
    with bundle.BundleWriter(to) as writer:
        for member, data in files.items():
            writer.add(member, data, rows=manifest.members[member].rows)
        made = writer.finish(
            profile=manifest.profile,
            person_id=manifest.person_id,
            generated_at=manifest.generated_at,
            columns=manifest.columns,
        )
    if not honest:
        with zipfile.ZipFile(to) as archive:
            told = archive.read("manifest.json")
        wrong = made.members[name].sha256.encode()
        right = manifest.members[name].sha256.encode()
        files["manifest.json"] = told.replace(wrong, right)
        with zipfile.ZipFile(to, "w") as archive:
            for member, data in files.items():
                archive.writestr(member, data)
    return to


def test_a_bundle_that_was_changed_is_refused(
    bundled: Path, there: Instance, tmp_path: Path
) -> None:
    (tmp_path / "cut.zip").write_bytes(bundled.read_bytes()[:-100])
    (tmp_path / "text.zip").write_text("no zip")
    changed = rewritten(
        bundled, tmp_path / "changed.zip", "records/sites.json", b"[]", honest=False
    )
    for wrong, why in (
        (tmp_path / "cut.zip", "no zip"),
        (tmp_path / "text.zip", "no zip"),
        (tmp_path / "none.zip", "cannot read"),
        (changed, "not what the manifest says"),
    ):
        with pytest.raises(BundleError, match=why):
            there.take_in(wrong)
    assert there.store.people.get(ANNA) is None


def test_telemetry_of_other_peoples_devices_does_not_come_in(
    bundled: Path, there: Instance, tmp_path: Path
) -> None:
    foreign = io.BytesIO()
    pq.write_table(rows.samples(3, inverter_sn=SERIALS[BOB]).drop_columns(["repeat"]), foreign)
    forged = rewritten(
        bundled,
        tmp_path / "forged.zip",
        "telemetry/readings-2025.parquet",
        foreign.getvalue(),
        honest=True,
    )

    with pytest.raises(BundleError, match="devices that are not in the bundle"):
        there.take_in(forged)


def test_an_inverter_that_hangs_here_does_not_come_in(changing: Instance, bundled: Path) -> None:
    # Somebody else's by now.
    with writing(changing.store._engine) as session:
        session.execute(delete(Base.metadata.tables["people"]).where(PersonRow.person_id == ANNA))

    with pytest.raises(BundleError, match="inverter of the bundle is known"):
        changing.take_in(bundled)


def test_a_file_that_is_there_is_not_replaced(here: Instance, tmp_path: Path) -> None:
    (tmp_path / "anna.zip").write_text("mine")

    with pytest.raises(BundleError, match="exists already"):
        here.export(tmp_path / "anna.zip")
    assert (tmp_path / "anna.zip").read_text() == "mine"
    assert not list(tmp_path.glob(".bundle-*"))


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "a/b/c.json", "evil.sh", "A B.json"]
)
def test_names_that_lead_elsewhere_are_no_members(tmp_path: Path, name: str) -> None:
    with bundle.BundleWriter(tmp_path / "x.zip") as writer, pytest.raises(BundleError):
        writer.add(name, b"{}")


def test_a_zip_that_hides_or_breaks_is_refused_in_a_sentence(
    bundled: Path, there: Instance, tmp_path: Path
) -> None:
    whole = bundled.read_bytes()
    with zipfile.ZipFile(bundled) as archive:
        start = archive.getinfo("about.json").header_offset
    # Bit 0 of the flags, in the local header and in the directory behind everything.
    at = whole.rindex(b"about.json") - 46 + 8
    encrypted = bytearray(whole)
    encrypted[start + 6] |= 1
    encrypted[at] |= 1
    (tmp_path / "encrypted.zip").write_bytes(encrypted)
    broken = bytearray(whole)
    broken[start + 30 + len("about.json") + 20 + 2] ^= 0xFF
    broken[start + 30 + len("about.json") + 20] = 0xFF
    (tmp_path / "broken.zip").write_bytes(broken)
    with zipfile.ZipFile(tmp_path / "other.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("manifest.json", "{}")
    for name, why in (("encrypted", "encrypted"), ("broken", "damaged"), ("other", "compressed")):
        with pytest.raises(BundleError, match=why):
            there.take_in(tmp_path / f"{name}.zip")


def test_a_bundle_that_claims_to_be_huge_is_not_unpacked(
    bundled: Path, there: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "BYTES_MAX", 1024)
    with pytest.raises(BundleError, match="unpacks to more"):
        there.take_in(bundled)


def test_settlements_of_a_site_that_is_here_are_not_overwritten(
    changing: Instance, bundled: Path
) -> None:
    with writing(changing.store._engine) as session:
        session.execute(delete(Base.metadata.tables["people"]).where(PersonRow.person_id == ANNA))
        session.execute(delete(Base.metadata.tables["inverters"]))
    before = {
        path: path.read_bytes()
        for path in changing.directory.settlements.rglob("*")
        if path.is_file()
    }

    with pytest.raises(BundleError, match="a site of the bundle is known"):
        changing.take_in(bundled)
    assert before == {
        path: path.read_bytes()
        for path in changing.directory.settlements.rglob("*")
        if path.is_file()
    }
