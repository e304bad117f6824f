"""Who looks at a page, in which language, and is a form really of this visitor's own page?

A form brings a token that follows from a cookie which no script and no other site can read. So who
has not got the page cannot send its forms, also where a browser does not say where a request comes
from (`web_headers.refuse_cross_site` asks that first).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import urllib.parse
from datetime import datetime  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from litestar import Response
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.params import URLEncodedBody

from autarco_portal.account import Stage
from autarco_portal.accounts import Accounts
from autarco_portal.pages.chart_library import POLICY
from autarco_portal.pages.models import Frame
from autarco_portal.pages.render import render
from autarco_portal.pages.words import Language, Words, preferred, words
from autarco_portal.rights import PORTAL, Action, may
from autarco_portal.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Request

    from autarco_portal.pages.models import Page, Tab
    from autarco_portal.people import Actor
    from autarco_portal.signed import Signed

Form: TypeAlias = URLEncodedBody[dict[str, str]]
"""A handler's argument `data`: what a form holds; check it with `Visitor.checked`."""
VISIT_S = 365 * 86_400
"""How long the choice of language is remembered."""
PATH_MAX = 1_000
"""Characters of an address to come back to."""


class Visitor:
    """Somebody with a browser."""

    def __init__(
        self,
        *,
        path: str,
        now: datetime,
        language: Language,
        visit: str,
        token: Secret,
        signed: Signed | None,
        is_https: bool,
    ) -> None:
        """`path` has its query; `visit` is a secret of this browser, signed in or not.

        `token` is that of the session, empty for somebody who is not on the way in.
        """
        self.path = path
        self.now = now
        self.language = language
        self.visit = visit
        self.token = token
        self.signed = signed
        self.is_https = is_https

    @property
    def words(self) -> Words:
        """The visitor's language."""
        return words(self.language)

    @property
    def csrf(self) -> str:
        """What the visitor's forms bring along; another one once somebody signed in."""
        secret = self.visit if self.signed is None else self.token.reveal()
        return hashlib.sha256(b"form\0" + secret.encode()).hexdigest()

    @property
    def actor(self) -> Actor:
        """Who acts; sends away whoever has not signed in wholly."""
        actor = self.whole.actor
        if actor is None:
            # A whole session always has one; nobody acts as nobody.
            raise PermissionDeniedException
        return actor

    @property
    def whole_token(self) -> Secret:
        """The token of whoever is wholly in; sends others away."""
        return self.token if self.whole.stage is Stage.FULL else Secret("")

    @property
    def whole(self) -> Signed:
        """The session of somebody who signed in wholly; sends others away to do so."""
        if self.signed is None:
            go_to(f"/sign-in?next={quoted(self.path)}")
        if self.signed.stage is Stage.CODE:
            go_to(f"/sign-in/code?next={quoted(self.path)}")
        if self.signed.stage is Stage.ENROL:
            go_to(f"/profile/second-factor?next={quoted(self.path)}")
        return self.signed

    def checked(self, form: Mapping[str, str]) -> Mapping[str, str]:
        """Returns a form of the visitor's own page; raises PermissionDeniedException for others."""
        if not hmac.compare_digest(form.get("csrf", "").encode(), self.csrf.encode()):
            raise PermissionDeniedException("this form is too old: open the page again")
        return form


Visiting: TypeAlias = NamedDependency[Visitor]
"""A handler's argument `visitor`: who looks."""


Door: TypeAlias = NamedDependency[Accounts]
"""A handler's argument `accounts`."""


def cookie_name(name: str, *, is_https: bool) -> str:
    """Returns the name under which a browser keeps a cookie for this host alone, if it can."""
    return f"__Host-{name}" if is_https else name


def cookie(name: str, value: str, *, is_https: bool, max_age_s: int | None) -> Cookie:
    """Returns a cookie that no script reads and no other site sends; 0 seconds removes it."""
    return Cookie(
        key=cookie_name(name, is_https=is_https),
        value=value,
        max_age=max_age_s,
        path="/",
        httponly=True,
        secure=is_https,
        # Strict would sign people out who come by the link of a mail.
        samesite="lax",
    )


def new_visit() -> str:
    """Draws the secret of a browser."""
    return secrets.token_urlsafe(24)


def language_of(
    request: Request[Any, Any, Any], signed: Signed | None, *, is_https: bool
) -> Language:
    """Returns a visitor's language: chosen here, kept with the account, asked by the browser."""
    chosen = request.cookies.get(cookie_name("language", is_https=is_https))
    if chosen is None and signed is not None:
        chosen = signed.person.language
    return preferred(chosen, request.headers.get("accept-language"))


def show(
    visitor: Visitor,
    page: Page,
    *,
    tab: Tab = "",
    notice: str = "",
    json_path: str = "",
    status: int = 200,
) -> Response[str]:
    """Answers a page."""
    signed = visitor.signed
    is_in = signed is not None and signed.stage is Stage.FULL
    actor = signed.actor if signed is not None else None
    frame = Frame(
        path=visitor.path,
        tab=tab,
        person=signed.person.name if signed is not None and is_in else None,
        has_organisations=actor is not None and bool(actor.roles or actor.portal_roles),
        is_officer=actor is not None and may(actor, Action.HANDLE_PRIVACY_REQUESTS, PORTAL),
        csrf=visitor.csrf,
        now=visitor.now,
        notice=notice,
        json_path=json_path,
    )
    return Response(
        render(page, frame, visitor.language),
        status_code=status,
        media_type="text/html",
        headers={
            "Content-Security-Policy": POLICY,
            "Content-Language": visitor.language.value,
            "Vary": "Accept-Language, Cookie",
        },
        cookies=[visit_cookie(visitor)],
    )


def visit_cookie(visitor: Visitor) -> Cookie:
    """Returns the cookie that a visitor's forms are compared with."""
    return cookie("visit", visitor.visit, is_https=visitor.is_https, max_age_s=VISIT_S)


def see_other(path: str, *cookies: Cookie) -> Response[None]:
    """Sends a browser on after a form: coming back does not send it again."""
    return Response(None, status_code=303, headers={"Location": own_path(path)}, cookies=[*cookies])


def go_to(path: str) -> NoReturn:
    """Sends a browser elsewhere instead of answering."""
    raise HTTPException(status_code=303, headers={"Location": path})


def own_path(path: str) -> str:
    """Returns an address if it is one of ours, else that of the start page.

    A browser takes // and a backslash for another host.
    """
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) <= PATH_MAX
    return path if is_ours and path.isascii() and path.isprintable() and "\\" not in path else "/"


def quoted(path: str) -> str:
    """Returns an address as a value within another one."""
    return urllib.parse.quote(path[:PATH_MAX], safe="/")
