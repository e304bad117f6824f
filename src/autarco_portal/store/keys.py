"""What are new things called? Random names of the length their use wants."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_lowercase + string.digits
_PUBLIC_KEY_LENGTH = 8
"""What the old portal's were; 2.8e12 of them, and a collision is refused by the database."""
_IDENTIFIER_LENGTH = 16
"""80 bits: not to be guessed, nor drawn twice."""


def new_public_key() -> str:
    """Returns a name for a site, as its owner finds it in URLs."""
    return _draw(_PUBLIC_KEY_LENGTH)


def new_identifier() -> str:
    """Returns a name for a person, organisation, grant, session or token."""
    return _draw(_IDENTIFIER_LENGTH)


def _draw(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
