"""Claim: expected energy from hourly weather takes at most 1 s for 5,000 site-years on 2 cores.

A year of made-up hourly weather (no file is needed), 2,000 random sites with one to three planes,
daily energy of each. Two ways, in turn: the kernel (`performance_kernel`) with everything shared,
and pvlib step by step (`performance_expected`), which is the reference, for some of the same sites
with the sun and the weather shared as well. Beside them pvlib's own ModelChain, with the sun
position for each site, as one would first write it.

The sky (sun position, Erbs) is prepared once per weather cell and year and timed apart; preparing
the roofs counts. One run of the kernel is checked against the reference.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
import warnings
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pvlib  # type: ignore[import-untyped]

import record
from autarco_portal import performance_expected, performance_kernel
from autarco_portal.performance_expected import DEFAULT
from autarco_portal.site import Inverter, RoofPlane, Site
from autarco_portal.weather import PlaceWeather, conform, weighted
from autarco_portal.weather_sky import Sky, clear_sky, sky

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM_PER_S = 5_000
CLAIM = f"expected energy from hourly weather: at least {CLAIM_PER_S} site-years/s on 2 cores"
HOURS = 8_760
LATITUDE, LONGITUDE = 52.1, 5.18


def main() -> int:
    """Measures in rounds, records, and tells whether the claim holds."""
    options = _options()
    # pvlib 0.16.1 looks at what pandas 3.1 calls day_of_year.
    warnings.filterwarnings("ignore", "DatetimeIndex.dayofyear is deprecated")
    on = record.machine()
    place = _weather()
    started = time.perf_counter()
    seen = sky(place)
    shared = performance_kernel.share(seen)
    sky_s = time.perf_counter() - started
    source = random.Random(1)  # noqa: S311 - repeatable sites
    plain = [_site(source, n, special=False) for n in range(options.sites)]
    special = [_site(source, n, special=True) for n in range(options.sites)]
    deviation = _deviation(seen, plain[:20] + special[:20])
    contestants: dict[str, Callable[[], float]] = {
        "kernel, 2 threads": lambda: _kernel(seen, plain, 2),
        "kernel, 1 thread": lambda: _kernel(seen, plain, 1),
        "kernel, 2 threads, horizon and shading on every plane": lambda: _kernel(seen, special, 2),
        "pvlib, shared sun and weather": lambda: _pvlib(seen, plain[: options.pvlib_sites]),
        "pvlib ModelChain, a sun for each site": lambda: _model_chain(
            place, plain[: options.model_chain_sites]
        ),
    }
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        names = list(contestants)[:: -1 if number % 2 else 1]
        rounds.append({name: contestants[name]() for name in names})
    per_s = {
        name: {
            "median": round(statistics.median(one[name] for one in rounds), 1),
            "lowest": round(min(one[name] for one in rounds), 1),
            "highest": round(max(one[name] for one in rounds), 1),
        }
        for name in contestants
    }
    numbers = {
        "holds": per_s["kernel, 2 threads"]["median"] >= CLAIM_PER_S,
        "rounds": len(rounds),
        "site_years_per_s": per_s,
        "kernel_over_pvlib": round(
            statistics.median(
                one["kernel, 2 threads"] / one["pvlib, shared sun and weather"] for one in rounds
            )
        ),
        "sites": len(plain),
        "planes_per_site": round(sum(len(one.planes) for one in plain) / len(plain), 2),
        "lit_hours": len(shared.lit),
        "sky_s": round(sky_s, 3),
        "kernel_against_pvlib": deviation,
    }
    path = record.write("expected_energy", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _kernel(seen: Sky, sites: list[Site], threads: int) -> float:
    """Returns site-years per second; all that depends on sites is in the time."""
    _, period = performance_kernel.local_days(seen, "Europe/Amsterdam")
    shared = performance_kernel.share(seen)
    performance_expected._sky_view.cache_clear()
    started = time.perf_counter()
    fleet = performance_kernel.roofs(sites)
    energy = performance_kernel.energy_kwh(shared, fleet, period, threads=threads)
    seconds = time.perf_counter() - started
    assert np.isfinite(energy).all()
    return len(sites) / seconds


def _pvlib(seen: Sky, sites: list[Site]) -> float:
    started = time.perf_counter()
    for one in sites:
        assert performance_expected.expected(seen, one).energy_kwh.sum() > 0
    return len(sites) / (time.perf_counter() - started)


def _model_chain(place: PlaceWeather, sites: list[Site]) -> float:
    """Irradiance, temperature, DC and inverter by pvlib's own chain, with a sun for each site."""
    middle = place.rows["ts"].to_physical().to_numpy() + 1_800_000_000
    seen = sky(place)
    frame = pd.DataFrame(
        {
            "ghi": seen.ghi, "dni": seen.dni, "dhi": seen.dhi, "temp_air": seen.temp_air,
            "wind_speed": seen.wind_speed,
        },
        index=pd.DatetimeIndex(middle.astype("datetime64[us]")).tz_localize("UTC"),
    )  # fmt: skip
    started = time.perf_counter()
    for one in sites:
        arrays = [
            pvlib.pvsystem.Array(
                pvlib.pvsystem.FixedMount(plane.surface_tilt, plane.surface_azimuth),
                module_parameters={"pdc0": plane.pdc0, "gamma_pdc": plane.gamma_pdc},
                temperature_model_parameters={"u0": 25.0, "u1": 6.84},
                albedo=0.2,
            )
            for plane in one.planes
        ]
        system = pvlib.pvsystem.PVSystem(
            arrays, inverter_parameters={"pdc0": one.pac0 / DEFAULT.inverter_efficiency}
        )
        chain = pvlib.modelchain.ModelChain(
            system,
            pvlib.location.Location(one.latitude, one.longitude),
            dc_model="pvwatts",
            ac_model="pvwatts",
            aoi_model="ashrae",
            spectral_model="no_loss",
            temperature_model="faiman",
        )
        chain.run_model([frame] * len(arrays))
        assert chain.results.ac.sum() > 0
    return len(sites) / (time.perf_counter() - started)


