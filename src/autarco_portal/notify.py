"""Who hears of which alarms now, and how does he hear of it?

`autarco-portal notify`, after each analysis: what `escalation` finds due becomes one mail to each
addressee, queued together with the record of whom it tells. Done again, also after a crash, it
tells nobody anything twice.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from autarco_portal import alarm_record, escalation, mail_queue, permitted
from autarco_portal.alarm_parties import Contacts, sites_of
from autarco_portal.alarm_record import AlarmRecord
from autarco_portal.escalation import Addressee, Case, Parties, Party
from autarco_portal.escalation_letter import Item, digest
from autarco_portal.guarantee_contract import anniversary
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.mail import MailError
from autarco_portal.people import Actor
from autarco_portal.site_record import seen_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from autarco_portal.escalation import Due, EscalationRules
    from autarco_portal.incidents import Incident
    from autarco_portal.mail_smtp import MailSettings
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.privacy.letter import Letter
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.store import Store


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is due to one addressee."""

    addressee: Addressee
    name: str
    language: str
    recipient: str | None
    """An organisation's own address; a person's is looked up when the mail leaves."""
    items: tuple[Item, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be told of what now."""

    messages: tuple[Message, ...]
    of_nobody: tuple[str, ...]
    """Sites with alarms of which there is nobody to tell, by key."""


class Report(msgspec.Struct, kw_only=True):
    """What was done."""

    queued: int = 0
    """Mails, one to each addressee."""
    notices: int = 0
    """Steps of alarms that these tell of."""
    mails: mail_queue.Sent = msgspec.field(default_factory=mail_queue.Sent)
    """All that waited, those of other runs too."""
    of_nobody: list[str] = []
    failures: list[str] = []


def run(
    store: Store, directory: PortalDirectory, settings: MailSettings, *, url: str, now: datetime
) -> Report:
    """Queues what is due and sends what waits; links begin with `url`. Raises StoreError, OSError.

    While the mail server is away nothing is queued: it will be due then as it is then.
    """
    report = Report()
    _send(store, directory, settings, now, report)
    if report.failures:
        return report
    found = plan(store, now)
    report.of_nobody = list(found.of_nobody)
    for message in found.messages:
        told = _queue(store, message, url, now)
        report.queued += bool(told)
        report.notices += len(told)
    _send(store, directory, settings, now, report)
    return report


def plan(store: Store, now: datetime, rules: EscalationRules | None = None) -> Plan:
    """Returns who is to be told now; changes nothing."""
    alarms = [
        one.incident
        for one in permitted.open_alarms(store, now)
        if escalation.concerns_anybody(one.incident)
    ]
    sites = sites_of(store, sorted({one.site_id for one in alarms}))
    sent = store.alarm_notices.of([one.incident_id for one in alarms])
    reaction = _reaction_days(store, now)
    contacts = Contacts(store, now)
    parties = {key: contacts.parties(site) for key, site in sites.items()}
    items: dict[Addressee, list[Item]] = defaultdict(list)
    for incident in alarms:
        if incident.site_id not in sites:
            continue
        case = Case(
            incident=incident,
            parties=parties[incident.site_id],
            reaction_days=reaction.get(incident.site_id),
        )
        for due in escalation.due(case, sent.get(incident.incident_id, ()), now, rules):
            site = sites[incident.site_id]
            items[due.addressee].append(
                Item(
                    due=due, site_id=site.public_key, site_name=site.name,
                    time_zone=site.time_zone, cause=incident.cause, opened_at=incident.opened_at,
                    lost_kwh=_lost_kwh(incident, site, due, now),
                    reaction_days=case.reaction_days if case.has_guarantee_at_stake else None,
                )
            )  # fmt: skip
    messages = [_message(store, contacts, who, mine) for who, mine in items.items()]
    return Plan(
        messages=tuple(sorted(messages, key=lambda one: one.name)),
        of_nobody=tuple(key for key, found in parties.items() if found == Parties()),
    )


def _lost_kwh(incident: Incident, site: SiteRecord, due: Due, now: datetime) -> float:
    """As whoever is told may know it: an owner's time may have begun after the fault."""
    person_id = due.addressee.person_id
    if due.party is not Party.OWNER or person_id is None:
        return incident.lost_kwh
    seen = seen_by(Actor(person_id=person_id, at=now), site)
    found = alarm_record.of_site(AlarmRecord(incident=incident), seen)
    return found.incident.lost_kwh if found is not None else 0.0


def _queue(store: Store, message: Message, url: str, now: datetime) -> list[Due]:
    by_due = {(item.due.incident_id, item.due.step): item for item in message.items}

    def write(told: Sequence[Due]) -> Letter:
        items = [by_due[one.incident_id, one.step] for one in told]
        return digest(items, message.language, url=url)

    return store.alarm_notices.queue(
        [item.due for item in message.items],
        write,
        now=now,
        language=message.language,
        recipient=message.recipient,
    )


def _send(
    store: Store,
    directory: PortalDirectory,
    settings: MailSettings,
    now: datetime,
    report: Report,
) -> None:
    try:
        sent = mail_queue.send_waiting(store, directory, settings, now)
    except MailError as error:
        report.failures.append(str(error))
        return
    report.mails.delivered += sent.delivered
    report.mails.refused += sent.refused
    report.mails.deferred += sent.deferred


def _reaction_days(store: Store, now: datetime) -> dict[str, int]:
    """How soon to act, by site with a guarantee in force; of several the shortest."""
    found: dict[str, int] = {}
    for record in store.guarantees.all(GuaranteeStatus.ACTIVE):
        contract = record.contract
        today = now.astimezone(ZoneInfo(contract.time_zone)).date()
        if contract.starts_on <= today < anniversary(contract, contract.term_years + 1):
            days = contract.response_deadline_days
            found[contract.site_id] = min(days, found.get(contract.site_id, days))
    return found


def _message(store: Store, contacts: Contacts, who: Addressee, items: Iterable[Item]) -> Message:
    """A message to somebody whom `Contacts.parties` named."""
    organisation = contacts.organisation(who.organisation_id or "")
    if organisation is not None:
        # Nobody knows who reads an organisation's mail, so it is in the company's language.
        name, language, recipient = organisation.name, "nl", organisation.email
    else:
        person = store.people.get(who.person_id or "")
        name, language = (person.name, person.language) if person else ("", "nl")
        recipient = None
    return Message(
        addressee=who, name=name, language=language, recipient=recipient, items=tuple(items)
    )
