"""The pages of one's own account: second factor, password, sessions, app passwords.

What is dangerous wants a proof that is minutes old: whoever has none is sent to `/sign-in/again`.
"""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import segno
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from autarco_portal.account import Stage
from autarco_portal.pages import models
from autarco_portal.pages.browsers import browser
from autarco_portal.pages.sign_in import (
    WRONG_CODE,
    Next,
    no_session,
    said,
    session_cookie,
)
from autarco_portal.pages.visitor import (
    Door,
    Form,
    Visiting,
    Visitor,
    go_to,
    own_path,
    quoted,
    see_other,
    show,
)
from autarco_portal.pages.words import N_
from autarco_portal.passwords import LENGTH_MIN, PasswordError
from autarco_portal.people import PeopleError
from autarco_portal.portal import Here, Portal
from autarco_portal.proofs import Refusal, Refused
from autarco_portal.secret import Secret
from autarco_portal.web_identity import address

if TYPE_CHECKING:
    from autarco_portal.accounts import Accounts
    from autarco_portal.signed import Signed

NAME_MAX = 100
"""Characters of a program's name."""
NOTICES = {"password": N_("Your password was changed; all other browsers are signed out.")}
"""What has just been done, by the word in the address that leads here."""


@get("/profile", sync_to_thread=True)
def profile(
    portal: Here, visitor: Visiting, done: Annotated[str, QueryParameter(name="done")] = ""
) -> Response[str]:
    """Shows somebody's own account."""
    return _profile(portal, visitor, notice=NOTICES.get(done, ""))


@get("/profile/second-factor", sync_to_thread=True)
def second_factor_page(accounts: Door, visitor: Visiting, next_path: Next = "/") -> Response[str]:
    """Shows a new secret, to be confirmed with a code."""
    return _offer(accounts, visitor, own_path(next_path))


@post("/profile/second-factor", sync_to_thread=True)
def second_factor(accounts: Door, visitor: Visiting, data: Form) -> Response[Any]:
    """Switches the second factor on, and shows the codes for the day the phone is lost."""
    form = visitor.checked(data)
    next_path = own_path(form.get("next", "/"))
    _without_second_factor(visitor, next_path)
    tried = accounts.confirm(visitor.token, Secret(form.get("code", "")), visitor.now)
    if isinstance(tried, Refused):
        return _offer(accounts, visitor, next_path, error=said(tried, WRONG_CODE))
    codes = tuple(one.reveal() for one in tried.recovery_codes)
    answer = show(visitor, models.RecoveryCodes(codes=codes, next_path=next_path), tab="profile")
    answer.cookies.append(session_cookie(visitor, tried.signed_in))
    return answer


@post("/profile/second-factor/off", sync_to_thread=True)
def second_factor_off(accounts: Door, visitor: Visiting, data: Form) -> Response[Any]:
    """Switches the second factor off, for whom it is not mandatory."""
    visitor.checked(data)
    refused = accounts.drop_second_factor(visitor.whole_token, visitor.now)
    if refused is not None:
        return _prove_again_or_403(refused)
    return see_other("/sign-in", no_session(visitor))


@post("/profile/password", sync_to_thread=True)
def password(
    request: Request[Any, Any, Any],
    portal: Here,
    accounts: Door,
    visitor: Visiting,
    data: Form,
) -> Response[Any]:
    """Sets another password; every other session ends."""
    form = visitor.checked(data)
    try:
        tried = accounts.change_password(
            visitor.whole_token,
            Secret(form.get("old", "")),
            Secret(form.get("new", "")),
            address=address(request),
            now=visitor.now,
        )
    except PasswordError as weak:
        return _profile(portal, visitor, error=str(weak))
    if isinstance(tried, Refused):
        wrong = said(tried, N_("The present password is not right."))
        return _profile(portal, visitor, error=wrong)
    return see_other("/profile?done=password", session_cookie(visitor, tried))


