"""Is this still the file that stood here a moment ago?

Files that others read are replaced by renames. An inode number alone does not tell: the next file
but one may get that of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Signature(msgspec.Struct, frozen=True):
    """Tells a file from the one that stood there before."""

    inode: int
    bytes: int
    modified_ns: int


def signature(path: Path) -> Signature | None:
    """Looks at a file; None when there is none. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns)
