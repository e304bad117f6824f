"""The pages of organisations: who works where, and who may come or go?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from autarco_portal.pages import models
from autarco_portal.pages.visitor import Visiting, Visitor, show
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import PORTAL, Action, may

if TYPE_CHECKING:
    from autarco_portal.people import Actor, Membership, Organisation, Person


@get("/organisations", sync_to_thread=True)
def organisations(portal: Here, visitor: Visiting) -> Response[str]:
    """Lists the organisations that somebody may view."""
    return show(visitor, organisation_list(portal, visitor), tab="organisations")


def organisation_list(portal: Portal, visitor: Visitor, error: str = "") -> models.Organisations:
    """Returns the list as somebody sees it."""
    actor = visitor.actor
    everything = portal.store.organisations.all()
    names = {one.organisation_id: one.name for one in everything}
    return models.Organisations(
        rows=tuple(
            models.OrganisationRow(
                organisation_id=one.organisation_id,
                name=one.name,
                kind=one.kind,
                parent=names.get(one.parent or "", ""),
                people=len(portal.store.people.members(one.organisation_id, visitor.now)),
            )
            for one in everything
            if may(actor, Action.VIEW_ORGANISATION, one)
        ),
        may_add=may(actor, Action.CREATE_ORGANISATION, PORTAL),
        error=error,
    )


@get("/organisations/{identifier:str}", sync_to_thread=True)
def organisation(portal: Here, visitor: Visiting, identifier: FromPath[str]) -> Response[str]:
    """Shows one organisation with its people."""
    found = viewable_organisation(portal, visitor.actor, identifier)
    return show(visitor, organisation_page(portal, visitor, found), tab="organisations")


def viewable_organisation(portal: Portal, actor: Actor, identifier: str) -> Organisation:
    """Returns an organisation that somebody may view; raises NotFoundException for others."""
    found = portal.store.organisations.get(identifier)
    if found is None or not may(actor, Action.VIEW_ORGANISATION, found):
        raise NotFoundException
    return found


def organisation_page(
    portal: Portal,
    visitor: Visitor,
    found: Organisation,
    *,
    error: str = "",
    invitation_link: str = "",
) -> models.OrganisationPage:
    """Returns the page as somebody sees it."""
    actor = visitor.actor
    return models.OrganisationPage(
        organisation_id=found.organisation_id,
        name=found.name,
        kind=found.kind,
        members=tuple(
            _member(portal, actor, person, membership)
            for person, membership in portal.store.people.members(
                found.organisation_id, visitor.now
            )
        ),
        may_invite=may(actor, Action.INVITE, found),
        invitation_link=invitation_link,
        error=error,
    )


def _member(
    portal: Portal, actor: Actor, person: Person, membership: Membership
) -> models.MemberRow:
    account = portal.store.accounts.get(person.person_id)
    access = portal.store.people.access(person.person_id, actor.at)
    is_self = person.person_id == actor.person_id
    return models.MemberRow(
        person_id=person.person_id,
        name=person.name,
        email=person.email,
        role=membership.role,
        has_second_factor=account is not None and account.has_second_factor,
        is_disabled=account is not None and account.disabled_at is not None,
        is_invited=account is None or not account.has_password,
        is_self=is_self,
        may_disable=access is not None
        and not is_self
        and may(actor, Action.DISABLE_ACCOUNT, access),
        may_reset_second_factor=access is not None
        and not is_self
        and may(actor, Action.RESET_SECOND_FACTOR, access),
    )
