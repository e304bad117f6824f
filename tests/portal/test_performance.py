"""The model gives what PVWatts, a real roof and pvlib step by step give; figures carry sources.

Pins of the reference's section 1.3 use the shared files and skip without them; beside each stands a
small case of our own. Not pinned as the reference has it, for want of data: SAM's orientation table
(its weather file may not be passed on; its own columns are checked against each other instead).
"""

from __future__ import annotations

import functools
import json
import math
import random
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import pvlib  # type: ignore[import-untyped]
import pytest

import corpus
from autarco_portal import performance, performance_expected, performance_kernel, weather_files
from autarco_portal.performance_expected import ExpectedModel, Losses, climate, expected
from autarco_portal.site import Inverter, RoofPlane, Site
from autarco_portal.weather import PlaceWeather, WeatherSource, blend, conform, weighted
from autarco_portal.weather_sky import Sky, clear_sky, sky

if TYPE_CHECKING:
    from pathlib import Path

DATA = corpus.FRAMES.parent
SOURCE = WeatherSource(source="own", stations=(), source_file_sha256=(), method="made up")
NO_LOSSES = Losses(
    soiling=0, shading=0, mismatch=0, wiring=0, connections=0, lid=0, nameplate_rating=0,
    availability=0,
)  # fmt: skip
NEW = ExpectedModel(degradation_per_year=0.0)


def shared(name: str) -> Path:
    found = DATA / name
    if not found.is_file():
        pytest.skip(f"shared data is not here: {found} is missing")
    return found


def site(*planes: RoofPlane, pac0: float | None = None, **changes: Any) -> Site:
    values: dict[str, Any] = {
        "site_id": "1", "latitude": 52.1, "longitude": 5.18, "commissioned_on": date(2024, 1, 1),
        "planes": planes or (plane(),),
    }  # fmt: skip
    if pac0 is not None:
        since = datetime(2020, 1, 1, tzinfo=UTC)
        values["inverters"] = (Inverter(serial_number="A", pac0=pac0, installed_at=since),)
    return Site(**(values | changes))


def plane(tilt: float = 35, azimuth: float = 180, **changes: Any) -> RoofPlane:
    values: dict[str, Any] = {
        "name": f"{tilt}/{azimuth}", "surface_tilt": tilt, "surface_azimuth": azimuth,
        "modules": 8, "pdc0": 3_200.0,
    }  # fmt: skip
    return RoofPlane(**(values | changes))


