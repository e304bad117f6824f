"""How does a site become rows and a site's rows a value, and which rows may somebody see?

Used by `sites` inside its transactions.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, and_, false, func, or_, select, true
from sqlalchemy.orm import selectinload

from autarco_portal.people import Actor, Grant, OrganisationKind, PortalRole, SiteOwner, SiteRole
from autarco_portal.rights import ALLOWED, Action, Relation, SiteAccess, visible_from
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, SiteRecord, check_site
from autarco_portal.store import attributes, people
from autarco_portal.store.engine import Conflict, StoreError
from autarco_portal.store.tables import (
    GrantRow,
    InverterRow,
    PlaneRow,
    SiteOwnerRow,
    SiteRoleRow,
    SiteRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from types import SimpleNamespace

    from sqlalchemy.orm import Session

WHOLE = (
    selectinload(SiteRow.planes),
    selectinload(SiteRow.inverters),
    selectinload(SiteRow.roles),
    selectinload(SiteRow.owners),
    selectinload(SiteRow.grants),
    selectinload(SiteRow.address_attributes),
)
"""Everything of a site in a few statements, however many sites."""

_CARING = tuple(
    kind.value
    for kind in OrganisationKind
    if Action.VIEW_CONTACT in ALLOWED[SiteAccess][Relation(kind.value)]
)
"""What an organisation does for a site whose people see street and owner."""
_PLANE = msgspec.json.Decoder(RoofPlane)
_MPPT_PLANES = msgspec.json.Decoder(tuple[str | None, ...])


def as_record(row: SiteRow | SimpleNamespace) -> SiteRecord:
    """Returns the value of a site's rows; `record_query` brings them without the ORM."""
    return SiteRecord(
        number=row.number,
        public_key=row.public_key,
        name=row.name,
        address=Address(
            street=row.street, postcode=row.postcode, city=row.city, country=row.country
        ),
        address_sources=attributes.current_sources(row.address_attributes),
        latitude=row.latitude,
        longitude=row.longitude,
        altitude=row.altitude,
        time_zone=row.time_zone,
        commissioned_on=row.commissioned_on,
        planes=tuple(_PLANE.decode(plane.plane) for plane in row.planes),
        inverters=tuple(_inverter(one) for one in row.inverters),
        roles=_roles(row),
        owners=owners_of(row),
        grants=_grants(row),
        has_consumption_meter=row.has_consumption_meter,
        has_battery=row.has_battery,
        restricted_at=row.restricted_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def as_grant(row: GrantRow, public_key: str) -> Grant:
    """Returns the value of a row."""
    return Grant(
        grant_id=row.grant_id,
        site=public_key,
        person_id=row.person_id,
        organisation_id=row.organisation_id,
        from_at=row.from_at,
        until=row.until,
        why=row.why,
        given_by=row.given_by,
    )


def changed(row: SiteRow, now: datetime) -> SiteRecord:
    """Returns the site as it is to be; raises SiteError, PeopleError if it cannot be."""
    row.updated_at = now
    record = as_record(row)
    check_site(record)
    return record


def plane_rows(planes: Sequence[RoofPlane]) -> list[PlaneRow]:
    """Returns the rows of roof planes, in their order."""
    return [
        PlaneRow(position=position, plane=msgspec.json.encode(plane).decode())
        for position, plane in enumerate(planes)
    ]


def inverter_row(inverter: Inverter) -> InverterRow:
    """Returns the row of an inverter."""
    columns = msgspec.structs.asdict(inverter)
    columns["mppt_planes"] = msgspec.json.encode(inverter.mppt_planes).decode()
    return InverterRow(**columns)


def is_role(row: SiteRoleRow, organisation_id: str, kind: OrganisationKind) -> bool:
    """Tells whether an organisation does this now."""
    is_same = row.organisation_id == organisation_id and row.kind == kind.value
    return is_same and row.until is None


def end_grant(row: GrantRow, now: datetime) -> None:
    """Ends a grant now; one that had not begun never will."""
    row.until = max(now, row.from_at)


@contextmanager
def unique() -> Iterator[None]:
    """Says in a sentence what the database refuses: a key or an inverter that is taken."""
    try:
        yield
    except Conflict as error:
        raise StoreError("the public key is taken, or an inverter hangs elsewhere") from error


def visible_to(actor: Actor, *, as_guest: bool = True) -> ColumnElement[bool]:
    """The condition under which `rights.may` lets somebody view a site.

    Not `as_guest`: its guarantees, which are no business of those who have a grant only.
    """
    owner_holds, role_holds, grant_holds = _now(actor)
    own = SiteRow.owners.any(and_(SiteOwnerRow.person_id == actor.person_id, owner_holds))
    to_him = and_(GrantRow.person_id == actor.person_id, grant_holds)
    others: list[ColumnElement[bool]] = []
    if as_guest and (actor.has_second_factor or not actor.portal_roles):
        others.append(SiteRow.grants.any(to_him))
    watches: ColumnElement[bool] = false()
    if actor.has_second_factor:
        organisations = [*actor.roles, *actor.below]
        if organisations:
            cares = SiteRoleRow.organisation_id.in_(organisations)
            invited = GrantRow.organisation_id.in_(list(actor.roles))
            others.append(SiteRow.roles.any(and_(cares, role_holds)))
            if as_guest:
                others.append(SiteRow.grants.any(and_(invited, grant_holds)))
        if PortalRole.ADMINISTRATOR in actor.portal_roles:
            others.append(true())
        if PortalRole.PRIVACY_OFFICER in actor.portal_roles:
            watches = true()
    is_free = SiteRow.restricted_at.is_(None)
    return or_(own, watches, and_(is_free, or_(false(), *others)))


def seen_in_part(session: Session, actor: Actor) -> Iterator[tuple[SiteRow, datetime]]:
    """Yields the sites that somebody sees since a moment only, with that moment.

    The rule is asked one by one: it can bite where a site has had several owners, and for owners
    and guests, which are few of anybody's sites.
    """
    several = (
        select(SiteOwnerRow.site_number)
        .group_by(SiteOwnerRow.site_number)
        .having(func.count(SiteOwnerRow.person_id.distinct()) > 1)
    )
    to_him = or_(
        GrantRow.person_id == actor.person_id, GrantRow.organisation_id.in_(list(actor.roles))
    )
    rows = session.scalars(
        select(SiteRow)
        .where(
            SiteRow.number.in_(several),
            or_(
                SiteRow.owners.any(SiteOwnerRow.person_id == actor.person_id),
                SiteRow.grants.any(to_him),
            ),
            visible_to(actor),
        )
        .options(*WHOLE)
    )
    for row in rows:
        since = visible_from(actor, as_record(row).access)
        if since is not None:
            yield row, since


def contact_shown_to(actor: Actor) -> ColumnElement[bool]:
    """The condition under which `rights.may` lets somebody see street and owner of a site."""
    owner_holds, role_holds, _ = _now(actor)
    own = SiteRow.owners.any(and_(SiteOwnerRow.person_id == actor.person_id, owner_holds))
    if not actor.has_second_factor:
        return own
    if PortalRole.PRIVACY_OFFICER in actor.portal_roles:
        return true()
    if PortalRole.ADMINISTRATOR in actor.portal_roles:
        cared: ColumnElement[bool] = true()
    else:
        cares = and_(
            SiteRoleRow.organisation_id.in_(list(actor.roles)), SiteRoleRow.kind.in_(_CARING)
        )
        cared = SiteRow.roles.any(and_(cares, role_holds))
    return or_(own, and_(SiteRow.restricted_at.is_(None), cared))


def matching(text: str, actor: Actor | None = None) -> ColumnElement[bool]:
    """The condition that a text is found in a site's name, key, address or inverters.

    With an `actor`, in street and postcode only where he may see them: whoever can search for what
    he is not shown finds it out, a letter at a time.
    """
    if not text.strip():
        return true()
    pattern = people.like(text.strip())

    def found(*columns: Any) -> ColumnElement[bool]:
        return or_(*(column.ilike(pattern, escape=people.LIKE_ESCAPE) for column in columns))

    street = found(SiteRow.street, SiteRow.postcode)
    return or_(
        found(SiteRow.name, SiteRow.public_key, SiteRow.city),
        street if actor is None else and_(contact_shown_to(actor), street),
        SiteRow.inverters.any(found(InverterRow.serial_number)),
    )


def _now(actor: Actor) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """`people.holds` of an owner, a role and a grant, in SQL."""
    owner, role, grant = (
        and_(table.from_at <= actor.at, or_(table.until.is_(None), table.until > actor.at))
        for table in (SiteOwnerRow, SiteRoleRow, GrantRow)
    )
    return owner, role, grant


def _inverter(row: InverterRow) -> Inverter:
    return Inverter(
        serial_number=row.serial_number,
        pac0=row.pac0,
        installed_at=row.installed_at,
        uninstalled_at=row.uninstalled_at,
        mppt_planes=_MPPT_PLANES.decode(row.mppt_planes),
        variant_code=row.variant_code,
        logger_sn=row.logger_sn,
    )


def _roles(row: SiteRow | SimpleNamespace) -> tuple[SiteRole, ...]:
    return tuple(
        SiteRole(
            organisation_id=one.organisation_id,
            kind=OrganisationKind(one.kind),
            from_at=one.from_at,
            until=one.until,
        )
        for one in row.roles
    )


def owners_of(row: SiteRow | SimpleNamespace) -> tuple[SiteOwner, ...]:
    """Returns whose site it was when, as they came."""
    return tuple(
        SiteOwner(person_id=one.person_id, from_at=one.from_at, until=one.until)
        for one in row.owners
    )


def _grants(row: SiteRow | SimpleNamespace) -> tuple[Grant, ...]:
    return tuple(as_grant(one, row.public_key) for one in row.grants)
