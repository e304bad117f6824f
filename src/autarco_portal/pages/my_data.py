"""The pages of one's own data: the seven rights, what is kept, and who looked at it.

What hands data out or erases it wants a proof that is minutes old: whoever has none is sent to
`/sign-in/again` and comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath, QueryParameter
from litestar.response import File

from autarco_portal import audit_reading
from autarco_portal.api.privacy_data import bundle_file, profile_of
from autarco_portal.bundle import Profile
from autarco_portal.pages import models_rights as models
from autarco_portal.pages.site import viewable
from autarco_portal.pages.visitor import (
    Door,
    Form,
    Visiting,
    Visitor,
    go_to,
    quoted,
    see_other,
    show,
)
from autarco_portal.pages.words import N_
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import deadline, human_decision, sharing, suspension
from autarco_portal.privacy.human_decision import Status
from autarco_portal.privacy.request import Right
from autarco_portal.privacy_self import Own
from autarco_portal.privacy_services import ruled
from autarco_portal.rights import Action, PersonAccess, may
from autarco_portal.web_identity import address

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.accounts import Accounts
    from autarco_portal.privacy.erasure import Case
    from autarco_portal.privacy.request import Request as Asked

HERE = "/my-data"
TEXT_MAX = 2_000
NOTICES = {
    "details": N_("Your details were changed; the old ones stay in the history for two years."),
    "objection": N_("That is settled, from now on."),
    "restricted": N_("Your data is kept and not used from now on."),
    "lifted": N_("Your data is used again."),
    "asked": N_("Look into your mail: the newsletter comes once you opened the link there."),
    "ended": N_("You get no more of it."),
    "contested": N_("An employee looks at it within 14 days and tells you what he decides."),
}
"""What has just been done, by the word in the address that leads here."""
Done = Annotated[str, QueryParameter(name="done")]


@get(HERE, sync_to_thread=True)
def my_data(portal: Here, accounts: Door, visitor: Visiting, done: Done = "") -> Response[str]:
    """Shows everything that somebody can ask about his data."""
    own, actor = _own(portal, visitor), visitor.actor
    person = own.person
    restriction = own.restriction()
    page = models.MyData(
        name=person.name,
        email=person.email,
        phone=person.phone or "",
        language=person.language,
        is_fresh=accounts.is_fresh(visitor.whole, visitor.now),
        requests=tuple(request_row(one, visitor.now) for one in own.requests()),
        rights=tuple(right.value for right in Right),
        bundles=tuple(
            models.BundleRow(profile=profile, state=portal.bundles.state(actor.person_id, profile))
            for profile in get_args(Profile)
        ),
        objections=tuple((one.value, is_made) for one, is_made in own.objections().items()),
        restricted_since=restriction.begun_at if restriction else None,
        ground=restriction.ground if restriction else "",
        grounds=tuple(sorted(suspension.GROUNDS)),
        topics=tuple(
            models.TopicRow(
                topic=topic,
                is_given=word is not None and word.is_given,
                is_asked=word is not None,
            )
            for topic, word in own.consents().items()
        ),
        decisions=tuple(
            models.DecisionRow(
                decision_id=one.decision_id,
                effect=one.effect.value,
                thing=one.thing.partition(":")[2] or one.thing,
                state=human_decision.status(one, visitor.now).value,
                decided_at=one.decided_at,
                contest_until=human_decision.contest_until(one.told_at) if one.told_at else None,
                may_contest=human_decision.status(one, visitor.now) is Status.PROVISIONAL,
                reason=one.human_reason,
            )
            for one in own.decisions()
        ),
    )
    return show(
        visitor,
        page,
        tab="my-data",
        notice=NOTICES.get(done, ""),
        json_path="/api/v1/me/privacy/requests",
    )


@post(f"{HERE}/details", sync_to_thread=True)
def correct(portal: Here, visitor: Visiting, data: Form) -> Response[None]:
    """Corrects name, phone and language in place."""
    form = visitor.checked(data)
    with ruled():
        _acting(portal, visitor).correct(
            {
                "name": form.get("name", "").strip(),
                "phone": form.get("phone", "").strip() or None,
                "language": form.get("language", ""),
            }
        )
    return _back("details")


@post(f"{HERE}/requests", sync_to_thread=True)
def ask(portal: Here, accounts: Door, visitor: Visiting, data: Form) -> Response[None]:
    """Takes a request; who has not proved just now who he is does so next."""
    form = visitor.checked(data)
    own = _acting(portal, visitor)
    if form.get("right") not in set(Right):
        raise NotFoundException
    is_fresh = accounts.is_fresh(visitor.whole, visitor.now)
    with ruled():
        asked = own.ask(Right(form["right"]), is_fresh=is_fresh)
    portal.outbox.soon()
    path = f"{HERE}/requests/{asked.request_id}"
    return see_other(path if is_fresh else f"/sign-in/again?next={quoted(path)}")


@get(f"{HERE}/requests/{{name:str}}", sync_to_thread=True)
def request_page(
    portal: Here, accounts: Door, visitor: Visiting, name: FromPath[str]
) -> Response[str]:
    """Shows one's own request; somebody else's is none."""
    with ruled():
        own = _own(portal, visitor)
        asked = own.request(name)
    case = own.case(name) if asked.right is Right.ERASURE else None
    page = models.MyRequest(
        request=request_row(asked, visitor.now),
        is_fresh=accounts.is_fresh(visitor.whole, visitor.now),
        is_verified=asked.is_verified,
        steps=tuple(
            models.StepRow(
                at=step.at,
                kind=step.kind.value,
                outcome=step.outcome.value if step.outcome else "",
                reason=step.reason,
            )
            for step in asked.steps
            if step.warned_days is None
        ),
        erasure=_preview(case) if case is not None else None,
    )
    return show(visitor, page, tab="my-data", json_path="/api/v1/me/privacy/requests")


@post(f"{HERE}/requests/{{name:str}}/proof", sync_to_thread=True)
def prove(
    portal: Here, accounts: Door, visitor: Visiting, name: FromPath[str], data: Form
) -> Response[None]:
    """Verifies a request by the fresh proof of this session."""
    visitor.checked(data)
    own, path = _acting(portal, visitor), f"{HERE}/requests/{name}"
    with ruled():
        own.request(name)
        _fresh(accounts, visitor, path)
        own.prove(name)
    return see_other(path)


@post(f"{HERE}/requests/{{name:str}}/withdrawal", sync_to_thread=True)
def withdraw(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Ends a request that nobody needs to answer any more."""
    visitor.checked(data)
    with ruled():
        _acting(portal, visitor).withdraw(name)
    return see_other(f"{HERE}/requests/{name}")


