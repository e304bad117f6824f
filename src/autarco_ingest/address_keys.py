"""Which key encrypts peer addresses this month, and when is it forgotten?

One random key per month in a directory that only the server reads. A key that is gone cannot be
derived again: deleting it after `KEEP_DAYS` ends every pseudonym made with it (crypto-shredding).
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
"""Length of a master key; the gateway derives the key of the mode from it."""

KEEP_DAYS = 90
"""Days after the end of its month during which a key can still decrypt a source."""


class AddressKeyError(ValueError):
    """A key file is not one of ours."""


def current_key(directory: Path, today: dt.date) -> bytes:
    """Returns this month's key, making it if need be, and deletes keys past their time.

    Raises:
        AddressKeyError: this month's file does not hold `KEY_BYTES` bytes.
        OSError: the directory cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _forget_old(directory, today)
    path = directory / f"{today:%Y-%m}.key"
    if not path.exists():
        _write_new(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise AddressKeyError(f"{path}: key of {len(key)} bytes, wanted {KEY_BYTES}")
    return key


def _write_new(path: Path, key: bytes) -> None:
    # Under its final name only when whole: a torn key file would stop the server for a month.
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _forget_old(directory: Path, today: dt.date) -> None:
    for path in directory.glob("*.key"):
        try:
            month = dt.datetime.strptime(path.stem, "%Y-%m").date()
        except ValueError:
            continue
        next_month = (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        if today > next_month + dt.timedelta(days=KEEP_DAYS):
            path.unlink()
