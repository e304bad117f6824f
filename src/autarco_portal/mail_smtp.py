"""How does a mail reach the company's mail server, and what did that say?

One connection for many mails, over TLS unless the server is on this machine. An answer is a value:
delivered to the server, refused for good, or to be tried again. Its text may quote the recipient's
address, so that is taken out before anybody keeps it.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from autarco_portal.mail import MailError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

TIMEOUT_S = 30.0
"""A mail server that greylists or looks up names may take some seconds."""
ANSWER_MAX = 200
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class MailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the portal's mail is sent."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only to a server on this machine."""
    sender: str
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """Certificates to trust instead of the machine's."""

    def __post_init__(self) -> None:
        """Raises MailError for settings that would send passwords or names in the clear."""
        if self.security == "none" and self.host not in LOOPBACK:
            raise MailError("mail.security: none is for a server on this machine only")
        if (self.user is None) != (self.password_file is None):
            raise MailError("mail: user and password_file come together")


class Result(StrEnum):
    """What became of a mail."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    DEFERRED = "deferred"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server said; `text` without the recipient's address."""

    result: Result
    code: int = 0
    text: str = ""


class Connection:
    """A mail server that takes mails."""

    def __init__(self, server: smtplib.SMTP) -> None:
        """Uses a server that greets and, where wanted, knows us."""
        self._server = server

    def send(self, message: EmailMessage) -> Answer:
        """Hands one mail over; raises MailError when the connection is lost."""
        recipient = str(message["To"])
        try:
            self._server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            return _answer(code, text, recipient)
        except smtplib.SMTPResponseException as error:
            return _answer(error.smtp_code, error.smtp_error, recipient)
        except smtplib.SMTPNotSupportedError:
            return Answer(
                result=Result.REFUSED, text="the server takes no address with such letters"
            )
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise MailError("the mail server ended the connection") from error
        return Answer(result=Result.DELIVERED, code=250)


@contextlib.contextmanager
def connected(settings: MailSettings) -> Iterator[Connection]:
    """Connects, with TLS and sign-in as set, and says goodbye; raises MailError."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_opened(settings))
            if settings.user is not None and settings.password_file is not None:
                server.login(settings.user, settings.password_file.read_text("utf-8").strip())
        except (smtplib.SMTPException, ssl.SSLError, OSError) as error:
            # The reason's class only: texts of servers quote what they were sent.
            raise MailError(
                f"the mail server {settings.host}:{settings.port} cannot be used: "
                f"{type(error).__name__}"
            ) from error
        yield Connection(server)


@contextlib.contextmanager
def _opened(settings: MailSettings) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context(
        cafile=str(settings.ca_file) if settings.ca_file is not None else None
    )
    where = (settings.host, settings.port)
    server = (
        smtplib.SMTP_SSL(*where, timeout=TIMEOUT_S, context=context)
        if settings.security == "tls"
        else smtplib.SMTP(*where, timeout=TIMEOUT_S)
    )
    try:
        if settings.security == "starttls":
            server.starttls(context=context)
        yield server
    finally:
        # A server that is gone already needs no goodbye.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()
        server.close()


def _answer(code: int, text: bytes | str, recipient: str) -> Answer:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    said = " ".join(said.replace(recipient, "…").split())[:ANSWER_MAX]
    result = Result.REFUSED if 500 <= code < 600 else Result.DEFERRED
    return Answer(result=result, code=code, text=said)
