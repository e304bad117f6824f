"""Which looks at somebody's site go into the audit log?

Those of everybody but its owners: partners, guests, staff and their programs. `portal.looked`
writes each once a day, however often a program polls. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from autarco_portal.audit import AuditEntry
from autarco_portal.people import holds
from autarco_portal.rights import Relation, relations

if TYPE_CHECKING:
    from autarco_portal.people import Actor
    from autarco_portal.rights import SiteAccess

Look: TypeAlias = Literal["view_site", "view_contact", "view_guarantee", "view_audit"]


def entry(who: Actor, site: SiteAccess, look: Look) -> AuditEntry | None:
    """Returns what the log says of a look, None for an owner's own.

    A guest's says by which grant, so that the owner knows what to end.
    """
    found = relations(who, site)
    if Relation.OWNER in found:
        return None
    owners = [one.person_id for one in site.owners if holds(one, who.at)]
    why = None
    if found == {Relation.GUEST}:
        why = next(
            f"grant:{one.grant_id}"
            for one in site.grants
            if holds(one, who.at)
            and (one.person_id == who.person_id or one.organisation_id in who.roles)
        )
    return AuditEntry(
        at=who.at,
        actor=who.person_id,
        action=look,
        thing=f"site:{site.public_key}",
        # Of several owners each finds it by the site.
        subject=owners[0] if len(owners) == 1 else None,
        why=why,
    )
