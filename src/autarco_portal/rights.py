"""May somebody do this? `may` is the only permission rule of the portal.

Whoever acts stands in relations to a thing (its owner, staff of its installer, an administrator);
each relation allows actions, and `ALLOWED` is the whole of it: one table to read and to dispute.
What somebody may not see does not exist for him: callers answer 404 where `may` refuses the view,
403 where it refuses only what was to be done.

Pure: an `Actor` knows the time he acts at, and things carry who stands how to them. The store
looks up sites in bulk by the same relations; a test compares both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from autarco_portal.people import (
    Actor,
    Grant,
    MemberRole,
    Organisation,
    OrganisationKind,
    PortalRole,
    SiteOwner,
    SiteRole,
    holds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Action(StrEnum):
    """What can be wanted; which thing it is wanted of says its group."""

    # Of a site.
    VIEW_SITE = "view_site"
    """Readings, performance, alarms, layout."""
    VIEW_CONTACT = "view_contact"
    """Street and owner: name, e-mail, phone."""
    MANAGE_SITE = "manage_site"
    """Change name, place, planes, inverters and who does what for it."""
    ACKNOWLEDGE_ALARM = "acknowledge_alarm"
    VIEW_GUARANTEE = "view_guarantee"
    CONTEST_SETTLEMENT = "contest_settlement"
    SETTLE = "settle"
    """Make guarantees and settlements and decide on them."""
    GRANT_ACCESS = "grant_access"
    """Let others see it, and end that."""
    OPEN_SUPPORT_ACCESS = "open_support_access"
    """Let oneself see it for a while, with a reason the owner can read."""
    EXPORT_SITE = "export_site"
    # Of an organisation.
    VIEW_ORGANISATION = "view_organisation"
    MANAGE_ORGANISATION = "manage_organisation"
    # Of a person.
    VIEW_PERSON = "view_person"
    CHANGE_PERSON = "change_person"
    EXPORT_PERSON = "export_person"
    USE_ACCOUNT = "use_account"
    """Own password, second factor, sessions and tokens: nobody else's business, ever."""
    DISABLE_ACCOUNT = "disable_account"
    RESET_SECOND_FACTOR = "reset_second_factor"
    # Of the portal.
    CREATE_ORGANISATION = "create_organisation"
    CREATE_SITE = "create_site"
    FIND_ANYONE = "find_anyone"
    """Search people, organisations and sites by name, without what is in them."""
    HANDLE_PRIVACY_REQUESTS = "handle_privacy_requests"
    ADMINISTER = "administer"
    """Portal roles, settings, retention."""
    # Of several.
    INVITE = "invite"
    """To a site as its owner, to an organisation as its staff, to the portal for a role."""
    VIEW_AUDIT = "view_audit"
    """Who looked at it and changed it."""


class SiteAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Who stands how to a site."""

    public_key: str
    owners: tuple[SiteOwner, ...] = ()
    roles: tuple[SiteRole, ...] = ()
    grants: tuple[Grant, ...] = ()
    is_restricted: bool = False
    """Its owner wants the data kept but not used: only he and the privacy officer see it."""


class PersonAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is to others."""

    person_id: str
    organisations: frozenset[str] = frozenset()
    """Where he works."""
    portal_roles: frozenset[PortalRole] = frozenset()


class Portal(msgspec.Struct, frozen=True):
    """All of it; there is one, `PORTAL`."""


PORTAL = Portal()

Thing: TypeAlias = SiteAccess | Organisation | PersonAccess | Portal


class Relation(StrEnum):
    """How somebody stands to a thing."""

    OWNER = "owner"
    GUEST = "guest"
    """Has a grant."""
    INSTALLER = "installer"
    MAINTENANCE = "maintenance"
    RESELLER = "reseller"
    DISTRIBUTOR = "distributor"
    ABOVE = "above"
    """Works for an organisation to which that of the site belongs."""
    STAFF = "staff"
    MANAGER = "manager"
    """Of the organisation, of one above it, or of one where the person works."""
    ONESELF = "oneself"
    PARTNER = "partner"
    """Works for some organisation."""
    ADMINISTRATOR = "administrator"
    SUPPORT = "support"
    PRIVACY_OFFICER = "privacy_officer"


_LOOK = frozenset({Action.VIEW_SITE, Action.VIEW_GUARANTEE})
_CARE = _LOOK | {
    Action.VIEW_CONTACT,
    Action.MANAGE_SITE,
    Action.ACKNOWLEDGE_ALARM,
    Action.INVITE,
}

