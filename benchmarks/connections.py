"""Claim: an idle connection costs the server at most 600 bytes of its own memory.

Holds N idle connections on one server process (18,000 by default: often a process has 20,000
descriptors), or on several that share one port (`--connections 100000 --servers 6`). Sticks
connect, send a heartbeat, get its answer, and stay.

The servers do nothing else meanwhile: batches, tails and latest readings are an hour apart, so that
what their libraries borrow and return is not taken for memory of connections. Memory is RssAnon,
read with none, a quarter, a half, three quarters and all of the connections; bytes per connection
are the slope of the straight line through these points. rust/gateway/tests/memory.rs counts the
same at the allocator.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record
from processes import Server, free_port, kernel_socket_bytes

CLAIM_BYTES = 600
STEPS = 4
WARM_STICKS = 500
FIRST_SERIAL = 1_800_000_001
PER_HOLDER = 18_000
"""Connections of one client process."""
SETTLE_S = 3.0
HOUR_S = "3600"


class Holders:
    """Processes that hold connections; ended by the end of their standard input."""

    def __init__(self, port: int) -> None:
        """Holds nothing yet."""
        self._port = port
        self._processes: list[subprocess.Popen[str]] = []
        self.count = 0

    def add(self, connections: int) -> list[dict[str, float]]:
        """Connects so many more; returns what each process told."""
        told = []
        while connections > 0:
            share = min(connections, PER_HOLDER)
            process = subprocess.Popen(
                [
                    *(sys.executable, str(Path(__file__).with_name("holders.py"))),
                    *(str(self._port), str(FIRST_SERIAL + self.count), str(share)),
                    f"127.{1 + len(self._processes)}.0.1",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._processes.append(process)
            assert process.stdout is not None
            told.append(json.loads(process.stdout.readline()))
            self.count += share
            connections -= share
        return told

    def end(self) -> None:
        """Hangs up."""
        for process in self._processes:
            process.communicate(timeout=60)


def main() -> int:
    """Measures, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = Path(tempfile.mkdtemp(prefix="autarco-connections-", dir=options.directory))
    port = free_port()
    servers: list[Server] = []
    holders = Holders(port)
    try:
        servers += (_server(root, number, port) for number in range(options.servers))
        numbers = _measure(servers, holders, options.connections)
    finally:
        holders.end()
        for server in servers:
            server.end()
        shutil.rmtree(root)
    numbers["holds"] = numbers["bytes_per_connection"] <= CLAIM_BYTES
    name = f"connections-{options.connections}-on-{options.servers}"
    claim = f"an idle connection costs the server at most {CLAIM_BYTES} bytes of its own memory"
    path = record.write(name, claim=claim, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _measure(servers: list[Server], holders: Holders, connections: int) -> dict[str, Any]:
    # Once: what reading, answering and the first growth of the tables allocate for good.
    holders.add(WARM_STICKS * len(servers))
    kernel_before = kernel_socket_bytes()
    points = [(holders.count, _memory(servers))]
    cpu_before = sum(server.cpu_s() for server in servers)
    told = []
    for step in range(1, STEPS + 1):
        told += holders.add(connections * step // STEPS - connections * (step - 1) // STEPS)
        points.append((holders.count, _memory(servers)))
    cpu_s = sum(server.cpu_s() for server in servers) - cpu_before
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return {
        "connections": holders.count,
        "servers": len(servers),
        "bytes_per_connection": round(slope, 1),
        "anonymous_bytes_by_connections": points,
        "kernel_buffer_bytes_both_ends": kernel_socket_bytes() - kernel_before,
        "connects_per_s": round(connections / sum(one["seconds"] for one in told)),
        "server_cpu_us_per_connect": round(cpu_s / connections * 1e6, 1),
        "connect_and_answer_p50_ms": round(statistics.median(one["p50_ms"] for one in told), 2),
        "connect_and_answer_p99_ms": round(max(one["p99_ms"] for one in told), 2),
        "server_problems": [problem for server in servers for problem in server.problems()],
    }


def _memory(servers: list[Server]) -> int:
    """Takes the least of a few seconds; now and then a thread borrows something for a moment."""
    deadline = time.monotonic() + SETTLE_S
    least = [server.anonymous_bytes() for server in servers]
    while time.monotonic() < deadline:
        time.sleep(0.1)
        least = [
            min(before, server.anonymous_bytes())
            for before, server in zip(least, servers, strict=True)
        ]
    return sum(least)


def _server(root: Path, number: int, port: int) -> Server:
    return Server(
        root / f"node-{number}",
        port=port,
        node=f"node-{number}",
        reuse_port="true",
        flush_seconds=HOUR_S,
        tail_seconds=HOUR_S,
        latest_seconds=HOUR_S,
        idle_timeout_s=HOUR_S,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=18_000, metavar="N")
    parser.add_argument("--servers", type=int, default=1, metavar="K")
    parser.add_argument("--directory", type=Path, help="where data directories are made")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
