"""Claim: a reading takes at most a fifth of the disk that PostgreSQL and QuestDB need for it.

The same days of a made fleet go into each store: into ours as the server and its maintenance put
them there, hourly flushes that are compacted afterwards; into the peers in batches, in the same
order of arrival. PostgreSQL has its natural index, the primary key on inverter and time; QuestDB a
designated timestamp, partitions by day, symbols, and deduplication by inverter and time.

Then each answers the same questions, in rounds that alternate; a first one is not measured. Times
are those of a client that fetches the whole answer; DuckDB, which answers for ours, is part of that
client, while the peers answer over TCP. PostgreSQL is asked for the newest readings in the way its
index likes, by a recursive search for the next inverter. The answers must be the same, or the run
fails.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import peer
import record
import summary
from autarco_ingest import catalog, maintenance, paths, schema, settings
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from peer_postgres import Postgres
from peer_questdb import QuestDB
from synthetic_fleet import FIRST_DAY, Fleet, arrival_order

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM = "a reading takes at most a fifth of the disk that PostgreSQL and QuestDB need for it"
CLAIM_TIMES = 5
OURS = "autarco-ingest"
FLUSHES = 24
"""Per day."""
DAY = FIRST_DAY + dt.timedelta(days=1)
NEXT_DAY = DAY + dt.timedelta(days=1)
OF_DAY = f"ts >= '{DAY}T00:00:00Z' AND ts < '{NEXT_DAY}T00:00:00Z'"

Rows = list[tuple[Any, ...]]

QUESTIONS = {
    "energy of each inverter and day": {
        OURS: """
            SELECT inverter_sn, epoch(date)::BIGINT, max(energy_total_wh) - min(energy_total_wh)
            FROM readings GROUP BY ALL
        """,
        Postgres.name: """
            SELECT inverter_sn, extract(epoch FROM date_trunc('day', ts))::bigint,
                   max(energy_total_wh) - min(energy_total_wh)
            FROM readings GROUP BY 1, 2
        """,
        QuestDB.name: """
            SELECT inverter_sn, timestamp_floor('d', ts)::long / 1000000,
                   max(energy_total_wh) - min(energy_total_wh)
            FROM readings
        """,
    },
    "one inverter's day": {
        OURS: f"""
            SELECT epoch_us(ts), ac_power, dc_power, energy_today_wh FROM readings
            WHERE inverter_sn = '{{inverter}}' AND date = '{DAY}'
        """,
        Postgres.name: f"""
            SELECT (extract(epoch FROM ts) * 1000000)::bigint, ac_power, dc_power, energy_today_wh
            FROM readings WHERE inverter_sn = '{{inverter}}' AND {OF_DAY}
        """,
        QuestDB.name: f"""
            SELECT ts::long, ac_power, dc_power, energy_today_wh FROM readings
            WHERE inverter_sn = '{{inverter}}' AND {OF_DAY}
        """,
    },
    "power of the fleet in a day, each five minutes": {
        OURS: f"""
            SELECT epoch_us(ts) // 300000000, sum(ac_power::DOUBLE), count(*) FROM readings
            WHERE date = '{DAY}' GROUP BY 1
        """,
        Postgres.name: f"""
            SELECT (extract(epoch FROM date_bin('5 minutes', ts, 'epoch')) / 300)::bigint,
                   sum(ac_power::double precision), count(*)
            FROM readings WHERE {OF_DAY} GROUP BY 1
        """,
        QuestDB.name: f"""
            SELECT timestamp_floor('5m', ts)::long / 300000000, sum(ac_power::double), count()
            FROM readings WHERE {OF_DAY}
        """,
    },
    "newest reading of each inverter": {
        OURS: """
            SELECT inverter_sn, epoch_us(max(ts)), arg_max(energy_total_wh, ts)
            FROM readings GROUP BY inverter_sn
        """,
        Postgres.name: """
            WITH RECURSIVE inverters AS (
                (SELECT inverter_sn FROM readings ORDER BY inverter_sn LIMIT 1)
                UNION ALL
                SELECT (SELECT inverter_sn FROM readings
                        WHERE inverter_sn > before.inverter_sn ORDER BY inverter_sn LIMIT 1)
                FROM inverters AS before WHERE before.inverter_sn IS NOT NULL
            )
            SELECT inverter_sn, (extract(epoch FROM ts) * 1000000)::bigint, energy_total_wh
            FROM inverters CROSS JOIN LATERAL (
                SELECT ts, energy_total_wh FROM readings
                WHERE readings.inverter_sn = inverters.inverter_sn ORDER BY ts DESC LIMIT 1
            )
        """,
        QuestDB.name: """
            SELECT inverter_sn, ts::long, energy_total_wh FROM readings
            LATEST ON ts PARTITION BY inverter_sn
        """,
    },
    "readings of each day": {
        OURS: "SELECT epoch(date)::BIGINT, count(*) FROM readings GROUP BY 1",
        Postgres.name: """
            SELECT extract(epoch FROM date_trunc('day', ts))::bigint, count(*)
            FROM readings GROUP BY 1
        """,
        QuestDB.name: """
            SELECT timestamp_floor('d', ts)::long / 1000000, count() FROM readings
        """,
    },
}


def main() -> int:
    """Loads and asks each store, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    peer.end_gently()
    root = Path(tempfile.mkdtemp(prefix="autarco-store-", dir=options.directory))
    # PostgreSQL lives there as another user if this is root.
    root.chmod(0o711)
    days = [arrival_order(day) for _, day in Fleet(options.inverters).days(options.days)]
    rows = peer.stored_columns(pa.concat_tables(days))
    peers: list[peer.Peer] = []
    try:
        data, ours = _load_ours(root / "ours", days)
        stores = {OURS: ours}
        missing = {}
        for candidate in (Postgres(), QuestDB()):
            try:
                stores[candidate.name] = _load_peer(candidate, root, rows)
            except peer.NotHere as reason:
                missing[candidate.name] = str(reason)
                _say(f"*** {candidate.name} is NOT measured: {reason} ***")
            else:
                peers.append(candidate)
        asked = _ask(data, peers, str(rows.column("inverter_sn")[0]), options.rounds)
        for each in peers:
            each.stop()
            stores[each.name]["bytes_per_reading"] = round(each.bytes_on_disk() / len(rows), 1)
    finally:
        for each in peers:
            each.stop()
        shutil.rmtree(root)
    bytes_of_ours = stores[OURS]["bytes_per_reading"]
    numbers = {
        "holds": bool(peers)
        and all(
            stores[each.name]["bytes_per_reading"] >= CLAIM_TIMES * bytes_of_ours for each in peers
        ),
        "inverters": options.inverters,
        "days": options.days,
        "readings": rows.num_rows,
        "columns": rows.num_columns,
        "rounds": options.rounds,
        "not_measured": missing,
        "stores": stores,
        "questions": asked,
    }
    path = record.write("store-quick" if options.quick else "store",
                        claim=CLAIM, numbers=numbers, on=on)  # fmt: skip
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    sys.stdout.write("\n".join([*summary.store_table(numbers), ""]))
    return 0 if numbers["holds"] else 1


