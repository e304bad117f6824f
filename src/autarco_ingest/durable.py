"""How does a file become safe against a power cut?

A file is on disk when its bytes and the directory entry that names it are. Neither pyarrow nor
deltalake nor DuckDB asks the disk for either, so everything we promise to keep comes by here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sync(path: Path) -> None:
    """Returns when the file's bytes, or the directory's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(draft: Path, path: Path) -> None:
    """Puts a finished draft in the place of `path`, whole or not at all."""
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def make_directory(path: Path) -> None:
    """Makes a directory and everything above it, each entry on disk."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)
