"""Readings of a made-up inverter, with just the columns that a test is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from autarco_portal import quarters

if TYPE_CHECKING:
    from datetime import datetime


def reading(at: datetime, total: int | None = None, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(quarters.READ)
    return row | {"inverter_sn": "A", "ts": at, "energy_total_wh": total} | values


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "inverter_sn": pl.String, "ts": pl.Datetime("ms", "UTC"), "repeat": pl.Boolean,
        "inverter_clock": pl.Datetime("ms"), "ac_power": pl.Float32, "energy_total_wh": pl.Int64,
        "battery_soc_pct": pl.Float32, "battery_power": pl.Float32, "grid_power": pl.Float32,
        "load_power": pl.Float32,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema)
