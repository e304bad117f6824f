"""Claim: every acknowledged record is in the table exactly once, and memory stays flat.

A fleet of 10,000 sticks sends 24 simulated hours as fast as `--rate` allows: a record every 300
simulated seconds with its own values, hellos every three hours, households offline for hours whose
records come newest first afterwards, records sent twice, connections that break between frames and
before an answer. The fleet writes down every record whose answer it got. When the server has
stopped, that list and the table are compared as multisets of whole rows, and by a checksum that
knows no order.

A real stick sends two heartbeats per record; here it is one, so that a day takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

import record
from processes import Fleet, Server, free_port

CLAIM = "every acknowledged record is in the table exactly once, and memory stays flat"
SAMPLE_S = 0.5
FLUSH_S = 15.0
"""A day in ten minutes has rows at thirty times the pace; a flush in five minutes becomes this."""
GROWTH_MAX = 1.10
"""The last tenth may lie this much over the highest tenth of the second half before it."""
WARM_S = 60.0
"""A run shorter than this says nothing about memory: the server is still filling what it keeps."""

COLUMNS = {
    "logger_sn": "logger_sn",
    "inverter_sn": "inverter_sn",
    "ts_unix_s": "epoch_us(ts) / 1000000",
    "record_no": "record_no",
    "energy_total_wh": "energy_total_wh",
    "energy_today_wh": "energy_today_wh",
    "ac_power_w": "ac_power",
    "dc_power_w": "dc_power",
    "ac_voltage_dv": "round(ac_voltage_l1 * 10)",
    "frequency_chz": "round(ac_frequency * 100)",
    "temperature_dc": "round(temp_inverter * 10)",
}
"""The columns of the fleet's list, and how a row of the table says the same."""


def main() -> int:
    """Runs a day, compares, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = Path(tempfile.mkdtemp(prefix="autarco-soak-", dir=options.directory))
    try:
        numbers = _soak(root, options)
    finally:
        shutil.rmtree(root)
    path = record.write(f"soak-{options.sticks}-sticks", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _soak(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    acknowledged = root / "acknowledged.csv"
    server = Server(root / "data", port=free_port(), flush_seconds=str(FLUSH_S), tail_seconds="5")
    try:
        before = server.anonymous_bytes()
        fleet = Fleet(
            *("--to", f"127.0.0.1:{server.port}", "--sticks", str(options.sticks)),
            *("--sources", str(-(-options.sticks // 1_000)), "--hours", str(options.hours)),
            *("--rate", str(options.rate), "--heartbeats-per-data", str(options.heartbeats)),
            *("--acknowledged", str(acknowledged), "--seconds", str(options.seconds_max)),
        )
        samples = _watch(fleet, server)
        report = fleet.report()
        cpu_s = server.cpu_s()
        exit_code = server.stop()
        (counters,) = server.logged("stopped")
        compared = _compare(root / "data", acknowledged)
        tenths = _tenths(samples)
        growth = tenths[-1]["median"] / max(tenth["median"] for tenth in tenths[5:9])
        is_flat = growth <= GROWTH_MAX if report["wall_s"] >= WARM_S else None
        frames = sum(report["answered"].values())
        expected = options.sticks * int(options.hours * 12)
        holds = (
            compared["missing"] == compared["surplus"] == compared["quarantined"] == 0
            and compared["checksum_acknowledged"] == compared["checksum_stored"]
            and compared["stored"] == compared["acknowledged"] == compared["in_catalog"]
            and report["records_acknowledged"] == compared["acknowledged"] == expected
            and is_flat is not False
            and exit_code == 0
        )
        return {
            "holds": holds,
            "sticks": options.sticks,
            "simulated_hours": options.hours,
            "heartbeats_per_record": options.heartbeats,
            "flush_s": FLUSH_S,
            "records_expected": expected,
            **compared,
            "frames": frames,
            "frames_per_s": round(frames / report["wall_s"]),
            "server_cpu_s": round(cpu_s, 1),
            "server_cpu_us_per_frame": round(cpu_s / frames * 1e6, 1),
            "memory_before": before,
            "memory_by_tenth": tenths,
            "memory_growth_at_end": round(growth, 3),
            "memory_is_flat": is_flat,
            "server_exit_code": exit_code,
            "server_problems": server.problems(),
            "server_counters": {
                name: value for name, value in counters.items() if isinstance(value, int) and value
            },
            "fleet": report,
        }
    finally:
        server.end()


def _watch(fleet: Fleet, server: Server) -> list[int]:
    """Samples the server's memory until the fleet is done."""
    samples = []
    while fleet.process.poll() is None:
        samples.append(server.anonymous_bytes())
        time.sleep(SAMPLE_S)
    return samples


