"""What does the portal keep of a site besides what the rules compute with (`site.Site`)?

Its name and address, its numbers for API clients, who owns it and who does what for it. Plain
values; a site that is being set up may still lack roof planes and a day of commissioning, and is no
`Site` until it has them.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from autarco_portal.people import Grant, SiteOwner, SiteRole, Source, SourceKind, check_text
from autarco_portal.rights import SiteAccess, visible_from
from autarco_portal.site import Inverter, RoofPlane, Site, SiteError

if TYPE_CHECKING:
    from autarco_portal.people import Actor

_PUBLIC_KEY = re.compile(r"[a-z0-9]{8}")
_COUNTRY = re.compile(r"[A-Z]{2}")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a system hangs: personal data."""

    street: str
    """With the number."""
    postcode: str
    city: str
    country: str = "NL"
    """Two letters, ISO 3166."""

    def __post_init__(self) -> None:
        """Raises SiteError for a country that is no code, PeopleError for impossible text."""
        for name in ("street", "postcode", "city"):
            check_text(name, getattr(self, name))
        if not _COUNTRY.fullmatch(self.country):
            raise SiteError(f"country: expected two capital letters, got {self.country!r}")


class NewSite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site to be made: the content of a file for `autarco-portal site import`."""

    name: str
    address: Address
    latitude: float
    longitude: float
    altitude: float = 0.0
    time_zone: str = "Europe/Amsterdam"
    commissioned_on: date | None = None
    planes: tuple[RoofPlane, ...] = ()
    inverters: tuple[Inverter, ...] = ()
    roles: tuple[SiteRole, ...] = ()
    owners: tuple[SiteOwner, ...] = ()
    has_consumption_meter: bool = False
    has_battery: bool = False
    source: Source = Source(kind=SourceKind.PARTNER)
    """Who gave the address."""
    public_key: str | None = None
    """By default drawn at random; given when a site moves here from elsewhere."""

    def __post_init__(self) -> None:
        """Raises SiteError for what no site can be."""
        check_text("name of a site", self.name)
        if self.public_key is not None:
            check_public_key(self.public_key)
        check_site(self)


class SiteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A site as the portal keeps it."""

    number: int
    """Stable for ever: API clients build their identifiers from it."""
    public_key: str
    """`Site.site_id`: eight random letters and digits; names the site in URLs and logs."""
    name: str
    address: Address
    address_sources: dict[str, Source] = {}
    latitude: float
    longitude: float
    altitude: float
    """In m."""
    time_zone: str
    commissioned_on: date | None
    planes: tuple[RoofPlane, ...]
    inverters: tuple[Inverter, ...]
    """With those that are gone."""
    roles: tuple[SiteRole, ...]
    owners: tuple[SiteOwner, ...]
    grants: tuple[Grant, ...]
    has_consumption_meter: bool
    has_battery: bool
    restricted_at: datetime | None = None
    """Since when the owner wants the data kept but not used."""
    created_at: datetime
    updated_at: datetime
    seen_from: datetime | None = None
    """Since when whoever looks may see what it measured, None: since ever. Never stored: `seen_by`
    says it, and everything that reads measurements of a record looks at it."""

    def span(self, one: Inverter) -> tuple[datetime, datetime | None]:
        """Returns from when until when what an inverter measured is this site's, and to be seen."""
        begin = one.installed_at
        return max(begin, self.seen_from or begin), one.uninstalled_at

    @property
    def seen_from_day(self) -> date | None:
        """The first local day that may be seen whole; what is known by day is shown from it on."""
        if self.seen_from is None:
            return None
        return whole_day_from(self.seen_from, self.time_zone)

    @property
    def is_complete(self) -> bool:
        """Whether the rules can compute with it: planes and commissioning are known."""
        return bool(self.planes) and self.commissioned_on is not None

    @property
    def site(self) -> Site:
        """What the rules compute with; raises SiteError for a site that is being set up."""
        if self.commissioned_on is None:
            raise SiteError(f"site {self.public_key}: nobody says since when it is there")
        return Site(
            site_id=self.public_key,
            latitude=self.latitude,
            longitude=self.longitude,
            altitude=self.altitude,
            time_zone=self.time_zone,
            commissioned_on=self.commissioned_on,
            planes=self.planes,
            inverters=self.inverters,
        )

    @property
    def access(self) -> SiteAccess:
        """Who stands how to it: what `rights.may` looks at."""
        return SiteAccess(
            public_key=self.public_key,
            owners=self.owners,
            roles=self.roles,
            grants=self.grants,
            is_restricted=self.restricted_at is not None,
        )

    @property
    def nominal_power(self) -> int:
        """W of all planes at standard test conditions."""
        return round(sum(plane.pdc0 for plane in self.planes))


def seen_by(actor: Actor, record: SiteRecord) -> SiteRecord:
    """Returns a site as somebody may see it: with `seen_from`, without inverters gone before."""
    since = visible_from(actor, record.access)
    if since is None:
        return record
    return msgspec.structs.replace(
        record,
        seen_from=since,
        inverters=tuple(
            one
            for one in record.inverters
            if one.uninstalled_at is None or one.uninstalled_at > since
        ),
    )


def whole_day_from(at: datetime, time_zone: str) -> date:
    """Returns the first local day that does not begin before a moment."""
    zone = ZoneInfo(time_zone)
    day = at.astimezone(zone).date()
    return day if datetime.combine(day, time(), zone) >= at else day + timedelta(days=1)


def check_public_key(public_key: str) -> None:
    """Raises SiteError for what cannot name a site."""
    if not _PUBLIC_KEY.fullmatch(public_key):
        raise SiteError(f"public key: expected 8 of a to z and 0 to 9, got {public_key!r}")


def check_site(site: NewSite | SiteRecord) -> None:
    """Raises SiteError for what `Site` refuses, also in a site that still lacks parts."""
    Site(
        site_id=site.name,
        latitude=site.latitude,
        longitude=site.longitude,
        altitude=site.altitude,
        time_zone=site.time_zone,
        commissioned_on=site.commissioned_on or date.min,
        planes=site.planes or (_NO_PLANE,),
        inverters=site.inverters,
    )


_NO_PLANE = RoofPlane(name="", surface_tilt=0, surface_azimuth=180, modules=1, pdc0=1)
"""Stands in where none is known yet, so that the rest can be checked."""
