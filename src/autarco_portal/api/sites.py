"""`/api/v1/sites`: which sites may somebody see, what are they, and how are they now?"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import msgspec
from litestar import get
from litestar.params import QueryParameter

from autarco_portal.api.access import PROBLEMS, Key, known, seen
from autarco_portal.portal import Here
from autarco_portal.rights import Action, may
from autarco_portal.site import RoofPlane  # noqa: TC001 - msgspec looks at it
from autarco_portal.site_record import Address  # noqa: TC001 - msgspec looks at it
from autarco_portal.site_view import Silence, SiteView, Sums
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.site_record import SiteRecord

PAGE_MAX = 200

Text = Annotated[
    str, QueryParameter(name="q", description="In name, key, address, serials.", max_length=100)
]
NUMBER_MAX = 2**31 - 1
"""What a database takes as a site's number."""
After = Annotated[
    int, QueryParameter(description="From behind this number on.", ge=0, le=NUMBER_MAX)
]
Limit = Annotated[int, QueryParameter(description="Items of a page.", ge=1, le=PAGE_MAX)]


class SiteInverter(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter for as long as it hung there."""

    serial_number: str
    variant_code: str | None
    pac0: float
    """W."""
    installed_at: datetime
    uninstalled_at: datetime | None


class SiteItem(msgspec.Struct, frozen=True, kw_only=True):
    """A site in a list."""

    public_key: str
    number: int
    name: str
    city: str
    time_zone: str
    nominal_power: int
    """W."""
    commissioned_on: date | None


class SitePage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the sites, by number; `next` is the address of those behind them."""

    items: list[SiteItem]
    total: int
    next: str | None


class SiteDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A site without readings; the address only for whom it may be shown to."""

    public_key: str
    number: int
    name: str
    address: Address | None
    latitude: float | None
    longitude: float | None
    time_zone: str
    commissioned_on: date | None
    has_consumption_meter: bool
    has_battery: bool
    planes: list[RoofPlane]
    inverters: list[SiteInverter]
    updated_at: datetime


class InverterNow(msgspec.Struct, frozen=True, kw_only=True):
    """One inverter."""

    serial_number: str
    at: datetime | None
    ac_power: int
    """W."""
    energy_total_kwh: int
    grid_is_off: bool
    health: str
    error: str | None


class EnergyKwh(msgspec.Struct, frozen=True, kw_only=True):
    """Whole kWh."""

    today: int
    month: int
    to_date: int


class SiteNow(msgspec.Struct, frozen=True, kw_only=True):
    """A site now; powers in W."""

    today: date
    health: str
    pv_power: int
    load_power: int
    grid_power: int
    """Positive is import."""
    battery_power: int
    """Positive is charging."""
    battery_soc_pct: int | None
    pv: EnergyKwh
    consumption: EnergyKwh | None
    grid_import: EnergyKwh | None
    grid_export: EnergyKwh | None
    battery_charged: EnergyKwh | None
    battery_discharged: EnergyKwh | None
    inverters: list[InverterNow]


@get("/sites", sync_to_thread=True, summary="List sites", tags=["sites"], responses=PROBLEMS)
def list_sites(
    portal: Here, actor: Asking, text: Text = "", after: After = 0, limit: Limit = 50
) -> SitePage:
    """The sites that you may see, by number."""
    who = known(actor)
    found = portal.store.sites.visible(who, text=text, after=after, limit=limit + 1)
    shown = found[:limit]
    following = None
    if len(found) > limit:
        query = {"after": shown[-1].number, "limit": limit} | ({"q": text} if text else {})
        following = f"/api/v1/sites?{urlencode(query)}"
    return SitePage(
        items=[_item(record) for record in shown],
        total=portal.store.sites.count_visible(who, text=text),
        next=following,
    )


@get("/sites/{key:str}", sync_to_thread=True, summary="Describe a site", tags=["sites"],
     responses=PROBLEMS)  # fmt: skip
def describe_site(portal: Here, actor: Asking, key: Key) -> SiteDetail:
    """Place, roof planes and inverters."""
    who, record = seen(portal, actor, key)
    shows = may(who, Action.VIEW_CONTACT, record.access)
    if shows:
        portal.looked(who, record, "view_contact")
    return SiteDetail(
        public_key=record.public_key,
        number=record.number,
        name=record.name,
        address=record.address if shows else None,
        latitude=record.latitude if shows else None,
        longitude=record.longitude if shows else None,
        time_zone=record.time_zone,
        commissioned_on=record.commissioned_on,
        has_consumption_meter=record.has_consumption_meter,
        has_battery=record.has_battery,
        planes=list(record.planes),
        inverters=_inverters(record),
        updated_at=record.updated_at,
    )


@get("/sites/{key:str}/inverters", sync_to_thread=True, summary="List a site's inverters",
     tags=["inverters"], responses=PROBLEMS)  # fmt: skip
def list_inverters(portal: Here, actor: Asking, key: Key) -> list[SiteInverter]:
    """With those that were taken down."""
    _, record = seen(portal, actor, key)
    return _inverters(record)


@get("/sites/{key:str}/now", sync_to_thread=True, summary="A site now", tags=["sites"],
     responses=PROBLEMS)  # fmt: skip
def site_now(portal: Here, actor: Asking, key: Key) -> SiteNow:
    """Power, and energy of today, this month and ever."""
    who, record = seen(portal, actor, key)
    return _now(portal.sites.listed(record, portal.view(record, who.at)))


@get("/sites/{key:str}/silences", sync_to_thread=True, summary="Communication gaps of today",
     tags=["sites"], responses=PROBLEMS)  # fmt: skip
def site_silences(portal: Here, actor: Asking, key: Key) -> list[Silence]:
    """When nobody of the site was heard by daylight, in its local time."""
    who, record = seen(portal, actor, key)
    today = portal.view(record, who.at).today
    return list(portal.series(record, who.at, first=today, last=today, minutes=15).silent)


def _item(record: SiteRecord) -> SiteItem:
    return SiteItem(
        public_key=record.public_key,
        number=record.number,
        name=record.name,
        city=record.address.city,
        time_zone=record.time_zone,
        nominal_power=record.nominal_power,
        commissioned_on=record.commissioned_on,
    )


def _inverters(record: SiteRecord) -> list[SiteInverter]:
    return [
        SiteInverter(
            serial_number=one.serial_number,
            variant_code=one.variant_code,
            pac0=one.pac0,
            installed_at=one.installed_at,
            uninstalled_at=one.uninstalled_at,
        )
        for one in record.inverters
    ]


def _now(view: SiteView) -> SiteNow:
    def kwh(sums: Sums, *, is_measured: bool = True) -> EnergyKwh | None:
        if not is_measured:
            return None
        return EnergyKwh(today=sums.today, month=sums.month, to_date=sums.to_date)

    return SiteNow(
        today=view.today,
        health=view.health,
        pv_power=view.pv_now,
        load_power=view.consumption_now,
        grid_power=view.grid_now,
        battery_power=view.battery_now,
        battery_soc_pct=view.battery_soc if view.has_battery else None,
        pv=EnergyKwh(today=view.pv.today, month=view.pv.month, to_date=view.pv.to_date),
        consumption=kwh(view.consumption, is_measured=view.has_meter),
        grid_import=kwh(view.grid_import, is_measured=view.has_meter),
        grid_export=kwh(view.grid_export, is_measured=view.has_meter),
        battery_charged=kwh(view.battery_charged, is_measured=view.has_battery),
        battery_discharged=kwh(view.battery_discharged, is_measured=view.has_battery),
        inverters=[
            InverterNow(
                serial_number=one.serial_number,
                at=one.at,
                ac_power=one.power,
                energy_total_kwh=one.energy_total,
                grid_is_off=one.grid_is_off,
                health=one.health,
                error=one.error,
            )
            for one in view.inverters
        ],
    )


ROUTES = (list_sites, describe_site, list_inverters, site_now, site_silences)
