"""What does the privacy officer do: answer requests, decide, keep the registers?

For pages and API alike, on the services that the command line uses too. Each step names the officer
and has its audit entry; who comes here may `handle_privacy_requests`.
"""

from __future__ import annotations

import secrets
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from autarco_ingest.paths import DataDirectory
from autarco_portal import privacy_guarantees, privacy_retention, reanalysis
from autarco_portal.audit import AuditEntry
from autarco_portal.people import PeopleError
from autarco_portal.privacy import rectification, security_incident, sharing
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.request import Channel, Method, Outcome, Right
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.privacy_services import NotThere, desk_of, directory_of, settings_of
from autarco_portal.site import SiteError

if TYPE_CHECKING:
    from autarco_portal.portal import Portal
    from autarco_portal.privacy.human_decision import Automated
    from autarco_portal.privacy.rectification import Rectified
    from autarco_portal.privacy.request import Request
    from autarco_portal.privacy.retention import Removed, Rule
    from autarco_portal.privacy.sharing import Disclosure

Step: TypeAlias = Literal["ask_proof", "verify", "extend", "decide", "correct", "close"]
IncidentStep: TypeAlias = Literal["report", "assess", "told_people", "close"]


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a request; which of the others it needs follows from `step`."""

    step: Step
    reason: str = ""
    """Of `ask_proof`, `extend`, and a decision that grants less than all."""
    email: str = ""
    """Of `verify`: whose request it is."""
    method: Method = Method.KNOWN_FACT
    """Of `verify`."""
    outcome: Outcome = Outcome.GRANTED
    """Of `decide`."""
    site: str = ""
    """Of `correct`, with `fact` and `value`: a fact of the site that the decision changes."""
    fact: str = ""
    value: str = ""
    evidence_sha256: str = ""
    """Of `close`: what proves that it was done."""


class IncidentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of an incident."""

    step: IncidentStep
    known: dict[str, str] = {}
    """Of `report`: fields of article 33(3)."""
    delay_reason: str = ""
    is_risk: bool = True
    is_high_risk: bool = False
    assessment: str = ""


