"""No total that a program was told falls: not by a late correction, and not after a restart."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest
import structlog
from litestar.testing import TestClient

from autarco_portal.privacy import erasure
from autarco_portal.serve_app import assemble
from autarco_portal.shown_totals import ShownTotals, forget
from autarco_portal.site_view import InverterView, SiteView, Sums, site_view
from portal_world import BATTERY, FOREIGN, HYBRID, NORTH, OTHER, TWIN, World

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 9, 23, 10, tzinfo=UTC)


def view(total: int, *inverters: tuple[str, int], flows: int = 0) -> SiteView:
    empty = site_view([], now=NOW, time_zone="Europe/Amsterdam")
    return msgspec.structs.replace(
        empty,
        pv=Sums(today=1, month=2, to_date=total),
        grid_export=Sums(to_date=flows),
        inverters=tuple(
            InverterView(
                serial_number=serial,
                at=NOW,
                power=0,
                energy_total=kwh,
                grid_is_off=False,
                health="OK",
                error=None,
                days={},
            )
            for serial, kwh in inverters
        ),
    )


def told(world: World, key: str) -> dict[str, Any]:
    """What Home Assistant is told of a site by a portal that starts now and stops then."""
    world.restart()
    with TestClient(assemble(world.portal, world.accounts)) as client:
        header = world.header("owner" if key != FOREIGN else "stranger")
        kpis = client.get(f"/api/site/{key}/kpis/energy", headers=header).json()
        power = client.get(f"/api/site/{key}/power", headers=header).json()["inverters"]
    counters = {serial: one["out_ac_energy_total"] for serial, one in power.items()}
    return {name: kwh for name, kwh in kpis.items() if name.endswith("_to_date")} | counters


def test_what_was_shown_is_shown_until_the_counter_has_passed_it(tmp_path: Path) -> None:
    totals = ShownTotals(tmp_path / "totals.json")
    high = view(101, ("A", 60), ("B", 41), flows=7)
    assert totals.raised("site", high) == high
    low = totals.raised("site", view(99, ("B", 39), ("A", 61), flows=5))
    assert (low.pv.to_date, low.grid_export.to_date) == (101, 7)
    assert [one.energy_total for one in low.inverters] == [41, 61]
    assert (low.pv.today, low.pv.month) == (1, 2)
    assert totals.raised("site", view(103, flows=8)).pv.to_date == 103
    assert totals.raised("another", view(5)).pv.to_date == 5


def test_another_process_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    first = ShownTotals(file)
    first.raised("site", view(101, ("A", 60)))
    assert first.keep()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = ShownTotals(file)
    assert again.raised("site", view(99, ("A", 58))) == view(101, ("A", 60))
    # Nothing rose, so there is nothing to write.
    assert not again.keep()
    again.raised("site", view(102, ("A", 60)))
    assert again.keep()
    assert [path.name for path in tmp_path.iterdir()] == ["totals.json"]


def test_a_disk_that_refuses_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "totals.json"
    totals = ShownTotals(file)
    totals.raised("site", view(101))
    with pytest.raises(OSError, match="totals"):
        totals.keep()
    file.parent.mkdir()
    assert totals.keep()


def test_of_an_inverter_that_is_gone_nothing_stays(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    totals = ShownTotals(file)
    totals.raised("one", view(101, ("A", 60), ("B", 41)))
    totals.raised("two", view(7, ("C", 7), ("never heard", 0)))
    totals.keep()
    totals.forget_gone({"A", "C", "D"}, {"one", "two"})
    assert totals.keep()
    assert b"one" not in file.read_bytes()
    assert totals.raised("one", view(60, ("A", 60))).pv.to_date == 60
    assert totals.raised("two", view(5, ("C", 5))).pv.to_date == 7


def test_of_a_site_that_is_gone_nothing_stays(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    totals = ShownTotals(file)
    # Its inverter hangs elsewhere now, or it has but a meter: the lake forgets neither.
    totals.raised("moved", view(60, ("A", 60)))
    totals.raised("meter", view(0, flows=9))
    totals.raised("here", view(61, ("A", 1)))
    totals.keep()
    totals.forget_gone({"A"}, {"here"})
    assert totals.keep()
    assert set(json.loads(file.read_bytes())) == {"here"}


def test_an_empty_site_leaves_nothing_to_write(tmp_path: Path) -> None:
    totals = ShownTotals(tmp_path / "totals.json")
    totals.raised("empty", view(0))
    assert not totals.keep()


def test_an_erasure_takes_sites_out_of_the_file_or_says_that_it_cannot(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    assert not forget(file, ["one"])
    totals = ShownTotals(file)
    totals.raised("one", view(101))
    totals.raised("two", view(7))
    totals.keep()
    assert not forget(file, ["three"])
    assert forget(file, ["one"])
    assert set(json.loads(file.read_bytes())) == {"two"}
    # Nobody can tell what is in it, so nothing of it stays.
    file.write_bytes(b'{"one": [{"pv": 101}, {"\xff": 1}]}')
    assert forget(file, ["one"])
    assert not file.exists()
    file.mkdir()
    with pytest.raises(OSError, match="totals"):
        forget(file, ["one"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"site": [1]}',
        b"\xff",
        # A flipped bit within a text.
        b'{"si\xffe": [{}, {}]}',
        b'{"site": [{"p\xff": 1}, {}]}',
        b'{"site": [{"pv": 10000000000000000000000000}, {}]}',
    ],
)
def test_a_damaged_file_is_told_of_and_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "totals.json"
    file.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        totals = ShownTotals(file)
    assert [one["log_level"] for one in logs] == ["warning"]
    totals.raised("site", view(101))
    assert totals.keep()
    assert ShownTotals(file).raised("site", view(99)).pv.to_date == 101


def test_no_total_of_a_portal_falls_over_a_restart(world: World) -> None:
    before = {key: told(world, key) for key in (NORTH, HYBRID)}
    assert before[NORTH]["pv_to_date"] > 4_000
    assert before[HYBRID]["battery_charged_to_date"] > 0
    # The counters of the last hours turn out to have been wrong, and the battery's readings too.
    late = pl.col("ts") > NOW - timedelta(hours=4)
    world.lake.all = world.lake.all.filter(~late)
    world.lake.version += 1
    assert {key: told(world, key) for key in (NORTH, HYBRID)} == before
    world.totals.unlink()
    after = {key: told(world, key) for key in (NORTH, HYBRID)}
    assert after[NORTH]["pv_to_date"] < before[NORTH]["pv_to_date"]
    assert after[NORTH][TWIN] < before[NORTH][TWIN]
    assert after[HYBRID]["battery_charged_to_date"] < before[HYBRID]["battery_charged_to_date"]


def test_totals_of_a_forgotten_inverter_leave_the_portal_s_files(world: World) -> None:
    told(world, FOREIGN)
    told(world, HYBRID)
    assert OTHER.encode() in world.totals.read_bytes()
    world.lake.all = world.lake.all.filter(pl.col("inverter_sn") != OTHER)
    world.lake.version += 1
    told(world, HYBRID)
    assert OTHER.encode() not in world.totals.read_bytes()
    assert FOREIGN.encode() not in world.totals.read_bytes()
    assert BATTERY.encode() in world.totals.read_bytes()


def test_what_a_wrong_inverter_had_made_goes_with_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = told(world, HYBRID)
    (stranger,) = world.store.sites.record(FOREIGN).inverters  # type: ignore[union-attr]
    at = stranger.installed_at
    world.store.sites.uninstall(FOREIGN, OTHER, at, NOW)
    world.store.sites.install(HYBRID, stranger, NOW)
    mixed = told(world, HYBRID)
    assert mixed["pv_to_date"] > before["pv_to_date"] + 900
    # It hung there in nobody's house; it is its owner's again.
    world.store.sites.uninstall(HYBRID, OTHER, at, NOW)
    after = told(world, HYBRID)
    assert after == before
    world.close()


def test_a_file_from_before_says_not_what_hung_there_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "totals.json"
    file.write_bytes(b'{"site": [{"pv": 101}, {"A": 60}]}')
    assert ShownTotals(file).raised("site", view(99), hung="0123").pv.to_date == 101


def test_totals_of_an_erased_site_leave_a_portal_that_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    told(world, FOREIGN)
    world.restart()
    with TestClient(assemble(world.portal, world.accounts)) as client:
        header = world.header("stranger")
        assert client.get(f"/api/site/{FOREIGN}/kpis/energy", headers=header).status_code == 200
        # The person goes; the inverter was sold and hangs elsewhere, so the lake keeps it.
        holdings = world.store.erasure.holdings(world.ids["stranger"], NOW)
        world.store.erasure.erase(erasure.preview(holdings, today=NOW.date()), NOW)
    assert OTHER in world.portal.sites.fleet.snapshot.inverters()
    assert FOREIGN.encode() not in world.totals.read_bytes()
    world.close()
