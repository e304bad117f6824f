"""Claim: a durable frame costs at most a third of what a plain trio server spends on acknowledging.

And at most twice of what a bare epoll loop spends. Neither of them decodes or stores anything: what
they acknowledge is gone when they end. Ours is on disk before it is acknowledged, and in a table of
Parquet files before the clock stops.

All take the same load from the same fleet, in rounds in which each has its turn, in alternating
order; ratios are taken within a round. The server with all its threads runs on the first core, the
fleet on the second. CPU is user and system time of the server from the first record until all of
them are in the table and its catalog is there; connecting is not counted for anybody. A run in
which the table does not have as many rows as records were acknowledged is an error.
Ours runs longer than the others: what a batch costs, however small, is spread over more frames in
real life, where it has minutes; theirs has no such cost.

- closed loop: every connection has one frame, or a burst of 16 in one write, on its way. How many
  frames go through, and what each costs.
- open loop, ours alone: frames leave at their intended times, from which their latency counts.
- 50,000 connections, ours alone, on three processes that share a port: once, not in rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

import record
from processes import (
    FLEET_CORE,
    SERVER_CORE,
    STOP_S,
    Fleet,
    Server,
    closed_loop,
    cpu_s,
    end,
    fleet_binary,
    free_port,
    pinned,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIM = (
    "a durable frame costs at most 1/3 of the CPU of a plain trio server that stores nothing, and "
    "at most 2 times that of a bare epoll loop that stores nothing"
)
TO_TRIO_MAX = 1 / 3
TO_FLOOR_MAX = 2.0

OURS = "autarco-ingest"
TRIO = "trio SocketStream"
TRIO_BARE = "trio SocketStream, least Python"
UVLOOP = "uvloop Protocol"
FLOOR = "epoll floor"

BENCHMARKS = Path(__file__).parent
UVLOOP_PYTHON = record.REPOSITORY / ".venv-bench" / "bin" / "python"

FIRST_SERIAL = 1_800_000_001
SETTLE_S = 0.3
"""After the last connection, so that no server still has work with connecting."""
CONNECTS_PER_S = 6_000
"""About what the slowest of the servers can accept."""
FLUSH_SHARE = 2 / 3
"""Of the measured time: ours fills its table once meanwhile, and once more after it."""


@dataclass(frozen=True)
class Closed:
    """A closed loop, and who takes part."""

    sticks: int
    window: int
    contestants: tuple[str, ...]
    is_judged: bool

    @property
    def name(self) -> str:
        """Says what it is."""
        load = "one frame per read" if self.window == 1 else f"bursts of {self.window}"
        return f"{self.sticks:,} connections, {load}"


CLOSED = (
    Closed(1_000, 1, (OURS, TRIO, TRIO_BARE, UVLOOP, FLOOR), is_judged=True),
    Closed(10_000, 1, (OURS, TRIO, UVLOOP, FLOOR), is_judged=True),
    Closed(1_000, 16, (OURS, TRIO, FLOOR), is_judged=False),
)
OPEN = tuple((sticks, rate) for rate in (2_000, 10_000) for sticks in (100, 1_000, 10_000))
MANY_STICKS = 50_000
MANY_PROCESSES = 3
MANY_RATES = (2_000, 10_000)


class Baseline:
    """A server that acknowledges and stores nothing."""

    def __init__(self, command: list[str]) -> None:
        """Starts it and returns when it accepts sticks."""
        self.process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"],
            cwd=BENCHMARKS,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if not ready.startswith("listening on "):
            raise SystemExit(f"it does not start: {' '.join(command)}")
        self.port = int(ready.rpartition(":")[2])

    def cpu_s(self) -> float:
        """Returns the user and system time spent so far."""
        return cpu_s(self.process.pid)

    def stop(self) -> None:
        """Ends it: it has nothing to finish."""
        self.process.terminate()
        self.process.wait(STOP_S)

    def end(self) -> None:
        """Makes sure that the process is gone."""
        end(self.process)


def main() -> int:
    """Measures, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    started = time.monotonic()
    bench = _Bench(options)
    numbers: dict[str, Any] = {
        "pinned": None if options.no_pin else {"server": SERVER_CORE, "fleet": FLEET_CORE},
        "rounds": options.rounds,
        "closed_loop_s": {"ours": options.seconds, "baselines": options.baseline_seconds},
        "open_loop_s": options.open_seconds,
        "our_flush_seconds_share": round(FLUSH_SHARE, 2),
        "skipped": bench.skipped,
        "closed_loop": bench.closed(),
        "open_loop_ours": bench.open(),
        "many_connections_ours_once": bench.many(),
    }
    numbers["holds"] = all(case["holds"] for case in numbers["closed_loop"] if case["is_judged"])
    numbers["took_s"] = round(time.monotonic() - started)
    path = record.write("ingest", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


class _Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._server_core = None if options.no_pin else SERVER_CORE
        self._fleet_core = None if options.no_pin else FLEET_CORE
        trio = [sys.executable, "-m", "baselines.trio_stream"]
        floor = fleet_binary().parent / "examples" / "epoll_floor"
        self._baselines = {
            TRIO: trio,
            TRIO_BARE: [*trio, "--answer", "bare"],
            UVLOOP: [str(UVLOOP_PYTHON), "-m", "baselines.uvloop_protocol"],
            FLOOR: [str(floor)],
        }
        self.skipped = []
        if not floor.exists():
            raise SystemExit(
                "no floor: run `cargo build --release -p autarco-fleet --examples` first"
            )
        if not UVLOOP_PYTHON.exists():
            self.skipped = [UVLOOP]
            sys.stderr.write(f"SKIPPED, no {UVLOOP}: there is no .venv-bench\n")

    def closed(self) -> list[dict[str, Any]]:
        """Measures every closed loop."""
        runs: dict[Closed, dict[str, list[dict[str, float]]]] = {
            case: {name: [] for name in case.contestants if name not in self.skipped}
            for case in CLOSED
        }
        for number in range(self._options.rounds):
            for case, by_name in runs.items():
                names = list(by_name)
                for name in names if number % 2 == 0 else reversed(names):
                    seconds = self._options.baseline_seconds
                    if name == OURS:
                        seconds = self._options.seconds
                    fleet = closed_loop(sticks=case.sticks, window=case.window, seconds=seconds)
                    run = self._run(name, fleet, seconds)
                    by_name[name].append(run)
                    _tell(f"round {number + 1}: {case.name}: {name}", run)
        return [_summary(case, by_name) for case, by_name in runs.items()]

    def open(self) -> list[dict[str, Any]]:
        """Measures every open loop."""
        seconds = self._options.open_seconds
        runs: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in OPEN}
        for number in range(self._options.open_rounds):
            for sticks, rate in OPEN if number % 2 == 0 else reversed(OPEN):
                fleet = _open_loop(sticks=sticks, rate=rate, seconds=seconds)
                run = self._run(OURS, fleet, seconds)
                runs[sticks, rate].append(run)
                _tell(f"round {number + 1}: {sticks:,} connections, {rate:,}/s", run)
        return [
            {"sticks": sticks, "rate": rate, **_medians(of_case)}
            for (sticks, rate), of_case in runs.items()
        ]

    def many(self) -> list[dict[str, Any]]:
        """Measures the open loops that need several processes; quantiles are those of the worst."""
        if self._options.no_many:
            return []
        seconds = self._options.many_seconds
        cases = []
        for rate in MANY_RATES:
            with self._ours(MANY_PROCESSES, seconds) as servers:
                fleets = [
                    [
                        *_open_loop(
                            sticks=MANY_STICKS // MANY_PROCESSES,
                            rate=rate / MANY_PROCESSES,
                            seconds=seconds,
                        ),
                        *("--first-serial", str(FIRST_SERIAL + number * MANY_STICKS)),
                        *("--first-source", f"127.{1 + number}.0.1"),
                    ]
                    for number in range(MANY_PROCESSES)
                ]
                run = self._measured(servers, fleets)
                _check(servers, run)
            connections = MANY_STICKS // MANY_PROCESSES * MANY_PROCESSES
            _tell(f"{connections:,} connections, {rate:,}/s", run)
            numbers = {name: round(value, 3) for name, value in run.items()}
            cases.append(
                {"sticks": connections, "processes": MANY_PROCESSES, "rate": rate, **numbers}
            )
        return cases

    def _run(self, name: str, fleet: list[str], seconds: float) -> dict[str, float]:
        if name == OURS:
            with self._ours(1, seconds) as servers:
                run = self._measured(servers, [fleet])
                _check(servers, run)
            return run
        with pinned(self._server_core):
            baseline = Baseline(self._baselines[name])
        try:
            return self._measured([baseline], [fleet])
        finally:
            baseline.end()

    @contextlib.contextmanager
    def _ours(self, processes: int, seconds: float) -> Iterator[list[Server]]:
        root = Path(tempfile.mkdtemp(prefix="autarco-ingest-", dir=self._options.directory))
        servers: list[Server] = []
        port = free_port()
        try:
            for number in range(processes):
                with pinned(self._server_core):
                    server = Server(
                        root / f"node-{number}",
                        port=port,
                        node=f"node-{number}",
                        reuse_port=str(processes > 1).lower(),
                        flush_seconds=str(round(seconds * FLUSH_SHARE, 2)),
                    )
                servers.append(server)
            yield servers
        finally:
            for server in servers:
                server.end()
            shutil.rmtree(root)

    def _measured(
        self, servers: list[Server] | list[Baseline], fleets: list[list[str]]
    ) -> dict[str, float]:
        with pinned(self._fleet_core):
            running = [
                Fleet(
                    *("--to", f"127.0.0.1:{servers[0].port}"),
                    *("--connect-rate", str(CONNECTS_PER_S / len(fleets)), *fleet),
                )
                for fleet in fleets
            ]
        for fleet in running:
            fleet.wait_connected()
        time.sleep(SETTLE_S)
        cpu_before = sum(server.cpu_s() for server in servers)
        for fleet in running:
            fleet.begin()
        reports = [fleet.report() for fleet in running]
        under_load_s = sum(server.cpu_s() for server in servers) - cpu_before
        ours = [server for server in servers if isinstance(server, Server)]
        if ours:
            settle(ours, sum(report["records_measured"] for report in reports))
        in_all_s = sum(server.cpu_s() for server in servers) - cpu_before
        for server in servers:
            server.stop()
        return _told(reports, under_load_s, in_all_s)


