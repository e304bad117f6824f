"""Which addresses do clients of the old portal ask, and what may go wrong there?

The public client `autarco` and Home Assistant poll six of them; the aliases cover every other
client that was found. Handlers look up, ask `rights` and hand on to `compat_view`, which knows the
shapes.

A wrong or disabled account is 401, a site that is somebody else's or nobody's is 404, and trouble
here is 503: Home Assistant asks people for a new password after a 401. Never HTML, never a
redirect, never 204.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Router, get
from litestar.exceptions import NotAuthorizedException, NotFoundException, ValidationException
from litestar.params import PathParameter, QueryParameter

from autarco_portal import compat_view, rate_limit, weather_sun
from autarco_portal.api.access import seen
from autarco_portal.compat_view import ListedSite, RangeError, days_of, parse_day
from autarco_portal.counter import instant
from autarco_portal.people import Actor, OrganisationKind, holds
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import Action, may
from autarco_portal.site_record import seen_by
from autarco_portal.web_etag import ETags
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from autarco_portal.site_record import SiteRecord
    from autarco_portal.site_view import SiteView

LISTED_MAX = 1_000
"""Sites of one account; a page has 30. Partners with more use /api/v1."""
RATE = rate_limit.Rate(per_minute=600, burst=300)
"""Of one client. Home Assistant asks seven times per site in five minutes."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="portal", charset="UTF-8"'}
MINUTES = (15, 30, 60)

Key = Annotated[str, PathParameter(description="The site's public key.", max_length=64)]
Serial = Annotated[str, PathParameter(description="An inverter's serial number.", max_length=64)]
Page = Annotated[int, QueryParameter(ge=1, le=LISTED_MAX)]
Range_ = Annotated[
    str, QueryParameter(name="r", description="day, week, month, year or total.", max_length=64)
]
Day = Annotated[
    str | None, QueryParameter(name="d", description="A day within, as 20261129.", max_length=64)
]
Minutes = Annotated[int, QueryParameter(name="i", description="Minutes of a part: 15, 30 or 60.")]


def router(clock: Callable[[], float], rate: rate_limit.Rate = RATE) -> Router:
    """Returns all routes of the old API; `clock` gives seconds, to count requests by."""
    return Router(
        "/api",
        route_handlers=[
            sites,
            site,
            kpis_energy,
            kpis_power,
            power,
            energy,
            inverter_power,
            inverter_energy,
            consumption_power,
            consumption_energy,
            battery_power,
            battery_energy,
        ],
        guards=[rate_limit.guard(rate, clock)],
        middleware=[ETags],
        tags=["old portal"],
        security=[{"basic": []}],
    )


def _at(*paths: str) -> list[str]:
    return [f"/{root}{path}" for path in paths for root in ("site", "m1/site")]


@get(_at(""), sync_to_thread=True, summary="List the sites of an account")
def sites(
    request: Request[Any, Any, Any],
    portal: Here,
    actor: Asking,
    page: Page = 1,
) -> dict[str, Any]:
    """Pages of 30; clients read the first."""
    who = _known(actor)
    keys = portal.store.sites.visible_keys(who)[:LISTED_MAX]
    shown = portal.store.sites.several(compat_view.on_page(keys, page))
    url = str(request.url.with_replacements(query="")).rstrip("?/")
    return compat_view.site_list(
        [_listed(portal, record, who) for record in shown], count=len(keys), page=page, url=url
    )


@get(_at("/{key:str}"), sync_to_thread=True, summary="Describe a site")
def site(portal: Here, actor: Asking, key: Key) -> dict[str, Any]:
    """Address, roof planes and inverters."""
    who, record = _site(portal, actor, key)
    view = portal.view(record, who.at)
    return compat_view.site_detail(
        record,
        retailer=_retailer(portal, record, who.at),
        has_meter=record.has_consumption_meter or view.has_meter,
        has_battery=record.has_battery or view.has_battery,
        shows_address=may(who, Action.VIEW_CONTACT, record.access),
    )


