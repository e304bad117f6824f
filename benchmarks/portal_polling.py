"""Claim: a fleet of 10,000 sites is polled as Home Assistant does, and p95 stays within 200 ms.

Home Assistant asks five addresses per site every five minutes: 167 requests a second for 10,000
sites. A lake of made-up inverters (two days of five-minute readings) and a store with sites, owners
and their app tokens are made; `autarco-portal serve` serves them with one worker; an open-loop load
asks at the wanted rate whether or not answers come, and latency counts from when a request was due.
With fewer `--sites` than inverters the rate stays that of all: each site is asked more often, so
credentials and records are found in memory more often than in life.
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
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import record
from autarco_ingest import catalog, schema
from autarco_ingest.paths import DataDirectory
from autarco_portal.api_access import ApiAccess
from autarco_portal.passwords import Hasher
from autarco_portal.people import SELF, SiteOwner
from autarco_portal.proofs import Proofs
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import open_store

CLAIM = "10,000 sites polled like Home Assistant does (167 requests/s): p95 at most 200 ms"
CLAIM_S = 0.2
PATHS = ("/", "/kpis/energy", "/kpis/power", "/kpis/energy", "/power")
"""One round of Home Assistant: get_site, get_solar, get_inverters."""
READY_S = 300.0
STEP = timedelta(minutes=5)


def main() -> int:
    """Runs the measurement; returns 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inverters", type=int, default=10_000)
    parser.add_argument("--sites", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=167.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--record", action="store_true", help="keep the result")
    asked = parser.parse_args()
    on = record.machine()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _make_lake(root, asked.inverters)
        tokens = _make_store(root, asked.sites)
        numbers = _serve_and_ask(root, tokens, asked.rate, asked.seconds)
    numbers |= {"inverters": asked.inverters, "sites": asked.sites, "wanted_per_s": asked.rate}
    for name, value in numbers.items():
        print(f"{name:>16}  {value}")
    if asked.record:
        print(record.write("portal_polling", claim=CLAIM, numbers=numbers, on=on))
    return 0 if numbers["p95_ms"] <= CLAIM_S * 1_000 and not numbers["failed"] else 1


def _make_lake(root: Path, inverters: int) -> None:
    data = DataDirectory.at(root)
    data.create()
    now = datetime.now(UTC)
    files: list[Path] = []
    newest = None
    for ago in (2, 1, 0):
        day = now.date() - timedelta(days=ago)
        rows = _day(day, inverters, now)
        file = (
            data.lake / "readings" / f"date={day}" / f"part-bench.v{schema.SCHEMA_VERSION}.parquet"
        )
        file.parent.mkdir(parents=True)
        pq.write_table(rows.drop_columns(["date"]), file)
        files.append(file)
        if rows.num_rows:
            newest = rows.filter(pa.compute.equal(rows["ts"], pa.compute.max(rows["ts"])))
    assert newest is not None
    data.latest.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(newest, data.latest)
    moment = catalog.Moment(readings=files, latest=data.latest)
    catalog.rebuild(data, moment, time_zone="Europe/Amsterdam")


def _day(day: date, inverters: int, now: datetime) -> pa.Table:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    steps = sum(begin + n * STEP <= now for n in range(288))
    ms = round(begin.timestamp() * 1_000) + np.arange(steps) * 300_000
    hours = np.arange(steps) / 12
    watts = np.clip(np.sin((hours - 6) / 12 * np.pi), 0, None) * 3_000
    made = np.cumsum(watts / 12) + 18_000.0 * (day.toordinal() % 365)
    serials = np.repeat([_serial(n) for n in range(inverters)], steps)
    ts = pa.array(np.tile(ms, inverters)).cast(pa.timestamp("ms", "UTC")).cast(schema.INSTANT)
    given: dict[str, Any] = {
        "ts": ts,
        "received_at": ts,
        "inverter_sn": serials,
        "ac_power": np.tile(watts, inverters).astype(np.float32),
        "energy_total_wh": np.tile(made, inverters).astype(np.int64) // 100 * 100 + 1_000_000,
        "logger_sn": np.zeros(len(serials), np.int64),
        "sensor_type": np.full(len(serials), 0x0507, np.int32),
    }
    rows = pa.table(given)
    for column in schema.READINGS.columns:
        if column.name not in rows.column_names and column.name != "date":
            fill: Any = {"time_source": "stick", "protocol": "v5", "historic": False}
            value: Any = pa.scalar(fill.get(column.name), column.type)
            rows = rows.append_column(column.name, pa.repeat(value, len(serials)))
    return schema.conform(schema.READINGS, rows)


def _make_store(root: Path, sites: int) -> list[tuple[str, str]]:
    """Returns the key of each site and the token of its owner."""
    (root / "portal").mkdir(exist_ok=True)
    now = datetime.now(UTC) - timedelta(days=400)
    plane = RoofPlane(name="south", surface_tilt=35, surface_azimuth=180, modules=10, pdc0=4_000)
    found = []
    with open_store(str(root / "portal" / "portal.sqlite"), migrate=True) as store:
        access = ApiAccess(store, Proofs(store, bytes(32), Hasher()))
        for n in range(sites):
            person = store.people.add(
                name=f"Owner {n}", email=f"owner{n}@example.org", source=SELF, now=now
            )
            store.accounts.add(person.person_id, now)
            _, token = access.add_token(person.person_id, "home", has_second_factor=False, now=now)
            site = store.sites.add(
                NewSite(
                    name=f"Site {n}",
                    address=Address(street=f"Street {n}", postcode="3511 ZZ", city="Utrecht"),
                    latitude=52.1,
                    longitude=5.1,
                    commissioned_on=now.date(),
                    planes=(plane,),
                    inverters=(Inverter(serial_number=_serial(n), pac0=4_000, installed_at=now),),
                    owners=(SiteOwner(person_id=person.person_id, from_at=now),),
                ),
                now,
            )
            found.append((site.public_key, token.reveal()))
    return found


def _serial(n: int) -> str:
    return f"BENCH{n:07}"


def _serve_and_ask(
    root: Path, tokens: list[tuple[str, str]], rate: float, seconds: float
) -> dict[str, Any]:
    command = [sys.executable, "-m", "autarco_portal.cli", "serve", "--data", str(root)]
    command += ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], READY_S)
        line = process.stdout.readline() if readable else ""
        assert line.startswith("listening on "), f"the portal did not start: {line!r}"
        url = f"http://{line.removeprefix('listening on ').strip()}"
        asyncio.run(_until_read(url, tokens[0]))
        numbers = asyncio.run(_ask(url, tokens, rate, seconds))
        numbers["memory_mib"] = sum(_memory_mib(pid) for pid in _family(process.pid))
        return numbers
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


