"""Who are a site's neighbours, and how does it compare with them?

What a site made is divided by what the model says it could have made; that index is compared with
the median index of like roofs nearby. Weather then cancels without a weather file, and orientation
nearly so. A site without enough neighbours is compared with the weather model instead.

Pure: values in, values out. Daily arrays are days x sites; NaN means "nobody knows" and stays NaN.
What to make of the comparison is the business of `detection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from autarco_portal.site import EARTH_RADIUS_KM

if TYPE_CHECKING:
    from autarco_portal.site import Site

MODEL_VERSION = "peers-1"

Floats: TypeAlias = npt.NDArray[np.floating]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.integer]

NOBODY = -1

# Pairs of 256 x 10,000 sites are 20 MB, cubes of 64 sites x 365 days x 20 peers 2 MB: the latter
# stays in a core's cache while it is sorted.
_SITES_PER_SEARCH = 256
_SITES_PER_SORT = 64


class PeerRules(msgspec.Struct, frozen=True, kw_only=True):
    """Who counts as a neighbour (reference 2.2, rule 4; the scales are our choice)."""

    radius_km: float = 15.0
    radius_max_km: float = 30.0
    """Used where fewer than `peers_min` are nearer."""
    peers_min: int = 5
    peers_aim: int = 20
    distance_scale_km: float = 15.0
    """A peer that far counts 1/e of one next door."""
    orientation_scale_deg: float = 30.0
    """A peer whose modules look that much elsewhere counts 1/e of one that looks the same way."""
    yield_low: float = 1.0
    """kWh/kWp; below it differences are compared, not quotients, which get noisy."""
    ratio_min: float = 0.01
    """Logarithms end here: a day without any energy is a fact, not minus infinity."""


class Neighbours(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The peers of each site, heaviest first; arrays sites x `peers_aim`, `NOBODY` fills up."""

    peer: npt.NDArray[np.int32]
    """Row number of the peer, or NOBODY."""
    distance_km: npt.NDArray[np.float32]
    azimuth_diff: npt.NDArray[np.float32]
    """Degrees, 0 to 180."""
    orientation_diff: npt.NDArray[np.float32]
    """Angle between the planes' normals in degrees: on flat roofs the azimuth says nothing."""
    weight: npt.NDArray[np.float32]
    """1 next door and looking the same way, towards 0 elsewhere. It decides who is a peer; among
    peers the median is plain, so that no single one can pull it."""

    @property
    def count(self) -> Ints:
        """Peers per site."""
        count: Ints = np.count_nonzero(self.peer != NOBODY, axis=1)
        return count


