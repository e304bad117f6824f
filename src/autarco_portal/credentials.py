"""What does an API client say it is? Reads `Authorization`; judges nothing.

HTTP Basic with e-mail and password or app token, or Bearer with an app token. The public client
sends Latin-1, others UTF-8 (reference portal-api, 1.1): UTF-8 is tried first.
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeAlias

import msgspec

from autarco_portal.secret import Secret

APP_TOKEN_PREFIX = "aut_"  # noqa: S105 - what every token begins with
"""Tells people and scanners of repositories what they found."""
HEADER_MAX = 2_048
"""Longer than the longest address and password, in base 64."""


class Basic(msgspec.Struct, frozen=True, kw_only=True):
    """E-mail address and password, or app token in its place."""

    email: str
    password: Secret


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """An app token."""

    token: Secret


Credentials: TypeAlias = Basic | Bearer


def parse(header: Secret) -> Credentials | None:
    """Returns what a header says, or None for what is no credentials."""
    text = header.reveal()
    scheme, _, rest = text.partition(" ")
    rest = rest.strip()
    if len(text) > HEADER_MAX or not rest:
        return None
    if scheme.lower() == "bearer":
        return Bearer(token=Secret(rest))
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        pair = decoded.decode()
    except UnicodeDecodeError:
        pair = decoded.decode("latin-1")
    email, colon, password = pair.partition(":")
    if not colon:
        return None
    return Basic(email=email, password=Secret(password))
