"""Which mails wait, which were delivered, and to whom?

A mail is queued in the transaction of what it tells of, and sent later. Its words go as soon as the
mail server took or refused it; that it was sent, and what the server said, stays as the record of
delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, select

from autarco_portal.privacy.policy import Delivery, DeliveryState, Language
from autarco_portal.store import alarm_notices
from autarco_portal.store.account_tables import AccountRow
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.keys import new_identifier
from autarco_portal.store.privacy_tables import MailRow, NoticeRow
from autarco_portal.store.tables import PersonRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from autarco_portal.privacy.letter import Letter


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is due."""

    mail_id: str
    recipient: str
    language: str
    subject: str
    text: str
    headers: dict[str, str]
    attempts: int


class Mails:
    """Mails of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def queue(
        self,
        letter: Letter,
        *,
        now: datetime,
        person_id: str | None = None,
        recipient: str | None = None,
        language: str = "nl",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Keeps a mail to a person, or to an address that is nobody's, until it is sent."""
        if (person_id is None) == (recipient is None):
            raise StoreError("a mail goes to a person or to an address")
        mail_id = new_identifier()
        with writing(self._engine) as session:
            session.add(
                _row(
                    mail_id, letter, now, language, person_id=person_id, recipient=recipient,
                    headers=headers,
                )
            )  # fmt: skip
        return mail_id

    def queue_notice(
        self, notice_id: str, letters: Mapping[Language, Letter], now: datetime
    ) -> int:
        """Queues a notice to every registered user in his language; returns how many are new.

        Whoever registers later is reached when it is called again; nobody is told twice.
        """
        with writing(self._engine) as session:
            if session.get(NoticeRow, notice_id) is None:
                raise StoreError("there is no such notice")
            told = set(
                session.scalars(select(MailRow.person_id).where(MailRow.notice_id == notice_id))
            )
            people = session.execute(
                select(PersonRow.person_id, PersonRow.language)
                .join(AccountRow, AccountRow.person_id == PersonRow.person_id)
                .where(AccountRow.disabled_at.is_(None))
                .order_by(PersonRow.person_id)
            ).all()
            new = [(person, language) for person, language in people if person not in told]
            for person, language in new:
                letter = letters[_language(language)]
                row = _row(new_identifier(), letter, now, language, person_id=person)
                row.notice_id = notice_id
                session.add(row)
            return len(new)

    def due(self, now: datetime, limit: int = 100) -> list[Waiting]:
        """Returns the mails to send now, the oldest first, with the address of today."""
        wanted = (
            select(MailRow, PersonRow.email)
            .outerjoin(PersonRow, PersonRow.person_id == MailRow.person_id)
            .where(MailRow.next_at <= now)
            .order_by(MailRow.queued_at, MailRow.mail_id)
            .limit(limit)
        )
        with reading(self._engine) as session:
            return [
                Waiting(
                    mail_id=row.mail_id, recipient=row.recipient or email, language=row.language,
                    subject=row.subject, text=row.text, attempts=row.attempts,
                    headers=msgspec.json.decode(row.headers, type=dict[str, str]),
                )
                for row, email in session.execute(wanted)
            ]  # fmt: skip

    def note(
        self,
        mail_id: str,
        state: DeliveryState,
        now: datetime,
        *,
        answer: str = "",
        next_at: datetime | None = None,
    ) -> None:
        """Keeps what became of a mail; a mail of somebody erased meanwhile is gone already."""
        with writing(self._engine) as session:
            row = session.get(MailRow, mail_id)
            if row is None:
                return
            row.state, row.at, row.answer = state.value, now, answer
            row.attempts += 1
            row.next_at = next_at
            if state is not DeliveryState.QUEUED:
                alarm_notices.settled(session, mail_id, state, now)
                row.recipient, row.subject, row.text, row.headers = None, "", "", "{}"

    def deliveries(self, notice_id: str) -> list[Delivery]:
        """Returns the record of a notice, by person."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(MailRow)
                .where(MailRow.notice_id == notice_id, MailRow.person_id.is_not(None))
                .order_by(MailRow.person_id)
            )
            return [
                Delivery(
                    notice_id=notice_id, person=row.person_id or "", attempts=row.attempts,
                    state=DeliveryState(row.state), at=row.at, answer=row.answer,
                )
                for row in rows
            ]  # fmt: skip


def _language(text: str) -> Language:
    return "en" if text == "en" else "nl"


def _row(
    mail_id: str,
    letter: Letter,
    now: datetime,
    language: str,
    *,
    person_id: str | None = None,
    recipient: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> MailRow:
    return MailRow(
        mail_id=mail_id, person_id=person_id, recipient=recipient, language=language,
        subject=letter.subject, text=letter.text, queued_at=now, next_at=now,
        headers=msgspec.json.encode(dict(headers or {})).decode(),
        state=DeliveryState.QUEUED.value, attempts=0, answer="",
    )  # fmt: skip
