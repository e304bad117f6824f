"""How much does a server take on this machine, and is every acknowledged reading in its table?

`autarco-ingest bench` starts a server of its own on a directory that goes again, lets the load
fleet of `rust/fleet` talk to it from processes of their own, and asks the catalog afterwards. As a
program, `python -m autarco_ingest.bench`, this is one of those fleets.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import _core, catalog, paths, server_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

STICKS_PER_FLEET = 18_000
"""Often a process may have 20,000 descriptors."""
STICKS_PER_ADDRESS = 1_000
"""Sticks of one fleet that connect from one loopback address; an address has 28,000 ports."""
FIRST_SERIAL = 1_800_000_001
STOP_DEADLINE_S = 120.0
"""Whatever waits for the tables goes into them first."""

SERVER_ENVIRONMENT = {
    # All sticks share a few loopback addresses, and send as fast as they are answered.
    "AUTARCO_CONNECTIONS_PER_ADDRESS_MAX": "1000000",
    "AUTARCO_CONNECTS_PER_ADDRESS_PER_MINUTE": "100000000",
    "AUTARCO_FRAMES_PER_ADDRESS_PER_MINUTE": "1000000000",
    "AUTARCO_FRAMES_PER_LOGGER_PER_MINUTE": "100000000",
    # A server of the user's own may have the usual port.
    "AUTARCO_HTTP_LISTEN": "",
    "AUTARCO_LOG__FORMAT": "json",
}

KEY_BYTES = 8
CONNECT_S = 5.0
"""A server on this machine accepts at once, or there is none."""

STORED_SQL = "SELECT record_no * 4294967296 + logger_sn AS record FROM readings"
"""Record number and logger in one, as the eight bytes of either are in the files of the fleets."""


class BenchError(Exception):
    """The measurement failed; the message is one sentence."""


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    sticks: int
    seconds: float
    window: int
    rate: float | None
    """Records per second; without it, as many as are answered."""


@dataclass(frozen=True)
class Outcome:
    """What was measured; times of the acknowledgement are of the slowest fleet process."""

    sticks: int
    fleet_processes: int
    seconds: float
    frames: int
    frames_per_s: float
    ack_p50_ms: float
    ack_p99_ms: float
    ack_p999_ms: float
    fleet_cpu_us_per_frame: float
    server_cpu_us_per_frame: float | None
    """Until all was in the table; unknown of a server that runs elsewhere."""
    unanswered: int
    acknowledged: int
    stored: int | None
    """Rows of the table; not asked of a server that runs elsewhere."""
    lost: int | None
    doubled: int | None

    @property
    def is_sound(self) -> bool:
        """Whether nothing that was acknowledged is missing, and nothing there twice."""
        return not self.lost and not self.doubled

    def to_json(self) -> str:
        """Returns one object."""
        return json.dumps(asdict(self), indent=2)

    def write_table(self, out: TextIO) -> None:
        """Writes a table for people."""
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in asdict(self).items():
            table.add_row(*_row(name, value))
        Console(file=out).print(table)


def run_alone(plan: Plan, note: Callable[[str], None]) -> Outcome:
    """Measures a server of its own; raises BenchError when a step fails."""
    with (
        _terminated_gently(),
        tempfile.TemporaryDirectory(prefix="autarco-bench-") as root,
    ):
        data = Path(root)
        acknowledged = data / "acknowledged"
        acknowledged.mkdir()
        note(f"server: data in {data} until the end")
        try:
            with server_process.running(
                data, SERVER_ENVIRONMENT, stop_deadline_s=STOP_DEADLINE_S
            ) as server:
                reports, cpu_before_s = _drive(
                    f"{server.host}:{server.port}", plan, note, server.cpu_s, acknowledged
                )
                # Every fleet has been waited for: what is added now is the server's.
                others_s = _children_cpu_s()
                note("server: moves the rest into its tables")
            cpu_s = _children_cpu_s() - others_s - cpu_before_s
            stored = catalog.query(paths.DataDirectory.at(data), STORED_SQL).column("record")
        except (server_process.ServerProcessError, catalog.CatalogError) as error:
            raise BenchError(str(error)) from error
        return _outcome(plan, reports, cpu_s=cpu_s, kept=compare(_keys(acknowledged), stored))


@dataclass(frozen=True)
class Kept:
    """What became of the records that were acknowledged."""

    stored: int
    lost: int
    doubled: int


def compare(acknowledged: pa.Array[Any], stored: pa.ChunkedArray[Any]) -> Kept:
    """Compares which records were acknowledged and which are in the table, one by one.

    Their numbers alone would not do: a record whose answer never came may be stored all the same,
    and make up for one that is lost.
    """
    lost = acknowledged.filter(pc.invert(pc.is_in(acknowledged, value_set=stored)))
    return Kept(
        stored=len(stored),
        lost=len(lost),
        doubled=len(stored) - pc.count_distinct(stored).as_py(),
    )


def _keys(directory: Path) -> pa.Array[Any]:
    """Returns the records that the fleets wrote down as acknowledged, as `STORED_SQL` has them."""
    written = b"".join(file.read_bytes() for file in sorted(directory.iterdir()))
    buffers = [None, pa.py_buffer(written)]
    return pa.Array.from_buffers(pa.int64(), len(written) // KEY_BYTES, buffers)


@contextmanager
def _terminated_gently() -> Iterator[None]:
    """Lets SIGTERM end what is inside as Ctrl-C does: the server and its directory go too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_against(target: str, plan: Plan, note: Callable[[str], None]) -> Outcome:
    """Measures a server that runs on this machine already; what it stores stays."""
    _expect_server(target)
    reports, _ = _drive(target, plan, note, lambda: 0.0)
    return _outcome(plan, reports)


