"""Who did what, to which thing, of whom, and why, and how does nobody change that afterwards?

Each entry is sealed with the hash of the one before (SHA-256 over both), so that a changed, removed
or inserted entry shows. What a chain alone cannot show, that its end was cut off, shows against a
`Seal` kept elsewhere. Entries hold identifiers and short codes, no text that people wrote: the log
outlives the people in it.

Pure; the store keeps the entries.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

FIRST_HASH = "0" * 64
"""What the first entry is sealed with."""

Detail: TypeAlias = dict[str, str | int | bool | None]

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,199}")


class AuditError(ValueError):
    """An entry has what no entry may have; the message does not repeat it."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody did."""

    at: datetime
    actor: str
    """A person's identifier, or `system` with a task's name behind a colon."""
    action: str
    """Such as `sign_in` or `view_site`."""
    thing: str
    """Kind and identifier, such as `site:k7m2q9xd`."""
    subject: str | None = None
    """Whose data it was about: a person's identifier."""
    why: str | None = None
    """A short code, such as `grant:…` or `request:…`."""
    detail: Detail = {}

    def __post_init__(self) -> None:
        """Raises AuditError for whatever is no identifier or short code."""
        if self.at.tzinfo is None:
            raise AuditError("at has no time zone")
        for name in ("actor", "action", "thing", "subject", "why"):
            _check(name, getattr(self, name))
        for name, value in self.detail.items():
            _check("a name in detail", name)
            if isinstance(value, str):
                _check(f"detail {name}", value)


class SealedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in its place in the chain."""

    sequence: int
    entry: AuditEntry
    prev_hash: str
    hash: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the chain at some time: to be kept where the log's keeper cannot change it."""

    sequence: int
    hash: str


def seal(entry: AuditEntry, after: Seal) -> SealedEntry:
    """Returns an entry as the one behind another."""
    sequence = after.sequence + 1
    return SealedEntry(
        sequence=sequence,
        entry=entry,
        prev_hash=after.hash,
        hash=_hash(sequence, entry, after.hash),
    )


def fault(sealed: SealedEntry, after: Seal) -> str | None:
    """Says what is wrong with an entry behind another, or None."""
    if sealed.sequence != after.sequence + 1:
        return f"entry {after.sequence + 1} is missing before {sealed.sequence}"
    if sealed.prev_hash != after.hash:
        return f"entry {sealed.sequence} does not follow the one before it"
    if sealed.hash != _hash(sealed.sequence, sealed.entry, sealed.prev_hash):
        return f"entry {sealed.sequence} was changed"
    return None


def _hash(sequence: int, entry: AuditEntry, prev_hash: str) -> str:
    utc = msgspec.structs.replace(entry, at=entry.at.astimezone(UTC))
    content = msgspec.json.encode([sequence, prev_hash, utc], order="deterministic")
    return hashlib.sha256(content).hexdigest()


def _check(name: str, value: str | None) -> None:
    if value is not None and not _CODE.fullmatch(value):
        raise AuditError(f"{name}: expected an identifier or a short code")
