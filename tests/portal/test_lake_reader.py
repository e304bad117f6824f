"""The portal gets whole days of a fleet in one answer, of one moment, and only what it asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import rows
from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.latest import Latest
from autarco_ingest.table_store import LocalStore
from autarco_portal.lake_reader import LakeReader, NoCatalogError

if TYPE_CHECKING:
    from pathlib import Path

MIDNIGHT = datetime(2026, 6, 14, 22, tzinfo=UTC)
"""Local; the day has rows on two UTC dates."""
DAY = timedelta(days=1)


@pytest.fixture
def reader(tmp_path: Path) -> LakeReader:
    data = paths.DataDirectory.at(tmp_path)
    data.create()
    lake = Lake(LocalStore(data.lake), "n1")
    readings = rows.readings(
        *(
            rows.reading(ts=MIDNIGHT + timedelta(hours=hour), inverter_sn=name, ac_power=hour)
            for hour in range(-1, 26)
            for name in ("A", "B", "it's")
        )
    )
    lake.commit(1, readings, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    latest = Latest(data)
    latest.merge(schema.conform(schema.READINGS, readings))
    moment = catalog.Moment(readings=lake.files("readings"), latest=data.latest)
    catalog.rebuild(data, moment, time_zone="Europe/Amsterdam")
    return LakeReader(data)


def test_a_day_has_its_first_moment_and_not_the_next_days(reader: LakeReader) -> None:
    found = reader.readings(["A", "it's"], MIDNIGHT, MIDNIGHT + DAY, ["inverter_sn", "ac_power"])

    assert found.column_names == ["inverter_sn", "ac_power"]
    assert found.column("inverter_sn").to_pylist() == ["A"] * 24 + ["it's"] * 24
    assert found.column("ac_power").to_pylist() == [*range(24), *range(24)]


def test_none_asks_for_all_and_nobody_for_none(reader: LakeReader) -> None:
    assert len(reader.readings(None, MIDNIGHT, MIDNIGHT + DAY, ["ts"])) == 72
    assert len(reader.readings([], MIDNIGHT, MIDNIGHT + DAY, ["ts"])) == 0
    assert len(reader.readings(["A"], MIDNIGHT, MIDNIGHT, ["ts"])) == 0


def test_latest_is_one_row_per_inverter(reader: LakeReader) -> None:
    found = reader.latest(["A", "B"], ["inverter_sn", "ac_power"])

    assert found.to_pylist() == [
        {"inverter_sn": "A", "ac_power": 25},
        {"inverter_sn": "B", "ac_power": 25},
    ]
    assert len(reader.latest()) == 3


def test_what_is_no_column_and_a_time_without_a_zone_are_refused(reader: LakeReader) -> None:
    with pytest.raises(ValueError, match="no columns"):
        reader.readings(None, MIDNIGHT, MIDNIGHT + DAY, ["ts FROM readings; DROP"])
    with pytest.raises(ValueError, match="time zone"):
        reader.readings(None, MIDNIGHT.replace(tzinfo=None), MIDNIGHT + DAY, ["ts"])


def test_without_a_catalog_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoCatalogError, match="autarco-ingest serve"):
        LakeReader(paths.DataDirectory.at(tmp_path)).latest()


def test_energy_of_a_day_is_that_of_the_view(reader: LakeReader, tmp_path: Path) -> None:
    data = paths.DataDirectory.at(tmp_path)
    lake = Lake(LocalStore(data.lake), "n1")
    counted = rows.readings(
        *(
            rows.reading(
                ts=MIDNIGHT + timedelta(days=day, hours=hour), inverter_sn=name,
                energy_today_wh=100 * (hour - 4), energy_total_wh=5_000 * day + 100 * (hour - 4),
                ac_power=100,
            )
            for day in range(4) for hour in range(4, 20) for name in ("C", "D")
        )
    )  # fmt: skip
    lake.commit(2, counted, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    catalog.rebuild(
        data, catalog.Moment(readings=lake.files("readings")), time_zone="Europe/Amsterdam"
    )
    second = MIDNIGHT.date() + timedelta(days=2)

    found = reader.daily_energy(["C"], second, second + DAY)

    every = catalog.query(data, "FROM daily_energy WHERE inverter_sn = 'C' ORDER BY day")
    names = every.column_names
    assert found.select(names).to_pylist() == every.slice(1, 2).to_pylist()
    assert found.column("energy_kwh").to_pylist() == [1.5, 1.5]
    assert found.column("coverage").to_pylist() == pytest.approx([16 / 181, 16 / 181])


def test_what_came_and_what_lies_around(reader: LakeReader) -> None:
    first = MIDNIGHT.date()
    came = reader.received(["A"], first, first + DAY).to_pylist()
    hour = int(MIDNIGHT.timestamp()) // 3_600
    assert [(row["hour"], row["readings"]) for row in came] == [
        (hour + number, 1) for number in range(-1, 26)
    ]
    assert came[-1]["received_at"] == MIDNIGHT + timedelta(hours=25, seconds=2)

    # None of these has a counter.
    assert len(reader.around(["A"], MIDNIGHT, MIDNIGHT + DAY, DAY)) == 0
