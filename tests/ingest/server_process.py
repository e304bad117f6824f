"""How does a test run the real server? As its own process, on a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

READY_S = 30.0
STOP_S = 30.0
ANSWER_S = 10.0


class ServerProcess:
    """A running `autarco-ingest serve`; its log goes to a file beside the data directory."""

    def __init__(
        self,
        data: Path,
        environment: Mapping[str, str] | None = None,
        /,
        *,
        log: Path,
        **settings: str,
    ) -> None:
        """Starts the server and returns when it accepts sticks."""
        self.log = log
        self.environment = (
            os.environ
            | (environment or {})
            | {
                f"AUTARCO_{name.upper()}": value
                for name, value in {
                    "time_zone": "Europe/London",
                    # Tests run beside each other and beside a server of the developer's own.
                    "http_listen": "127.0.0.1:0",
                    "flush_seconds": "1",
                    "tail_seconds": "0.3",
                    "latest_seconds": "0.3",
                    "segment_bytes": str(1024 * 1024),
                    "commit_tick_ms": "10",
                    **settings,
                }.items()
            }
        )
        self.command = [
            *(sys.executable, "-m", "autarco_ingest", "serve"),
            *("--listen", "127.0.0.1:0", "--data", str(data)),
        ]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        if not self.ready.startswith("listening on "):
            self.process.wait(READY_S)
            self.process.stdout.close()
            raise AssertionError(f"not ready: {self.ready!r}, {log.read_text()}")
        self.port = int(self.ready.rpartition(":")[2])

    def kill(self) -> None:
        """Ends the process as a power cut would, without a chance to clean up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Asks the server to stop and returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def running(
    data: Path, environment: Mapping[str, str] | None = None, /, *, log: Path, **settings: str
) -> Iterator[ServerProcess]:
    """Runs a server for a while; it is ended in any case."""
    server = ServerProcess(data, environment, log=log, **settings)
    try:
        yield server
    finally:
        server.kill()


class Wire:
    """A stick's connection without a stick's patience: send, then wait for the answer."""

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        """Connects from `source`, any loopback address."""
        self._socket = socket.create_connection(
            ("127.0.0.1", port), timeout=ANSWER_S, source_address=(source, 0)
        )

    def __enter__(self) -> Wire:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Hangs up."""
        self._socket.close()

    def exchange(self, frame: bytes) -> bytes:
        """Sends a frame and returns its 23 bytes of answer; raises OSError or EOFError."""
        self._socket.sendall(frame)
        return self.receive()

    def receive(self) -> bytes:
        """Waits for one answer; raises OSError or EOFError."""
        answer = b""
        while len(answer) < 23:
            chunk = self._socket.recv(23 - len(answer))
            if not chunk:
                raise EOFError("the server hung up")
            answer += chunk
        return answer

    def be_impatient(self, seconds: float) -> None:
        """Waits so long for an answer from now on."""
        self._socket.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """Sends bytes that get no answer."""
        self._socket.sendall(data)


def eventually(what: str, condition: object, *, seconds: float = 10.0) -> None:
    """Waits until a callable returns something true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.05)