def _load_ours(root: Path, days: list[pa.Table]) -> tuple[paths.DataDirectory, dict[str, Any]]:
    """Commits the flushes of each day, compacts, and makes the catalog."""
    _say(f"load {OURS}")
    data = paths.DataDirectory.at(root)
    data.create()
    readings = sum(day.num_rows for day in days)
    took_s, cpu_s = time.perf_counter(), time.process_time()
    lake = Lake(LocalStore(data.lake), "benchmark")
    nothing = (schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    flushes = [rows for day in days for rows in peer.slices(day, -(-day.num_rows // FLUSHES))]
    for version, rows in enumerate(flushes, 1):
        lake.commit(version, rows, *nothing)
    flushed_s = time.perf_counter()
    now = dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC) + dt.timedelta(days=len(days) + 3)
    outcome = maintenance.run(settings.load(overrides={"data": str(root)}), now, every_day=True)
    took = {
        "load_s": round(flushed_s - took_s, 1),
        "settle_s": round(time.perf_counter() - flushed_s, 1),
        "server_cpu_us_per_reading": round((time.process_time() - cpu_s) / readings * 1e6, 2),
    }
    newest = days[-1].sort_by("ts").group_by("inverter_sn", use_threads=False)
    last = newest.aggregate(
        [(name, "last") for name in days[-1].column_names if name != "inverter_sn"]
    )
    latest = last.rename_columns([name.removesuffix("_last") for name in last.column_names])
    pq.write_table(schema.conform(schema.READINGS, latest), data.latest, compression="zstd")
    moment = catalog.Moment(
        readings=lake.files("readings"), sessions=[], quarantine=[], latest=data.latest
    )
    catalog.rebuild(data, moment, time_zone="UTC")
    if sum(day.rows_after for day in outcome.days) != readings:
        raise SystemExit(f"{OURS}: {readings} readings were committed, {outcome} are there")
    stored = sum(each.bytes_after for each in outcome.days)
    return data, took | {"bytes_per_reading": round(stored / readings, 1)}


def _load_peer(candidate: peer.Peer, root: Path, rows: pa.Table) -> dict[str, Any]:
    _say(f"load {candidate.name}")
    try:
        candidate.start(root)
        candidate.prepare(rows)
        candidate.empty()
        cpu_s = sum(candidate.cpu_parts_s().values())
        loaded = candidate.batches()
        loaded_s = time.perf_counter()
        if isinstance(candidate, Postgres):
            # Otherwise the first questions would do it.
            candidate.connection.execute("VACUUM ANALYZE readings")
        candidate.settle()
        settle_s = time.perf_counter() - loaded_s
        cpu_s = sum(candidate.cpu_parts_s().values()) - cpu_s
        if candidate.count() != rows.num_rows:
            raise SystemExit(f"{candidate.name} has {candidate.count()} of {rows.num_rows}")
    except BaseException:
        candidate.stop()
        raise
    return {
        "version": candidate.version,
        "load_s": round(loaded.took_s, 1),
        "settle_s": round(settle_s, 1),
        "server_cpu_us_per_reading": round(cpu_s / rows.num_rows * 1e6, 2),
    }


def _ask(
    data: paths.DataDirectory, peers: list[peer.Peer], inverter: str, rounds: int
) -> dict[str, Any]:
    """Asks every store each question once per round; returns times, and ratios within rounds."""
    took_ms: dict[str, dict[str, list[float]]] = {
        question: {name: [] for name in (OURS, *(each.name for each in peers))}
        for question in QUESTIONS
    }
    rows_of: dict[str, int] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{data.catalog}' AS catalog (READ_ONLY)")
        connection.execute("USE catalog")
        ask: dict[str, Callable[[str], Rows]] = {
            OURS: lambda sql: connection.execute(sql).fetchall()
        }
        for each in peers:
            assert isinstance(each, peer.SqlPeer)
            ask[each.name] = each.query
        for number in range(rounds + 1):
            for question, of_stores in QUESTIONS.items():
                answers: dict[str, Rows] = {}
                for name in ask if number % 2 == 0 else reversed(ask):
                    sql = of_stores[name].format(inverter=inverter)
                    started_s = time.perf_counter()
                    answers[name] = ask[name](sql)
                    if number:
                        took_ms[question][name].append((time.perf_counter() - started_s) * 1e3)
                rows_of[question] = _same(question, answers)
    return {
        question: {
            "rows": rows_of[question],
            "warm_ms": {name: round(statistics.median(of), 2) for name, of in times.items()},
            "warm_ms_all": {name: [round(ms, 2) for ms in of] for name, of in times.items()},
            "time_of_peer_per_time_of_ours": {
                name: round(
                    statistics.median(
                        theirs / ours for theirs, ours in zip(of, times[OURS], strict=True)
                    ),
                    2,
                )
                for name, of in times.items()
                if name != OURS
            },
        }
        for question, times in took_ms.items()
    }


def _same(question: str, answers: dict[str, Rows]) -> int:
    """Fails unless all stores gave the same rows, in any order; returns how many."""
    ours = sorted(answers[OURS])
    for name, answer in answers.items():
        theirs = sorted(answer)
        if len(ours) != len(theirs):
            raise SystemExit(f"{question}: {len(ours)} rows, {name} has {len(theirs)}")
        for one, other in zip(ours, theirs, strict=True):
            if not all(map(_equal, one, other)):
                raise SystemExit(f"{question}: {one}, {name} has {other}")
    if not ours:
        raise SystemExit(f"{question}: no answer")
    return len(ours)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inverters", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9, help="of the questions, after a first one")
    parser.add_argument("--quick", action="store_true", help="few inverters, to see it work")
    parser.add_argument("--directory", type=Path, help="where the data goes meanwhile")
    options = parser.parse_args()
    if options.quick:
        options.inverters, options.rounds = 50, 1
    return options


if __name__ == "__main__":
    raise SystemExit(main())
