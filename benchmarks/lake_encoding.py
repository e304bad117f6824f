"""Claim: a compacted day of captured readings takes at most 30 bytes per reading.

Writes the same days with many Parquet settings and tells what a reading costs to keep, to write
and to ask. CPU of writing is the median over days, all settings taking turns on each day; times of
queries are medians over rounds in which all settings take turns, with DuckDB on two threads. The
table has the CPU time of queries: what else the machine does changes it less than elapsed time.

Two sources: a made fleet (`synthetic_fleet`), and what the captured frames give (`captures`), where
they lie beside the checkout. The captures are one afternoon of one inverter: too few rows for what
a file costs by itself, so they are also measured as a fleet of copies that differ.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import captures
import record
from autarco_ingest import parquet_format, schema
from synthetic_fleet import Fleet, arrival_order

CLAIM = "a compacted day of captured readings takes at most 30 bytes per reading"
CLAIM_BYTES = 30.0
CLAIM_VARIANT = "**chosen**"

QUERIES = {
    "fleet_daily_energy": """
        SELECT inverter_sn, timezone('Europe/Amsterdam', ts)::DATE AS day,
               max(energy_today_wh), max(energy_total_wh) - min(energy_total_wh)
        FROM {files} GROUP BY ALL
    """,
    "one_inverter_day": "SELECT * FROM {day} WHERE inverter_sn = '{inverter}' ORDER BY ts",
    "fleet_mean_power": """
        SELECT time_bucket(INTERVAL 5 MINUTE, ts) AS at, avg(ac_power)
        FROM {files} GROUP BY ALL ORDER BY ALL
    """,
}

COLUMNS = [column.name for column in schema.READINGS.columns if column.name != "date"]
FLOATS = [c.name for c in schema.READINGS.columns if c.type == pa.float32()]


MANY_ROWS = 1 << 30

Options: TypeAlias = Callable[[int], dict[str, Any]]
"""Arguments of `pq.write_table` for a file of so many rows."""


def before(**other: Any) -> Options:
    """Returns the settings before this study: a dictionary for everything, all statistics."""
    plan = {
        "compression": "zstd",
        "compression_level": 1,
        "row_group_size": 122_880,
        "store_schema": False,
        "write_page_checksum": True,
    }
    return lambda rows: plan | other


def chosen(*, rows_at_least: int = 0, **other: Any) -> Options:
    """Returns the settings of `parquet_format`, but for `other`."""

    def of(rows: int) -> dict[str, Any]:
        counted = max(rows, rows_at_least)
        return parquet_format.options(schema.READINGS, counted, compacted=True) | other

    return of


def split(*names: str) -> Options:
    """Returns the chosen settings with BYTE_STREAM_SPLIT for some columns."""

    def of(rows: int) -> dict[str, Any]:
        plan = chosen()(rows)
        if plan["use_dictionary"]:
            plan["use_dictionary"] = [c for c in plan["use_dictionary"] if c not in names]
        encodings = dict.fromkeys(names, "BYTE_STREAM_SPLIT")
        return plan | {"column_encoding": plan["column_encoding"] | encodings}

    return of


@dataclass(frozen=True)
class Variant:
    """One way to write a file."""

    options: Options
    order: tuple[str, ...] = schema.READINGS.sort_columns
    whole_ms: bool = False


def _large_groups(rows: int) -> Options:
    return chosen(row_group_size=rows, max_rows_per_page=rows, data_page_size=16 * rows)


VARIANTS = {
    "before: dictionaries, zstd-1, all statistics": Variant(before()),
    "before, in order of arrival": Variant(before(), order=("received_at",)),
    "before, zstd-6": Variant(before(compression_level=6)),
    "dictionaries, snappy (pyarrow's own)": Variant(
        before(compression="snappy", compression_level=None, row_group_size=1 << 20)
    ),
    "no dictionaries, zstd-6": Variant(before(compression_level=6, use_dictionary=False)),
    "floats split into bytes, zstd-6": Variant(
        before(
            compression_level=6,
            use_dictionary=[name for name in COLUMNS if name not in FLOATS],
            column_encoding=dict.fromkeys(FLOATS, "BYTE_STREAM_SPLIT"),
        )
    ),
    "**chosen**": Variant(chosen()),
    "chosen, dictionaries also for few rows": Variant(chosen(rows_at_least=MANY_ROWS)),
    "chosen, not compressed": Variant(chosen(compression="none", compression_level=None)),
    "chosen, lz4": Variant(chosen(compression="lz4", compression_level=None)),
    "chosen, snappy": Variant(chosen(compression="snappy", compression_level=None)),
    "chosen, zstd-1": Variant(chosen(compression_level=1)),
    "chosen, zstd-3": Variant(chosen(compression_level=3)),
    "chosen, zstd-9": Variant(chosen(compression_level=9)),
    "chosen, groups of 32,768 rows": Variant(chosen(row_group_size=32_768)),
    "chosen, groups of 245,760 rows": Variant(_large_groups(245_760)),
    "chosen, groups of 1,048,576 rows": Variant(_large_groups(1 << 20)),
    "chosen, pages of 20,000 rows": Variant(chosen(max_rows_per_page=20_000)),
    "chosen, pages of 4,096 rows": Variant(chosen(max_rows_per_page=4_096)),
    "chosen, data pages V2": Variant(chosen(data_page_version="2.0")),
    "chosen, all statistics": Variant(chosen(write_statistics=True)),
    "chosen, `received_at` split": Variant(split("received_at")),
    "chosen, `received_at` and powers split": Variant(split("received_at", "ac_power", "dc_power")),
    "chosen, `received_at` in whole ms": Variant(chosen(), whole_ms=True),
    "chosen, sorted by time": Variant(chosen(), order=("ts", "inverter_sn")),
    "chosen, in order of arrival": Variant(chosen(), order=("received_at",)),
}


@dataclass
class Costs:
    """What one variant has cost so far."""

    directory: Path
    bytes: int = 0
    cpu_us: list[float] = field(default_factory=list)


def main() -> int:
    """Measures all variants, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = Path(tempfile.mkdtemp(prefix="autarco-encoding-", dir=options.directory))
    try:
        made = _made_fleet(root / "fleet", options)
        flushed = _flushed(options)
        captured = _captured(options) if captures.FRAMES.is_dir() else None
        read_by = _readers(root)
    finally:
        shutil.rmtree(root)
    claimed = captured["session"][CLAIM_VARIANT] if captured else None
    numbers = {
        "holds": claimed is not None and claimed <= CLAIM_BYTES,
        "inverters": options.inverters,
        "days": options.days,
        "made_fleet": made,
        "flushed_files_of_one_slot": flushed,
        "captured_bytes_per_reading": captured or f"not measured: {captures.FRAMES} is missing",
        "read_by": read_by,
    }
    path = record.write("lake-encoding", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    sys.stdout.write(_markdown(numbers))
    return 0 if numbers["holds"] else 1


def _made_fleet(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    costs = {name: Costs(root / str(number)) for number, name in enumerate(VARIANTS)}
    rows = 0
    inverter = ""
    for cost in costs.values():
        cost.directory.mkdir(parents=True)
    for date, day in Fleet(options.inverters).days(options.days):
        _say(f"write {date}")
        rows += day.num_rows
        inverter = day.column("inverter_sn")[day.num_rows // 2].as_py()
        ordered = {v.order: _ordered(day, v.order) for v in VARIANTS.values()}
        for name, variant in VARIANTS.items():
            table = _whole_ms(ordered[variant.order]) if variant.whole_ms else None
            path = costs[name].directory / f"{date}.parquet"
            started = time.process_time()
            pq.write_table(table or ordered[variant.order], path, **variant.options(day.num_rows))
            costs[name].cpu_us.append((time.process_time() - started) / day.num_rows * 1e6)
            costs[name].bytes += path.stat().st_size
    return {
        "readings": rows,
        "variants": {
            name: {
                "bytes_per_reading": round(costs[name].bytes / rows, 2),
                "write_cpu_us_per_reading": round(statistics.median(costs[name].cpu_us), 3),
                **asked,
            }
            for name, asked in _ask(costs, inverter, options.rounds).items()
        },
    }


def _ask(costs: dict[str, Costs], inverter: str, rounds: int) -> dict[str, dict[str, float]]:
    """Returns by variant the median times of the queries in milliseconds: elapsed, and CPU."""
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in costs}
    with duckdb.connect(config={"threads": 2}) as connection:
        # The first round only fills the page cache.
        for number in range(rounds + 1):
            _say(f"ask, round {number} of {rounds}")
            for name, cost in costs.items():
                days = sorted(cost.directory.glob("*.parquet"))
                for query, sql in QUERIES.items():
                    text = sql.format(
                        files=f"read_parquet('{cost.directory}/*.parquet')",
                        day=f"read_parquet('{days[len(days) // 2]}')",
                        inverter=inverter,
                    )
                    started, cpu_s = time.perf_counter(), time.process_time()
                    connection.sql(text).to_arrow_table()
                    ended, cpu_s = time.perf_counter(), time.process_time() - cpu_s
                    if number:
                        taken[name].setdefault(f"{query}_ms", []).append((ended - started) * 1e3)
                        taken[name].setdefault(f"{query}_cpu_ms", []).append(cpu_s * 1e3)
    return {
        name: {kind: round(statistics.median(ms), 1) for kind, ms in asked.items()}
        for name, asked in taken.items()
    }


def _flushed(options: argparse.Namespace) -> dict[str, Any]:
    """Measures files as a flush leaves them: one sample of each inverter."""
    (_, day), *_ = Fleet(options.inverters).days(1)
    arrived = arrival_order(day)
    size = options.inverters
    cuts = [
        _ordered(arrived.slice(at, size), schema.READINGS.sort_columns)
        for at in range(0, day.num_rows - size, day.num_rows // 40)
    ]
    plan = parquet_format.options(schema.READINGS, size, compacted=False)
    kinds = {
        "before": before()(size),
        "chosen": plan,
        "chosen, zstd-1": plan | {"compression_level": 1},
        "chosen, zstd-6": plan | {"compression_level": 6},
        "chosen, snappy": plan | {"compression": "snappy", "compression_level": None},
        "chosen, all statistics": plan | {"write_statistics": True},
        "chosen, with dictionaries": plan
        | {"use_dictionary": chosen()(MANY_ROWS)["use_dictionary"]},
    }
    cpu_us: dict[str, list[float]] = {name: [] for name in kinds}
    sizes = dict.fromkeys(kinds, 0)
    for cut in cuts * 3:
        for name, kind in kinds.items():
            started = time.process_time()
            sizes[name] += _size(cut, kind)
            cpu_us[name].append((time.process_time() - started) / cut.num_rows * 1e6)
    return {
        "readings_per_file": size,
        "variants": {
            name: {
                "bytes_per_reading": round(sizes[name] / (3 * sum(map(len, cuts))), 2),
                "write_cpu_us_per_reading": round(statistics.median(cpu_us[name]), 3),
            }
            for name in kinds
        },
    }


def _captured(options: argparse.Namespace) -> dict[str, Any]:
    session = captures.session()
    copies = captures.as_fleet(session, options.copies)
    fresh = session.filter(pc.invert(session.column("repeat")))
    dates = session.column("date")
    last = pc.equal(dates, pc.max(dates))
    tables = {
        "session": session.filter(last),
        "session_without_repeats": fresh.filter(pc.equal(fresh.column("date"), pc.max(dates))),
        "session_both_dates": session,
        "chosen_frames": captures.chosen(),
        "session_as_fleet": copies,
        "session_as_fleet_without_repeats": copies.filter(pc.invert(copies.column("repeat"))),
    }
    return {"readings": {name: table.num_rows for name, table in tables.items()}} | {
        name: {
            variant: round(_per_date(table, kind) / table.num_rows, 2)
            for variant, kind in VARIANTS.items()
        }
        for name, table in tables.items()
    }


def _per_date(table: pa.Table, variant: Variant) -> int:
    """Returns the bytes of one file per UTC date."""
    given = _whole_ms(table) if variant.whole_ms else table
    total = 0
    for date in pc.unique(table.column("date")):
        rows = _ordered(given.filter(pc.equal(given.column("date"), date)), variant.order)
        total += _size(rows, variant.options(rows.num_rows))
    return total


def _size(table: pa.Table, kind: dict[str, Any]) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **kind)
    return sink.getvalue().size


def _readers(root: Path) -> dict[str, Any]:
    """Tells which engines read the chosen file, and to the same values."""
    import deltalake
    import polars

    (_, day), *_ = Fleet(50).days(1)
    rows = _ordered(day, schema.READINGS.sort_columns)
    path = root / "read" / "date=2026-06-01" / "day.parquet"
    path.parent.mkdir(parents=True)
    parquet_format.write(rows, path, schema.READINGS, compacted=True)
    wanted = rows.to_pylist()
    delta = root / "delta"
    table = deltalake.DeltaTable.create(delta, schema.arrow_schema(schema.READINGS))
    shutil.copy(path, delta / "day.parquet")
    action = deltalake.transaction.AddAction("day.parquet", path.stat().st_size, {}, 0, True, "{}")
    table.create_write_transaction([action], "append", table.schema())
    query = deltalake.QueryBuilder().register("readings", deltalake.DeltaTable(delta))
    found = {
        f"pyarrow {pa.__version__}": pq.read_table(path.parent, page_checksum_verification=True),
        f"duckdb {duckdb.__version__}": duckdb.read_parquet(str(path)).to_arrow_table(),
        f"polars {polars.__version__}": polars.read_parquet(path, hive_partitioning=False),
        f"deltalake {deltalake.__version__}": query.execute(
            f"SELECT {', '.join(COLUMNS)} FROM readings"
        ),
    }
    return {name: _equal(pa.table(given), wanted) for name, given in found.items()}


def _equal(given: pa.Table, wanted: list[dict[str, Any]]) -> bool:
    rows = given.select(COLUMNS).to_pylist()
    rows.sort(key=lambda row: (row["inverter_sn"], row["ts"]))
    return rows == [{name: row[name] for name in COLUMNS} for row in wanted]


def _ordered(table: pa.Table, order: tuple[str, ...]) -> pa.Table:
    keys: list[tuple[str, Literal["ascending"]]] = [(name, "ascending") for name in order]
    rows = table.take(pc.sort_indices(table, sort_keys=keys))
    return rows.drop_columns(["date"]).combine_chunks()


def _whole_ms(table: pa.Table) -> pa.Table:
    rounded = pc.floor_temporal(table.column("received_at"), unit="millisecond")
    index = table.column_names.index("received_at")
    return table.set_column(index, "received_at", rounded)


def _markdown(numbers: dict[str, Any]) -> str:
    fleet = numbers["made_fleet"]["variants"]
    captured = numbers["captured_bytes_per_reading"]
    lines = []
    for name, found in fleet.items():
        sizes = [found["bytes_per_reading"]]
        if isinstance(captured, dict):
            sizes += [captured[kind][name] for kind in _SHOWN]
        cells = [
            *(f"{size:.1f}" for size in sizes),
            f"{found['write_cpu_us_per_reading']:.2f}",
            *(f"{found[f'{query}_cpu_ms']:.0f}" for query in QUERIES),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(lines)


_SHOWN = ("session", "session_as_fleet", "session_as_fleet_without_repeats")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inverters", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=9, help="of the queries")
    parser.add_argument("--copies", type=int, default=300, help="of the captured session")
    parser.add_argument("--directory", type=Path, help="where the files go meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