@get(_at("/{key:str}/kpis/energy"), sync_to_thread=True, summary="Energy so far")
def kpis_energy(portal: Here, actor: Asking, key: Key) -> dict[str, Any]:
    """Whole kWh of today, this month and ever."""
    _, record, view = _view(portal, actor, key)
    return compat_view.kpis_energy(view, is_daytime=_is_daytime(record, view.now))


@get(_at("/{key:str}/kpis/power"), sync_to_thread=True, summary="Power now")
def kpis_power(portal: Here, actor: Asking, key: Key) -> dict[str, Any]:
    """Watts."""
    _, record, view = _view(portal, actor, key)
    return compat_view.kpis_power(view, is_daytime=_is_daytime(record, view.now))


@get(_at("/{key:str}/power"), sync_to_thread=True, summary="Power by quarter of an hour")
def power(
    portal: Here, actor: Asking, key: Key, range_: Range_ = "day", day: Day = None
) -> dict[str, Any]:
    """Each inverter now, and a day's or a week's curve of each."""
    who, record, view = _view(portal, actor, key)
    days = _days(record, who.at, range_, day, allowed=("day", "week"))
    found = portal.series(
        record, who.at, first=days[0], last=days[-1] - timedelta(days=1), minutes=15
    )
    listed = [one.serial_number for one in view.inverters]
    return compat_view.power(
        view,
        {serial: found.power.get(serial, {}) for serial in listed},
        found.silent,
        changed_at=record.updated_at,
    )


@get(_at("/{key:str}/energy"), sync_to_thread=True, summary="Energy by day, month or year")
def energy(
    portal: Here, actor: Asking, key: Key, range_: Range_ = "month", day: Day = None
) -> dict[str, Any]:
    """A week and a month by day, a year by month, all by year; each part by its first day."""
    who, record, view = _view(portal, actor, key)
    days = _days(record, who.at, range_, day)
    found = portal.energy(record, who.at, days)
    return compat_view.energy(
        view, {one.serial_number: found.get(one.serial_number, {}) for one in view.inverters}
    )


@get(
    _at("/{key:str}/inverter/{serial:str}/power"),
    sync_to_thread=True,
    summary="Power of one inverter",
)
def inverter_power(
    portal: Here,
    actor: Asking,
    key: Key,
    serial: Serial,
    range_: Range_ = "day",
    day: Day = None,
    minutes: Minutes = 15,
) -> dict[str, Any]:
    """W by site-local wall-clock time."""
    return {"power": _power(portal, actor, key, "ac_power", range_, day, minutes, serial=serial)}


@get(
    _at("/{key:str}/inverter/{serial:str}/energy"),
    sync_to_thread=True,
    summary="Energy of one inverter",
)
def inverter_energy(
    portal: Here,
    actor: Asking,
    key: Key,
    serial: Serial,
    range_: Range_ = "week",
    day: Day = None,
) -> dict[str, Any]:
    """KWh by date."""
    who, record = _site(portal, actor, key)
    found = portal.energy(record, who.at, _days(record, who.at, range_, day))
    if serial not in found:
        raise NotFoundException("no such inverter")
    return {"energy": compat_view.by_day(found[serial])}


@get(_at("/{key:str}/consumption/power"), sync_to_thread=True, summary="Power at the grid")
def consumption_power(
    portal: Here,
    actor: Asking,
    key: Key,
    range_: Range_ = "day",
    day: Day = None,
    minutes: Minutes = 15,
) -> dict[str, Any]:
    """W by site-local wall-clock time; import is positive, export negative."""
    return {"power": _power(portal, actor, key, "grid_power", range_, day, minutes)}


@get(_at("/{key:str}/consumption/energy"), sync_to_thread=True, summary="Energy from the grid")
def consumption_energy(
    portal: Here, actor: Asking, key: Key, range_: Range_ = "week", day: Day = None
) -> dict[str, Any]:
    """KWh by date; import is positive, export negative."""
    return {"energy": _balance(portal, actor, key, "import_wh", "export_wh", range_, day)}


@get(_at("/{key:str}/batterypack/power"), sync_to_thread=True, summary="Power of the battery")
def battery_power(
    portal: Here,
    actor: Asking,
    key: Key,
    range_: Range_ = "day",
    day: Day = None,
    minutes: Minutes = 15,
) -> dict[str, Any]:
    """W by site-local wall-clock time; charging is positive."""
    return {"power": _power(portal, actor, key, "battery_power", range_, day, minutes)}


