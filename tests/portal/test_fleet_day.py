"""A fleet's arrays say what its sites say, and each inverter's day is as if it were alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from analysed_lake import FIRST, made_rows, sites
from autarco_portal import fleet_sky, performance_kernel
from autarco_portal.analysis_days import Days, span
from autarco_portal.fleet import fleet, units
from autarco_portal.fleet_edges import edges, silent_at_an_end
from autarco_portal.fleet_grid import COLUMNS, fleet_grid
from autarco_portal.inverter_day import from_readings
from autarco_portal.performance import reference_yield
from autarco_portal.performance_expected import expected
from autarco_portal.site import Inverter, RoofPlane, SiteError
from autarco_portal.weather_sky import clear_sky
from autarco_portal.weather_store import Index

ROOFS = sites(4)
BEGINS, ENDS = span(FIRST, "Europe/Amsterdam")
SOUTH = RoofPlane(name="south", surface_tilt=30, surface_azimuth=180, modules=8, pdc0=3_000)
WEST = RoofPlane(name="west", surface_tilt=30, surface_azimuth=270, modules=4, pdc0=1_500)


def inverter(name: str, *planes: str | None, pac0: float = 2_000) -> Inverter:
    since = datetime(2024, 1, 1, tzinfo=UTC)
    return Inverter(serial_number=name, pac0=pac0, installed_at=since, mppt_planes=planes)


def test_planes_are_shared_out_between_trackers_and_inverters() -> None:
    site = msgspec.structs.replace(
        ROOFS[0],
        planes=(SOUTH, WEST),
        inverters=(inverter("B", "south", "south", None), inverter("A", pac0=1_000)),
    )

    unknown, known = units([site], BEGINS, ENDS)

    assert (known.serial_number, known.tracker_pdc0) == ("B", (1_500, 1_500, 0))
    assert (known.pdc0, known.trackers_look_alike) == (3_000, True)
    assert (unknown.pdc0, unknown.tracker_pdc0) == (1_500, ())
    both = msgspec.structs.replace(site, inverters=(inverter("B", "south", "west"),))
    assert not units([both], BEGINS, ENDS)[0].trackers_look_alike


def test_an_inverter_belongs_to_the_days_it_hung_there() -> None:
    noon = BEGINS + timedelta(hours=12)
    first = msgspec.structs.replace(inverter("A", "roof"), uninstalled_at=noon)
    second = msgspec.structs.replace(inverter("B", "roof"), installed_at=noon)
    site = msgspec.structs.replace(ROOFS[0], inverters=(first, second))

    def names(day: int) -> list[str]:
        begins, ends = span(FIRST + timedelta(days=day), "Europe/Amsterdam")
        return [unit.serial_number for unit in units([site], begins, ends)]

    assert (names(-1), names(0), names(1)) == (["A"], ["A", "B"], ["B"])


def test_what_cannot_be_analysed_together_is_refused() -> None:
    abroad = msgspec.structs.replace(ROOFS[1], time_zone="Europe/London")

    with pytest.raises(SiteError, match="no sites"):
        fleet([])
    with pytest.raises(SiteError, match="two sites are called site0000"):
        fleet([ROOFS[0], ROOFS[0]])
    with pytest.raises(SiteError, match="several time zones"):
        fleet([ROOFS[0], abroad])


def test_the_grid_of_a_fleet_is_that_of_each_inverter() -> None:
    rows = made_rows(ROOFS, 2)
    again = rows.head(20).with_columns(pl.col("ts") + timedelta(seconds=60), pl.col("ac_power") + 7)
    asleep = rows.tail(5).with_columns(
        pl.lit(value=True).alias("repeat"), pl.lit(9.0).alias("ac_power")
    )
    mixed = pl.concat([rows, again, asleep]).sort("inverter_sn", "ts", maintain_order=True)
    present = units(ROOFS, BEGINS, ENDS)
    grid = fleet_grid(
        mixed.select(COLUMNS).to_arrow(), present, day=FIRST, begins=BEGINS, ends=ENDS
    )
    nothing = np.full(grid.steps, np.nan)

    for row, unit in enumerate(present):
        alone = from_readings(
            mixed, site_id="", inverter_sn=unit.serial_number, day=FIRST, begins=BEGINS,
            pac0=unit.pac0, pdc0=unit.pdc0, sun_elevation=nothing, sun_azimuth=nothing,
            peer_kw=nothing,
        )  # fmt: skip
        among = grid.inverter(
            row, site_id="", sun_elevation=nothing, sun_azimuth=nothing, peer_kw=nothing,
            own_index=1.0, energy_before_wh=np.nan, energy_after_wh=np.nan,
        )  # fmt: skip
        for name in (
            "present",
            "ac_power",
            "ac_voltage",
            "dc_current",
            "status",
            "energy_total_wh",
        ):
            np.testing.assert_array_equal(getattr(among, name), getattr(alone, name), name)
    assert grid.counter_step_wh.tolist() == [100.0] * 4


def test_days_of_the_clock_change_have_their_hours() -> None:
    everybody = fleet(ROOFS)
    for day, steps in ((date(2025, 3, 30), 276), (date(2025, 10, 26), 300)):
        found = fleet_sky.clear_days(everybody, day, day)
        assert found.ac_power.shape == (4, steps)
        assert found.sun_elevation[0, 0] < 0 > found.sun_elevation[0, -1]


def test_a_chunk_of_days_is_as_its_days() -> None:
    everybody = fleet(ROOFS)
    three = fleet_sky.clear_days(everybody, FIRST, FIRST + timedelta(days=2))
    second = fleet_sky.clear_days(everybody, FIRST + timedelta(days=1), FIRST + timedelta(days=1))

    np.testing.assert_array_equal(three.of_day(1).ac_power, second.ac_power)
    np.testing.assert_array_equal(three.energy_kwh[1], second.energy_kwh[0])


@pytest.mark.parametrize("horizon", [(), ((90.0, 20.0), (270.0, 5.0))])
def test_reference_yields_are_those_of_the_slow_model(
    horizon: tuple[tuple[float, float], ...],
) -> None:
    planes = (msgspec.structs.replace(SOUTH, horizon=horizon), WEST)
    site = msgspec.structs.replace(ROOFS[0], planes=planes, inverters=(inverter("A", "south"),))
    starts = np.arange(int(BEGINS.timestamp()), int(ENDS.timestamp()), 3_600) * 1_000_000
    sky = clear_sky(52.0, 5.1, starts, step_s=3_600, temp_air=15.0)
    slow = expected(sky, site)

    plain, corrected = performance_kernel.reference_yields(
        performance_kernel.share(sky), performance_kernel.roofs([ROOFS[1], site]),
        np.repeat([0, 1], 12),
    )  # fmt: skip

    hours = reference_yield(slow.poa_global, step_s=3_600, weather=sky.source).hours
    assert plain[1].sum() == pytest.approx(hours, rel=1e-4)
    # Both planes have one gamma and nearly one temperature, so that of the whole is near.
    felt = slow.poa_global / 1_000 * (1 - 0.0035 * (slow.temp_cell - 25))
    assert corrected[1].sum() == pytest.approx(float(felt.sum()), rel=5e-3)


def test_a_silence_over_midnight_is_shared_out_by_light() -> None:
    everybody = fleet(ROOFS)
    clear = fleet_sky.clear_days(everybody, FIRST, FIRST)
    rows = made_rows(ROOFS, 1).filter(
        (pl.col("inverter_sn") != "INV0001") | (pl.col("ts") > BEGINS + timedelta(hours=14))
    )
    present = units(ROOFS, BEGINS, ENDS)
    grid = fleet_grid(rows.select(COLUMNS).to_arrow(), present, day=FIRST, begins=BEGINS, ends=ENDS)
    silent = silent_at_an_end(grid, clear)
    assert silent == ["INV0001"]

    first = grid.energy_total_wh[1][np.isfinite(grid.energy_total_wh[1])][0]
    around = pl.DataFrame(
        {
            "inverter_sn": silent,
            "before_at": [BEGINS - timedelta(hours=10)],
            "before_wh": [first - 20_000],
            "after_at": [None],
            "after_wh": [None],
        }
    )
    edge = edges(grid, clear, silent, around.to_arrow())["INV0001"]

    assert edge.silent_before == timedelta(hours=10)
    light = clear.ac_power[1]
    past, today = light[-120:].sum(), light[: 14 * 12].sum()
    assert edge.energy_before_wh == pytest.approx(first - 20_000 * today / (past + today), rel=1e-3)
    assert np.isnan(edge.energy_after_wh)


def known(day: date, readings: int, received: datetime, **other: object) -> dict[str, object]:
    usual = {"weather": "", "rules": "1", "sites": 4}
    return {"date": day, "readings": readings, "received_at": received, **usual, **other}


def test_days_that_must_be_done() -> None:
    def day(number: int) -> date:
        return date(2025, 6, number)

    def days(*late: int) -> Days:
        noon = {
            n: int(datetime(2025, 6, n, 10, tzinfo=UTC).timestamp()) // 3_600 for n in range(1, 31)
        }
        return Days(
            received={
                hour: (200, datetime(2025, 6, 29 if number in late else number, 12, tzinfo=UTC))
                for number, hour in noon.items()
            },
            index=Index(), time_zone="Europe/Amsterdam", sites=4, rules="1",
        )  # fmt: skip

    done = {day(n): known(day(n), 200, datetime(2025, 6, n, 12, tzinfo=UTC)) for n in range(1, 21)}

    assert days().due(day(1), day(20), done, again=False) == []
    assert days().due(day(21), day(22), done, again=False) == [day(21), day(22)]
    assert days().due(day(20), day(20), done, again=True) == [day(20)]
    assert days(18).due(day(21), day(21), done, again=False) == [day(n) for n in (18, 19, 20, 21)]
    assert days(3).due(day(21), day(21), done, again=False) == [day(21)], "too long ago"
    assert days(3).due(day(3), day(3), done, again=False) == [day(n) for n in range(3, 21)]
    fewer = {**done, day(20): known(day(20), 150, datetime(2025, 6, 20, 12, tzinfo=UTC))}
    assert days().due(day(20), day(20), fewer, again=False) == [day(20)]
    resent = {**done, day(20): known(day(20), 250, datetime(2025, 6, 20, 12, tzinfo=UTC))}
    assert days().due(day(20), day(20), resent, again=False) == [], "compaction takes resends out"
    other = {**done, day(20): known(day(20), 200, datetime(2025, 6, 20, 12, tzinfo=UTC), rules="0")}
    assert days().due(day(20), day(20), other, again=False) == [day(20)]