class Office:
    """One officer's work in one portal, now."""

    def __init__(self, portal: Portal, officer: str, now: datetime) -> None:
        self._portal = portal
        self._store = portal.store
        self._officer = officer
        self._now = now

    # Requests.

    def requests(self, *, is_open: bool = True) -> list[Request]:
        """Returns requests, whose deadline is next first; those that ended only if asked."""
        found = self._store.privacy.requests.all(**({"is_open": True} if is_open else {}))
        return sorted(found, key=lambda one: (not one.is_open, one.deadline_at(self._now)))

    def request(self, request_id: str) -> Request:
        """Returns one, and notes that it was looked at; raises NotThere."""
        found = self._store.privacy.requests.get(request_id)
        if found is None:
            raise NotThere("no such request")
        if found.person is not None:
            self._store.audit.append(
                self._entry("view_request", f"request:{request_id}", subject=found.person)
            )
        return found

    def enter(
        self,
        right: Right,
        channel: Channel,
        contact: str,
        *,
        received_at: datetime | None = None,
        language: str = "nl",
    ) -> Request:
        """Enters what came by mail, letter or phone."""
        return desk_of(self._portal).receive_by_staff(
            right,
            channel,
            contact,
            received_at=received_at or self._now,
            now=self._now,
            by=self._officer,
            language=language,
        )

    def answer(self, request_id: str, answer: Answer) -> Request:
        """Does one step of a request."""
        if self._store.privacy.requests.get(request_id) is None:
            raise NotThere("no such request")
        desk, now, by = desk_of(self._portal), self._now, self._officer
        match answer.step:
            case "ask_proof":
                desk.ask_proof(request_id, now=now, by=by, reason=answer.reason)
            case "verify":
                person = self._store.people.by_email(answer.email)
                if person is None:
                    raise PrivacyError("nobody has that e-mail address")
                desk.verify(
                    request_id, now=now, by=by, method=answer.method, person_id=person.person_id
                )
            case "extend":
                desk.extend(request_id, now=now, by=by, reason=answer.reason)
            case "decide":
                desk.decide(
                    request_id, now=now, by=by, outcome=answer.outcome, reason=answer.reason
                )
            case "correct":
                self._correct(request_id, answer)
            case "close":
                evidence = answer.evidence_sha256.strip() or None
                desk.close(request_id, now=now, by=by, evidence_sha256=evidence)
        self._portal.outbox.soon()
        after = self._store.privacy.requests.get(request_id)
        if after is None:
            raise NotThere("no such request")
        return after

    def facts(self, asked: Request) -> dict[str, tuple[str, ...]]:
        """Returns what a decision on rectification can change of the person's sites, by key."""
        if asked.person is None or asked.right is not Right.RECTIFICATION:
            return {}
        return {
            record.public_key: rectification.facts(record.planes)
            for record in self._store.sites.owned_by(asked.person)
        }

    def _correct(self, request_id: str, answer: Answer) -> Rectified:
        """Carries a decision on rectification out; what was computed with it is done again."""
        known = self._store.sites.record(answer.site)
        if known is None:
            raise PrivacyError("there is no such site")
        try:
            done, after = self._store.rectifications.correct(
                request_id, answer.site, answer.fact, answer.value, now=self._now,
                by=self._officer, entry=self._rectified,
            )  # fmt: skip
        except (SiteError, PeopleError) as error:
            raise PrivacyError(str(error)) from error
        if rectification.changes_analyses(done.fact):
            began = [one.commissioned_on for one in (known, after) if one.commissioned_on]
            reanalysis.mark(directory_of(self._portal), done.site, min(began, default=date.min))
        return done

    def _rectified(self, done: Rectified) -> AuditEntry:
        return AuditEntry(
            at=self._now,
            actor=self._officer,
            action="change_site",
            thing=f"site:{done.site}",
            why=f"request:{done.request_id}",
            detail={"fact": done.fact, "sha256": done.sha256()},
        )

    def evidence(self, asked: Request) -> list[tuple[datetime, str]]:
        """Returns when the person's data was handed out since he asked, and its hash."""
        if asked.person is None:
            return []
        return [
            (sealed.entry.at, str(sealed.entry.detail.get("sha256", "")))
            for sealed in self._store.audit.of(subject=asked.person, limit=200)
            if sealed.entry.action == "export_person"
            and sealed.entry.at >= asked.received_at
            and sealed.entry.detail.get("sha256")
        ]

    # Decisions of programs.

    def contested(self) -> list[Automated]:
        """Returns what waits for a person's word, the oldest first."""
        found = self._store.privacy.decisions.all(human_at=None)
        waiting = [one for one in found if one.contested_at is not None]
        return sorted(waiting, key=lambda one: one.contested_at or self._now)

    def decide(self, decision_id: str, *, is_upheld: bool, reason: str) -> Automated:
        """Gives a named employee's word."""
        if self._store.privacy.decisions.get(decision_id) is None:
            raise NotThere("no such decision")
        return privacy_guarantees.decide(
            self._store,
            decision_id,
            self._now,
            by=self._officer,
            is_upheld=is_upheld,
            reason=reason,
        )

    # Registers.

    def incidents(self, *, is_open: bool = False) -> list[SecurityIncident]:
        """Returns incidents, the newest first."""
        found = self._store.privacy.incidents.all(**({"closed_at": None} if is_open else {}))
        return sorted(found, key=lambda one: one.aware_at, reverse=True)

    def add_incident(
        self, summary: str, *, aware_at: datetime | None = None, is_high_risk: bool = False
    ) -> SecurityIncident:
        """Enters one; the 72 hours run from the moment somebody became aware of it."""
        if aware_at is not None and aware_at > self._now + timedelta(minutes=1):
            raise PrivacyError("nobody is aware of something that has not happened yet")
        incident = SecurityIncident(
            incident_id=secrets.token_hex(4),
            aware_at=aware_at or self._now,
            recorded_by=self._officer,
            summary=summary,
            is_high_risk=is_high_risk,
        )
        entry = self._entry("add_incident", f"incident:{incident.incident_id}")
        return self._store.privacy.incidents.add(incident, entry)

    def change_incident(self, incident_id: str, change: IncidentChange) -> SecurityIncident:
        """Does one step of an incident."""
        if self._store.privacy.incidents.get(incident_id) is None:
            raise NotThere("no such incident")
        now = self._now
        action = "report_incident" if change.step == "report" else "change_incident"

        def rule(before: SecurityIncident) -> SecurityIncident:
            match change.step:
                case "report":
                    return security_incident.report(
                        before,
                        at=now,
                        by=self._officer,
                        known={name: text for name, text in change.known.items() if text.strip()},
                        delay_reason=change.delay_reason,
                    )
                case "assess":
                    return security_incident.assess(
                        before,
                        is_risk=change.is_risk,
                        is_high_risk=change.is_high_risk,
                        assessment=change.assessment,
                    )
                case "told_people":
                    return security_incident.told_people(before, at=now)
                case "close":
                    return security_incident.close(before, at=now)

        entry = self._entry(action, f"incident:{incident_id}")
        return self._store.privacy.incidents.change(incident_id, rule, entry)

    def disclosures(self) -> list[Disclosure]:
        """Returns the ledger, the newest first."""
        found = self._store.privacy.disclosures.all()
        return sorted(found, key=lambda one: one.asked_at, reverse=True)

    def approve(self, disclosure_id: str) -> Disclosure:
        """Gives this officer's yes to a disclosure that needs it."""
        if self._store.privacy.disclosures.get(disclosure_id) is None:
            raise NotThere("no such disclosure")
        return self._store.privacy.disclosures.change(
            disclosure_id,
            partial(sharing.approve, by=self._officer),
            self._entry("approve_disclosure", f"disclosure:{disclosure_id}"),
        )

    def retention(self) -> list[tuple[Rule, Removed | None]]:
        """Returns each rule, and what the portal's job would remove by it now."""
        rules = settings_of(self._portal).rules
        data = DataDirectory.at(self._portal.settings.data)
        due = privacy_retention.run(self._store, data, rules, self._now, is_dry=True)
        by_name = {one.rule: one for one in due}
        return [(rule, by_name.get(rule.name)) for rule in rules]

    def _entry(self, action: str, thing: str, *, subject: str | None = None) -> AuditEntry:
        return AuditEntry(
            at=self._now, actor=self._officer, action=action, thing=thing, subject=subject
        )
