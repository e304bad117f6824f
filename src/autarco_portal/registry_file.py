"""Which loggers does the portal tell the ingest server to serve?

The registry is a text file that the server reloads when it changes: one logger serial number a line
(docs/settings.md, `registry.file`). It is replaced as a whole. A forgotten logger is refused by the
server's own list, whatever stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_ingest import paths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEAD = "# Written by autarco-portal: the loggers of all sites. Changes by hand are lost.\n"


def text(loggers: Iterable[int]) -> str:
    """Returns the file's content, the same for the same loggers."""
    return HEAD + "".join(f"{logger_sn}\n" for logger_sn in sorted(set(loggers)))


def write(path: Path, loggers: Iterable[int]) -> bool:
    """Replaces the file, on disk; tells whether it changed. Raises OSError."""
    content = text(loggers).encode("ascii")
    if path.is_file() and path.read_bytes() == content:
        return False
    paths.write(path, content)
    return True
