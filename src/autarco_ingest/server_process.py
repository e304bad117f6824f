"""How does a command run a server of its own beside it, for as long as it needs one?"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READY_PREFIX = "listening on "
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0


class ServerProcessError(Exception):
    """The server did not start or not stop; the message is one sentence."""


@dataclass(frozen=True)
class Running:
    """A server that accepts sticks."""

    host: str
    port: int
    pid: int

    def cpu_s(self) -> float:
        """Returns user and system time so far, with that of children that have ended."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        ticks = text.rpartition(")")[2].split()[11:15]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    data: Path, settings: Mapping[str, str], *, stop_deadline_s: float = STOP_DEADLINE_S
) -> Iterator[Running]:
    """Runs `autarco-ingest serve` on a free loopback port; stops it by SIGTERM in the end.

    `settings` are variables of its environment, and the only ones: the operator's own are not
    meant for this server.
    """
    log = data / "server.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTARCO_")}
    command = [sys.executable, "-m", "autarco_ingest", "serve"]
    command += ["--listen", "127.0.0.1:0", "--data", str(data)]
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program, fixed arguments
            command, stdout=subprocess.PIPE, stderr=errors, env=environment | dict(settings)
        )
    try:
        host, port = wait_until_ready(process, log)
        yield Running(host, port, process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(stop_deadline_s)
        except subprocess.TimeoutExpired:
            reason = f"the server did not stop in {stop_deadline_s:.0f} s"
            raise ServerProcessError(reason) from None
        if code:
            raise ServerProcessError(f"the server ended with exit code {code}: {_last_line(log)}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    """Returns where the server listens, as its first line says."""
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    deadline_s = time.monotonic() + START_DEADLINE_S
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select(
            [process.stdout], [], [], max(0.0, deadline_s - time.monotonic())
        )
        if not readable:
            raise ServerProcessError(
                f"the server was not ready in {START_DEADLINE_S:.0f} s, see {log}"
            )
        chunk = os.read(process.stdout.fileno(), 4_096)
        if not chunk:
            raise ServerProcessError(f"the server did not start: {_last_line(log)}")
        line += chunk
    text = line.decode("utf-8", "replace").strip()
    if not text.startswith(READY_PREFIX):
        raise ServerProcessError(f"the server said {text!r} instead of {READY_PREFIX!r}")
    host, _, port = text.removeprefix(READY_PREFIX).rpartition(":")
    return host, int(port)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
