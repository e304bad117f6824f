"""What does every server do that is compared with ours, and how are they measured alike?

A peer is started once, its table is emptied before each measurement, and it is stopped with SIGSTOP
while another contestant is measured: a virtual machine that was just started would be charged for
compiling itself. Clients live in `.venv-bench`, so the modules of the peers import them late.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from record import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

READY_S = 60.0
SETTLE_S = 120.0
LOOK_S = 0.02
"""How often a server is asked whether it is done: less than its work takes."""
STOP_S = 30.0
WHOLE = "server"
"""The one part of a server that has no other."""


class NotHere(Exception):
    """A peer cannot be had on this machine; the message is a sentence that says why."""


class Loaded(msgspec.Struct, kw_only=True):
    """What a client did; each reading of it was confirmed by the server."""

    readings: int
    took_s: float
    ack_ms: list[float]
    """How long each confirmation took; of one reading, or of one batch."""
    client_cpu_s: float


class Clock:
    """The wall and CPU clock of a load by this process, and the confirmations in it."""

    def __init__(self) -> None:
        """Starts both clocks."""
        self.started_s = time.perf_counter()
        self._cpu_s = time.process_time()
        self.ack_ms: list[float] = []

    def confirmed(self, asked_s: float) -> float:
        """Notes a confirmation of what was asked at `asked_s`; returns the time now."""
        now_s = time.perf_counter()
        self.ack_ms.append((now_s - asked_s) * 1e3)
        return now_s

    def loaded(self, readings: int) -> Loaded:
        """Stops the clocks."""
        return Loaded(
            readings=readings,
            took_s=time.perf_counter() - self.started_s,
            ack_ms=self.ack_ms,
            client_cpu_s=time.process_time() - self._cpu_s,
        )


class Peer:
    """A server that stores readings; subclasses say how."""

    name: ClassVar[str]
    durability: ClassVar[str]
    """What a confirmation promises."""
    does_more: ClassVar[str]
    does_less: ClassVar[str]
    batch: ClassVar[str]
    """The form of batches."""
    connections: ClassVar[int]
    """How many clients send one reading each at the same time."""
    gateway: ClassVar[str | None] = None
    """What `peer_gateway` calls it; None where it knows none for it."""
    address: str
    """Where a gateway reaches it."""

    def __init__(self) -> None:
        """Makes a peer that is not started yet."""
        self.version = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, directory: Path) -> None:
        """Starts the server with an empty directory; raises NotHere if that is impossible."""
        raise NotImplementedError

    def prepare(self, rows: pa.Table) -> None:
        """Takes the readings to load, in order of arrival, into the form that is sent."""
        raise NotImplementedError

    def empty(self) -> None:
        """Makes a table without rows."""
        raise NotImplementedError

    def one_by_one(self, seconds: float) -> Loaded:
        """Sends single readings, each connection the next one after a confirmation."""
        raise NotImplementedError

    def batches(self) -> Loaded:
        """Sends all readings in batches."""
        raise NotImplementedError

    def settle(self) -> None:
        """Returns when everything is on disk in its final form."""
        raise NotImplementedError

    def count(self) -> int:
        """Returns how many readings the server has."""
        raise NotImplementedError

    def bytes_on_disk(self) -> int:
        """Returns the size of the readings in their final form, after the server has ended."""
        raise NotImplementedError

    def cpu_parts_s(self) -> dict[str, float]:
        """Returns the user and system time so far of each part of the server."""
        assert self.process is not None
        return {WHOLE: tree_cpu_s(self.process.pid)}

    def pause(self) -> None:
        """Lets no process of the server run."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server, gently if it can be."""
        if self.process is None or self.process.poll() is not None:
            return
        self.go_on()
        # SIGINT is what stops PostgreSQL without waiting for its clients; to others it is the same.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(STOP_S)

    def _run(self, command: list[str], log: Path, **options: Any) -> None:
        with log.open("ab") as output:
            # A session of its own: one signal reaches all of its processes, and no others.
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True, **options
            )

    def _wait_for(self, condition: Callable[[], bool], log: Path) -> None:
        """Waits until the server answers; shows its log if it ends instead."""
        assert self.process is not None
        deadline = time.monotonic() + READY_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not start:\n{log.read_text()[-2_000:]}")
            time.sleep(0.05)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)


class SqlPeer(Peer):
    """A server that answers SQL in PostgreSQL's protocol; its table is `readings`."""

    connection: Any
    """Of psycopg; each statement is a transaction."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns the rows of an answer."""
        rows: list[tuple[Any, ...]] = self.connection.execute(sql, binary=True).fetchall()
        return rows

    def count(self) -> int:
        """Counts the rows."""
        return int(self.connection.execute("SELECT count(*) FROM readings").fetchone()[0])

    def _connect_sql(self, address: str, log: Path) -> None:
        """Waits until the server takes a connection, and keeps it."""
        import psycopg

        def answers() -> bool:
            try:
                self.connection = psycopg.connect(address, autocommit=True)
            except psycopg.OperationalError:
                return False
            return True

        self._wait_for(answers, log)


def end_gently() -> None:
    """Lets SIGTERM unwind this process as Ctrl-C does; paused peers would stay for ever."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def clients() -> Path:
    """Lets clients be imported, and returns the directory of `.venv-bench`."""
    venv = Path(os.environ.get("BENCH_VENV", REPOSITORY / ".venv-bench")).absolute()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = venv / "lib" / version / "site-packages"
    if not packages.is_dir():
        raise SystemExit("no clients of the peers: run `make .venv-bench/.packages` first")
    if str(packages) not in sys.path:
        # Last: where both environments have a package, ours wins; the lock keeps them equal.
        sys.path.append(str(packages))
    return venv


def tree_cpu_s(pid: int) -> float:
    """Returns the user and system time of a process and its children, of ended ones too."""
    ticks = 0
    for process in _tree(pid):
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            # It ended meanwhile and will be counted with its parent.
            continue
        ticks += sum(int(field) for field in text.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def disk_bytes(directory: Path) -> int:
    """Returns the space that the files below a directory take."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def listens(port: int) -> bool:
    """Tells whether a server accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stored_columns(rows: pa.Table) -> pa.Table:
    """Returns the columns that have values; `date` follows from `ts`."""
    names = [
        name
        for name in rows.column_names
        if name != "date" and rows.column(name).null_count < rows.num_rows
    ]
    return rows.select(names)


def processes_of(pid: int) -> int:
    """Returns how many processes a process and its descendants are."""
    return sum(1 for _ in _tree(pid))


def slices(rows: pa.Table, size: int) -> Iterator[pa.Table]:
    """Cuts a table into batches."""
    return (rows.slice(start, size) for start in range(0, rows.num_rows, size))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [(task / "children").read_text(encoding="ascii").split() for task in tasks]
    except FileNotFoundError:
        return
    for child in (number for found in children for number in found):
        yield from _tree(int(child))
