"""The pages before somebody is in: password, code of the second factor, invitation, language.

What is wrong with name or password is never said: nobody learns here who has an account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, Parameter
from msgspec import structs

from autarco_portal.account import Stage
from autarco_portal.pages import models
from autarco_portal.pages.door import Door, From, Refused, Wait
from autarco_portal.pages.visitor import (
    VISIT_S,
    Form,
    Visitor,
    cookie,
    go_to,
    own_path,
    quoted,
    see_other,
    show,
    visit_cookie,
)
from autarco_portal.pages.words import N_, Language

if TYPE_CHECKING:
    from litestar.datastructures import Cookie

SESSION_S = 30 * 86_400
"""How long a browser keeps its cookie; the server ends sessions earlier (`account`)."""
PASSWORD_LENGTH_MIN = 12
CLIENT_MAX = 200
"""Characters of what a browser says of itself."""
WRONG = N_("E-mail address and password do not belong together.")
TOO_OFTEN = N_("Too many tries. Please wait a while and try again.")

Next = Annotated[str, Parameter(query="next", max_length=1_000)]


@get("/sign-in", sync_to_thread=True)
def sign_in_page(visitor: Visitor, next_path: Next = "/") -> Response[str]:
    """Asks for e-mail address and password."""
    if visitor.signed is not None and visitor.signed.stage is Stage.FULL:
        go_to(own_path(next_path))
    return show(visitor, models.SignIn(next_path=own_path(next_path)))


@post("/sign-in", sync_to_thread=True)
def sign_in(
    request: Request[Any, Any, Any], door: Door, visitor: Visitor, data: Form
) -> Response[None] | Response[str]:
    """Begins a session."""
    form = visitor.checked(data)
    email, next_path = form.get("email", "").strip(), own_path(form.get("next", "/"))
    try:
        token = door.sign_in(email, form.get("password", ""), origin(request), visitor.now)
    except (Refused, Wait) as error:
        page = models.SignIn(
            email=email[:254],
            next_path=next_path,
            error=TOO_OFTEN if isinstance(error, Wait) else WRONG,
        )
        return show(visitor, page, status=429 if isinstance(error, Wait) else 403)
    return see_other(next_path, session_cookie(visitor, token))


@get("/sign-in/code", sync_to_thread=True)
def code_page(visitor: Visitor, next_path: Next = "/") -> Response[str]:
    """Asks for the code of the second factor."""
    if visitor.signed is None:
        go_to(f"/sign-in?next={quoted(own_path(next_path))}")
    if visitor.signed.stage is not Stage.CODE:
        go_to(own_path(next_path))
    return show(visitor, models.SecondFactor(next_path=own_path(next_path)))


@post("/sign-in/code", sync_to_thread=True)
def code(
    request: Request[Any, Any, Any], door: Door, visitor: Visitor, data: Form
) -> Response[None] | Response[str]:
    """Finishes signing in."""
    form = visitor.checked(data)
    next_path = own_path(form.get("next", "/"))
    if visitor.signed is None or visitor.signed.stage is not Stage.CODE:
        return see_other(next_path)
    try:
        token = door.prove(visitor.signed, form.get("code", ""), origin(request), visitor.now)
    except (Refused, Wait) as error:
        wrong = N_("That is not the code of this moment.")
        page = models.SecondFactor(
            next_path=next_path, error=TOO_OFTEN if isinstance(error, Wait) else wrong
        )
        return show(visitor, page, status=429 if isinstance(error, Wait) else 403)
    return see_other(next_path, session_cookie(visitor, token))


@post("/sign-out", sync_to_thread=True)
def sign_out(door: Door, visitor: Visitor, data: Form) -> Response[None]:
    """Ends this session."""
    visitor.checked(data)
    if visitor.signed is not None:
        door.sign_out(visitor.signed)
    return see_other("/sign-in", no_session(visitor))


@get("/invitation/{link:str}", sync_to_thread=True)
def invitation_page(door: Door, visitor: Visitor, link: FromPath[str]) -> Response[str]:
    """Lets somebody who was invited choose a password."""
    return show(visitor, _invited(door, visitor, link))


@post("/invitation/{link:str}", sync_to_thread=True)
def invitation(
    door: Door, visitor: Visitor, link: FromPath[str], data: Form
) -> Response[None] | Response[str]:
    """Takes an invitation up."""
    form = visitor.checked(data)
    page = _invited(door, visitor, link)
    error = ""
    if form.get("password", "") != form.get("again", ""):
        error = N_("The two passwords are not the same.")
    else:
        try:
            door.take_up(link, form.get("password", ""), visitor.now)
        except Refused as refused:
            error = str(refused)
    if error:
        return show(visitor, structs.replace(page, error=error), status=400)
    return see_other("/sign-in", no_session(visitor))


def _invited(door: Door, visitor: Visitor, link: str) -> models.Invitation:
    person = door.invited(link, visitor.now)
    if person is None:
        raise NotFoundException(N_("This link was used already, or it is too old."))
    return models.Invitation(
        token=link,
        email=person.email,
        name=person.name,
        password_length_min=PASSWORD_LENGTH_MIN,
    )


@post("/language", sync_to_thread=True)
def language(visitor: Visitor, data: Form) -> Response[None]:
    """Remembers the language of this browser."""
    form = visitor.checked(data)
    chosen = form.get("language", "")
    if chosen not in set(Language):
        raise NotFoundException
    return see_other(
        form.get("next", "/"),
        cookie("language", chosen, is_https=visitor.is_https, max_age_s=VISIT_S),
        visit_cookie(visitor),
    )


def origin(request: Request[Any, Any, Any]) -> From:
    """Returns where a request comes from."""
    address = request.client.host if request.client is not None else "0.0.0.0"  # noqa: S104
    return From(address=address, client=request.headers.get("user-agent", "")[:CLIENT_MAX])


def session_cookie(visitor: Visitor, token: str) -> Cookie:
    """Returns the cookie of a session."""
    return cookie("session", token, is_https=visitor.is_https, max_age_s=SESSION_S)


def no_session(visitor: Visitor) -> Cookie:
    """Returns what removes the cookie of a session."""
    return cookie("session", "", is_https=visitor.is_https, max_age_s=0)
