"""`/api/v1/me/privacy`: what may I ask of my data, and what became of it?

Requests, erasure, objections, contested decisions, and to whom a site of mine was disclosed. A
program looks, it changes nothing: what changes something wants a session, and what is dangerous
wants one in which somebody proved just now who he is.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date, datetime  # noqa: TC003 - msgspec looks at them
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, delete, get, post, put
from litestar.exceptions import ClientException, NotFoundException, PermissionDeniedException
from litestar.params import JSONBody, PathParameter

from autarco_ingest.paths import DataDirectory
from autarco_portal import privacy_guarantees
from autarco_portal.account import SessionRules, is_fresh
from autarco_portal.api.access import PROBLEMS, Key, allowed, known, seen
from autarco_portal.api.privacy_links import newsletter_of
from autarco_portal.audit import AuditEntry
from autarco_portal.pages.visitor import cookie_name
from autarco_portal.portal import Here, Portal
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import deadline, erasure, human_decision, policy
from autarco_portal.privacy.erasure import Case, Impact
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.processing import ALWAYS, Purpose
from autarco_portal.privacy.request import Right
from autarco_portal.privacy.sharing import Disclosure
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_erasure import Eraser
from autarco_portal.privacy_settings import PrivacySettings, load
from autarco_portal.rights import Action, PersonAccess, may
from autarco_portal.secret import Secret, digest
from autarco_portal.telemetry_erasure import IngestForget
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autarco_portal.people import Actor
    from autarco_portal.privacy.request import Request as Asked

Name = Annotated[str, PathParameter(max_length=64, description="Names the entry.")]


class RequestItem(msgspec.Struct, frozen=True, kw_only=True):
    """A request of yours."""

    request_id: str
    right: Right
    state: str
    """`received` waits for you to prove who you are."""
    received_at: datetime
    answer_by: date


class NewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What you ask for."""

    right: Right


