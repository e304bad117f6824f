"""Who may see a site: its owners, what partners do for it, whom the owner lets look?

The owner gives access and ends it; a partner who cares for the site invites its owner.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath

from autarco_portal.pages import invitations
from autarco_portal.pages import models_site_people as models
from autarco_portal.pages.site import viewable
from autarco_portal.pages.visitor import Door, Form, Visiting, Visitor, see_other, show
from autarco_portal.people import PeopleError, holds
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import Action, may
from autarco_portal.site_access import SiteAccessDesk
from autarco_portal.store import StoreError

if TYPE_CHECKING:
    from autarco_portal.accounts import Accounts
    from autarco_portal.site_record import SiteRecord


NO_DAY = "expected a day, as 2026-06-21"


@get("/sites/{key:str}/people", sync_to_thread=True)
def site_people(
    portal: Here, accounts: Door, visitor: Visiting, key: FromPath[str]
) -> Response[str]:
    """Shows who may see a site to whoever may see its owner."""
    return _shown(portal, accounts, visitor, _contactable(portal, visitor, key))


@post("/sites/{key:str}/grants", sync_to_thread=True)
def grant(
    portal: Here, accounts: Door, visitor: Visiting, key: FromPath[str], data: Form
) -> Response[None] | Response[str]:
    """Lets somebody look, until a day or until it is ended; invites who has no account."""
    form = visitor.checked(data)
    record, actor = viewable(portal, visitor.actor, key), visitor.actor
    if not may(actor, Action.GRANT_ACCESS, record.access):
        raise PermissionDeniedException
    try:
        SiteAccessDesk(portal, accounts, record, actor).give(
            form.get("email", ""),
            why=form.get("why", ""),
            until=_day(form.get("until", "")),
            language=visitor.language.value,
        )
    except (PeopleError, StoreError) as wrong:
        return _shown(portal, accounts, visitor, record, error=str(wrong))
    return see_other(f"/sites/{key}/people")


@post("/sites/{key:str}/grants/{name:str}/end", sync_to_thread=True)
def end_grant(
    portal: Here,
    accounts: Door,
    visitor: Visiting,
    key: FromPath[str],
    name: FromPath[str],
    data: Form,
) -> Response[None]:
    """Ends what a grant allowed."""
    visitor.checked(data)
    record = viewable(portal, visitor.actor, key)
    if not may(visitor.actor, Action.GRANT_ACCESS, record.access):
        raise PermissionDeniedException
    if not SiteAccessDesk(portal, accounts, record, visitor.actor).end(name):
        raise NotFoundException
    return see_other(f"/sites/{key}/people")


@post("/sites/{key:str}/owner", sync_to_thread=True)
def invite_owner(
    request: Request[Any, Any, Any],
    portal: Here,
    accounts: Door,
    visitor: Visiting,
    key: FromPath[str],
    data: Form,
) -> Response[str]:
    """Invites the owner of a site that has none yet, or once more while he has no password."""
    form = visitor.checked(data)
    actor = visitor.actor
    record = viewable(portal, actor, key)
    if not may(actor, Action.INVITE, record.access):
        raise PermissionDeniedException
    try:
        secret = SiteAccessDesk(portal, accounts, record, actor).invite_owner(
            form.get("name", ""), form.get("email", ""), visitor.language.value
        )
    except (PeopleError, StoreError) as wrong:
        return _shown(portal, accounts, visitor, record, error=str(wrong))
    link = invitations.shown(request, secret)
    return _shown(portal, accounts, visitor, viewable(portal, actor, key), link=link)


def _contactable(portal: Portal, visitor: Visitor, key: str) -> SiteRecord:
    record = viewable(portal, visitor.actor, key)
    if not may(visitor.actor, Action.VIEW_CONTACT, record.access):
        raise PermissionDeniedException
    portal.looked(visitor.actor, record, "view_contact")
    return record


def _shown(
    portal: Portal,
    accounts: Accounts,
    visitor: Visitor,
    record: SiteRecord,
    *,
    error: str = "",
    link: str = "",
) -> Response[str]:
    desk = SiteAccessDesk(portal, accounts, record, visitor.actor)
    now, actor = visitor.now, visitor.actor
    names = portal.organisation_names()
    owners = [portal.store.people.get(one.person_id) for one in record.owners if holds(one, now)]
    page = models.SitePeople(
        site_id=record.public_key,
        site_name=record.name,
        owners=tuple(
            models.OwnerRow(
                name=one.name, email=one.email, is_invited=_is_invited(portal, one.person_id)
            )
            for one in owners
            if one is not None
        ),
        roles=tuple(
            models.RoleRow(
                organisation=names.get(one.organisation_id, one.organisation_id),
                kind=one.kind,
                since=one.from_at,
            )
            for one in record.roles
            if holds(one, now)
        ),
        grants=tuple(
            models.GrantRow(
                grant_id=one.grant_id,
                who=desk.shown(one),
                why=one.why,
                since=one.from_at,
                until=one.until,
            )
            for one in desk.grants()
        ),
        may_grant=may(actor, Action.GRANT_ACCESS, record.access),
        may_invite=may(actor, Action.INVITE, record.access),
        invitation_link=link,
        error=error,
    )
    return show(visitor, page, tab="sites", status=400 if error else 200)


def _is_invited(portal: Portal, person_id: str) -> bool:
    account = portal.store.accounts.get(person_id)
    return account is not None and not account.has_password


def _day(text: str) -> date | None:
    """The day of a form; raises PeopleError for what is none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise PeopleError(NO_DAY) from None


HANDLERS = [site_people, grant, end_grant, invite_owner]
