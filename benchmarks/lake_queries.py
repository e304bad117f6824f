"""Claim: the energy of each day of 1,000 inverters over 90 days is there within a second.

Builds a lake as compaction leaves it, one file per day, with the catalog people open; then asks it
the worked queries of docs/data.md (headings `### Query N: …`, each with an ```sql block), read from
there at each run. Cold is a new connection after the kernel was told to drop the files from its
cache; warm is the median of the rounds after that. Asking happens in a process of its own, so that
its memory is that of the queries.

Then one day alone, once compacted and once as 288 flushes leave it: what do small files cost?
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

import record
from autarco_ingest import catalog, lake, parquet_format, paths, schema
from autarco_ingest.table_store import LocalStore
from synthetic_fleet import FIRST_DAY, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIM = "daily_energy aggregated over all inverters and days takes at most 1 s on 2 cores"
CLAIM_S = 1.0
TIME_ZONE = "Europe/Amsterdam"
FLUSH_S = 300
THREADS = 2

EVERYTHING = "all of daily_energy"
"""The query of the claim; every column of the view is needed for it."""

OWN_QUERIES = {
    EVERYTHING: """
        SELECT count(*), sum(energy_kwh), count(*) FILTER (method = 'total'), sum(n_resets),
               max(ac_power_max), sum(readings), min(first_at), max(last_at)
        FROM daily_energy
    """,
    "daily_energy of one day": f"""
        SELECT inverter_sn, energy_kwh FROM daily_energy WHERE day = '{FIRST_DAY}'
    """,
    "fleet by day, from readings": """
        SELECT date, count(*), avg(ac_power) FROM readings GROUP BY date ORDER BY date
    """,
    "one inverter's day, all columns": f"""
        SELECT * FROM readings
        WHERE inverter_sn = (SELECT min(inverter_sn) FROM readings WHERE date = '{FIRST_DAY}')
          AND date = '{FIRST_DAY}' ORDER BY ts
    """,
}


def worked_queries(document: str) -> dict[str, str]:
    """Returns the worked queries of a Markdown document, by heading."""
    found = {}
    for part in re.split(r"^(?=##)", document, flags=re.MULTILINE):
        heading = re.match(r"### (Query \d+: [^\n]*)\n", part)
        block = re.search(r"^```sql\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
        if heading and block:
            found[heading[1].strip()] = block[1].strip().rstrip(";")
    return found


def main() -> int:
    """Builds, asks, compares, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = options.keep or Path(tempfile.mkdtemp(prefix="autarco-lake-", dir=options.directory))
    document = (record.REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    queries = OWN_QUERIES | worked_queries(document)
    _say(f"{len(queries)} queries, {len(queries) - len(OWN_QUERIES)} of them from docs/data.md")
    try:
        built = _build(root / "fleet", options)
        numbers = {
            "inverters": options.inverters,
            "days": options.days,
            "threads": THREADS,
            "built": built,
            "queries": _asked(root / "fleet", queries, options.rounds),
            "one_day": _one_day(root, queries, options),
        }
    finally:
        if not options.keep:
            shutil.rmtree(root)
    took_s = numbers["queries"]["asked"][EVERYTHING].get("warm_s")
    holds = took_s is not None and took_s <= CLAIM_S
    numbers = {"holds": holds} | numbers
    name = f"lake-queries-{options.inverters}-inverters-{options.days}-days"
    path = record.write(name, claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    sys.stdout.write(_markdown(numbers))
    return 0 if holds else 1


class Costs(msgspec.Struct):
    """What writing a lake cost, without making the data."""

    rows: int = 0
    bytes: int = 0
    files: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0


def _build(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Writes a lake of compacted days and its catalog; returns what that cost."""
    built_before = root / "built.json"
    if built_before.exists():
        _say(f"taking the lake in {root} as it is")
        found: dict[str, Any] = json.loads(built_before.read_text(encoding="utf-8"))
        return found
    data = _new_directory(root)
    table = DeltaTable(paths.table_directory(data.lake, "readings"))
    costs = Costs()
    newest = schema.empty(schema.READINGS)
    for number, (date, day) in enumerate(Fleet(options.inverters).days(options.days), 1):
        _add(table, number, date, [day], costs, compacted=True)
        newest = _newest(day)
        _say(f"{date}: {costs.rows:,} readings, {costs.bytes / costs.rows:.2f} bytes each")
    catalog_s = _catalog(data, newest)
    built = _summary(costs) | {"catalog_s": round(catalog_s, 3)}
    built_before.write_text(json.dumps(built), encoding="utf-8")
    return built


def _one_day(root: Path, queries: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Asks one day as one file and as a day's flushes."""
    (date, day), *_ = Fleet(options.inverters).days(1)
    found = {}
    for name, parts in {"compacted": [day], "flushed": list(_flushes(day))}.items():
        data = _new_directory(root / name)
        table = DeltaTable(paths.table_directory(data.lake, "readings"))
        costs = Costs()
        _add(table, 1, date, parts, costs, compacted=name == "compacted")
        _catalog(data, _newest(day))
        asked = _asked(root / name, queries, options.rounds)
        found[name] = {"built": _summary(costs)} | asked
        shutil.rmtree(root / name)
    return found


def _new_directory(root: Path) -> paths.DataDirectory:
    shutil.rmtree(root, ignore_errors=True)
    data = paths.DataDirectory.at(root)
    data.create()
    lake.Lake(LocalStore(data.lake), "benchmark")
    return data


def _add(
    table: DeltaTable,
    version: int,
    date: dt.date,
    parts: list[pa.Table],
    costs: Costs,
    *,
    compacted: bool,
) -> None:
    """Writes each part as a file of the date and commits all of them together."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    directory = Path(table.table_uri.removeprefix("file://"))
    actions = []
    for number, rows in enumerate(parts):
        name = paths.data_file(f"benchmark-{number}", version, str(date))
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet_format.write(rows, path, schema.READINGS, compacted=compacted)
        size = path.stat().st_size
        statistics_ = {
            "numRecords": rows.num_rows,
            "minValues": {"ts": lake.bound(pc.min(rows.column("ts")).as_py())},
            "maxValues": {"ts": lake.bound(pc.max(rows.column("ts")).as_py(), up=True)},
            "nullCount": {"ts": 0},
        }
        actions.append(
            AddAction(
                path=name,
                size=size,
                partition_values={"date": str(date)},
                modification_time=path.stat().st_mtime_ns // 1_000_000,
                data_change=True,
                stats=json.dumps(statistics_),
            )
        )
        costs.rows += rows.num_rows
        costs.bytes += size
        costs.files += 1
    table.create_write_transaction([*actions], "append", table.schema(), ["date"])
    table.update_incremental()
    costs.took_s += time.perf_counter() - wall_s
    costs.cpu_s += time.process_time() - cpu_s


def _flushes(day: pa.Table) -> Iterator[pa.Table]:
    """Cuts a day by the time of arrival, as flushes do; what came the day after is in the last."""
    midnight_us = int(dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC).timestamp() * 1e6)
    received_us = day.column("received_at").cast(pa.int64()).to_numpy()
    last = 86_400 // FLUSH_S - 1
    slot = np.clip((received_us - midnight_us) // (FLUSH_S * 1_000_000), 0, last)
    for number in range(last + 1):
        part = day.filter(pa.array(slot == number))
        if part.num_rows:
            yield part


def _newest(day: pa.Table) -> pa.Table:
    """Returns the newest reading of each inverter; the day is sorted by inverter and time."""
    serials = day.column("inverter_sn").to_numpy()
    return day.filter(pa.array([*(serials[1:] != serials[:-1]), True]))


def _catalog(data: paths.DataDirectory, newest: pa.Table) -> float:
    """Makes the catalog and returns the seconds that took."""
    pq.write_table(newest, data.latest, compression="zstd", store_schema=False)
    started = time.perf_counter()
    files = lake.Lake(LocalStore(data.lake), "benchmark").files("readings")
    moment = catalog.Moment(readings=files, sessions=[], quarantine=[], latest=data.latest)
    catalog.rebuild(data, moment, time_zone=TIME_ZONE)
    return time.perf_counter() - started


def _summary(costs: Costs) -> dict[str, Any]:
    return {
        "readings": costs.rows,
        "files": costs.files,
        "bytes": costs.bytes,
        "bytes_per_reading": round(costs.bytes / costs.rows, 2),
        "write_and_commit_s": round(costs.took_s, 2),
        "cpu_us_per_reading": round(costs.cpu_s / costs.rows * 1e6, 3),
    }


def _asked(root: Path, queries: dict[str, str], rounds: int) -> dict[str, Any]:
    """Asks in a new process; its memory is then that of the queries alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(ask, (root, queries, rounds))


def ask(root: Path, queries: dict[str, str], rounds: int) -> dict[str, Any]:
    """Returns what each query cost; one that fails is told, not fatal."""
    data = paths.DataDirectory.at(root)
    asked: dict[str, Any] = {}
    for name, sql in queries.items():
        _say(f"ask {root.name}: {name}")
        _forget_files(data)
        _forget_peak()
        try:
            asked[name] = _ask_once_cold_then_warm(data, sql, rounds)
        except duckdb.Error as error:
            asked[name] = {"error": str(error).splitlines()[0]}
        asked[name]["peak_rss_mib"] = _peak_bytes() >> 20
    return {
        "asked": asked,
        "peak_rss_mib": max(found["peak_rss_mib"] for found in asked.values()),
    }


def _ask_once_cold_then_warm(data: paths.DataDirectory, sql: str, rounds: int) -> dict[str, Any]:
    started = time.perf_counter()
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{data.catalog}' AS catalog (READ_ONLY)")
        connection.execute("USE catalog")
        rows = connection.sql(sql).to_arrow_table().num_rows
        cold_s = time.perf_counter() - started
        times, cpu = [], []
        for _ in range(rounds):
            started, cpu_s = time.perf_counter(), time.process_time()
            connection.sql(sql).to_arrow_table()
            times.append(time.perf_counter() - started)
            cpu.append(time.process_time() - cpu_s)
    return {
        "rows": rows,
        "cold_s": round(cold_s, 4),
        "warm_s": round(statistics.median(times), 4),
        "warm_s_all": [round(taken, 4) for taken in times],
        "warm_cpu_s": round(statistics.median(cpu), 4),
    }


def _forget_files(data: paths.DataDirectory) -> None:
    for path in data.root.rglob("*.parquet"):
        descriptor = os.open(path, os.O_RDONLY)
        # Pages that are not on disk yet would stay.
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _markdown(numbers: dict[str, Any]) -> str:
    """Returns rows of: cold, warm and CPU ms; the same day compacted and flushed; peak MiB."""
    lines = []
    for name, found in numbers["queries"]["asked"].items():
        day = [numbers["one_day"][kind]["asked"][name] for kind in ("compacted", "flushed")]
        cells = [
            *(_ms(found, key) for key in ("cold_s", "warm_s", "warm_cpu_s")),
            *(_ms(kind, key) for kind in day for key in ("warm_s", "warm_cpu_s")),
            f"{found['peak_rss_mib']}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _ms(found: dict[str, Any], key: str) -> str:
    return f"{found[key] * 1e3:,.0f}" if key in found else "fails"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inverters", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=5, help="of each query, after a cold one")
    parser.add_argument("--directory", type=Path, help="where the data goes meanwhile")
    parser.add_argument("--keep", type=Path, help="where the data stays, and is taken from again")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