@functools.cache
def cloudy_year() -> Sky:
    """A clear year of hours under random clouds, split by Erbs: like weather, and our own."""
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    ts_us = start + np.arange(8_784) * 3_600_000_000
    clear = clear_sky(52.1, 5.18, ts_us, step_s=3_600)
    random_source = np.random.default_rng(1)
    clouds = np.repeat(random_source.uniform(0.15, 1.05, len(ts_us) // 3), 3)
    rows = pl.DataFrame(
        {
            "ts": pl.Series(ts_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "ghi": clear.ghi * clouds,
            "temp_air": 10 - 9 * np.cos(2 * np.pi * np.arange(len(ts_us)) / 8_784),
            "wind_speed": random_source.uniform(0, 8, len(ts_us)),
        }
    ).with_columns(
        station=pl.lit("own"), sun_offset_s=pl.lit(1_800), source=pl.lit("own"),
        source_file_sha256=pl.lit("none"),
    )  # fmt: skip
    return sky(weighted(52.1, 5.18, [("own", 1.0)], conform(rows)))


# IEC 61724


def test_yields_are_hours_at_rated_power() -> None:
    assert performance.specific_yield(4_000, 5_000) == 800
    assert performance.final_yield(4_000, 5_000) == 800
    found = performance.reference_yield([500.0, 1_000.0, math.nan], step_s=1_800, weather=SOURCE)
    assert found.hours == 0.75


def test_a_performance_ratio_comes_with_its_weather() -> None:
    reference = performance.reference_yield([1_000.0] * 4, step_s=3_600, weather=SOURCE)
    found = performance.performance_ratio(3.0, reference)
    assert (found.value, found.weather) == (0.75, SOURCE)
    with pytest.raises(TypeError, match="weather"):
        performance.PerformanceRatio(value=0.75, temp_ref=None)  # type: ignore[call-arg]


def test_ratios_are_of_sums_and_of_steps_known_on_both_sides() -> None:
    measured, wanted = [9.0, 0.1, math.nan, 5.0], [10.0, 1.0, 10.0, math.nan]
    found = performance.performance_index(
        measured, wanted, weather=SOURCE, model_version="expected-1"
    )
    assert found.value == pytest.approx(9.1 / 11)  # the mean of ratios would be 0.5
    assert (found.measured_kwh, found.expected_kwh) == (9.1, 11)
    assert found.coverage == pytest.approx(11 / 21)


def test_temperature_is_taken_out_of_the_corrected_ratio() -> None:
    """By hand: 1 kWp at 800 W/m2 and 45 degC could give 800 (1 - .004 * 20) = 736 W."""
    case: dict[str, Any] = {
        "ac_power": [600.0, 0.0], "poa_global": [800.0, 0.0], "temp_cell": [45.0, math.nan],
        "pdc0": 1_000, "gamma_pdc": -0.004, "weather": SOURCE,
    }  # fmt: skip
    assert performance.performance_ratio_25c(**case).value == pytest.approx(600 / 736)
    to_own = performance.performance_ratio_weather_corrected(temp_ref=45.0, **case)
    assert to_own.value == pytest.approx(600 / 800)
    assert to_own.temp_ref == 45


def test_the_weather_corrected_ratio_is_that_of_nrel_and_pvanalytics() -> None:
    """0.6873059 of seven hours: `test_performance_ratio_nrel` of pvanalytics (MIT), reference 1.3.

    Its cells are Sandia's, their reference is the mean temperature weighted by irradiance (Dierauf
    et al. 2013, equation 5); given to seven digits, not rounded.
    """
    poa_global = np.array(
        [921.75575, 916.11225, 914.8590833, 914.86375, 913.6426667, 889.6296667, 751.4611667]
    )
    temp_air = np.array(
        [28.89891667, 29.69258333, 30.21441667, 30.5815, 31.14808333, 31.5445, 31.63208333]
    )
    wind_speed = np.array(
        [1.796333333, 2.496916667, 2.413333333, 2.023666667, 1.844416667, 1.605583333, 1.18625]
    )
    ac_power = np.array(
        [39389.6625, 39425.3525, 39460.9625, 39125.315, 38888.59, 37520.8925, 27303.8025]
    )
    temp_cell = pvlib.temperature.sapm_cell(
        poa_global, temp_air, wind_speed, a=-3.58, b=-0.113, deltaT=3
    )
    found = performance.performance_ratio_weather_corrected(
        ac_power, poa_global, temp_cell,
        temp_ref=performance.temp_cell_mean(temp_cell, poa_global), pdc0=61_056,
        gamma_pdc=-0.0028, weather=SOURCE,
    )  # fmt: skip
    assert found.value == pytest.approx(0.6873059, abs=1e-7)


def test_the_corrected_ratio_of_a_temperate_year_is_the_ratio_when_corrected_to_its_mean() -> None:
    model = msgspec.structs.replace(NEW, losses=NO_LOSSES)
    one = site(pac0=10_000)
    found = expected(cloudy_year(), one, model)
    mean = performance.temp_cell_mean(found.temp_cell, found.poa_global)
    corrected = performance.performance_ratio_weather_corrected(
        found.ac_power, found.poa_global, found.temp_cell, temp_ref=mean, pdc0=one.pdc0,
        gamma_pdc=-0.0035, weather=SOURCE,
    )  # fmt: skip
    plain = performance.performance_ratio(
        performance.final_yield(float(found.energy_kwh.sum()), one.pdc0),
        performance.reference_yield(found.poa_global, step_s=3_600, weather=SOURCE),
    )
    # The correction is linear, so over all hours the mean temperature leaves the ratio as it is.
    assert corrected.value == pytest.approx(plain.value, rel=1e-9)


def test_nothing_is_divided_by_no_sun() -> None:
    dark = performance.reference_yield([0.0], step_s=3_600, weather=SOURCE)
    with pytest.raises(performance.Undefined, match="no sun"):
        performance.performance_ratio(0.0, dark)
    with pytest.raises(performance.Undefined, match="nothing was expected"):
        performance.performance_index([1.0], [math.nan], weather=SOURCE, model_version="x")
    with pytest.raises(performance.Undefined, match="0 W"):
        performance.specific_yield(1, 0)


# Climate


def test_p90_is_that_of_the_guarantee_vectors() -> None:
    """Reference 3.2 and 3.3: P50 4500 kWh, s_model 5 %, s_iav 5.6 %; kWh given to .01."""
    found = performance_expected.Climate(
        p50_kwh=4_500, sigma_interannual=0.056, sigma_model=0.05, years=(), weather=SOURCE
    )
    p90s = [found.p90_kwh(years) for years in (1, 5, 10, 15)]
    assert p90s == pytest.approx([4_067.05, 4_177.50, 4_194.10, 4_199.84], abs=0.005)


def test_a_climate_is_mean_and_spread_of_whole_years() -> None:
    found = climate({2020: 950.0, 2021: 1_000.0, 2022: 1_050.0}, weather=SOURCE)
    assert found.p50_kwh == 1_000
    assert found.sigma_interannual == pytest.approx(0.05)
    assert found.p90_kwh() == pytest.approx(1_000 * (1 - 1.28155 * math.hypot(0.05, 0.05)))
    assert found.p90_kwh(3) > found.p90_kwh()
    assert (found.years, found.model_version) == ((2020, 2021, 2022), "expected-1")


@pytest.mark.parametrize("years", [{2020: 950.0}, {2020: 950.0, 2021: math.nan}])
def test_a_climate_of_one_year_or_of_gaps_is_refused(years: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="a climate takes"):
        climate(years, weather=SOURCE)


def days_of(site_id: str, first: date, last: date, kwh: float) -> pl.DataFrame:
    return pl.DataFrame({"date": pl.date_range(first, last, eager=True)}).with_columns(
        site_id=pl.lit(site_id), energy_kwh=pl.lit(kwh)
    )


def test_only_whole_years_make_a_climate() -> None:
    daily = pl.concat(
        [
            days_of("a", date(2023, 1, 1), date(2023, 12, 31), 1.0),
            days_of("a", date(2024, 1, 1), date(2024, 12, 30), 2.0),
            days_of("b", date(2024, 1, 1), date(2024, 12, 31), 3.0),
        ]
    )
    known = performance_expected.whole_years(daily).rows()
    assert known == [("a", 2023, 365), ("b", 2024, 3 * 366)]
    gap = pl.when(pl.col("date") == date(2023, 6, 1)).then(None).otherwise(pl.col("energy_kwh"))
    rest = performance_expected.whole_years(daily.with_columns(energy_kwh=gap))
    assert rest["site_id"].to_list() == ["b"]


def test_a_day_of_the_climate_is_the_mean_over_the_years_that_know_it() -> None:
    daily = pl.concat(
        [
            days_of("a", date(2023, 1, 1), date(2023, 12, 31), 1.0),
            days_of("a", date(2024, 1, 1), date(2024, 12, 31), 2.0),
        ]
    )
    rows = performance_expected.climate_by_day(daily)
    assert rows.height == 366
    assert rows.row(0) == ("a", 1, 1, 1.5, 2)
    assert rows.row(59) == ("a", 2, 29, 2.0, 1)


def test_dutch_years_lie_as_far_apart_as_known() -> None:
    """Reference 3.2: a station's yield of 35 degrees south, 2011 to 2024, varies 4.4 to 6.5 %."""
    found = _climate_of_de_bilt()
    assert 0.044 <= found.sigma_interannual <= 0.065
    assert len(found.years) == 14


@functools.cache
def _climate_of_de_bilt() -> performance_expected.Climate:
    place = weighted(52.1, 5.18, [("knmi:260", 1.0)], knmi_rows(260))
    seen = sky(place)
    one = site(commissioned_on=date(2024, 1, 1))
    days = performance_kernel.daily(seen, [one], NEW, time_zone="UTC")
    years = performance_expected.whole_years(days)
    whole = dict(years.select("year", "energy_kwh").iter_rows())
    return climate(whole, weather=place.source)


@functools.cache
def knmi_rows(*numbers: int, decades: tuple[str, ...] = ("2011-2020", "2021-2030")) -> pl.DataFrame:
    stations = weather_files.load_stations(shared("weather/knmi/knmi_stations.csv"))
    return pl.concat(
        weather_files.load_weather(
            shared(f"weather/knmi/uurgeg_{number}_{decade}.zip"), stations=stations
        ).rows
        for number in numbers
        for decade in decades
    )


# The label test


def poa_kwh_m2(weather: PlaceWeather, azimuth: float, *, moved_s: int = 0) -> float:
    """Energy on a 35 degree roof, with the sun taken `moved_s` from where it belongs."""
    rows = weather.rows.with_columns(pl.col("sun_offset_s") + moved_s)
    seen = sky(msgspec.structs.replace(weather, rows=rows))
    return float(np.nansum(expected(seen, site(plane(35, azimuth)), NEW).poa_global)) / 1_000


LABEL_ERRORS_45N = [15.9, -12.2, -0.9]


def label_errors(weather: PlaceWeather, moved_s: int) -> list[float]:
    """Percent for an east, a west and a south roof."""
    return [
        100 * (poa_kwh_m2(weather, azimuth, moved_s=moved_s) / poa_kwh_m2(weather, azimuth) - 1)
        for azimuth in (90, 270, 180)
    ]


def with_beam(seen: Sky, rows: pl.DataFrame) -> pl.DataFrame:
    """Fixes beam and diffuse, so that a moved sun changes the geometry alone."""
    return rows.with_columns(dni=pl.Series(seen.dni), dhi=pl.Series(seen.dhi))


def test_on_shared_weather_a_sun_one_hour_early_costs_as_much() -> None:
    """PVGIS's typical year at 45 N, with its own beam and diffuse; measured here."""
    found = weather_files.load_weather(shared("weather/tmy_45.000_8.000_2005_2023.csv"))
    (station,) = found.stations
    place = weighted(station.latitude, station.longitude, [(station.station, 1.0)], found.rows)
    assert label_errors(place, -3_600) == pytest.approx(LABEL_ERRORS_45N, abs=0.2)


def test_at_schiphol_a_sun_one_hour_early_costs_what_the_reference_found() -> None:
    """Reference 1.3, on the Amsterdam IWEC year: +13.1, -11.1, -1.3 %; here on KNMI's 2015."""
    rows = knmi_rows(240, decades=("2011-2020",)).filter(pl.col("ts").dt.year() == 2015)
    place = weighted(52.318, 4.79, [("knmi:240", 1.0)], rows)
    fixed = msgspec.structs.replace(place, rows=with_beam(sky(place), place.rows))
    assert label_errors(fixed, -3_600) == pytest.approx([13.1, -11.1, -1.3], abs=1.5)
    half = label_errors(fixed, -1_800)
    assert half == pytest.approx([6.0, -5.4, -0.2], abs=0.75)


def test_a_sun_one_hour_early_favours_the_east_and_starves_the_west() -> None:
    """On our own cloudy year; the reference's roofs (1.3): +13.1, -11.1, -1.3 %."""
    seen = cloudy_year()
    rows = pl.DataFrame(
        {
            "ts": pl.Series(seen.ts_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "ghi": seen.ghi, "dni": seen.dni, "dhi": seen.dhi, "temp_air": seen.temp_air,
            "wind_speed": seen.wind_speed,
        }
    ).with_columns(
        station=pl.lit("own"), sun_offset_s=pl.lit(1_800), source=pl.lit("own"),
        source_file_sha256=pl.lit("none"),
    )  # fmt: skip
    east, west, south = label_errors(weighted(52.1, 5.18, [("own", 1.0)], conform(rows)), -3_600)
    assert 8 < east < 18
    assert -16 < west < -6
    assert -4 < south < 0


# PVWatts 8760


def pvwatts(mount: str) -> pl.DataFrame:
    text = shared(f"pv/pvwatts_8760_{mount}.csv").read_bytes().decode("latin-1").splitlines()
    return pl.read_csv("\n".join(text[17:-1]).encode())


def pvwatts_sky(hours: pl.DataFrame) -> Sky:
    """The file's weather. It has no year; one without a leap day near its data's median does."""
    start = int(datetime(2001, 1, 1, 7, tzinfo=UTC).timestamp() * 1e6)  # Denver's standard time
    ts_us = start + np.arange(8_760) * 3_600_000_000
    place = pvlib.location.Location(39.73, -105.18, altitude=1_819.6)
    shell = clear_sky(39.73, -105.18, ts_us, step_s=3_600, altitude=place.altitude)
    dni = hours["Beam Irradiance (W/m^2)"].to_numpy().astype(float)
    dhi = hours["Diffuse Irradiance (W/m^2)"].to_numpy().astype(float)
    return msgspec.structs.replace(
        shell, dni=dni, dhi=dhi,
        ghi=dhi + dni * np.maximum(np.cos(np.radians(shell.zenith)), 0),
        temp_air=hours["Ambient Temperature (C)"].to_numpy().astype(float),
        wind_speed=hours["Wind Speed (m/s)"].to_numpy().astype(float),
    )  # fmt: skip


DENVER = site(
    plane(20, 180, pdc0=4_000.0, gamma_pdc=-0.0047), pac0=4_000 / 1.2, latitude=39.73,
    longitude=-105.18, altitude=1_819.6, commissioned_on=date(2001, 1, 1),
)  # fmt: skip


@pytest.mark.parametrize(("transposition", "ratio"), [("perez", 0.9998), ("haydavies", 0.9924)])
def test_irradiance_on_the_roof_is_that_of_pvwatts(transposition: Any, ratio: float) -> None:
    """Reference 1.3: annual ratio and, for Perez, 1.6 W/m2 RMSE by the hour."""
    hours = pvwatts("roofmount")
    model = msgspec.structs.replace(NEW, transposition=transposition)
    ours = expected(pvwatts_sky(hours), DENVER, model).poa_global
    theirs = hours["Plane of Array Irradiance (W/m^2)"].to_numpy()
    assert ours.sum() / theirs.sum() == pytest.approx(ratio, abs=0.0002)
    if transposition == "perez":
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 1.6


@pytest.mark.parametrize(
    ("mount", "annual_kwh", "ratio"),
    [("roofmount", 5_938.05, 0.7688), ("rackmount", 6_023.67, 0.7799)],
)
def test_the_inverter_is_pvwatts_to_the_watt(mount: str, annual_kwh: float, ratio: float) -> None:
    """Reference 1.3: error 0.00 W over 8760 h, Yf 1484.5, Yr 1930.9, PR .7688 and .7799."""
    hours = pvwatts(mount)
    dc = hours["DC Array Output (W)"].to_numpy().astype(np.float32).reshape(1, -1)
    pac0 = np.array([[4_000 / 1.2]], dtype=np.float32)
    ac = performance_kernel._inverter(dc.copy(), pac0, NEW)[0]
    theirs = hours["AC System Output (W)"].to_numpy()
    assert np.abs(ac - theirs).max() < 0.005  # the file has three digits, float32 seven
    assert theirs.sum() / 1_000 == pytest.approx(annual_kwh, abs=0.005)
    reference = performance.reference_yield(
        hours["Plane of Array Irradiance (W/m^2)"].to_numpy(), step_s=3_600, weather=SOURCE
    )
    final = performance.final_yield(float(ac.sum(dtype=float)) / 1_000, 4_000)
    assert reference.hours == pytest.approx(1_930.9, abs=0.05)
    assert performance.performance_ratio(final, reference).value == pytest.approx(ratio, abs=5e-5)


def test_from_sky_to_meter_we_are_near_pvwatts() -> None:
    """Reference 1.3 allows 6 % for AC; without PVWatts' own glass and mount 0.6 % are found."""
    model = msgspec.structs.replace(NEW, transposition="perez")
    found = expected(pvwatts_sky(pvwatts("roofmount")), DENVER, model)
    assert found.energy_kwh.sum() == pytest.approx(5_938.05, rel=0.015)


# SAM


def test_orientations_stand_to_each_other_as_in_sam() -> None:
    """SAM on the Amsterdam IWEC year against ours on Schiphol's last full decade.

    The IWEC file may not be passed on, so the reference's own pin (irradiance on the roof at .9996
    to .9999 with that file) cannot be repeated here. Another year of the same place moves
    orientations against each other by a few percent only.
    """
    table = json.loads(shared("pv/pysam_pvwatts_amsterdam_iwec.json").read_text())["results"]
    place = weighted(52.318, 4.79, [("knmi:240", 1.0)], knmi_rows(240, decades=("2011-2020",)))
    seen = sky(place)
    model = msgspec.structs.replace(NEW, transposition="perez")
    fleet = [
        site(plane(row["tilt"], row["azimuth"], pdc0=5_000.0), pac0=5_000 / 1.1) for row in table
    ]
    once = np.zeros(len(seen.ts_us), dtype=np.int64)
    ours = performance_kernel.energy_kwh(
        performance_kernel.share(seen, model), performance_kernel.roofs(fleet, model), once, model
    )[:, 0]
    theirs = np.array([row["annual_kwh"] for row in table])
    assert ours / ours[0] == pytest.approx(theirs / theirs[0], rel=0.025)


# A real Dutch roof

ID002 = site(
    plane(30, 170, pdc0=1_900.0), pac0=2_000.0, latitude=51.970, longitude=5.329,
    commissioned_on=date(2014, 1, 1),
)  # fmt: skip
FIVE_PERCENT = msgspec.structs.replace(NO_LOSSES, wiring=5.0)
"""The source's own assumption for this roof."""


@functools.cache
def id002() -> tuple[pl.DataFrame, PlaceWeather]:
    roof = pl.read_parquet(shared("pv/utrecht_id002_hourly.parquet")).with_columns(
        pl.col("ts_utc_start").dt.cast_time_unit("us").dt.replace_time_zone("UTC").alias("ts")
    )
    rows = knmi_rows(260, 348, 356, decades=("2011-2020",))
    rows = rows.filter(pl.col("ts").is_between(roof["ts"].min(), roof["ts"].max()))
    thirds = [(f"knmi:{number}", 1 / 3) for number in (260, 348, 356)]
    return roof, weighted(51.970, 5.329, thirds, rows)


def against_the_meter(
    place: PlaceWeather, model: ExpectedModel
) -> tuple[list[float], float, float]:
    """Measured over modelled by year, hourly correlation, and hourly RMSE in W/kWp."""
    roof, _ = id002()
    found = expected(sky(place), ID002, model)
    ours = pl.DataFrame({"ts": place.rows["ts"], "model": found.ac_power / 1_900})
    both = roof.join(ours, on="ts", how="inner")
    measured, modelled = both["measured_kw_per_kwp"].to_numpy(), both["model"].to_numpy()
    years = both["ts"].dt.year().to_numpy()
    ratios = [
        float(measured[years == year].sum() / modelled[years == year].sum())
        for year in (2014, 2015, 2016, 2017)
    ]
    error = 1_000 * float(np.sqrt(np.mean((measured - modelled) ** 2)))
    return ratios, float(np.corrcoef(measured, modelled)[0, 1]), error


REFERENCE_RATIOS = {
    "perez": [0.916, 0.934, 0.969, 0.916],
    "haydavies": [0.936, 0.953, 0.988, 0.936],
}
"""Reference 1.3: measured over modelled, 2014 to 2017."""


@pytest.mark.parametrize("transposition", ["perez", "haydavies"])
def test_a_real_dutch_roof_gives_what_three_stations_say(transposition: Any) -> None:
    """Reference 1.3: hourly r .961 and RMSE 56 to 57 W/kWp; ratios as above.

    It does not state its temperature coefficient nor how it treats the glass, so levels agree
    within 2.5 % (ours model 2 % more) and the years among each other within 0.5 %.
    """
    _, place = id002()
    model = ExpectedModel(
        transposition=transposition, losses=FIVE_PERCENT, degradation_per_year=0.0
    )
    ratios, correlation, error = against_the_meter(place, model)
    wanted = REFERENCE_RATIOS[transposition]
    assert ratios == pytest.approx(wanted, rel=0.025)
    level = sum(ratios) / sum(wanted)
    assert [ratio / level for ratio in ratios] == pytest.approx(wanted, rel=0.005)
    assert correlation == pytest.approx(0.961, abs=0.002)
    assert error == pytest.approx(56.5, abs=2.5)


def test_on_a_real_roof_hay_davies_is_nearer_than_perez() -> None:
    """The reason for the default; reference 1.3 finds 2 % between them, on one roof."""
    _, place = id002()
    level = {
        transposition: sum(
            against_the_meter(
                place,
                ExpectedModel(
                    transposition=transposition, losses=FIVE_PERCENT, degradation_per_year=0.0
                ),
            )[0]
        )
        for transposition in ("haydavies", "perez")
    }
    assert level["haydavies"] / level["perez"] == pytest.approx(1.021, abs=0.004)
    assert level["perez"] < level["haydavies"] < 4


def test_hour_by_hour_ours_is_the_reference_model_up_to_its_level() -> None:
    """`pvlib_knmi` of the shared file: the same stations, Erbs, Perez, IAM and Faiman."""
    roof, place = id002()
    model = ExpectedModel(transposition="perez", losses=FIVE_PERCENT, degradation_per_year=0.0)
    found = expected(sky(place), ID002, model)
    ours = pl.DataFrame({"ts": place.rows["ts"], "ours": found.ac_power / 1_900})
    both = roof.join(ours, on="ts", how="inner")
    mine, theirs = both["ours"].to_numpy(), both["pvlib_knmi"].to_numpy()
    assert np.corrcoef(mine, theirs)[0, 1] > 0.999
    assert mine.sum() / theirs.sum() == pytest.approx(1.02, abs=0.005)


# The kernel


def random_site(source: random.Random, number: int) -> Site:
    def one(name: str) -> RoofPlane:
        pdc0 = source.uniform(1_000, 9_000)
        horizon: tuple[tuple[float, float], ...] = ()
        shading: tuple[tuple[float, ...], ...] = ()
        if source.random() < 0.3:
            horizon = tuple((float(a), source.uniform(0, 20)) for a in range(0, 360, 30))
        if source.random() < 0.3:
            shading = tuple(tuple(source.random() for _ in range(24)) for _ in range(12))
        return plane(
            source.uniform(0, 90), source.uniform(0, 359.9), name=name, pdc0=pdc0,
            gamma_pdc=source.uniform(-0.005, -0.002), horizon=horizon, shading=shading,
        )  # fmt: skip

    planes = [one(str(n)) for n in range(source.choice([1, 1, 2, 3]))]
    size = sum(plane.pdc0 for plane in planes)
    return site(
        *planes, pac0=size * source.uniform(0.5, 1.2), site_id=str(number),
        commissioned_on=date(source.choice([2014, 2024]), source.randrange(1, 13), 1),
    )  # fmt: skip


@pytest.mark.parametrize("transposition", ["haydavies", "perez"])
@pytest.mark.parametrize("cell_temperature", ["faiman", "sapm"])
def test_the_kernel_is_the_model_step_by_step(transposition: Any, cell_temperature: Any) -> None:
    """Within 0.5 % by the year is asked; within 0.001 %, and so by the hour of pac0, is found."""
    source = random.Random(7)
    fleet = [random_site(source, n) for n in range(40)]
    model = ExpectedModel(transposition=transposition, cell_temperature=cell_temperature)
    seen = cloudy_year()
    ours = performance_kernel.ac_power(
        performance_kernel.share(seen, model), performance_kernel.roofs(fleet, model), model
    )
    for row, one in zip(ours, fleet, strict=True):
        reference = expected(seen, one, model).ac_power
        assert row.sum(dtype=float) == pytest.approx(reference.sum(), rel=1e-5)
        assert np.abs(row - reference).max() < 1e-5 * one.pac0


def test_unknown_weather_is_an_unknown_day_and_not_a_dark_one() -> None:
    seen = cloudy_year()
    ghi, dni, dhi = seen.ghi.copy(), seen.dni.copy(), seen.dhi.copy()
    noon = 24 * 100 + 12
    for values in (ghi, dni, dhi):
        values[noon] = math.nan
    gap = msgspec.structs.replace(seen, ghi=ghi, dni=dni, dhi=dhi)
    rows = performance_kernel.daily(gap, [site()], time_zone="UTC")
    assert rows.filter(pl.col("energy_kwh").is_null())["date"].to_list() == [date(2024, 4, 10)]
    assert np.isnan(expected(gap, site()).ac_power).sum() == 1


def test_days_are_local_and_add_up_to_the_year() -> None:
    seen = cloudy_year()
    sites = [site(site_id="a"), site(plane(10, 90), plane(10, 270), site_id="b")]
    rows = performance_kernel.daily(seen, sites)
    reference = expected(seen, sites[1]).energy_kwh
    of_b = rows.filter(pl.col("site_id") == "b")
    assert of_b["energy_kwh"].sum() == pytest.approx(reference.sum(), rel=1e-4)
    # The sky ends at midnight UTC, which is one o'clock of the next local day.
    assert of_b["date"].to_list()[-1] == date(2025, 1, 1)
    assert rows.height == 2 * 367
    assert set(rows["model_version"]) == {performance_expected.MODEL_VERSION}
    assert set(rows["weather_source"]) == {str(seen.source)}


def test_threads_change_nothing() -> None:
    source = random.Random(3)
    fleet = performance_kernel.roofs([random_site(source, n) for n in range(50)])
    shared_sky = performance_kernel.share(cloudy_year())
    one = performance_kernel.ac_power(shared_sky, fleet, threads=1)
    two = performance_kernel.ac_power(shared_sky, fleet, threads=2)
    assert np.array_equal(one, two)


# What stands in the way


def test_power_is_clipped_at_the_inverter() -> None:
    clipped = expected(cloudy_year(), site(pac0=1_000.0)).ac_power
    free = expected(cloudy_year(), site(pac0=5_000.0)).ac_power
    assert clipped.max() == pytest.approx(1_000)
    assert free.max() > 2_000


def test_a_flat_roof_in_a_valley_sees_the_square_of_the_cosine() -> None:
    """Even sky above an even horizon h on a flat plane: the integral is cos(h)^2."""
    valley = plane(0, 180, horizon=((0.0, 20.0), (180.0, 20.0)))
    seen = performance_expected.sky_view(valley)
    assert seen == pytest.approx(math.cos(math.radians(20)) ** 2, abs=0.005)
    assert performance_expected.sky_view(plane(0, 180)) == 1


def test_the_sun_behind_the_horizon_gives_no_beam() -> None:
    clear = cloudy_year()
    behind = performance_expected.sun_access(clear, plane(horizon=((0.0, 30.0), (180.0, 30.0))))
    low, high = clear.zenith > 60, clear.zenith < 60
    assert behind[low].max() == 0
    assert behind[high].min() == 1


def test_a_horizon_closes_through_north() -> None:
    horizon = ((10.0, 0.0), (350.0, 20.0))
    assert performance_expected.horizon_elevation(horizon, 0.0) == pytest.approx(10)


def test_shading_is_read_by_month_and_hour_of_the_mean_solar_day() -> None:
    """At 5.18 E the solar clock is 20.7 min ahead: the middle of 11-12 UTC is 11:51."""
    table = [[0.0] * 24 for _ in range(12)]
    table[5][11] = 0.75
    access = performance_expected.sun_access(
        cloudy_year(), plane(shading=tuple(tuple(row) for row in table))
    )
    starts = pl.Series(cloudy_year().ts_us).cast(pl.Datetime("us")).to_numpy()
    shaded = pl.Series(starts[access < 1]).to_frame("ts")
    assert set(shaded["ts"].dt.month()) == {6}
    assert set(shaded["ts"].dt.hour()) == {11}
    assert shaded.height == 30
    assert set(access) == {0.25, 1.0}


def test_a_site_ages_from_its_first_day_on() -> None:
    model = ExpectedModel(degradation_per_year=0.01)
    young, old = site(commissioned_on=date(2030, 1, 1)), site(commissioned_on=date(2014, 1, 1))
    assert performance_expected.aging(cloudy_year(), young, model).tolist()[-1] == 1
    first = performance_expected.aging(cloudy_year(), old, model)[0]
    assert first == pytest.approx(0.99**10, rel=1e-4)


def test_the_losses_of_pvwatts_are_14_08_percent() -> None:
    """PVWatts version 5 manual (NREL/TP-6A20-62641), table 6."""
    assert 1 - Losses().factor == pytest.approx(0.1408, abs=5e-5)


def test_the_blend_of_the_nearest_serves_the_roof_as_well() -> None:
    stations = weather_files.load_stations(shared("weather/knmi/knmi_stations.csv"))
    _, thirds = id002()
    rows = knmi_rows(260, 348, 356, decades=("2011-2020",)).filter(
        pl.col("ts").is_in(thirds.rows["ts"].implode())
    )
    here = [stations[f"knmi:{number}"] for number in (260, 348, 356)]
    model = ExpectedModel(losses=FIVE_PERCENT, degradation_per_year=0.0)
    _, correlation, _ = against_the_meter(blend(51.970, 5.329, here, rows), model)
    alone, single, _ = against_the_meter(weighted(51.970, 5.329, [("knmi:260", 1.0)], rows), model)
    # Reference 1.3: three stations .961, single ones .940 to .951.
    assert correlation > 0.955 > single
    assert len(alone) == 4
