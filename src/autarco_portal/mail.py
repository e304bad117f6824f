"""What does a letter look like as a mail?

Pure: addresses, time and identifier are arguments. Who sends it is `mail_smtp`.
"""

from __future__ import annotations

from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class MailError(ValueError):
    """A mail cannot be made or sent; one sentence, without the recipient's address."""


def compose(
    *,
    sender: str,
    recipient: str,
    subject: str,
    text: str,
    at: datetime,
    message_id: str,
    language: str = "nl",
    headers: Mapping[str, str] | None = None,
) -> EmailMessage:
    """Returns a mail in plain text, from `sender` to one `recipient`.

    `message_id` is random and names the delivery; it gets the sender's domain. Raises MailError for
    an address or header that is none: line breaks would add headers of somebody else's.
    """
    message = EmailMessage(policy=SMTP)
    from_address, to_address = _address(sender), _address(recipient)
    try:
        message["From"] = from_address
        message["To"] = to_address
        message["Subject"] = subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{message_id}@{from_address.domain}>"
        message["Content-Language"] = language
        # Holiday answers are for people (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        for name, value in (headers or {}).items():
            message[name] = value
    except (ValueError, HeaderParseError) as error:
        raise MailError("a header of the mail has characters that none may have") from error
    message.set_content(text)
    return message


def _address(text: str) -> Address:
    try:
        address = Address(addr_spec=text)
    except (ValueError, HeaderParseError, IndexError) as error:
        raise MailError("that is no e-mail address") from error
    if not address.domain or not address.username:
        raise MailError("that is no e-mail address")
    return address
