"""What is a site? Where it is, its roof planes, and which inverter was there from when to when.

Plain values, without a store: whoever keeps them hands them to the rules. Names are pvlib's, units
SI; azimuths count clockwise from north, 180 is south.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from zoneinfo import ZoneInfo

import msgspec

MONTHS, HOURS = 12, 24
EARTH_RADIUS_KM = 6_371.0
"""Mean radius; distances of neighbours and stations are as if on a sphere."""


class SiteError(ValueError):
    """A site cannot be as it is described; the message is one sentence."""


class RoofPlane(msgspec.Struct, frozen=True, kw_only=True):
    """Modules that look one way.

    `horizon` is what stands in front of the sky as (azimuth, elevation) in degrees, in rising
    azimuth, straight lines between. `shading` is the share of the sun's beam that nearby objects
    take, 0 to 1, by month and hour of the mean solar day: 12 rows of 24.
    """

    name: str
    surface_tilt: float
    surface_azimuth: float
    modules: int
    pdc0: float
    """W of all modules together at standard test conditions."""
    gamma_pdc: float = -0.0035
    """1/K."""
    horizon: tuple[tuple[float, float], ...] = ()
    shading: tuple[tuple[float, ...], ...] = ()
    module_type: str | None = None

    def __post_init__(self) -> None:
        """Raises SiteError for what no roof can be."""
        if not 0 <= self.surface_tilt <= 90:
            raise SiteError(f"plane {self.name}: surface_tilt is 0 to 90, not {self.surface_tilt}")
        if not 0 <= self.surface_azimuth < 360:
            raise SiteError(
                f"plane {self.name}: surface_azimuth is 0 to 360 (180 is south), not "
                f"{self.surface_azimuth}"
            )
        if self.modules < 1 or self.pdc0 <= 0:
            raise SiteError(f"plane {self.name}: no modules")
        azimuths = [azimuth for azimuth, _ in self.horizon]
        if azimuths != sorted(set(azimuths)):
            raise SiteError(f"plane {self.name}: the horizon's azimuths do not rise")
        is_table = len(self.shading) == MONTHS and all(len(row) == HOURS for row in self.shading)
        if self.shading and not is_table:
            raise SiteError(f"plane {self.name}: shading has 12 rows (months) of 24 hours")


class Inverter(msgspec.Struct, frozen=True, kw_only=True):
    """A device, for as long as it hung there: its counter is good for that time only."""

    serial_number: str
    pac0: float
    """W of AC that it can give."""
    installed_at: datetime
    """UTC."""
    uninstalled_at: datetime | None = None
    mppt_planes: tuple[str | None, ...] = ()
    """Which plane feeds which MPP tracker; none for one that is not connected."""
    variant_code: str | None = None
    """The maker's name of the model."""
    logger_sn: int | None = None
    """The data stick that reports it, where known."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A household's system."""

    site_id: str
    latitude: float
    longitude: float
    altitude: float = 0.0
    time_zone: str = "Europe/Amsterdam"
    commissioned_on: date
    planes: tuple[RoofPlane, ...]
    inverters: tuple[Inverter, ...] = ()

    def __post_init__(self) -> None:
        """Raises SiteError for what no site can be."""
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise SiteError(f"site {self.site_id}: not a place on earth")
        if not self.planes:
            raise SiteError(f"site {self.site_id}: no roof plane")
        names = [plane.name for plane in self.planes]
        if len(set(names)) < len(names):
            raise SiteError(f"site {self.site_id}: two planes of one name")
        for inverter in self.inverters:
            unknown = {name for name in inverter.mppt_planes if name is not None} - set(names)
            if unknown:
                raise SiteError(f"site {self.site_id}: no plane named {sorted(unknown)}")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise SiteError(f"site {self.site_id}: no time zone {self.time_zone!r}") from error

    @property
    def pdc0(self) -> float:
        """W of all planes at standard test conditions."""
        return sum(plane.pdc0 for plane in self.planes)

    @property
    def pac0(self) -> float:
        """W of AC that the inverters there today can give; without any, of the planes."""
        present = [inverter.pac0 for inverter in self.inverters if inverter.uninstalled_at is None]
        return sum(present) or self.pdc0
