"""Old readings become one for each quarter of an hour, and what days made stays the same."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from autarco_ingest import (
    ageing,
    catalog,
    compaction,
    held,
    lake_table,
    maintenance,
    maintenance_plan,
    paths,
    schema,
    settings,
)
from autarco_ingest.ageing import Age
from rows import NOON, reading, readings, sessions
from test_cli import run
from test_maintenance import DAY, Place, meanwhile, sample

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

DAYS = {"retention.samples_days": "1095", "retention.addresses_days": "365"}
NOTHING = schema.empty(schema.READINGS)


def compacted(*chosen: dict[str, Any]) -> pa.Table:
    return compaction.compact_readings(schema.conform(schema.READINGS, readings(*chosen)), NOTHING)


def quarters(*chosen: dict[str, Any]) -> list[dict[str, Any]]:
    return ageing.aged(compacted(*chosen), Age.QUARTER_HOURS).to_pylist()


def at(minute: float, **chosen: Any) -> dict[str, Any]:
    return reading(ts=NOON + timedelta(minutes=minute), record_no=int(minute), **chosen)


def test_a_quarter_keeps_its_last_sample_and_the_means_of_all() -> None:
    (row,) = quarters(
        at(1, ac_power=100.0, energy_total_wh=5_000, status=4, battery_soc_pct=10.0, source="a"),
        at(6, ac_power=200.0, energy_total_wh=6_000, status=7, battery_soc_pct=12.0, source="a"),
        at(11, ac_power=None, energy_total_wh=None, status=4, battery_soc_pct=14.0, source="a"),
    )
    assert row["ts"] == NOON + timedelta(minutes=11)
    assert row["ac_power"] == 150.0
    assert row["energy_total_wh"] == 6_000
    assert (row["status"], row["battery_soc_pct"]) == (4, 14.0)
    assert (row["time_source"], row["source"]) == ("quarter", None)


def test_quarters_begin_where_the_clock_says_and_loggers_stay_apart() -> None:
    rows = quarters(at(14.9), at(15), at(29.9), at(29.9, logger_sn=4_100_000_002), at(30))
    assert [row["ts"] - NOON for row in rows] == [
        timedelta(minutes=minute) for minute in (14.9, 29.9, 29.9, 30)
    ]


def test_repeats_of_a_sleeping_inverter_count_only_alone() -> None:
    clock = NOON.replace(tzinfo=None)
    cached = {"inverter_clock": clock, "ac_power": 90.0}
    rows = quarters(
        at(2, **cached),
        at(7, **cached),
        at(12, inverter_clock=clock + timedelta(minutes=12), ac_power=30.0),
        *(at(minute, **cached) for minute in (16, 21)),
    )
    assert [(row["ac_power"], row["repeat"]) for row in rows] == [(60.0, False), (90.0, True)]


def test_a_fault_that_came_and_went_stays_one_and_a_sleeping_counter_is_none() -> None:
    (row,) = quarters(
        at(1, fault_vendor="0000", energy_total_wh=7_000),
        at(6, fault_vendor="0040", energy_total_wh=7_100),
        at(11, fault_vendor="0000", energy_total_wh=0),
    )
    assert (row["fault_vendor"], row["energy_total_wh"]) == ("0040", 7_100)


def test_ageing_again_changes_nothing_and_compaction_neither() -> None:
    rows = compacted(
        *(at(minute, ac_power=float(minute), source="a") for minute in range(0, 60, 5))
    )
    for age in Age:
        once = ageing.aged(rows, age)
        assert ageing.aged(once, age) == once
        assert compaction.compact_readings(once, NOTHING) == once
    assert ageing.aged(rows, Age.WHOLE) == rows
    assert set(ageing.aged(rows, Age.WITHOUT_ADDRESSES).column("source").to_pylist()) == {None}
    assert ageing.aged(rows, Age.WITHOUT_ADDRESSES).drop(["source"]) == rows.drop(["source"])


class Aged(Place):
    """A data directory of the retention table, with a list of what is held."""

    def __init__(self, root: Path, **chosen: str) -> None:
        super().__init__(root, **{**DAYS, **chosen})
        # As if a server had run here: maintenance alone renews the catalog then.
        self.data.lock.touch()

    def hold(self, *entries: dict[str, Any]) -> None:
        self.data.held.write_text(json.dumps({"entries": entries}))

    def rows_of(self, inverter_sn: str) -> int:
        return sum(row["inverter_sn"] == inverter_sn for row in self.stored())


@pytest.fixture
def place(tmp_path: Path) -> Aged:
    found = Aged(tmp_path / "data")
    for name in ("A", "B"):
        found.commit(
            readings(
                *(
                    sample(minute, name, ac_power=100.0, energy_total_wh=minute, source="192.0.2.0")
                    for minute in range(0, 1_440, 5)
                )
            )
        )
    found.show()
    return found


def after(days: int, **rest: float) -> Any:
    """The date of the samples ended `days` days before."""
    return DAY + timedelta(days=1 + days, **rest)


def test_addresses_go_after_a_year_and_samples_after_three(place: Aged) -> None:
    place.maintain(after(364, hours=23))
    assert {row["source"] for row in place.stored()} == {"192.0.2.0"}
    outcome = place.maintain(after(365))
    assert [day.rows_after for day in outcome.aged] == [576]
    assert {row["source"] for row in place.stored()} == {None}
    assert place.maintain(after(1_094, hours=23)).aged == []
    assert len(place.stored()) == 576
    outcome = place.maintain(after(1_095))
    assert [(day.date, day.rows_before, day.rows_after) for day in outcome.aged] == [
        ("2026-06-15", 576, 192)
    ]
    assert len(place.stored()) == 192
    files = place.files()
    assert place.maintain(after(1_096)).aged == []
    assert place.files() == files, "what has aged is not written again"


def test_days_make_the_same_energy_before_and_after(tmp_path: Path) -> None:
    place = Aged(tmp_path / "data")
    # Of one local day, with a counter in steps of 1 kWh and a daily one that begins at zero.
    place.commit(
        readings(
            *(
                sample(
                    minute,
                    ac_power=2_000.0,
                    energy_today_wh=(minute - 240) * 100 // 3,
                    energy_total_wh=5_000_000 + (minute - 240) // 30 * 1_000,
                )
                for minute in range(240, 1_200, 5)
            )
        )
    )
    place.show()
    place.maintain()
    energy = "SELECT inverter_sn, day, energy_kwh, method, last_at FROM daily_energy"
    quality = "SELECT coverage, energy_integral_kwh AS kwh FROM daily_quality"
    before = catalog.query(place.data, energy)
    (whole,) = catalog.query(place.data, quality).to_pylist()
    assert before.column("energy_kwh").to_pylist() == [pytest.approx(31.833)]

    place.maintain(after(1_095))

    assert len(place.stored()) == 64
    assert catalog.query(place.data, "SELECT count(*) AS n FROM readings").to_pylist() == [
        {"n": 64}
    ]
    assert catalog.query(place.data, energy) == before
    (aged,) = catalog.query(place.data, quality).to_pylist()
    assert (whole["coverage"], aged["coverage"]) == (1.0, 1.0)
    # What lies before the first row that stayed is in no sum any more.
    assert whole["kwh"] - aged["kwh"] == pytest.approx(2 * 10 / 60)


def test_what_is_held_stays_whole_until_it_is_not(place: Aged) -> None:
    place.hold({"table": "readings", "serial": "A"})
    outcome = place.maintain(after(1_095))
    assert (place.rows_of("A"), place.rows_of("B")) == (288, 96)
    assert outcome.held == {"readings": ["2026-06-15"]}
    assert place.maintain(after(1_096)).aged == [], "nothing to do, and nothing is done"
    place.hold({"table": "readings", "serial": "A", "since": "2026-06-16"})
    place.maintain(after(1_096))
    assert (place.rows_of("A"), place.rows_of("B")) == (96, 96)


def test_what_is_held_may_age_as_far_as_the_list_says(place: Aged) -> None:
    place.hold({"table": "readings", "serial": "A", "age": 1})
    place.maintain(after(365))
    assert {row["source"] for row in place.stored()} == {None}
    outcome = place.maintain(after(1_095))
    assert (place.rows_of("A"), place.rows_of("B")) == (288, 96)
    assert len(outcome.aged) == 1
    assert place.maintain(after(1_096)).aged == []


def test_what_is_held_does_not_expire_either(tmp_path: Path) -> None:
    place = Aged(tmp_path / "data", **{"retention.readings_days": "7300"})
    place.commit(readings(sample(0, "A"), sample(0, "B")))
    place.commit(readings(sample(5, "A")), sessions=sessions({"at": DAY}))
    place.hold({"table": "readings", "serial": "A"}, {"table": "sessions", "serial": "4100000001"})
    place.maintain(after(7_300))
    assert {row["inverter_sn"] for row in place.stored()} == {"A"}
    assert len(place.stored("sessions")) == 1
    assert place.maintain(after(7_301)).expired["readings"] == []
    place.data.held.unlink()
    outcome = place.maintain(after(7_301))
    assert (place.stored(), place.stored("sessions")) == ([], [])
    assert outcome.expired["readings"] == ["2026-06-15"]


def test_a_list_that_cannot_be_read_is_no_empty_one(place: Aged) -> None:
    place.data.held.write_text('{"entries": [{"table": "readings"')
    with pytest.raises(maintenance.MaintenanceError, match="no list of held readings"):
        place.maintain(after(8_000))
    assert len(place.stored()) == 576


def test_ageing_is_one_commit_and_nothing_without_it(
    place: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.maintain()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lake_table.LakeTable, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        place.maintain(after(1_095))
    assert len(place.stored()) == 576
    monkeypatch.undo()
    versions = len(place.log_entries())
    place.maintain(after(1_095))
    assert len(place.stored()) == 192
    assert len(place.log_entries()) == versions + 1


def test_a_sample_that_comes_meanwhile_stays(place: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    place.maintain()
    meanwhile(monkeypatch, lambda: place.commit(readings(sample(3, "C"))))
    place.maintain(after(1_095))
    assert place.rows_of("C") == 1
    assert len(place.stored()) == 193


def test_files_tell_their_age_by_name() -> None:
    for age in Age:
        name = paths.compacted_file("2026-06-15", age)
        assert paths.age(name) == age
        assert paths.is_compacted(name)
    assert paths.age(paths.data_file("node", 1, "2026-06-15")) == Age.WHOLE


def test_which_days_are_due(place: Aged) -> None:
    store = maintenance.open_tables(place.settings, place.data)[0]
    files = store.refresh()
    today = after(400).date()
    both = {Age.WITHOUT_ADDRESSES: 365, Age.QUARTER_HOURS: 1_095}
    assert maintenance_plan.days_ageing(files, today, both) == {"2026-06-15": Age.WITHOUT_ADDRESSES}
    assert maintenance_plan.days_ageing(files, today, dict.fromkeys(both, 0)) == {}
    # Who keeps addresses longer than samples loses both at once.
    other = {Age.WITHOUT_ADDRESSES: 500, Age.QUARTER_HOURS: 100}
    assert maintenance_plan.days_ageing(files, today, other) == {"2026-06-15": Age.QUARTER_HOURS}


def test_the_command_tells_what_it_did(place: Aged) -> None:
    place.maintain()
    config = place.data.root / "made.toml"
    config.write_text("[retention]\nsamples_days = 1\n")
    told = run("retain", "--data", str(place.data.root), "--config", str(config))
    assert told.returncode == 0
    assert b"readings: 1 days aged, 2026-06-15 to 2026-06-15, 576 rows -> 192 rows" in told.stdout


def test_forgotten_serials_leave_the_list(place: Aged) -> None:
    place.hold(
        {"table": "readings", "serial": "A"},
        {"table": "sessions", "serial": "4100000001"},
        {"table": "quarantine", "serial": "4100000002"},
    )
    assert held.remove(place.data.held, "inverter", "A")
    assert held.remove(place.data.held, "logger", "4100000001")
    assert not held.remove(place.data.held, "logger", "A")
    assert [entry.serial for entry in held.load(place.data.held).entries] == ["4100000002"]
    assert not held.remove(place.data.root / "none", "inverter", "A")


def test_by_default_a_server_keeps_samples_whole() -> None:
    assert settings.load(overrides={}).retention.samples_days == 0
    assert settings.load(overrides={}).retention.addresses_days == 0
