"""How does a link say which invitation it is, until when, and that we made it?

`IDENTIFIER.SECONDS.SIGNATURE`: HMAC-SHA256 over the first two. A made-up link is refused without
asking the store; that a link works once, the store sees to.
"""

from __future__ import annotations

import base64
import hmac
import re
from datetime import UTC, datetime

from autarco_portal.secret import Secret

_LINK = re.compile(r"([a-z0-9]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def sign(key: bytes, identifier: str, expires_at: datetime) -> Secret:
    """Returns the last part of a link, safe in any URL."""
    content = f"{identifier}.{int(expires_at.timestamp())}"
    return Secret(f"{content}.{_signature(key, content)}")


def read(key: bytes, link: Secret, now: datetime) -> str | None:
    """Returns the identifier of a link that we made and that is not over, or None."""
    parts = _LINK.fullmatch(link.reveal())
    if parts is None:
        return None
    identifier, seconds, signature = parts.groups()
    if not hmac.compare_digest(_signature(key, f"{identifier}.{seconds}"), signature):
        return None
    return identifier if now < datetime.fromtimestamp(int(seconds), UTC) else None


def _signature(key: bytes, content: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, content.encode(), "sha256")).decode()[:43]