ALLOWED: dict[type, dict[Relation, frozenset[Action]]] = {
    SiteAccess: {
        Relation.OWNER: _LOOK
        | {
            Action.VIEW_CONTACT,
            Action.ACKNOWLEDGE_ALARM,
            Action.CONTEST_SETTLEMENT,
            Action.GRANT_ACCESS,
            Action.EXPORT_SITE,
            Action.VIEW_AUDIT,
        },
        Relation.GUEST: frozenset({Action.VIEW_SITE}),
        Relation.INSTALLER: _CARE,
        Relation.MAINTENANCE: _CARE,
        Relation.RESELLER: _CARE,
        Relation.DISTRIBUTOR: _LOOK,
        Relation.ABOVE: _LOOK,
        # Who repairs the portal need not look into houses: he opens access, which the owner sees.
        Relation.SUPPORT: frozenset({Action.OPEN_SUPPORT_ACCESS}),
        Relation.ADMINISTRATOR: _CARE | {Action.SETTLE, Action.VIEW_AUDIT},
        Relation.PRIVACY_OFFICER: _LOOK
        | {
            Action.VIEW_CONTACT,
            Action.GRANT_ACCESS,
            Action.EXPORT_SITE,
            Action.VIEW_AUDIT,
        },
    },
    Organisation: {
        Relation.STAFF: frozenset({Action.VIEW_ORGANISATION}),
        Relation.ABOVE: frozenset({Action.VIEW_ORGANISATION}),
        Relation.MANAGER: frozenset(
            {Action.VIEW_ORGANISATION, Action.MANAGE_ORGANISATION, Action.INVITE}
        ),
        Relation.SUPPORT: frozenset({Action.VIEW_ORGANISATION}),
        Relation.ADMINISTRATOR: frozenset(
            {
                Action.VIEW_ORGANISATION,
                Action.MANAGE_ORGANISATION,
                Action.INVITE,
                Action.VIEW_AUDIT,
            }
        ),
        Relation.PRIVACY_OFFICER: frozenset({Action.VIEW_ORGANISATION, Action.VIEW_AUDIT}),
    },
    PersonAccess: {
        Relation.ONESELF: frozenset(
            {
                Action.VIEW_PERSON,
                Action.CHANGE_PERSON,
                Action.EXPORT_PERSON,
                Action.USE_ACCOUNT,
                Action.VIEW_AUDIT,
            }
        ),
        Relation.STAFF: frozenset({Action.VIEW_PERSON}),
        Relation.MANAGER: frozenset(
            {Action.VIEW_PERSON, Action.DISABLE_ACCOUNT, Action.RESET_SECOND_FACTOR}
        ),
        Relation.SUPPORT: frozenset({Action.VIEW_PERSON, Action.RESET_SECOND_FACTOR}),
        Relation.ADMINISTRATOR: frozenset(
            {
                Action.VIEW_PERSON,
                Action.CHANGE_PERSON,
                Action.DISABLE_ACCOUNT,
                Action.RESET_SECOND_FACTOR,
            }
        ),
        Relation.PRIVACY_OFFICER: frozenset(
            {
                Action.VIEW_PERSON,
                Action.CHANGE_PERSON,
                Action.EXPORT_PERSON,
                Action.VIEW_AUDIT,
            }
        ),
    },
    Portal: {
        Relation.PARTNER: frozenset({Action.CREATE_SITE}),
        Relation.SUPPORT: frozenset({Action.FIND_ANYONE}),
        Relation.ADMINISTRATOR: frozenset(
            {
                Action.CREATE_ORGANISATION,
                Action.CREATE_SITE,
                Action.FIND_ANYONE,
                Action.INVITE,
                Action.ADMINISTER,
                Action.VIEW_AUDIT,
            }
        ),
        Relation.PRIVACY_OFFICER: frozenset(
            {Action.FIND_ANYONE, Action.HANDLE_PRIVACY_REQUESTS, Action.VIEW_AUDIT}
        ),
    },
}

READING = frozenset(
    {
        Action.VIEW_SITE,
        Action.VIEW_CONTACT,
        Action.VIEW_GUARANTEE,
        Action.VIEW_ORGANISATION,
        Action.VIEW_PERSON,
    }
)
"""What an app token can do; exports and the audit log want a person who signed in."""

_WHEN_RESTRICTED = frozenset({Relation.OWNER, Relation.PRIVACY_OFFICER})
_BY_KIND = {kind: Relation(kind.value) for kind in OrganisationKind}
_BY_PORTAL_ROLE = {role: Relation(role.value) for role in PortalRole}


def may(actor: Actor, action: Action, thing: Thing) -> bool:
    """Tells whether somebody may do something to a thing, now.

    False also for an action that does not go with that kind of thing.
    """
    if actor.is_read_only and action not in READING:
        return False
    allowed = ALLOWED[type(thing)]
    return any(action in allowed.get(relation, ()) for relation in relations(actor, thing))


