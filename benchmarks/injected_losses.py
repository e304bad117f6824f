"""Claim: a loss of 20 % is found within 5 days (median, March to October), with few false alarms.

Roofs of a made fleet stand under the real cloudiness of five KNMI stations for a year. Some of them
lose 5, 10, 20 or 50 % of their energy from a random day on; how long until rule 4 says so? The same
fleet without losses tells how often it cries for nothing.

The fleet (`made_fleet`) is a stand-in that can be swapped for another that fills `FleetDays`: roofs
of all tilts and azimuths, a horizon each that the model does not know, an own level, noise from day
to day and a slow wander of weeks. Two of them are measured: one whose noise is as the reference
measured it on its own made fleet, which decides about the claim, and one with more noise and higher
horizons. Either in its first year, when the detector knows no season, and in its second, when last
year's belongs to the baseline. There is no snow, and no fault but ours: real fleets alarm more.

Weather: BRON: KNMI. Latency counts days of the fault: found on its first day is 1.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

import record
from autarco_portal import detection, peers

if TYPE_CHECKING:
    from autarco_portal.peers import Bools, Floats

CLAIM = (
    "a loss of 20 % from March to October is found in at most 5 days (median), with at most 0.3 "
    "false alarms per site-year"
)
CLAIM_DAYS, CLAIM_FALSE = 5, 0.3
LOSSES = (0.05, 0.10, 0.20, 0.50)
WITHIN_DAYS = 60
INJECTED_SHARE = 0.05
"""Of the fleet at once: more faulty peers than a fleet has would be another question."""

KNMI = record.REPOSITORY.parent / "shared" / "data" / "weather" / "knmi"
STATIONS = {240: (52.318, 4.790), 260: (52.100, 5.180), 348: (51.970, 4.926),
            356: (51.859, 5.146), 370: (51.451, 5.377)}  # fmt: skip
"""Latitude and longitude."""
FIRST, FROM, TO, LAST = (
    dt.date(2021, 10, 1),
    dt.date(2023, 1, 1),
    dt.date(2024, 1, 1),
    dt.date(2024, 3, 1),
)
"""Data begin (a season and a baseline before), the year begins and ends, data end (60 days on)."""

REFERENCE_NOISE_PCT = {"DJF": 5.5, "MAM": 5.2, "JJA": 3.2}
"""Robust sd of the clear-sky index against 20 neighbours, reference 2.1."""


class FleetDays(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A fleet's days; arrays days x sites, or one value per site."""

    dates: list[dt.date]
    latitude: Floats
    longitude: Floats
    surface_tilt: Floats
    surface_azimuth: Floats
    pdc0_kw: Floats
    energy_kwh: Floats
    clearsky_kwh: Floats
    coverage: Floats


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How the made roofs differ from their model."""

    daily_low: float
    daily_high: float
    """Robust sd from day to day; each site has its own."""
    horizon_deg: float
    """Mean height of what stands around."""
    wander: float = 0.010
    wander_days: float = 20.0
    incomplete_share: float = 0.03
    missing_share: float = 0.01


FLEETS = {
    "as the reference's": Noise(daily_low=0.015, daily_high=0.030, horizon_deg=3.0),
    "noisier, in shade": Noise(daily_low=0.020, daily_high=0.040, horizon_deg=6.0),
}
DECIDES = "as the reference's"


def main() -> int:
    """Injects, detects, records, and tells whether the claim holds."""
    options = _options()
    if not KNMI.is_dir():
        sys.stderr.write(f"no measurement: weather of KNMI is not here, {KNMI} is missing\n")
        return 2
    on = record.machine()
    began = time.monotonic()
    rules = msgspec.structs.replace(
        detection.DetectionRules(), **{k: float(v) for k, v in options.rule or ()}
    )
    fleets = {name: _study(noise, rules, options) for name, noise in FLEETS.items()}
    decides = fleets[DECIDES]["first year"]
    summer = decides["losses"]["20%"]["Mar-Oct"]
    holds = (
        summer["median_days"] is not None
        and summer["median_days"] <= CLAIM_DAYS
        and decides["false_alarms"]["per_site_year"] <= CLAIM_FALSE
    )
    numbers: dict[str, Any] = {
        "sites": options.sites,
        "year": f"{FROM} to {TO}",
        "rules": msgspec.to_builtins(rules),
        "noise_pct_of_reference": REFERENCE_NOISE_PCT,
        "fleets": fleets,
    }
    numbers = {"holds": holds, "took_s": round(time.monotonic() - began, 1)} | numbers
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n")
    if not options.dry:
        path = record.write("injected-losses", claim=CLAIM, numbers=numbers, on=on)
        sys.stdout.write(f"{path.relative_to(record.REPOSITORY)}\n")
    sys.stdout.write(_markdown(numbers))
    return 0 if holds else 1


def _study(
    noise: Noise, rules: detection.DetectionRules, options: argparse.Namespace
) -> dict[str, Any]:
    """Measures one fleet, without and with last year's season in the baseline."""
    fleet = made_fleet(options.sites, options.seed, noise)
    near = peers.neighbours(
        fleet.latitude, fleet.longitude, fleet.surface_tilt, fleet.surface_azimuth
    )
    found: dict[str, Any] = {
        "noise": msgspec.to_builtins(noise),
        "peers_mean": round(float(near.count.mean()), 1),
    }
    for year, seasonal in (("first year", False), ("second year", True)):
        _say(f"{noise}, {year}")
        watch = Watch(fleet=fleet, near=near, rules=rules, seasonal=seasonal)
        clean = watch.detect(fleet.energy_kwh)
        found[year] = {
            "noise_pct": _noise(fleet, clean),
            "false_alarms": _false_alarms(fleet, clean),
            "losses": {f"{loss:.0%}": _found(watch, loss, options) for loss in LOSSES},
        }
    return found


