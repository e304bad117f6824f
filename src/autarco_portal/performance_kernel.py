"""What should thousands of sites have produced? The model of `performance_expected`, in one sweep.

Sites under one sky (a station's, or a cell of some kilometres) share the sun and the weather. With
those fixed, irradiance on a roof is linear in a few numbers of the roof: three for the sun's beam,
three for sky and ground. So a block of roofs times the lit hours is three small matrix products and
some twenty passes over arrays that fit a core's cache, in float32, which is within 1e-5 of float64.
Threads share the blocks, since numpy lets go of the interpreter meanwhile.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
import pvlib  # type: ignore[import-untyped]

from autarco_portal import performance_expected
from autarco_portal.performance_expected import DEFAULT, ExpectedModel, diffuse_iam, sky_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_portal.site import RoofPlane, Site
    from autarco_portal.weather_sky import Floats, Sky

Singles: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Indices: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

BLOCK_PLANES = 16
"""Planes computed at once: with a year of hours the arrays of a block fit a core's L2 cache."""

COS_ZENITH_MIN = 0.01745
"""Where pvlib's Hay-Davies stops dividing by the sun's height."""

ETA_REF = 0.9637
"""Reference efficiency of PVWatts' inverter curve (NREL/TP-6A20-62641, equation 11)."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all roofs under a sky share, for its lit intervals only."""

    sky: Sky
    """Of the lit intervals."""
    lit: Indices
    """Their places among all intervals."""
    intervals: int
    sun: Singles
    """(3, lit): where the sun is, as a unit vector east, north, up."""
    around_sun: Singles
    """W/m2 on a plane that faces the sun: beam and circumsolar."""
    diffuse: Singles
    """(3, lit): even sky, bright band at the horizon, ground."""
    slot: Indices
    """Of the shading table."""
    temp_over_25: Singles
    heating: Singles
    aged: Singles
    """What age leaves of the power of a site commissioned in 1970."""


class Roofs(msgspec.Struct, frozen=True, kw_only=True):
    """Planes of some sites, one row each; the planes of a site follow each other."""

    normal: Singles
    """(planes, 3): east, north, up."""
    view: Singles
    """(planes, 3): how much of even sky, band and ground a plane sees."""
    view_through_glass: Singles
    gamma_pdc: Singles
    watts: Singles
    """W of DC per W/m2 through the glass, after losses."""
    planes: tuple[RoofPlane, ...]
    first_plane: Indices
    """Of each site."""
    pac0: Singles
    commissioned_s: Floats


def share(sky: Sky, model: ExpectedModel = DEFAULT) -> Shared:
    """Prepares a sky for any number of sites."""
    lit = np.flatnonzero(sky.is_lit)
    shown = sky.take(lit)
    zenith, azimuth = np.radians(shown.zenith), np.radians(shown.azimuth)
    circumsolar, even, band = _split(shown, model)
    years = shown.ts_us / 1e6 / performance_expected.SECONDS_PER_YEAR
    return Shared(
        sky=shown,
        lit=lit,
        intervals=len(sky.ts_us),
        sun=_single(
            np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)
        ),
        around_sun=(shown.dni + circumsolar).astype(np.float32),
        diffuse=_single(even, band, shown.ghi * model.albedo),
        slot=performance_expected.shading_slot(shown),
        temp_over_25=(shown.temp_air - 25).astype(np.float32),
        heating=performance_expected.heating(shown, model).astype(np.float32),
        aged=((1 - model.degradation_per_year) ** years).astype(np.float32),
    )


