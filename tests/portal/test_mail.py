"""Mail leaves encrypted, says what became of it, and lets nobody slip headers in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import smtp_server
from autarco_portal import mail, mail_queue, mail_smtp
from autarco_portal.mail import MailError
from autarco_portal.mail_smtp import MailSettings, Result
from autarco_portal.privacy import letter

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from autarco_portal.store import Store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def message(recipient: str = "jan@example.nl", subject: str = "Uw verzoek r1") -> EmailMessage:
    return mail.compose(
        sender="privacy@example.nl", recipient=recipient, subject=subject,
        text="Wij ontvingen uw verzoek: geïnstalleerd vermogen 3,2 kWp.\n", at=NOW,
        message_id="0123abcd", headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )  # fmt: skip


def test_a_mail_arrives_as_it_was_written() -> None:
    with smtp_server.running() as (inbox, port):
        settings = MailSettings(
            host="127.0.0.1", port=port, security="none", sender="privacy@example.nl"
        )
        with mail_smtp.connected(settings) as connection:
            answers = [connection.send(message()), connection.send(message("marie@example.nl"))]
    assert [answer.result for answer in answers] == [Result.DELIVERED, Result.DELIVERED]
    first = inbox.to("jan@example.nl")[0]
    assert "geïnstalleerd vermogen 3,2 kWp" in first.get_content()  # type: ignore[attr-defined]
    assert first["Message-ID"] == "<0123abcd@example.nl>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len(inbox.messages) == 2


def test_a_refusal_and_a_delay_are_told_apart_and_name_nobody() -> None:
    with smtp_server.running() as (_, port):
        settings = MailSettings(
            host="127.0.0.1", port=port, security="none", sender="privacy@example.nl"
        )
        with mail_smtp.connected(settings) as connection:
            gone = connection.send(message("gone@example.nl"))
            later = connection.send(message("later@example.nl"))
            fine = connection.send(message())
    assert (gone.result, gone.code) == (Result.REFUSED, 550)
    assert (later.result, later.code) == (Result.DEFERRED, 451)
    assert fine.result is Result.DELIVERED
    assert "gone@" not in gone.text
    assert "unknown here" in gone.text


def test_it_is_encrypted_and_signs_in(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(smtp_server.PASSWORD + b"\n")
    with smtp_server.running(tmp_path) as (inbox, port):
        settings = MailSettings(
            host="127.0.0.1", port=port, sender="privacy@example.nl", user="portal",
            password_file=secret, ca_file=tmp_path / "ca.pem",
        )  # fmt: skip
        with mail_smtp.connected(settings) as connection:
            assert connection.send(message()).result is Result.DELIVERED
        assert inbox.is_encrypted == [True]
        secret.write_text("wrong")
        with (
            pytest.raises(MailError, match="cannot be used: SMTPAuthenticationError"),
            mail_smtp.connected(settings),
        ):
            pass


def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    with smtp_server.running(tmp_path) as (inbox, port):
        settings = MailSettings(host="127.0.0.1", port=port, sender="privacy@example.nl")
        with (
            pytest.raises(MailError, match="SSLCertVerificationError"),
            mail_smtp.connected(settings),
        ):
            pass
    assert inbox.messages == []


def test_a_server_that_is_not_there_is_said_in_one_sentence() -> None:
    settings = MailSettings(host="127.0.0.1", port=1, security="none", sender="privacy@example.nl")
    with (
        pytest.raises(MailError, match=r"127\.0\.0\.1:1 cannot be used"),
        mail_smtp.connected(settings),
    ):
        pass


@pytest.mark.parametrize(
    ("recipient", "subject"),
    [
        ("jan@example.nl\r\nBcc: everybody@example.nl", "x"),
        ("jan", "x"),
        ("", "x"),
        ("jan@example.nl", "x\r\nBcc: everybody@example.nl"),
    ],
)
def test_nobody_slips_headers_in(recipient: str, subject: str) -> None:
    with pytest.raises(MailError):
        message(recipient, subject)


def test_names_and_passwords_do_not_leave_in_the_clear() -> None:
    with pytest.raises(MailError, match="on this machine only"):
        MailSettings(host="mail.example.nl", security="none", sender="privacy@example.nl")


def test_a_mail_is_tried_again_for_five_days_and_then_given_up(store: Store) -> None:
    """The server says `later` to this address, each time."""
    words = letter.Letter(subject="Uw verzoek", text="Later.\n")
    store.mails.queue(words, now=NOW, recipient="later@example.nl", language="nl")
    with smtp_server.running() as (_, port):
        settings = MailSettings(
            host="127.0.0.1", port=port, security="none", sender="privacy@example.nl"
        )
        at = NOW
        for wait in mail_queue.RETRY_AFTER:
            assert mail_queue.send_due(store, settings, at).deferred == 1
            # Not before its time, and at it.
            assert store.mails.due(at + wait - timedelta(seconds=1)) == []
            at += wait
        assert timedelta(days=4) < at - NOW < timedelta(days=6)
        assert mail_queue.send_due(store, settings, at).refused == 1
    assert store.mails.due(at + timedelta(days=365)) == []