class Watch(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rule 4 over a fleet."""

    fleet: FleetDays
    near: peers.Neighbours
    rules: detection.DetectionRules
    seasonal: bool

    def detect(self, energy: Floats) -> detection.Detection:
        """Runs the rule over the year and what follows it; rows begin with `FROM`."""
        fleet, first = self.fleet, (FROM - FIRST).days
        compared = peers.compare(energy, fleet.clearsky_kwh, fleet.pdc0_kw, self.near)
        season = None
        if self.seasonal:
            usable = detection.usable_days(compared, fleet.coverage, self.rules)
            season = detection.season_median(
                compared.log_residual, usable, len(energy) - first, self.rules
            )
        return detection.underperformance(
            compared, fleet.coverage, self.near, rules=self.rules, first=first, season=season
        )


def made_fleet(sites: int, seed: int, noise: Noise) -> FleetDays:
    """Makes roofs between the stations and what they yield under the stations' hourly radiation.

    Plane of array by isotropic transposition of Erbs' diffuse share; the sun is that of the middle
    of the fleet and of the hour, 25 km around it is the same to half a degree.
    """
    random = np.random.default_rng(seed)
    latitude, longitude = random.uniform(51.75, 52.15, sites), random.uniform(4.80, 5.50, sites)
    # Half the roofs look south, more or less; the rest anywhere. A tenth is flat.
    azimuth = np.where(
        random.random(sites) < 0.5,
        random.normal(180, 30, sites),
        random.uniform(70, 290, sites),
    )
    tilt = np.where(random.random(sites) < 0.1, 10.0, random.uniform(15, 50, sites))
    pdc0_kw = random.uniform(2.0, 9.0, sites)

    ends, ghi_of, temp_air = _weather()
    middles = ends - np.timedelta64(30, "m")
    elevation, sun_azimuth = _sun(middles, 51.95, 5.15)
    light = elevation > 0
    ghi = ghi_of @ _nearness(latitude, longitude)
    clear = np.where(light, _haurwitz(elevation), 0.0)[:, None]
    horizon = _horizons(sites, noise.horizon_deg, random)[
        :, (sun_azimuth // 10).astype(int) % 36
    ].T  # fmt: skip
    sees = elevation[:, None] > horizon
    actual = _plane(ghi, elevation, sun_azimuth, middles, tilt, azimuth, sees)
    clearsky = _plane(
        np.broadcast_to(clear, ghi.shape),
        elevation,
        sun_azimuth,
        middles,
        tilt,
        azimuth,
        light[:, None],
    )
    hot = 1 - 0.004 * (temp_air[:, None] + 0.03 * actual - 25)
    power = np.minimum(actual / 1000 * hot * 0.86, 0.9) * pdc0_kw
    dates = [FIRST + dt.timedelta(days=day) for day in range((LAST - FIRST).days)]
    days = len(dates)
    energy = power.reshape(days, 24, sites).sum(axis=1)
    model = (clearsky / 1000 * 0.86 * pdc0_kw).reshape(days, 24, sites).sum(axis=1)
    level = random.normal(1, 0.05, sites)
    daily = random.normal(0, 1, (days, sites)) * random.uniform(
        noise.daily_low, noise.daily_high, sites
    )
    wander = _wander(days, sites, noise, random)
    energy = energy * level * np.exp(daily + wander)
    coverage = np.where(random.random((days, sites)) < noise.incomplete_share, 0.5, 1.0)
    energy[random.random((days, sites)) < noise.missing_share] = np.nan
    return FleetDays(
        dates=dates,
        latitude=latitude,
        longitude=longitude,
        surface_tilt=tilt,
        surface_azimuth=azimuth % 360,
        pdc0_kw=pdc0_kw,
        energy_kwh=energy,
        clearsky_kwh=model,
        coverage=coverage,
    )


def _found(watch: Watch, loss: float, options: argparse.Namespace) -> dict[str, Any]:
    """Injects a loss at random days of random roofs, and says when it was found."""
    random = np.random.default_rng(options.seed + round(loss * 1000))
    fleet = watch.fleet
    year, at = (TO - FROM).days, (FROM - FIRST).days
    faulty = max(1, int(INJECTED_SHARE * len(fleet.pdc0_kw)))
    begun, latency = [], []
    for _ in range(options.rounds):
        roofs = random.choice(len(fleet.pdc0_kw), faulty, replace=False)
        begins = random.integers(0, year, faulty)
        energy = fleet.energy_kwh.copy()
        for roof, begin in zip(roofs, begins, strict=True):
            energy[at + begin :, roof] *= 1 - loss
        alarm = watch.detect(energy).alarm
        for roof, begin in zip(roofs, begins, strict=True):
            seen = np.flatnonzero(alarm[begin : begin + WITHIN_DAYS, roof])
            begun.append(begin)
            latency.append(seen[0] + 1 if seen.size else np.inf)
    months = np.array([(FROM + dt.timedelta(days=int(day))).month for day in begun])
    days = np.array(latency)
    summer = (months >= 3) & (months <= 10)
    _say(f"{loss:.0%}: {len(days)} injected, {np.isfinite(days).mean():.0%} found")
    return {
        name: _quantiles(days[which])
        for name, which in (
            ("all year", np.ones(len(days), bool)),
            ("Mar-Oct", summer),
            ("Nov-Feb", ~summer),
        )
    }


def _quantiles(days: Floats) -> dict[str, Any]:
    """Those not found count as later than any: a median of the found alone would flatter."""
    median, p90 = np.quantile(days, (0.5, 0.9), method="inverted_cdf")
    return {
        "draws": len(days),
        "found_share": round(float(np.isfinite(days).mean()), 3),
        "median_days": int(median) if np.isfinite(median) else None,
        "p90_days": int(p90) if np.isfinite(p90) else None,
    }


def _false_alarms(fleet: FleetDays, clean: detection.Detection) -> dict[str, Any]:
    year = (TO - FROM).days
    alarm, sites = clean.alarm[:year], len(fleet.pdc0_kw)
    months = np.array([(FROM + dt.timedelta(days=day)).month for day in range(year)])
    return {
        "per_site_year": round(float(alarm.sum() / sites * 365 / year), 3),
        "of_the_fast_lane": round(float(clean.fast[:year].sum() / sites * 365 / year), 3),
        "suppressed": round(float(clean.suppressed[:year].sum() / sites * 365 / year), 3),
        "sites_with_any": round(float(alarm.any(axis=0).mean()), 3),
        "by_month": {str(month): int(alarm[months == month].sum()) for month in range(1, 13)},
    }


def _noise(fleet: FleetDays, clean: detection.Detection) -> dict[str, float]:
    """Robust sd in per cent of the usable days' deviation, by season."""
    year = (TO - FROM).days
    months = np.array([date.month for date in fleet.dates[(FROM - FIRST).days :]])[:year]
    deviation = np.where(clean.usable, np.log1p(clean.deviation), np.nan)[:year]
    found = {}
    for name, season in {
        "DJF": (12, 1, 2),
        "MAM": (3, 4, 5),
        "JJA": (6, 7, 8),
        "SON": (9, 10, 11),
    }.items():
        values = deviation[np.isin(months, season)]
        values = values[np.isfinite(values)]
        spread = np.median(np.abs(values - np.median(values)))
        found[name] = round(float(100 * detection.MAD_TO_SIGMA * spread), 2)
    return found


def _weather() -> tuple[np.ndarray, Floats, Floats]:
    """Returns the hours' ends (UT), GHI in W/m2 (hours x stations) and °C of De Bilt."""
    radiation, temperature = [], None
    for station in STATIONS:
        with zipfile.ZipFile(KNMI / f"uurgeg_{station}_2021-2030.zip") as archive:
            text = archive.read(archive.namelist()[0])
        rows = pl.read_csv(text, skip_rows=33, has_header=False, infer_schema=False).select(
            pl.col(f"column_{column}").str.strip_chars().cast(pl.Int64, strict=False).alias(name)
            for column, name in ((1, "day"), (7, "T"), (11, "Q"))
        )
        first, last = int(f"{FIRST:%Y%m%d}"), int(f"{LAST:%Y%m%d}")
        rows = rows.filter(pl.col("day") >= first, pl.col("day") < last)
        assert rows.height == (LAST - FIRST).days * 24, f"station {station} lacks hours"
        radiation.append(rows["Q"].cast(pl.Float64).fill_null(0).to_numpy() * 1e4 / 3600)
        if station == 260:
            temperature = rows["T"].cast(pl.Float64).fill_null(strategy="forward").to_numpy() / 10
    assert temperature is not None
    hours = np.arange((LAST - FIRST).days * 24) + 1
    ends = np.datetime64(FIRST, "s") + hours * np.timedelta64(3600, "s")
    return ends, np.column_stack(radiation), temperature


def _nearness(latitude: Floats, longitude: Floats) -> Floats:
    """Weights of the stations per site (stations x sites), by inverse square of the distance."""
    places = np.array(list(STATIONS.values()))
    north = (places[:, :1] - latitude) * 111.2
    east = (places[:, 1:] - longitude) * 111.2 * np.cos(np.radians(52))
    weight: Floats = 1 / (north**2 + east**2 + 1)
    weight /= weight.sum(axis=0)
    return weight


def _sun(at: np.ndarray, latitude: float, longitude: float) -> tuple[Floats, Floats]:
    """Elevation and azimuth in degrees by Spencer's series (1971), good to a quarter degree."""
    day = (at - at.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    turn = 2 * np.pi * day / 365
    declination = (
        0.006918 - 0.399912 * np.cos(turn) + 0.070257 * np.sin(turn)
        - 0.006758 * np.cos(2 * turn) + 0.000907 * np.sin(2 * turn)
    )  # fmt: skip
    minutes = 229.18 * (
        0.000075 + 0.001868 * np.cos(turn) - 0.032077 * np.sin(turn)
        - 0.014615 * np.cos(2 * turn) - 0.040849 * np.sin(2 * turn)
    )  # fmt: skip
    hour = (day % 1) * 24 + longitude / 15 + minutes / 60
    angle, up = np.radians(15 * (hour - 12)), np.radians(latitude)
    sine = np.sin(up) * np.sin(declination) + np.cos(up) * np.cos(declination) * np.cos(angle)
    east = -np.cos(declination) * np.sin(angle)
    north = np.cos(up) * np.sin(declination) - np.sin(up) * np.cos(declination) * np.cos(angle)
    return np.degrees(np.arcsin(sine)), np.degrees(np.arctan2(east, north)) % 360


def _haurwitz(elevation: Floats) -> Floats:
    """Clear-sky GHI in W/m2 (Haurwitz 1945)."""
    sine = np.maximum(np.sin(np.radians(elevation)), 1e-3)
    return 1098 * sine * np.exp(-0.057 / sine)


def _plane(
    ghi: Floats,
    elevation: Floats,
    sun_azimuth: Floats,
    at: np.ndarray,
    tilt: Floats,
    azimuth: Floats,
    sees: Bools,
) -> Floats:
    """W/m2 on the roofs (hours x sites); the beam only where the roof `sees` the sun."""
    day = (at - at.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    sine = np.sin(np.radians(elevation))
    outside = 1361 * (1 + 0.033 * np.cos(2 * np.pi * day / 365)) * np.maximum(sine, 0.02)
    kt = np.clip(ghi / outside[:, None], 0, 1)
    diffuse_share = np.where(
        kt <= 0.22,
        1 - 0.09 * kt,
        np.where(
            kt <= 0.80,
            0.9511 - 0.1604 * kt + 4.388 * kt**2 - 16.638 * kt**3 + 12.336 * kt**4,
            0.165,
        ),
    )
    diffuse = ghi * diffuse_share
    low = elevation[:, None] > 2
    beam = np.where(low, (ghi - diffuse) / np.maximum(sine, 0.03)[:, None], 0.0)
    up, slope = np.radians(elevation)[:, None], np.radians(tilt)
    facing = np.cos(np.radians(sun_azimuth[:, None] - azimuth))
    incidence = np.sin(up) * np.cos(slope) + np.cos(up) * np.sin(slope) * facing
    sky, ground = (1 + np.cos(slope)) / 2, (1 - np.cos(slope)) / 2
    direct = np.where(sees, beam, 0) * np.maximum(incidence, 0)
    plane: Floats = direct + diffuse * sky + 0.2 * ghi * ground
    return plane


def _horizons(sites: int, mean_deg: float, random: np.random.Generator) -> Floats:
    """Heights of what stands around each roof, sites x 36: houses everywhere, some of them high."""
    rough = random.exponential(mean_deg, (sites, 12)).repeat(3, axis=1)
    return np.minimum(rough, 35)


def _wander(days: int, sites: int, noise: Noise, random: np.random.Generator) -> Floats:
    keep = np.exp(-1 / noise.wander_days)
    steps = random.normal(0, noise.wander * np.sqrt(1 - keep**2), (days, sites))
    steps[0] = random.normal(0, noise.wander, sites)
    for day in range(1, days):
        steps[day] += keep * steps[day - 1]
    return steps


def _markdown(numbers: dict[str, Any]) -> str:
    """Returns rows of: fleet, year, loss; share found, median and p90 days, Mar-Oct and Nov-Feb."""
    lines = []
    for name, fleet in numbers["fleets"].items():
        for year in ("first year", "second year"):
            false = fleet[year]["false_alarms"]["per_site_year"]
            lines.append(f"| {name}, {year} | none | {false} false alarms per site-year |\n")
            for loss, found in fleet[year]["losses"].items():
                cells = [
                    f"{part['found_share']:.0%} | {part['median_days']} | {part['p90_days']}"
                    for part in (found["Mar-Oct"], found["Nov-Feb"])
                ]
                lines.append(f"| {name}, {year} | {loss} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=240)
    parser.add_argument(
        "--rounds", type=int, default=20, help="of injecting into 5 %% of the sites"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="do not write the result")
    parser.add_argument(
        "--rule", nargs=2, action="append", metavar=("NAME", "VALUE"), help="a number to try out"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
