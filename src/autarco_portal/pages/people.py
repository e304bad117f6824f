"""What may somebody do about others: add organisations, invite, close accounts, reset phones?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath

from autarco_portal.pages import invitations
from autarco_portal.pages.organisations import (
    organisation_list,
    organisation_page,
    viewable_organisation,
)
from autarco_portal.pages.visitor import Door, Form, Visiting, Visitor, own_path, see_other, show
from autarco_portal.pages.words import N_
from autarco_portal.people import (
    MemberRole,
    OrganisationKind,
    PeopleError,
    Source,
    SourceKind,
)
from autarco_portal.portal import Here, Portal
from autarco_portal.rights import PORTAL, Action, may
from autarco_portal.store import StoreError

if TYPE_CHECKING:
    from autarco_portal.people import Actor, Person

KNOWN = N_("Somebody with this e-mail address works elsewhere; ask the support.")


@post("/organisations", sync_to_thread=True)
def add_organisation(portal: Here, visitor: Visiting, data: Form) -> Response[None] | Response[str]:
    """Adds an organisation."""
    form = visitor.checked(data)
    if not may(visitor.actor, Action.CREATE_ORGANISATION, PORTAL):
        raise PermissionDeniedException
    try:
        made = portal.store.organisations.add(
            name=form.get("name", "").strip(),
            kind=OrganisationKind(form.get("kind", "")),
            parent=form.get("parent") or None,
            now=visitor.now,
        )
    except (PeopleError, StoreError, ValueError) as error:
        page = organisation_list(portal, visitor, str(error))
        return show(visitor, page, tab="organisations", status=400)
    return see_other(f"/organisations/{made.organisation_id}")


@post("/organisations/{identifier:str}/invite", sync_to_thread=True)
def invite(
    request: Request[Any, Any, Any],
    portal: Here,
    accounts: Door,
    visitor: Visiting,
    identifier: FromPath[str],
    data: Form,
) -> Response[str]:
    """Invites somebody to work in an organisation, and shows the link once."""
    form = visitor.checked(data)
    actor = visitor.actor
    found = viewable_organisation(portal, actor, identifier)
    if not may(actor, Action.INVITE, found):
        raise PermissionDeniedException
    link = error = ""
    try:
        role = MemberRole(form.get("role", ""))
        person = _person(portal, form.get("name", ""), form.get("email", ""), identifier, visitor)
        portal.store.people.join(person.person_id, identifier, role, visitor.now)
        secret = accounts.invite(person.person_id, by=actor.person_id, now=visitor.now)
        link = invitations.shown(request, secret)
    except (PeopleError, StoreError, ValueError) as wrong:
        error = str(wrong)
    page = organisation_page(portal, visitor, found, error=error, invitation_link=link)
    return show(visitor, page, tab="organisations", status=400 if error else 200)


@post("/people/{person:str}/disable", sync_to_thread=True)
def disable(
    portal: Here, accounts: Door, visitor: Visiting, person: FromPath[str], data: Form
) -> Response[None]:
    """Closes somebody's account."""
    form = visitor.checked(data)
    _check(portal, visitor.actor, Action.DISABLE_ACCOUNT, person)
    accounts.disable(person, by=visitor.actor.person_id, now=visitor.now)
    return see_other(own_path(form.get("next", "/organisations")))


@post("/people/{person:str}/second-factor", sync_to_thread=True)
def reset_second_factor(
    portal: Here, accounts: Door, visitor: Visiting, person: FromPath[str], data: Form
) -> Response[None]:
    """Lets somebody who lost the phone set up another one."""
    form = visitor.checked(data)
    _check(portal, visitor.actor, Action.RESET_SECOND_FACTOR, person)
    accounts.reset_second_factor(person, by=visitor.actor.person_id, now=visitor.now)
    return see_other(own_path(form.get("next", "/organisations")))


def _check(portal: Portal, actor: Actor, action: Action, person_id: str) -> None:
    access = portal.store.people.access(person_id, actor.at)
    if access is None or not may(actor, Action.VIEW_PERSON, access):
        raise NotFoundException
    if person_id == actor.person_id or not may(actor, action, access):
        raise PermissionDeniedException


def _person(
    portal: Portal, name: str, email: str, organisation_id: str, visitor: Visitor
) -> Person:
    """Returns whom an invitation is for: somebody new, or of this organisation alone.

    An address of somebody elsewhere is refused: an invitation sets a password, and nobody takes an
    account over by inviting it.
    """
    known = portal.store.people.by_email(email)
    if known is None:
        return portal.store.people.add(
            name=name.strip(),
            email=email,
            source=Source(kind=SourceKind.PARTNER, organisation_id=organisation_id),
            now=visitor.now,
            language=visitor.language.value,
        )
    account = portal.store.accounts.get(known.person_id)
    access = portal.store.people.access(known.person_id, visitor.now)
    is_only_here = (
        access is not None
        and access.organisations == {organisation_id}
        and not access.portal_roles
        and not portal.store.sites.owned_by(known.person_id)
    )
    if not is_only_here or (account is not None and account.has_password):
        raise StoreError(KNOWN)
    return known