@get(_at("/{key:str}/batterypack/energy"), sync_to_thread=True, summary="Energy of the battery")
def battery_energy(
    portal: Here, actor: Asking, key: Key, range_: Range_ = "week", day: Day = None
) -> dict[str, Any]:
    """KWh by date; charging is positive."""
    return {"energy": _balance(portal, actor, key, "charged_wh", "discharged_wh", range_, day)}


def _power(
    portal: Portal,
    actor: Actor | None,
    key: str,
    column: str,
    range_: str,
    day: str | None,
    minutes: int,
    *,
    serial: str | None = None,
) -> dict[str, int | None]:
    who, record = _site(portal, actor, key)
    if minutes not in MINUTES:
        raise ValidationException(f"i is 15, 30 or 60, not {minutes}")
    if serial is not None and serial not in {one.serial_number for one in record.inverters}:
        raise NotFoundException("no such inverter")
    days = _days(record, who.at, range_, day, allowed=("day", "week"))
    return compat_view.by_clock(
        portal.power(
            record,
            who.at,
            column,
            first=days[0],
            last=days[-1] - timedelta(days=1),
            minutes=minutes,
            serial=serial,
        )
    )


def _balance(
    portal: Portal,
    actor: Actor | None,
    key: str,
    plus: str,
    minus: str,
    range_: str,
    day: str | None,
) -> dict[str, int | None]:
    who, record = _site(portal, actor, key)
    days = _days(record, who.at, range_, day)
    ins = portal.flows(record, who.at, plus, days)
    outs = portal.flows(record, who.at, minus, days)
    both = {part: (value, outs.get(part)) for part, value in ins.items()}
    return compat_view.by_day(
        {
            part: None if a is None and b is None else round(((a or 0) - (b or 0)) / 1_000)
            for part, (a, b) in both.items()
        }
    )


def _known(actor: Actor | None) -> Actor:
    if actor is None:
        raise NotAuthorizedException("the name, password or token is wrong", headers=CHALLENGE)
    return actor


def _site(portal: Portal, actor: Actor | None, key: str) -> tuple[Actor, SiteRecord]:
    return seen(portal, _known(actor), key)


def _view(portal: Portal, actor: Actor | None, key: str) -> tuple[Actor, SiteRecord, SiteView]:
    who, record = _site(portal, actor, key)
    return who, record, portal.sites.listed(record, portal.view(record, who.at))


def _days(
    record: SiteRecord,
    now: datetime,
    range_: str,
    day: str | None,
    *,
    allowed: tuple[str, ...] = ("day", "week", "month", "year", "total"),
) -> list[Any]:
    today = now.astimezone(ZoneInfo(record.time_zone)).date()
    if range_ not in allowed:
        raise ValidationException(f"r is {', '.join(allowed)}, not {range_[:20]!r}")
    try:
        first = min(
            (record.span(one)[0].date() for one in record.inverters),
            default=record.created_at.date(),
        )
        return days_of(range_, parse_day(day, today), first)
    except RangeError as error:
        raise ValidationException(str(error)) from error


def _listed(portal: Portal, record: SiteRecord, who: Actor) -> ListedSite:
    shows_contact = may(who, Action.VIEW_CONTACT, record.access)
    if not shows_contact:
        hidden = msgspec.structs.replace(record.address, street="-", postcode="-")
        record = msgspec.structs.replace(record, address=hidden)
    seen = seen_by(who, record)
    return ListedSite(
        record=record,
        retailer=_retailer(portal, record, who.at),
        health=portal.view(seen, who.at).health,
    )


def _retailer(portal: Portal, record: SiteRecord, now: datetime) -> str:
    names = portal.organisation_names()
    for kind in (OrganisationKind.RESELLER, OrganisationKind.INSTALLER):
        for role in record.roles:
            if role.kind is kind and holds(role, now):
                return names.get(role.organisation_id, "")
    return ""


def _is_daytime(record: SiteRecord, now: datetime) -> bool:
    return bool(weather_sun.elevation(record.latitude, record.longitude, instant(now)) > 0)
