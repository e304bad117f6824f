"""The start page: which sites may somebody see, how are they, and which match what is searched?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import Response, get
from litestar.params import QueryParameter

from autarco_portal.live_fleet import NotReady
from autarco_portal.pages import models
from autarco_portal.pages.board import NOT_HEARD, Board, OnBoard, SiteNow, since
from autarco_portal.pages.visitor import Visiting, show
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import PORTAL, Action, may
from autarco_portal.site_health import ORDER, Health
from autarco_portal.site_record import seen_by
from autarco_portal.web_problems import NotReadYet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from autarco_portal.people import Actor
    from autarco_portal.site_record import SiteRecord

ROWS = 50
"""Sites of a page."""
SUMMED_MAX = 200
"""Sites whose energy of today is added up for one look; each may be computed for it."""

Search = Annotated[str, QueryParameter(name="q", max_length=100)]
Number = Annotated[int, QueryParameter(name="page", ge=1, le=10_000)]
Wanted = Annotated[Health | None, QueryParameter(name="health")]


@get("/", sync_to_thread=True)
def fleet(
    portal: Here,
    board: OnBoard,
    visitor: Visiting,
    search: Search = "",
    page: Number = 1,
    wanted: Wanted = None,
) -> Response[str]:
    """Shows the sites that somebody may view."""
    actor = visitor.actor
    now = visitor.now
    known = sites_now(portal, board, now)
    # Few have one: sites that somebody owned before.
    begins = portal.store.sites.seen_from(actor)
    known = {**known, **{key: since(known[key], at) for key, at in begins.items() if key in known}}
    everything = portal.store.sites.visible_keys(actor)
    found = portal.store.sites.visible_keys(actor, text=search) if search.strip() else everything
    if wanted is not None:
        found = [key for key in found if known.get(key, NOT_HEARD).health is wanted]
    pages = max(1, -(-len(found) // ROWS))
    page = min(page, pages)
    shown = [
        seen_by(actor, record)
        for record in portal.store.sites.several(found[(page - 1) * ROWS : page * ROWS])
    ]
    seen = [known[key].power for key in everything if key in known]
    powers = [power for power in seen if power is not None]
    return show(
        visitor,
        models.Fleet(
            counts=_counts(everything, known),
            power=sum(powers) if powers else None,
            today_kwh=_today(portal, actor, everything),
            search=search,
            health=wanted,
            rows=tuple(
                _row(portal, record, known.get(record.public_key, NOT_HEARD), now)
                for record in shown
            ),
            found=len(found),
            page=page,
            pages=pages,
            may_add=may(actor, Action.CREATE_SITE, PORTAL),
        ),
        tab="sites",
        json_path="/api/v1/sites",
    )


def sites_now(portal: Portal, board: Board, now: datetime) -> Mapping[str, SiteNow]:
    """Returns all sites as they are; nothing before the lake was read."""
    try:
        return board.sites(portal.sites.fleet.snapshot, now)
    except NotReady:
        return {}


def _counts(keys: Sequence[str], known: Mapping[str, SiteNow]) -> tuple[tuple[Health, int], ...]:
    counts = dict.fromkeys(ORDER[::-1], 0)
    for key in keys:
        counts[known.get(key, NOT_HEARD).health] += 1
    return tuple(counts.items())


def _today(portal: Portal, actor: Actor, keys: Sequence[str]) -> float | None:
    if len(keys) > SUMMED_MAX:
        return None
    found = [portal.sites.record(key, actor.at) for key in keys]
    sums = [
        today_kwh(portal, seen_by(actor, record), actor.at)
        for record in found
        if record is not None
    ]
    known = [value for value in sums if value is not None]
    return sum(known) if known else None


def today_kwh(portal: Portal, record: SiteRecord, now: datetime) -> float | None:
    """Returns the energy of a site's local day so far; None for one that was never heard."""
    try:
        view = portal.view(record, now)
    except NotReadYet:
        return None
    return view.pv.today if any(one.at is not None for one in view.inverters) else None


def _row(portal: Portal, record: SiteRecord, site: SiteNow, now: datetime) -> models.SiteRow:
    return models.SiteRow(
        site_id=record.public_key,
        name=record.name,
        place=record.address.city,
        health=site.health,
        peak_kw=record.nominal_power / 1_000,
        power=site.power,
        today_kwh=today_kwh(portal, record, now),
        latest_at=site.latest_at,
        alarms_open=site.alarms_open,
    )
