"""Claim: an idle connection costs the server at most 600 bytes of its own memory.

Opens N mostly idle connections: 18,000 on one server process by default, and 100,000 on several
with `--servers 6 --connections 100000`. Each stick connects, says hello, sends one record, and
stays. Memory is RssAnon by N, with connections minus before, or minus after all are closed,
whichever is more: memory that the allocator had left over hides in the one, memory that it does not
return in the other.

What would be counted wrongly otherwise: "before" is taken after a warm-up (connections, records, a
flush and a `latest`), so that libraries have allocated what they allocate once; and after all N
inverters have been seen over at most 200 connections at a time, because the newest reading per
inverter is kept whether or not its stick is connected. "With" is taken when every record has left
memory for the table. The difference without that second step is reported as well.

With `--shared-port` all servers listen on one port. Which of them gets a stick is up to the kernel,
so inverters cannot be made known beforehand: sticks then say hello and send no record.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record
from processes import Fleet, Server, free_port, kernel_socket_bytes, run_fleet, wait_until

CLAIM_BYTES = 600
WARM_STICKS = 200
FIRST_SERIAL = 1_800_000_001
WARM_SERIAL = 1_700_000_001
FLEET_SERIALS = 1_000_000
FLUSH_S = 2.0
"""Short, so that few rows stand in memory at any time."""
SOURCE_CONNECTIONS = 1_000
"""The default limit of a server per address is 1,024."""
SETTLE_S = 3 * FLUSH_S


def main() -> int:
    """Measures, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = Path(tempfile.mkdtemp(prefix="autarco-connections-", dir=options.directory))
    servers: list[Server] = []
    try:
        servers = _servers(root, options.servers, shared=options.shared_port)
        numbers = _measure(
            servers, options.connections, options.connect_rate, shared=options.shared_port
        )
        numbers["exit_codes"] = [server.stop() for server in servers]
    finally:
        for server in servers:
            server.end()
        shutil.rmtree(root)
    name = f"connections-{options.connections}-on-{options.servers}"
    name += "-one-port" if options.shared_port else ""
    numbers["holds"] = numbers["bytes_per_connection"] <= CLAIM_BYTES
    path = record.write(name, claim=_claim(), numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _measure(
    servers: list[Server], connections: int, connect_rate: int, *, shared: bool
) -> dict[str, Any]:
    _warm_up(servers)
    fresh = _memory(servers)
    share = -(-connections // len(servers))
    sticks = [min(share, connections - number * share) for number in range(len(servers))]
    table = "sessions" if shared else "readings"
    _introduce(servers, sticks, table)
    before, kernel_before, cpu_before = _memory(servers), kernel_socket_bytes(), _cpu(servers)
    flushed_before = _flushed(servers, table)
    started = time.monotonic()
    fleets = [
        Fleet(
            *_options_of(server, number, sticks[number]),
            *("--connect-rate", str(connect_rate / len(servers))),
            *("--hold", "600", "--heartbeat-seconds", "120"),
            *(["--no-record"] if shared else []),
        )
        for number, server in enumerate(servers)
    ]
    for fleet in fleets:
        fleet.wait_connected()
    all_up_s = time.monotonic() - started
    wait_until(
        "every row is in the table",
        lambda: _flushed(servers, table) - flushed_before >= connections,
        seconds=120,
    )
    time.sleep(SETTLE_S)
    held, kernel_held = _memory(servers), kernel_socket_bytes()
    cpu_connected = _cpu(servers)
    reports = [fleet.report(end=True) for fleet in fleets]
    time.sleep(SETTLE_S)
    after = _memory(servers)
    opened = (sum(held) - sum(before)) / connections
    closed = (sum(held) - sum(after)) / connections
    of_unknown = (sum(held) - sum(fresh)) / connections
    kinds = ["handshake"] if shared else ["handshake", "live"]
    return {
        "connections": sum(report["connected_peak"] for report in reports),
        "servers": len(servers),
        "one_port": shared,
        "bytes_per_connection": round(max(opened, closed), 1),
        "bytes_taken_when_opened": round(opened, 1),
        "bytes_returned_when_closed": round(closed, 1),
        "bytes_per_connection_of_unknown_inverters": None if shared else round(of_unknown, 1),
        "anonymous_bytes": {"fresh": fresh, "before": before, "held": held, "after": after},
        "kernel_buffer_bytes_both_ends": kernel_held - kernel_before,
        "all_up_s": round(all_up_s, 2),
        "accepts_per_s": round(connections / all_up_s),
        "server_cpu_us_per_connect": round((cpu_connected - cpu_before) / connections * 1e6, 1),
        "ack_ms_per_fleet": [
            {kind: report["ack_ms"][kind] for kind in kinds} for report in reports
        ],
        "losses": sum(report["losses"] for report in reports),
        "retries": sum(report["retries"] for report in reports),
        "connect_errors": sum(report["connect_errors"] for report in reports),
        "server_problems": [problem for server in servers for problem in server.problems()],
    }


def _warm_up(servers: list[Server]) -> None:
    """Lets every server do everything once."""
    for number, server in enumerate(servers):
        run_fleet(
            *("--to", f"127.0.0.1:{server.port}", "--sticks", str(WARM_STICKS)),
            *("--first-serial", str(WARM_SERIAL + number * WARM_STICKS)),
            *("--hold", str(SETTLE_S), "--heartbeat-seconds", "1"),
        )
    time.sleep(SETTLE_S)


def _introduce(servers: list[Server], sticks: list[int], table: str) -> None:
    """Lets each server see all its inverters, never more than a few connected at once."""
    flushed_before = _flushed(servers, table)
    for first in range(0, max(sticks), WARM_STICKS):
        fleets = [
            Fleet(
                *_options_of(server, number, min(WARM_STICKS, sticks[number] - first), first),
                *("--hold", "0.01", *(["--no-record"] if table == "sessions" else [])),
            )
            for number, server in enumerate(servers)
            if sticks[number] > first
        ]
        for fleet in fleets:
            fleet.report()
    wait_until(
        "every inverter is known",
        lambda: _flushed(servers, table) - flushed_before >= sum(sticks),
        seconds=60,
    )
    time.sleep(SETTLE_S)


def _options_of(server: Server, number: int, sticks: int, first: int = 0) -> list[str]:
    """Names some of the sticks of the `number`th fleet; each fleet has its own addresses."""
    return [
        *("--to", f"127.0.0.1:{server.port}", "--sticks", str(sticks)),
        *("--first-serial", str(FIRST_SERIAL + number * FLEET_SERIALS + first)),
        *("--sources", str(-(-sticks // SOURCE_CONNECTIONS))),
        *("--first-source", f"127.{number + 1}.0.1"),
    ]


def _servers(root: Path, count: int, *, shared: bool) -> list[Server]:
    port = free_port() if shared else 0
    return [
        Server(
            root / f"node-{number}",
            port=port or free_port(),
            node=f"node-{number}",
            reuse_port="true" if shared else "false",
            flush_seconds=str(FLUSH_S),
            tail_seconds=str(FLUSH_S),
            latest_seconds=str(FLUSH_S),
        )
        for number in range(count)
    ]


def _flushed(servers: list[Server], table: str) -> int:
    return sum(server.rows_flushed(table) for server in servers)


def _memory(servers: list[Server]) -> list[int]:
    """Takes the least of some seconds: each flush and each tail borrows megabytes for a moment."""
    deadline = time.monotonic() + SETTLE_S
    least = [server.anonymous_bytes() for server in servers]
    while time.monotonic() < deadline:
        time.sleep(0.05)
        least = [
            min(bytes_, server.anonymous_bytes())
            for bytes_, server in zip(least, servers, strict=True)
        ]
    return least


def _cpu(servers: list[Server]) -> float:
    return sum(server.cpu_s() for server in servers)


def _claim() -> str:
    return f"an idle connection costs the server at most {CLAIM_BYTES} bytes of its own memory"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=18_000)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--shared-port", action="store_true", help="one port for all servers")
    parser.add_argument("--connect-rate", type=int, default=2_000, help="per second, all together")
    parser.add_argument("--directory", type=Path, help="where the servers' data goes meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
