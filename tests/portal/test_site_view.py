"""What a site shows adds up, never falls, and says nothing that nobody measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from autarco_portal import inverter_record, quarters
from autarco_portal.inverter_record import InverterRecord, anchor
from autarco_portal.site_view import (
    Silence,
    SiteView,
    power_by_quarter,
    silences,
    site_view,
)
from reading_rows import frame, reading

AMSTERDAM = "Europe/Amsterdam"
MINUTE = timedelta(minutes=1)


def record(rows: list[dict[str, Any]], serial: str = "A", **values: Any) -> InverterRecord:
    """All rows as if the snapshot held them as quarters."""
    found = quarters.quarters(frame([row | {"inverter_sn": serial} for row in rows]))
    last = rows[-1]
    latest = inverter_record.latest(
        dict.fromkeys(("ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3", "status", "fault_vendor"))
        | last
    )
    return InverterRecord(
        serial_number=serial,
        pac0=5_000,
        latest=latest,
        quarters=inverter_record.quarters_of(found),
        days=inverter_record.days_of(quarters.day_summaries(found, {})),
        **values,
    )


def days_of_sun(first: datetime, days: int, per_day_wh: int, start_wh: int) -> list[dict[str, Any]]:
    """Every five minutes from 8 to 16 UTC, the same energy each day."""
    rows = []
    for n in range(days):
        for step in range(97):
            at = first + timedelta(days=n, hours=8) + step * 5 * MINUTE
            total = start_wh + n * per_day_wh + per_day_wh * step // 96
            rows.append(reading(at, total // 100 * 100, ac_power=per_day_wh / 8))
    return rows


def view(*inverters: InverterRecord, now: datetime) -> SiteView:
    return site_view(inverters, now=now, time_zone=AMSTERDAM)


def test_days_sum_to_the_month_and_today_is_today() -> None:
    rows = days_of_sun(datetime(2026, 11, 1, tzinfo=UTC), 12, 3_700, 1_234_000)
    shown = view(record(rows), now=rows[-1]["ts"] + MINUTE)
    days = shown.inverters[0].days
    assert len(days) == 12
    assert sum(kwh or 0 for kwh in days.values()) == shown.pv.month == 44
    assert days[date(2026, 11, 12)] == shown.pv.today
    assert shown.pv.to_date == shown.inverters[0].energy_total == (1_234_000 + 12 * 3_700) // 1_000
    assert shown.pv_now == round(3_700 / 8)


def test_totals_carry_over_a_swap_and_a_counter_set_anew() -> None:
    first = days_of_sun(datetime(2026, 11, 1, tzinfo=UTC), 4, 4_000, 800_000)
    second = days_of_sun(datetime(2026, 11, 5, tzinfo=UTC), 4, 4_000, 90_000)
    old, new = record(first), record(second, "B", is_replacement=True)
    shown = view(old, new, now=second[-1]["ts"])
    assert shown.pv.to_date == 816 + 16
    assert [one.energy_total for one in shown.inverters] == [816, 106]

    reset = days_of_sun(datetime(2026, 11, 5, tzinfo=UTC), 4, 4_000, 0)
    shown = view(record(first + reset), now=reset[-1]["ts"])
    assert shown.pv.to_date == shown.inverters[0].energy_total == 816 + 16


def test_no_total_ever_falls_while_a_day_is_told_reading_by_reading() -> None:
    rows = days_of_sun(datetime(2026, 11, 1, tzinfo=UTC), 2, 9_000, 500_000)
    # Half asleep it says zero, once it says nonsense, and for a while something lower.
    for place, total in ((60, 0), (61, 0), (150, 4_000_000_000), (160, 400_000)):
        rows[place] |= {"energy_total_wh": total}
    before = 0
    for place in (*range(5, len(rows), 3), len(rows) - 1):
        shown = view(record(rows[: place + 1]), now=rows[place]["ts"])
        assert shown.pv.to_date >= before
        before = shown.pv.to_date
    assert before == 518


def test_what_came_before_is_not_counted_twice() -> None:
    rows = days_of_sun(datetime(2026, 10, 30, tzinfo=UTC), 5, 4_000, 700_000)
    october, whole = record(rows[: 2 * 97]), record(rows)
    old = anchor(october.counter(), (1.0, 2.0, 3.0, 4.0, 5.0), None)
    assert old is not None
    assert (old.first_wh, old.made_wh) == (700_000, 8_000)
    shown = view(msgspec.structs.replace(whole, anchor=old), now=rows[-1]["ts"])
    assert shown.pv == view(whole, now=rows[-1]["ts"]).pv
    assert shown.pv.month == 12


def test_a_battery_s_flows_and_what_the_house_used() -> None:
    begin = datetime(2026, 11, 3, 10, tzinfo=UTC)
    rows = [
        reading(
            begin + n * 5 * MINUTE,
            600_000 + 250 * n,
            ac_power=3_000.0,
            battery_power=2_000.0 if n < 24 else -1_000.0,
            grid_power=-400.0,
            battery_soc_pct=50.0 + n / 10,
        )
        for n in range(48)
    ]
    shown = view(record(rows), now=rows[-1]["ts"])
    assert (shown.battery_now, shown.battery_soc, shown.grid_now) == (-1_000, 55, -400)
    assert shown.has_battery
    assert shown.has_meter
    assert shown.battery_charged.today == 4
    assert shown.battery_discharged.today == 2
    assert shown.grid_export.today == 1
    # 11.75 made, 4 stored, 2 taken out again, 1.6 fed in; each a whole number already.
    assert shown.consumption.today == shown.pv.today - 4 + 2 - 1
    assert shown.consumption_now == 3_000 - 400 + 1_000
    assert 0 <= shown.self_consumption.today <= 100


def test_a_sleeping_inverter_s_old_registers_are_no_power() -> None:
    at = datetime(2026, 11, 3, 15, tzinfo=UTC)
    clock = datetime(2026, 11, 3, 16)
    rows = [
        reading(at + n * 5 * MINUTE, 600_000, ac_power=900.0, inverter_clock=clock)
        for n in range(30)
    ]
    shown = view(record(rows), now=rows[-1]["ts"])
    assert shown.pv_now == 0
    assert shown.health == "OK"
    silent = view(record(rows), now=at + timedelta(days=2))
    assert silent.health == "OFFLINE"


def test_an_empty_site_is_all_zeros() -> None:
    nothing = InverterRecord(
        serial_number="A",
        pac0=5_000,
        quarters=inverter_record.quarters_of(quarters.QUARTER_SCHEMA.to_frame()),
        days=inverter_record.days_of(quarters.SUMMARY_SCHEMA.to_frame()),
    )
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for shown in (view(now=now), view(nothing, now=now)):
        assert (shown.pv_now, shown.pv.to_date, shown.consumption.to_date) == (0, 0, 0)
    assert set(view(nothing, now=now).inverters[0].days.values()) == {None}


def series(at: list[datetime], watts: list[float]) -> tuple[Any, Any]:
    return np.array([int(one.timestamp()) * 1_000_000 for one in at]), np.array(watts)


def test_a_quarter_that_nobody_measured_is_none_and_both_series_have_the_same_keys() -> None:
    eight = datetime(2026, 7, 1, 6, tzinfo=UTC)
    one = series([eight, eight + 45 * MINUTE], [120.4, 300.0])
    other = series([eight + 15 * MINUTE], [80.0])
    first, second = power_by_quarter(
        [one, other], first=date(2026, 7, 1), last=date(2026, 7, 1), time_zone=AMSTERDAM
    )
    assert [f"{at:%H:%M}" for at in first] == ["08:00", "08:15", "08:30", "08:45"]
    assert list(first.values()) == [120, None, None, 300]
    assert list(second.values()) == [None, 80, None, None]


def test_an_hour_that_comes_twice_is_averaged_and_one_left_out_is_not_made_up() -> None:
    zone = ZoneInfo(AMSTERDAM)
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=zone)
    both = [twice.astimezone(UTC), twice.replace(fold=1).astimezone(UTC)]
    assert both[1] - both[0] == timedelta(hours=1)
    (autumn,) = power_by_quarter(
        [series(both, [100.0, 300.0])],
        first=date(2026, 10, 25),
        last=date(2026, 10, 25),
        time_zone=AMSTERDAM,
    )
    assert autumn[datetime(2026, 10, 25, 2, 30)] == 200
    whole_day = [datetime(2026, 3, 28, 23, tzinfo=UTC) + n * 15 * MINUTE for n in range(92)]
    (spring,) = power_by_quarter(
        [series(whole_day, [50.0] * 92)],
        first=date(2026, 3, 29),
        last=date(2026, 3, 29),
        time_zone=AMSTERDAM,
    )
    assert len(spring) == 92
    assert not any(at.hour == 2 for at in spring)


def test_silence_by_day_is_listed_and_sleep_is_not() -> None:
    noon = datetime(2026, 7, 1, 10, tzinfo=UTC)
    heard = [noon + n * 15 * MINUTE for n in range(8) if n not in (3, 4)]
    at, _ = series(heard, [0.0] * 6)
    asked: dict[str, Any] = {
        "begin_us": int(at[0]),
        "now_us": int(at[-1]) + 3_600_000_000,
        "time_zone": AMSTERDAM,
    }
    found = silences([at], is_day=lambda at_us: [True] * len(at_us), **asked)
    assert found == (
        Silence(start=datetime(2026, 7, 1, 12, 45), end=datetime(2026, 7, 1, 13, 15)),
        Silence(start=datetime(2026, 7, 1, 14, 0), end=None),
    )
    assert silences([at], is_day=lambda at_us: [False] * len(at_us), **asked) == ()
    assert silences([], is_day=lambda at_us: [True], **asked) == ()
