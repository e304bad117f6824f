"""What did each system make per half hour, and of which half hours is that not known?

For curves of many systems, where a counter that counts whole kWh is too coarse: energy is mean
power over time, and the counter only tells that nothing was made while nobody sent. Money is
settled by `energy`, never by this. Pure: tables in, tables out.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from autarco_portal.research import ResearchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

SLOT = timedelta(minutes=30)
MARGIN = timedelta(days=1)
"""How much more than the period is read on both sides: a night is judged by both its ends."""
QUIET_SHARE = 0.05
"""Of an inverter's rating: what it gives when it wakes and falls asleep."""

_COARSE_STEP_WH, _FINE_STEP_WH = 1_000, 100
"""Steps of counters: some count whole kWh. One step may fall into a night."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter and the number of the system that it is part of."""

    system: int
    serial_number: str
    pac0: float
    """W."""
    installed_at: datetime
    uninstalled_at: datetime | None = None


def half_hours(
    readings: pa.Table, devices: Sequence[Device], from_at: datetime, to_at: datetime
) -> pl.DataFrame:
    """Returns what is known of each system and half hour: `system`, `slot` (UTC), `energy_kwh`.

    `readings` has `inverter_sn`, `ts`, `ac_power` in W, `energy_total_wh` and `repeat`, in any
    order, best from `MARGIN` before `from_at` to as much behind `to_at`. Both are whole half hours
    of UTC. A half hour is known if each inverter that hung there has a sample in both quarters of
    it, or slept: its counter stood still, and it gave next to nothing before and after.

    Raises ResearchError for a period that is none.
    """
    if _off_slot(from_at) or _off_slot(to_at) or not from_at < to_at:
        raise ResearchError("a period begins and ends with a half hour of UTC, and holds one")
    if not devices:
        return pl.DataFrame(schema=_RESULT)
    hung = _devices(devices)
    measured = _measured(readings, hung)
    edges = pl.datetime_range(
        from_at - MARGIN, to_at + MARGIN, "30m", closed="left", time_zone="UTC", eager=True
    )
    grid = (
        hung.join(pl.DataFrame({"slot": edges.cast(_INSTANT)}), how="cross")
        .filter(pl.col("slot") + SLOT > pl.col("installed_at"))
        .filter(pl.col("uninstalled_at").is_null() | (pl.col("slot") < pl.col("uninstalled_at")))
        .join(measured, on=["device", "slot"], how="left")
        .sort("device", "slot")
    )
    return (
        _asleep(grid)
        .filter(pl.col("slot").is_between(from_at, to_at, closed="left"))
        .group_by("system", "slot")
        .agg(pl.col("energy_kwh").sum(), pl.col("energy_kwh").is_null().any().alias("is_unknown"))
        .filter(~pl.col("is_unknown"))
        .select("system", "slot", "energy_kwh")
        .sort("system", "slot")
    )


_INSTANT = pl.Datetime("ms", "UTC")
_RESULT: dict[str, pl.DataType | type[pl.DataType]] = {
    "system": pl.UInt32,
    "slot": _INSTANT,
    "energy_kwh": pl.Float64,
}


def _off_slot(at: datetime) -> bool:
    if at.tzinfo is None:
        raise ResearchError(f"{at.isoformat()} has no time zone")
    return at.timestamp() % SLOT.total_seconds() != 0


def _devices(devices: Sequence[Device]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "device": range(len(devices)),
            "system": [device.system for device in devices],
            "inverter_sn": [device.serial_number for device in devices],
            "quiet_w": [QUIET_SHARE * device.pac0 for device in devices],
            "installed_at": [device.installed_at for device in devices],
            "uninstalled_at": [device.uninstalled_at for device in devices],
        },
        schema={
            "device": pl.UInt32,
            "system": pl.UInt32,
            "inverter_sn": pl.String,
            "quiet_w": pl.Float64,
            "installed_at": _INSTANT,
            "uninstalled_at": _INSTANT,
        },
    )


def _measured(readings: pa.Table, hung: pl.DataFrame) -> pl.DataFrame:
    """Per device and half hour: mean power of each quarter, power and counter at both ends."""
    columns = ["inverter_sn", "ts", "ac_power", "energy_total_wh", "repeat"]
    table = pl.DataFrame(readings.select(columns))
    late = pl.col("ts").dt.minute() % 30 >= 15
    power = pl.col("ac_power").cast(pl.Float64).clip(0)
    return (
        table.with_columns(pl.col("inverter_sn").cast(pl.String), pl.col("ts").cast(_INSTANT))
        # Registers that a sleeping inverter's stick sends again measure nothing.
        .filter(pl.col("repeat").fill_null(value=False).not_())
        .join(hung.drop("system", "quiet_w"), on="inverter_sn")
        .filter(pl.col("ts") >= pl.col("installed_at"))
        .filter(pl.col("uninstalled_at").is_null() | (pl.col("ts") <= pl.col("uninstalled_at")))
        .sort("device", "ts")
        .group_by("device", pl.col("ts").dt.truncate("30m").alias("slot"))
        .agg(
            power.filter(~late).mean().alias("early_w"),
            power.filter(late).mean().alias("late_w"),
            power.drop_nulls().first().alias("first_w"),
            power.drop_nulls().last().alias("last_w"),
            pl.col("energy_total_wh").drop_nulls().first().alias("first_wh"),
            pl.col("energy_total_wh").drop_nulls().last().alias("last_wh"),
        )
    )


def _asleep(grid: pl.DataFrame) -> pl.DataFrame:
    """Adds `energy_kwh`: what was measured, and nothing where an inverter slept."""
    mean_w = pl.mean_horizontal("early_w", "late_w")
    both = pl.col("early_w").is_not_null() & pl.col("late_w").is_not_null()
    before_wh = pl.col("last_wh").forward_fill().over("device")
    after_wh = pl.col("first_wh").backward_fill().over("device")
    before_w = pl.col("last_w").forward_fill().over("device")
    after_w = pl.col("first_w").backward_fill().over("device")
    quiet = (before_w <= pl.col("quiet_w")) & (after_w <= pl.col("quiet_w"))
    whole_kwh = (before_wh % _COARSE_STEP_WH == 0) & (after_wh % _COARSE_STEP_WH == 0)
    step_wh = pl.when(whole_kwh).then(_COARSE_STEP_WH).otherwise(_FINE_STEP_WH)
    still = (after_wh - before_wh).is_between(0, step_wh)
    return grid.with_columns(
        pl.when(both)
        .then(mean_w * 0.5 / 1_000)
        # It woke or fell asleep within this half hour: the quarter it was awake counts.
        .when(pl.min_horizontal("first_w", "last_w") <= pl.col("quiet_w"))
        .then(mean_w * 0.25 / 1_000)
        .when(mean_w.is_null() & quiet & still)
        .then(0.0)
        .alias("energy_kwh")
    )