@post(f"{HERE}/requests/{{name:str}}/preview", sync_to_thread=True)
def preview(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Finds out what erasure would do now."""
    visitor.checked(data)
    with ruled():
        _acting(portal, visitor).preview(name)
    return see_other(f"{HERE}/requests/{name}#impact")


@post(f"{HERE}/requests/{{name:str}}/confirmation", sync_to_thread=True)
def confirm(
    portal: Here, accounts: Door, visitor: Visiting, name: FromPath[str], data: Form
) -> Response[None]:
    """Says yes to exactly the preview that was shown; the cooling-off begins."""
    form = visitor.checked(data)
    own, path = _acting(portal, visitor), f"{HERE}/requests/{name}"
    with ruled():
        own.request(name)
        case = own.case(name)
        if case is None or form.get("sure") != "yes":
            raise NotFoundException
        _fresh(accounts, visitor, path)
        own.confirm(case.case_id, form.get("sha256", ""))
    return see_other(path)


@post(f"{HERE}/requests/{{name:str}}/call-off", sync_to_thread=True)
def call_off(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Says no, until it is carried out."""
    visitor.checked(data)
    own = _acting(portal, visitor)
    with ruled():
        own.request(name)
        case = own.case(name)
        if case is None:
            raise NotFoundException
        own.call_off(case.case_id)
    return see_other(f"{HERE}/requests/{name}")


@post(f"{HERE}/objections", sync_to_thread=True)
def object_to(portal: Here, visitor: Visiting, data: Form) -> Response[None]:
    """Objects to a purpose, or takes that back."""
    form = visitor.checked(data)
    own, purpose = _acting(portal, visitor), form.get("purpose", "")
    with ruled():
        if form.get("act") == "withdraw":
            own.withdraw_objection(purpose)
        else:
            own.object_to(purpose)
    return _back("objection")


@post(f"{HERE}/restriction", sync_to_thread=True)
def restrict(portal: Here, visitor: Visiting, data: Form) -> Response[None]:
    """Keeps one's data from being used, or ends that."""
    form = visitor.checked(data)
    own = _acting(portal, visitor)
    with ruled():
        if form.get("act") == "lift":
            own.lift()
            return _back("lifted")
        own.restrict(form.get("ground", ""))
    return _back("restricted")


@post(f"{HERE}/newsletters", sync_to_thread=True)
def newsletter(
    request: Request[Any, Any, Any], portal: Here, visitor: Visiting, data: Form
) -> Response[None]:
    """Asks for a newsletter, or ends one."""
    form = visitor.checked(data)
    own, topic = _acting(portal, visitor), form.get("topic", "")
    with ruled():
        if form.get("act") == "end":
            own.end_newsletter(topic)
            return _back("ended")
        own.ask_newsletter(topic, address(request))
    portal.outbox.soon()
    return _back("asked")


@post(f"{HERE}/decisions/{{name:str}}/contest", sync_to_thread=True)
def contest(portal: Here, visitor: Visiting, name: FromPath[str], data: Form) -> Response[None]:
    """Lets a person look at what a program decided."""
    form = visitor.checked(data)
    with ruled():
        _acting(portal, visitor).contest(name, form.get("reason", "")[:TEXT_MAX])
    return _back("contested")


@post(f"{HERE}/bundles/{{name:str}}", sync_to_thread=True)
def begin_bundle(
    portal: Here, accounts: Door, visitor: Visiting, name: FromPath[str], data: Form
) -> Response[None]:
    """Begins to put somebody's data together."""
    visitor.checked(data)
    _exporting(accounts, visitor)
    portal.bundles.begin(visitor.actor.person_id, profile_of(name))
    # Without a fragment: a page that looks again by itself would only scroll to that.
    return see_other(HERE)


@get(f"{HERE}/bundles/{{name:str}}/file", sync_to_thread=True)
def get_bundle(portal: Here, accounts: Door, visitor: Visiting, name: FromPath[str]) -> File:
    """Hands it out."""
    _exporting(accounts, visitor)
    return bundle_file(portal, visitor.actor.person_id, profile_of(name))


@get(f"{HERE}/looks", sync_to_thread=True)
def looks(portal: Here, visitor: Visiting) -> Response[str]:
    """Shows who looked at somebody's data."""
    lines = _acting(portal, visitor).looks(visitor.language.value)
    page = models.Looks(lines=tuple(lines))
    return show(visitor, page, tab="my-data", json_path="/api/v1/me/privacy/looks")


@get("/sites/{key:str}/looks", sync_to_thread=True)
def site_looks(portal: Here, visitor: Visiting, key: FromPath[str]) -> Response[str]:
    """Shows who looked at a site, and to whom its data went."""
    actor = visitor.actor
    record = viewable(portal, actor, key)
    if not may(actor, Action.VIEW_AUDIT, record.access):
        raise PermissionDeniedException
    portal.looked(actor, record, "view_audit")
    lines = audit_reading.of_site(
        portal.store, record, visitor.now, visitor.language.value, reader=actor.person_id
    )
    page = models.Looks(
        site_id=key,
        site_name=record.name,
        lines=tuple(lines),
        disclosures=tuple(
            sharing.about(portal.store.privacy.disclosures_of(key), key, record.seen_from)[::-1]
        ),
    )
    return show(visitor, page, tab="sites", json_path=f"/api/v1/sites/{key}/looks")


def request_row(asked: Asked, now: datetime) -> models.RequestRow:
    """Returns a request as a list shows it."""
    return models.RequestRow(
        request_id=asked.request_id,
        right=asked.right.value,
        state=asked.state.value,
        received_at=asked.received_at,
        answer_by=deadline.last_day(asked.deadline_at(now)),
        is_open=asked.is_open,
    )


def _preview(case: Case) -> models.ErasurePreview:
    return models.ErasurePreview(
        case_id=case.case_id,
        impact=case.impact,
        sha256=case.impact.sha256(),
        cooling_off_days=case.cooling_off_days,
        effective_at=case.effective_at,
        is_called_off=case.called_off_at is not None,
        is_begun=case.begun_at is not None,
    )


def _own(portal: Portal, visitor: Visitor) -> Own:
    return Own(portal, visitor.actor.person_id, visitor.now)


def _acting(portal: Portal, visitor: Visitor) -> Own:
    """As `_own`, for who may change what is his."""
    actor = visitor.actor
    if not may(actor, Action.USE_ACCOUNT, PersonAccess(person_id=actor.person_id)):
        raise PermissionDeniedException
    return _own(portal, visitor)


def _exporting(accounts: Accounts, visitor: Visitor) -> None:
    actor = visitor.actor
    if not may(actor, Action.EXPORT_PERSON, PersonAccess(person_id=actor.person_id)):
        raise PermissionDeniedException
    _fresh(accounts, visitor, HERE)


def _fresh(accounts: Accounts, visitor: Visitor, back: str) -> None:
    if not accounts.is_fresh(visitor.whole, visitor.now):
        go_to(f"/sign-in/again?next={quoted(back)}")


def _back(done: str) -> Response[None]:
    return see_other(f"{HERE}?done={done}")


HANDLERS = [
    my_data, correct, ask, request_page, prove, withdraw, preview, confirm, call_off, object_to,
    restrict, newsletter, contest, begin_bundle, get_bundle, looks, site_looks,
]  # fmt: skip
