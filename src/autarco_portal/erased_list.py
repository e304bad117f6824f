"""Who was erased, so that a restored backup does not bring anybody back?

A file of its own, outside the database and to be backed up apart from it: a keyed digest and a day
per person and site, nothing else. Whoever has the key and a restored database can tell whom it must
not have; from the list alone nobody learns anything.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from datetime import date  # noqa: TC003 - msgspec looks at it when it decodes
from pathlib import Path  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Annotated

import msgspec

from autarco_ingest import durable
from autarco_portal.privacy.error import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_BYTES = 32
DIGEST_BYTES = 16


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One person or site that was erased."""

    digest: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$")]
    erased_on: date


class ErasedList(msgspec.Struct, frozen=True, kw_only=True):
    """The list's file and its key's."""

    path: Path
    key_path: Path

    def digest(self, kind: str, name: str) -> str:
        """Returns the digest of a person's or a site's identifier; makes the key if need be."""
        return _digest(self._key(), kind, name)

    def entries(self) -> tuple[Entry, ...]:
        """Reads the list; raises PrivacyError for one that cannot be used, OSError."""
        if not self.path.exists():
            return ()
        lines = self.path.read_bytes().splitlines()
        try:
            return tuple(msgspec.json.decode(line, type=Entry) for line in lines if line)
        except msgspec.DecodeError as error:
            raise PrivacyError(f"{self.path.name} is damaged: take it from a backup") from error

    def add(self, names: Iterable[tuple[str, str]], day: date) -> None:
        """Adds people and sites as (kind, name), on disk before it returns."""
        known = {entry.digest for entry in self.entries()}
        new = [
            Entry(digest=digest, erased_on=day)
            for kind, name in names
            if (digest := self.digest(kind, name)) not in known
        ]
        if not new:
            return
        with self.path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in new))
        durable.sync(self.path)
        durable.sync(self.path.parent)

    def matching(self, kind: str, names: Iterable[str]) -> list[str]:
        """Returns those of the names that are on the list."""
        digests = {entry.digest for entry in self.entries()}
        if not digests:
            return []
        if not self.key_path.exists():
            raise PrivacyError(
                f"{self.key_path.name} is missing, so nobody can tell whom the list means: bring "
                "it back from a backup"
            )
        key = self._key()
        return [name for name in names if _digest(key, kind, name) in digests]

    def _key(self) -> bytes:
        try:
            key = self.key_path.read_bytes()
        except FileNotFoundError:
            key = _made(self.key_path)
        if len(key) != KEY_BYTES:
            raise PrivacyError(f"{self.key_path.name}: expected a key of {KEY_BYTES} bytes")
        return key


def _digest(key: bytes, kind: str, name: str) -> str:
    return hmac.digest(key, f"{kind}:{name}".encode(), hashlib.sha256)[:DIGEST_BYTES].hex()


def _made(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    durable.sync(path)
    durable.sync(path.parent)
    return key
