"""Claim: compacting a fleet's day takes seconds and bounded memory.

A day of a made fleet is committed as a server does it, in batches of five minutes by the time of
arrival, then compacted by a process of its own. Told are bytes and CPU per reading of both, and the
memory of the process.
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

import record
from autarco_ingest import maintenance, paths, schema, settings
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from synthetic_fleet import FIRST_DAY, Fleet

if TYPE_CHECKING:
    from autarco_ingest.settings import Settings

CLAIM = "compacting a day takes seconds: 10 µs CPU per reading and 2 GiB at most"
FLUSH_US = 300_000_000


def main() -> int:
    """Measures each fleet in a directory of its own."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--inverters", type=int, nargs="+", default=[1_000, 10_000], metavar="N")
    options = parser.parse_args()
    on = record.machine()
    numbers = {}
    for inverters in options.inverters:
        root = Path(tempfile.mkdtemp(prefix="lake-compaction-"))
        try:
            numbers[f"{inverters} inverters"] = _measure(root, inverters)
        finally:
            shutil.rmtree(root)
    path = record.write("lake-compaction", claim=CLAIM, numbers=numbers, on=on)
    print(f"written to {path.relative_to(record.REPOSITORY)}")
    return 0


def _measure(root: Path, inverters: int) -> dict[str, Any]:
    chosen = settings.load(overrides={"data": str(root)})
    data = paths.DataDirectory.at(root)
    data.create()
    ((_, day),) = Fleet(inverters).days(1)
    cpu_s, took_s = time.process_time(), time.perf_counter()
    batches = _flush(Lake(LocalStore(data.lake), "benchmark"), day)
    flushed = {
        "batches": batches,
        "bytes_per_reading": round(_stored_bytes(data) / day.num_rows, 1),
        "cpu_us_per_reading": round((time.process_time() - cpu_s) / day.num_rows * 1e6, 2),
        "took_s": round(time.perf_counter() - took_s, 1),
    }
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        compacted = pool.apply(_compact, (chosen, day.num_rows))
    print(f"{inverters} inverters, {day.num_rows} readings: flushed {flushed}, {compacted}")
    return {"readings": day.num_rows, "flushed": flushed, "compacted": compacted}


def _flush(lake: Lake, day: pa.Table) -> int:
    """Commits the day in batches of five minutes of arrival; returns how many."""
    arrived = day.take(pc.sort_indices(day, sort_keys=[("received_at", "ascending")]))
    batch_of = pc.divide(arrived.column("received_at").cast(pa.int64()), FLUSH_US).to_pylist()
    start = version = 0
    nothing = (schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    for at in range(1, len(batch_of) + 1):
        if at == len(batch_of) or batch_of[at] != batch_of[start]:
            version += 1
            lake.commit(version, arrived.slice(start, at - start), *nothing)
            start = at
    return version


def _compact(chosen: Settings, readings: int) -> dict[str, Any]:
    """Runs in a process of its own, whose memory is that of compaction alone."""
    idle_mib = _memory_mib()
    cpu_s, took_s = time.process_time(), time.perf_counter()
    now = dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC) + dt.timedelta(days=3)
    outcome = maintenance.run(chosen, now, every_day=True)
    cpu_s, took_s = time.process_time() - cpu_s, time.perf_counter() - took_s
    rows = sum(day.rows_after for day in outcome.days)
    if rows > readings or not outcome.days:
        raise AssertionError(f"{readings} readings became {rows}")
    return {
        "files": sum(day.files_after for day in outcome.days),
        "resends_removed": readings - rows,
        "bytes_per_reading": round(sum(day.bytes_after for day in outcome.days) / rows, 1),
        "cpu_us_per_reading": round(cpu_s / readings * 1e6, 2),
        "took_s": round(took_s, 1),
        "memory_mib_max": _memory_mib(),
        "memory_mib_idle": idle_mib,
    }


def _memory_mib() -> int:
    """Returns the most memory that this process has had; rusage would count its parent's too."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("the kernel does not tell VmHWM")


def _stored_bytes(data: paths.DataDirectory) -> int:
    return sum(path.stat().st_size for path in (data.lake / "readings").glob("date=*/*.parquet"))


if __name__ == "__main__":
    sys.exit(main())
