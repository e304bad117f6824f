"""The pages of the privacy officer: requests and their deadlines, decisions, registers.

Whoever is none gets 404: for others there is no such desk.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import FromPath, QueryParameter
from msgspec import ValidationError, convert

from autarco_portal import privacy_duties
from autarco_portal.pages import models_office as models
from autarco_portal.pages.models_rights import StepRow
from autarco_portal.pages.my_data import request_row
from autarco_portal.pages.visitor import Form, Visiting, Visitor, see_other, show
from autarco_portal.people import known_language
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import human_decision, security_incident, sharing
from autarco_portal.privacy.deadline import ZONE
from autarco_portal.privacy.request import METHODS, Channel, Kind, Method, Outcome, Right
from autarco_portal.privacy_office import Answer, IncidentChange, Office
from autarco_portal.privacy_services import ruled
from autarco_portal.rights import PORTAL, Action, may

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autarco_portal.pages.models import Tab
    from autarco_portal.privacy.request import Request

DESK = "/privacy-desk"
TAB: Tab = "privacy-desk"
API = "/api/v1/privacy"
BY_STAFF = tuple(channel for channel in Channel if channel is not Channel.PORTAL)
_Code = TypeVar("_Code", Right, Channel)
_Struct = TypeVar("_Struct", Answer, IncidentChange)
Which = Annotated[str, QueryParameter(name="show")]


@get(DESK, sync_to_thread=True)
def desk(portal: Here, visitor: Visiting, which: Which = "") -> Response[str]:
    """Shows what waits for a person."""
    office = _office(portal, visitor)
    shows_all = which == "all"
    page = models.PrivacyDesk(
        rows=tuple(
            _row(portal, one, visitor.now) for one in office.requests(is_open=not shows_all)
        ),
        contested=tuple(
            models.ContestedRow(
                decision_id=one.decision_id,
                effect=one.effect.value,
                thing=one.thing,
                person=_name(portal, one.person),
                reason=one.contest_reason,
                decide_until=human_decision.decide_until(one),
                is_own=one.person == visitor.actor.person_id,
            )
            for one in office.contested()
        ),
        attention=tuple(
            privacy_duties.attention(portal.store, visitor.now, visitor.language.value)
        ),
        shows_all=shows_all,
        rights=tuple(right.value for right in Right),
        channels=tuple(channel.value for channel in BY_STAFF),
    )
    return show(visitor, page, tab=TAB, json_path=f"{API}/requests")


@post(f"{DESK}/requests", sync_to_thread=True)
def enter(portal: Here, visitor: Visiting, data: Form) -> Response[None]:
    """Enters a request that came by mail, letter or phone."""
    form = visitor.checked(data)
    office = _office(portal, visitor)
    with ruled():
        asked = office.enter(
            _code(Right, form.get("right")),
            _code(Channel, form.get("channel")),
            form.get("contact", "").strip()[:200],
            received_at=_moment(form.get("received", "")),
            language=known_language(form.get("language")),
        )
    portal.outbox.soon()
    return see_other(f"{DESK}/requests/{asked.request_id}")


@get(f"{DESK}/requests/{{name:str}}", sync_to_thread=True)
def request_page(portal: Here, visitor: Visiting, name: FromPath[str]) -> Response[str]:
    """Shows a request; the person can read that it was looked at."""
    office = _office(portal, visitor)
    with ruled():
        asked = office.request(name)
    person = portal.store.people.get(asked.person) if asked.person is not None else None
    case = portal.store.privacy.cases.get(f"e-{name}")
    page = models.DeskRequest(
        row=_row(portal, asked, visitor.now),
        person_email=person.email if person is not None else "",
        contact=portal.store.privacy.contact(name) or "",
        is_verified=asked.is_verified,
        is_extended=asked.last(Kind.EXTENDED) is not None,
        outcomes=tuple(one.value for one in Outcome if asked.is_verified or one is Outcome.REFUSED),
        methods=tuple(
            sorted(
                method.value
                for method in METHODS[asked.channel]
                if method not in (Method.FRESH_SIGN_IN, Method.MAILED_LINK)
            )
        ),
        steps=tuple(
            StepRow(
                at=step.at,
                kind=step.kind.value,
                by=_name(portal, step.by),
                method=step.method.value if step.method else "",
                outcome=step.outcome.value if step.outcome else "",
                reason=step.reason,
                sha256=step.sha256,
            )
            for step in asked.steps
        ),
        evidence=tuple(office.evidence(asked)),
        facts=office.facts(asked),
        effective_at=case.effective_at if case is not None else None,
    )
    return show(visitor, page, tab=TAB, json_path=f"{API}/requests/{name}")


@post(f"{DESK}/requests/{{name:str}}/steps", sync_to_thread=True)
def answer(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Does a step of a request."""
    form = visitor.checked(data)
    office = _office(portal, visitor)
    given = {key: form[key] for key in Answer.__struct_fields__ if form.get(key)}
    with ruled():
        office.answer(name, _struct(given, Answer))
    return see_other(f"{DESK}/requests/{name}")


