"""Charts of a site show what was measured, when it was on the clock there, and gaps as gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from autarco_portal.pages.site_charts import (
    COLUMNS,
    DayEnergy,
    energy_chart,
    mppt_chart,
    power_chart,
)
from autarco_portal.pages.words import Language, words

EN = words(Language.ENGLISH)
DAY = date(2026, 6, 21)
NOON = datetime(2026, 6, 21, 10, tzinfo=UTC)
"""12:00 in Amsterdam."""
ZONE = "Europe/Amsterdam"


def readings(*rows: dict[str, Any]) -> pl.DataFrame:
    kinds: dict[str, Any] = dict.fromkeys(COLUMNS, pl.Float32()) | {
        "inverter_sn": pl.String(),
        "ts": pl.Datetime("ms", "UTC"),
        "repeat": pl.Boolean(),
    }
    blank: dict[str, Any] = dict.fromkeys(COLUMNS)
    return pl.DataFrame([blank | row for row in rows], schema=kinds)


def row(minute: float, power: float | None, serial: Any = "A", **more: Any) -> dict[str, Any]:
    at = NOON + timedelta(minutes=minute)
    return {"inverter_sn": serial, "ts": at, "ac_power": power} | more


def test_power_is_the_mean_of_steps_of_two_samples_in_local_time() -> None:
    rows = readings(*(row(5 * n, 100.0 + 2 * n) for n in range(6)))
    chart = power_chart(rows, ["A"], DAY, ZONE, EN)
    assert chart.x == ("2026-06-21 12:00", "2026-06-21 12:10", "2026-06-21 12:20")
    assert chart.series[0].values == (101.0, 105.0, 109.0)
    assert chart.summary == "At most 109 W together, at 12:20."
    assert not chart.gaps


def test_a_late_sample_leaves_no_gap_and_silence_does() -> None:
    late = readings(*(row(5 * n + (4.9 if n % 2 else 0), 50.0) for n in range(12)))
    assert None not in power_chart(late, ["A"], DAY, ZONE, EN).series[0].values
    silent = readings(*(row(5 * n, 50.0) for n in range(30) if not 10 <= n < 20))
    chart = power_chart(silent, ["A"], DAY, ZONE, EN)
    assert chart.series[0].values.count(None) == 5
    assert [(gap.start, gap.end) for gap in chart.gaps] == [
        ("2026-06-21 12:50", "2026-06-21 13:40")
    ]


def test_one_silent_inverter_of_two_is_no_gap_of_the_site() -> None:
    rows = readings(
        *(row(5 * n, 50.0) for n in range(30)), *(row(5 * n, 50.0, "B") for n in (0, 1, 2, 29))
    )
    chart = power_chart(rows, ["A", "B"], DAY, ZONE, EN)
    assert not chart.gaps
    assert chart.series[1].values[5] is None


def test_what_only_repeats_is_not_drawn() -> None:
    rows = readings(row(0, 50.0), row(5, 60.0), row(10, 60.0, repeat=True))
    assert power_chart(rows, ["A"], DAY, ZONE, EN).series[0].values == (55.0,)


def test_a_day_without_anything_has_nothing_to_draw() -> None:
    chart = power_chart(readings(), ["A"], DAY, ZONE, EN)
    assert not chart.has_data
    assert chart.summary == "Nothing was received on this day."


def test_another_days_samples_do_not_count() -> None:
    rows = readings(row(0, 50.0), row(60 * 13, 70.0), row(-60 * 13, 70.0))
    assert power_chart(rows, ["A"], DAY, ZONE, EN).series[0].values == (50.0,)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_days_on_which_clocks_change_are_whole(day: date, hours: int) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    begin = midnight - timedelta(hours=1 if hours == 23 else 2)
    rows = readings(
        *(
            {"inverter_sn": "A", "ts": begin + timedelta(minutes=30 * n), "ac_power": 1.0}
            for n in range(2 * hours)
        )
    )
    chart = power_chart(rows, ["A"], day, ZONE, EN)
    assert chart.x[0].endswith("00:00")
    assert chart.x[-1].endswith("23:00")
    assert chart.series[0].values == (1.0,) * hours


def test_trackers_are_shown_where_there_are_several() -> None:
    one = {"dc_voltage_mppt1": 400.0, "dc_current_mppt1": 2.0}
    two = one | {"dc_voltage_mppt2": 300.0, "dc_current_mppt2": 1.0}
    assert mppt_chart(readings(row(0, 1.0, **one)), "A", DAY, ZONE, EN) is None
    chart = mppt_chart(readings(row(0, 1.0, **two)), "A", DAY, ZONE, EN)
    assert chart is not None
    assert [(part.name, part.values) for part in chart.series] == [
        ("MPPT 1", (800.0,)),
        ("MPPT 2", (300.0,)),
    ]
    assert chart.chart_id == "mppt-A"


def test_energy_is_compared_over_the_days_of_which_both_are_known() -> None:
    days = {
        date(2026, 6, 1): DayEnergy(energy_kwh=9, expected_kwh=10),
        date(2026, 6, 2): DayEnergy(energy_kwh=5),
        date(2026, 6, 3): DayEnergy(expected_kwh=20),
    }
    chart = energy_chart("month", "June", days, EN, by_month=False)
    assert chart.summary == "14 kWh, 90 % of what was expected"
    assert [one.role for one in chart.series] == ["expected", "actual"]
    assert chart.labels[0] == "1 June 2026"
    alone = energy_chart("y", "2026", {date(2026, 1, 1): DayEnergy()}, EN, by_month=True)
    assert alone.summary == "Nothing is known yet."
    assert not alone.has_data