def _expect_server(target: str) -> None:
    """Makes sure that somebody listens: a fleet would go on trying for a minute."""
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise BenchError(f"no server at {target}: {error.strerror or error}") from error


def _drive(
    target: str,
    plan: Plan,
    note: Callable[[str], None],
    cpu_s: Callable[[], float],
    acknowledged: Path | None = None,
) -> tuple[list[dict[str, Any]], float]:
    """Lets the fleets live; returns their reports, and the server's time before them.

    Which records were acknowledged goes into files in the directory `acknowledged`.
    """
    with _fleets(target, plan, acknowledged) as fleets:
        note(f"fleet: {plan.sticks} sticks connect from {len(fleets)} processes")
        for fleet in fleets:
            if not _pipe(fleet.stdout).readline().startswith("connected "):
                raise BenchError(f"the sticks do not reach {target}: {_complaint(fleet)}")
        cpu_before_s = cpu_s()
        load = "as fast as answers come" if plan.rate is None else f"{plan.rate:g} records a second"
        note(f"fleet: {load} for {plan.seconds:g} s")
        for fleet in fleets:
            _begin(fleet)
        reports = [_report(fleet) for fleet in fleets]
    if any(report["gave_up"] for report in reports):
        raise BenchError("the server stopped answering")
    return reports, cpu_before_s


def _begin(fleet: subprocess.Popen[str]) -> None:
    begin = _pipe(fleet.stdin)
    try:
        begin.write("begin\n")
        begin.flush()
    except BrokenPipeError as error:
        raise BenchError(f"a fleet ended before its time: {_complaint(fleet)}") from error


