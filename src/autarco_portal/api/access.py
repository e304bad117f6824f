"""Who may do what to a site, as a handler asks it, and which refusals does a route document?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar.exceptions import (
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from autarco_portal import web_problems
from autarco_portal.rights import Action, may
from autarco_portal.site_record import seen_by

if TYPE_CHECKING:
    from autarco_portal.people import Actor
    from autarco_portal.portal import Portal
    from autarco_portal.site_record import SiteRecord

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="portal"'}
"""Not Basic: a page that asks with an ended session must not make the browser ask for a name."""

Key = Annotated[str, PathParameter(description="The site's public key.", max_length=64)]

_REFUSALS = {
    400: "The request cannot be understood.",
    401: "Nobody is signed in, or the token is wrong.",
    403: "That may be seen, not done.",
    404: "There is no such thing, for you.",
    429: "Too many requests.",
    503: "The readings cannot be read now.",
}
PROBLEMS = {
    status: ResponseSpec(
        data_container=web_problems.Problem,
        description=text,
        media_type=web_problems.MEDIA_TYPE,
        generate_examples=False,
    )
    for status, text in _REFUSALS.items()
}
"""For every route's `responses`."""


def known(actor: Actor | None) -> Actor:
    """Returns who asks; raises NotAuthorizedException for somebody unknown."""
    if actor is None:
        raise NotAuthorizedException("a token, or name and password, is wanted", headers=CHALLENGE)
    return actor


def seen(portal: Portal, actor: Actor | None, key: str) -> tuple[Actor, SiteRecord]:
    """Returns who asks and a site as he may see it, which the audit log is told of.

    Raises NotAuthorized- and NotFoundException.
    """
    who = known(actor)
    record = portal.sites.record(key, who.at)
    if record is None or not may(who, Action.VIEW_SITE, record.access):
        raise NotFoundException("no such site")
    portal.looked(who, record)
    return who, seen_by(who, record)


def allowed(who: Actor, action: Action, record: SiteRecord) -> None:
    """Raises PermissionDeniedException for what one may not do to a site that one may view."""
    if not may(who, action, record.access):
        raise PermissionDeniedException("that is not yours to do")
