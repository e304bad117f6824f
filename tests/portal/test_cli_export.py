"""What an operator types to hand out data is done, told to the log, or refused in a sentence."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from autarco_portal import cli
from autarco_portal.audit import AuditEntry
from autarco_portal.people import SELF, SiteOwner
from autarco_portal.privacy.processing import Purpose
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import migrate, open_store

if TYPE_CHECKING:
    from pathlib import Path

THEN = datetime(2025, 5, 1, tzinfo=UTC)
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
DAYS = 8
SITES = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve houses of one village, each with its owner and eight days of readings."""
    root = tmp_path_factory.mktemp("cli") / "data"
    directory = paths.DataDirectory.at(root)
    directory.create()
    (root / "portal").mkdir()
    migrate(str(root / "portal" / "portal.sqlite"))
    with open_store(str(root / "portal" / "portal.sqlite")) as store:
        for n in range(SITES):
            person = store.people.add(
                name=f"Bewoner {n}", email=f"bewoner{n}@example.org", source=SELF, now=THEN
            )
            store.sites.add(house(n, person.person_id), THEN)
        objecting = store.people.by_email("bewoner11@example.org")
        assert objecting is not None
        store.privacy.object_to(objecting.person_id, Purpose.RESEARCH, THEN)
        # He sold it since; what it tells of his days there is his still.
        (sold,) = store.sites.owned_by(objecting.person_id)
        buyer = store.people.add(name="Koper", email="koper@example.org", source=SELF, now=THEN)
        later = BEGIN + timedelta(days=60)
        store.sites.end_owner(sold.public_key, objecting.person_id, later)
        store.sites.add_owner(sold.public_key, buyer.person_id, later)
    fill(directory)
    return root


def house(n: int, owner: str) -> NewSite:
    plane = RoofPlane(name="zuid", surface_tilt=35, surface_azimuth=180, modules=12, pdc0=5_000)
    return NewSite(
        name=f"Huis {n}",
        address=Address(street=f"Dorpsstraat {n + 1}", postcode=f"3511 A{chr(65 + n)}", city="X"),
        latitude=52.09 + n / 10_000,
        longitude=5.12,
        commissioned_on=date(2024, 3, 1),
        planes=(plane,),
        inverters=(
            Inverter(serial_number=f"SIM{n:04}", pac0=4_600, installed_at=THEN - timedelta(300)),
        ),
        owners=(SiteOwner(person_id=owner, from_at=THEN - timedelta(300)),),
    )


