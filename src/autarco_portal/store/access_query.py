"""Who stands how to a site, in one statement? Whoever looks at a site is asked this first.

Built once and read without the ORM, as `identity_query` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CompoundSelect,
    Integer,
    Text,
    bindparam,
    cast,
    literal,
    null,
    select,
    union_all,
)

from autarco_portal.people import Grant, OrganisationKind, SiteOwner, SiteRole
from autarco_portal.rights import SiteAccess
from autarco_portal.store.declarative import Instant
from autarco_portal.store.tables import GrantRow, SiteOwnerRow, SiteRoleRow, SiteRow

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

_SITE, _OWNER, _ROLE, _GRANT = range(4)
_NO_TEXT = cast(null(), Text)
_NO_INSTANT = cast(null(), Instant)


def _part(table: Any, kind: int, position: Any, *texts: Any) -> Select[Any]:
    """Rows of one kind: what they are, their order, five texts, from when to when."""
    filled = (*texts, *[_NO_TEXT] * (5 - len(texts)))
    return (
        select(cast(literal(kind), Integer), position, *filled, table.from_at, table.until)
        .join(SiteRow, SiteRow.number == table.site_number)
        .where(SiteRow.public_key == bindparam("public_key"))
    )


_ACCESS: CompoundSelect[Any] = union_all(
    select(
        cast(literal(_SITE), Integer),
        SiteRow.number,
        *[_NO_TEXT] * 5,
        SiteRow.restricted_at,
        _NO_INSTANT,
    ).where(SiteRow.public_key == bindparam("public_key")),
    _part(SiteOwnerRow, _OWNER, SiteOwnerRow.owner_id, SiteOwnerRow.person_id),
    _part(SiteRoleRow, _ROLE, SiteRoleRow.role_id, SiteRoleRow.organisation_id, SiteRoleRow.kind),
    _part(
        GrantRow,
        _GRANT,
        cast(literal(0), Integer),
        GrantRow.grant_id,
        GrantRow.person_id,
        GrantRow.organisation_id,
        GrantRow.why,
        GrantRow.given_by,
    ),
)


def access(connection: Connection, public_key: str) -> SiteAccess | None:
    """Returns who stands how to a site; None if there is none."""
    rows = connection.execute(_ACCESS, {"public_key": public_key}).all()
    if not rows:
        return None
    owners, roles, grants = [], [], []
    is_restricted = False
    for kind, _, first, second, third, why, given_by, from_at, until in sorted(rows, key=_order):
        if kind == _SITE:
            is_restricted = from_at is not None
        elif kind == _OWNER:
            owners.append(SiteOwner(person_id=first, from_at=from_at, until=until))
        elif kind == _ROLE:
            roles.append(
                SiteRole(
                    organisation_id=first,
                    kind=OrganisationKind(second),
                    from_at=from_at,
                    until=until,
                )
            )
        else:
            grants.append(
                Grant(
                    grant_id=first,
                    site=public_key,
                    person_id=second,
                    organisation_id=third,
                    from_at=from_at,
                    until=until,
                    why=why,
                    given_by=given_by,
                )
            )
    return SiteAccess(
        public_key=public_key,
        owners=tuple(owners),
        roles=tuple(roles),
        grants=tuple(grants),
        is_restricted=is_restricted,
    )


def _order(row: Any) -> tuple[Any, ...]:
    """As `SiteRecord` has them: owners and roles as they came, grants by time."""
    return (row[0], row[1], row[7], row[2]) if row[0] == _GRANT else (row[0], row[1])
