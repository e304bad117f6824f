"""Who exercises a right through the API: he himself, in a session, with a proof that is fresh?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from litestar.exceptions import PermissionDeniedException
from litestar.params import PathParameter

from autarco_portal.account import SessionRules, is_fresh
from autarco_portal.api.access import known
from autarco_portal.pages.visitor import cookie_name
from autarco_portal.privacy_self import Own
from autarco_portal.rights import Action, PersonAccess, may
from autarco_portal.secret import Secret, digest

if TYPE_CHECKING:
    from litestar import Request

    from autarco_portal.people import Actor
    from autarco_portal.portal import Portal

Name = Annotated[str, PathParameter(max_length=64, description="Names the entry.")]


def oneself(actor: Actor | None) -> Actor:
    """Returns who changes something of his own; an app token changes nothing."""
    who = known(actor)
    if not may(who, Action.USE_ACCOUNT, PersonAccess(person_id=who.person_id)):
        raise PermissionDeniedException("a program changes nothing: use the portal itself")
    return who


def is_proved(portal: Portal, request: Request[Any, Any, Any], who: Actor) -> bool:
    """Tells whether he proved just now, in this session, who he is."""
    token = request.cookies.get(cookie_name("session", is_https=portal.settings.is_https))
    if token is None:
        return False
    found = portal.store.sessions.session(digest(Secret(token)), who.at)
    return (
        found is not None
        and found[0].person_id == who.person_id
        and is_fresh(found[0], who.at, SessionRules())
    )


def need_fresh(portal: Portal, request: Request[Any, Any, Any], who: Actor) -> None:
    """Raises PermissionDeniedException unless he proved just now who he is."""
    if not is_proved(portal, request, who):
        raise PermissionDeniedException("prove again who you are")


def own_of(portal: Portal, who: Actor) -> Own:
    """Returns what somebody may do about his own data."""
    return Own(portal, who.person_id, who.at)
