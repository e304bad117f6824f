"""What does the portal keep of an incident besides what the rules say of it (`incidents`)?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from autarco_portal.incidents import (
    Cause,
    Incident,
    Severity,
    State,
)

if TYPE_CHECKING:
    from autarco_portal.site_record import SiteRecord


class AlarmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with what a person did about it."""

    incident: Incident
    acknowledged_by: str | None = None
    """A person's identifier; when is in the incident."""
    acknowledgement: str | None = None
    """What he wrote."""


def of_site(record: AlarmRecord, site: SiteRecord) -> AlarmRecord | None:
    """Returns an incident as whoever sees the site so may see it (`SiteRecord.seen_from`).

    None for one that ended before. Of one that went on, what was measured before his first whole
    day is left out, and what the people before him did about it. Since when it goes on is the
    device's, and names it.
    """
    incident, since, first_day = record.incident, site.seen_from, site.seen_from_day
    if since is None or first_day is None:
        return record
    if incident.closed_at is not None and incident.closed_at <= since:
        return None
    days = tuple(one for one in incident.days if one.day >= first_day)
    is_his = incident.acknowledged_at is not None and incident.acknowledged_at >= since
    told = incident.owner_notified_at
    return AlarmRecord(
        incident=msgspec.structs.replace(
            incident,
            days=days,
            lost_kwh=sum(one.lost_kwh for one in days if one.state is State.FAULTY),
            owner_notified_at=told if told is not None and told >= since else None,
        ),
        acknowledged_by=record.acknowledged_by if is_his else None,
        acknowledgement=record.acknowledgement if is_his else None,
    )


class AlarmFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents a list has."""

    state: Literal["open", "acknowledged", "all"] = "open"
    """`acknowledged`: open ones that somebody looks at."""
    cause: Cause | None = None
    severity: Severity | None = None
    site: str | None = None
    """By its public key."""
