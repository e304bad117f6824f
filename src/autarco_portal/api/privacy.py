"""`/api/v1/me/privacy`: what may I ask of my data, and what became of it?

Requests and erasures. A program looks, it changes nothing: what changes something wants a session,
and what is dangerous wants one in which somebody proved just now who he is.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import JSONBody

from autarco_portal.api.access import PROBLEMS, known
from autarco_portal.api.privacy_access import Name, is_proved, need_fresh, oneself, own_of
from autarco_portal.portal import Here
from autarco_portal.privacy import deadline
from autarco_portal.privacy.erasure import Impact  # noqa: TC001 - msgspec looks at it
from autarco_portal.privacy.request import Right  # noqa: TC001 - as above
from autarco_portal.privacy_services import ruled
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.privacy.erasure import Case
    from autarco_portal.privacy.request import Request as Asked


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


@get("/me/privacy/requests", sync_to_thread=True, summary="List my requests", tags=["privacy"],
     responses=PROBLEMS)  # fmt: skip
def list_requests(portal: Here, actor: Asking) -> list[RequestItem]:
    """Open ones and those that ended, the newest first."""
    who = known(actor)
    return [_request_item(asked, who.at) for asked in own_of(portal, who).requests()]


@post("/me/privacy/requests", sync_to_thread=True, summary="Make a request", tags=["privacy"],
      responses=PROBLEMS)  # fmt: skip
def make_request(
    portal: Here, actor: Asking, request: Request[Any, Any, Any], data: JSONBody[NewRequest]
) -> RequestItem:
    """Verified at once if you proved just now who you are; else prove it, and say so."""
    who = oneself(actor)
    with ruled():
        asked = own_of(portal, who).ask(data.right, is_fresh=is_proved(portal, request, who))
    return _request_item(asked, who.at)


@post("/me/privacy/requests/{name:str}/proof", sync_to_thread=True, tags=["privacy"],
      summary="Prove my request", responses=PROBLEMS)  # fmt: skip
def prove_request(
    portal: Here, actor: Asking, request: Request[Any, Any, Any], name: Name
) -> RequestItem:
    """Wants a session in which you proved just now who you are."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).request(name)
        need_fresh(portal, request, who)
        asked = own_of(portal, who).prove(name)
    return _request_item(asked, who.at)


@delete("/me/privacy/requests/{name:str}", sync_to_thread=True, summary="Withdraw my request",
        tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def withdraw_request(portal: Here, actor: Asking, name: Name) -> None:
    """Nobody answers it then."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).withdraw(name)


@post("/me/privacy/requests/{name:str}/erasure", sync_to_thread=True, tags=["privacy"],
      summary="Preview my erasure", responses=PROBLEMS)  # fmt: skip
def preview_erasure(portal: Here, actor: Asking, name: Name) -> ErasureItem:
    """What it would do now; nothing is done before you confirm it."""
    own = own_of(portal, oneself(actor))
    with ruled():
        if not own.request(name).is_verified:
            raise PermissionDeniedException("prove first who you are")
        case = own.preview(name)
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
    who = oneself(actor)
    own = own_of(portal, who)
    with ruled():
        own.erasure(name)
        need_fresh(portal, request, who)
        case = own.confirm(name, data.sha256)
    return _erasure_item(case)


@delete("/me/privacy/erasures/{name:str}", sync_to_thread=True, summary="Call my erasure off",
        tags=["privacy"], responses=PROBLEMS)  # fmt: skip
def call_off_erasure(portal: Here, actor: Asking, name: Name) -> None:
    """Until it is carried out."""
    who = oneself(actor)
    with ruled():
        own_of(portal, who).call_off(name)


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


ROUTES = (
    list_requests, make_request, prove_request, withdraw_request, preview_erasure, confirm_erasure,
    call_off_erasure,
)  # fmt: skip