def _deviation(seen: Sky, sites: list[Site]) -> dict[str, float]:
    """Makes sure that both ways say the same, before it is told how fast."""
    ours = performance_kernel.ac_power(
        performance_kernel.share(seen), performance_kernel.roofs(sites)
    )
    yearly, hourly = 0.0, 0.0
    for row, one in zip(ours, sites, strict=True):
        reference = performance_expected.expected(seen, one).ac_power
        yearly = max(yearly, abs(float(row.sum(dtype=float) / reference.sum()) - 1))
        hourly = max(hourly, float(np.abs(row - reference).max()) / one.pac0)
    assert yearly < 0.005, yearly
    return {"yearly_max": float(f"{yearly:.2g}"), "hourly_max_of_pac0": float(f"{hourly:.2g}")}


def _weather() -> PlaceWeather:
    start = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    ts_us = start + np.arange(HOURS) * 3_600_000_000
    clear = clear_sky(LATITUDE, LONGITUDE, ts_us, step_s=3_600)
    source = np.random.default_rng(1)
    rows = pl.DataFrame(
        {
            "ts": pl.Series(ts_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "ghi": clear.ghi * np.repeat(source.uniform(0.15, 1.05, HOURS // 3), 3),
            "temp_air": source.uniform(0, 20, HOURS),
            "wind_speed": source.uniform(0, 8, HOURS),
        }
    ).with_columns(
        station=pl.lit("made up"), sun_offset_s=pl.lit(1_800), source=pl.lit("made up"),
        source_file_sha256=pl.lit(""),
    )  # fmt: skip
    return weighted(LATITUDE, LONGITUDE, [("made up", 1.0)], conform(rows))


def _site(source: random.Random, number: int, *, special: bool) -> Site:
    planes: list[RoofPlane] = []
    for name in "abc"[: source.choice([1, 1, 1, 2, 3])]:
        horizon: Any = ()
        shading: Any = ()
        if special:
            horizon = tuple((float(a), source.uniform(0, 20)) for a in range(0, 360, 30))
            shading = tuple(tuple(source.random() for _ in range(24)) for _ in range(12))
        planes.append(
            RoofPlane(
                name=name,
                surface_tilt=source.uniform(5, 60),
                surface_azimuth=source.uniform(60, 300),
                modules=10,
                pdc0=source.uniform(2_000, 6_000),
                horizon=horizon,
                shading=shading,
            )
        )
    since = datetime(2020, 1, 1, tzinfo=UTC)
    pac0 = sum(plane.pdc0 for plane in planes) * source.uniform(0.7, 1.0)
    return Site(
        site_id=str(number),
        latitude=LATITUDE,
        longitude=LONGITUDE,
        commissioned_on=date(2020, 1, 1),
        planes=tuple(planes),
        inverters=(Inverter(serial_number=str(number), pac0=pac0, installed_at=since),),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sites", type=int, default=2_000)
    parser.add_argument("--pvlib-sites", type=int, default=40)
    parser.add_argument("--model-chain-sites", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
