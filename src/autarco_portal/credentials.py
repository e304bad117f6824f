"""Who asks, by the Authorization header, without hashing a password for every request?

Programs send name and password, or an app token in the password's place, with each request; an
Argon2 hash takes a hundredfold of what answering takes. So what was verified is remembered for some
minutes, under a keyed hash of the header: whoever reads this memory finds no password. Who somebody
is and may be, and whether the account was disabled or the password changed, is read anew each time.

Clients in aiohttp send Latin-1, others UTF-8: both are tried.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from autarco_portal.live_sites import Remembered

if TYPE_CHECKING:
    from autarco_portal.account import Identity

VERIFIED_FOR = timedelta(minutes=5)
VERIFIED_MAX = 50_000
HEADER_MAX = 1_024
"""Characters of the header; names and passwords are shorter."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a header proved."""

    person_id: str
    generation: int
    """Of the account when it was proved; another one now ends it."""
    has_second_factor: bool = False
    is_read_only: bool = False
    token_id: str | None = None


class Accounts(Protocol):
    """What is needed of accounts."""

    def verify(self, email: str, secret: str, *, network: str, now: datetime) -> Verified | None:
        """Verifies name and password, or token; raises `Throttled` for who tried too often."""

    def verify_token(self, token: str, *, now: datetime) -> Verified | None:
        """Verifies an app token."""

    def identity(self, verified: Verified, now: datetime) -> Identity | None:
        """Returns who that is now; None if it does not hold any more."""


class Credentials:
    """Verifies headers and remembers for whom it did."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._key = secrets.token_bytes(32)
        self._verified: Remembered[bytes, tuple[datetime, Verified]] = Remembered(VERIFIED_MAX)

    def identify(self, authorization: str, *, network: str, now: datetime) -> Identity | None:
        """Returns who sent a header, None for somebody unknown; may raise `Throttled`."""
        if len(authorization) > HEADER_MAX:
            return None
        digest = hmac.digest(self._key, authorization.encode("latin-1", "replace"), "sha256")
        found = self._verified.get(digest)
        if found is not None and timedelta() <= now - found[0] < VERIFIED_FOR:
            identity = self._accounts.identity(found[1], now)
            if identity is not None:
                return identity
        verified = self._verify(authorization, network=network, now=now)
        if verified is None:
            return None
        self._verified.put(digest, (now, verified))
        return self._accounts.identity(verified, now)

    def _verify(self, authorization: str, *, network: str, now: datetime) -> Verified | None:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._accounts.verify_token(rest.strip(), now=now)
        if scheme.lower() != "basic":
            return None
        pair = decoded(rest.strip())
        if pair is None:
            return None
        return self._accounts.verify(*pair, network=network, now=now)


def decoded(basic: str) -> tuple[str, str] | None:
    """Returns name and password of a Basic header, None for what is none.

    UTF-8, or Latin-1 where it is not: one reading only, so that a wrong password is one try.
    """
    try:
        raw = base64.b64decode(basic, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, colon, secret = text.partition(":")
    return (name, secret) if colon else None