class Comparison(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Sites against their peers; arrays days x sites unless said otherwise."""

    n_peers: npt.NDArray[np.int16]
    """Peers with a value that day."""
    peer_yield: Floats
    """kWh/kWp; median of the peers. Of the weather model where there are no peers."""
    index_own: Floats
    index_peer_median: Floats
    expected_kwh: Floats
    """What the site makes if it does as its peers do."""
    ratio: Floats
    log_residual: Floats
    """ln(ratio); at low peer yield the difference in kWh/kWp over `yield_low` instead."""
    by_peers: Bools
    """Per site: compared with peers, else with the weather model."""
    model_version: str = MODEL_VERSION

    @property
    def method(self) -> list[str]:
        """Per site: `peers` or `weather`."""
        return ["peers" if by_peers else "weather" for by_peers in self.by_peers]


def orientation(site: Site) -> tuple[float, float]:
    """Returns (surface_tilt, surface_azimuth) in degrees of all planes of a site together.

    The mean of the planes' normals, each as long as its power: an east/west roof looks up, and its
    peers are other east/west roofs and flat ones, which have about the same day.
    """
    weights = np.array([plane.pdc0 for plane in site.planes])
    elevations = 90 - np.array([plane.surface_tilt for plane in site.planes])
    azimuths = np.array([plane.surface_azimuth for plane in site.planes])
    north, east, up = weights @ _unit_vectors(elevations, azimuths)
    tilt = float(np.degrees(np.arctan2(np.hypot(north, east), up)))
    return tilt, float(np.degrees(np.arctan2(east, north)) % 360)


def neighbours(
    latitude: Floats,
    longitude: Floats,
    surface_tilt: Floats,
    surface_azimuth: Floats,
    rules: PeerRules | None = None,
) -> Neighbours:
    """Finds the peers of each site; all arguments are degrees, one per site.

    Peers lie within `radius_km`, or within `radius_max_km` where that holds fewer than `peers_min`;
    of more than `peers_aim` the heaviest stay. A site is never its own peer. Compares every site
    with every other, which is a job for when sites come and go: 10,000 of them take seconds.
    """
    rules = rules or PeerRules()
    places = _unit_vectors(np.asarray(latitude, float), np.asarray(longitude, float))
    azimuth = np.asarray(surface_azimuth, float)
    normals = _unit_vectors(90 - np.asarray(surface_tilt, float), azimuth)
    shape = (len(places), rules.peers_aim)
    found = Neighbours(
        peer=np.full(shape, NOBODY, np.int32),
        distance_km=np.full(shape, np.nan, np.float32),
        azimuth_diff=np.full(shape, np.nan, np.float32),
        orientation_diff=np.full(shape, np.nan, np.float32),
        weight=np.zeros(shape, np.float32),
    )
    cosine_max = np.cos(rules.radius_max_km / EARTH_RADIUS_KM)
    for first in range(0, len(places), _SITES_PER_SEARCH):
        rows, peers = np.nonzero(places[first : first + _SITES_PER_SEARCH] @ places.T >= cosine_max)
        rows += first
        others = rows != peers
        rows, peers = rows[others], peers[others]
        chord = np.linalg.norm(places[rows] - places[peers], axis=1)
        distance = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1))
        near = distance <= rules.radius_km
        lonely = np.bincount(rows[near], minlength=len(places)) < rules.peers_min
        kept = near | lonely[rows]
        rows, peers, distance = rows[kept], peers[kept], distance[kept]
        cosine = np.clip(np.einsum("ij,ij->i", normals[rows], normals[peers]), -1, 1)
        angle = np.degrees(np.arccos(cosine))
        weight = np.exp(
            -distance / rules.distance_scale_km - (angle / rules.orientation_scale_deg) ** 2
        )
        order = np.lexsort((distance, -weight, rows))
        ranks = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
        order = order[ranks < rules.peers_aim]
        at = rows[order], ranks[ranks < rules.peers_aim]
        turn = np.abs(azimuth[rows[order]] - azimuth[peers[order]]) % 360
        found.peer[at] = peers[order]
        found.distance_km[at] = distance[order]
        found.azimuth_diff[at] = np.minimum(turn, 360 - turn)
        found.orientation_diff[at] = angle[order]
        found.weight[at] = weight[order]
    return found


def compare(
    energy_kwh: Floats,
    model_kwh: Floats,
    pdc0_kw: Floats,
    peers: Neighbours,
    *,
    excluded: Bools | None = None,
    weather_kwh: Floats | None = None,
    rules: PeerRules | None = None,
) -> Comparison:
    """Compares each site with its peers, day by day.

    `energy_kwh` (days x sites) is NaN where a day's energy is not known; `model_kwh` is what a
    model without the site's faults gives, best the clear sky's. `pdc0_kw` is per site. `excluded`
    (days x sites) are sites with an open incident: they are nobody's peers, and are compared
    themselves. `weather_kwh`, expected with the day's weather, stands in for the peers of sites
    with fewer than `peers_min`; without it those have no comparison. On a day with fewer than
    `peers_min` values of peers a site has none either.
    """
    rules = rules or PeerRules()
    index = _quotient(energy_kwh, model_kwh)
    specific = energy_kwh / pdc0_kw
    hidden = np.isnan(index) if excluded is None else np.isnan(index) | excluded
    peer_index, n_peers = median_of_peers(np.where(hidden, np.nan, index), peers)
    peer_yield, _ = median_of_peers(np.where(hidden, np.nan, specific), peers)
    by_peers = peers.count >= rules.peers_min
    few = n_peers < rules.peers_min
    peer_index[few] = peer_yield[few] = np.nan
    expected = peer_index * model_kwh
    weather = np.full_like(expected, np.nan) if weather_kwh is None else weather_kwh
    expected = np.where(by_peers, expected, weather)
    peer_yield = np.where(by_peers, peer_yield, weather / pdc0_kw)
    ratio = _quotient(energy_kwh, expected)
    residual = np.where(
        peer_yield < rules.yield_low,
        (energy_kwh - expected) / pdc0_kw / rules.yield_low,
        np.log(np.maximum(ratio, rules.ratio_min)),
    )
    return Comparison(
        n_peers=n_peers,
        peer_yield=peer_yield,
        index_own=index,
        index_peer_median=peer_index,
        expected_kwh=expected,
        ratio=ratio,
        log_residual=residual,
        by_peers=by_peers,
    )


def median_of_peers(
    values: Floats, peers: Neighbours
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Returns the median over each site's peers, and of how many, both days x sites.

    NaN values do not count; without any the median is NaN.
    """
    days, sites = values.shape
    # One row per site, and one of nobody's at the end, where NOBODY points.
    by_site = np.full((sites + 1, days), np.nan, np.float32)
    by_site[:sites] = values.T
    median = np.empty((sites, days), np.float32)
    count = np.empty((sites, days), np.int16)
    for first in range(0, sites, _SITES_PER_SORT):
        block = slice(first, first + _SITES_PER_SORT)
        cube = np.ascontiguousarray(by_site[peers.peer[block]].transpose(0, 2, 1))
        median[block], count[block] = median_of_last_axis(cube)
    return np.ascontiguousarray(median.T), np.ascontiguousarray(count.T)


def share_of_peers(flags: Bools, peers: Neighbours, within_km: float) -> Floats:
    """Returns, per site, which share of its peers within that distance has the flag; 0 if none."""
    near = (peers.peer != NOBODY) & (peers.distance_km <= within_km)
    flagged = np.count_nonzero(near & flags[peers.peer], axis=1)
    share: Floats = flagged / np.maximum(np.count_nonzero(near, axis=1), 1)
    return share


def median_of_last_axis(cube: npt.NDArray[np.float32]) -> tuple[Floats, Ints]:
    """Returns median and count of the values that are not NaN; sorts `cube` in place.

    numpy's nanmedian takes the same slowly, row by row.
    """
    cube.sort(axis=-1)
    count = cube.shape[-1] - np.count_nonzero(np.isnan(cube), axis=-1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, cube.shape[-1] - 1)
    lower = np.take_along_axis(cube, low[..., None], axis=-1)[..., 0]
    upper = np.take_along_axis(cube, high[..., None], axis=-1)[..., 0]
    return np.where(count > 0, (lower + upper) / 2, np.nan), count


def _quotient(over: Floats, under: Floats) -> Floats:
    """Over nothing there is no quotient."""
    quotient: Floats = np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)
    return quotient


def _unit_vectors(elevation: Floats, azimuth: Floats) -> npt.NDArray[np.float64]:
    """Degrees in, rows of (towards azimuth 0, towards azimuth 90, up) out."""
    up, around = np.radians(elevation), np.radians(azimuth)
    return np.column_stack((np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)))
