"""How does a command run a server of its own beside it, for as long as it needs one?"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READY_PREFIX = "listening on "
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0


class ServerProcessError(Exception):
    """The server did not start or not stop; the message is one sentence."""


class ServerProcess:
    """`autarco-ingest serve` as a process of its own. Who starts it ends it."""

    def __init__(
        self, data: Path, settings: Mapping[str, str], *, log: Path, listen: str = "127.0.0.1:0"
    ) -> None:
        """Starts the server and returns when it accepts sticks; raises ServerProcessError.

        `settings` are variables of its environment, and the only ones: the operator's own are not
        meant for this server. Its log is added to the file `log`.
        """
        self.log = log
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTARCO_")}
        command = [sys.executable, "-m", "autarco_ingest", "serve"]
        command += ["--listen", listen, "--data", str(data)]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(  # noqa: S603 - our own program, fixed arguments
                command, stdout=subprocess.PIPE, stderr=errors, env=environment | dict(settings)
            )
        self.pid = self.process.pid
        try:
            self.host, self.port = wait_until_ready(self.process, log)
        except BaseException:
            self.end()
            raise

    def cpu_s(self) -> float:
        """Returns user and system time so far, with that of children that have ended."""
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        ticks = text.rpartition(")")[2].split()[11:15]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Asks the server to stop and returns its exit code; raises ServerProcessError if late."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise ServerProcessError(f"the server did not stop in {deadline_s:.0f} s") from None

    def end(self) -> None:
        """Makes sure that the process is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def running(
    data: Path, settings: Mapping[str, str], *, stop_deadline_s: float = STOP_DEADLINE_S
) -> Iterator[ServerProcess]:
    """Runs a server on a free loopback port, with its log in `data`; stops it in the end.

    Raises ServerProcessError when it does not start, stop, or end well.
    """
    server = ServerProcess(data, settings, log=data / "server.log")
    try:
        yield server
        if code := server.stop(stop_deadline_s):
            last = _last_line(server.log)
            raise ServerProcessError(f"the server ended with exit code {code}: {last}")
    finally:
        server.end()


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