def _tenths(samples: list[int]) -> list[dict[str, int]]:
    parts = [
        samples[len(samples) * n // 10 : max(len(samples) * (n + 1) // 10, 1)] for n in range(10)
    ]
    return [
        {"min": min(part), "median": round(statistics.median(part)), "max": max(part)}
        for part in (part or samples[-1:] for part in parts)
    ]


def _compare(data: Path, acknowledged: Path) -> dict[str, Any]:
    """Compares the fleet's list with the table, as multisets of whole rows."""
    table = DeltaTable(data / "lake" / "readings")
    files = table.file_uris()
    columns = ", ".join(f"CAST({sql} AS VARCHAR) AS {name}" for name, sql in _casts().items())
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE acknowledged AS SELECT * FROM read_csv(?, header = true, "
            "all_varchar = true)",
            [str(acknowledged)],
        )
        connection.execute(
            f"CREATE TABLE stored AS SELECT {columns} FROM read_parquet(?)",
            [files],
        )

        def one(sql: str) -> Any:
            row = connection.execute(sql).fetchone()
            assert row is not None
            return row[0]

        names = ", ".join(COLUMNS)
        total = f"CAST(sum(CAST(hash({names}) AS HUGEINT)) AS VARCHAR)"
        left_out = "SELECT count(*) FROM ((FROM {0}) EXCEPT ALL (FROM {1}))"
        key = "count(DISTINCT (logger_sn, record_no))"
        compared = {
            "acknowledged": one("SELECT count(*) FROM acknowledged"),
            "stored": one("SELECT count(*) FROM stored"),
            "stored_distinct": one(f"SELECT {key} FROM stored"),
            "missing": one(left_out.format("acknowledged", "stored")),
            "surplus": one(left_out.format("stored", "acknowledged")),
            "checksum_acknowledged": one(f"SELECT {total} FROM acknowledged"),
            "checksum_stored": one(f"SELECT {total} FROM stored"),
        }
        connection.execute(f"ATTACH '{data / 'catalog.duckdb'}' AS catalog (READ_ONLY)")
        compared["in_catalog"] = one("SELECT count(*) FROM catalog.readings")
        compared["quarantined"] = one("SELECT count(*) FROM catalog.quarantine")
        compared["sessions"] = one("SELECT count(*) FROM catalog.sessions")
    parquet_bytes = sum(path.stat().st_size for path in (data / "lake").rglob("*.parquet"))
    readings_bytes = sum(
        path.stat().st_size for path in (data / "lake" / "readings").rglob("part-*.parquet")
    )
    return {
        **compared,
        "table_files": len(files),
        "readings_bytes": readings_bytes,
        "readings_bytes_per_row": round(readings_bytes / max(compared["stored"], 1), 1),
        "lake_parquet_bytes": parquet_bytes,
        "journal_bytes": sum(path.stat().st_size for path in (data / "journal").iterdir()),
    }


def _casts() -> dict[str, str]:
    """Numbers as the fleet writes them: whole ones without a point, and anything else as it is."""
    whole = "CASE WHEN {0} = trunc({0}) THEN CAST(CAST({0} AS BIGINT) AS VARCHAR) "
    whole += "ELSE CAST({0} AS VARCHAR) END"
    return {
        name: sql if name == "inverter_sn" else whole.format(f"({sql})")
        for name, sql in COLUMNS.items()
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sticks", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=int, default=10_000, help="frames per second, 0: no limit")
    parser.add_argument("--heartbeats", type=int, default=1, help="per record; real sticks send 2")
    parser.add_argument("--seconds-max", type=int, default=1_800, help="the fleet gives up then")
    parser.add_argument("--directory", type=Path, help="where the server's data goes meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
