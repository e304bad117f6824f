"""Which code does a telephone show now, and what if it is lost?

Codes by time (TOTP, RFC 6238: SHA-1, 6 digits, 30 s, what every authenticator speaks) and recovery
codes. Rules only: that a code is taken once is the store's business, how often somebody may try
that of `throttle`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING

import pyotp

from autarco_portal.secret import Secret

if TYPE_CHECKING:
    from datetime import datetime

STEP_S = 30
STEPS_AROUND = 1
"""Codes before and after are taken too: clocks of telephones differ, and people type slowly."""
RECOVERY_CODES = 10

_CODE = re.compile(r"[0-9]{6}")
_RECOVERY_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what looks alike."""
_RECOVERY_LENGTH = 16
"""79 bits: a fast hash keeps them safe, nobody tries them all."""


def new_secret() -> Secret:
    """Returns a secret of 160 bits, in base 32, for an authenticator."""
    return Secret(pyotp.random_base32())


def uri(secret: Secret, *, email: str, issuer: str) -> Secret:
    """Returns what a QR code shows to an authenticator; as secret as what is in it."""
    totp = pyotp.TOTP(secret.reveal())
    return Secret(totp.provisioning_uri(name=email, issuer_name=issuer))


def step_of(secret: Secret, code: Secret, now: datetime) -> int | None:
    """Returns the number of the step whose code this is, around now, or None."""
    typed = re.sub(r"\s", "", code.reveal())
    if not _CODE.fullmatch(typed):
        return None
    totp = pyotp.TOTP(secret.reveal(), interval=STEP_S)
    current = int(now.timestamp()) // STEP_S
    found = None
    for step in range(current - STEPS_AROUND, current + STEPS_AROUND + 1):
        # All are compared, so that the time tells nothing about which.
        if secrets.compare_digest(totp.generate_otp(step), typed):
            found = step
    return found


def new_recovery_codes() -> tuple[Secret, ...]:
    """Returns codes to be printed and kept, each of them good once."""
    return tuple(
        Secret("-".join(_draw(4) for _ in range(_RECOVERY_LENGTH // 4)))
        for _ in range(RECOVERY_CODES)
    )


def recovery_hash(code: Secret, person_id: str) -> str | None:
    """Returns what a recovery code is stored as, however it was typed; None for what is none."""
    letters = re.sub(r"[\s-]", "", code.reveal()).lower()
    if len(letters) != _RECOVERY_LENGTH or set(letters) - set(_RECOVERY_LETTERS):
        return None
    return hashlib.sha256(f"{person_id}:{letters}".encode()).hexdigest()


def _draw(length: int) -> str:
    return "".join(secrets.choice(_RECOVERY_LETTERS) for _ in range(length))
