"""`analyse` says in one sentence what it cannot do, and runs over a real lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pytest

import rows
from analysed_lake import FIRST, made_rows, sites
from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from autarco_portal import cli, derived, reanalysis
from autarco_portal.derived_rows import incidents_of
from autarco_portal.derived_store import DerivedStore
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import retention
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import Store, migrate, open_store

if TYPE_CHECKING:
    from pathlib import Path

ROOFS = sites(6)
JSON = msgspec.json.encode(ROOFS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with six roofs, and no reading."""
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "sites.json").write_bytes(JSON)
    return tmp_path


@pytest.fixture
def with_lake(root: Path) -> Path:
    """The same, with their readings of two days."""
    data = paths.DataDirectory.at(root)
    data.create()
    lake = Lake(LocalStore(data.lake), "n1")
    made = made_rows(ROOFS, 2).with_columns(
        pl.col("energy_today_wh", "energy_total_wh", "status").cast(pl.Int64)
    )
    whole = rows.readings(*(rows.reading(**row) for row in made.to_dicts()))
    lake.commit(1, whole, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    catalog.rebuild(
        data, catalog.Moment(readings=lake.files("readings")), time_zone="Europe/Amsterdam"
    )
    return root


def analyse(root: Path, *arguments: str) -> int:
    return cli.main(["analyse", "--data", str(root), *arguments])


def add_roofs(store: Store, now: datetime) -> None:
    for one in ROOFS:
        store.sites.add(
            NewSite(
                name="A", address=Address(street="Z 1", postcode="3511 ZZ", city="U"),
                public_key=one.site_id, latitude=one.latitude, longitude=one.longitude,
                commissioned_on=one.commissioned_on, planes=one.planes, inverters=one.inverters,
            ),
            now,
        )  # fmt: skip


def test_days_of_a_real_lake(with_lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = with_lake
    last = str(FIRST + timedelta(days=1))

    assert analyse(root, "--from", str(FIRST), "--to", last) == 0
    assert "2 days, 0 incidents found" in capsys.readouterr().out
    assert analyse(root, "--to", last) == 0
    assert "done before" in capsys.readouterr().out

    data = paths.DataDirectory.at(root)
    shown = catalog.query(
        data, "FROM analytics.site_day SELECT site_id, energy_kwh WHERE coverage > 0.99"
    )
    lake = catalog.query(data, "FROM daily_energy SELECT energy_kwh ORDER BY inverter_sn, day")
    assert len(shown) == 12
    assert shown.sort_by("site_id").column("energy_kwh").to_pylist() == pytest.approx(
        lake.column("energy_kwh").to_pylist()
    )


def test_sites_of_a_store_but_for_those_whose_owners_want_no_use(
    with_lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, now = with_lake, datetime.now(UTC)
    (root / "portal" / "sites.json").unlink()
    address = str(PortalDirectory.of(paths.DataDirectory.at(root)).database)
    migrate(address)
    arguments = ("--from", str(FIRST), "--to", str(FIRST))
    assert analyse(root, *arguments) == 2
    assert "no site that may be analysed" in capsys.readouterr().err
    with open_store(address) as store:
        add_roofs(store, now)
        store.sites.set_restricted(ROOFS[0].site_id, now)

        assert analyse(root, *arguments) == 0
        shown = catalog.query(paths.DataDirectory.at(root), "FROM analytics.site_day")
        assert shown.sort_by("site_id").column("site_id").to_pylist() == [
            one.site_id for one in ROOFS[1:]
        ]
        found = incidents_of(
            DerivedStore(PortalDirectory.of(paths.DataDirectory.at(root))).everything(
                derived.ALARMS
            )
        )
        assert [one.incident for one in store.alarms.open()] == found


def test_a_site_whose_facts_were_corrected_is_done_again_once(
    with_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The samples are of a fixed day, which gets old.
    monkeypatch.setattr(retention, "SAMPLES_DAYS", 100 * 365)
    root, now = with_lake, datetime.now(UTC)
    data = paths.DataDirectory.at(root)
    portal = PortalDirectory.of(data)
    migrate(str(portal.database))
    with open_store(str(portal.database)) as store:
        add_roofs(store, now)
        assert analyse(root, "--from", str(FIRST), "--to", str(FIRST)) == 0

        def yields() -> dict[str, float]:
            shown = catalog.query(data, "FROM analytics.site_day SELECT site_id, specific_yield")
            return {row["site_id"]: row["specific_yield"] for row in shown.to_pylist()}

        before, site = yields(), ROOFS[1]
        planes = [msgspec.structs.replace(one, pdc0=one.pdc0 * 2) for one in site.planes]
        store.sites.set_planes(site.site_id, planes, now)
        assert analyse(root, "--to", str(FIRST)) == 0
        assert yields() == before, "nobody said that it changed"
        reanalysis.mark(portal, site.site_id, site.commissioned_on)

        assert analyse(root, "--to", str(FIRST)) == 0

        assert yields() == before | {site.site_id: pytest.approx(before[site.site_id] / 2)}
        assert reanalysis.marks(portal) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no day was analysed yet; say --from"),
        (["--from", "2025-06-02", "--to", "2025-06-01"], "--from 2025-06-02 is after --to"),
        (["--from", "2025-06-01", "--to", "2025-06-01", "--site", "nobody"], "no site nobody"),
    ],
)
def test_wrong_use(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert analyse(root, *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_what_is_no_day_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        analyse(root, "--from", "1 May")
    assert "'1 May' is not a day" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there are no sites"),
        (b"{", "sites.json"),
        (b"[]", "there are no sites to analyse"),
        (JSON.replace(b'"latitude":52.0,', b'"latitude":152.0,'), "not a place"),
        (JSON.replace(b'"planes"', b'"plane"'), "planes"),
    ],
)
def test_wrong_sites(
    root: Path, capsys: pytest.CaptureFixture[str], text: bytes | None, said: str
) -> None:
    file = root / "portal" / "sites.json"
    file.unlink() if text is None else file.write_bytes(text)

    assert analyse(root, "--from", "2025-06-01", "--to", "2025-06-01") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_a_catalog(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyse(root, "--from", "2025-06-01", "--to", "2025-06-01") == 2
    assert "no catalog" in capsys.readouterr().err
