"""Which rows does a compacted day hold, and in which order?

Sticks send a sample again when its answer got lost, at times after hours, and they send cached
registers over and over while the inverter sleeps. Compaction removes the first kind and marks the
second:

- A **resend** equals an earlier row in everything but when, from where and how it came again
  (`received_at`, `source`, `historic`). It is one sample, so the earliest received stays.
- A **repeat** is a sample of its own whose measurement is an earlier one's: same inverter, same
  inverter clock, same values. It stays, with `repeat` set.

Pure: rows in, rows out. Reading and writing them is the business of `maintenance`, when it is due
of `maintenance_plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import polars as pl

from autarco_ingest import schema

if TYPE_CHECKING:
    import pyarrow as pa

_DELIVERY = ("received_at", "source", "historic", "repeat", "date")
"""What may differ between a sample and its resend; `repeat` and `date` follow from the rest."""

_STICK = ("ts", "time_source", "logger_sn", "protocol", "sensor_type", "record_no", "uptime_s")
"""What the stick says of the sample; the rest is what the inverter measured."""

_SAMPLE = [c.name for c in schema.READINGS.columns if c.name not in _DELIVERY]
_MEASUREMENT = [name for name in _SAMPLE if name not in _STICK]
_ORDER = ["inverter_sn", "ts", "received_at", "uptime_s", "record_no", "logger_sn"]

_CLOCK = ["inverter_sn", "inverter_clock"]


def compact_readings(rows: pa.Table, before: pa.Table) -> pa.Table:
    """Returns the rows of whole inverters on one day as compaction leaves them.

    They come sorted by (inverter_sn, ts), without resends and with `repeat` set to true or false.
    `before` holds the newest row of each inverter before that day: sticks repeat a measurement over
    midnight. Rows without an inverter clock never count as repeats. Applied to its own result, it
    changes nothing.
    """
    today = _without_resends(_frame(rows).sort(_ORDER, nulls_last=True, maintain_order=True))
    known = _frame(before).sort(_ORDER, nulls_last=True)
    both = pl.concat([known, today], rechunk=False)
    marked = both.with_columns(_repeats(both).alias("repeat")).slice(known.height)
    return schema.conform(schema.READINGS, marked.to_arrow())


def merge(table: schema.Table, rows: pa.Table) -> pa.Table:
    """Returns the rows of a table other than `readings` in their order; all of them stay."""
    ordered = _frame(rows).sort(list(table.sort_columns), maintain_order=True)
    return schema.conform(table, ordered.to_arrow())


def newest_per_inverter(rows: pa.Table) -> pa.Table:
    """Returns the row with the latest `ts` of each inverter."""
    newest = _frame(rows).sort(_ORDER, nulls_last=True).unique("inverter_sn", keep="last")
    return schema.conform(schema.READINGS, newest.to_arrow())


def serial_ranges(serials: pa.ChunkedArray[Any], rows_max: int) -> list[tuple[str, str]]:
    """Cuts inverters, one entry per row, into ranges (first, last) of at most `rows_max` rows.

    An inverter is never cut; one with more rows has a range of its own. No rows, no range.
    """
    counts = pl.DataFrame({"serial": pl.from_arrow(serials)})["serial"].value_counts(name="rows")
    ranges: list[tuple[str, str]] = []
    in_range = 0
    for serial, rows in counts.sort("serial").iter_rows():
        if ranges and in_range + rows <= rows_max:
            ranges[-1] = (ranges[-1][0], serial)
            in_range += rows
        else:
            ranges.append((serial, serial))
            in_range = rows
    return ranges


def _frame(rows: pa.Table) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(rows))


def _without_resends(ordered: pl.DataFrame) -> pl.DataFrame:
    """Only rows that share inverter and `ts` with a neighbour are compared whole: they are few."""
    if ordered.height < 2:
        return ordered
    alike = pl.all_horizontal(
        pl.col(name) == pl.col(name).shift(1) for name in ("inverter_sn", "ts")
    )
    numbered = ordered.select("inverter_sn", "ts", alike.fill_null(value=False).alias("alike"))
    suspects = numbered.select(
        (pl.col("alike") | pl.col("alike").shift(-1, fill_value=False)).arg_true()
    ).to_series()
    if suspects.is_empty():
        return ordered
    first = ordered[suspects].select(pl.struct(_SAMPLE).is_first_distinct()).to_series()
    resends = suspects.filter(~first)
    if resends.is_empty():
        return ordered
    keep = pl.Series([True]).new_from_index(0, ordered.height).scatter(resends, values=False)
    return ordered.filter(keep)


def _repeats(ordered: pl.DataFrame) -> pl.Series:
    """Only rows that share inverter and its clock with another are compared whole."""
    suspects = ordered.select(
        (pl.struct(_CLOCK).is_duplicated() & pl.col("inverter_clock").is_not_null()).arg_true()
    ).to_series()
    first = ordered[suspects].select(pl.struct(_MEASUREMENT).is_first_distinct()).to_series()
    is_repeat = pl.Series([False]).new_from_index(0, ordered.height)
    return is_repeat.scatter(suspects.filter(~first), values=True)