@post("/profile/sign-out-everywhere", sync_to_thread=True)
def sign_out_everywhere(accounts: Door, visitor: Visiting, data: Form) -> Response[None]:
    """Ends all sessions."""
    visitor.checked(data)
    accounts.sign_out_everywhere(visitor.whole_token, visitor.now)
    return see_other("/sign-in", no_session(visitor))


@post("/profile/tokens", sync_to_thread=True)
def new_token(portal: Here, accounts: Door, visitor: Visiting, data: Form) -> Response[Any]:
    """Makes an app password and shows it once."""
    form = visitor.checked(data)
    name = form.get("name", "").strip()[:NAME_MAX]
    try:
        made = accounts.add_token(visitor.whole_token, name, visitor.now)
    except PeopleError as error:
        return _profile(portal, visitor, error=str(error))
    if isinstance(made, Refused):
        return _prove_again_or_403(made)
    return _profile(portal, visitor, new_token=made[1].reveal())


@post("/profile/tokens/{token:str}/revoke", sync_to_thread=True)
def revoke_token(
    accounts: Door, visitor: Visiting, token: FromPath[str], data: Form
) -> Response[None]:
    """Takes an app password back."""
    visitor.checked(data)
    if not accounts.end_token(visitor.whole_token, token, visitor.now):
        raise NotFoundException
    return see_other("/profile")


def _prove_again_or_403(refused: Refused) -> Response[Any]:
    if refused.reason is Refusal.PROVE_AGAIN:
        return see_other("/sign-in/again?next=/profile")
    return Response(None, status_code=HTTPStatus.FORBIDDEN)


def _without_second_factor(visitor: Visitor, next_path: str) -> Signed:
    """Somebody who may set one up: who must, or who is in and has none."""
    signed = visitor.signed
    if signed is None:
        go_to(f"/sign-in?next={quoted(next_path)}")
    if signed.account.has_second_factor:
        go_to("/profile")
    return signed


def _offer(
    accounts: Accounts, visitor: Visitor, next_path: str, *, error: str = ""
) -> Response[Any]:
    signed = _without_second_factor(visitor, next_path)
    offered = accounts.enrol(visitor.token, visitor.now)
    if isinstance(offered, Refused):
        go_to(f"/sign-in/again?next={quoted(visitor.path)}")
    drawing = io.BytesIO()
    segno.make(offered.uri.reveal(), error="m").save(
        drawing, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2
    )
    secret = offered.secret.reveal()
    return show(
        visitor,
        models.SecondFactorSetup(
            qr_svg=drawing.getvalue().decode(),
            secret=" ".join(secret[n : n + 4] for n in range(0, len(secret), 4)),
            is_mandatory=signed.stage is Stage.ENROL,
            next_path=next_path,
            error=error,
        ),
        tab="profile",
        status=HTTPStatus.FORBIDDEN if error else HTTPStatus.OK,
    )


def _profile(
    portal: Portal, visitor: Visitor, *, error: str = "", new_token: str = "", notice: str = ""
) -> Response[Any]:
    signed, actor = visitor.whole, visitor.actor
    person_id = signed.person.person_id
    return show(
        visitor,
        models.Profile(
            name=signed.person.name,
            email=signed.person.email,
            has_second_factor=signed.account.has_second_factor,
            must_have_second_factor=actor.needs_second_factor,
            sessions=tuple(
                models.SessionRow(
                    session_id=one.session_id,
                    browser=browser(one.client),
                    started_at=one.created_at,
                    seen_at=one.last_seen_at,
                    is_current=one.session_id == signed.session.session_id,
                )
                for one in portal.store.sessions.sessions(person_id)
            ),
            tokens=tuple(
                models.AppTokenRow(
                    token_id=one.token_id,
                    name=one.name,
                    created_at=one.created_at,
                    used_at=one.last_used_at,
                )
                for one in portal.store.sessions.tokens(person_id)
            ),
            password_length_min=LENGTH_MIN,
            new_token=new_token,
            error=error,
        ),
        tab="profile",
        notice=notice,
        json_path="/api/v1/me",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
    )
