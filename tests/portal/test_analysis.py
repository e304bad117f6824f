"""Days done one by one are as done at once, late data are taken up, and faults become incidents."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pytest

import analysed_lake
from autarco_portal import analysis, derived, derived_rows
from autarco_portal.derived_store import DerivedError, DerivedStore
from autarco_portal.incidents import Cause
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.site import SiteError
from autarco_portal.weather import Station, WeatherFile, conform
from autarco_portal.weather_store import WeatherStore
from analysed_lake import DAY, FIRST, MadeLake, made_rows

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 25
LAST = FIRST + (DAYS - 1) * DAY
WEAK, DEAD, SILENT = 2, 4, 5
ROOFS = analysed_lake.sites()
FACTORS = {
    # A quarter is lost from the twentieth day on; another roof dies on the 22nd.
    **{(WEAK, day): 0.75 for day in range(19, DAYS)},
    **{(DEAD, day): 0.0 for day in range(21, DAYS)},
}
CHANGES = ("analysed_at", "received_at", "readings")
"""Columns that tell of the run, not of the days."""


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    made = made_rows(ROOFS, DAYS, factor=FACTORS)
    day = pl.col("ts").dt.date()
    silent = (pl.col("inverter_sn") == f"INV{SILENT:04d}") & (day >= LAST - 2 * DAY)
    return made.filter(~silent)


class Desk:
    """A portal's directory with what runs on it."""

    def __init__(self, root: Path, rows: pl.DataFrame) -> None:
        self.portal = PortalDirectory(root / "portal")
        self.store = DerivedStore(self.portal)
        self.weather = WeatherStore(self.portal)
        self.lake = MadeLake(rows)

    def run(self, first: date, last: date, **chosen: Any) -> list[analysis.DayReport]:
        return analysis.analyse(
            ROOFS, self.lake, self.weather, self.store,
            analysis.Plan(first=first, last=last, **chosen),
            clock=lambda day: datetime(day.year, day.month, day.day, 23, tzinfo=UTC),
        )  # fmt: skip

    def table(self, table: derived.Derived) -> pl.DataFrame:
        found = self.store.everything(table).sort(*table.keys)
        return found.drop([name for name in CHANGES if name in found.columns])

    def incidents(self) -> dict[tuple[str, Cause], Any]:
        return {
            (one.site_id, one.cause): one
            for one in derived_rows.incidents_of(self.store.everything(derived.ALARMS))
        }


@pytest.fixture(scope="module")
def at_once(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("once"), rows)
    desk.run(FIRST, LAST)
    return desk


def test_days_one_by_one_are_as_at_once(at_once: Desk, rows: pl.DataFrame, tmp_path: Path) -> None:
    desk = Desk(tmp_path, rows)

    desk.run(FIRST, FIRST + 14 * DAY)
    for number in range(15, DAYS):
        (report,) = desk.run(FIRST + number * DAY, FIRST + number * DAY)
        assert report.day == FIRST + number * DAY

    for table in derived.TABLES:
        assert desk.table(table).equals(at_once.table(table)), table.name


def test_faults_become_incidents_and_healthy_roofs_do_not(at_once: Desk) -> None:
    found = at_once.incidents()

    weak = found[f"site{WEAK:04d}", Cause.UNDERPERFORMANCE]
    assert weak.is_open
    on = derived_rows.found_on(weak)
    assert on is not None
    assert on <= FIRST + 23 * DAY
    assert found[f"site{DEAD:04d}", Cause.OUTAGE].opened_at.date() == FIRST + 21 * DAY
    assert derived_rows.found_on(found[f"site{DEAD:04d}", Cause.ZERO_DAY]) == FIRST + 21 * DAY
    silent = found[f"site{SILENT:04d}", Cause.COMMUNICATION_LOSS]
    assert (silent.severity, derived_rows.found_on(silent)) == ("alarm", LAST - 2 * DAY)
    assert {site_id for site_id, _ in found} == {
        f"site{number:04d}" for number in (WEAK, DEAD, SILENT)
    }


def test_a_dead_inverter_is_unavailable_and_its_loss_is_what_neighbours_made(
    at_once: Desk,
) -> None:
    dead = (pl.col("site_id") == f"site{DEAD:04d}") & (pl.col("date") == LAST)
    near = (pl.col("site_id") == f"site{DEAD - 1:04d}") & (pl.col("date") == LAST)
    available = at_once.table(derived.AVAILABILITY)
    made = at_once.table(derived.SITE_DAY).filter(near)["energy_kwh"].item()

    assert available.filter(dead)["availability_time"].item() == 0
    assert available.filter(dead)["lost_kwh"].item() == pytest.approx(made, rel=0.1)
    assert available.filter(near)["availability_time"].item() == 1
    assert available.filter(near)["lost_kwh"].item() == 0


def test_energy_coverage_and_method_of_a_day(at_once: Desk, rows: pl.DataFrame) -> None:
    mine = rows.filter(pl.col("inverter_sn") == "INV0000", pl.col("ts").dt.date() == FIRST)
    first = pl.col("date") == FIRST
    (energy,) = at_once.table(derived.DAILY_ENERGY).filter(
        first, pl.col("inverter_sn") == "INV0000"
    ).to_dicts()  # fmt: skip
    silent = at_once.table(derived.DAILY_ENERGY).filter(
        pl.col("inverter_sn") == f"INV{SILENT:04d}", pl.col("date") == LAST
    )

    assert energy["energy_kwh"] * 1_000 == mine["energy_today_wh"].max()
    assert (energy["method"], energy["n_rows"]) == ("today", len(mine))
    assert energy["coverage"] == pytest.approx(1, abs=0.001)
    assert silent["method"].item() == "missing"
    assert silent["energy_kwh"].item() is None
    assert silent["energy_estimated_kwh"].item() > 5