def roofs(sites: Sequence[Site], model: ExpectedModel = DEFAULT) -> Roofs:
    """Prepares sites for any number of skies."""
    planes = [plane for site in sites for plane in site.planes]
    tilts = np.array([plane.surface_tilt for plane in planes])
    azimuth = np.radians([plane.surface_azimuth for plane in planes])
    tilt = np.radians(tilts)
    open_sky = np.array([sky_view(plane) for plane in planes])
    through_sky, through_ground = diffuse_iam(tilts, model.iam_b)
    view = np.column_stack(
        [open_sky * (1 + np.cos(tilt)) / 2, open_sky * np.sin(tilt), (1 - np.cos(tilt)) / 2]
    )
    through = np.column_stack([through_sky, through_sky, through_ground])
    counts = [len(site.planes) for site in sites]
    return Roofs(
        normal=_single(
            np.sin(tilt) * np.sin(azimuth), np.sin(tilt) * np.cos(azimuth), np.cos(tilt)
        ).T.copy(),
        view=view.astype(np.float32),
        view_through_glass=(view * through).astype(np.float32),
        gamma_pdc=np.array([[plane.gamma_pdc] for plane in planes], dtype=np.float32),
        watts=np.array(
            [[plane.pdc0 / 1_000 * model.losses.factor] for plane in planes], dtype=np.float32
        ),
        planes=tuple(planes),
        first_plane=np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64),
        pac0=np.array([[site.pac0] for site in sites], dtype=np.float32),
        commissioned_s=np.array([performance_expected.commissioned_s(site) for site in sites]),
    )


def ac_power(
    shared: Shared, fleet: Roofs, model: ExpectedModel = DEFAULT, *, threads: int = 2
) -> Singles:
    """Returns W of each site (rows) in each interval of the sky (columns); NaN where unknown."""
    power = np.zeros((len(fleet.pac0), shared.intervals), dtype=np.float32)

    def keep(first: int, last: int, block: Singles) -> None:
        power[first:last, shared.lit] = block

    _sweep(shared, fleet, model, keep, threads)
    return power


def energy_kwh(
    shared: Shared,
    fleet: Roofs,
    period: Indices,
    model: ExpectedModel = DEFAULT,
    *,
    threads: int = 2,
) -> Singles:
    """Returns kWh of each site (rows) in each period (columns).

    `period` tells for each interval of the sky which period it belongs to, counted from 0 and never
    falling. A period with an unknown interval is NaN.
    """
    periods = int(period[-1]) + 1 if len(period) else 0
    energy = np.zeros((len(fleet.pac0), periods), dtype=np.float32)
    in_period = period[shared.lit]
    starts = np.flatnonzero(np.diff(in_period, prepend=-1))
    columns = in_period[starts]
    kwh_per_w = np.float32(shared.sky.step_s / 3.6e6)

    def keep(first: int, last: int, block: Singles) -> None:
        if len(starts):
            energy[first:last, columns] = np.add.reduceat(block, starts, axis=1) * kwh_per_w

    _sweep(shared, fleet, model, keep, threads)
    return energy


def reference_yields(shared: Shared, fleet: Roofs, period: Indices) -> tuple[Singles, Singles]:
    """Returns Yr of each site (rows) in each period (columns), in hours at 1 kW/m2, twice.

    First plain; then as a panel feels it whose temperature takes gamma of its power per K above
    25 degC, which is what a performance ratio at 25 degC is divided by. Irradiance is that of the
    planes weighted by their size; losses and the inverter have no part in it. `period` as for
    `energy_kwh`.
    """
    counts = np.diff(np.append(fleet.first_plane, len(fleet.planes)))
    pdc0 = np.array([plane.pdc0 for plane in fleet.planes], dtype=np.float32)
    part = (pdc0 / np.repeat(np.add.reduceat(pdc0, fleet.first_plane), counts))[:, None]
    in_period = period[shared.lit]
    starts = np.flatnonzero(np.diff(in_period, prepend=-1))
    periods = int(period[-1]) + 1 if len(period) else 0
    plain, corrected = np.zeros((2, len(fleet.planes), periods), dtype=np.float32)
    hours = np.float32(shared.sky.step_s / 3_600 / 1_000)
    for first in range(0, len(fleet.planes), BLOCK_PLANES):
        rows = slice(first, first + BLOCK_PLANES)
        poa = np.maximum(fleet.normal[rows] @ shared.sun, 0) * shared.around_sun
        for row, plane in enumerate(fleet.planes[rows]):
            if plane.horizon or plane.shading:
                poa[row] *= performance_expected.sun_access(shared.sky, plane, shared.slot)
        poa += fleet.view[rows] @ shared.diffuse
        felt = poa * (1 + fleet.gamma_pdc[rows] * (poa * shared.heating + shared.temp_over_25))
        if len(starts):
            columns = in_period[starts]
            plain[rows, columns] = np.add.reduceat(poa, starts, axis=1) * hours * part[rows]
            corrected[rows, columns] = np.add.reduceat(felt, starts, axis=1) * hours * part[rows]
    return (
        np.add.reduceat(plain, fleet.first_plane, axis=0),
        np.add.reduceat(corrected, fleet.first_plane, axis=0),
    )


