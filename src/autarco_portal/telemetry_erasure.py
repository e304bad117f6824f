"""How does telemetry of a logger or inverter leave the lake? Through the ingest command `forget`.

The portal never writes readings. It runs the command as its own process, beside the server or
without one, and keeps the hash of the proof that it prints (docs/operations.md, "Forget").
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 3_600.0
"""Years of a fleet's days are written anew: minutes on a slow disk, never hours."""


_TRACE = "trace: "


class TelemetryError(Exception):
    """Telemetry could not be erased to the end; it is refused all the same. One sentence."""


class Forget(Protocol):
    """Erases one device and returns the proof's hash; raises TelemetryError."""

    def __call__(self, kind: Literal["logger", "inverter"], serial: str) -> str:
        """Returns when every trace is gone and new frames are refused."""


class IngestForget:
    """Runs `autarco-ingest forget` on one data directory."""

    def __init__(self, data: Path, config: Path | None = None) -> None:
        self._data = data
        self._config = config

    def __call__(self, kind: Literal["logger", "inverter"], serial: str) -> str:
        """Erases one device; the same command again goes on where it stopped."""
        command = [
            sys.executable, "-m", "autarco_ingest", "forget", f"--{kind}", serial, "--yes",
            "--data", str(self._data),
        ]  # fmt: skip
        if self._config is not None:
            command += ["--config", str(self._config)]
        try:
            # S603: our own program, with serial numbers that the store has checked.
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                env=os.environ,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TelemetryError(f"autarco-ingest forget took longer than {TIMEOUT_S:.0f} s") from (
                error
            )
        if done.returncode == 1:
            # It searches the whole data directory. What the portal keeps of the device is still
            # there, because it goes last and in one transaction: that is no trace in the lake.
            traces = [line for line in map(str.strip, done.stdout.splitlines()) if _is_lakes(line)]
            if traces:
                raise TelemetryError(f"autarco-ingest forget left traces: {'; '.join(traces)}")
        elif done.returncode != 0:
            raise TelemetryError(f"autarco-ingest forget: {_last_line(done.stderr)}")
        return hashlib.sha256(done.stdout.encode()).hexdigest()


def _is_lakes(line: str) -> bool:
    return line.startswith(_TRACE) and not line.startswith(f"{_TRACE}portal/")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
