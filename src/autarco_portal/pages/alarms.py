"""The pages of alarms: which are there, what happened, and who takes one on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from litestar import Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath, QueryParameter
from msgspec import structs

from autarco_portal import alarm_record, escalation
from autarco_portal.alarm_record import AlarmFilter
from autarco_portal.incidents import Cause, Severity
from autarco_portal.pages import models
from autarco_portal.pages.alarm_rows import alarm_page, alarm_row
from autarco_portal.pages.site import viewable
from autarco_portal.pages.visitor import Form, Visiting, see_other, show
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import Action, may
from autarco_portal.site_record import seen_by

if TYPE_CHECKING:
    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.people import Actor
    from autarco_portal.site_record import SiteRecord

ROWS = 50
NOTE_MAX = 500
"""Characters of what somebody writes when taking an alarm on."""

Which = Annotated[Literal["open", "acknowledged", "all"], QueryParameter(name="state")]
Code = Annotated[str, QueryParameter(max_length=40)]
"""Empty for all: so does a form send what nobody chose."""
Number = Annotated[int, QueryParameter(name="page", ge=1, le=10_000)]


@get("/alarms", sync_to_thread=True)
def alarms(
    portal: Here,
    visitor: Visiting,
    which: Which = "open",
    cause: Code = "",
    severity: Code = "",
    page: Number = 1,
) -> Response[str]:
    """Lists the alarms of all sites that somebody may view."""
    actor = visitor.actor
    try:
        wanted = AlarmFilter(
            state=which,
            cause=Cause(cause) if cause else None,
            severity=Severity(severity) if severity else None,
        )
    except ValueError as error:
        raise NotFoundException from error
    found = portal.store.alarms.count_visible(actor, wanted=wanted)
    pages = max(1, -(-found // ROWS))
    page = min(page, pages)
    records = portal.store.alarms.visible(
        actor, wanted=wanted, offset=(page - 1) * ROWS, limit=ROWS
    )
    keys = sorted({one.incident.site_id for one in records})
    sites = {one.public_key: seen_by(actor, one) for one in portal.store.sites.several(keys)}
    shown = [
        (site.name, alarm_record.of_site(one, site))
        for one in records
        if (site := sites.get(one.incident.site_id)) is not None
    ]
    return show(
        visitor,
        models.Alarms(
            wanted=wanted,
            rows=tuple(alarm_row(one, name) for name, one in shown if one is not None),
            found=found,
            page=page,
            pages=pages,
        ),
        tab="alarms",
        json_path="/api/v1/alarms",
    )


@get("/alarms/{incident:str}", sync_to_thread=True)
def alarm(portal: Here, visitor: Visiting, incident: FromPath[str]) -> Response[str]:
    """Shows an alarm to whoever may view its site."""
    actor = visitor.actor
    record, site = _viewable(portal, actor, incident)
    # Who took it on, and what he wrote, may be the owner and his words.
    sees = may(actor, Action.VIEW_CONTACT, site.access) or (
        record.acknowledged_by == actor.person_id
    )
    if not sees:
        record = structs.replace(record, acknowledgement=None)
    return show(
        visitor,
        alarm_page(
            record,
            escalation.since(
                portal.store.alarm_notices.of([incident]).get(incident, ()), site.seen_from
            ),
            site_name=site.name,
            time_zone=site.time_zone,
            acknowledged_by=_name(portal, record.acknowledged_by) if sees else "",
            may_acknowledge=may(actor, Action.ACKNOWLEDGE_ALARM, site.access),
            words=visitor.words,
        ),
        tab="alarms",
        json_path=f"/api/v1/sites/{site.public_key}/alarms",
    )


@post("/alarms/{incident:str}/acknowledge", sync_to_thread=True)
def acknowledge(
    portal: Here, visitor: Visiting, incident: FromPath[str], data: Form
) -> Response[None]:
    """Keeps that somebody looks at it."""
    form = visitor.checked(data)
    actor = visitor.actor
    record, site = _viewable(portal, actor, incident)
    if not may(actor, Action.ACKNOWLEDGE_ALARM, site.access):
        raise PermissionDeniedException
    note = form.get("comment", "").strip()[:NOTE_MAX]
    portal.acknowledge(record, actor, note or None)
    return see_other(f"/alarms/{incident}")


def _viewable(portal: Portal, actor: Actor, incident_id: str) -> tuple[AlarmRecord, SiteRecord]:
    record = portal.store.alarms.get(incident_id)
    if record is None:
        raise NotFoundException
    site = viewable(portal, actor, record.incident.site_id)
    seen = alarm_record.of_site(record, site)
    if seen is None:
        raise NotFoundException
    return seen, site


def _name(portal: Portal, person_id: str | None) -> str:
    """Who works on it: a colleague, an installer, or the owner."""
    person = portal.store.people.get(person_id) if person_id is not None else None
    return person.name if person is not None else ""