@contextmanager
def _fleets(
    target: str, plan: Plan, acknowledged: Path | None
) -> Iterator[list[subprocess.Popen[str]]]:
    """Runs as many fleet processes as the sticks need; none outlives this."""
    count = -(-plan.sticks // STICKS_PER_FLEET)
    fleets: list[subprocess.Popen[str]] = []
    try:
        first = 0
        for number in range(count):
            sticks = plan.sticks * (number + 1) // count - first
            share = sticks / plan.sticks
            fleets.append(
                subprocess.Popen(  # noqa: S603 - our own program
                    [
                        *(sys.executable, "-m", "autarco_ingest.bench"),
                        *_arguments(target, plan, sticks=sticks, share=share),
                        *("--first-serial", str(FIRST_SERIAL + first)),
                        *([] if target.startswith("[") else _sources(number, sticks)),
                        *([] if acknowledged is None else _list_in(acknowledged / f"{number}")),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            first += sticks
        yield fleets
    finally:
        for fleet in fleets:
            if fleet.poll() is None:
                fleet.kill()
            if fleet.stdin is not None:
                # One that has died cannot be told what is still in the buffer.
                with suppress(BrokenPipeError):
                    fleet.stdin.close()
                fleet.stdin = None
            fleet.communicate()


def _arguments(target: str, plan: Plan, *, sticks: int, share: float) -> list[str]:
    arguments = ["--to", target, "--sticks", str(sticks), "--begin-on-input"]
    arguments += ["--seconds", str(plan.seconds), "--window", str(plan.window)]
    if plan.rate is not None:
        return [*arguments, "--open-loop", "--rate", str(plan.rate * share)]
    # Nothing but records, and no mischief: each of them is counted.
    calm = ("--heartbeats-per-data", "--outages", "--resends", "--hangups")
    return [*arguments, *(word for option in calm for word in (option, "0"))]


def _sources(number: int, sticks: int) -> list[str]:
    addresses = -(-sticks // STICKS_PER_ADDRESS)
    return ["--sources", str(addresses), "--first-source", f"127.{number + 1}.0.1"]


def _list_in(file: Path) -> list[str]:
    return ["--acknowledged-keys", str(file)]


def _report(fleet: subprocess.Popen[str]) -> dict[str, Any]:
    lines = _pipe(fleet.stdout).read().splitlines()
    if fleet.wait() or not lines:
        raise BenchError(f"the fleet failed: {_complaint(fleet)}")
    report: dict[str, Any] = json.loads(lines[-1])
    return report


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise AssertionError("started without a pipe")
    return stream


def _complaint(fleet: subprocess.Popen[str]) -> str:
    fleet.kill()
    lines = _pipe(fleet.stderr).read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _outcome(
    plan: Plan,
    reports: list[dict[str, Any]],
    *,
    cpu_s: float | None = None,
    kept: Kept | None = None,
) -> Outcome:
    frames = sum(report["frames_measured"] for report in reports)
    if not frames:
        raise BenchError("the server answered no record")
    seconds = max(report["measured_s"] for report in reports)
    acknowledged = sum(report["records_acknowledged"] for report in reports)

    def slowest(quantile: str) -> float:
        return max(float(report["ack_ms"]["live"][quantile]) for report in reports)

    return Outcome(
        sticks=plan.sticks,
        fleet_processes=len(reports),
        seconds=round(seconds, 3),
        frames=frames,
        frames_per_s=round(frames / seconds, 1),
        ack_p50_ms=statistics.median(report["ack_ms"]["live"]["p50"] for report in reports),
        ack_p99_ms=slowest("p99"),
        ack_p999_ms=slowest("p999"),
        fleet_cpu_us_per_frame=_us(sum(report["cpu_s"] for report in reports), frames),
        server_cpu_us_per_frame=None if cpu_s is None else _us(cpu_s, frames),
        unanswered=sum(report["in_doubt"] for report in reports),
        acknowledged=acknowledged,
        stored=None if kept is None else kept.stored,
        lost=None if kept is None else kept.lost,
        doubled=None if kept is None else kept.doubled,
    )


def _us(seconds: float, frames: int) -> float:
    return round(seconds * 1e6 / frames, 2)


def _children_cpu_s() -> float:
    """Returns the time of children that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


_NAMES = {
    "sticks": "sticks",
    "fleet_processes": "fleet processes",
    "seconds": "measured, s",
    "frames": "frames answered",
    "frames_per_s": "frames per second",
    "ack_p50_ms": "acknowledged after, half of them, ms",
    "ack_p99_ms": "99 of 100, ms",
    "ack_p999_ms": "999 of 1,000, ms",
    "fleet_cpu_us_per_frame": "fleet's CPU per frame, µs",
    "server_cpu_us_per_frame": "server's CPU per frame, tables included, µs",
    "unanswered": "records without answer",
    "acknowledged": "records acknowledged",
    "stored": "rows in the table",
    "lost": "lost",
    "doubled": "doubled",
}


def _row(name: str, value: float | None) -> tuple[str, str]:
    if value is None:
        return _NAMES[name], "not known here"
    return _NAMES[name], f"{value:,}"


def main(arguments: Sequence[str]) -> int:
    """Is one fleet."""
    try:
        print(_core.run_fleet(list(arguments)))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
