"""Which frames does a recording hold? Hex lines, `.jsonl` with "hex", or raw bytes.

Reads files for `decode` and `replay`; says in one sentence what is wrong with a line.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

# A recorded day of one stick is about 1 MB; more than this is not a recording of frames.
RECORDING_BYTES_MAX = 512 * 1024 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FROM_STICK = "stick->server"
_FROM_SERVER = "server->stick"


class RecordingError(ValueError):
    """A file cannot be read as a recording; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded piece: its line, its bytes, who sent it, and on which connection."""

    line: int
    data: bytes
    from_stick: bool = True
    connection: str | None = None


def load_bytes(name: str) -> bytes:
    """Reads a file, or standard input for `-`."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(RECORDING_BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(RECORDING_BYTES_MAX + 1)
    except OSError as error:
        raise RecordingError(f"cannot read {name}: {error.strerror}") from error
    if len(data) > RECORDING_BYTES_MAX:
        raise RecordingError(f"{name} is too large: limit {RECORDING_BYTES_MAX} bytes")
    return data


def is_text(data: bytes) -> bool:
    """Tells a recording in text form from raw bytes.

    Raw frames are never text: a V5 frame starts with A5, which no UTF-8 text does, and every V4
    frame ends with a control character.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(text)


def parse(data: bytes, name: str) -> list[Recorded]:
    """Reads hex lines or JSON lines; empty lines and lines that start with `#` are left out."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{name} is neither hex lines nor JSON lines") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            found.append(_parse_line(line, number, f"{name} line {number}"))
    if not found:
        raise RecordingError(f"{name} holds no frames")
    return found


def _parse_line(line: str, number: int, where: str) -> Recorded:
    if not line.startswith("{"):
        return Recorded(number, _hex(line, where))
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise RecordingError(f"{where} is not JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("hex"), str):
        raise RecordingError(f'{where} has no "hex"')
    direction = fields.get("direction", _FROM_STICK)
    if direction not in (_FROM_STICK, _FROM_SERVER):
        raise RecordingError(
            f'{where}: direction {direction!r}, wanted "{_FROM_STICK}" or "{_FROM_SERVER}"'
        )
    connection = fields.get("connection")
    return Recorded(
        number,
        _hex(fields["hex"], where),
        direction == _FROM_STICK,
        None if connection is None else str(connection),
    )


def _hex(text: str, where: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise RecordingError(f"{where} is not hex: {text[:40]!r}") from None
    if not data:
        raise RecordingError(f"{where} is empty")
    return data
