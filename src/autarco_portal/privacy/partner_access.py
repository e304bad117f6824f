"""Does a channel partner still see a site? For exactly as long as it has a role there."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation is for a site, from `from_at` until just before `until`; UTC."""

    organisation: str
    site_id: str
    role: str
    from_at: datetime
    until: datetime | None = None


def sites_seen(roles: Iterable[Role], organisation: str, now: datetime) -> frozenset[str]:
    """Returns the sites of which the partner may get something now."""
    return frozenset(
        role.site_id
        for role in roles
        if role.organisation == organisation
        and role.from_at <= now
        and (role.until is None or now < role.until)
    )
