"""Which loggers and inverters must be forgotten, without knowing who they are?

A list that says of whom nothing is kept must not keep their serial numbers itself. It holds keyed
digests: whoever names a serial number can be told whether it is forgotten, and without the key
nobody can try all ten billion. Gateway (Rust, `forgotten.rs`), tables and small files are all
asked by this one list; its revision counts the changes and requests, and
`forgotten-applied.json` says up to which of them a server has purged what it keeps outside the
tables.

A list that cannot be read is never taken for an empty one: that would bring back what was erased.
Not here: when a server purges (`server`), and how the tables' files are rewritten.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import _core, durable, file_lock, paths, schema
from autarco_ingest.registry import LOGGER_SN_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

Kind: TypeAlias = Literal["logger", "inverter"]

KEY_BYTES = 32
DIGEST_BYTES = 16
"""Of 32: two serial numbers in a million share one with a probability of 10⁻²⁷."""

INVERTER_SN_CHARACTERS_MAX = 16
"""Room for a serial number in a record of the wire."""

BYTES_MAX = 64 * 1024 * 1024
"""Some 600,000 entries; a larger file is not a list of ours."""


class ForgottenError(ValueError):
    """The list, its key or a serial number cannot be used; the message is one sentence."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One forgotten logger or inverter; `since` is when it was added."""

    kind: Kind
    digest: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$")]
    since: Annotated[datetime, msgspec.Meta(tz=True)]


class _List(msgspec.Struct, frozen=True, kw_only=True):
    """What `forgotten.json` holds."""

    revision: Annotated[int, msgspec.Meta(ge=0)]
    entries: tuple[Entry, ...] = ()


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What `forgotten-applied.json` holds: the revision that a server has purged, and when."""

    revision: int
    at: datetime


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """The list of one moment; without arguments nobody is forgotten."""

    revision: int = 0
    key: bytes = b""
    entries: tuple[Entry, ...] = ()
    digests: frozenset[bytes] = frozenset()

    def __repr__(self) -> str:
        """Shows no key: that would reach log lines."""
        return f"Forgotten(revision={self.revision}, entries={len(self.entries)})"

    def digest(self, kind: Kind, serial: str | int) -> bytes:
        """Returns the digest of a serial number; raises ForgottenError where it is none."""
        return _digest(self.key, kind, serial_text(kind, serial))

    def matches(self, kind: Kind, serial: str | int) -> bool:
        """Tells whether the serial number is on the list; raises ForgottenError for none."""
        return bool(self.digests) and self.digest(kind, serial) in self.digests

    def without(self, table: schema.Table, rows: pa.Table) -> pa.Table:
        """Returns the rows that may be kept, in their order; the same object where all may.

        Rows go whose logger or inverter is forgotten, and quarantined frames that carry a
        forgotten inverter's serial number.
        """
        if not self.digests or not rows.num_rows:
            return rows
        kept = rows
        for name, is_forgotten in self._questions(table).items():
            kept = _without(kept, name, is_forgotten)
        return kept

    def _questions(self, table: schema.Table) -> dict[str, Callable[[Any], bool]]:
        """Which columns tell whose a row is, and what to ask of their values."""
        questions: dict[str, Callable[[Any], bool]] = {"logger_sn": self._has_logger}
        if table is schema.READINGS:
            questions["inverter_sn"] = self._has_inverter
        if table is schema.QUARANTINE:
            questions["frame"] = self._has_inverter_of_frame
        return questions

    def _has_logger(self, logger_sn: int) -> bool:
        return _digest(self.key, "logger", str(logger_sn)) in self.digests

    def _has_inverter(self, inverter_sn: str) -> bool:
        return _digest(self.key, "inverter", inverter_sn) in self.digests

    def _has_inverter_of_frame(self, frame: bytes) -> bool:
        return any(self._has_inverter(serial) for serial in _core.inverter_serials(frame))


def load(data: paths.DataDirectory) -> Forgotten:
    """Reads the list; nobody is forgotten while there is no file.

    Raises ForgottenError where file or key cannot be used, or where the file is missing although
    a server has applied one; OSError where they cannot be read.
    """
    listed = _read(data)
    if not listed.entries:
        return Forgotten(revision=listed.revision)
    try:
        key = _read_key(data)
    except FileNotFoundError as error:
        raise ForgottenError(
            f"{data.forget_key}: missing, so nobody can tell whom {data.forgotten.name} means; "
            "bring it back from a backup"
        ) from error
    return Forgotten(
        revision=listed.revision,
        key=key,
        entries=listed.entries,
        digests=frozenset(bytes.fromhex(entry.digest) for entry in listed.entries),
    )


def add(data: paths.DataDirectory, kind: Kind, serial: str | int) -> int:
    """Puts a serial number on the list, on disk, and returns the new revision.

    One that stands there already is added no second time, and asks for a purge all the same.
    Raises ForgottenError or OSError.
    """
    wanted = serial_text(kind, serial)
    with file_lock.held(data.forgotten_lock):
        listed = _read(data)
        # A new key while there are entries would make them meaningless.
        key = _read_key(data) if listed.entries else _made_key(data)
        digest = _digest(key, kind, wanted).hex()
        entries = listed.entries
        if not any((entry.kind, entry.digest) == (kind, digest) for entry in entries):
            entries += (Entry(kind=kind, digest=digest, since=datetime.now(UTC)),)
        return _write(data, listed.revision + 1, entries)


def lift(data: paths.DataDirectory, kind: Kind, serial: str | int) -> bool:
    """Takes a serial number off the list, on disk; returns whether it stood there.

    What was erased stays erased; from now on the server takes new frames. Raises ForgottenError
    or OSError.
    """
    wanted = serial_text(kind, serial)
    with file_lock.held(data.forgotten_lock):
        listed = _read(data)
        if not listed.entries:
            return False
        digest = _digest(_read_key(data), kind, wanted).hex()
        kept = tuple(
            entry for entry in listed.entries if (entry.kind, entry.digest) != (kind, digest)
        )
        if len(kept) == len(listed.entries):
            return False
        _write(data, listed.revision + 1, kept)
        return True


def request(data: paths.DataDirectory) -> int:
    """Asks a server to purge again and returns the new revision; raises as `add` does."""
    with file_lock.held(data.forgotten_lock):
        listed = _read(data)
        return _write(data, listed.revision + 1, listed.entries)


def applied(data: paths.DataDirectory) -> int | None:
    """Returns the revision that a server has purged last; None when there is no usable record.

    Without a record a purge is due, which is never wrong. Raises OSError.
    """
    try:
        return msgspec.json.decode(data.forgotten_applied.read_bytes(), type=Applied).revision
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def note_applied(data: paths.DataDirectory, revision: int) -> None:
    """Records that everything but the tables' files is purged, on disk; raises OSError."""
    record = Applied(revision=revision, at=datetime.now(UTC))
    paths.write(data.forgotten_applied, msgspec.json.encode(record))


