"""How does a test make a server's disk ill or its clock jump? By the library in interpose.c."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("interpose.c")


class Control(ctypes.Structure):
    """The memory shared with the library; the same fields as `struct control` there."""

    _fields_ = (
        ("sync_delay_us", ctypes.c_int64),
        ("syncs_to_fail", ctypes.c_int64),
        ("writes_to_fail", ctypes.c_int64),
        ("error", ctypes.c_int64),
        ("clock_shift_s", ctypes.c_int64),
        ("failed", ctypes.c_int64),
        ("prefix", ctypes.c_char * 256),
    )
    sync_delay_us: int
    syncs_to_fail: int
    writes_to_fail: int
    error: int
    clock_shift_s: int
    failed: int
    prefix: bytes


def build(directory: Path) -> Path:
    """Compiles the library; skips the test, saying why, where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler `cc`: disk faults cannot be provoked")
    library = directory / "interpose.so"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
        check=True,
    )
    return library


class Faults:
    """The control of one server's faults."""

    def __init__(self, library: Path, directory: Path, prefix: Path) -> None:
        """Nothing is ill yet. Faults will concern files below `prefix`."""
        self._library = library
        self._path = directory / "faults"
        self._path.write_bytes(bytes(ctypes.sizeof(Control)))
        with self._path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), ctypes.sizeof(Control))
        self.control = Control.from_buffer(self._memory)
        self.control.prefix = str(prefix.resolve()).encode()

    @property
    def environment(self) -> dict[str, str]:
        """What the server's environment needs."""
        return {"LD_PRELOAD": str(self._library), "FAULT_CONTROL": str(self._path)}