def relations(actor: Actor, thing: Thing) -> frozenset[Relation]:
    """Returns how somebody stands to a thing, without what he did not prove to be.

    A partner or one of the portal's own who has not shown the second factor is nobody but himself.
    """
    found: set[Relation] = set()
    if isinstance(thing, SiteAccess):
        found |= _as_private_person(actor, thing)
    elif isinstance(thing, PersonAccess) and thing.person_id == actor.person_id:
        found.add(Relation.ONESELF)
    if actor.has_second_factor:
        found |= {_BY_PORTAL_ROLE[role] for role in actor.portal_roles}
        found |= _as_partner(actor, thing)
        if isinstance(thing, PersonAccess) and thing.portal_roles:
            # Support must not be a way to become an administrator.
            found.discard(Relation.SUPPORT)
    if isinstance(thing, SiteAccess) and thing.is_restricted:
        found &= _WHEN_RESTRICTED
    return frozenset(found)


def visible_from(actor: Actor, site: SiteAccess) -> datetime | None:
    """Returns since when somebody may see what a site measured; None is since ever.

    A house that is sold takes its past along with those who lived there: an owner after another one
    sees it from the day that it became his, a guest as whoever let him in. Who was let in by
    somebody else than an owner (the portal's own) sees it as its owners do. Partners and the
    portal's own see all of it by what they are. Whoever may not view it sees nothing before now.
    """
    found = relations(actor, site)
    looking = {one for one in found if Action.VIEW_SITE in ALLOWED[SiteAccess].get(one, ())}
    if looking - {Relation.OWNER, Relation.GUEST}:
        return None
    begins: list[datetime | None] = []
    if Relation.OWNER in looking:
        begins += [
            owned_from(one, site.owners)
            for one in site.owners
            if one.person_id == actor.person_id and holds(one, actor.at)
        ]
    if Relation.GUEST in looking:
        begins += [
            _shown_from(grant, site, actor.at)
            for grant in site.grants
            if holds(grant, actor.at)
            and (grant.person_id == actor.person_id or grant.organisation_id in actor.roles)
        ]
    since = [one for one in begins if one is not None]
    if len(since) < len(begins):
        return None
    return min(since, default=actor.at)


def owned_from(owner: SiteOwner, owners: Sequence[SiteOwner]) -> datetime | None:
    """Returns since when what a site tells is about this owner; None is since ever.

    Before the first owner's account there was already his house.
    """
    is_first = not any(
        other.person_id != owner.person_id and other.from_at < owner.from_at for other in owners
    )
    return None if is_first else owner.from_at


def _shown_from(grant: Grant, site: SiteAccess, at: datetime) -> datetime | None:
    giver = [
        one for one in site.owners if one.person_id == grant.given_by and holds(one, grant.from_at)
    ]
    shown = giver or [one for one in site.owners if holds(one, at)]
    begins = [owned_from(one, site.owners) for one in shown]
    since = [one for one in begins if one is not None]
    if len(since) < len(begins):
        return None
    # Of a house that is nobody's now, from when it was given up on.
    ended = [one.until for one in site.owners if one.until is not None]
    return min(since, default=max(ended, default=None))


def _as_private_person(actor: Actor, site: SiteAccess) -> set[Relation]:
    found: set[Relation] = set()
    for owner in site.owners:
        if owner.person_id == actor.person_id and holds(owner, actor.at):
            found.add(Relation.OWNER)
    for grant in site.grants:
        # A grant to support is support's: without the second factor it opens nothing.
        is_his = grant.person_id == actor.person_id
        if is_his and holds(grant, actor.at):
            is_staff = bool(actor.portal_roles)
            if actor.has_second_factor or not is_staff:
                found.add(Relation.GUEST)
    return found


def _as_partner(actor: Actor, thing: Thing) -> set[Relation]:
    if isinstance(thing, SiteAccess):
        return _at_site(actor, thing)
    if isinstance(thing, Organisation):
        return _at_organisations(actor, frozenset({thing.organisation_id}))
    if isinstance(thing, PersonAccess):
        found = _at_organisations(actor, thing.organisations)
        # The portal's own are managed by the portal, also where they work for a partner besides.
        return found - {Relation.MANAGER} if thing.portal_roles else found
    return {Relation.PARTNER} if actor.roles else set()


def _at_site(actor: Actor, site: SiteAccess) -> set[Relation]:
    found: set[Relation] = set()
    for role in site.roles:
        if not holds(role, actor.at):
            continue
        if role.organisation_id in actor.roles:
            found.add(_BY_KIND[role.kind])
        elif role.organisation_id in actor.below:
            found.add(Relation.ABOVE)
    for grant in site.grants:
        if grant.organisation_id in actor.roles and holds(grant, actor.at):
            found.add(Relation.GUEST)
    return found


def _at_organisations(actor: Actor, organisations: frozenset[str]) -> set[Relation]:
    found: set[Relation] = set()
    for organisation in organisations:
        role = actor.roles.get(organisation)
        if role is not None:
            found.add(Relation.STAFF)
        if role is MemberRole.MANAGER or organisation in actor.managed_below:
            found.add(Relation.MANAGER)
        elif organisation in actor.below:
            found.add(Relation.ABOVE)
    return found
