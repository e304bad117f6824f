"""What did each inverter do in every quarter of an hour, and what of a day is worth keeping?

Readings come every few minutes; people and their programs look at quarters of an hour and at days.
`quarters` reduces readings to the first, `day_summaries` those to the second: a few samples of the
lifetime counter, and the energy that hybrid inverters and meters saw flow. Both take a whole fleet
at once, because a fleet's day is reduced faster than a hundred single sites.

Pure: polars frames in, polars frames out. A quarter counts from UTC: every time zone in use begins
its days on one. Whoever settles money uses all samples of the counter (`energy`), not these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

QUARTER_S = 900
QUARTER_HOURS = 0.25
READ = (
    "inverter_sn", "ts", "repeat", "inverter_clock", "ac_power", "energy_total_wh",
    "battery_soc_pct", "battery_power", "grid_power", "load_power",
)  # fmt: skip
"""The columns of `autarco_ingest.schema.READINGS` that are needed here."""

FLOWS = ("consumption_wh", "import_wh", "export_wh", "charged_wh", "discharged_wh")
_FLOW_OF = {
    "consumption_wh": "load_power",
    "import_wh": "import_power",
    "export_wh": "export_power",
    "charged_wh": "charge_power",
    "discharged_wh": "discharge_power",
}
SAMPLES = ("first", "lowest", "highest", "last")
"""Samples of the counter that a summary keeps: a glitch may be one of them, never all."""

QUARTER_SCHEMA = pl.Schema(
    {
        "inverter_sn": pl.String(),
        "quarter": pl.Datetime("us", "UTC"),
        "last_at": pl.Datetime("us", "UTC"),
        "inverter_clock": pl.Datetime("ms"),
        "ac_power": pl.Float64(),
        "battery_power": pl.Float64(),
        "grid_power": pl.Float64(),
        "load_power": pl.Float64(),
        "charge_power": pl.Float64(),
        "discharge_power": pl.Float64(),
        "import_power": pl.Float64(),
        "export_power": pl.Float64(),
        "battery_soc_pct": pl.Float64(),
        "counter_at": pl.Datetime("us", "UTC"),
        "energy_total_wh": pl.Int64(),
    }
)
"""Power is the mean of a quarter's samples in W; charge, discharge, import and export are means of
one sign only, so that both directions of a quarter count. State of charge and counter are the last
that was shown; the counter not where it says zero, which inverters do half asleep."""

SUMMARY_SCHEMA = pl.Schema(
    {
        "inverter_sn": pl.String(),
        "day": pl.Date(),
        **{f"{name}_at": pl.Datetime("us", "UTC") for name in SAMPLES},
        **{f"{name}_wh": pl.Int64() for name in SAMPLES},
        **{name: pl.Float64() for name in FLOWS},
    }
)
"""One local day of an inverter; a flow is null if nothing measured it."""


def quarters(readings: pl.DataFrame) -> pl.DataFrame:
    """Returns QUARTER_SCHEMA, sorted by inverter and quarter; rows have the columns READ.

    A row that repeats registers of an earlier one (a stick resends what a sleeping inverter left)
    measured nothing. Compacted days have such rows marked; before, the inverter's clock tells.
    """
    rows = (
        readings.lazy()
        .select(READ)
        .filter(pl.col("repeat").fill_null(value=False).not_())
        .sort("inverter_sn", "ts")
    )
    clock, inverter = pl.col("inverter_clock"), pl.col("inverter_sn")
    is_same = (clock == clock.shift()) & (inverter == inverter.shift())
    total = pl.when(pl.col("energy_total_wh") > 0).then(pl.col("energy_total_wh"))
    return (
        rows.filter(is_same.fill_null(value=False).not_())
        .with_columns(
            pl.col("ts").dt.cast_time_unit("us"),
            # The tables keep milliseconds, the catalog answers in microseconds.
            pl.col("inverter_clock").dt.cast_time_unit("ms"),
            pl.col("ac_power", "battery_power", "grid_power", "load_power", "battery_soc_pct").cast(
                pl.Float64
            ),
            total.alias("energy_total_wh"),
        )
        .with_columns(
            pl.col("ts").dt.truncate(f"{QUARTER_S}s").alias("quarter"),
            pl.when(pl.col("energy_total_wh").is_not_null()).then("ts").alias("counter_at"),
        )
        .group_by("inverter_sn", "quarter")
        .agg(
            pl.col("ts").last().alias("last_at"),
            pl.col("inverter_clock").last(),
            pl.col("ac_power", "battery_power", "grid_power", "load_power").mean(),
            pl.col("battery_power").clip(lower_bound=0).mean().alias("charge_power"),
            (-pl.col("battery_power").clip(upper_bound=0)).mean().alias("discharge_power"),
            pl.col("grid_power").clip(lower_bound=0).mean().alias("import_power"),
            (-pl.col("grid_power").clip(upper_bound=0)).mean().alias("export_power"),
            pl.col("battery_soc_pct").drop_nulls().last(),
            pl.col("counter_at").drop_nulls().last(),
            pl.col("energy_total_wh").drop_nulls().last(),
        )
        .sort("inverter_sn", "quarter")
        .collect()
        .match_to_schema(QUARTER_SCHEMA)
    )


def day_summaries(
    found: pl.DataFrame, zone_of: Mapping[str, str], *, otherwise: str = "Europe/Amsterdam"
) -> pl.DataFrame:
    """Returns SUMMARY_SCHEMA from quarters, sorted by inverter and day.

    `zone_of` gives the time zone of an inverter's site, which decides what a day is there. A flow
    counts the quarters that were measured, each as a whole; nothing is made up for gaps.
    """
    zones = sorted({*zone_of.values(), otherwise})
    zone = pl.col("inverter_sn").replace_strict(zone_of, default=otherwise, return_dtype=pl.String)
    parts = [
        _summaries(found.filter(zone == name) if len(zones) > 1 else found, name) for name in zones
    ]
    return pl.concat(parts).sort("inverter_sn", "day")


def merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Returns summaries of one inverter and day that come from two UTC dates as one each."""
    if not parts:
        return SUMMARY_SCHEMA.to_frame()
    rows = pl.concat(parts).lazy().sort("inverter_sn", "day", "first_at", nulls_last=True)
    lowest, highest = pl.col("lowest_wh").arg_min(), pl.col("highest_wh").arg_max()
    return (
        rows.group_by("inverter_sn", "day")
        .agg(
            pl.col("first_at", "first_wh").drop_nulls().first(),
            pl.col("lowest_at", "lowest_wh").get(lowest, null_on_oob=True),
            pl.col("highest_at", "highest_wh").get(highest, null_on_oob=True),
            pl.col("last_at", "last_wh").drop_nulls().last(),
            *(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()) for name in FLOWS),
        )
        .sort("inverter_sn", "day")
        .collect()
        .match_to_schema(SUMMARY_SCHEMA)
    )


def _summaries(found: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    local = found.lazy().with_columns(
        pl.col("quarter").dt.convert_time_zone(time_zone).dt.date().alias("day")
    )
    counted = pl.col("energy_total_wh").is_not_null()
    at, total = pl.col("counter_at").filter(counted), pl.col("energy_total_wh").filter(counted)
    return (
        local.sort("inverter_sn", "quarter")
        .group_by("inverter_sn", "day")
        .agg(
            at.first().alias("first_at"),
            total.first().alias("first_wh"),
            at.get(total.arg_min(), null_on_oob=True).alias("lowest_at"),
            total.min().alias("lowest_wh"),
            at.get(total.arg_max(), null_on_oob=True).alias("highest_at"),
            total.max().alias("highest_wh"),
            at.last().alias("last_at"),
            total.last().alias("last_wh"),
            *(
                pl.when(pl.col(power).count() > 0)
                .then(pl.col(power).sum() * QUARTER_HOURS)
                .alias(name)
                for name, power in _FLOW_OF.items()
            ),
        )
        .select(SUMMARY_SCHEMA.names())
        .collect()
        .match_to_schema(SUMMARY_SCHEMA)
    )
