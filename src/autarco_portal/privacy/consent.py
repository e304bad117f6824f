"""Who wanted which newsletter, how is that proved, and how does it end?

Double opt-in: nothing is sent before the address itself said yes through the link mailed to it. The
proof is time, version of the text, and the truncated address of the network. Withdrawal is one
click without sign-in (RFC 8058), as easy as consent, and takes effect at once.
"""

from __future__ import annotations

import hmac
import ipaddress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Iterable

TOPICS = ("news", "products", "energy_tips")
CONFIRM_DAYS = 7
"""A link older than that asks again; unconfirmed consents are deleted with it."""


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """One person's word on one topic; times are UTC."""

    consent_id: str
    person: str
    topic: str
    text_version: str
    """Which text he read."""
    asked_at: datetime
    asked_network: str
    """Truncated, /24 or /48."""
    confirmed_at: datetime | None = None
    confirmed_network: str = ""
    withdrawn_at: datetime | None = None
    withdrawn_by: str = ""
    """`one_click`, `account`, `objection` or an employee's account."""

    def __post_init__(self) -> None:
        """Raises PrivacyError for a topic that does not exist."""
        if self.topic not in TOPICS:
            raise PrivacyError(f"topic: expected one of {', '.join(TOPICS)}, got {self.topic!r}")

    @property
    def is_given(self) -> bool:
        """Whether mail on the topic may be sent."""
        return self.confirmed_at is not None and self.withdrawn_at is None


def truncated(address: str) -> str:
    """Returns the /24 or /48 that an address is in; raises PrivacyError for none.

    IPv4 written as IPv6 is IPv4: else the whole address would stand in the /48.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise PrivacyError("not a network address") from error
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = 24 if found.version == 4 else 48
    return str(ipaddress.ip_network(f"{found}/{bits}", strict=False))


def confirm(consent: Consent, *, at: datetime, address: str) -> Consent:
    """The second yes, by the link in the mail."""
    if consent.withdrawn_at is not None:
        raise PrivacyError("the consent was withdrawn: ask anew")
    if consent.confirmed_at is not None:
        return consent
    if at >= consent.asked_at + timedelta(days=CONFIRM_DAYS):
        raise PrivacyError("the link is too old: ask anew")
    return msgspec.structs.replace(consent, confirmed_at=at, confirmed_network=truncated(address))


def withdraw(consent: Consent, *, at: datetime, by: str) -> Consent:
    """Ends it; twice is once, because mail programs and people click twice."""
    if consent.withdrawn_at is not None:
        return consent
    return msgspec.structs.replace(consent, withdrawn_at=at, withdrawn_by=by)


def recipients(consents: Iterable[Consent], topic: str) -> tuple[str, ...]:
    """Returns who wants mail on the topic now, each once."""
    return tuple(sorted({c.person for c in consents if c.topic == topic and c.is_given}))


def token(key: bytes, consent_id: str, use: str) -> str:
    """Returns the secret part of a link of a consent, for `confirm` or `withdraw`.

    A keyed digest: nothing is stored, and a link of one use is none of the other.
    """
    return hmac.digest(key, f"consent:{use}:{consent_id}".encode(), sha256).hex()[:32]


def check_token(key: bytes, consent_id: str, use: str, given: str) -> None:
    """Raises PrivacyError unless it is the token; takes as long for each wrong one."""
    if not hmac.compare_digest(token(key, consent_id, use).encode(), given.encode()):
        raise PrivacyError("the link is not valid")


def unsubscribe_headers(url: str, mailbox: str) -> dict[str, str]:
    """Returns the headers by which a mail program offers one-click withdrawal (RFC 8058).

    `url` takes a POST without sign-in and asks nothing more.
    """
    if not url.startswith("https://"):
        raise PrivacyError("one-click withdrawal needs an https address (RFC 8058)")
    return {
        "List-Unsubscribe": f"<{url}>, <mailto:{mailbox}?subject=unsubscribe>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
