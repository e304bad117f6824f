"""How does something secret pass through the program without showing up in it?

Passwords, tokens, links and codes are `Secret` from where they are made to where they are sent or
hashed: printed, logged or in an error they are `<secret>`. And one key of the installation, from
which each use derives its own.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32


class SecretKeyError(Exception):
    """The key's file cannot be used; the message is one sentence."""


class Secret:
    """A text that only `reveal` shows; neither copies nor serialises by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Returns the text, to be sent or hashed at once."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def new_token(prefix: str = "") -> Secret:
    """Returns a random token of 256 bits that fits into a URL or a cookie."""
    return Secret(prefix + secrets.token_urlsafe(KEY_BYTES))


def digest(secret: Secret) -> str:
    """Returns the SHA-256 that a random token is stored as; too fast for passwords."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


def derived(key: bytes, purpose: str) -> bytes:
    """Returns the key for one purpose; one of them known does not tell the others."""
    return hmac.digest(key, purpose.encode(), "sha256")


def load_key(path: Path) -> bytes:
    """Reads the installation's key, and makes it if there is none; raises SecretKeyError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise SecretKeyError(f"cannot make {path}: {error.strerror}") from error
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read()
    except OSError as error:
        raise SecretKeyError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise SecretKeyError(f"{path} can be read by others: set its mode to 600")
    if len(key) != KEY_BYTES:
        raise SecretKeyError(f"{path} has {len(key)} bytes, a key has {KEY_BYTES}")
    return key