def _open_loop(*, sticks: int, rate: float, seconds: float) -> list[str]:
    return [
        *("--sticks", str(sticks), "--sources", str(-(-sticks // 1_000)), "--begin-on-input"),
        *("--open-loop", "--rate", str(rate), "--seconds", str(seconds)),
    ]


def _told(reports: list[dict[str, Any]], under_load_s: float, in_all_s: float) -> dict[str, float]:
    """Puts together what the fleets told, and refuses a run in which something went wrong."""
    for report in reports:
        wrong = {
            name: report[name]
            for name in ("losses", "retries", "connect_errors", "unexpected_answers", "ran_out")
            if report[name]
        }
        if wrong or report["records_measured"] != report["records_acknowledged"]:
            raise SystemExit(f"the fleet is not content: {wrong}")
    frames = sum(report["records_measured"] for report in reports)
    measured_s = max(report["measured_s"] for report in reports)

    def worst(quantile: str) -> float:
        return max(float(report["ack_ms"]["live"][quantile]) for report in reports)

    return {
        "frames": frames,
        "frames_per_s": round(sum(report["frames_per_s"] for report in reports)),
        "server_cpu_us_per_frame": in_all_s / frames * 1e6,
        "server_cpu_us_per_frame_under_load": under_load_s / frames * 1e6,
        "server_cores_used": under_load_s / measured_s,
        "fleet_cores_used": sum(report["cpu_s"] for report in reports) / measured_s,
        "ack_p50_ms": worst("p50"),
        "ack_p99_ms": worst("p99"),
        "ack_p999_ms": worst("p999"),
        "sent_late_p99_ms": max(float(report["send_lag_ms"]["p99"]) for report in reports),
    }


def _check(servers: list[Server], run: dict[str, float]) -> None:
    """Makes sure that all is in the tables, and that not all of it was put there at the end."""
    rows = sum(DeltaTable(server.data / "lake" / "readings").count() for server in servers)
    if rows != run["frames"]:
        raise SystemExit(f"{run['frames']} records were acknowledged, {rows} are in the table")
    for server in servers:
        flushes = [flush for flush in server.logged("flushed") if flush["readings"]]
        if len(flushes) < 2:
            raise SystemExit("the table was filled only at the end: measure longer")


def _summary(case: Closed, by_name: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def ratio(name: str) -> float:
        return statistics.median(
            ours["server_cpu_us_per_frame"] / other["server_cpu_us_per_frame"]
            for ours, other in zip(by_name[OURS], by_name[name], strict=True)
        )

    to = {name: ratio(name) for name in by_name if name != OURS}
    return {
        "case": case.name,
        "sticks": case.sticks,
        "window": case.window,
        "is_judged": case.is_judged,
        "holds": to[TRIO] <= TO_TRIO_MAX and to[FLOOR] <= TO_FLOOR_MAX,
        "our_cpu_per_frame_to": {name: round(value, 3) for name, value in to.items()},
        "contestants": {name: _medians(runs) for name, runs in by_name.items()},
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]
    }
    found["server_cpu_us_per_frame_of_rounds"] = [
        round(run["server_cpu_us_per_frame"], 2) for run in runs
    ]
    return found


def _tell(what: str, run: dict[str, float]) -> None:
    sys.stderr.write(
        f"{what}: {run['frames_per_s']:,.0f} frames/s, {run['server_cpu_us_per_frame']:.1f} µs CPU "
        f"per frame, ack p50 {run['ack_p50_ms']:.1f} ms, p99 {run['ack_p99_ms']:.1f} ms\n"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a closed loop, ours")
    parser.add_argument(
        "--baseline-seconds",
        type=float,
        default=1.2,
        help="of a closed loop, others: they have no batches to wait for",
    )
    parser.add_argument(
        "--open-seconds",
        type=float,
        default=6.0,
        help="of each open loop: its two batches, which a real server has in ten minutes, are more "
        "than half of the CPU of a run of 2 s",
    )
    parser.add_argument("--open-rounds", type=int, default=3)
    parser.add_argument("--many-seconds", type=float, default=5.0, help="with 50,000 connections")
    parser.add_argument("--no-many", action="store_true", help="leave out the 50,000 connections")
    parser.add_argument("--no-pin", action="store_true", help="let the system choose the cores")
    parser.add_argument("--directory", type=Path, help="where the server's data goes meanwhile")
    options = parser.parse_args()
    if not options.no_pin and len(os.sched_getaffinity(0)) < 2:
        parser.error("one core cannot have both the server and the fleet: use --no-pin")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
