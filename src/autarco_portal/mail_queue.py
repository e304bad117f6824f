"""Which waiting mails leave now, and when is one tried again?

Sends what the store has queued, over one connection. A server that is away defers everything and
loses nothing; an address that stays away for days counts as refused. Whoever sends, a mail about
alarms leaves only while it is true and its addressee's business (`alarm_parties.take_back`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from autarco_ingest import file_lock
from autarco_portal import alarm_parties, mail, mail_smtp
from autarco_portal.mail import MailError
from autarco_portal.mail_smtp import Result
from autarco_portal.privacy.policy import DeliveryState

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.mail_smtp import Connection, MailSettings
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.store import Store
    from autarco_portal.store.mails import Waiting

RETRY_AFTER = tuple(timedelta(hours=hours) for hours in (0.25, 1, 4, 12, 24, 24, 24, 24))
"""Greylisting lasts minutes, a broken server days (RFC 5321 asks for four to five)."""
GIVEN_UP = "not taken in five days"


class Sent(msgspec.Struct, kw_only=True):
    """How many mails went which way."""

    delivered: int = 0
    refused: int = 0
    deferred: int = 0


def send_waiting(
    store: Store, directory: PortalDirectory, settings: MailSettings, now: datetime
) -> Sent:
    """Sends everything that is due while no other process does; raises MailError, OSError."""
    directory.root.mkdir(mode=0o700, exist_ok=True)
    with file_lock.held(directory.mail_lock):
        alarm_parties.take_back(store, now)
        return send_due(store, settings, now)


def send_due(store: Store, settings: MailSettings, now: datetime) -> Sent:
    """Sends everything that is due; raises MailError when the server cannot be used at all."""
    sent = Sent()
    waiting = store.mails.due(now)
    if not waiting:
        return sent
    with mail_smtp.connected(settings) as connection:
        while waiting:
            for one in waiting:
                _send(store, connection, settings.sender, one, now, sent)
            # Each of them was delivered, refused or put off, so none comes twice.
            waiting = store.mails.due(now)
    return sent


def _send(
    store: Store, connection: Connection, sender: str, one: Waiting, now: datetime, sent: Sent
) -> None:
    try:
        message = mail.compose(
            sender=sender, recipient=one.recipient, subject=one.subject, text=one.text, at=now,
            message_id=one.mail_id, language=one.language, headers=one.headers,
        )  # fmt: skip
    except MailError as error:
        store.mails.note(one.mail_id, DeliveryState.REFUSED, now, answer=str(error))
        sent.refused += 1
        return
    answer = connection.send(message)
    text = f"{answer.code} {answer.text}".strip()
    if answer.result is Result.DELIVERED:
        store.mails.note(one.mail_id, DeliveryState.DELIVERED, now, answer=text)
        sent.delivered += 1
    elif answer.result is Result.DEFERRED and one.attempts < len(RETRY_AFTER):
        next_at = now + RETRY_AFTER[one.attempts]
        store.mails.note(one.mail_id, DeliveryState.QUEUED, now, answer=text, next_at=next_at)
        sent.deferred += 1
    else:
        is_late = answer.result is Result.DEFERRED
        store.mails.note(
            one.mail_id, DeliveryState.REFUSED, now, answer=GIVEN_UP if is_late else text
        )
        sent.refused += 1
