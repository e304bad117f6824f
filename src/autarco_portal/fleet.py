"""Which sites and inverters does a day have, and what belongs to what?

Arrays and rows in place of structs, so that rules can look at a whole fleet at once: every array of
the analysis has one column or row per site of `Fleet.sites`, or per inverter of `units`.

Pure: values in, values out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal import peers
from autarco_portal.site import RoofPlane, Site, SiteError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from autarco_portal.peers import Floats, Neighbours, PeerRules
    from autarco_portal.site import Inverter

ALIKE_DEG = 5.0
"""Planes that differ by less look one way."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Sites, with what all of them have as arrays."""

    sites: tuple[Site, ...]
    time_zone: str
    pdc0_kw: Floats
    latitude: Floats
    longitude: Floats
    neighbours: Neighbours

    @property
    def site_ids(self) -> list[str]:
        """In the order of all arrays."""
        return [site.site_id for site in self.sites]


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter on a day it hung there."""

    site: int
    """Row of its site."""
    serial_number: str
    pac0: float
    pdc0: float
    """W of the modules it has."""
    tracker_planes: tuple[RoofPlane | None, ...]
    tracker_pdc0: tuple[float, ...]
    """W per tracker; 0 for one without modules. Empty where nobody knows what feeds which."""

    @property
    def trackers_look_alike(self) -> bool:
        """Whether all connected trackers see the same sun."""
        planes = [plane for plane in self.tracker_planes if plane is not None]
        return all(_look_alike(planes[0], plane) for plane in planes)


def fleet(sites: Sequence[Site], rules: PeerRules | None = None) -> Fleet:
    """Prepares sites for analysis; raises SiteError where they cannot be analysed together."""
    if not sites:
        raise SiteError("there are no sites to analyse")
    twice = [site_id for site_id, n in Counter(site.site_id for site in sites).items() if n > 1]
    if twice:
        raise SiteError(f"two sites are called {twice[0]}")
    zones = sorted({site.time_zone for site in sites})
    if len(zones) > 1:
        raise SiteError(
            f"days of sites in several time zones ({', '.join(zones)}) do not end together; "
            "analyse them apart"
        )
    latitude = np.array([site.latitude for site in sites])
    longitude = np.array([site.longitude for site in sites])
    facing = np.array([peers.orientation(site) for site in sites])
    return Fleet(
        sites=tuple(sites),
        time_zone=zones[0],
        pdc0_kw=np.array([site.pdc0 for site in sites]) / 1_000,
        latitude=latitude,
        longitude=longitude,
        neighbours=peers.neighbours(latitude, longitude, facing[:, 0], facing[:, 1], rules),
    )


def units(sites: Sequence[Site], begins: datetime, ends: datetime) -> list[Unit]:
    """Returns the inverters that hung there some time between two moments, sorted by number.

    A plane that feeds several trackers is shared out evenly; an inverter of which nobody knows the
    planes gets its share, by rating, of what the others leave. Raises SiteError if one inverter
    hangs at two sites.
    """
    found: dict[str, Unit] = {}
    for row, site in enumerate(sites):
        for unit in _units_of(row, site, begins, ends):
            if unit.serial_number in found:
                other = sites[found[unit.serial_number].site].site_id
                raise SiteError(
                    f"inverter {unit.serial_number} is at sites {other} and {site.site_id} at once"
                )
            found[unit.serial_number] = unit
    return [found[serial_number] for serial_number in sorted(found)]


def _units_of(row: int, site: Site, begins: datetime, ends: datetime) -> list[Unit]:
    present = [
        inverter
        for inverter in site.inverters
        if inverter.installed_at < ends
        and (inverter.uninstalled_at is None or inverter.uninstalled_at > begins)
    ]
    planes = {plane.name: plane for plane in site.planes}
    fed = Counter(name for one in present for name in one.mppt_planes if name is not None)
    left = sum(plane.pdc0 for plane in site.planes if not fed[plane.name])
    unknown = sum(one.pac0 for one in present if not _knows_planes(one))
    result = []
    for one in present:
        trackers = tuple(planes[name] if name is not None else None for name in one.mppt_planes)
        watts = tuple(plane.pdc0 / fed[plane.name] if plane else 0.0 for plane in trackers)
        pdc0 = sum(watts) if _knows_planes(one) else left * one.pac0 / unknown
        result.append(
            Unit(
                site=row,
                serial_number=one.serial_number,
                pac0=one.pac0,
                # Where the planes are all spoken for, its own rating is the best guess.
                pdc0=pdc0 or one.pac0,
                tracker_planes=trackers,
                tracker_pdc0=watts,
            )
        )
    return result


def _knows_planes(inverter: Inverter) -> bool:
    return any(name is not None for name in inverter.mppt_planes)


def _look_alike(one: RoofPlane, other: RoofPlane) -> bool:
    turn = abs(one.surface_azimuth - other.surface_azimuth) % 360
    return (
        min(turn, 360 - turn) <= ALIKE_DEG
        and abs(one.surface_tilt - other.surface_tilt) <= ALIKE_DEG
    )
