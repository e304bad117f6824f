"""Which incidents do the findings make: opened when, seen when, closed when, and what did it cost?

Rules judge a site or inverter day by day and cause by cause; a judgement is a `Verdict`. Verdicts
fold into incidents, one at a time per cause and inverter. An incident keeps its verdicts by day and
everything else follows from them, so that judging a day again, when late data came, replaces what
was said of it: folding the same verdicts twice changes nothing.

Pure: the time comes in as an argument, nothing is sent or stored. Time stamps are evidence for the
guarantee (reference 2.3): what people did (notified, acknowledged) is never derived or overwritten.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODEL_VERSION = "incidents-1"

Evidence: TypeAlias = dict[str, float | int | str | bool | None]


class Cause(StrEnum):
    """What is wrong."""

    COMMUNICATION_LOSS = "communication_loss"
    OUTAGE = "outage"
    GRID_OUTAGE = "grid_outage"
    """The inverter is off because of the grid, by its voltage or status."""
    ZERO_DAY = "zero_day"
    UNDERPERFORMANCE = "underperformance"
    MPPT_MISMATCH = "mppt_mismatch"
    OPEN_STRING = "open_string"
    OVER_VOLTAGE = "over_voltage"
    CLIPPING = "clipping"
    FIXED_LIMIT = "fixed_limit"
    CLOCK = "clock"
    STALE = "stale"
    THERMAL_DERATING = "thermal_derating"


class Severity(StrEnum):
    """Whom it concerns: nobody now, the installer to look, the installer to act."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


class State(StrEnum):
    """What a day shows of a cause."""

    FAULTY = "faulty"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    """Not enough data or light to tell; neither opens nor closes anything."""


class CloseReason(StrEnum):
    """Why an incident ended."""

    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"
    """Late data showed that nothing was wrong."""


