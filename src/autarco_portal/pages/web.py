"""Which pages are there, and what do their handlers know?

`router` puts them together; `failure` is how the application tells a person that something did not
work. Handlers get by name: `portal`, `visitor` (who looks, and in which language), `board`,
`history` and `accounts`. Each asks `rights.may`, or the store by the same rule.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, Router
from litestar.di import Provide

from autarco_portal.pages import (
    alarms,
    fleet,
    guarantees,
    models,
    my_data,
    organisations,
    people,
    policy,
    privacy_desk,
    profile,
    sign_in,
    site,
    site_people,
)
from autarco_portal.pages.board import Board
from autarco_portal.pages.static import serve_static
from autarco_portal.pages.visitor import (
    Visitor,
    cookie_name,
    language_of,
    new_visit,
    show,
)
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.secret import Secret
from autarco_portal.site_history import History

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from autarco_portal.accounts import Accounts
    from autarco_portal.portal import Portal

HANDLERS: list[HTTPRouteHandler] = [
    fleet.fleet,
    site.site,
    *site_people.HANDLERS,
    alarms.alarms,
    alarms.alarm,
    alarms.acknowledge,
    guarantees.guarantees,
    guarantees.guarantee,
    organisations.organisations,
    organisations.organisation,
    people.add_organisation,
    people.invite,
    people.disable,
    people.reset_second_factor,
    *my_data.HANDLERS,
    *privacy_desk.HANDLERS,
    *policy.HANDLERS,
    profile.profile,
    profile.second_factor_page,
    profile.second_factor,
    profile.second_factor_off,
    profile.password,
    profile.sign_out_everywhere,
    profile.new_token,
    profile.revoke_token,
    sign_in.sign_in_page,
    sign_in.sign_in,
    sign_in.code_page,
    sign_in.code,
    sign_in.again_page,
    sign_in.again,
    sign_in.sign_out,
    sign_in.invitation_page,
    sign_in.invitation,
    sign_in.forgotten_page,
    sign_in.forgotten,
    sign_in.language,
    serve_static,
]


def router(portal: Portal, accounts: Accounts) -> Router:
    """Returns all pages."""
    board = Board(portal.store)
    history = History(PortalDirectory(portal.settings.data / "portal"))
    visitor = visitor_of(portal, accounts)
    return Router(
        "/",
        route_handlers=HANDLERS,
        dependencies={
            "board": Provide(lambda: board, sync_to_thread=False),
            "accounts": Provide(lambda: accounts, sync_to_thread=False),
            "history": Provide(lambda: history, sync_to_thread=False),
            "visitor": Provide(visitor, sync_to_thread=True),
        },
        include_in_schema=False,
    )


def visitor_of(
    portal: Portal, accounts: Accounts | None
) -> Callable[[Request[Any, Any, Any]], Visitor]:
    """Returns what finds out who looks; without accounts everybody is a stranger."""
    is_https = portal.settings.is_https

    def visitor(request: Request[Any, Any, Any]) -> Visitor:
        now = portal.now()
        token = Secret(request.cookies.get(cookie_name("session", is_https=is_https), ""))
        signed = None
        if accounts is not None and token.reveal():
            signed = accounts.who(token, now)
        url = request.url
        return Visitor(
            path=f"{url.path}?{url.query}" if url.query else url.path,
            now=now,
            language=language_of(request, signed, is_https=is_https),
            visit=request.cookies.get(cookie_name("visit", is_https=is_https)) or new_visit(),
            token=token,
            signed=signed,
            is_https=is_https,
        )

    return visitor


def failure(
    portal: Portal, accounts: Accounts
) -> Callable[[Request[Any, Any, Any], int, str], Response[Any]]:
    """Returns what shows status and sentence to a person (`web_problems.Page`)."""
    visitor, stranger = visitor_of(portal, accounts), visitor_of(portal, None)

    def page(request: Request[Any, Any, Any], status: int, sentence: str) -> Response[Any]:
        if status < HTTPStatus.BAD_REQUEST:
            return Response(None, status_code=status)
        said = "" if sentence == HTTPStatus(status).phrase else sentence
        # When something is out of order here, the store may be: nobody asks it who that was.
        find = visitor if status < HTTPStatus.INTERNAL_SERVER_ERROR else stranger
        return show(find(request), models.Failure(status=status, sentence=said), status=status)

    return page