def test_a_second_run_does_nothing_unless_told(at_once: Desk) -> None:
    assert at_once.run(FIRST, LAST) == []
    assert len(at_once.run(LAST, LAST, again=True)) == 1


def test_what_comes_late_is_done_again_with_the_days_after_it(
    at_once: Desk, rows: pl.DataFrame, tmp_path: Path
) -> None:
    noon = datetime(2025, 6, 21, 10, tzinfo=UTC)
    kept_back = (pl.col("inverter_sn") == "INV0001") & pl.col("ts").is_between(
        noon, noon + timedelta(hours=3)
    )
    desk = Desk(tmp_path, rows.filter(~kept_back))
    desk.run(FIRST, LAST - DAY)
    gap = desk.table(derived.AVAILABILITY).filter(
        pl.col("site_id") == "site0001", pl.col("date") == noon.date()
    )
    assert gap["comms_gap_minutes"].item() == pytest.approx(185, abs=5)

    late = rows.with_columns(
        pl.when(kept_back).then(LAST + DAY).otherwise(pl.col("received_at")).alias("received_at")
    )
    desk.lake = MadeLake(late)
    reports = desk.run(LAST, LAST)

    assert [report.day for report in reports] == [
        noon.date() + number * DAY for number in range((LAST - noon.date()).days + 1)
    ]
    for table in derived.TABLES:
        if table not in (derived.ALARMS, derived.ANALYSED_DAYS):
            assert desk.table(table).equals(at_once.table(table)), table.name


def test_some_sites_leave_the_others_as_they_are(
    at_once: Desk, rows: pl.DataFrame, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, rows)
    desk.run(FIRST, FIRST + DAY)
    before = desk.table(derived.SITE_DAY)
    doubled = rows.with_columns(pl.col("energy_today_wh") * 2)
    desk.lake = MadeLake(doubled)

    desk.run(FIRST, FIRST, site_ids=frozenset({"site0003"}))

    after = desk.table(derived.SITE_DAY)
    other = (pl.col("site_id") == "site0003") & (pl.col("date") == FIRST)
    assert after.filter(~other).equals(before.filter(~other))
    assert after.filter(other)["energy_kwh"].item() == pytest.approx(
        2 * before.filter(other)["energy_kwh"].item()
    )
    with pytest.raises(SiteError, match="no site nobody"):
        desk.run(FIRST, FIRST, site_ids=frozenset({"nobody"}))


def test_weather_that_comes_later_completes_the_days(rows: pl.DataFrame, tmp_path: Path) -> None:
    desk = Desk(tmp_path, rows)
    desk.run(FIRST, FIRST + DAY)
    assert desk.table(derived.EXPECTED)["energy_expected_kwh"].null_count() == 2 * len(ROOFS)

    hours = pl.datetime_range(
        datetime(2025, 5, 31, tzinfo=UTC), datetime(2025, 6, 4, tzinfo=UTC), "1h",
        time_unit="us", eager=True,
    )  # fmt: skip
    ghi = [max(0.0, 700 - 12 * (hour.hour - 11.5) ** 2) for hour in hours]
    file = WeatherFile(
        stations=(Station(station="knmi:1", name="Here", latitude=52.0, longitude=5.1),),
        rows=conform(
            pl.DataFrame({"ts": hours, "ghi": ghi}).with_columns(
                pl.lit("knmi:1").alias("station"), pl.lit(1_800).alias("sun_offset_s"),
                pl.lit(18.0).alias("temp_air"), pl.lit(3.0).alias("wind_speed"),
                pl.lit("KNMI hourly").alias("source"),
                pl.lit("a" * 64).alias("source_file_sha256"),
            )
        ),
        attribution="",
    )  # fmt: skip
    desk.weather.add(file, file="one", sha256="a" * 64, now=datetime(2025, 7, 1, tzinfo=UTC))
    desk.run(FIRST, FIRST + DAY)

    expected = desk.table(derived.EXPECTED)
    assert expected["energy_expected_kwh"].is_between(15, 30).all()
    assert set(expected["weather_sha256"]) == {"a" * 64}
    ratio = desk.table(derived.PERFORMANCE_RATIO)
    assert ratio["pr"].is_between(0.3, 1.2).all()
    assert (ratio["pr_25c"] > ratio["pr"]).all()
    assert expected["energy_climate_kwh"].null_count() == len(expected)


def test_one_writer_at_a_time(tmp_path: Path, rows: pl.DataFrame) -> None:
    desk = Desk(tmp_path, rows)

    with (
        desk.store.locked(),
        pytest.raises(DerivedError, match="another analysis"),
        desk.store.locked(),
    ):
        pass
    with desk.store.locked():
        pass


def test_an_inverter_at_two_sites_is_refused(tmp_path: Path, rows: pl.DataFrame) -> None:
    desk = Desk(tmp_path, rows)
    twice = [*ROOFS, msgspec.structs.replace(ROOFS[0], site_id="twin")]

    with pytest.raises(SiteError, match="INV0000 is at sites site0000 and twin at once"):
        analysis.analyse(
            twice, desk.lake, desk.weather, desk.store,
            analysis.Plan(first=FIRST, last=FIRST), clock=lambda day: datetime.now(UTC),
        )  # fmt: skip
