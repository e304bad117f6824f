"""`/api/v1/alarms`: what is wrong where, and who takes care of it?"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.exceptions import NotFoundException
from litestar.params import JSONBody, QueryParameter

from autarco_portal import alarm_record, escalation
from autarco_portal.alarm_record import AlarmFilter
from autarco_portal.api.access import PROBLEMS, Key, allowed, known, seen
from autarco_portal.incidents import Cause, Severity
from autarco_portal.portal import Here
from autarco_portal.rights import Action, may
from autarco_portal.site_record import seen_by
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.people import Actor
    from autarco_portal.portal import Portal
    from autarco_portal.site_record import SiteRecord

PAGE_MAX = 200
Only = Annotated[bool, QueryParameter(name="open", description="Only what goes on.")]
State = Annotated[
    Literal["open", "acknowledged", "all"] | None,
    QueryParameter(
        name="state",
        description="`open`, `acknowledged` (open, and somebody takes care of it) or `all`; wins "
        "over `open`.",
    ),
]
OfCause = Annotated[Cause | None, QueryParameter(name="cause", description="Only of this cause.")]
OfSeverity = Annotated[
    Severity | None, QueryParameter(name="severity", description="Only of this severity.")
]
OfSite = Annotated[
    str | None,
    QueryParameter(name="site", description="Only of this site, by its key.", max_length=64),
]
Offset = Annotated[int, QueryParameter(ge=0, le=100_000)]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A party was mailed about an alarm."""

    party: str
    """maintenance, installer, seller or owner; never who."""
    step: str
    """first, reminder, seller or owner; docs/operations.md says when each is due."""
    at: datetime
    """When the mail server took it."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An incident: one fault from its first sign to its end."""

    incident_id: str
    site_id: str
    inverter_sn: str | None
    cause: str
    """docs/detection.md says what each means."""
    severity: str
    opened_at: datetime
    detected_at: datetime
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by_me: bool
    notices: list[Notice]
    lost_kwh: float
    evidence: dict[str, Any]


class AlarmPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some alarms, the newest first; `next` is the address of older ones."""

    items: list[Alarm]
    next: str | None


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody takes care of an alarm."""

    incident_id: Annotated[str, msgspec.Meta(max_length=200)]
    note: Annotated[str, msgspec.Meta(max_length=500)] | None = None


@get("/alarms", sync_to_thread=True, summary="List alarms", tags=["alarms"],
     responses=PROBLEMS)  # fmt: skip
def list_alarms(
    portal: Here,
    actor: Asking,
    only_open: Only = True,
    which: State = None,
    cause: OfCause = None,
    severity: OfSeverity = None,
    site: OfSite = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> AlarmPage:
    """Of all sites that you may see, the newest first. Another's site has none."""
    who = known(actor)
    wanted = AlarmFilter(
        state=which or ("open" if only_open else "all"), cause=cause, severity=severity, site=site
    )
    found = portal.store.alarms.visible(who, wanted=wanted, offset=offset, limit=limit + 1)
    following = None
    if len(found) > limit:
        chosen = {"cause": cause, "severity": severity, "site": site}
        query = {
            "state": wanted.state,
            **{name: str(value) for name, value in chosen.items() if value is not None},
            "offset": offset + limit,
            "limit": limit,
        }
        following = f"/api/v1/alarms?{urlencode(query)}"
    keys = sorted({one.incident.site_id for one in found})
    sites = {one.public_key: seen_by(who, one) for one in portal.store.sites.several(keys)}
    return AlarmPage(items=_alarms(portal, found[:limit], sites, who), next=following)


@get("/sites/{key:str}/alarms", sync_to_thread=True, summary="List a site's alarms",
     tags=["alarms"], responses=PROBLEMS)  # fmt: skip
def list_site_alarms(portal: Here, actor: Asking, key: Key, only_open: Only = False) -> list[Alarm]:
    """The newest first."""
    who, record = seen(portal, actor, key)
    found = portal.store.alarms.of_site(record.public_key)
    wanted = [one for one in found if one.incident.is_open or not only_open]
    return _alarms(portal, wanted, {record.public_key: record}, who)


@post("/alarms/acknowledgements", sync_to_thread=True, summary="Acknowledge an alarm",
      tags=["alarms"], responses=PROBLEMS)  # fmt: skip
def acknowledge_alarm(portal: Here, actor: Asking, data: JSONBody[Acknowledgement]) -> Alarm:
    """Says that you take care of it; whoever was first stays. Not with an app token."""
    who = known(actor)
    found = portal.store.alarms.get(data.incident_id)
    if found is None:
        raise NotFoundException("no such alarm")
    record = portal.sites.record(found.incident.site_id, who.at)
    if record is None or not may(who, Action.VIEW_SITE, record.access):
        raise NotFoundException("no such alarm")
    record = seen_by(who, record)
    if alarm_record.of_site(found, record) is None:
        raise NotFoundException("no such alarm")
    allowed(who, Action.ACKNOWLEDGE_ALARM, record)
    done = portal.acknowledge(found, who, data.note)
    (shown,) = _alarms(portal, [done], {record.public_key: record}, who)
    return shown


def _alarms(
    portal: Portal,
    records: Sequence[AlarmRecord],
    sites: Mapping[str, SiteRecord],
    who: Actor,
) -> list[Alarm]:
    """As he sees them who sees the sites so."""
    sent = portal.store.alarm_notices.of([one.incident.incident_id for one in records])
    shown = []
    for record in records:
        site = sites.get(record.incident.site_id)
        seen = alarm_record.of_site(record, site) if site is not None else None
        if site is not None and seen is not None:
            notices = sent.get(seen.incident.incident_id, ())
            shown.append(_alarm(seen, who, escalation.since(notices, site.seen_from)))
    return shown


def _alarm(record: AlarmRecord, who: Actor, sent: Sequence[escalation.Notice]) -> Alarm:
    incident = record.incident
    return Alarm(
        incident_id=incident.incident_id,
        site_id=incident.site_id,
        inverter_sn=incident.inverter_sn,
        cause=incident.cause.value,
        severity=incident.severity.value,
        opened_at=incident.opened_at,
        detected_at=incident.detected_at,
        closed_at=incident.closed_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by_me=record.acknowledged_by == who.person_id,
        notices=[
            Notice(party=one.party.value, step=one.step.value, at=one.at)
            for one in escalation.told(sent)
        ],
        lost_kwh=incident.lost_kwh,
        evidence=dict(incident.days[-1].evidence) if incident.days else {},
    )


ROUTES = (list_alarms, list_site_alarms, acknowledge_alarm)
