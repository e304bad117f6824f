"""The pages of one's own account: second factor, password, sessions, app passwords."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated, Any

import segno
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, Parameter

from autarco_portal.account import Stage
from autarco_portal.pages import models
from autarco_portal.pages.door import Door, Refused, Wait
from autarco_portal.pages.sign_in import (
    PASSWORD_LENGTH_MIN,
    TOO_OFTEN,
    no_session,
    origin,
    session_cookie,
)
from autarco_portal.pages.visitor import Form, Visitor, go_to, own_path, quoted, see_other, show
from autarco_portal.pages.words import N_
from autarco_portal.portal import Portal

if TYPE_CHECKING:
    from autarco_portal.pages.door import Signed

NAME_MAX = 100
"""Characters of a program's name."""
WRONG_CODE = N_("That is not the code of this moment.")

NOTICES = {"password": N_("Your password was changed; all other browsers are signed out.")}
"""What has just been done, by the word in the address that leads here."""

Next = Annotated[str, Parameter(query="next", max_length=1_000)]


@get("/profile", sync_to_thread=True)
def profile(
    portal: Portal, visitor: Visitor, done: Annotated[str, Parameter(query="done")] = ""
) -> Response[str]:
    """Shows somebody's own account."""
    return _profile(portal, visitor, notice=NOTICES.get(done, ""))


@get("/profile/second-factor", sync_to_thread=True)
def second_factor_page(door: Door, visitor: Visitor, next_path: Next = "/") -> Response[str]:
    """Shows a new secret, to be confirmed with a code."""
    signed = _without_second_factor(visitor, next_path)
    return _offer(door, visitor, signed, next_path=next_path)


@post("/profile/second-factor", sync_to_thread=True)
def second_factor(
    request: Request[Any, Any, Any], door: Door, visitor: Visitor, data: Form
) -> Response[str]:
    """Switches the second factor on, and shows the codes for the day the phone is lost."""
    form = visitor.checked(data)
    next_path = own_path(form.get("next", "/"))
    signed = _without_second_factor(visitor, next_path)
    try:
        token, codes = door.confirm_second_factor(
            signed, form.get("code", ""), origin(request), visitor.now
        )
    except (Refused, Wait) as error:
        wrong = TOO_OFTEN if isinstance(error, Wait) else WRONG_CODE
        return _offer(door, visitor, signed, next_path=next_path, error=wrong)
    answer = show(visitor, models.RecoveryCodes(codes=codes, next_path=next_path), tab="profile")
    answer.cookies.append(session_cookie(visitor, token))
    return answer


@post("/profile/second-factor/off", sync_to_thread=True)
def second_factor_off(
    request: Request[Any, Any, Any], portal: Portal, door: Door, visitor: Visitor, data: Form
) -> Response[None] | Response[str]:
    """Switches the second factor off, for whom it is not mandatory."""
    form = visitor.checked(data)
    signed = visitor.whole
    try:
        door.drop_second_factor(signed, form.get("code", ""), origin(request), visitor.now)
    except (Refused, Wait) as error:
        return _profile(
            portal,
            visitor,
            error=TOO_OFTEN if isinstance(error, Wait) else WRONG_CODE,
        )
    return see_other("/sign-in", no_session(visitor))


@post("/profile/password", sync_to_thread=True)
def password(
    request: Request[Any, Any, Any], portal: Portal, door: Door, visitor: Visitor, data: Form
) -> Response[None] | Response[str]:
    """Sets another password; every other session ends."""
    form = visitor.checked(data)
    signed = visitor.whole
    try:
        token = door.change_password(
            signed, form.get("old", ""), form.get("new", ""), origin(request), visitor.now
        )
    except Refused as error:
        return _profile(portal, visitor, error=str(error))
    except Wait:
        return _profile(portal, visitor, error=TOO_OFTEN)
    return see_other("/profile?done=password", session_cookie(visitor, token))


