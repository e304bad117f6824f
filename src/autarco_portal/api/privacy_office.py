"""`/api/v1/privacy`: what does the privacy officer answer, decide and keep?

Only in a session with a second factor: a program answers nobody's request.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them

import msgspec
from litestar import get, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import JSONBody

from autarco_portal.api.access import PROBLEMS, known
from autarco_portal.api.privacy_access import Name
from autarco_portal.people import Actor, Language  # noqa: TC001 - msgspec looks at it
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import deadline, human_decision, security_incident
from autarco_portal.privacy.human_decision import Automated
from autarco_portal.privacy.request import Channel, Request, Right  # noqa: TC001 - as above
from autarco_portal.privacy.retention import Removed, Rule  # noqa: TC001 - as above
from autarco_portal.privacy.security_incident import SecurityIncident  # noqa: TC001 - as above
from autarco_portal.privacy.sharing import Disclosure
from autarco_portal.privacy_office import Answer, IncidentChange, Office
from autarco_portal.privacy_services import ruled
from autarco_portal.rights import PORTAL, Action, may
from autarco_portal.web_identity import Asking


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A request with what follows from its steps."""

    request: Request
    state: str
    answer_by: date
    days_left: int
    """Negative when the deadline was missed."""


class Entered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that came by mail, letter or phone."""

    right: Right
    channel: Channel
    contact: str
    """Where the receipt goes."""
    received_at: datetime | None = None
    language: Language = "nl"


class Contested(msgspec.Struct, frozen=True, kw_only=True):
    """A program's decision that waits for a person."""

    decision: Automated
    decide_until: datetime | None


