"""Who may see a site: its owners, what partners do for it, whom the owner lets look?

The owner gives access and ends it; a partner who cares for the site invites its owner.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath

from autarco_portal.audit import AuditEntry
from autarco_portal.pages import invitations
from autarco_portal.pages import models_site_people as models
from autarco_portal.pages.site import viewable
from autarco_portal.pages.visitor import Door, Form, Visiting, Visitor, see_other, show
from autarco_portal.pages.words import N_
from autarco_portal.people import PeopleError, Source, SourceKind, holds, known_language
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import letter
from autarco_portal.privacy_services import settings_of
from autarco_portal.rights import Action, may
from autarco_portal.store import StoreError

if TYPE_CHECKING:
    from autarco_portal.people import Actor, Person
    from autarco_portal.site_record import SiteRecord

NOBODY = N_("Nobody here has that e-mail address: the other needs an account first.")
HAS_OWNER = N_("This site has an owner; only its owner lets others look.")
KNOWN = N_("Somebody with this e-mail address has an account already; ask the support.")
WHY_MAX = 200


@get("/sites/{key:str}/people", sync_to_thread=True)
def site_people(portal: Here, visitor: Visiting, key: FromPath[str]) -> Response[str]:
    """Shows who may see a site to whoever may see its owner."""
    return _shown(portal, visitor, _contactable(portal, visitor, key))


@post("/sites/{key:str}/grants", sync_to_thread=True)
def grant(
    portal: Here, visitor: Visiting, key: FromPath[str], data: Form
) -> Response[None] | Response[str]:
    """Lets somebody with an account look, until a day or until it is ended."""
    form = visitor.checked(data)
    record, actor = viewable(portal, visitor.actor, key), visitor.actor
    if not may(actor, Action.GRANT_ACCESS, record.access):
        raise PermissionDeniedException
    person = portal.store.people.by_email(form.get("email", ""))
    try:
        if person is None:
            raise StoreError(NOBODY)
        given = portal.store.sites.grant(
            key,
            person_id=person.person_id,
            why=form.get("why", "").strip()[:WHY_MAX],
            given_by=actor.person_id,
            now=visitor.now,
            until=_until(form.get("until", ""), record.time_zone),
        )
    except (PeopleError, StoreError, ValueError) as wrong:
        return _shown(portal, visitor, record, error=str(wrong))
    _note(portal, visitor, "grant", key, subject=person.person_id, why=f"grant:{given.grant_id}")
    return see_other(f"/sites/{key}/people")


@post("/sites/{key:str}/grants/{name:str}/end", sync_to_thread=True)
def end_grant(
    portal: Here, visitor: Visiting, key: FromPath[str], name: FromPath[str], data: Form
) -> Response[None]:
    """Ends what a grant allowed."""
    visitor.checked(data)
    record = viewable(portal, visitor.actor, key)
    if not may(visitor.actor, Action.GRANT_ACCESS, record.access):
        raise PermissionDeniedException
    if not portal.store.sites.end_grant(key, name, visitor.now):
        raise NotFoundException
    _note(portal, visitor, "end_grant", key, why=f"grant:{name}")
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
        person = _owner(portal, record, actor, form.get("name", ""), form.get("email", ""), visitor)
    except (PeopleError, StoreError) as wrong:
        return _shown(portal, visitor, record, error=str(wrong))
    portal.store.sites.add_owner(key, person.person_id, visitor.now)
    _note(portal, visitor, "change_site", key, subject=person.person_id)
    secret = accounts.invite(person.person_id, by=actor.person_id, now=visitor.now)
    if settings_of(portal).mail is not None:
        portal.store.mails.queue(
            letter.invited(record.name, invitations.mailed(portal, secret), person.language),
            now=visitor.now,
            person_id=person.person_id,
            language=person.language,
        )
        portal.outbox.soon()
    link = invitations.shown(request, secret)
    return _shown(portal, visitor, viewable(portal, actor, key), link=link)


def _owner(
    portal: Portal, record: SiteRecord, actor: Actor, name: str, email: str, visitor: Visitor
) -> Person:
    """Returns whom to invite; raises StoreError for an address of somebody who is in already.

    An invitation sets a password: it must open no account that anybody has, here or elsewhere.
    """
    owners = {one.person_id for one in record.owners if holds(one, visitor.now)}
    known = portal.store.people.by_email(email)
    if known is None:
        if owners:
            raise StoreError(HAS_OWNER)
        partner = next(
            (
                role.organisation_id
                for role in record.roles
                if role.organisation_id in actor.roles and holds(role, visitor.now)
            ),
            None,
        )
        return portal.store.people.add(
            name=name.strip(),
            email=email,
            source=Source(kind=SourceKind.PARTNER, organisation_id=partner),
            now=visitor.now,
            language=known_language(visitor.language.value),
        )
    account = portal.store.accounts.get(known.person_id)
    access = portal.store.people.access(known.person_id, visitor.now)
    is_private = access is not None and not access.organisations and not access.portal_roles
    if owners != {known.person_id} or not is_private:
        raise StoreError(HAS_OWNER if owners else KNOWN)
    if account is not None and (account.has_password or account.disabled_at is not None):
        raise StoreError(KNOWN)
    return known


def _contactable(portal: Portal, visitor: Visitor, key: str) -> SiteRecord:
    record = viewable(portal, visitor.actor, key)
    if not may(visitor.actor, Action.VIEW_CONTACT, record.access):
        raise PermissionDeniedException
    portal.looked(visitor.actor, record, "view_contact")
    return record


def _shown(
    portal: Portal, visitor: Visitor, record: SiteRecord, *, error: str = "", link: str = ""
) -> Response[str]:
    now, actor = visitor.now, visitor.actor
    names = portal.organisation_names()
    owners = [portal.store.people.get(one.person_id) for one in record.owners if holds(one, now)]
    grants = [one for one in record.grants if holds(one, now)]
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
                who=_who(portal, one.person_id, one.organisation_id),
                why=one.why,
                since=one.from_at,
                until=one.until,
            )
            for one in grants
        ),
        may_grant=may(actor, Action.GRANT_ACCESS, record.access),
        may_invite=may(actor, Action.INVITE, record.access),
        invitation_link=link,
        error=error,
    )
    return show(visitor, page, tab="sites", status=400 if error else 200)


def _who(portal: Portal, person_id: str | None, organisation_id: str | None) -> str:
    if organisation_id is not None:
        return portal.organisation_names().get(organisation_id, organisation_id)
    person = portal.store.people.get(person_id) if person_id is not None else None
    return person.name if person is not None else ""


def _is_invited(portal: Portal, person_id: str) -> bool:
    account = portal.store.accounts.get(person_id)
    return account is not None and not account.has_password


def _until(text: str, time_zone: str) -> datetime | None:
    """The end of a day at the site; raises ValueError for what is none."""
    if not text:
        return None
    day = datetime.fromisoformat(text).date() + timedelta(days=1)
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(ZoneInfo("UTC"))


def _note(
    portal: Portal,
    visitor: Visitor,
    action: str,
    key: str,
    *,
    subject: str | None = None,
    why: str | None = None,
) -> None:
    portal.store.audit.append(
        AuditEntry(
            at=visitor.now,
            actor=visitor.actor.person_id,
            action=action,
            thing=f"site:{key}",
            subject=subject,
            why=why,
        )
    )


HANDLERS = [site_people, grant, end_grant, invite_owner]