class ErasureItem(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: what it does, and when it may be carried out."""

    case_id: str
    impact: Impact
    sha256: str
    """To be sent back when you confirm exactly this."""
    effective_at: datetime | None


class Confirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Your yes to a preview."""

    sha256: str


class DecisionItem(msgspec.Struct, frozen=True, kw_only=True):
    """What a program decided about you."""

    decision_id: str
    thing: str
    effect: str
    status: str
    decided_at: datetime
    contest_until: datetime | None
    reason: str
    """Of the employee who decided."""


class Contest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody should look at it; may be empty."""

    reason: str = ""


@get("/me/privacy/requests", sync_to_thread=True, summary="List my requests", tags=["privacy"],
     responses=PROBLEMS)  # fmt: skip
def list_requests(portal: Here, actor: Asking) -> list[RequestItem]:
    """Open ones and those that ended."""
    who = known(actor)
    found = portal.store.privacy.requests.all(person_id=who.person_id)
    return [_request_item(asked, who.at) for asked in found]


@post("/me/privacy/requests", sync_to_thread=True, summary="Make a request", tags=["privacy"],
      responses=PROBLEMS)  # fmt: skip
def make_request(
    portal: Here, actor: Asking, request: Request[Any, Any, Any], data: JSONBody[NewRequest]
) -> RequestItem:
    """Verified at once if you proved just now who you are; else prove it and ask again."""
    who = _self(actor)
    person = portal.store.people.get(who.person_id)
    with _ruled():
        asked = _desk(portal).receive_from_person(
            data.right,
            who.person_id,
            now=who.at,
            is_fresh=_is_fresh(portal, request, who),
            language=person.language if person is not None else "nl",
        )
    return _request_item(asked, who.at)


@post("/me/privacy/requests/{name:str}/erasure", sync_to_thread=True, tags=["privacy"],
      summary="Preview my erasure", responses=PROBLEMS)  # fmt: skip
def preview_erasure(portal: Here, actor: Asking, name: Name) -> ErasureItem:
    """What it would do now; nothing is done before you confirm it."""
    who = _self(actor)
    asked = portal.store.privacy.requests.get(name)
    if asked is None or asked.person != who.person_id or asked.right is not Right.ERASURE:
        raise NotFoundException("no such request")
    if not asked.is_verified:
        raise PermissionDeniedException("prove first who you are")
    with _ruled():
        case = Case(
            case_id=f"e-{name}",
            request_id=name,
            impact=_eraser(portal).preview(who.person_id, who.at),
            cooling_off_days=_settings(portal).cooling_off_days,
            previewed_at=who.at,
        )
        known_case = portal.store.privacy.cases.get(case.case_id)
        if known_case is None:
            portal.store.privacy.cases.add(case, _entry(who, "preview_erasure", case.case_id))
        elif known_case.confirmed_at is None:
            case = portal.store.privacy.cases.change(case.case_id, lambda _: case)
        else:
            case = known_case
    return _erasure_item(case)


@post("/me/privacy/erasures/{name:str}/confirmation", sync_to_thread=True, tags=["privacy"],
      summary="Confirm my erasure", responses=PROBLEMS)  # fmt: skip
def confirm_erasure(
    portal: Here,
    actor: Asking,
    request: Request[Any, Any, Any],
    name: Name,
    data: JSONBody[Confirmation],
) -> ErasureItem:
    """Begins the cooling-off. Wants a session in which you proved just now who you are."""
    who = _self(actor)
    _own_case(portal, who, name)
    if not _is_fresh(portal, request, who):
        raise PermissionDeniedException("prove again who you are")
    with _ruled():
        case = portal.store.privacy.cases.change(
            name,
            partial(erasure.confirm, at=who.at, by=who.person_id, impact_sha256=data.sha256),
            _entry(who, "confirm_erasure", name),
        )
    return _erasure_item(case)


@delete("/me/privacy/erasures/{name:str}", sync_to_thread=True, summary="Call my erasure off",
        tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def call_off_erasure(portal: Here, actor: Asking, name: Name) -> None:
    """Until it is carried out."""
    who = _self(actor)
    _own_case(portal, who, name)
    with _ruled():
        portal.store.privacy.cases.change(
            name,
            partial(erasure.call_off, at=who.at, by=who.person_id),
            _entry(who, "call_off_erasure", name),
        )


@get("/me/privacy/objections", sync_to_thread=True, summary="List my objections",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_objections(portal: Here, actor: Asking) -> dict[str, bool]:
    """Each purpose that one can object to, and whether you do."""
    who = known(actor)
    objections = portal.store.privacy.flags_of_person(who.person_id).objections
    return {purpose.value: purpose in objections for purpose in Purpose if purpose not in ALWAYS}


@put("/me/privacy/objections/{purpose:str}", sync_to_thread=True, summary="Object",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def make_objection(portal: Here, actor: Asking, purpose: Name) -> None:
    """At once. What your guarantee cannot do without suspends it."""
    who = _self(actor)
    store = portal.store
    store.privacy.object_to(
        who.person_id, _purpose(purpose), who.at, _entry(who, "object", purpose)
    )
    privacy_guarantees.follow(store, _settings(portal).suspension, who.at)


@delete("/me/privacy/objections/{purpose:str}", sync_to_thread=True, tags=["privacy"],
        summary="Withdraw an objection", responses=PROBLEMS)  # fmt: skip
def withdraw_objection(portal: Here, actor: Asking, purpose: Name) -> None:
    """A guarantee that it suspended goes on."""
    who = _self(actor)
    store = portal.store
    entry = _entry(who, "withdraw_objection", purpose)
    store.privacy.withdraw_objection(who.person_id, _purpose(purpose), entry)
    privacy_guarantees.follow(store, _settings(portal).suspension, who.at)


@post("/me/privacy/newsletters/{topic:str}", sync_to_thread=True, tags=["privacy"],
      summary="Ask for a newsletter", responses=PROBLEMS, status_code=202)  # fmt: skip
def ask_newsletter(
    portal: Here, actor: Asking, request: Request[Any, Any, Any], topic: Name
) -> None:
    """It comes once you opened the link that is mailed to you; each one offers its end."""
    who = _self(actor)
    person = portal.store.people.get(who.person_id)
    if person is None:
        raise NotFoundException("you are not there any more")
    version = policy.in_force(portal.store.privacy.policies.all(), person.language, who.at.date())
    with _ruled():
        newsletter_of(portal).ask(
            person,
            topic,
            text_version=version.version if version is not None else "none",
            address=request.client.host if request.client is not None else "",
            now=who.at,
        )


@get("/me/privacy/decisions", sync_to_thread=True, summary="List decisions of programs",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_decisions(portal: Here, actor: Asking) -> list[DecisionItem]:
    """About you; a person looks at those that you contest."""
    who = known(actor)
    return [
        _decision_item(one, who.at)
        for one in portal.store.privacy.decisions.all(person_id=who.person_id)
    ]


@post("/me/privacy/decisions/{name:str}/contest", sync_to_thread=True, tags=["privacy"],
      summary="Let a person look at it", responses=PROBLEMS)  # fmt: skip
def contest_decision(
    portal: Here, actor: Asking, name: Name, data: JSONBody[Contest]
) -> DecisionItem:
    """It is not final before a named employee has decided."""
    who = _self(actor)
    found = portal.store.privacy.decisions.get(name)
    if found is None or found.person != who.person_id:
        raise NotFoundException("no such decision")
    with _ruled():
        contested = privacy_guarantees.contest(
            portal.store, name, who.at, by=who.person_id, reason=data.reason
        )
    return _decision_item(contested, who.at)


@get("/sites/{key:str}/disclosures", sync_to_thread=True, summary="To whom was it disclosed",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_disclosures(portal: Here, actor: Asking, key: Key) -> list[Disclosure]:
    """The ledger of a site, the oldest first."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_AUDIT, record)
    return portal.store.privacy.disclosures_of(key)


def _self(actor: Actor | None) -> Actor:
    """Returns who changes something of his own; an app token changes nothing."""
    who = known(actor)
    if not may(who, Action.USE_ACCOUNT, PersonAccess(person_id=who.person_id)):
        raise PermissionDeniedException("a program changes nothing: use the portal itself")
    return who


def _is_fresh(portal: Portal, request: Request[Any, Any, Any], who: Actor) -> bool:
    token = request.cookies.get(cookie_name("session", is_https=portal.settings.is_https))
    if token is None:
        return False
    found = portal.store.sessions.session(digest(Secret(token)), who.at)
    return (
        found is not None
        and found[0].person_id == who.person_id
        and is_fresh(found[0], who.at, SessionRules())
    )


def _own_case(portal: Portal, who: Actor, name: str) -> None:
    case = portal.store.privacy.cases.get(name)
    if case is None or case.impact.person != who.person_id:
        raise NotFoundException("no such erasure")


def _purpose(text: str) -> Purpose:
    if text not in {purpose.value for purpose in Purpose if purpose not in ALWAYS}:
        raise NotFoundException("no such purpose")
    return Purpose(text)


def _settings(portal: Portal) -> PrivacySettings:
    return load(PortalDirectory.of(_data(portal)).root / "privacy.toml")


def _desk(portal: Portal) -> Desk:
    return Desk(portal.store, _settings(portal))


def _eraser(portal: Portal) -> Eraser:
    return Eraser(portal.store, _data(portal), IngestForget(portal.settings.data))


def _data(portal: Portal) -> DataDirectory:
    return DataDirectory.at(portal.settings.data)


def _entry(who: Actor, action: str, name: str) -> AuditEntry:
    return AuditEntry(
        at=who.at,
        actor=who.person_id,
        action=action,
        thing=f"privacy:{name}",
        subject=who.person_id,
    )


@contextmanager
def _ruled() -> Iterator[None]:
    """What a rule refuses is the caller's mistake, and the rule says which."""
    try:
        yield
    except PrivacyError as error:
        raise ClientException(str(error)) from error


def _request_item(asked: Asked, now: datetime) -> RequestItem:
    return RequestItem(
        request_id=asked.request_id,
        right=asked.right,
        state=asked.state.value,
        received_at=asked.received_at,
        answer_by=deadline.last_day(asked.deadline_at(now)),
    )


def _erasure_item(case: Case) -> ErasureItem:
    return ErasureItem(
        case_id=case.case_id,
        impact=case.impact,
        sha256=case.impact.sha256(),
        effective_at=case.effective_at,
    )


def _decision_item(one: human_decision.Automated, now: datetime) -> DecisionItem:
    return DecisionItem(
        decision_id=one.decision_id,
        thing=one.thing,
        effect=one.effect.value,
        status=human_decision.status(one, now).value,
        decided_at=one.decided_at,
        contest_until=human_decision.contest_until(one.told_at) if one.told_at else None,
        reason=one.human_reason,
    )


ROUTES = (
    list_requests, make_request, preview_erasure, confirm_erasure, call_off_erasure,
    list_objections, make_objection, withdraw_objection, ask_newsletter, list_decisions,
    contest_decision, list_disclosures,
)  # fmt: skip