class Word(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An employee's decision."""

    is_upheld: bool
    reason: str


class NewIncident(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened to personal data."""

    summary: str
    aware_at: datetime | None = None
    is_high_risk: bool = False


class IncidentItem(msgspec.Struct, frozen=True, kw_only=True):
    """An incident and its clock."""

    incident: SecurityIncident
    hours_left: float | None
    """Until the authority must have heard of it; None where it need not, or has."""
    must_tell_people: bool
    still_unknown: tuple[str, ...]


class RetentionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of retention, and what is due by it now."""

    rule: Rule
    due: Removed | None
    """None where ingest or the operator enforces it."""


@get("/privacy/requests", sync_to_thread=True, summary="List open requests", tags=["privacy desk"],
     responses=PROBLEMS)  # fmt: skip
def list_open(portal: Here, actor: Asking) -> list[Registered]:
    """Whose deadline is next comes first."""
    who = officer(actor)
    return [_registered(one, who.at) for one in _office(portal, who).requests()]


@post("/privacy/requests", sync_to_thread=True, summary="Enter a request", tags=["privacy desk"],
      responses=PROBLEMS)  # fmt: skip
def enter(portal: Here, actor: Asking, data: JSONBody[Entered]) -> Registered:
    """That came by mail, letter or phone; its clock runs since it was received."""
    who = officer(actor)
    with ruled():
        asked = _office(portal, who).enter(
            data.right,
            data.channel,
            data.contact,
            received_at=data.received_at,
            language=data.language,
        )
    return _registered(asked, who.at)


@get("/privacy/requests/{name:str}", sync_to_thread=True, summary="Show a request",
     tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def show_request(portal: Here, actor: Asking, name: Name) -> Registered:
    """The person can read that it was looked at."""
    who = officer(actor)
    with ruled():
        return _registered(_office(portal, who).request(name), who.at)


@post("/privacy/requests/{name:str}/steps", sync_to_thread=True, summary="Do a step of a request",
      tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def answer_request(portal: Here, actor: Asking, name: Name, data: JSONBody[Answer]) -> Registered:
    """Ask for proof, verify, extend, decide, close."""
    who = officer(actor)
    with ruled():
        return _registered(_office(portal, who).answer(name, data), who.at)


@get("/privacy/decisions", sync_to_thread=True, summary="List contested decisions",
     tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def list_contested(portal: Here, actor: Asking) -> list[Contested]:
    """The oldest first."""
    who = officer(actor)
    return [
        Contested(decision=one, decide_until=human_decision.decide_until(one))
        for one in _office(portal, who).contested()
    ]


@post("/privacy/decisions/{name:str}", sync_to_thread=True, summary="Decide as a person",
      tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def decide(portal: Here, actor: Asking, name: Name, data: JSONBody[Word]) -> Automated:
    """With a reason that the person reads."""
    who = officer(actor)
    with ruled():
        return _office(portal, who).decide(name, is_upheld=data.is_upheld, reason=data.reason)


@get("/privacy/incidents", sync_to_thread=True, summary="List security incidents",
     tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def list_incidents(portal: Here, actor: Asking) -> list[IncidentItem]:
    """The newest first, with the hours that are left."""
    who = officer(actor)
    return [_incident(one, who.at) for one in _office(portal, who).incidents()]


@post("/privacy/incidents", sync_to_thread=True, summary="Enter an incident",
      tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def add_incident(portal: Here, actor: Asking, data: JSONBody[NewIncident]) -> IncidentItem:
    """The 72 hours run from `aware_at`."""
    who = officer(actor)
    with ruled():
        made = _office(portal, who).add_incident(
            data.summary, aware_at=data.aware_at, is_high_risk=data.is_high_risk
        )
    return _incident(made, who.at)


@post("/privacy/incidents/{name:str}/steps", sync_to_thread=True, tags=["privacy desk"],
      summary="Do a step of an incident", responses=PROBLEMS)  # fmt: skip
def change_incident(
    portal: Here, actor: Asking, name: Name, data: JSONBody[IncidentChange]
) -> IncidentItem:
    """Report, assess, note that people were told, close."""
    who = officer(actor)
    with ruled():
        return _incident(_office(portal, who).change_incident(name, data), who.at)


@get("/privacy/disclosures", sync_to_thread=True, summary="Show the ledger",
     tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def list_all_disclosures(portal: Here, actor: Asking) -> list[Disclosure]:
    """Of all sites, the newest first."""
    return _office(portal, officer(actor)).disclosures()


@post("/privacy/disclosures/{name:str}/approval", sync_to_thread=True, tags=["privacy desk"],
      summary="Allow a disclosure", responses=PROBLEMS)  # fmt: skip
def approve(portal: Here, actor: Asking, name: Name) -> Disclosure:
    """A legal demand needs two people who did not ask for it."""
    who = officer(actor)
    with ruled():
        return _office(portal, who).approve(name)


@get("/privacy/retention", sync_to_thread=True, summary="Report on retention",
     tags=["privacy desk"], responses=PROBLEMS)  # fmt: skip
def report_retention(portal: Here, actor: Asking) -> list[RetentionItem]:
    """Each rule, and what is due now; nothing is removed here."""
    who = officer(actor)
    with ruled():
        found = _office(portal, who).retention()
    return [RetentionItem(rule=rule, due=due) for rule, due in found]


def officer(actor: Actor | None) -> Actor:
    """Returns who answers requests; raises PermissionDeniedException for others."""
    who = known(actor)
    if not may(who, Action.HANDLE_PRIVACY_REQUESTS, PORTAL):
        raise PermissionDeniedException("that is the privacy officer's")
    return who


def _office(portal: Portal, who: Actor) -> Office:
    return Office(portal, who.person_id, who.at)


def _registered(asked: Request, now: datetime) -> Registered:
    until = asked.deadline_at(now)
    return Registered(
        request=asked,
        state=asked.state.value,
        answer_by=deadline.last_day(until),
        days_left=(until - now).days,
    )


def _incident(one: SecurityIncident, now: datetime) -> IncidentItem:
    return IncidentItem(
        incident=one,
        hours_left=security_incident.hours_left(one, now),
        must_tell_people=security_incident.must_tell_people(one),
        still_unknown=security_incident.still_unknown(one),
    )


ROUTES = (
    list_open, enter, show_request, answer_request, list_contested, decide, list_incidents,
    add_incident, change_incident, list_all_disclosures, approve, report_retention,
)  # fmt: skip
