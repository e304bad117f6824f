"""Claim: a fleet of 10,000 sites is polled as Home Assistant does, and p95 stays within 200 ms.

Home Assistant asks five addresses per site every five minutes, one after another on a connection
that it keeps for 15 s more: 167 requests a second for 10,000 sites. Here each site is a program of
its own, with its owner's app token or password (Basic), and polls once: nothing of it is in memory.
The polls begin at the wanted rate whether or not answers come, and the latency of a poll's first
request counts from when the poll was due.

`autarco-portal serve` answers. On the same cores `autarco-ingest serve` takes the records of the
same 10,000 sticks, 33 a second, with its usual settings, into the lake that the portal shows, and
the load of both runs there too. No TLS, as behind a proxy. Passwords are compared (Argon2) before
it begins, as they are once in twelve hours.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np

import polled_world
import record
from processes import Server, cpu_s, end, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polled_world import Poller

CLAIM = "10,000 sites polled like Home Assistant does (167 requests/s): p95 at most 200 ms"
CLAIM_MS = 200.0
PATHS = ("/", "/kpis/energy", "/kpis/power", "/kpis/energy", "/power")
"""One round of Home Assistant: get_site, get_solar, get_inverters."""
EVERY_S = 300.0
KEPT_S = 15.0
"""How long aiohttp keeps a connection that is not used."""
READY_S = 300.0


def main() -> int:
    """Runs the measurement; returns 1 when the claim does not hold."""
    options = _options()
    on = record.machine()
    with tempfile.TemporaryDirectory() as temporary:
        root = (options.world or Path(temporary)) / "data"
        root.parent.mkdir(parents=True, exist_ok=True)
        pollers = polled_world.made(root) or polled_world.make(root, options.sites)
        if options.prepare:
            return 0
        numbers = _measure(root, pollers, options)
    numbers["holds"] = numbers["p95_ms"] <= CLAIM_MS and not numbers["failed"]
    for name, value in numbers.items():
        print(f"{name:>24}  {value}")
    print(record.write("portal-polling", claim=CLAIM, numbers=numbers, on=on))
    return 0 if numbers["holds"] else 1


def _measure(root: Path, pollers: list[Poller], options: argparse.Namespace) -> dict[str, Any]:
    sticks = len(pollers)
    per_s = sticks / EVERY_S
    server = Server(root, port=free_port())
    try:
        longest_s = READY_S + options.seconds
        rate = ("--rate", f"{per_s:.3f}", "--seconds", f"{longest_s:.0f}", "--until-eof")
        fleet = polled_world.fleet(server, sticks, "--open-loop", *rate)
        fleet.wait_connected()
        with _portal(root) as (url, portal):
            warm_s = asyncio.run(_warm(url, pollers))
            ingest_s, portal_s, began_s = server.cpu_s(), _cpu_s(portal), time.monotonic()
            numbers = asyncio.run(_poll(url, pollers, per_s, options.seconds))
            took_s = time.monotonic() - began_s
            numbers |= {
                "portal_cpu_share": round((_cpu_s(portal) - portal_s) / took_s, 3),
                "portal_cpu_ms_per_request": round(
                    (_cpu_s(portal) - portal_s) / numbers["requests"] * 1_000, 2
                ),
                "portal_memory_mib": sum(map(_memory_mib, _family(portal))),
                "ingest_cpu_share": round((server.cpu_s() - ingest_s) / took_s, 3),
                "passwords_compared_s": round(warm_s, 1),
            }
        report = fleet.report(end=True)
        server.stop()
    finally:
        server.end()
    return {
        **numbers,
        "sites": sticks,
        "wanted_per_s": round(per_s * len(PATHS), 1),
        "sticks": sticks,
        "records_per_s": report["frames_per_s"],
        "records_acknowledged": report["records_acknowledged"],
        "ack_p99_ms": report["ack_ms"]["live"]["p99"],
    }


@contextmanager
def _portal(root: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "autarco_portal.cli", "serve", "--data", str(root)]
    command += ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], READY_S)
        line = process.stdout.readline() if readable else ""
        assert line.startswith("listening on "), f"the portal did not start: {line!r}"
        yield f"http://{line.removeprefix('listening on ').strip()}/api/site/", process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        end(process)


async def _warm(url: str, pollers: list[Poller]) -> float:
    """Waits until the lake was read (until then answers are 503), and lets passwords be compared.

    Returns how long the passwords took.
    """
    until_s = time.monotonic() + READY_S
    turn = asyncio.Semaphore(2)

    async def ask(session: aiohttp.ClientSession, poller: Poller, key: str) -> int:
        headers = {"Authorization": poller.authorization}
        async with turn, session.get(f"{url}{key}/kpis/power", headers=headers) as answer:
            return answer.status

    async with aiohttp.ClientSession() as session:
        while await ask(session, pollers[0], pollers[0].key) != 200:
            assert time.monotonic() < until_s, "the lake was not read in time"
            await asyncio.sleep(0.5)
        began_s = time.monotonic()
        # For a site that is none, so that nothing of theirs is remembered from this.
        tasks = [ask(session, poller, "nowhere0") for poller in pollers if poller.has_password]
        assert set(await asyncio.gather(*tasks)) <= {404}
        return time.monotonic() - began_s


async def _poll(url: str, pollers: list[Poller], per_s: float, seconds: float) -> dict[str, Any]:
    count = int(per_s * seconds)
    assert 0 < count <= len(pollers), "each site is polled once"
    all_answered = asyncio.Event()
    took_s: list[float] = []
    polls_s: list[float] = []
    failed = 0

    async def one(poller: Poller, due_s: float) -> None:
        nonlocal failed
        headers = {"Authorization": poller.authorization}
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=KEPT_S)
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers
        ) as session:
            begun_s = due_s
            for path in PATHS:
                try:
                    async with session.get(f"{url}{poller.key}{path}") as answer:
                        await answer.read()
                        failed += answer.status != 200
                except (aiohttp.ClientError, TimeoutError):
                    failed += 1
                ended_s = time.perf_counter()
                took_s.append(ended_s - begun_s)
                begun_s = ended_s
            polls_s.append(ended_s - due_s)
            if len(polls_s) == count:
                all_answered.set()
            await asyncio.sleep(KEPT_S)

    began_s = time.perf_counter()
    tasks = set()
    # Not in the order in which they were made: nobody's neighbour in a table comes next.
    order = np.random.default_rng(1).permutation(len(pollers))
    for n in range(count):
        due_s = began_s + n / per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.add(asyncio.create_task(one(pollers[order[n]], due_s)))
    await all_answered.wait()
    ended_s = time.perf_counter()
    for task in tasks:
        # Connections that were only kept.
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    at = [round(float(value) * 1_000, 1) for value in np.percentile(took_s, [50, 95, 99, 100])]
    return {
        "requests": len(took_s),
        "failed": failed,
        "per_s": round(len(took_s) / (ended_s - began_s), 1),
        "p50_ms": at[0],
        "p95_ms": at[1],
        "p99_ms": at[2],
        "max_ms": at[3],
        "poll_p95_ms": round(float(np.percentile(polls_s, 95)) * 1_000, 1),
    }


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def _cpu_s(pid: int) -> float:
    return sum(map(cpu_s, _family(pid)))


def _memory_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=90.0, help="at most 300: a poll per site")
    parser.add_argument("--world", type=Path, help="where lake and store are made, or were before")
    parser.add_argument("--prepare", action="store_true", help="only make them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
