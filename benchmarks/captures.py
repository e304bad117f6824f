"""Which readings do the captured frames give, and what would a fleet of such sticks have sent?

The captures lie beside the checkout (`../shared/data/frames`) or nowhere. Each data frame goes
through the server's own decoder, received at the recorded time; frames that repeat an earlier
payload are dropped as the server drops them. `source` is what the server keeps of an address with
the usual setting.

`as_fleet` makes many inverters of the one session, without a gift to the compressor: each copy has
serial numbers, clock, network address and counters of its own; each measurement is scaled by a
factor of the copy and gets noise of its own, as large as the steps between neighbouring samples of
the capture. Rows that repeat a measurement repeat it in the copy too.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from autarco_ingest import _core, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES = Path(__file__).resolve().parents[2] / "shared" / "data" / "frames"
SOURCE = "198.51.100.0"

QUANTA = {
    "ac_power": 10.0,
    "ac_apparent_power": 10.0,
    "dc_power": 1.0,
    "ac_frequency": 0.01,
}
"""Steps of the registers of sensor 0x0507; every other measure counts in tenths."""


def session() -> pa.Table:
    """Returns the readings of the long session, in order of arrival: one inverter."""
    return _readings(FRAMES / "solis-session.jsonl", time_zone="Europe/London")


def chosen() -> pa.Table:
    """Returns the readings of the valid frames among those chosen from eleven sources."""
    return _readings(FRAMES / "frames.jsonl", time_zone="Europe/Amsterdam")


def mark_repeats(rows: pa.Table) -> pa.Table:
    """Fills `repeat` as compaction does: the measurement, by its values and clock, came before."""
    seen = set()
    repeat = []
    names = [name for name in rows.column_names if name not in _NOT_MEASURED]
    for values in zip(*(rows.column(name).to_pylist() for name in names), strict=True):
        repeat.append(values in seen)
        seen.add(values)
    index = rows.column_names.index("repeat")
    return rows.set_column(index, "repeat", pa.array(repeat, pa.bool_()))


def as_fleet(rows: pa.Table, inverters: int, *, seed: int = 1) -> pa.Table:
    """Returns the rows of one inverter as those of many, ordered by arrival within each."""
    dice = np.random.default_rng(seed)
    measurement = _measurement_numbers(rows)
    steps = {
        name: _step(rows.column(name).to_numpy(zero_copy_only=False)) for name in _measures(rows)
    }
    return pa.concat_tables(
        _copy(rows, number, measurement, steps, dice) for number in range(inverters)
    )


_NOT_MEASURED = frozenset(
    {
        *("ts", "received_at", "time_source", "logger_sn", "protocol", "historic", "record_no"),
        *("uptime_s", "repeat", "source", "date"),
    }
)


def _readings(path: Path, *, time_zone: str) -> pa.Table:
    seen: set[tuple[int, bytes]] = set()
    rows = []
    for frame, at in _frames(path):
        received_at_us = round(at.timestamp() * 1e6)
        for text in _core.decode(frame, received_at_us=received_at_us, time_zone=time_zone):
            reading = json.loads(text)
            # The frame type in front of the payload differs between a record and its replay.
            key = (reading.get("logger_sn", 0), frame[12:-2])
            if reading["kind"] == "data" and "ts" in reading and key not in seen:
                seen.add(key)
                rows.append(_row(reading, at))
    fields = [(column.name, column.type) for column in schema.READINGS.columns]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    return mark_repeats(schema.conform(schema.READINGS, table))


def _frames(path: Path) -> Iterator[tuple[bytes, dt.datetime]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        piece = json.loads(line)
        if piece["direction"] != "stick->server" or not piece.get("valid", True):
            continue
        at = dt.datetime.fromisoformat(piece.get("at", "2021-03-12T16:00:00"))
        yield bytes.fromhex(piece["hex"]), at.replace(tzinfo=dt.UTC)


def _row(reading: dict[str, Any], at: dt.datetime) -> dict[str, Any]:
    names = [column.name for column in schema.READINGS.columns]
    row = {name: reading.get(name) for name in names}
    for name in ("ts", "inverter_clock"):
        if row[name] is not None:
            row[name] = dt.datetime.fromisoformat(reading[name])
    return row | {"received_at": at, "source": SOURCE, "date": None}


def _measures(rows: pa.Table) -> list[str]:
    return [
        field.name
        for field in rows.schema
        if field.type == pa.float32() and rows.column(field.name).null_count == 0
    ]


def _measurement_numbers(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers the distinct measurements, so that rows which repeat one can share its noise."""
    numbers: dict[Any, int] = {}
    names = [name for name in rows.column_names if name not in _NOT_MEASURED]
    return np.array(
        [
            numbers.setdefault(values, len(numbers))
            for values in zip(*(rows.column(name).to_pylist() for name in names), strict=True)
        ]
    )


