"""What happened to personal data, who must hear of it, and until when?

All incidents are registered. A breach goes to the authority within 72 hours of the moment somebody
became aware of it (article 33), in phases where not all is known, unless a risk is unlikely; the
people concerned hear of it where the risk is high (article 34), unless the data was encrypted with
keys that are safe.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text

NOTIFY_WITHIN = timedelta(hours=72)
REPORT = ("nature", "categories", "people", "records", "contact", "consequences", "measures")
"""What a report names (article 33(3))."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of what the authority was told; fields of `REPORT` by name."""

    at: datetime
    by: str
    known: dict[str, str]
    delay_reason: str = ""


class SecurityIncident(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the register; times are UTC."""

    incident_id: str
    aware_at: datetime
    recorded_by: str
    summary: str
    stores: tuple[str, ...] = ()
    """As in the table of retention."""
    from_at: datetime | None = None
    """When the data lay open, as far as known."""
    to_at: datetime | None = None
    is_risk: bool = True
    """Until somebody says that a risk is unlikely, and why."""
    is_high_risk: bool = False
    is_encrypted: bool = False
    """With keys that are safe."""
    assessment: str = ""
    reports: tuple[Report, ...] = ()
    told_people_at: datetime | None = None
    closed_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError for an incident without words or a risk denied without reason."""
        need_text("summary", self.summary)
        if not self.is_risk:
            need_text("assessment, where no risk is seen", self.assessment)


def notify_until(incident: SecurityIncident) -> datetime | None:
    """Returns until when the authority must hear of it; None where it need not or has."""
    if not incident.is_risk or incident.reports:
        return None
    return incident.aware_at + NOTIFY_WITHIN


def hours_left(incident: SecurityIncident, now: datetime) -> float | None:
    """Returns the hours until then, negative when they are over."""
    until = notify_until(incident)
    return None if until is None else (until - now).total_seconds() / 3600


def must_tell_people(incident: SecurityIncident) -> bool:
    """Whether the people concerned must hear of it and have not."""
    return incident.is_high_risk and not incident.is_encrypted and incident.told_people_at is None


def report(
    incident: SecurityIncident,
    *,
    at: datetime,
    by: str,
    known: dict[str, str],
    delay_reason: str = "",
) -> SecurityIncident:
    """Adds what the authority was told; the first one after 72 hours says why it is late."""
    if unknown := sorted(set(known) - set(REPORT)):
        raise PrivacyError(f"a report has no {', '.join(unknown)}")
    if not incident.reports:
        need_text("nature", known.get("nature", ""))
        if at > incident.aware_at + NOTIFY_WITHIN:
            need_text("delay_reason, after 72 hours", delay_reason)
    added = Report(at=at, by=need_text("by", by), known=known, delay_reason=delay_reason)
    return msgspec.structs.replace(incident, reports=(*incident.reports, added))


def still_unknown(incident: SecurityIncident) -> tuple[str, ...]:
    """Returns what no phase of the report has named yet."""
    told = {name for part in incident.reports for name, text in part.known.items() if text.strip()}
    return tuple(name for name in REPORT if name not in told)


def assess(
    incident: SecurityIncident, *, is_risk: bool, is_high_risk: bool, assessment: str
) -> SecurityIncident:
    """Says how large the risk is; that there is none needs a reason."""
    if incident.closed_at is not None:
        raise PrivacyError("the incident is closed")
    return msgspec.structs.replace(
        incident, is_risk=is_risk, is_high_risk=is_risk and is_high_risk, assessment=assessment
    )


def told_people(incident: SecurityIncident, *, at: datetime) -> SecurityIncident:
    """Notes that the people concerned have heard of it; the first time stays."""
    if incident.told_people_at is not None:
        return incident
    return msgspec.structs.replace(incident, told_people_at=at)


def close(incident: SecurityIncident, *, at: datetime) -> SecurityIncident:
    """Ends it; raises PrivacyError while anybody must still be told."""
    if notify_until(incident) is not None:
        raise PrivacyError("the authority has not heard of it")
    if must_tell_people(incident):
        raise PrivacyError("the people concerned have not heard of it")
    if incident.is_risk and (unknown := still_unknown(incident)):
        raise PrivacyError(f"the report says nothing of {', '.join(unknown)}")
    return msgspec.structs.replace(incident, closed_at=at)
