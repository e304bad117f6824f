"""`/api/v1/sites/…/grants` and `/owner`: who may see a site, and who lets them?"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.exceptions import NotFoundException, ValidationException
from litestar.params import JSONBody, PathParameter

from autarco_portal.api.access import PROBLEMS, Key, allowed, seen
from autarco_portal.pages import invitations
from autarco_portal.pages.visitor import Door
from autarco_portal.people import PeopleError
from autarco_portal.portal import Here
from autarco_portal.rights import Action
from autarco_portal.site_access import NAME_MAX, WHY_MAX, SiteAccessDesk
from autarco_portal.store import StoreError
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.people import Actor, Grant
    from autarco_portal.portal import Portal

GrantId = Annotated[str, PathParameter(max_length=64, description="Names the grant.")]
Email = Annotated[str, msgspec.Meta(max_length=254)]


class GrantItem(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may see a site because its owner lets him."""

    grant_id: str
    who: str
    """A person's e-mail address, or an organisation's name."""
    why: str
    since: datetime
    until: datetime | None


class NewGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to let look."""

    email: Email
    """Who has no account is invited; the answer does not tell."""
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=WHY_MAX)]
    until: date | None = None
    """Last local day; by default until it is ended."""


class NewOwner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to invite."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX)]
    email: Email


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """The owner was invited; his link was mailed too, where mail is set up."""

    link: str
    """He chooses his password there, once."""


@get("/sites/{key:str}/grants", sync_to_thread=True, summary="List who else may look",
     tags=["sites"], responses=PROBLEMS)  # fmt: skip
def list_grants(portal: Here, accounts: Door, actor: Asking, key: Key) -> list[GrantItem]:
    """Those in force, for whoever may see the site's owner."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_CONTACT, record)
    portal.looked(who, record, "view_contact")
    desk = SiteAccessDesk(portal, accounts, record, who)
    return [_item(desk, one) for one in desk.grants()]


@post("/sites/{key:str}/grants", sync_to_thread=True, summary="Let somebody look",
      tags=["sites"], responses=PROBLEMS)  # fmt: skip
def give_grant(
    portal: Here, accounts: Door, actor: Asking, key: Key, data: JSONBody[NewGrant]
) -> GrantItem:
    """For the owner, and not with an app token. Who has no account is invited to make one."""
    desk, who = _desk(portal, accounts, actor, key, Action.GRANT_ACCESS)
    person = portal.store.people.get(who.person_id)
    try:
        given = desk.give(
            data.email,
            why=data.why,
            until=data.until,
            language=person.language if person is not None else "nl",
        )
    except (PeopleError, StoreError) as wrong:
        raise ValidationException(str(wrong)) from wrong
    return _item(desk, given)


@delete("/sites/{key:str}/grants/{grant_id:str}", sync_to_thread=True, summary="End a grant",
        tags=["sites"], responses=PROBLEMS)  # fmt: skip
def end_grant(portal: Here, accounts: Door, actor: Asking, key: Key, grant_id: GrantId) -> None:
    """At once. Not with an app token."""
    desk, _ = _desk(portal, accounts, actor, key, Action.GRANT_ACCESS)
    if not desk.end(grant_id):
        raise NotFoundException("no such grant")


@post("/sites/{key:str}/owner", sync_to_thread=True, summary="Invite the owner",
      tags=["sites"], responses=PROBLEMS)  # fmt: skip
def invite_owner(
    portal: Here,
    accounts: Door,
    actor: Asking,
    request: Request[Any, Any, Any],
    key: Key,
    data: JSONBody[NewOwner],
) -> Invited:
    """Of a site that has none, or once more while he has no password. Not with an app token."""
    desk, who = _desk(portal, accounts, actor, key, Action.INVITE)
    person = portal.store.people.get(who.person_id)
    try:
        secret = desk.invite_owner(
            data.name, data.email, person.language if person is not None else "nl"
        )
    except (PeopleError, StoreError) as wrong:
        raise ValidationException(str(wrong)) from wrong
    return Invited(link=invitations.shown(request, secret))


def _desk(
    portal: Portal, accounts: Door, actor: Actor | None, key: str, action: Action
) -> tuple[SiteAccessDesk, Actor]:
    who, record = seen(portal, actor, key)
    allowed(who, action, record)
    return SiteAccessDesk(portal, accounts, record, who), who


def _item(desk: SiteAccessDesk, grant: Grant) -> GrantItem:
    return GrantItem(
        grant_id=grant.grant_id,
        who=desk.shown(grant),
        why=grant.why,
        since=grant.from_at,
        until=grant.until,
    )


ROUTES = (list_grants, give_grant, end_grant, invite_owner)
