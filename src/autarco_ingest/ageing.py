"""What is left of readings when they get old?

Two ages, the later one with all of the earlier:

- **without addresses**: `source` is null; who asks years later whether a connection moved has the
  sessions of that time, or nothing.
- **quarter hours**: of each quarter of an hour, one row stays. It is the last sample of the
  quarter, and its powers, voltages and currents are the means of all of them. Counters, states and
  clocks stay as that sample had them, so what a day, month or year made stays the same.
  `time_source` says `quarter`. Rows that only repeat registers of a sleeping inverter count
  nothing where the quarter has others.

Pure: rows of a compacted day in, rows out. Which days are due is the business of
`maintenance_plan`, whose rows must not age that of `held`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import cast

import polars as pl
import pyarrow as pa

from autarco_ingest import schema

QUARTER = "quarter"
"""In `time_source`: the row stands for a quarter of an hour."""


class Age(IntEnum):
    """How far rows have aged; stands in the names of files."""

    WHOLE = 0
    WITHOUT_ADDRESSES = 1
    QUARTER_HOURS = 2


_ONE = ["inverter_sn", "logger_sn", "protocol", "sensor_type", "quarter"]
"""Rows that become one. Not over loggers: each can be forgotten without the other."""

_LAST_KNOWN = ("battery_soc_pct", "power_limit_pct")
"""States and settings although they are fractions: a mean of them is no state that ever was."""

_MEANS = [
    column.name
    for column in schema.READINGS.columns
    if column.type == pa.float32() and column.name not in _LAST_KNOWN
]
_COUNTERS = [column.name for column in schema.READINGS.columns if column.unit == "Wh"]


def aged(rows: pa.Table, age: Age) -> pa.Table:
    """Returns a compacted day's rows as they are at that age; applied again, it changes nothing."""
    if age == Age.WHOLE or not rows.num_rows:
        return rows
    frame = cast("pl.DataFrame", pl.from_arrow(rows)).with_columns(source=pl.lit(None, pl.String))
    if age >= Age.QUARTER_HOURS:
        frame = _quarter_hours(frame)
    return schema.conform(schema.READINGS, frame.to_arrow())


def _quarter_hours(frame: pl.DataFrame) -> pl.DataFrame:
    is_repeat = pl.col("repeat").fill_null(value=False)
    rows = (
        frame.lazy()
        .with_columns(quarter=pl.col("ts").dt.truncate("15m"))
        .filter(is_repeat.not_() | is_repeat.all().over(_ONE))
        .sort("inverter_sn", "ts", "received_at", maintain_order=True)
        .group_by(_ONE, maintain_order=True)
    )
    return (
        rows.agg(
            *(_kept(name) for name in frame.columns if name not in (*_ONE, "time_source")),
            time_source=pl.lit(QUARTER),
        )
        .select(frame.columns)
        .sort("inverter_sn", "ts", "received_at", maintain_order=True)
        .collect()
    )


def _kept(name: str) -> pl.Expr:
    """What of a column's samples of one quarter stays."""
    samples = pl.col(name)
    if name in _MEANS:
        return samples.cast(pl.Float64).mean().cast(pl.Float32)
    if name in _LAST_KNOWN:
        return samples.drop_nulls().last()
    if name in _COUNTERS:
        known = samples.drop_nulls()
        # Inverters say zero half asleep; of the lifetime counter that is no value.
        awake = known.filter(known > 0).last() if name == "energy_total_wh" else None
        return known.last() if awake is None else pl.coalesce(awake, known.last())
    if name == "fault_vendor":
        # A fault that came and went within the quarter was one all the same.
        known = samples.drop_nulls()
        return pl.coalesce(known.filter(known.str.contains("[1-9a-f]")).last(), known.last())
    if name == "historic":
        return samples.any()
    return samples.last()