def daily(
    sky: Sky,
    sites: Sequence[Site],
    model: ExpectedModel = DEFAULT,
    *,
    time_zone: str = "Europe/Amsterdam",
    threads: int = 2,
) -> pl.DataFrame:
    """Returns (site_id, date, energy_kwh, weather_source, model_version) per local day.

    A day of which weather is unknown has null energy; the first and last day of the sky are as long
    as the sky.
    """
    dates, period = local_days(sky, time_zone)
    energy = energy_kwh(
        share(sky, model), roofs(sites, model), period, model, threads=threads
    ).astype(float)
    return pl.DataFrame(
        {
            "site_id": pl.Series([site.site_id for site in sites]).repeat_by(len(dates)).explode(),
            "date": pl.concat([dates] * len(sites)),
            "energy_kwh": pl.Series(energy.ravel(), nan_to_null=True),
        }
    ).with_columns(
        pl.lit(str(sky.source)).alias("weather_source"),
        pl.lit(model.version).alias("model_version"),
    )


def local_days(sky: Sky, time_zone: str) -> tuple[pl.Series, Indices]:
    """Returns the local dates of a sky, and for each interval which of them it starts on."""
    starts = pl.Series(sky.ts_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    date = starts.dt.convert_time_zone(time_zone).dt.date()
    return date.unique(maintain_order=True), date.rle_id().cast(pl.Int64).to_numpy()


def _split(sky: Sky, model: ExpectedModel) -> tuple[Floats, Floats, Floats]:
    """Asks pvlib how its model parts the diffuse sky: around the sun, even, and at the horizon.

    The first is what a plane facing the sun gets, as if the sun stood no lower than the model's
    own limit; the others are W/m2 on a plane that sees all of them.
    """
    cos_zenith = np.cos(np.radians(sky.zenith))
    if model.transposition == "haydavies":
        parts = pvlib.irradiance.haydavies(
            0, 180, sky.dhi, sky.dni, sky.dni_extra, projection_ratio=1, return_components=True
        )
        circumsolar = parts["poa_circumsolar"] / np.maximum(cos_zenith, COS_ZENITH_MIN)
        return circumsolar, parts["poa_isotropic"], np.zeros(len(sky.ts_us))
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = pvlib.irradiance.perez(
            sky.zenith, sky.azimuth, sky.dhi, sky.dni, sky.dni_extra, sky.zenith, sky.azimuth,
            pvlib.atmosphere.get_relative_airmass(sky.zenith), return_components=True,
        )  # fmt: skip
    sin_zenith = np.maximum(np.sin(np.radians(sky.zenith)), 1e-6)
    return (
        parts["poa_circumsolar"],
        parts["poa_isotropic"] * 2 / (1 + cos_zenith),
        parts["poa_horizon"] / sin_zenith,
    )


def _sweep(
    shared: Shared,
    fleet: Roofs,
    model: ExpectedModel,
    keep: Callable[[int, int, Singles], None],
    threads: int,
) -> None:
    """Hands the AC power of blocks of sites (first, last) to `keep`, several at once."""
    bounds = _blocks(fleet)

    def one(bound: tuple[int, int]) -> None:
        keep(*bound, _block(shared, fleet, model, *bound))

    if threads == 1 or len(bounds) == 1:
        for bound in bounds:
            one(bound)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(one, bounds):
                pass


def _blocks(fleet: Roofs) -> list[tuple[int, int]]:
    """Cuts the sites into runs of about `BLOCK_PLANES` planes; a site is never cut."""
    block = fleet.first_plane // BLOCK_PLANES
    edges = [*np.flatnonzero(np.diff(block, prepend=-1)).tolist(), len(fleet.pac0)]
    return list(itertools.pairwise(edges))


def _block(shared: Shared, fleet: Roofs, model: ExpectedModel, first: int, last: int) -> Singles:
    """Returns AC power, W, of sites `first` to `last` in the lit intervals."""
    begin = int(fleet.first_plane[first])
    end = int(fleet.first_plane[last]) if last < len(fleet.pac0) else len(fleet.planes)
    rows = slice(begin, end)
    b = np.float32(model.iam_b)

    facing = fleet.normal[rows] @ shared.sun
    np.maximum(facing, 0, out=facing)
    # cos(aoi) times ASHRAE's modifier is linear in cos(aoi).
    through = facing * (1 + b)
    through -= b
    np.maximum(through, 0, out=through)
    through *= shared.around_sun
    facing *= shared.around_sun
    for row, plane in enumerate(fleet.planes[rows]):
        if plane.horizon or plane.shading:
            access = performance_expected.sun_access(shared.sky, plane, shared.slot)
            through[row] *= access
            facing[row] *= access
    poa = facing
    if model.transposition == "haydavies":
        poa += fleet.view[rows] @ shared.diffuse
        through += fleet.view_through_glass[rows] @ shared.diffuse
    else:
        # Perez' band at the horizon can be negative, and the whole dome with it.
        for views, total in ((fleet.view, poa), (fleet.view_through_glass, through)):
            dome = views[rows, :2] @ shared.diffuse[:2]
            total += np.maximum(dome, 0, out=dome)
            total += views[rows, 2:] @ shared.diffuse[2:]

    poa *= shared.heating
    poa += shared.temp_over_25
    poa *= fleet.gamma_pdc[rows]
    poa += 1
    dc = through
    dc *= poa
    dc *= fleet.watts[rows]
    if end - begin > last - first:
        dc = np.add.reduceat(dc, fleet.first_plane[first:last] - begin, axis=0)
    dc *= _aging(shared, fleet.commissioned_s[first:last], model)
    return _inverter(dc, fleet.pac0[first:last], model)


def _aging(shared: Shared, commissioned_s: Floats, model: ExpectedModel) -> Singles:
    years = commissioned_s / performance_expected.SECONDS_PER_YEAR
    since = ((1 - model.degradation_per_year) ** -years).astype(np.float32)
    aged = shared.aged * since[:, None]
    np.minimum(aged, 1, out=aged)
    return aged


def _inverter(dc: Singles, pac0: Singles, model: ExpectedModel) -> Singles:
    """PVWatts' inverter (`pvlib.inverter.pvwatts`), multiplied out so that nothing divides by 0."""
    dc *= np.float32(model.inverter_efficiency) / pac0
    ac = dc * np.float32(-0.0162)
    ac += np.float32(0.9858)
    ac *= dc
    ac -= np.float32(0.0059)
    ac *= pac0 * np.float32(1 / ETA_REF)
    np.maximum(ac, 0, out=ac)
    np.minimum(ac, pac0, out=ac)
    return ac


def _single(*rows: Floats) -> Singles:
    return np.array(rows, dtype=np.float32)
