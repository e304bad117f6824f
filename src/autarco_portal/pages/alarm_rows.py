"""How does an incident read in a list and as a timeline? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal.escalation import Party, Step, told
from autarco_portal.incidents import State, respond_by
from autarco_portal.pages import models
from autarco_portal.pages.words import N_

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.escalation import Notice
    from autarco_portal.pages.words import Words

TOLD = {
    Party.MAINTENANCE: N_("The maintenance company was told"),
    Party.INSTALLER: N_("The installer was told"),
    Party.SELLER: N_("The seller was told"),
    Party.OWNER: N_("The owner was told"),
}
REMINDED = {
    Party.MAINTENANCE: N_("The maintenance company was reminded"),
    Party.INSTALLER: N_("The installer was reminded"),
    Party.SELLER: N_("The seller was reminded"),
}


def alarm_row(record: AlarmRecord, site_name: str) -> models.AlarmRow:
    """Returns an incident as a list shows it."""
    incident = record.incident
    return models.AlarmRow(
        incident_id=incident.incident_id,
        site_id=incident.site_id,
        site_name=site_name,
        inverter_sn=incident.inverter_sn or "",
        cause=incident.cause,
        severity=incident.severity,
        opened_at=incident.opened_at,
        acknowledged_at=incident.acknowledged_at,
        closed_at=incident.closed_at,
        lost_kwh=incident.lost_kwh,
    )


def alarm_page(
    record: AlarmRecord,
    notices: Sequence[Notice] = (),
    *,
    site_name: str,
    time_zone: str,
    acknowledged_by: str,
    may_acknowledge: bool,
    words: Words,
) -> models.AlarmPage:
    """Returns the page of an incident."""
    incident = record.incident
    return models.AlarmPage(
        alarm=alarm_row(record, site_name),
        time_zone=time_zone,
        close_reason=incident.close_reason,
        respond_by=respond_by(incident),
        timeline=timeline(record, notices, acknowledged_by),
        evidence=evidence(record, words),
        method=incident.method,
        may_acknowledge=may_acknowledge and incident.is_open and incident.acknowledged_at is None,
    )


def timeline(
    record: AlarmRecord, notices: Sequence[Notice], acknowledged_by: str
) -> tuple[models.TimelineEntry, ...]:
    """Returns what happened, in its order; `acknowledged_by` is a name.

    Of whom was told it says what he is for the site, never who.
    """
    incident = record.incident
    stamps: list[tuple[datetime | None, str]] = [
        (incident.opened_at, N_("The fault began")),
        (incident.detected_at, N_("It was seen")),
        (incident.acknowledged_at, N_("Somebody took it on")),
        (incident.closed_at, N_("It ended")),
        *(
            (one.at, (REMINDED if one.step is Step.REMINDER else TOLD)[one.party])
            for one in told(notices)
        ),
    ]
    # What came along from another instance has no notices beside it.
    steps = {notice.step for notice in notices}
    if Step.FIRST not in steps:
        stamps.append((incident.installer_notified_at, N_("The installer was told")))
    if Step.OWNER not in steps:
        stamps.append((incident.owner_notified_at, N_("The owner was told")))
    entries = [
        models.TimelineEntry(
            at=at,
            what=what,
            by=acknowledged_by if at is incident.acknowledged_at else "",
            comment=(record.acknowledgement or "") if at is incident.acknowledged_at else "",
        )
        for at, what in stamps
        if at is not None
    ]
    return tuple(sorted(entries, key=lambda entry: entry.at))


def evidence(record: AlarmRecord, words: Words) -> tuple[tuple[str, str], ...]:
    """Returns what the rule saw on the last day that it found faulty."""
    faulty = [day for day in record.incident.days if day.state is State.FAULTY]
    if not faulty:
        return ()
    return tuple(
        (name, words.number(value, 2) if isinstance(value, float) else str(value))
        for name, value in sorted(faulty[-1].evidence.items())
        if value is not None
    )
