"""How does somebody ask for a newsletter, and how does each one offer its end?

The word is a `consent.Consent`; links carry a keyed digest, so nothing more is stored than that.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from autarco_portal.audit import AuditEntry
from autarco_portal.privacy import consent, letter
from autarco_portal.privacy.consent import Consent
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.processing import Purpose, may_process

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.people import Person
    from autarco_portal.privacy.letter import Letter
    from autarco_portal.store import Store

CONFIRM, WITHDRAW = "confirm", "withdraw"
ONE_CLICK = "one_click"


class Newsletter:
    """Newsletters of one portal; `url` is where links lead, `mailbox` takes unsubscriptions."""

    def __init__(self, store: Store, key: bytes, *, url: str, mailbox: str) -> None:
        self._store = store
        self._key = key
        self._url = url
        self._mailbox = mailbox

    def ask(
        self, person: Person, topic: str, *, text_version: str, address: str, now: datetime
    ) -> Consent:
        """Keeps the first yes and mails the link for the second; raises PrivacyError."""
        asked = Consent(
            consent_id=secrets.token_hex(8), person=person.person_id, topic=topic,
            text_version=text_version, asked_at=now, asked_network=consent.truncated(address),
        )  # fmt: skip
        entry = AuditEntry(
            at=now, actor=person.person_id, action="ask_newsletter",
            thing=f"consent:{asked.consent_id}", subject=person.person_id,
            detail={"topic": topic},
        )  # fmt: skip
        self._store.privacy.consents.add(asked, entry)
        what = letter.confirm_newsletter(self._link(asked, CONFIRM), person.language)
        self._store.mails.queue(what, now=now, person_id=person.person_id, language=person.language)
        return asked

    def confirm(self, consent_id: str, token: str, *, address: str, now: datetime) -> Consent:
        """The second yes; raises PrivacyError for a wrong or old link, StoreError for none."""
        consent.check_token(self._key, consent_id, CONFIRM, token)
        return self._store.privacy.consents.change(
            consent_id, partial(consent.confirm, at=now, address=address)
        )

    def withdraw(self, consent_id: str, token: str, *, now: datetime) -> Consent:
        """One click, without sign-in; raises PrivacyError for a wrong link, StoreError for none."""
        consent.check_token(self._key, consent_id, WITHDRAW, token)
        return self._store.privacy.withdraw_consent(consent_id, now, ONE_CLICK)

    def send(self, topic: str, letters: dict[str, Letter], *, now: datetime) -> int:
        """Queues a newsletter to whoever wants it, in his language; returns to how many."""
        count = 0
        for given in self._store.privacy.consents.all(topic=topic, withdrawn_at=None):
            person = self._store.people.get(given.person)
            flags = self._store.privacy.flags_of_person(given.person)
            if person is None or not given.is_given or not may_process(flags, Purpose.MARKETING):
                continue
            headers = consent.unsubscribe_headers(self._link(given, WITHDRAW), self._mailbox)
            self._store.mails.queue(
                letters[person.language], now=now, person_id=person.person_id,
                language=person.language, headers=headers,
            )  # fmt: skip
            count += 1
        return count

    def _link(self, of: Consent, use: str) -> str:
        if not self._url.startswith("https://"):
            raise PrivacyError("a newsletter needs the portal's https address (`url`)")
        token = consent.token(self._key, of.consent_id, use)
        return f"{self._url}/api/v1/newsletter/{use}/{of.consent_id}/{token}"
