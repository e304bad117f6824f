"""Who lets somebody else see a site, and how does its owner get in? For pages and API alike.

Whoever gives access learns nothing about the other: one without an account is invited, one with it
is told, and what the giver is answered and shown is the same. Each step has its audit entry. Who
comes here may do it (`rights.may`).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autarco_portal.audit import AuditEntry
from autarco_portal.pages import invitations
from autarco_portal.pages.words import N_
from autarco_portal.people import Source, SourceKind, holds, known_language, normal_email
from autarco_portal.privacy import letter
from autarco_portal.privacy_services import settings_of
from autarco_portal.secret import Secret, digest
from autarco_portal.store import StoreError
from autarco_portal.throttle import ThrottleRules

if TYPE_CHECKING:
    from autarco_portal.accounts import Accounts
    from autarco_portal.people import Actor, Grant, Person
    from autarco_portal.portal import Portal
    from autarco_portal.site_record import SiteRecord

WHY_MAX = 200
NAME_MAX = 200
GIVEN = ThrottleRules(free=10)
"""Of one person in a day: each gift is a mail to an address that he typed."""

HAS_OWNER = N_("This site has an owner; only its owner lets others look.")
KNOWN = N_("Somebody with this e-mail address has an account already; ask the support.")
TOO_MANY = N_("You gave access very often. Please wait a while and try again.")


class SiteAccessDesk:
    """What somebody does about who may see one site, now."""

    def __init__(
        self, portal: Portal, accounts: Accounts, record: SiteRecord, actor: Actor
    ) -> None:
        self._portal = portal
        self._store = portal.store
        self._accounts = accounts
        self._record = record
        self._actor = actor
        self._now = actor.at

    def grants(self) -> list[Grant]:
        """Returns those in force, the oldest first."""
        return [one for one in self._record.grants if holds(one, self._now)]

    def shown(self, grant: Grant) -> str:
        """Returns to whom access was given: an organisation's name, a person's address.

        Not his name: that would tell the giver that somebody is known here, and who.
        """
        if grant.organisation_id is not None:
            names = self._portal.organisation_names()
            return names.get(grant.organisation_id, grant.organisation_id)
        person = self._store.people.get(grant.person_id) if grant.person_id is not None else None
        return person.email if person is not None else ""

    def give(self, email: str, *, why: str, until: date | None, language: str) -> Grant:
        """Lets somebody look until the end of a local day, or until it is ended.

        Raises PeopleError for what is no address, StoreError where he gave too often.
        """
        address = normal_email(email)
        waits = self._store.throttles.attempt(
            digest(Secret(f"grant:{self._actor.person_id}")), self._now, GIVEN
        )
        if waits is not None:
            raise StoreError(TOO_MANY)
        person = self._store.people.by_email(address)
        if person is None:
            # By his address until he says himself what he is called.
            person = self._store.people.add(
                name=address, email=address, source=Source(kind=SourceKind.OWNER), now=self._now,
                language=known_language(language),
            )  # fmt: skip
        given = self._store.sites.grant(
            self._record.public_key,
            person_id=person.person_id,
            why=why.strip()[:WHY_MAX],
            given_by=self._actor.person_id,
            now=self._now,
            until=self._end_of(until),
        )
        self._note("grant", subject=person.person_id, why=f"grant:{given.grant_id}")
        # Beside the answer, which takes as long whether he is known or not.
        self._portal.outbox.soon(lambda: self._tell(person))
        return given

    def end(self, grant_id: str) -> bool:
        """Ends what a grant allowed; tells whether there was one."""
        ended = self._store.sites.end_grant(self._record.public_key, grant_id, self._now)
        if ended:
            self._note("end_grant", why=f"grant:{grant_id}")
        return ended

    def invite_owner(self, name: str, email: str, language: str) -> Secret:
        """Invites the owner of a site that has none, or once more while he has no password.

        Returns what the link ends in, for whoever hands it over where no mail can be sent. Raises
        PeopleError, and StoreError for an address of somebody who is in already.
        """
        person = self._owner(name, email, language)
        self._store.sites.add_owner(self._record.public_key, person.person_id, self._now)
        self._note("change_site", subject=person.person_id)
        secret = self._accounts.invite(person.person_id, by=self._actor.person_id, now=self._now)
        if settings_of(self._portal).mail is not None:
            self._queue_invitation(person, secret)
            self._portal.outbox.soon()
        return secret

    def _tell(self, person: Person) -> None:
        account = self._store.accounts.get(person.person_id)
        if account is None:
            secret = self._accounts.invite(
                person.person_id, by=self._actor.person_id, now=self._now
            )
            self._queue_invitation(person, secret)
        elif account.disabled_at is None:
            self._store.mails.queue(
                letter.access_given(self._record.name, self._site_page(), person.language),
                now=self._now,
                person_id=person.person_id,
                language=person.language,
            )

    def _site_page(self) -> str:
        return f"{settings_of(self._portal).url}/sites/{self._record.public_key}"

    def _queue_invitation(self, person: Person, secret: Secret) -> None:
        link = invitations.mailed(self._portal, secret)
        self._store.mails.queue(
            letter.invited(self._record.name, link, person.language),
            now=self._now,
            person_id=person.person_id,
            language=person.language,
        )

    def _owner(self, name: str, email: str, language: str) -> Person:
        """Returns whom to invite.

        An invitation sets a password: it must open no account that anybody has, here or elsewhere.
        """
        owners = {one.person_id for one in self._record.owners if holds(one, self._now)}
        known = self._store.people.by_email(email)
        if known is None:
            if owners:
                raise StoreError(HAS_OWNER)
            partner = next(
                (
                    role.organisation_id
                    for role in self._record.roles
                    if role.organisation_id in self._actor.roles and holds(role, self._now)
                ),
                None,
            )
            return self._store.people.add(
                name=name.strip(),
                email=email,
                source=Source(kind=SourceKind.PARTNER, organisation_id=partner),
                now=self._now,
                language=known_language(language),
            )
        account = self._store.accounts.get(known.person_id)
        access = self._store.people.access(known.person_id, self._now)
        is_private = access is not None and not access.organisations and not access.portal_roles
        if owners != {known.person_id} or not is_private:
            raise StoreError(HAS_OWNER if owners else KNOWN)
        if account is not None and (account.has_password or account.disabled_at is not None):
            raise StoreError(KNOWN)
        return known

    def _end_of(self, day: date | None) -> datetime | None:
        if day is None:
            return None
        zone = ZoneInfo(self._record.time_zone)
        ends = datetime.combine(day + timedelta(days=1), time(), zone)
        return ends.astimezone(ZoneInfo("UTC"))

    def _note(self, action: str, *, subject: str | None = None, why: str | None = None) -> None:
        key = self._record.public_key
        self._store.audit.append(
            AuditEntry(
                at=self._now, actor=self._actor.person_id, action=action, thing=f"site:{key}",
                subject=subject, why=why,
            )
        )  # fmt: skip
