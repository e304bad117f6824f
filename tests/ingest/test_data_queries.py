"""Do the worked queries of docs/data.md answer their questions?"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import rows
from autarco_ingest import catalog
from test_maintenance import Place

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"
FIRST = datetime(2026, 6, 14, tzinfo=UTC)  # a Sunday
KILOWATT = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
MIDDAY = 12


def worked_queries() -> dict[int, str]:
    """Returns the SQL of each query by its number."""
    chapter = DOCUMENT.read_text(encoding="utf-8").split("\n## Ten questions, worked\n")[1]
    chapter = chapter.split("\n## ")[0]
    found = re.findall(
        r"^### Query (\d+): [^\n]+\?\n\n(?:[^\n]+\n)+\n```sql\n(.*?)^```$",
        chapter,
        re.MULTILINE | re.DOTALL,
    )
    return {int(number): sql for number, sql in found}


QUERIES = worked_queries()


def sample(serial: str, day: int, hour: int) -> dict[str, Any]:
    """A fleet under one sky: each inverter at its rated power from 6 to 18, E mostly at half."""
    ts = FIRST + timedelta(days=day, hours=hour)
    watt = KILOWATT[serial] * 1_000
    if serial == "E" and hour != MIDDAY:
        watt //= 2
    hourly_wh = 2_500 if serial == "E" else watt
    today_wh = hourly_wh * (hour - 6)
    chosen: dict[str, Any] = {
        "ac_power": float(watt),
        "energy_today_wh": today_wh,
        "energy_total_wh": 9_000_000 + 12 * hourly_wh * day + today_wh,
    }
    if serial == "A" and day == 1 and hour in {12, 13}:
        chosen |= {"ac_voltage_l1": 254.0, "ac_voltage_l2": 253.0 if hour == MIDDAY else 252.9}
    if serial == "C":
        chosen |= {"dc_voltage_mppt1": 400.0, "dc_current_mppt1": 5.0}
        chosen |= {"dc_voltage_mppt2": 400.0, "dc_current_mppt2": 0.0 if day == 1 else 5.0}
    if serial == "D" and day == 1 and hour in {10, 11}:
        chosen |= {"historic": True, "received_at": ts + timedelta(hours=2)}
    return rows.reading(
        ts=ts, inverter_sn=serial, logger_sn=4_100_000_000 + KILOWATT[serial], **chosen
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two whole days and a morning on which B is silent; the last rows are only in the tail."""
    place = Place(tmp_path_factory.mktemp("queries"))
    days = [[sample(sn, day, hour) for sn in KILOWATT for hour in range(6, 19)] for day in (0, 1)]
    morning = [sample(sn, 2, hour) for sn in "ACDE" for hour in (6, 7)]
    sticks = rows.sessions(
        {"logger_sn": 1, "firmware": "1.58", "signal_pct": 80},
        {"logger_sn": 2, "firmware": "1.58", "signal_pct": 20},
        {"logger_sn": 3, "firmware": "1.58", "signal_pct": 10},
        {"logger_sn": 3, "at": rows.NOON + timedelta(hours=1), "firmware": "1.60"},
        {"logger_sn": 3, "at": rows.NOON + timedelta(hours=2), "signal_pct": 60},
    )
    place.commit(rows.readings(*days[0]))
    place.commit(rows.readings(*days[1]), sessions=sticks)
    place.storage.show_latest(rows.readings(*days[1], *morning))
    place.storage.show([rows.readings(*morning)])
    return place


def answer(place: Place, number: int) -> list[tuple[Any, ...]]:
    result = catalog.query(place.data, QUERIES[number])
    return [tuple(row.values()) for row in result.to_pylist()]


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 6, day, hour, tzinfo=UTC)


def test_there_are_ten() -> None:
    assert list(QUERIES) == list(range(1, 11))
    text = "".join(QUERIES.values())
    assert not re.search(r"\d{4}-\d\d-\d\d|\d{6}", text), "dates and serials follow from the data"


def test_an_empty_directory_answers_all_of_them_with_nothing(tmp_path: Path) -> None:
    empty = Place(tmp_path)
    empty.show()

    assert [answer(empty, number) for number in QUERIES] == [[]] * 10


def test_energy_of_yesterday(place: Place) -> None:
    assert answer(place, 1) == [
        ("D", 48.0, "today"),
        ("C", 36.0, "today"),
        ("E", 30.0, "today"),
        ("B", 24.0, "today"),
        ("A", 12.0, "today"),
    ]


def test_who_is_silent(place: Place) -> None:
    assert answer(place, 2) == [("B", 4_100_000_002, at(15, 18), 13.0)]


def test_curve_of_one_inverter(place: Place) -> None:
    found = answer(place, 3)

    assert [(row[0], row[1], row[3], row[5]) for row in found] == [
        (at(15, hour), 1_000.0, 254.0 if hour in {12, 13} else None, 1_000 * (hour - 6))
        for hour in range(6, 19)
    ]


def test_worst_tenth(place: Place) -> None:
    assert answer(place, 4) == [("E", 60.0, 50.0)]


def test_minutes_of_high_voltage(place: Place) -> None:
    assert answer(place, 5) == [("A", date(2026, 6, 15), 10, 5, 0)]


def test_shares_of_dc_inputs(place: Place) -> None:
    assert answer(place, 6) == [("C", date(2026, 6, 15), 100.0, 50.0)]


def test_lateness(place: Place) -> None:
    assert answer(place, 7) == [
        (date(2026, 6, 14), 65, 0.0, 2.0, 2.0),
        (date(2026, 6, 15), 65, 3.1, 2.0, 7_200.0),
        (date(2026, 6, 16), 8, 0.0, 2.0, 2.0),
    ]


def test_power_of_the_fleet(place: Place) -> None:
    assert answer(place, 8) == [
        (at(15, hour), 15.0 if hour == MIDDAY else 12.5, 5) for hour in range(6, 19)
    ]


def test_energy_per_week(place: Place) -> None:
    assert answer(place, 9) == [
        (date(2026, 6, 8), 150.0, 5),
        (date(2026, 6, 15), 150.0 + 1 + 3 + 4 + 2.5, 5),
    ]


def test_firmware_and_signal(place: Place) -> None:
    assert answer(place, 10) == [("1.58", 2, 50.0, 1), ("1.60", 1, 60.0, 0)]