@post(f"{DESK}/decisions/{{name:str}}", sync_to_thread=True)
def decide(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Gives a named employee's word on a program's decision."""
    form = visitor.checked(data)
    office = _office(portal, visitor)
    if form.get("word") not in ("upheld", "overturned"):
        raise NotFoundException
    with ruled():
        office.decide(name, is_upheld=form["word"] == "upheld", reason=form.get("reason", ""))
    return see_other(f"{DESK}#contested")


@get(f"{DESK}/incidents", sync_to_thread=True)
def incidents(portal: Here, visitor: Visiting) -> Response[str]:
    """Shows the register of incidents."""
    rows = tuple(
        models.IncidentRow(
            incident_id=one.incident_id,
            summary=one.summary,
            aware_at=one.aware_at,
            hours_left=security_incident.hours_left(one, visitor.now),
            is_risk=one.is_risk,
            is_high_risk=one.is_high_risk,
            assessment=one.assessment,
            must_tell_people=security_incident.must_tell_people(one),
            reports=len(one.reports),
            still_unknown=security_incident.still_unknown(one),
            closed_at=one.closed_at,
        )
        for one in _office(portal, visitor).incidents()
    )
    page = models.DeskIncidents(rows=rows, fields=security_incident.REPORT)
    return show(visitor, page, tab=TAB, json_path=f"{API}/incidents")


@post(f"{DESK}/incidents", sync_to_thread=True)
def add_incident(portal: Here, visitor: Visiting, data: Form) -> Response[None]:
    """Enters an incident; the 72 hours run."""
    form = visitor.checked(data)
    office = _office(portal, visitor)
    with ruled():
        office.add_incident(
            form.get("summary", ""),
            aware_at=_moment(form.get("aware", "")),
            is_high_risk=form.get("is_high_risk") == "yes",
        )
    return see_other(f"{DESK}/incidents")


@post(f"{DESK}/incidents/{{name:str}}/steps", sync_to_thread=True)
def change_incident(
    portal: Here, visitor: Visiting, name: FromPath[str], data: Form
) -> Response[None]:
    """Does a step of an incident."""
    form = visitor.checked(data)
    office = _office(portal, visitor)
    change = _struct(
        {
            "step": form.get("step", ""),
            "known": {key: form.get(key, "") for key in security_incident.REPORT},
            "delay_reason": form.get("delay_reason", ""),
            "is_risk": form.get("risk") != "none",
            "is_high_risk": form.get("risk") == "high",
            "assessment": form.get("assessment", ""),
        },
        IncidentChange,
    )
    with ruled():
        office.change_incident(name, change)
    return see_other(f"{DESK}/incidents")


@get(f"{DESK}/disclosures", sync_to_thread=True)
def disclosures(portal: Here, visitor: Visiting) -> Response[str]:
    """Shows to whom what was disclosed."""
    office, me = _office(portal, visitor), visitor.actor.person_id
    rows = []
    for one in office.disclosures():
        missing = sharing.approvals_missing(one)
        may_approve = missing > 0 and one.disclosed_at is None
        rows.append((one, missing, may_approve and me not in (one.asked_by, *one.approvals)))
    page = models.DeskDisclosures(rows=tuple(rows))
    return show(visitor, page, tab=TAB, json_path=f"{API}/disclosures")


@post(f"{DESK}/disclosures/{{name:str}}/approval", sync_to_thread=True)
def approve(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Gives one's yes to a disclosure that needs two."""
    visitor.checked(data)
    office = _office(portal, visitor)
    with ruled():
        office.approve(name)
    return see_other(f"{DESK}/disclosures")


@get(f"{DESK}/retention", sync_to_thread=True)
def retention(portal: Here, visitor: Visiting) -> Response[str]:
    """Reports what is kept how long and what is due; removes nothing."""
    office = _office(portal, visitor)
    with ruled():
        found = office.retention()
    rows = tuple(
        models.RetentionRow(
            name=rule.name,
            days=rule.days,
            since=rule.since,
            purpose=rule.purpose,
            enforcer=rule.enforcer.value,
            due=due.count if due is not None else None,
            held=due.held if due is not None else 0,
        )
        for rule, due in found
    )
    return show(visitor, models.DeskRetention(rows=rows), tab=TAB, json_path=f"{API}/retention")


def _office(portal: Portal, visitor: Visitor) -> Office:
    actor = visitor.actor
    if not may(actor, Action.HANDLE_PRIVACY_REQUESTS, PORTAL):
        raise NotFoundException
    return Office(portal, actor.person_id, visitor.now)


def _row(portal: Portal, asked: Request, now: datetime) -> models.DeskRow:
    return models.DeskRow(
        request=request_row(asked, now),
        channel=asked.channel.value,
        person=_name(portal, asked.person) if asked.person is not None else "",
        days_left=(asked.deadline_at(now) - now).days,
    )


def _name(portal: Portal, person_id: str) -> str:
    """A name, or the identifier of a program or of somebody erased."""
    person = portal.store.people.get(person_id)
    return person.name if person is not None else person_id


def _moment(text: str) -> datetime | None:
    """What a field of date and time holds, on the clock of the controller's place."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(ZoneInfo("UTC"))
    except ValueError as error:
        raise ClientException("expected a date and a time") from error


def _code(kind: type[_Code], text: str | None) -> _Code:
    try:
        return kind(text or "")
    except ValueError as error:
        raise NotFoundException from error


def _struct(values: Mapping[str, object], kind: type[_Struct]) -> _Struct:
    try:
        return convert(values, kind)
    except ValidationError as error:
        raise ClientException("this form cannot be understood") from error


HANDLERS = [
    desk, enter, request_page, answer, decide, incidents, add_incident, change_incident,
    disclosures, approve, retention,
]  # fmt: skip
