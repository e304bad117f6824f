"""The page of a site: who may see it, and of which day?"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from autarco_portal.pages.board import OnBoard
from autarco_portal.pages.site_page import SiteAt, site_page
from autarco_portal.pages.visitor import Visiting, show
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import Action, may
from autarco_portal.site_history import Past
from autarco_portal.site_record import seen_by

if TYPE_CHECKING:
    from autarco_portal.people import Actor
    from autarco_portal.site_record import SiteRecord

Day = Annotated[date | None, QueryParameter(name="day")]


@get("/sites/{key:str}", sync_to_thread=True)
def site(
    portal: Here,
    board: OnBoard,
    history: Past,
    visitor: Visiting,
    key: FromPath[str],
    day: Day = None,
) -> Response[str]:
    """Shows a site to whoever may view it; to others there is none."""
    actor = visitor.actor
    record = viewable(portal, actor, key)
    today = visitor.now.astimezone(ZoneInfo(record.time_zone)).date()
    earliest = min(portal.sites.first_day(record), today)
    shows_contact = may(actor, Action.VIEW_CONTACT, record.access)
    if shows_contact:
        portal.looked(actor, record, "view_contact")
    at = SiteAt(
        record=record,
        now=visitor.now,
        today=today,
        earliest=earliest,
        day=min(max(day or today, earliest), today),
        shows_contact=shows_contact,
        shows_guarantee=may(actor, Action.VIEW_GUARANTEE, record.access),
        shows_looks=may(actor, Action.VIEW_AUDIT, record.access),
    )
    page = site_page(portal, board, history, at, visitor.words)
    return show(visitor, page, tab="sites", json_path=f"/api/v1/sites/{key}")


def viewable(portal: Portal, actor: Actor, key: str) -> SiteRecord:
    """Returns a site as somebody may view it, read anew; raises NotFoundException for others."""
    record = portal.store.sites.record(key)
    if record is None or not may(actor, Action.VIEW_SITE, record.access):
        raise NotFoundException
    portal.looked(actor, record)
    return seen_by(actor, record)
