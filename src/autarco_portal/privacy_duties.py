"""What must be done today because the calendar says so?

Once a day or more often, by `autarco-portal duties`: whatever is due is done, whatever was done is
not done twice. One duty that fails does not keep the others from being done; it is named in the
report and the exit code.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from autarco_portal import bundle_jobs, mail_queue, privacy_guarantees
from autarco_portal.audit import AuditEntry
from autarco_portal.mail import MailError
from autarco_portal.privacy import legal_hold, letter, security_incident, suspension
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy_desk import Desk
from autarco_portal.telemetry_erasure import TelemetryError

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.privacy_erasure import Eraser
    from autarco_portal.privacy_settings import PrivacySettings
    from autarco_portal.store import Store

SYSTEM = "system:duties"

_ATTENTION = {
    "en": {
        "hours": "incident {name}: {hours} hours left to tell the authority",
        "people": "incident {name}: the people concerned must be told",
        "hold": "hold {name}: is it still needed? {reason}",
        "contested": "decision {name} on {of} is contested",
    },
    "nl": {
        "hours": "incident {name}: nog {hours} uur om de toezichthouder te melden",
        "people": "incident {name}: de betrokkenen moeten het horen",
        "hold": "bewaarplicht {name}: nog nodig? {reason}",
        "contested": "besluit {name} over {of} is betwist",
    },
}
"""What waits for a person, in words."""


class Report(msgspec.Struct, kw_only=True):
    """What was done."""

    warnings: int = 0
    erased: int = 0
    lifted: int = 0
    guarantees: privacy_guarantees.Followed = msgspec.field(
        default_factory=privacy_guarantees.Followed
    )
    notices: int = 0
    mails: mail_queue.Sent = msgspec.field(default_factory=mail_queue.Sent)
    attention: list[str] = []
    """What a person must look at: breaches to report, holds to review, decisions to make."""
    failures: list[str] = []


def run(store: Store, eraser: Eraser, settings: PrivacySettings, now: datetime) -> Report:
    """Does everything that is due."""
    report = Report()
    desk = Desk(store, settings)
    report.warnings = desk.warn(now)
    _erase(store, eraser, now, report)
    report.lifted = lift_restrictions(store, now)
    report.guarantees = privacy_guarantees.follow(store, settings.suspension, now)
    for notice in store.privacy.notices.all():
        if now.date() < notice.starts_on:
            # Who registered since the last time hears of it too.
            report.notices += store.mails.queue_notice(notice.notice_id, notice.letters, now)
    report.attention = attention(store, now)
    if report.attention:
        lines = attention(store, now, settings.officer_language)
        desk.tell_officer(letter.needs_a_person(lines, settings.officer_language), now)
    bundle_jobs.sweep(eraser.portal, now)
    if settings.mail is not None:
        try:
            report.mails = mail_queue.send_waiting(store, eraser.portal, settings.mail, now)
        except MailError as error:
            report.failures.append(str(error))
    return report


def lift_restrictions(store: Store, now: datetime) -> int:
    """Ends the restrictions whose announced day has come; returns how many."""
    lifted = 0
    for restriction in store.privacy.restrictions.all(lifted_at=None):
        if restriction.lifts_at is not None and restriction.lifts_at <= now:
            store.privacy.change_restriction(
                restriction.restriction_id,
                partial(suspension.lift, at=now, by=SYSTEM),
                now,
                AuditEntry(
                    at=now, actor=SYSTEM, action="lift_restriction",
                    thing=f"restriction:{restriction.restriction_id}",
                    subject=restriction.subject,
                ),
            )  # fmt: skip
            lifted += 1
    return lifted


def attention(store: Store, now: datetime, language: str = "en") -> list[str]:
    """Returns what waits for a person, one line each."""
    words = _ATTENTION[language]
    found = []
    for incident in store.privacy.incidents.all(closed_at=None):
        hours = security_incident.hours_left(incident, now)
        if hours is not None:
            found.append(words["hours"].format(name=incident.incident_id, hours=f"{hours:.0f}"))
        if security_incident.must_tell_people(incident):
            found.append(words["people"].format(name=incident.incident_id))
    found += [
        words["hold"].format(name=hold.hold_id, reason=hold.reason)
        for hold in legal_hold.to_review(store.privacy.holds.all(ended_at=None), now)
    ]
    for decision in store.privacy.decisions.all(human_at=None):
        if decision.contested_at is not None:
            found.append(words["contested"].format(name=decision.decision_id, of=decision.thing))
    return found


def _erase(store: Store, eraser: Eraser, now: datetime, report: Report) -> None:
    for case_id in store.erasure.cases_due(now):
        try:
            eraser.execute(case_id, now, by=SYSTEM)
            report.erased += 1
        except (PrivacyError, TelemetryError) as error:
            report.failures.append(f"erasure {case_id}: {error}")
