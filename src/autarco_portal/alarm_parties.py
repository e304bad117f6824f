"""Who can be told of a site's alarms now, and where is he reached?

Also of a mail that waits: days may pass between queueing and leaving, and who sends it need not be
the job that queued it. What is not true any more when it would leave is taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal import escalation
from autarco_portal.escalation import Addressee, Parties, Party
from autarco_portal.people import MemberRole, OrganisationKind, holds
from autarco_portal.privacy.processing import Purpose, may_process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from autarco_portal.people import Organisation, Person
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.store import Store
    from autarco_portal.store.alarm_notices import WaitingNotice

_BATCH = 500
"""Sites are read so many at a time."""


class Contacts:
    """Where people and organisations are reached; each is asked for once."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store, self._now = store, now
        self._organisations = {
            one.organisation_id: one
            for one in store.organisations.all()
            if one.ended_at is None or one.ended_at > now
        }
        self._addressees: dict[str, tuple[Addressee, ...]] = {}

    def parties(self, site: SiteRecord) -> Parties:
        """Returns who can be told of a site."""

        def doing(kind: OrganisationKind) -> tuple[Addressee, ...]:
            found = [
                who
                for role in site.roles
                if role.kind is kind and holds(role, self._now)
                for who in self._of_organisation(role.organisation_id)
            ]
            return tuple(dict.fromkeys(found))

        owners = [one.person_id for one in site.owners if holds(one, self._now)]
        return Parties(
            maintenance=doing(OrganisationKind.MAINTENANCE),
            installers=doing(OrganisationKind.INSTALLER),
            sellers=doing(OrganisationKind.RESELLER),
            owners=tuple(Addressee(person_id=one) for one in dict.fromkeys(owners)),
        )

    def organisation(self, organisation_id: str) -> Organisation | None:
        """Returns one that has not ended."""
        return self._organisations.get(organisation_id)

    def _of_organisation(self, organisation_id: str) -> tuple[Addressee, ...]:
        if organisation_id not in self._addressees:
            organisation = self._organisations.get(organisation_id)
            self._addressees[organisation_id] = (
                () if organisation is None else self._reached(organisation)
            )
        return self._addressees[organisation_id]

    def _reached(self, organisation: Organisation) -> tuple[Addressee, ...]:
        """An organisation by its own address; without one its managers, else its other people."""
        if organisation.email is not None:
            return (Addressee(organisation_id=organisation.organisation_id),)
        members = [
            (person, membership.role)
            for person, membership in self._store.people.members(
                organisation.organisation_id, self._now
            )
            if self._may_be_written(person)
        ]
        managers = [person for person, role in members if role is MemberRole.MANAGER]
        return tuple(
            Addressee(person_id=one.person_id)
            for one in managers or [person for person, _ in members]
        )

    def _may_be_written(self, person: Person) -> bool:
        account = self._store.accounts.get(person.person_id)
        is_gone = account is not None and account.disabled_at is not None
        flags = self._store.privacy.flags_of_person(person.person_id)
        return not is_gone and may_process(flags, Purpose.ALARMS)


def sites_of(store: Store, keys: Sequence[str]) -> dict[str, SiteRecord]:
    """Returns some sites by key; the unknown ones are left out."""
    return {
        one.public_key: one
        for first in range(0, len(keys), _BATCH)
        for one in store.sites.several(keys[first : first + _BATCH])
    }


def take_back(store: Store, now: datetime) -> int:
    """Takes back the mails about alarms that wait and are not true any more; returns how many.

    What else they tell is due again. Only for whoever holds the lock of sending: a mail that is
    leaving at this moment would be told twice.
    """
    waiting = store.alarm_notices.waiting()
    if not waiting:
        return 0
    blocked = store.privacy.blocked_sites(Purpose.ALARMS, now)
    sites = sites_of(store, sorted({one.site_id for one in waiting} - blocked))
    contacts = Contacts(store, now)
    parties = {key: contacts.parties(site) for key, site in sites.items()}
    return store.alarm_notices.withdraw(
        {
            one.notice_id
            for one in waiting
            if one.site_id not in parties
            or not escalation.concerns_anybody(one.incident)
            or not _is_his(one, parties[one.site_id], contacts)
        }
    )


def _is_his(one: WaitingNotice, parties: Parties, contacts: Contacts) -> bool:
    """Whether the site's alarms are still this addressee's business, at this address."""
    who = {
        Party.MAINTENANCE: parties.maintenance,
        Party.INSTALLER: parties.installers,
        Party.SELLER: parties.sellers,
        Party.OWNER: parties.owners,
    }[one.party]
    if one.addressee not in who:
        return False
    if one.addressee.organisation_id is None:
        # A person's address is looked up when the mail leaves.
        return True
    organisation = contacts.organisation(one.addressee.organisation_id)
    return organisation is not None and organisation.email == one.recipient
