"""The pages before somebody is in: password, code of the second factor, invitation, language.

What is wrong with address or password is never said: nobody learns here who has an account.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, TooManyRequestsException
from litestar.params import FromPath, QueryParameter
from msgspec import structs

from autarco_portal.account import Stage
from autarco_portal.pages import invitations, models
from autarco_portal.pages.visitor import (
    VISIT_S,
    Door,
    Form,
    Visiting,
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
from autarco_portal.passwords import LENGTH_MIN, PasswordError
from autarco_portal.portal import Here
from autarco_portal.privacy import letter
from autarco_portal.proofs import Refusal, Refused
from autarco_portal.secret import Secret
from autarco_portal.web_identity import address

if TYPE_CHECKING:
    from litestar.datastructures import Cookie

    from autarco_portal.accounts import Accounts
    from autarco_portal.signed import SignedIn

SESSION_S = 30 * 86_400
"""How long a browser keeps its cookie; the server ends sessions earlier (`account`)."""
EMAIL_MAX = 254

REFUSALS = {
    Refusal.WRONG: N_("That is not right."),
    Refusal.WAIT: N_("Too many tries. Please wait a while and try again."),
    Refusal.APP_TOKEN_WANTED: N_("Programs need an app password."),
    Refusal.PROVE_AGAIN: N_("Please sign in again for this."),
    Refusal.LINK_OVER: N_("This link was used already, or it is too old."),
}
WRONG_PASSWORD = N_("E-mail address and password do not belong together.")
WRONG_CODE = N_("That is not the code of this moment.")

Next = Annotated[str, QueryParameter(name="next", max_length=1_000)]


@get("/sign-in", sync_to_thread=True)
def sign_in_page(visitor: Visiting, next_path: Next = "/") -> Response[str]:
    """Asks for e-mail address and password."""
    if visitor.signed is not None and visitor.signed.stage is Stage.FULL:
        go_to(own_path(next_path))
    return show(visitor, models.SignIn(next_path=own_path(next_path)))


@post("/sign-in", sync_to_thread=True)
def sign_in(
    request: Request[Any, Any, Any], accounts: Door, visitor: Visiting, data: Form
) -> Response[Any]:
    """Begins a session."""
    form = visitor.checked(data)
    email, next_path = form.get("email", "").strip(), own_path(form.get("next", "/"))
    tried = accounts.sign_in(
        email,
        Secret(form.get("password", "")),
        address=address(request),
        client=request.headers.get("user-agent", ""),
        now=visitor.now,
    )
    if isinstance(tried, Refused):
        page = models.SignIn(
            email=email[:EMAIL_MAX], next_path=next_path, error=said(tried, WRONG_PASSWORD)
        )
        return show(visitor, page, status=status(tried))
    return see_other(next_path, session_cookie(visitor, tried))


@get("/sign-in/code", sync_to_thread=True)
def code_page(visitor: Visiting, next_path: Next = "/") -> Response[str]:
    """Asks for the code of the second factor."""
    if visitor.signed is None:
        go_to(f"/sign-in?next={quoted(own_path(next_path))}")
    if visitor.signed.stage is not Stage.CODE:
        go_to(own_path(next_path))
    return show(visitor, models.SecondFactor(next_path=own_path(next_path)))


@post("/sign-in/code", sync_to_thread=True)
def code(accounts: Door, visitor: Visiting, data: Form) -> Response[Any]:
    """Finishes signing in."""
    form = visitor.checked(data)
    next_path = own_path(form.get("next", "/"))
    if visitor.signed is None or visitor.signed.stage is not Stage.CODE:
        return see_other(next_path)
    tried = accounts.give_code(visitor.token, Secret(form.get("code", "")), visitor.now)
    if isinstance(tried, Refused):
        page = models.SecondFactor(next_path=next_path, error=said(tried, WRONG_CODE))
        return show(visitor, page, status=status(tried))
    return see_other(next_path, session_cookie(visitor, tried))


@get("/sign-in/again", sync_to_thread=True)
def again_page(visitor: Visiting, next_path: Next = "/") -> Response[str]:
    """Asks somebody who is in to prove it anew, before something dangerous."""
    signed = visitor.whole
    page = models.ProveAgain(
        email=signed.person.email,
        next_path=own_path(next_path),
        has_second_factor=signed.account.has_second_factor,
    )
    return show(visitor, page)


@post("/sign-in/again", sync_to_thread=True)
def again(
    request: Request[Any, Any, Any], accounts: Door, visitor: Visiting, data: Form
) -> Response[Any]:
    """Proves it anew."""
    form = visitor.checked(data)
    signed, next_path = visitor.whole, own_path(form.get("next", "/"))
    given = form.get("code", "")
    tried = accounts.prove_again(
        visitor.token,
        Secret(form.get("password", "")),
        Secret(given) if given else None,
        address=address(request),
        now=visitor.now,
    )
    if isinstance(tried, Refused):
        page = models.ProveAgain(
            email=signed.person.email,
            next_path=next_path,
            has_second_factor=signed.account.has_second_factor,
            error=said(tried),
        )
        return show(visitor, page, status=status(tried))
    return see_other(next_path, session_cookie(visitor, tried))


@post("/sign-out", sync_to_thread=True)
def sign_out(accounts: Door, visitor: Visiting, data: Form) -> Response[None]:
    """Ends this session."""
    visitor.checked(data)
    accounts.sign_out(visitor.token, visitor.now)
    return see_other("/sign-in", no_session(visitor))


@get("/forgotten-password", sync_to_thread=True)
def forgotten_page(visitor: Visiting) -> Response[str]:
    """Asks where the link for another password goes."""
    return show(visitor, models.Forgotten())


@post("/forgotten-password", sync_to_thread=True)
def forgotten(
    request: Request[Any, Any, Any], portal: Here, accounts: Door, visitor: Visiting, data: Form
) -> Response[str]:
    """Mails the link, if somebody has the address; says the same in any case, and as quickly.

    Whether somebody has it is looked up beside the answer. Who asks too often must wait.
    """
    form = visitor.checked(data)
    email, now = form.get("email", "").strip()[:EMAIL_MAX], visitor.now
    refused = accounts.may_ask_for_link(email, address=address(request), now=now)
    if refused is not None:
        return show(visitor, models.Forgotten(error=said(refused)), status=status(refused))

    def mail() -> None:
        found = accounts.forgotten_password(email, now)
        if found is None:
            return
        person, link = found
        portal.store.mails.queue(
            letter.new_password(invitations.mailed(portal, link), person.language),
            now=now,
            person_id=person.person_id,
            language=person.language,
        )

    if not portal.outbox.soon(mail):
        raise TooManyRequestsException
    return show(visitor, models.Forgotten(is_sent=True))


@get("/invitation/{link:str}", sync_to_thread=True)
def invitation_page(accounts: Door, visitor: Visiting, link: FromPath[str]) -> Response[str]:
    """Lets somebody who was invited choose a password."""
    return show(visitor, _invited(accounts, visitor, link))


@post("/invitation/{link:str}", sync_to_thread=True)
def invitation(accounts: Door, visitor: Visiting, link: FromPath[str], data: Form) -> Response[Any]:
    """Takes an invitation up."""
    form = visitor.checked(data)
    page = _invited(accounts, visitor, link)
    error = ""
    if form.get("password", "") != form.get("again", ""):
        error = N_("The two passwords are not the same.")
    else:
        try:
            taken = accounts.accept(Secret(link), Secret(form.get("password", "")), visitor.now)
            error = said(taken) if isinstance(taken, Refused) else ""
        except PasswordError as weak:
            error = str(weak)
    if error:
        shown = structs.replace(page, error=error)
        return show(visitor, shown, status=HTTPStatus.BAD_REQUEST)
    return see_other("/sign-in", no_session(visitor))


@post("/language", sync_to_thread=True)
def language(visitor: Visiting, data: Form) -> Response[None]:
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


def said(refused: Refused, wrong: str = "") -> str:
    """Returns what somebody is told, in words of the source."""
    if refused.reason is Refusal.WRONG and wrong:
        return wrong
    return REFUSALS[refused.reason]


def status(refused: Refused) -> HTTPStatus:
    """Returns the status of an answer that refuses."""
    is_wait = refused.reason is Refusal.WAIT
    return HTTPStatus.TOO_MANY_REQUESTS if is_wait else HTTPStatus.FORBIDDEN


def session_cookie(visitor: Visitor, signed_in: SignedIn) -> Cookie:
    """Returns the cookie of a session."""
    token = signed_in.token.reveal()
    return cookie("session", token, is_https=visitor.is_https, max_age_s=SESSION_S)


def no_session(visitor: Visitor) -> Cookie:
    """Returns what removes the cookie of a session."""
    return cookie("session", "", is_https=visitor.is_https, max_age_s=0)


def _invited(accounts: Accounts, visitor: Visitor, link: str) -> models.Invitation:
    person = accounts.invited(Secret(link), visitor.now)
    if person is None:
        raise NotFoundException(REFUSALS[Refusal.LINK_OVER])
    return models.Invitation(
        token=link,
        email=person.email,
        name=person.name,
        is_new=not accounts.has_password(person.person_id),
        password_length_min=LENGTH_MIN,
    )