async def _until_read(url: str, site: tuple[str, str]) -> None:
    """The first reading of a lake takes a while; until then answers are 503."""
    until_s = time.monotonic() + READY_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < until_s:
            headers = {"Authorization": f"Bearer {site[1]}"}
            path = f"{url}/api/site/{site[0]}/kpis/power"
            async with session.get(path, headers=headers) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.5)
    raise TimeoutError("the lake was not read in time")


async def _ask(
    url: str, tokens: list[tuple[str, str]], rate: float, seconds: float
) -> dict[str, Any]:
    took: list[float] = []
    failed = 0

    async def one(session: aiohttp.ClientSession, n: int, due_s: float) -> None:
        nonlocal failed
        key, token = tokens[n // len(PATHS) % len(tokens)]
        path = f"{url}/api/site/{key}{PATHS[n % len(PATHS)]}"
        try:
            async with session.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
                await answer.read()
                failed += answer.status != 200
        except (aiohttp.ClientError, TimeoutError):
            failed += 1
        took.append(time.perf_counter() - due_s)

    connector = aiohttp.TCPConnector(limit=200)
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began_s = time.perf_counter()
        tasks = set()
        for n in range(int(rate * seconds)):
            due_s = began_s + n / rate
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            task = asyncio.create_task(one(session, n, due_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        ended_s = time.perf_counter()
    at = [round(float(value) * 1_000, 1) for value in np.percentile(took, [50, 95, 99, 100])]
    return {
        "requests": len(took),
        "failed": failed,
        "per_s": round(len(took) / (ended_s - began_s), 1),
        "p50_ms": at[0],
        "p95_ms": at[1],
        "p99_ms": at[2],
        "max_ms": at[3],
    }


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def _memory_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    sys.exit(main())
