"""How is a secret stored that has to be read again, such as that of a second factor?

Encrypted with AES-256-GCM under a key of the installation, and bound to whose it is: what was
sealed for one row opens in no other. Whoever has the database, or a backup of it, and not the
key's file, has nothing.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from autarco_portal.secret import Secret

PREFIX = "aes256gcm:"
NONCE_BYTES = 12
"""Random: good for four billion secrets under one key."""


class SealError(Exception):
    """It was sealed with another key, for another row, or never; without anybody's data."""


def seal(key: bytes, secret: Secret, *, of: str) -> str:
    """Returns what is stored of somebody's secret; `key` has 32 bytes."""
    nonce = os.urandom(NONCE_BYTES)
    closed = AESGCM(key).encrypt(nonce, secret.reveal().encode(), of.encode())
    return PREFIX + base64.b64encode(nonce + closed).decode()


def unseal(key: bytes, stored: str, *, of: str) -> Secret:
    """Returns the secret that was sealed for the same; raises SealError."""
    if not is_sealed(stored):
        raise SealError("it is not sealed")
    try:
        closed = base64.b64decode(stored.removeprefix(PREFIX), validate=True)
        opened = AESGCM(key).decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], of.encode())
        return Secret(opened.decode())
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise SealError(
            "secrets of second factors do not open with portal/secret.key: is it the key that they "
            "were made with?"
        ) from error


def is_sealed(stored: str) -> bool:
    """Tells whether it looks like something sealed; a row of an old version does not."""
    return stored.startswith(PREFIX)
