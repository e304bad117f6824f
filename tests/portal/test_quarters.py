"""Reducing readings loses no energy, and days end where people end them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pvlib  # type: ignore[import-untyped]

from autarco_portal import quarters, weather_sun
from reading_rows import frame, reading

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def test_a_quarter_has_the_mean_power_both_directions_and_the_last_counter() -> None:
    rows = [
        reading(NOON, 5_000, ac_power=100.0, battery_power=600.0, grid_power=-30.0),
        reading(NOON + 5 * MINUTE, 0, ac_power=None, battery_power=-300.0, grid_power=60.0),
        reading(NOON + 10 * MINUTE, 5_100, ac_power=300.0, battery_power=0.0, grid_power=0.0),
        reading(NOON + 15 * MINUTE, None, ac_power=7.0),
    ]
    first, second = quarters.quarters(frame(rows)).to_dicts()
    assert first["quarter"] == NOON
    assert first["ac_power"] == 200
    assert (first["charge_power"], first["discharge_power"]) == (200, 100)
    assert (first["import_power"], first["export_power"]) == (20, 10)
    assert (first["energy_total_wh"], first["counter_at"]) == (5_100, NOON + 10 * MINUTE)
    assert (second["ac_power"], second["energy_total_wh"], second["grid_power"]) == (7, None, None)


def test_registers_sent_again_count_once_marked_or_not() -> None:
    clock = datetime(2026, 11, 3, 13)
    rows = [reading(NOON + n * 5 * MINUTE, ac_power=500.0, inverter_clock=clock) for n in range(6)]
    rows.append(reading(NOON + 40 * MINUTE, ac_power=500.0, repeat=True))
    found = quarters.quarters(frame(rows))
    assert found["quarter"].to_list() == [NOON]


def test_a_day_is_that_of_the_site_and_its_two_dates_are_one() -> None:
    rows = [
        reading(datetime(2026, 7, 1, 22, 30, tzinfo=UTC), 1_000, grid_power=400.0),
        reading(datetime(2026, 7, 2, 12, tzinfo=UTC), 9_000, grid_power=-800.0),
        reading(datetime(2026, 7, 2, 21, 50, tzinfo=UTC), 9_500),
        reading(datetime(2026, 7, 2, 22, 10, tzinfo=UTC), 9_600),
    ]
    parts = [
        quarters.day_summaries(quarters.quarters(frame(part)), {}) for part in (rows[:1], rows[1:])
    ]
    days = quarters.merged(parts).to_dicts()
    assert [day["day"] for day in days] == [date(2026, 7, 2), date(2026, 7, 3)]
    assert (days[0]["first_wh"], days[0]["last_wh"]) == (1_000, 9_500)
    assert (days[0]["lowest_wh"], days[0]["highest_wh"]) == (1_000, 9_500)
    assert (days[0]["import_wh"], days[0]["export_wh"]) == (100, 200)
    assert days[0]["charged_wh"] is None
    found = quarters.quarters(frame(rows))
    lisbon = quarters.day_summaries(found, {"A": "Atlantic/Azores"})
    assert lisbon["day"].to_list() == [date(2026, 7, 1 + n) for n in range(2)]


def test_nothing_is_summed_up_to_nothing() -> None:
    found = quarters.quarters(frame([]))
    assert found.schema == quarters.QUARTER_SCHEMA
    assert quarters.day_summaries(found, {}).schema == quarters.SUMMARY_SCHEMA
    assert quarters.merged([]).schema == quarters.SUMMARY_SCHEMA
    assert isinstance(quarters.merged([]), pl.DataFrame)


def test_the_sun_stands_where_pvlib_s_exact_algorithm_says() -> None:
    at = pd.date_range("2026-01-01", "2026-12-31", freq="7h", tz="UTC").as_unit("us")
    exact = pvlib.solarposition.get_solarposition(at, 52.1, 5.2)["elevation"].to_numpy()
    assert np.abs(weather_sun.elevation(52.1, 5.2, at.asi8) - exact).max() < 0.7