def _without(rows: pa.Table, name: str, is_forgotten: Callable[[Any], bool]) -> pa.Table:
    column = rows.column(name)
    # One digest per serial number instead of one per row.
    distinct = pc.unique(column).to_pylist()
    found = [value for value in distinct if value is not None and is_forgotten(value)]
    if not found:
        return rows
    return rows.filter(pc.invert(pc.is_in(column, value_set=pa.array(found, type=column.type))))


def serial_text(kind: Kind, serial: str | int) -> str:
    """Returns the text that is hashed: as the tables have it."""
    text = str(serial).strip(" \0")
    if kind == "logger":
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LOGGER_SN_MAX))
        if not is_number or int(text) > LOGGER_SN_MAX:
            raise ForgottenError(f"not a logger serial number: {text[:40]!r}")
        return str(int(text))
    # Printable ASCII without blanks is all that a serial number may have in the tables.
    is_printable = text.isascii() and text.isprintable() and " " not in text
    if not 0 < len(text) <= INVERTER_SN_CHARACTERS_MAX or not is_printable:
        raise ForgottenError(f"not an inverter serial number: {text[:40]!r}")
    return text


def _digest(key: bytes, kind: Kind, serial: str) -> bytes:
    return hmac.digest(key, f"{kind}:{serial}".encode(), hashlib.sha256)[:DIGEST_BYTES]


def _read(data: paths.DataDirectory) -> _List:
    path = data.forgotten
    try:
        status = path.stat()
    except FileNotFoundError:
        if data.forgotten_applied.exists() and applied(data) != 0:
            raise ForgottenError(
                f"{path}: missing, although a server has applied one; bring it back from a backup"
            ) from None
        return _List(revision=0)
    if status.st_size > BYTES_MAX:
        raise ForgottenError(f"{path}: larger than {BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_List)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ForgottenError(f"{path}: {error}") from error


def _write(data: paths.DataDirectory, revision: int, entries: tuple[Entry, ...]) -> int:
    content = msgspec.json.encode(_List(revision=revision, entries=entries))
    paths.write(data.forgotten, msgspec.json.format(content) + b"\n")
    return revision


def _read_key(data: paths.DataDirectory) -> bytes:
    key = data.forget_key.read_bytes()
    if len(key) != KEY_BYTES:
        raise ForgottenError(f"{data.forget_key}: key of {len(key)} bytes, wanted {KEY_BYTES}")
    return key


def _made_key(data: paths.DataDirectory) -> bytes:
    """Returns the key, making one if need be; the caller holds the lock."""
    path = data.forget_key
    if path.exists():
        return _read_key(data)
    draft = paths.draft(path)
    draft.unlink(missing_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if os.geteuid() == 0:
            # What root adds, the service's own user must be able to read.
            owner = data.root.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(key)
    durable.replace(draft, path)
    return key
