"""How does a measurement run a server and a fleet, each in its own process, and look at them?"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import resource
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autarco_ingest import server_process
from record import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_S = 60.0
STOP_S = 120.0

SERVER_CORE = 0
FLEET_CORE = 1

UNLIMITED = {
    # All sticks of a measurement share a few loopback addresses, and live faster than real ones.
    "connections_per_address_max": "1000000",
    "connects_per_address_per_minute": "100000000",
    "frames_per_address_per_minute": "1000000000",
    "frames_per_logger_per_minute": "100000000",
    "time_zone": "UTC",
    "log__format": "json",
    # Several servers run at once, and an operator's own may have the usual port.
    "http_listen": "",
}


def fleet_binary() -> Path:
    """Returns the load generator, built by `cargo build --release -p autarco-fleet`."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    binary = target / "release" / "autarco-fleet"
    if not binary.exists():
        raise SystemExit("no load generator: run `cargo build --release -p autarco-fleet` first")
    return binary


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Lets what is started inside, and all its later threads, run on one core; `None`: on any."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Returns a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server(server_process.ServerProcess):
    """A running `autarco-ingest serve`; its log goes to a file beside the data directory."""

    def __init__(self, data: Path, *, port: int, **settings: str) -> None:
        """Starts the server and returns when it accepts sticks."""
        self.data = data
        environment = {
            f"AUTARCO_{name.upper()}": value for name, value in {**UNLIMITED, **settings}.items()
        }
        try:
            super().__init__(
                data, environment, log=data.with_suffix(".log"), listen=f"127.0.0.1:{port}"
            )
        except server_process.ServerProcessError as error:
            raise SystemExit(str(error)) from error

    def anonymous_bytes(self) -> int:
        """Returns the memory that is the process's own: no files, no kernel buffers."""
        return status_bytes(self.pid, "RssAnon")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Returns the log lines of one event."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def rows_flushed(self, table: str) -> int:
        """Returns how many rows the server said it moved into a table."""
        return sum(line[table] for line in self.logged("flushed"))

    def problems(self) -> list[dict[str, Any]]:
        """Returns what the server warned of or failed at."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("level") not in ("info", "debug")]

    def stop(self, deadline_s: float = STOP_S) -> int:
        """Asks the server to stop and returns its exit code."""
        return super().stop(deadline_s)


def end(process: subprocess.Popen[str]) -> None:
    """Makes sure that a process is gone, and closes what is read of it."""
    if process.poll() is None:
        process.kill()
        process.wait(STOP_S)
    if process.stdout is not None:
        process.stdout.close()


def settle(servers: list[Server], readings: int) -> None:
    """Returns when so many readings are in the tables, and in catalogs made after that."""

    def is_settled() -> bool:
        flushes = [server.logged("flushed") for server in servers]
        if sum(flush["readings"] for of_server in flushes for flush in of_server) < readings:
            return False
        return all(
            (server.data / "catalog.duckdb").stat().st_mtime > _logged_at(of_server[-1])
            for server, of_server in zip(servers, flushes, strict=True)
            if of_server
        )

    wait_until("all readings are in the tables", is_settled, seconds=STOP_S)


def _logged_at(line: dict[str, Any]) -> float:
    return dt.datetime.fromisoformat(line["timestamp"]).timestamp()


class Fleet:
    """A running load generator; closing its standard input ends it early."""

    def __init__(self, *options: str) -> None:
        """Starts the fleet."""
        self.process = subprocess.Popen(
            [str(fleet_binary()), "--until-eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
        )

    def wait_connected(self) -> None:
        """Waits for the line that says that every stick is there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("connected "):
            raise SystemExit(f"the fleet does not connect: {line!r}")

    def begin(self) -> None:
        """Lets a loop begin that waits for it with `--begin-on-input`."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def report(self, *, end: bool = False) -> dict[str, Any]:
        """Waits for the end, or brings it about, and returns the fleet's report."""
        if end and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.stdin = None
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        self.process.stdout.close()
        self.process.wait(STOP_S)
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def closed_loop(*, sticks: int, window: int, seconds: float) -> list[str]:
    """Returns the options of a fleet whose sticks send as soon as they are answered."""
    return [
        *("--sticks", str(sticks), "--sources", str(-(-sticks // 1_000)), "--begin-on-input"),
        *("--seconds", str(seconds), "--window", str(window), "--heartbeats-per-data", "0"),
        *("--outages", "0", "--resends", "0", "--hangups", "0"),
    ]


def run_fleet(*options: str) -> dict[str, Any]:
    """Runs a fleet to its own end and returns its report."""
    return Fleet(*options).report()


def status_bytes(pid: int, name: str) -> int:
    """Returns a size from /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no {name} in /proc/{pid}/status")
    return int(found[1]) * 1024


def cpu_s(pid: int) -> float:
    """Returns the user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended_cpu_s() -> float:
    """Returns the user and system time of all child processes that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def kernel_socket_bytes() -> int:
    """Returns what the kernel holds in TCP buffers, of both ends."""
    text = Path("/proc/net/sockstat").read_text(encoding="ascii")
    found = re.search(r"^TCP: .* mem (\d+)", text, re.MULTILINE)
    return int(found[1]) * os.sysconf("SC_PAGE_SIZE") if found else 0


def wait_until(what: str, condition: Any, *, seconds: float, every_s: float = 0.1) -> None:
    """Waits until a callable returns something true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {seconds} s: {what}")
        time.sleep(every_s)