class IncidentRules(msgspec.Struct, frozen=True, kw_only=True):
    """When incidents close, and until when to act (reference 2.3 unless said otherwise)."""

    recovered_days: int = 3
    """Healthy days in a row, unknown ones aside, that close an incident."""
    recovered_days_communication: int = 1
    """A stick that sends again is back. Our choice."""
    reevaluate: timedelta = timedelta(hours=48)
    """A day may be judged again for so long after its end; older verdicts stand."""
    respond_within: timedelta = timedelta(days=30)
    """Autarco compensates what is lost if somebody acts within this time of the report."""
    regional_share: float = 0.20
    """A larger share of the peers nearby with the same cause on the same day is no site's fault."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule says of one day."""

    site_id: str
    inverter_sn: str | None = None
    """None where the rule judges the whole site."""
    cause: Cause
    day: date
    """Local day."""
    state: State
    alarm: bool = False
    """Opens an incident; a faulty day without it only keeps one open."""
    severity: Severity = Severity.WARNING
    begins: datetime | None = None
    """UTC; when the fault began, if the rule can tell, else the day's own beginning is taken."""
    ends: datetime
    """UTC; end of what was judged, at the latest the end of the day."""
    lost_kwh: float = 0.0
    method: str
    """How `lost_kwh` was found and by which rule's version."""
    evidence: Evidence = {}


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One fault from its first sign to its end; times are UTC."""

    site_id: str
    inverter_sn: str | None
    cause: Cause
    severity: Severity
    opened_at: datetime
    """When the fault began."""
    detected_at: datetime
    """When a rule first said so; never moves."""
    installer_notified_at: datetime | None = None
    owner_notified_at: datetime | None = None
    acknowledged_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: CloseReason | None = None
    lost_kwh: float
    method: str
    days: tuple[Verdict, ...]
    """By day; the evidence."""
    model_version: str = MODEL_VERSION

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.closed_at is None

    @property
    def incident_id(self) -> str:
        """Names it for good: there is one of a cause and inverter at a time.

        A short code, as settlements and claim files want one.
        """
        subject = self.inverter_sn or "site"
        return f"{self.site_id}:{subject}:{self.cause}:{self.detected_at:%Y%m%dT%H%M%SZ}"


def fold(
    incidents: Iterable[Incident],
    verdicts: Iterable[Verdict],
    now: datetime,
    rules: IncidentRules | None = None,
) -> list[Incident]:
    """Returns the incidents after these verdicts, in the order they were opened.

    Verdicts of days that ended more than `reevaluate` ago count only where their incident says
    nothing of the day yet. `now` becomes `detected_at` of what these verdicts open.
    """
    rules = rules or IncidentRules()
    known: dict[_Key, list[Incident]] = defaultdict(list)
    for incident in incidents:
        known[_key(incident)].append(incident)
    news: dict[_Key, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        news[_key(verdict)].append(verdict)
    for key, found in news.items():
        found.sort(key=lambda verdict: verdict.day)
        mine = sorted(known[key], key=lambda incident: incident.detected_at)
        known[key] = _fold_one(mine, found, now, rules)
    everything = [incident for mine in known.values() for incident in mine]
    return sorted(everything, key=lambda incident: (incident.opened_at, incident.incident_id))


def with_what_people_did(found: Iterable[Incident], before: Iterable[Incident]) -> list[Incident]:
    """Returns incidents of a site, found anew, with who was told and who acknowledged before.

    One that was named anew, since its beginning was judged again, keeps what was done about those
    of its cause and inverter that began while it lasts.
    """
    known = list(before)
    return [_as_people_left_it(incident, known) for incident in found]


def continues(incident: Incident, old: Incident) -> bool:
    """Whether an incident is another one's, found anew under another name.

    It is if it has that one's cause and inverter and lasted when that one began.
    """
    if old.incident_id == incident.incident_id:
        return True
    ends = incident.closed_at
    return _key(old) == _key(incident) and (
        incident.opened_at <= old.opened_at and (ends is None or old.opened_at < ends)
    )


def _as_people_left_it(incident: Incident, before: Sequence[Incident]) -> Incident:
    def first(stamps: Iterable[datetime | None]) -> datetime | None:
        return min((stamp for stamp in stamps if stamp is not None), default=None)

    mine = [incident, *(old for old in before if continues(incident, old))]
    return msgspec.structs.replace(
        incident,
        installer_notified_at=first(one.installer_notified_at for one in mine),
        owner_notified_at=first(one.owner_notified_at for one in mine),
        acknowledged_at=first(one.acknowledged_at for one in mine),
    )


def without_regional(
    verdicts: Sequence[Verdict],
    near: Mapping[str, Sequence[str]],
    rules: IncidentRules | None = None,
) -> list[Verdict]:
    """Returns the verdicts; those of a regional event no longer alarm.

    `near` names the peers of each site, within 10 km by the reference. Snow, a dead transformer, a
    provider's fault or our own look alike from one roof; from many they are no roof's.
    """
    rules = rules or IncidentRules()
    alarming = defaultdict(set)
    for verdict in verdicts:
        if verdict.alarm:
            alarming[verdict.cause, verdict.day].add(verdict.site_id)
    kept = []
    for verdict in verdicts:
        peers = near.get(verdict.site_id, ())
        same = alarming.get((verdict.cause, verdict.day), set()).intersection(peers)
        if verdict.alarm and peers and len(same) / len(peers) > rules.regional_share:
            evidence = {**verdict.evidence, "regional_share": len(same) / len(peers)}
            kept.append(
                msgspec.structs.replace(
                    verdict, alarm=False, state=State.UNKNOWN, evidence=evidence
                )
            )
        else:
            kept.append(verdict)
    return kept


def respond_by(incident: Incident, rules: IncidentRules | None = None) -> datetime | None:
    """Returns until when somebody must act for the loss to be compensated; None before a report."""
    rules = rules or IncidentRules()
    told = [at for at in (incident.installer_notified_at, incident.owner_notified_at) if at]
    return min(told) + rules.respond_within if told else None


_Key: TypeAlias = tuple[str, str, Cause]


def _key(subject: Incident | Verdict) -> _Key:
    return subject.site_id, subject.inverter_sn or "", subject.cause


def _fold_one(
    mine: list[Incident], verdicts: list[Verdict], now: datetime, rules: IncidentRules
) -> list[Incident]:
    """Verdicts of one cause and inverter, by day, into its incidents, by time."""
    for verdict in verdicts:
        owner = _owner(mine, verdict)
        if owner is not None:
            mine[owner] = _said_of(mine[owner], verdict, now, rules)
        elif verdict.state is State.FAULTY and verdict.alarm:
            opened = Incident(
                site_id=verdict.site_id,
                inverter_sn=verdict.inverter_sn,
                cause=verdict.cause,
                severity=verdict.severity,
                opened_at=_began(verdict),
                detected_at=now,
                lost_kwh=0.0,
                method=verdict.method,
                days=(),
            )
            mine.append(_derived(opened, (verdict,), rules))
    return _one_at_a_time(mine, rules)


def _one_at_a_time(mine: list[Incident], rules: IncidentRules) -> list[Incident]:
    """An incident that late data opened, or opened again, swallows those that came after it."""
    kept: list[Incident] = []
    for incident in sorted(mine, key=lambda incident: incident.days[0].day):
        if kept and kept[-1].is_open:
            earlier = kept[-1]
            stamps = {
                name: getattr(earlier, name) or getattr(incident, name)
                for name in ("installer_notified_at", "owner_notified_at", "acknowledged_at")
            }
            detected_at = min(earlier.detected_at, incident.detected_at)
            joined = msgspec.structs.replace(earlier, detected_at=detected_at, **stamps)
            kept[-1] = _derived(joined, earlier.days + incident.days, rules)
        else:
            kept.append(incident)
    return kept


def _owner(mine: list[Incident], verdict: Verdict) -> int | None:
    """Whose day is it? Of the incident that lasted over it, or that is still open."""
    for number, incident in enumerate(mine):
        first, last = incident.days[0].day, incident.days[-1].day
        if first <= verdict.day and (incident.is_open or verdict.day <= last):
            return number
    return None


def _said_of(incident: Incident, verdict: Verdict, now: datetime, rules: IncidentRules) -> Incident:
    said = {known.day: known for known in incident.days}
    if verdict.day in said and now - verdict.ends > rules.reevaluate:
        return incident
    # The detector rests after an alarm; that the day alarmed is not taken back by its silence.
    before = said.get(verdict.day)
    if before is not None and before.alarm and verdict.state is State.FAULTY:
        verdict = msgspec.structs.replace(verdict, alarm=True)
    said[verdict.day] = verdict
    return _derived(incident, tuple(said[day] for day in sorted(said)), rules)


def _derived(incident: Incident, days: tuple[Verdict, ...], rules: IncidentRules) -> Incident:
    """Everything that follows from the days."""
    faulty = [day for day in days if day.state is State.FAULTY]
    closed_at, reason = None, None
    if not faulty:
        closed_at, reason = days[-1].ends, CloseReason.WITHDRAWN
    else:
        closed_at = _recovered_at(days, _days_to_close(incident.cause, rules))
        reason = CloseReason.RECOVERED if closed_at else None
    ranks = list(Severity)
    worst = max((day.severity for day in faulty), key=ranks.index, default=incident.severity)
    return msgspec.structs.replace(
        incident,
        severity=worst,
        opened_at=min((_began(day) for day in faulty), default=incident.opened_at),
        closed_at=closed_at,
        close_reason=reason,
        lost_kwh=sum(day.lost_kwh for day in faulty),
        method=faulty[-1].method if faulty else incident.method,
        days=days,
    )


def _recovered_at(days: Sequence[Verdict], wanted: int) -> datetime | None:
    healthy = 0
    seen_fault = False
    for day in days:
        if day.state is State.FAULTY:
            seen_fault, healthy = True, 0
        elif day.state is State.HEALTHY and seen_fault:
            healthy += 1
            if healthy == wanted and not any(
                later.state is State.FAULTY for later in days if later.day > day.day
            ):
                return day.ends
    return None


def _days_to_close(cause: Cause, rules: IncidentRules) -> int:
    if cause is Cause.COMMUNICATION_LOSS:
        return rules.recovered_days_communication
    return rules.recovered_days


def _began(verdict: Verdict) -> datetime:
    return verdict.begins or verdict.ends - timedelta(days=1)