def fill(directory: paths.DataDirectory) -> None:
    minutes = np.arange(5 * 60, 20 * 60, 5)
    at = np.concatenate([minutes + day * 1_440 for day in range(DAYS)])
    power = np.sin((at % 1_440 - 300) / 900 * np.pi) * 3_000
    total = 1_000_000 + np.cumsum(power / 12)
    pieces = []
    for n in range(SITES):
        known = {
            "ts": pa.array(int(BEGIN.timestamp()) * 10**6 + at * 60 * 10**6, schema.INSTANT),
            "received_at": pa.array(
                int(BEGIN.timestamp()) * 10**6 + at * 60 * 10**6, schema.INSTANT
            ),
            "time_source": ["stick"] * len(at),
            "inverter_sn": [f"SIM{n:04}"] * len(at),
            "logger_sn": [4_100_000_000 + n] * len(at),
            "protocol": ["v5"] * len(at),
            "sensor_type": [0x0507] * len(at),
            "historic": [False] * len(at),
            "ac_power": power,
            "energy_total_wh": total.astype(np.int64),
        }
        names = [column.name for column in schema.READINGS.columns if column.name != "date"]
        types = [column.type for column in schema.READINGS.columns if column.name != "date"]
        values = {name: known.get(name, [None] * len(at)) for name in names}
        pieces.append(pa.table(values, schema=pa.schema(list(zip(names, types, strict=True)))))
    lake = Lake(LocalStore(directory.lake), "n1")
    readings = pa.concat_tables(pieces)
    lake.commit(1, readings, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    moment = catalog.Moment(readings=lake.files("readings"))
    catalog.rebuild(directory, moment, time_zone="Europe/Amsterdam")


def run(data: Path, *arguments: object) -> int:
    words = [str(word) for word in arguments]
    place = 2 if words[0] in ("export", "audit") else 1
    return cli.main([words[0], "--data", str(data), *words[1:place], *words[place:]])


def refused(capsys: pytest.CaptureFixture[str], data: Path, *arguments: object) -> str:
    """The one sentence on standard error."""
    capsys.readouterr()
    assert run(data, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.splitlines() if not line.startswith("telemetry: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_person_is_handed_out_taken_in_and_both_are_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    assert run(data, "export", "person", "Bewoner3@example.org", "--out", first) == 0
    assert f"{DAYS * 180} rows of telemetry" in capsys.readouterr().out

    other = tmp_path / "other"
    (other / "portal").mkdir(parents=True)
    migrate(str(other / "portal" / "portal.sqlite"))
    assert run(other, "import-bundle", first) == 0
    assert "invite him" in capsys.readouterr().out
    assert refused(capsys, other, "import-bundle", first).endswith("known here already")
    assert run(other, "audit", "show", "bewoner3@example.org", "--language", "nl") == 0
    assert "Uw gegevens zijn ingelezen door het programma zelf." in capsys.readouterr().out
    assert run(other, "export", "person", "bewoner3@example.org", "--out", second) == 0
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        telemetry = [name for name in one.namelist() if name.startswith("telemetry/")]
        assert telemetry
        assert all(one.read(name) == two.read(name) for name in telemetry)

    assert run(data, "audit", "show", "bewoner3@example.org") == 0
    assert "All your data was exported by the program itself." in capsys.readouterr().out


def test_research_data_is_released_without_those_who_object(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = ("--from", "2025-06-01", "--to", "2025-06-08")
    out = tmp_path / "open"
    assert run(data, "export", "research-aggregates", *days, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "published 10 (rounded)" in shown
    assert "left out: objection 0" in shown
    rows = pl.read_parquet(out / "aggregates.parquet")
    # A night is judged by both its ends: of the very first one nobody knows the evening.
    assert rows["ts"].dt.date().n_unique() == 6
    assert set(rows["systems"]) == {10}

    sites = tmp_path / "sites"
    assert (
        run(data, "export", "research-sites", *days, "--recipient", "Universiteit", "--out", sites)
        == 0
    )
    assert len(pl.read_parquet(sites / "sites.parquet")) == 11
    sentence = refused(
        capsys, data, "export", "research-aggregates", *days, "--out", tmp_path / "b"
    )
    assert "went out as release" in sentence


def test_what_cannot_be_handed_out_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "x")
    assert "nobody has" in refused(capsys, data, "export", "person", "no@example.org", *out)
    days = ("--from", "2025-06-08", "--to", "2025-06-08")
    assert "before it begins" in refused(capsys, data, "export", "research-aggregates", *days, *out)
    assert "cannot read" in refused(capsys, data, "import-bundle", tmp_path / "none.zip")
    assert "no such site" in refused(capsys, data, "audit", "show", "zzzzzzzz")
    assert "no seal" in refused(capsys, data, "audit", "verify", "--seal", "1:x")
    assert not (tmp_path / "x").exists()


def test_the_log_is_whole_after_pruning_and_tells_of_a_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "portal").mkdir()
    database = tmp_path / "portal" / "portal.sqlite"
    migrate(str(database))
    with open_store(str(database)) as store:
        for hour in range(6):
            at = THEN + timedelta(hours=hour)
            store.audit.append(
                AuditEntry(at=at, actor="system:test", action="view_site", thing="site:abcd1234")
            )
    assert run(tmp_path, "audit", "verify") == 0
    seal = capsys.readouterr().out.split()[-1]
    assert seal.startswith("6:")

    with open_store(str(database)) as store:
        assert store.audit.prune(THEN + timedelta(hours=3), THEN + timedelta(days=1)) == 3
    assert run(tmp_path, "audit", "verify", "--seal", seal) == 0
    assert capsys.readouterr().out.split()[-1] == seal

    with open_store(str(database)) as store, store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM audit_log WHERE sequence = 6")
    assert run(tmp_path, "audit", "verify") == 0
    assert run(tmp_path, "audit", "verify", "--seal", seal) == 1
    assert "entry 6 is gone" in capsys.readouterr().out
    with open_store(str(database)) as store, store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_log SET actor = 'me' WHERE sequence = 5")
    assert run(tmp_path, "audit", "verify") == 1
    assert "entry 5 was changed" in capsys.readouterr().out
