"""`/api/v1/me/privacy`: what may my data be used for, and who decides about me?

Objections, restriction, newsletters, and decisions of programs.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it
from typing import Any, Literal

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import JSONBody

from autarco_portal.api.access import PROBLEMS, known
from autarco_portal.api.privacy_access import Name, oneself, own_of
from autarco_portal.portal import Here
from autarco_portal.privacy import human_decision
from autarco_portal.privacy_services import ruled
from autarco_portal.web_identity import Asking, address


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


class RestrictionItem(msgspec.Struct, frozen=True, kw_only=True):
    """Whether your data is kept only."""

    is_in_force: bool
    ground: str
    begun_at: datetime | None


class NewRestriction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why your data may not be used for now (article 18(1))."""

    ground: Literal["accuracy", "unlawful", "claim", "objection"]


@get("/me/privacy/objections", sync_to_thread=True, summary="List my objections",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_objections(portal: Here, actor: Asking) -> dict[str, bool]:
    """Each purpose that one can object to, and whether you do."""
    found = own_of(portal, known(actor)).objections()
    return {purpose.value: is_made for purpose, is_made in found.items()}


@put("/me/privacy/objections/{purpose:str}", sync_to_thread=True, summary="Object",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def make_objection(portal: Here, actor: Asking, purpose: Name) -> None:
    """At once. What your guarantee cannot do without suspends it."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).object_to(purpose)


@delete("/me/privacy/objections/{purpose:str}", sync_to_thread=True, tags=["privacy"],
        summary="Withdraw an objection", responses=PROBLEMS)  # fmt: skip
def withdraw_objection(portal: Here, actor: Asking, purpose: Name) -> None:
    """A guarantee that it suspended goes on."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).withdraw_objection(purpose)


@get("/me/privacy/restriction", sync_to_thread=True, summary="Is my data restricted",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def show_restriction(portal: Here, actor: Asking) -> RestrictionItem:
    """Restricted data is kept and not used."""
    found = own_of(portal, known(actor)).restriction()
    return RestrictionItem(
        is_in_force=found is not None,
        ground=found.ground if found else "",
        begun_at=found.begun_at if found else None,
    )


@put("/me/privacy/restriction", sync_to_thread=True, summary="Restrict my data", tags=["privacy"],
     responses=PROBLEMS)  # fmt: skip
def restrict(portal: Here, actor: Asking, data: JSONBody[NewRestriction]) -> None:
    """At once: no monitoring, no alarms; a guarantee is suspended."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).restrict(data.ground)


@delete("/me/privacy/restriction", sync_to_thread=True, summary="End my restriction",
        tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def lift_restriction(portal: Here, actor: Asking) -> None:
    """Yours ends at once."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).lift()


@post("/me/privacy/newsletters/{topic:str}", sync_to_thread=True, tags=["privacy"],
      summary="Ask for a newsletter", responses=PROBLEMS, status_code=202)  # fmt: skip
def ask_newsletter(
    portal: Here, actor: Asking, request: Request[Any, Any, Any], topic: Name
) -> None:
    """It comes once you opened the link that is mailed to you; each one offers its end."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).ask_newsletter(topic, address(request))
    portal.outbox.soon()


@delete("/me/privacy/newsletters/{topic:str}", sync_to_thread=True, tags=["privacy"],
        summary="End a newsletter of mine", responses=PROBLEMS)  # fmt: skip
def end_newsletter(portal: Here, actor: Asking, topic: Name) -> None:
    """At once."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).end_newsletter(topic)


@get("/me/privacy/decisions", sync_to_thread=True, summary="List decisions of programs",
     tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def list_decisions(portal: Here, actor: Asking) -> list[DecisionItem]:
    """About you; a person looks at those that you contest."""
    who = known(actor)
    return [_decision_item(one, who.at) for one in own_of(portal, who).decisions()]


@post("/me/privacy/decisions/{name:str}/contest", sync_to_thread=True, tags=["privacy"],
      summary="Let a person look at it", responses=PROBLEMS)  # fmt: skip
def contest_decision(
    portal: Here, actor: Asking, name: Name, data: JSONBody[Contest]
) -> DecisionItem:
    """It is not final before a named employee has decided."""
    who = oneself(actor)
    with ruled():
        contested = own_of(portal, who).contest(name, data.reason)
    return _decision_item(contested, who.at)


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
    list_objections, make_objection, withdraw_objection, show_restriction, restrict,
    lift_restriction, ask_newsletter, end_newsletter, list_decisions, contest_decision,
)  # fmt: skip