@post("/profile/sign-out-everywhere", sync_to_thread=True)
def sign_out_everywhere(door: Door, visitor: Visitor, data: Form) -> Response[None]:
    """Ends all sessions."""
    visitor.checked(data)
    door.sign_out_everywhere(visitor.whole)
    return see_other("/sign-in", no_session(visitor))


@post("/profile/tokens", sync_to_thread=True)
def new_token(portal: Portal, door: Door, visitor: Visitor, data: Form) -> Response[str]:
    """Makes an app password and shows it once."""
    form = visitor.checked(data)
    signed = visitor.whole
    name = form.get("name", "").strip()[:NAME_MAX]
    try:
        token = door.new_app_token(signed, name, visitor.now)
    except Refused as error:
        return _profile(portal, visitor, error=str(error))
    return _profile(portal, visitor, new_token=token)


@post("/profile/tokens/{token:str}/revoke", sync_to_thread=True)
def revoke_token(
    portal: Portal, visitor: Visitor, token: FromPath[str], data: Form
) -> Response[None]:
    """Takes an app password back."""
    visitor.checked(data)
    if not portal.store.sessions.end_token(visitor.whole.identity.person.person_id, token):
        raise NotFoundException
    return see_other("/profile")


def _without_second_factor(visitor: Visitor, next_path: str) -> Signed:
    """Somebody who may set one up: who must, or who is in and has none."""
    signed = visitor.signed
    if signed is None:
        go_to(f"/sign-in?next={quoted(own_path(next_path))}")
    if signed.identity.account.has_second_factor:
        go_to("/profile")
    return signed


def _offer(
    door: Door, visitor: Visitor, signed: Signed, *, next_path: str, error: str = ""
) -> Response[str]:
    secret, address = door.offer_second_factor(signed, visitor.now)
    drawing = io.BytesIO()
    segno.make(address, error="m").save(
        drawing, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2
    )
    return show(
        visitor,
        models.SecondFactorSetup(
            qr_svg=drawing.getvalue().decode(),
            secret=" ".join(secret[n : n + 4] for n in range(0, len(secret), 4)),
            is_mandatory=signed.stage is Stage.ENROL,
            next_path=own_path(next_path),
            error=error,
        ),
        tab="profile",
        status=403 if error else 200,
    )


def _profile(
    portal: Portal, visitor: Visitor, *, error: str = "", new_token: str = "", notice: str = ""
) -> Response[str]:
    signed = visitor.whole
    person, account = signed.identity.person, signed.identity.account
    sessions = portal.store.sessions.sessions(person.person_id)
    return show(
        visitor,
        models.Profile(
            name=person.name,
            email=person.email,
            has_second_factor=account.has_second_factor,
            must_have_second_factor=signed.identity.actor.needs_second_factor,
            sessions=tuple(
                models.SessionRow(
                    session_id=one.session_id,
                    browser=browser(one.client),
                    started_at=one.created_at,
                    seen_at=one.last_seen_at,
                    is_current=one.session_id == signed.session.session_id,
                )
                for one in sessions
            ),
            tokens=tuple(
                models.AppTokenRow(
                    token_id=one.token_id,
                    name=one.name,
                    created_at=one.created_at,
                    used_at=one.last_used_at,
                )
                for one in portal.store.sessions.tokens(person.person_id)
            ),
            password_length_min=PASSWORD_LENGTH_MIN,
            new_token=new_token,
            error=error,
        ),
        tab="profile",
        notice=notice,
        status=400 if error else 200,
    )


def browser(client: str) -> str:
    """Returns which browser and system a browser says to be; empty for what is none."""
    # The first that fits: Edge and Opera also call themselves Chrome, Chrome also Safari.
    names = (
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    )
    found = [next((name for mark, name in kind if mark in client), "") for kind in (names, systems)]
    return ", ".join(part for part in found if part)
