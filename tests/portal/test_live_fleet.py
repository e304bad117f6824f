"""The snapshot of a fleet says what all readings together say, however it came to be."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from autarco_portal.live_fleet import Fleet, NotReady, Placed
from autarco_portal.site_view import site_view
from made_lake import MadeLake
from reading_rows import frame, reading
from test_site_view import days_of_sun

if TYPE_CHECKING:
    from pathlib import Path


FIRST = datetime(2026, 9, 25, tzinfo=UTC)
ROWS = days_of_sun(FIRST, 40, 4_300, 1_500_000)
HYBRID = [row | {"inverter_sn": "H", "battery_power": 500.0, "grid_power": -100.0} for row in ROWS]
PLACED = [Placed(serial_number=serial, time_zone="Europe/Amsterdam", pac0=5_000) for serial in "AH"]


def shown(fleet: Fleet, serial: str, now: datetime) -> Any:
    record = fleet.snapshot.record(serial, pac0=5_000)
    view = site_view([record], now=now, time_zone="Europe/Amsterdam")
    return msgspec.structs.replace(view, now=FIRST)


def test_before_the_first_reading_nothing_is_said(tmp_path: Path) -> None:
    fleet = Fleet(MadeLake([], FIRST), tmp_path)
    with pytest.raises(NotReady):
        _ = fleet.snapshot


@pytest.mark.parametrize(
    "end", [datetime(2026, 11, 1, 11, tzinfo=UTC), datetime(2026, 11, 3, 11, tzinfo=UTC)]
)
def test_months_of_history_in_small_steps_are_as_all_at_once(tmp_path: Path, end: datetime) -> None:
    lake = MadeLake(ROWS + HYBRID, end - timedelta(hours=2))
    fleet = Fleet(lake, tmp_path / "a", placed=lambda: PLACED)
    now = end - timedelta(hours=2)
    while now <= end:
        lake.heard = now
        assert fleet.refresh(now)
        now += timedelta(minutes=10)
    at_once = Fleet(lake, tmp_path / "b", placed=lambda: PLACED)
    at_once.refresh(end)
    for serial in "AH":
        assert shown(fleet, serial, end) == shown(at_once, serial, end)
    view = shown(at_once, "H", end)
    days_whole = (end - FIRST).days
    begun = 4_300 * 3 * 12 // 96
    assert view.pv.to_date == (1_500_000 + 4_300 * days_whole + begun) // 1_000
    at_midnight = (1_500_000 + 4_300 * 37) // 1_000
    assert view.pv.month == view.pv.to_date - at_midnight
    assert sum(kwh or 0 for kwh in view.inverters[0].days.values()) == view.pv.month
    # 97 samples from 8 to 16: 32 quarters, and the one that begins at 16.
    assert view.battery_charged.to_date == int(days_whole * 33 * 0.125 + 13 * 0.125)


def test_an_unchanged_lake_is_not_read_again_and_late_rows_show_within_half_an_hour(
    tmp_path: Path,
) -> None:
    end = datetime(2026, 10, 2, 15, tzinfo=UTC)
    late = [row for row in ROWS if row["ts"].date() == date(2026, 10, 2) and row["ts"].hour == 9]
    lake = MadeLake([row for row in ROWS if row not in late], end)
    fleet = Fleet(lake, tmp_path)
    assert fleet.refresh(end)
    asked = len(lake.asked)
    assert not fleet.refresh(end + timedelta(minutes=5))
    assert len(lake.asked) == asked
    lake.all = frame(ROWS)
    lake.version += 1
    assert fleet.refresh(end + timedelta(minutes=31))
    found = fleet.snapshot.record("A", pac0=5_000).quarters.quarter_us
    nine = round(datetime(2026, 10, 2, 9, tzinfo=UTC).timestamp()) * 1_000_000
    assert nine in found


def test_a_second_start_reads_what_the_first_one_kept(tmp_path: Path) -> None:
    end = datetime(2026, 10, 20, 12, tzinfo=UTC)
    lake = MadeLake(ROWS, end)
    Fleet(lake, tmp_path).refresh(end)
    lake.asked.clear()
    again = Fleet(lake, tmp_path)
    again.refresh(end)
    assert len(lake.asked) == 1
    assert len(list(tmp_path.glob("*.parquet"))) == len(
        {row["ts"].date() for row in ROWS if row["ts"].date() <= date(2026, 10, 18)}
    )


def test_dates_that_left_the_lake_leave_no_file_behind(tmp_path: Path) -> None:
    end = datetime(2026, 11, 3, 11, tzinfo=UTC)
    Fleet(MadeLake(ROWS + HYBRID, end), tmp_path, placed=lambda: PLACED).refresh(end)
    earliest = min(file.name[:10] for file in tmp_path.glob("*.parquet"))
    erased = [row for row in ROWS if f"{row['ts']:%Y-%m-%d}" > earliest]

    # By a process that knew nothing of them.
    Fleet(MadeLake(erased, end), tmp_path, placed=lambda: PLACED).refresh(end)

    left = {file.name[:10] for file in tmp_path.glob("*.parquet")}
    assert left
    assert min(left) > earliest


def test_registers_from_before_the_hour_are_no_news(tmp_path: Path) -> None:
    evening = datetime(2026, 10, 2, 18, tzinfo=UTC)
    clock = datetime(2026, 10, 2, 20, 0)
    rows = [
        reading(evening + n * timedelta(minutes=5), 9_000, ac_power=800.0, inverter_clock=clock)
        for n in range(60)
    ]
    lake = MadeLake(rows, evening + timedelta(hours=2))
    fleet = Fleet(lake, tmp_path)
    for minutes in (120, 130, 140):
        now = evening + timedelta(minutes=minutes)
        lake.heard = now
        fleet.refresh(now)
        assert fleet.snapshot.quarters.height == 1
        assert shown(fleet, "A", now).pv_now == 0


def test_an_unknown_inverter_has_said_nothing(tmp_path: Path) -> None:
    end = datetime(2026, 10, 2, tzinfo=UTC)
    fleet = Fleet(MadeLake(ROWS, end), tmp_path)
    fleet.refresh(end)
    record = fleet.snapshot.record("nobody", pac0=None)
    assert record.latest is None
    assert len(record.quarters.quarter_us) == 0
