"""What did a server ask of its disk, in which order, and whom did it answer when?

The recorder is record.c.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).with_name("record.c")
_HEAD = struct.Struct("=Bqqq")


class Operation(Enum):
    """As in record.c."""

    CREATE = ord("c")
    TRUNCATE = ord("t")
    WRITE = ord("w")
    RENAME = ord("r")
    LINK = ord("l")
    UNLINK = ord("u")
    MKDIR = ord("m")
    RMDIR = ord("d")
    SYNC = ord("s")
    SYNC_DIRECTORY = ord("S")
    ANSWER = ord("a")


class Event(NamedTuple):
    """One call: `argument` is an offset or a size, `data` the bytes, or the second name."""

    operation: Operation
    argument: int
    path: str
    data: bytes


def build(directory: Path) -> Path:
    """Compiles the recorder; skips the test, saying why, where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler `cc`: power cuts cannot be simulated")
    library = directory / "record.so"
    options = ["-O2", "-Wall", "-Werror", "-Wno-nonnull-compare", "-shared", "-fPIC"]
    subprocess.run(
        [compiler, *options, "-o", library, SOURCE, "-ldl", "-lpthread"],
        check=True,
    )
    return library


def environment(library: Path, prefix: Path, record: Path) -> dict[str, str]:
    """What the environment of a recorded program needs."""
    return {
        "LD_PRELOAD": str(library),
        "RECORD_PREFIX": str(prefix.resolve()),
        "RECORD_TO": str(record),
    }


def load(record: Path) -> list[Event]:
    """Reads a record; its last event may have been cut by the end of the program."""
    content = record.read_bytes()
    events = []
    at = 0
    while at + _HEAD.size <= len(content):
        kind, argument, name_bytes, data_bytes = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name = content[at : at + name_bytes]
        data = content[at + name_bytes : at + name_bytes + data_bytes]
        at += name_bytes + data_bytes
        events.append(Event(Operation(kind), argument, name.decode(), data))
    return events
