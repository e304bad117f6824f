"""What do 5-minute rows show, and what do they only seem to show?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import pytest

from autarco_ingest import schema
from autarco_portal import detection_intraday as rules
from autarco_portal.incidents import Severity, State
from autarco_portal.inverter_day import (
    FAULT,
    GENERATING,
    UNKNOWN_STATUS,
    InverterDay,
    from_readings,
    in_runs,
    runs,
)

if TYPE_CHECKING:
    from autarco_portal.peers import Floats

PV = Path(__file__).resolve().parents[3] / "shared" / "data" / "pv"
BEGINS = dt.datetime(2026, 5, 31, 22, tzinfo=dt.UTC)
STEPS = 288
HOURS = (np.arange(STEPS) + 0.5) / 12
SUN = 60 * np.sin((HOURS - 6) / 12 * np.pi)
"""Degrees; up from step 72 (6 h) to step 216."""
PEERS = np.maximum(0, 0.8 * np.sin((HOURS - 6) / 12 * np.pi))
NOON = 144


def pv(name: str) -> Path:
    """Returns a PV record; skips the test with the reason when it is missing."""
    found = PV / name
    if not found.is_file():
        pytest.skip(f"PV records are not here: {found} is missing")
    return found


def day(**changes: Any) -> InverterDay:
    """A clear day of 5 kWp at an inverter of 4 kW that does what its neighbours do."""
    power = PEERS * 5000
    values: dict[str, Any] = {
        "site_id": "s",
        "inverter_sn": "i",
        "day": dt.date(2026, 6, 1),
        "begins": BEGINS,
        "pac0": 4500.0,
        "pdc0": 5000.0,
        "present": np.ones(STEPS, bool),
        "ac_power": power,
        "ac_voltage": np.tile([[235.0], [np.nan], [np.nan]], STEPS),
        "dc_voltage": np.full((2, STEPS), 350.0),
        "dc_current": np.tile(power / 2 / 350, (2, 1)),
        "temp_inverter": np.full(STEPS, 45.0),
        "status": np.full(STEPS, GENERATING, np.int16),
        "energy_total_wh": 1e6 + np.cumsum(power) / 12,
        "counter_step_wh": 10.0,
        "sun_elevation": SUN,
        "sun_azimuth": HOURS * 15,
        "peer_kw": PEERS,
    }
    return InverterDay(**(values | changes))


def silent(first: int, end: int, **changes: Any) -> InverterDay:
    """The same without rows in those steps."""
    there = day(**changes)
    present = there.present.copy()
    present[first:end] = False
    hidden = {
        name: np.where(present, getattr(there, name), np.nan)
        for name in ("ac_power", "ac_voltage", "dc_voltage", "dc_current", "energy_total_wh")
    }
    return msgspec.structs.replace(there, present=present, **hidden)


def with_power(first: int, end: int, power: float, **changes: Any) -> InverterDay:
    """The same with another power in those steps."""
    values = PEERS * 5000
    values[first:end] = power
    energy = 1e6 + np.cumsum(values) / 12
    return day(**({"ac_power": values, "energy_total_wh": energy} | changes))


def test_runs_are_found_with_their_ends() -> None:
    flags = np.array([True, False, True, True, False, True])

    assert runs(flags) == [(0, 1), (2, 4), (5, 6)]
    assert runs(flags, 2) == [(2, 4)]
    assert runs(np.zeros(3, bool)) == []
    assert in_runs(flags, 2).tolist() == [False, False, True, True, False, False]


def test_readings_go_to_their_steps_without_repeats_and_strangers() -> None:
    def row(minutes: float, power: float, sn: str = "i", *, repeat: bool = False) -> dict[str, Any]:
        at = BEGINS + dt.timedelta(minutes=minutes)
        names = {column.name: None for column in schema.READINGS.columns}
        return names | {
            "ts": at,
            "received_at": at,
            "inverter_sn": sn,
            "ac_power": power,
            "status": None if power else FAULT,
            "energy_total_wh": 1000,
            "repeat": repeat,
        }

    readings = pl.DataFrame(
        [
            row(-1, 1.0),
            row(0, 2.0),
            row(5, 3.0),
            row(9, 0.0),
            row(10, 5.0, "other"),
            row(10, 6.0, repeat=True),
            row(15, 7.0),
        ],
        infer_schema_length=None,
        schema_overrides={"ac_power": pl.Float32, "status": pl.Int16},
    )
    found = from_readings(
        readings,
        site_id="s",
        inverter_sn="i",
        day=dt.date(2026, 6, 1),
        begins=BEGINS,
        pac0=4000,
        pdc0=5000,
        sun_elevation=np.zeros(3),
        sun_azimuth=np.zeros(3),
        peer_kw=np.zeros(3),
    )

    assert found.present.tolist() == [True, True, False]
    assert found.ac_power[:2].tolist() == [2.0, 0.0]
    assert np.isnan(found.ac_power[2])
    assert found.status.tolist() == [UNKNOWN_STATUS, FAULT, UNKNOWN_STATUS]
    assert found.dc_voltage.shape == (4, 3)


def test_silence_counts_in_daylight_only() -> None:
    heard = rules.communication_loss(day())
    night = rules.communication_loss(silent(0, 72))
    short = rules.communication_loss(silent(140, 146))
    long = rules.communication_loss(silent(140, 147))

    assert [found.state for found in (heard, night, short)] == [State.HEALTHY] * 3
    assert long.state is State.FAULTY
    assert long.severity is Severity.WARNING
    assert long.evidence["silent_daylight_minutes"] == 35
    assert long.begins == BEGINS + dt.timedelta(minutes=700)


def test_silence_of_a_day_is_an_alarm_and_of_a_region_nobodys() -> None:
    nothing = silent(0, STEPS)
    alarm = rules.communication_loss(nothing, silent_before=dt.timedelta(hours=2))
    regional = rules.communication_loss(
        nothing, silent_before=dt.timedelta(hours=2), silent_peers_share=0.21
    )

    assert alarm.severity is Severity.ALARM
    assert alarm.alarm
    assert regional.state is State.UNKNOWN
    assert not regional.alarm


def test_a_silent_outage_is_an_outage_not_a_lost_connection() -> None:
    stood = with_power(120, 160, 0.0)
    quiet = silent(120, 160)
    quiet = msgspec.structs.replace(
        quiet, energy_total_wh=np.where(quiet.present, stood.energy_total_wh, np.nan)
    )

    assert rules.communication_loss(quiet).state is State.HEALTHY
    found = rules.outage(quiet)
    assert found.alarm
    assert found.lost_kwh == pytest.approx(PEERS[120:160].sum() * 5 / 12, rel=0.02)
    assert rules.outage(silent(120, 160)).state is State.HEALTHY


def test_half_an_hour_of_nothing_while_neighbours_produce_is_an_outage() -> None:
    short, long = rules.outage(with_power(140, 145, 0.0)), rules.outage(with_power(140, 146, 0.0))

    assert short.state is State.HEALTHY
    assert long.state is State.FAULTY
    assert long.alarm
    assert long.begins == BEGINS + dt.timedelta(minutes=700)
    assert long.lost_kwh == pytest.approx(PEERS[140:146].sum() * 5 / 12)


def test_dusk_and_darkness_are_no_outage() -> None:
    dusk = with_power(205, STEPS, 0.0)
    dark = day(ac_power=np.zeros(STEPS), peer_kw=np.full(STEPS, 0.09))
    lonely = day(ac_power=np.zeros(STEPS), peer_kw=np.full(STEPS, np.nan))

    assert rules.outage(dusk).state is State.HEALTHY
    assert rules.outage(dark).state is State.UNKNOWN
    assert rules.outage(lonely).state is State.UNKNOWN


def test_a_status_counts_unless_the_power_contradicts_it() -> None:
    status = np.full(STEPS, FAULT, np.int16)

    assert rules.outage(day(status=status)).state is State.HEALTHY
    found = rules.outage(with_power(100, 200, 20.0, status=status))
    assert found.alarm
    assert found.evidence["fault_status"] is True


def voltage(first: int, end: int, volts: float) -> Floats:
    phases = np.tile([[235.0], [np.nan], [np.nan]], STEPS)
    phases[0, first:end] = volts
    return phases


def test_a_trip_is_the_grids_and_is_found_by_the_voltage_before() -> None:
    tripped = with_power(140, 150, 0.0, ac_voltage=voltage(137, 140, 252.0))
    found = rules.over_voltage(tripped)

    assert found.alarm
    assert found.evidence["minutes_tripped"] == 50
    assert found.lost_kwh == pytest.approx(PEERS[140:150].sum() * 5 / 12)
    assert found.evidence["ac_voltage_max_l1"] == 252
    assert found.evidence["ac_voltage_max_l2"] is None
    assert not rules.outage(tripped).alarm
    early = with_power(140, 150, 0.0, ac_voltage=voltage(130, 136, 252.0))
    assert rules.over_voltage(early).state is State.HEALTHY
    assert rules.outage(early).alarm


def test_throttling_is_power_that_falls_as_voltage_rises() -> None:
    phases = voltage(0, 0, 0)
    phases[0, 120:160] = np.linspace(246, 254, 40)
    share = np.clip(1 - 0.1 * (phases[0] - 248), 0, 1)
    found = rules.over_voltage(day(ac_voltage=phases, ac_power=PEERS * 5000 * share))
    calm = rules.over_voltage(day(ac_voltage=phases))
    shaded = rules.over_voltage(day(ac_voltage=phases, ac_power=PEERS * 5000 * 0.8))

    assert found.alarm
    slope = found.evidence["slope_per_volt"]
    assert isinstance(slope, float)
    assert slope == pytest.approx(-0.1, abs=0.01)
    assert found.evidence["minutes_over_limit"] == 25
    expected = np.sum((PEERS * 5000 * (1 - share))[share < 0.9]) / 12 / 1000
    assert found.lost_kwh == pytest.approx(expected)
    assert calm.state is State.HEALTHY
    assert shaded.state is State.HEALTHY


def test_at_its_rating_an_inverter_clips() -> None:
    power = np.minimum(PEERS * 5000, 3000)
    at_rating = day(ac_power=power, pac0=3000.0)
    clipped = rules.clipped_steps(at_rating)

    assert clipped[power == 3000].all()
    assert not clipped[power < 0.985 * 3000].any()
    assert np.isnan(rules.limit_plateau(at_rating)), "that is no limit somebody set"
    assert not rules.stale_steps(at_rating).any(), "a plateau is not stale"
    assert not rules.clipped_steps(day()).any()


def test_a_plateau_below_the_rating_on_every_clear_day_is_a_limit() -> None:
    limited = rules.limit_plateau(day(ac_power=np.minimum(PEERS * 5000, 2500)))

    assert limited == pytest.approx(2500)
    assert np.isnan(rules.limit_plateau(day())), "noon is flat by itself"
    assert rules.fixed_limit(np.array([2500.0, 2510, 2490, 2500, 2505]))
    assert not rules.fixed_limit(np.array([2500.0, 2510, 2490, 2500, np.nan]))
    assert not rules.fixed_limit(np.array([2500.0, 2600, 2490, 2500, 2505]))
    assert not rules.fixed_limit(np.array([2500.0] * 4))


def test_equal_power_for_half_an_hour_is_stale() -> None:
    assert rules.stale(with_power(100, 105, 1000.0)).state is State.HEALTHY
    found = rules.stale(with_power(100, 106, 1000.0))
    assert found.alarm
    assert found.evidence["stale_minutes"] == 30
    assert rules.stale(with_power(0, STEPS, 0.0)).state is State.UNKNOWN


def test_the_labelled_stale_runs_are_found_in_daylight() -> None:
    """pvanalytics 0.2.2: three labelled runs of one constant, 60, 100 and 85 rows."""
    rows = pl.read_csv(pv("ac_power_inv_2173_stale_data.csv"))
    power = rows["value_normalized"].to_numpy()
    labelled = rows["stale_data_mask"].cast(pl.String).str.to_lowercase().to_numpy() == "true"
    steps = len(power)
    # 2010-12-29 14:15 local; the winter sun stands from 8 to 16.
    hours = (14.25 + np.arange(steps) / 4) % 24
    sun = np.where((hours > 8) & (hours < 16), 20.0, -20.0)
    shaped = msgspec.structs.replace(
        day(),
        step=dt.timedelta(minutes=15),
        present=np.isfinite(power),
        ac_power=power,
        sun_elevation=sun,
        pac0=1.0,
    )
    found = rules.stale_steps(shaped)

    assert labelled.sum() == 245
    assert (found == (labelled & (sun > 0)))[labelled].all()
    assert np.count_nonzero(found & ~labelled) == 0


def test_night_power_is_an_offset() -> None:
    power = np.where(SUN < 0, -2.8, PEERS * 5000)

    assert rules.night_offset(day(ac_power=power)) == pytest.approx(-2.8)


def test_energy_in_the_dark_and_a_late_noon_are_the_clocks_fault() -> None:
    late = day(ac_power=np.roll(PEERS * 5000, 12))

    assert rules.energy_centroid(day()) == pytest.approx(12, abs=1e-6)
    assert rules.energy_centroid(late) == pytest.approx(13, abs=1e-6)
    assert rules.dark_energy_share(day()) == 0
    assert rules.dark_energy_share(day(ac_power=np.roll(PEERS, 36))) > 0.01
    days = np.array([12.0, 12.5, 12.5, np.nan, 12.5, 12.1])
    wrong = rules.clock_faults(days, np.full(6, 12.0), np.zeros(6))
    assert wrong.tolist() == [False, False, False, False, True, False]
    dark = rules.clock_faults(np.full(3, 12.0), np.full(3, 12.0), np.full(3, 0.02))
    assert dark.tolist() == [False, False, True]


def test_a_clock_that_follows_daylight_saving_is_found_at_each_change() -> None:
    """pvanalytics 0.2.2, PVDAQ system 50: the clock jumps an hour in March and November."""
    rows = pl.read_parquet(pv("system_50_ac_power_2_full_DST.parquet"))
    at = rows["measured_on"].cast(pl.String).str.slice(0, 19).str.to_datetime()
    frame = pl.DataFrame({"at": at, "power": rows["ac_power_2"].cast(pl.Float64)})
    daily = (
        frame.with_columns(
            pl.col("at").dt.date().alias("day"),
            (pl.col("at").dt.hour() + pl.col("at").dt.minute() / 60 + 0.125).alias("hour"),
            pl.col("power").fill_null(0).clip(0),
        )
        .group_by("day")
        .agg(((pl.col("hour") * pl.col("power")).sum() / pl.col("power").sum()).alias("centroid"))
        .sort("day")
    )
    centroid = daily["centroid"].to_numpy()
    # What the site itself did before: the median of the 28 days that end a week ago.
    usual = np.full(len(centroid), np.nan)
    for number in range(35, len(centroid)):
        window = centroid[number - 35 : number - 7]
        usual[number] = np.median(window[np.isfinite(window)])
    wrong = rules.clock_faults(centroid, usual, np.zeros(len(centroid)))

    for change in ("2011-11-06", "2012-03-11", "2012-11-04", "2013-03-10", "2013-11-03"):
        first = daily["day"].to_list().index(dt.date.fromisoformat(change))
        assert wrong[first : first + 10].any(), change


def energies(ratio: list[float], *, bins: int = 12) -> Floats:
    """Two trackers over days; the first makes `ratio` of the second."""
    found = np.zeros((len(ratio), 2, rules.AZIMUTH_BINS))
    found[:, 1, 10 : 10 + bins] = 1.0
    found[:, 0, 10 : 10 + bins] = np.array(ratio)[:, None]
    return found


def test_a_weak_tracker_is_found_after_five_days_and_in_winter_only_if_it_is_weaker() -> None:
    weak = energies([1.0] * 3 + [0.88] * 6)
    june, december = np.full(9, 6), np.full(9, 12)
    low, alarm = rules.mppt_mismatch(weak, june, same_orientation=True)
    _, winter = rules.mppt_mismatch(weak, december, same_orientation=True)

    assert low[-1, 0] == pytest.approx(np.log(0.88))
    assert np.flatnonzero(alarm[:, 0]).tolist() == [7, 8]
    assert not alarm[:, 1].any()
    assert not winter.any()


def test_trackers_that_look_elsewhere_are_compared_with_themselves() -> None:
    months = np.full(50, 6)
    steady, failing = energies([0.5] * 50), energies([0.5] * 40 + [0.4] * 10)

    assert not rules.mppt_mismatch(steady, months, same_orientation=False)[1].any()
    low, alarm = rules.mppt_mismatch(failing, months, same_orientation=False)
    assert low[44, 0] == pytest.approx(np.log(0.8))
    assert np.flatnonzero(alarm[:, 0])[0] == 44


def test_a_tracker_without_modules_is_nobodys_fault() -> None:
    energy = rules.tracker_energy(day(), [2500.0, 0.0])

    assert np.isnan(energy[1]).all()
    low, alarm = rules.mppt_mismatch(
        np.repeat(energy[None], 9, axis=0), np.full(9, 6), same_orientation=True
    )
    assert np.isnan(low).all()
    assert not alarm.any()


def test_tracker_energy_is_in_kwh_per_kwp_of_bright_steps() -> None:
    energy = rules.tracker_energy(day(), [2500.0, 2500.0])
    bright = PEERS * 5000 > 0.2 * 4500

    assert energy.sum(axis=1) == pytest.approx([PEERS[bright].sum() / 12] * 2)


@pytest.mark.parametrize(
    ("voltage_share", "current_share", "wanted"),
    [
        (1.0, 1.0, None),
        (1.0, 0.5, "lost parallel string, soiling or shade"),
        (1 - 1 / 36, 1.0, "1 bypass diodes"),
        (1 - 3 / 36, 1.0, "3 bypass diodes"),
        (0.0, 0.0, "open string"),
        (1.1, 0.0, "open string"),
        (0.7, 0.7, None),
    ],
)
def test_voltage_and_current_tell_what_a_tracker_suffers_from(
    voltage_share: float, current_share: float, wanted: str | None
) -> None:
    there = day()
    volts, amperes = there.dc_voltage.copy(), there.dc_current.copy()
    volts[0] *= voltage_share
    amperes[0] *= current_share
    found = rules.tracker_diagnosis(
        msgspec.structs.replace(there, dc_voltage=volts, dc_current=amperes), 0, 1, modules=12
    )

    assert found == wanted


def test_a_hot_inverter_that_holds_back_is_derating_and_a_cold_one_is_not() -> None:
    hot = np.where(np.abs(np.arange(STEPS) - NOON) < 12, 70.0, 45.0)
    held = with_power(NOON - 6, NOON + 6, 3000.0, temp_inverter=hot)

    found = rules.thermal_derating(held, 60.0)
    assert found.state is State.FAULTY
    assert not found.alarm
    assert found.evidence["minutes_derated"] == 60
    assert rules.thermal_derating(held, 80.0).state is State.HEALTHY
    assert rules.thermal_derating(day(temp_inverter=hot), 60.0).state is State.HEALTHY
    unknown = day(temp_inverter=np.full(STEPS, np.nan))
    assert rules.thermal_derating(unknown, 60.0).state is State.UNKNOWN


def test_three_hot_days_in_a_row_alarm() -> None:
    hot = np.full(STEPS, 70.0)
    held = rules.thermal_derating(with_power(NOON - 6, NOON + 6, 3000.0, temp_inverter=hot), 60.0)
    cool = rules.thermal_derating(day(), 60.0)
    unknown = rules.thermal_derating(day(temp_inverter=np.full(STEPS, np.nan)), 60.0)

    found = rules.alarm_after([held, cool, held, held, unknown, held, held], 3)
    assert [verdict.alarm for verdict in found] == [False] * 5 + [True] * 2


def test_two_dead_trackers_are_not_compared() -> None:
    there = day(dc_current=np.zeros((2, STEPS)))

    assert rules.tracker_diagnosis(there, 0, 1) is None
