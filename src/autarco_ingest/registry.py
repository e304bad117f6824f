"""Which loggers does the operator know, and when did that list change?

The registry is a text file that the portal or a person replaces as a whole: one logger serial
number per line, `#` starts a comment. What follows from it is decided in Rust (`registry.rs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_ingest import paths

if TYPE_CHECKING:
    from pathlib import Path

LOGGER_SN_MAX = 2**32 - 1
"""Serial numbers have 32 bits on the wire."""

BYTES_MAX = 64 * 1024 * 1024
"""Some five million loggers; a larger file is not a registry."""


class RegistryError(ValueError):
    """The file is no list of serial numbers; the message is one sentence."""


def load(path: Path) -> list[int]:
    """Reads the listed logger serial numbers; raises RegistryError or OSError."""
    if path.stat().st_size > BYTES_MAX:
        raise RegistryError(f"{path}: larger than {BYTES_MAX} bytes")
    try:
        return parse(path.read_text(encoding="ascii"))
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: not plain text") from error
    except RegistryError as error:
        raise RegistryError(f"{path}, {error}") from error


def remove(path: Path, logger_sn: int) -> bool:
    """Takes a logger out of the list, with the comment of its line; whether it was there.

    Other lines stay as they are. Raises RegistryError or OSError; then nothing is changed.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    except FileNotFoundError:
        return False
    kept = [line for line in lines if logger_sn not in parse(line)]
    if len(kept) == len(lines):
        return False
    paths.write(path, "".join(kept).encode("ascii"), mode=path.stat().st_mode & 0o7777)
    return True


def parse(text: str) -> list[int]:
    """Returns the serial numbers in a text; raises RegistryError."""
    loggers = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        # Longer texts are no serial number, and converting them may take long.
        if not word.isdigit() or len(word) > 10 or int(word) > LOGGER_SN_MAX:
            raise RegistryError(f"line {number}: not a logger serial number: {word[:40]!r}")
        loggers.append(int(word))
    return loggers
