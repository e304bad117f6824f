"""Each importer puts an hour where it was; a blend leans to the nearest; a bad file says where."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

import corpus
from autarco_portal import weather_epw, weather_files, weather_knmi, weather_pvgis
from autarco_portal.weather import (
    SCHEMA,
    Station,
    WeatherError,
    WeatherFile,
    blend,
    conform,
    distance_km,
    nearest_weights,
    weighted,
)
from autarco_portal.weather_sky import Sky, clear_sky, clock_error_h, sky

if TYPE_CHECKING:
    from pathlib import Path

DATA = corpus.FRAMES.parent
TYPICAL = "weather/tmy_45.000_8.000_2005_2023"

DE_BILT = Station(station="knmi:260", name="De Bilt", latitude=52.1, longitude=5.18)
CABAUW = Station(station="knmi:348", name="Cabauw", latitude=51.97, longitude=4.926)
EINDHOVEN = Station(station="knmi:370", name="Eindhoven", latitude=51.451, longitude=5.377)
SCHIPHOL = Station(station="knmi:240", name="Schiphol", latitude=52.318, longitude=4.79)
HERE = {one.station: one for one in (DE_BILT, CABAUW, EINDHOVEN, SCHIPHOL)}

KNMI_HEADER = (
    "BRON: KONINKLIJK NEDERLANDS METEOROLOGISCH INSTITUUT (KNMI)\r\n"
    "\r\n# STN,YYYYMMDD,   HH,   FH,    T,    Q,    S\r\n\r\n"
)


def knmi_day(*, q: dict[int, str] | None = None, day: str = "20240621", stn: int = 260) -> str:
    return "".join(
        f"  {stn},{day},{hour:5},   35,  -12,{(q or {}).get(hour, '0'):>5},    {int(hour == 7)}\r\n"
        for hour in range(1, 25)
    )


def knmi(text: str, header: str = KNMI_HEADER) -> WeatherFile:
    return weather_knmi.parse(
        (header + text).encode(), file="uurgeg.txt", sha256="ab", stations=HERE
    )


def shared(name: str) -> Path:
    found = DATA / name
    if not found.is_file():
        pytest.skip(f"shared weather is not here: {found} is missing")
    return found


def typical(kind: str) -> WeatherFile:
    return weather_files.load_weather(shared(f"{TYPICAL}.{kind}"))


def knmi_file(station: int, years: str) -> WeatherFile:
    stations = weather_files.load_stations(shared("weather/knmi/knmi_stations.csv"))
    return weather_files.load_weather(
        shared(f"weather/knmi/uurgeg_{station}_{years}.zip"), stations=stations
    )


# KNMI


def test_knmi_hour_5_starts_at_4_and_hour_24_ends_at_midnight() -> None:
    rows = knmi(knmi_day(q={5: "36"})).rows
    sunny = rows.filter(pl.col("ghi") > 0)
    assert sunny["ts"].to_list() == [datetime(2024, 6, 21, 4, tzinfo=UTC)]
    assert rows["ts"].max() == datetime(2024, 6, 21, 23, tzinfo=UTC)
    assert set(rows["sun_offset_s"]) == {1_800}


def test_knmi_units_become_si() -> None:
    row = knmi(knmi_day(q={1: "36"})).rows.row(0, named=True)
    assert (row["ghi"], row["temp_air"], row["wind_speed"]) == pytest.approx((100, -1.2, 3.5))
    assert (row["dni"], row["dhi"]) == (None, None)


def test_knmi_blank_is_missing_and_snow_is_the_flag() -> None:
    rows = knmi(knmi_day(q={12: ""})).rows
    assert rows["ghi"].null_count() == 1
    assert rows.filter(pl.col("snow"))["ts"].to_list() == [datetime(2024, 6, 21, 6, tzinfo=UTC)]


def test_knmi_keeps_who_must_be_named_and_which_file_it_was() -> None:
    found = knmi(knmi_day())
    assert found.attribution == "BRON: KNMI"
    assert set(found.rows["source_file_sha256"]) == {"ab"}
    assert found.rows.schema == SCHEMA


def test_knmi_header_of_the_download_script_says_where_a_station_is() -> None:
    header = (
        "# STN         LON(east)   LAT(north)  ALT(m)      NAME\n"
        "# 275         5.873       52.056      48.200      Deelen\n"
        "# STN,YYYYMMDD,   HH,   FH,    T,    Q,    S\n"
    )
    (station,) = knmi(knmi_day(stn=275), header).stations
    assert (station.name, station.latitude, station.longitude, station.altitude) == (
        "Deelen", 52.056, 5.873, 48.2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "uurgeg.txt, line 4: there are no rows"),
        (knmi_day()[:-20], "uurgeg.txt, line 28: 4 columns instead of 7, is the file cut?"),
        (knmi_day()[: -46 * 3], "ends the station's rows within a day, is the file cut?"),
        (knmi_day(q={3: "1x"}), "uurgeg.txt, line 7: Q '1x' is not a whole number"),
        (knmi_day(q={3: "-1"}), "uurgeg.txt, line 7: Q -1 is not 0 to 500"),
        (knmi_day() * 2, "uurgeg.txt, line 29: HH 1 comes twice"),
        (knmi_day(day="20240631"), "uurgeg.txt, line 5: YYYYMMDD 20240631 is not a date"),
        (knmi_day(stn=999), "nothing says where station 999 is"),
        (knmi_day().replace(",   24,", ",   25,"), "line 28: HH 25 is not 1 to 24"),
    ],
)
def test_a_bad_knmi_file_names_file_and_line(text: str, reason: str) -> None:
    with pytest.raises(WeatherError) as refused:
        knmi(text)
    assert reason in str(refused.value)


def test_knmi_years_add_up_to_what_is_known_of_them() -> None:
    """Sums of Q per year of the file's date, from the data folder's README (rounded there)."""
    rows = pl.concat([knmi_file(260, "2011-2020").rows, knmi_file(260, "2021-2030").rows])
    # HH=24 of 31 December belongs to its date, and so it does by the start of the hour.
    years = dict(rows.group_by(pl.col("ts").dt.year()).agg(pl.col("ghi").sum() / 1_000).iter_rows())
    assert [round(years[year]) for year in (2011, 2012, 2014, 2018, 2022, 2024)] == [
        1026, 989, 1041, 1137, 1195, 1040,
    ]  # fmt: skip
    assert rows["ts"].is_unique().all()


def test_the_clock_of_knmi_is_right_and_an_hour_off_is_seen() -> None:
    rows = knmi_file(370, "2021-2030").rows.filter(pl.col("ts").dt.year() == 2022)
    place = weighted(51.451, 5.377, [("knmi:370", 1.0)], rows)
    assert clock_error_h(sky(place)) == 0
    late = place.rows.with_columns(pl.col("ts").dt.offset_by("1h"))
    moved = weighted(
        51.451, 5.377, [("knmi:370", 1.0)], late.with_columns(station=pl.lit("knmi:370"))
    )
    assert clock_error_h(sky(moved)) == 1


# PVGIS


def series_csv(rows: list[str], columns: str = "Gb(i),Gd(i),Gr(i),H_sun,T2m,WS10m,Int") -> bytes:
    head = [
        "Latitude (decimal degrees):\t52.100", "Longitude (decimal degrees):\t5.180",
        "Elevation (m):\t2", "Radiation database:\tPVGIS-SARAH3", "", "",
        "Slope: 0 deg. ", "Azimuth: 0 deg. ", f"time,{columns}",
    ]  # fmt: skip
    return "\r\n".join([*head, *rows, "", "T2m: air temperature"]).encode()


def test_a_pvgis_series_keeps_the_minute_of_its_picture() -> None:
    data = series_csv(["20200601:1011,400.0,100.0,0.0,30.0,18.0,2.5,0.0"])
    (row,) = weather_pvgis.parse(data, file="s.csv", sha256="ab").rows.to_dicts()
    assert row["ts"] == datetime(2020, 6, 1, 10, tzinfo=UTC)
    assert row["sun_offset_s"] == 11 * 60
    assert (row["ghi"], row["dhi"]) == (500, 100)
    # Beam on the flat is half of that towards a sun at 30 degrees.
    assert row["dni"] == pytest.approx(800)
    assert row["source"] == "PVGIS PVGIS-SARAH3 hourly"


def test_a_pvgis_series_reads_alike_from_json() -> None:
    values = {"Gb(i)": 400.0, "Gd(i)": 100.0, "Gr(i)": 0.0, "H_sun": 30.0, "T2m": 18.0}
    hour = {"time": "20200601:1011", **values, "WS10m": 2.5, "Int": 0.0}
    place = {"latitude": 52.1, "longitude": 5.18, "elevation": 2.0}
    inputs = {"location": place, "meteo_data": {"radiation_db": "PVGIS-SARAH3"}}
    document = {"inputs": inputs, "outputs": {"hourly": [hour]}, "meta": {"inputs": {}}}
    from_json = weather_pvgis.parse(json.dumps(document).encode(), file="s.json", sha256="ab")
    line = "20200601:1011,400.0,100.0,0.0,30.0,18.0,2.5,0.0"
    from_csv = weather_pvgis.parse(series_csv([line]), file="s.csv", sha256="ab")
    assert from_json.rows.equals(from_csv.rows)
    assert from_json.stations == from_csv.stations


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (series_csv(["20200601:1011,1.0,1.0,3.0,30.0,18.0,2.5,0.0"]), "inclined plane"),
        (series_csv(["20200601:1011,1.0,18.0,2.5,0.0"], "G(i),T2m,WS10m,Int"), "no column poa_dir"),
        (series_csv(["20200601:1011,1.0,1.0"]), "s.csv, line 10: 3 columns instead of 8"),
        (series_csv(["20200601:1011,1.0,x,0.0,30.0,18.0,2.5,0.0"]), "s.csv, line 10: could not"),
        (b'{"inputs": {}, "outputs"', "not whole json, is the file cut?"),
        (b'{"inputs": {}}', "json, but not of PVGIS"),
        (b"Latitude (decimal degrees): 45.000\r\n", "no line that starts with 'time'"),
    ],
)
def test_a_bad_pvgis_file_says_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(WeatherError) as refused:
        weather_pvgis.parse(data, file="s.csv", sha256="ab")
    assert reason in str(refused.value)


def test_a_cut_pvgis_year_is_refused_at_its_last_line() -> None:
    data = shared(f"{TYPICAL}.csv").read_bytes()
    cut = data[: len(data) // 2]
    with pytest.raises(WeatherError, match=f"line {len(cut.splitlines())}:? .*cut"):
        weather_pvgis.parse(cut, file="tmy.csv", sha256="ab")


def test_a_pvgis_year_adds_up_and_puts_the_sun_where_it_was() -> None:
    """Sums of the data folder's README; the offset is the file's 0.1761 h."""
    rows = typical("csv").rows
    sums = rows.select(pl.col("ghi", "dni", "dhi").sum() / 1_000).row(0)
    assert sums == pytest.approx((1435.861, 1591.565, 570.947), abs=5e-4)
    assert set(rows["sun_offset_s"]) == {634}
    assert rows.height == 8_760


@pytest.mark.parametrize("kind", ["json", "epw"])
def test_the_three_formats_of_a_pvgis_year_are_one_series(kind: str) -> None:
    """The header of the EPW says zone 1, its rows are UTC: believing it would move the sun."""
    csv, other = typical("csv").rows, typical(kind).rows
    assert other["ts"].equals(csv["ts"])
    assert other["sun_offset_s"].equals(csv["sun_offset_s"])
    for name in ("ghi", "dni", "dhi", "temp_air"):
        assert other[name].equals(csv[name]), name
    # The EPW rounds wind to 0.1 m/s.
    assert (other["wind_speed"] - csv["wind_speed"]).abs().max() == pytest.approx(0, abs=0.051)


# EPW


def epw(*, hours: int = 24, zone: int = 1, comment: str = "none", ghi: str = "300") -> bytes:
    head = [
        f"LOCATION,Amsterdam,-,NLD,own,062400,52.30,4.77,{zone},-2.0", "DESIGN CONDITIONS,0",
        "TYPICAL/EXTREME PERIODS,0", "GROUND TEMPERATURES,0",
        "HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0", "COMMENTS 1,own", f"COMMENTS 2,{comment}",
        "DATA PERIODS,1,1,Data,Sunday, 1/ 1,12/31",
    ]  # fmt: skip
    tail = ["0"] * 13
    rows = [
        ",".join(
            ["1995", "6", "21", str(hour), "0", "?", "21.5", "9", "60", "101300", "0", "0", "0",
             ghi if hour == 12 else "0", "9999", "0", "0", "0", "0", "0", "180", "3.5", *tail]
        )
        for hour in range(1, hours + 1)
    ]  # fmt: skip
    return "\n".join([*head, *rows, ""]).encode()


def test_epw_hour_12_starts_at_11_local_standard_time() -> None:
    found = weather_epw.parse(epw(), file="a.epw", sha256="ab")
    (noon,) = found.rows.filter(pl.col("ghi") > 0).to_dicts()
    assert noon["ts"] == datetime(1995, 6, 21, 10, tzinfo=UTC)
    assert noon["sun_offset_s"] == 1_800
    assert (noon["temp_air"], noon["wind_speed"]) == (21.5, 3.5)
    assert noon["dni"] is None  # 9999 is EnergyPlus' word for missing
    assert (found.stations[0].latitude, found.stations[0].altitude) == (52.3, -2)


def test_epw_of_measurements_gets_its_true_year_back() -> None:
    rows = weather_epw.parse(epw(), file="a.epw", sha256="ab", year=2021).rows
    assert rows["ts"].min() == datetime(2021, 6, 20, 23, tzinfo=UTC)


def test_epw_of_pvgis_is_utc_whatever_its_header_says() -> None:
    data = epw(comment="Irradiance Time Offset (h):-0.8239")
    (noon,) = weather_epw.parse(data, file="a.epw", sha256="ab").rows.filter(
        pl.col("ghi") > 0
    ).to_dicts()  # fmt: skip
    assert noon["ts"] == datetime(1995, 6, 21, 11, tzinfo=UTC)
    assert noon["sun_offset_s"] == round((1 - 0.8239) * 3_600)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (epw()[:-9], "a.epw, line 32: 31 columns instead of 35, is the file cut?"),
        (epw(hours=20), "a.epw: ends within a day, at line 28, is the file cut?"),
        (epw(hours=0), "a.epw: ends within a day, at line 8, is the file cut?"),
        (epw(ghi="30o"), "a.epw, line 20: could not convert"),
        (b"LOCATION,x\n", "a.epw, line 1: no EPW file"),
    ],
)
def test_a_bad_epw_names_file_and_line(data: bytes, reason: str) -> None:
    with pytest.raises(WeatherError) as refused:
        weather_epw.parse(data, file="a.epw", sha256="ab")
    assert reason in str(refused.value)


# Files


def test_the_kind_of_file_is_seen_and_a_zip_is_hashed_as_it_lies(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("uurgeg.txt", KNMI_HEADER + knmi_day())
    path = tmp_path / "uurgeg_260.zip"
    path.write_bytes(packed.getvalue())
    rows = weather_files.load_weather(path, stations=HERE).rows
    assert set(rows["source_file_sha256"]) == {hashlib.sha256(packed.getvalue()).hexdigest()}
    assert set(rows["source"]) == {"KNMI hourly"}
    (tmp_path / "a.epw").write_bytes(epw())
    assert set(weather_files.load_weather(tmp_path / "a.epw").rows["source"]) == {"EPW own"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "x: is empty"),
        (b"PK\x03\x04 and no more", "x: a damaged zip"),
        (b"<html>not found</html>", "no KNMI hourly file"),
    ],
)
def test_a_file_of_no_known_kind_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(WeatherError, match=reason):
        weather_files.load_weather(tmp_path / "x")


def test_only_an_epw_takes_a_year(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(KNMI_HEADER + knmi_day())
    with pytest.raises(WeatherError, match="only EPW files take a year"):
        weather_files.load_weather(tmp_path / "x", stations=HERE, year=2024)


# Blend


def hours(station: Station, ghi: list[float | None], **more: object) -> pl.DataFrame:
    start = datetime(2024, 6, 21, 10, tzinfo=UTC)
    return conform(
        pl.DataFrame(
            {
                "ts": [start + timedelta(hours=n) for n in range(len(ghi))],
                "ghi": ghi,
            },
            schema_overrides={"ghi": pl.Float64},
        ).with_columns(
            station=pl.lit(station.station),
            sun_offset_s=pl.lit(more.get("sun_offset_s", 1_800)),
            source=pl.lit("own"),
            source_file_sha256=pl.lit(f"file of {station.station}"),
        )
    )


def test_the_distance_between_de_bilt_and_cabauw() -> None:
    """22.6 km by the spherical law of cosines, another formula for the same arc."""
    a, b = math.radians(52.1), math.radians(51.97)
    east = math.radians(4.926 - 5.18)
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(east)
    assert distance_km(52.1, 5.18, CABAUW) == pytest.approx(6_371 * math.acos(cosine), rel=1e-6)


def test_the_nearest_three_weigh_one_over_distance() -> None:
    weights = nearest_weights(52.06, 5.1, list(HERE.values()))
    assert [name for name, _ in weights] == ["knmi:260", "knmi:348", "knmi:240"]
    assert sum(weight for _, weight in weights) == pytest.approx(1)
    products = [weight * distance_km(52.06, 5.1, HERE[name]) for name, weight in weights]
    assert products == pytest.approx([products[0]] * 3)


def test_at_a_station_its_own_weather_holds() -> None:
    rows = pl.concat([hours(DE_BILT, [500.0]), hours(CABAUW, [100.0]), hours(SCHIPHOL, [100.0])])
    place = blend(52.1, 5.18, [DE_BILT, CABAUW, SCHIPHOL], rows)
    assert place.rows["ghi"].item() == pytest.approx(500, rel=0.01)


def test_what_one_station_lacks_the_others_give_and_what_all_lack_is_unknown() -> None:
    rows = pl.concat(
        [hours(DE_BILT, [None, None]), hours(CABAUW, [300.0, None]), hours(SCHIPHOL, [300.0, None])]
    )
    place = blend(52.0, 5.1, [DE_BILT, CABAUW, SCHIPHOL], rows)
    assert place.rows["ghi"].to_list() == [pytest.approx(300), None]
    assert place.rows["snow"].to_list() == [None, None]


def test_a_blend_says_whose_weather_it_is() -> None:
    rows = pl.concat([hours(DE_BILT, [1.0]), hours(CABAUW, [1.0])])
    place = blend(52.0, 5.1, [DE_BILT, CABAUW], rows)
    assert place.source.source_file_sha256 == ("file of knmi:260", "file of knmi:348")
    assert "knmi:260" in str(place.source)
    assert place.rows["source_file_sha256"].item() == "file of knmi:260+file of knmi:348"


def test_hours_with_the_sun_at_different_times_do_not_blend() -> None:
    rows = pl.concat([hours(DE_BILT, [1.0]), hours(CABAUW, [1.0], sun_offset_s=634)])
    with pytest.raises(WeatherError, match="different times of an hour"):
        blend(52.0, 5.1, [DE_BILT, CABAUW], rows)


def test_a_station_without_weather_is_named() -> None:
    with pytest.raises(WeatherError, match="no weather of knmi:348"):
        blend(52.0, 5.1, [DE_BILT, CABAUW], hours(DE_BILT, [1.0]))
    with pytest.raises(WeatherError, match="no weather station"):
        blend(52.0, 5.1, [], hours(DE_BILT, [1.0]))


# Sky


def one_sky(ghi: list[float | None], **columns: pl.Expr) -> Sky:
    rows = hours(DE_BILT, ghi).with_columns(**columns)
    return sky(weighted(52.1, 5.18, [("knmi:260", 1.0)], rows))


def test_erbs_parts_global_irradiance_so_that_it_closes() -> None:
    found = one_sky([100.0, 400.0, 900.0], temp_air=pl.lit(20.0), wind_speed=pl.lit(3.0))
    true_zenith = np.degrees(np.arccos((found.ghi - found.dhi) / found.dni))
    # The beam's share of the flat is the cosine of the true zenith; refraction is 0.01 here.
    assert true_zenith == pytest.approx(found.zenith, abs=0.02)
    assert found.dhi[0] / found.ghi[0] > 0.95 > 0.3 > found.dhi[2] / found.ghi[2]


def test_beam_and_diffuse_of_the_source_stay() -> None:
    found = one_sky([500.0], dni=pl.lit(600.0), dhi=pl.lit(90.0))
    assert (found.dni[0], found.dhi[0]) == (600, 90)


def test_unknown_irradiance_stays_unknown_by_day_and_is_none_by_night() -> None:
    found = one_sky([None] * 14, temp_air=pl.lit(20.0), wind_speed=pl.lit(3.0))
    assert np.isnan(found.ghi[0])
    assert np.isnan(found.dni[0])
    assert (found.ghi[12], found.dni[12], found.dhi[12]) == (0, 0, 0)


def test_a_gap_in_temperature_is_bridged() -> None:
    by_hour = pl.Series([10.0, None, 14.0])
    found = one_sky([1.0, 1.0, 1.0], temp_air=pl.lit(by_hour), wind_speed=pl.lit(3.0))
    assert found.temp_air.tolist() == [10, 12, 14]


def test_a_clear_sky_needs_no_weather_and_is_brightest_at_noon() -> None:
    midnight = int(datetime(2024, 6, 21, tzinfo=UTC).timestamp() * 1e6)
    found = clear_sky(
        52.1, 5.18, [midnight + n * 300_000_000 for n in range(288)], step_s=300
    )  # fmt: skip
    # Solar noon at 5.18 E in June: 12:00 - 20.7 min + 1.8 min.
    brightest = int(np.argmax(found.ghi)) * 5
    assert brightest == pytest.approx(11 * 60 + 41, abs=5)
    assert 800 < found.ghi.max() < 950
    assert found.ghi[0] == 0
    assert "Linke" in found.source.method