def _step(values: np.ndarray[Any, Any]) -> float:
    """Returns the usual size of a step between neighbours: 1.4826 times the median of the moves."""
    moves = np.abs(np.diff(values))
    moves = moves[moves > 0]
    return float(1.4826 * np.median(moves)) if len(moves) else 0.0


def _copy(
    rows: pa.Table,
    number: int,
    measurement: np.ndarray[Any, np.dtype[np.int64]],
    steps: dict[str, float],
    dice: np.random.Generator,
) -> pa.Table:
    shift_us = int(dice.integers(-3_600, 3_600)) * 1_000_000
    scale = dice.uniform(0.6, 1.4)
    energy_wh = int(dice.integers(0, 40_000)) * 1_000
    replaced: dict[str, Any] = {
        "inverter_sn": pa.repeat(f"143E{dice.integers(10**10, 10**11):011d}", rows.num_rows),
        "logger_sn": pa.repeat(int(dice.integers(1_700_000_000, 2_100_000_000)), rows.num_rows),
        "source": pa.repeat(f"198.{dice.integers(18, 20)}.{number % 256}.0", rows.num_rows),
        "ts": _moved(rows, "ts", shift_us),
        "inverter_clock": _moved(rows, "inverter_clock", shift_us),
        # Fractions of a second are noise of the network: each copy has its own.
        "received_at": _moved(rows, "received_at", shift_us + dice.integers(0, 10**6, len(rows))),
        "uptime_s": _plus(rows, "uptime_s", int(dice.integers(0, 20))),
        "record_no": _plus(rows, "record_no", int(dice.integers(0, 400))),
        "energy_total_wh": _plus(rows, "energy_total_wh", energy_wh),
        "energy_year_wh": _plus(rows, "energy_year_wh", energy_wh // 10_000 * 1_000),
        "energy_today_wh": _plus(rows, "energy_today_wh", int(dice.integers(0, 80)) * 100),
    }
    for name, step in steps.items():
        if step == 0:
            continue
        values = rows.column(name).to_numpy()
        factor = 1.0 if name in ("ac_frequency", "power_factor") else scale
        factor = 0.97 + scale * 0.03 if "voltage_l" in name else factor
        noise = dice.normal(0, step, measurement.max() + 1)[measurement]
        quantum = QUANTA.get(name, 0.1)
        moved = np.where(values == 0, 0, values * factor + noise)
        steps_of_register = np.round(moved / quantum)
        replaced[name] = pa.array((steps_of_register * quantum).astype(np.float32))
    return pa.table(
        [replaced.get(name, rows.column(name)) for name in rows.column_names],
        schema=rows.schema,
    )


def _moved(rows: pa.Table, name: str, by_us: Any) -> pa.Array[Any]:
    column = rows.column(name).combine_chunks()
    moved: pa.Array[Any] = pa.array(column.cast(pa.int64()).to_numpy() + by_us).cast(column.type)
    return moved


def _plus(rows: pa.Table, name: str, by: int) -> pa.Array[Any]:
    sums: pa.Array[Any] = pa.array(rows.column(name).to_numpy() + by)
    return sums
