"""A lake of rows in memory, that answers what the portal asks the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from reading_rows import frame

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    import pyarrow as pa


class MadeLake:
    """`heard` says up to when rows have come; ask for it anew by a higher `version`."""

    def __init__(self, rows: list[dict[str, Any]], heard: datetime) -> None:
        self.all = frame(rows)
        self.heard = heard
        self.asked: list[tuple[datetime, datetime]] = []
        self.version = 1

    @property
    def rows(self) -> pl.DataFrame:
        return self.all.filter(pl.col("ts") <= self.heard)

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
        *,
        in_order: bool = True,
        rows_max: int | None = None,
    ) -> pa.Table:
        self.asked.append((begins, ends))
        rows = self.rows.filter(pl.col("ts") >= begins, pl.col("ts") < ends)
        if inverters is not None:
            rows = rows.filter(pl.col("inverter_sn").is_in(list(inverters)))
        if in_order:
            rows = rows.sort("inverter_sn", "ts")
        if rows_max is not None:
            rows = rows.head(rows_max)
        return _with(rows, columns).to_arrow()

    def latest(
        self, inverters: Collection[str] | None = None, columns: Sequence[str] = ("*",)
    ) -> pa.Table:
        newest = self.rows.sort("ts").unique("inverter_sn", keep="last").sort("inverter_sn")
        return _with(newest, columns).to_arrow()

    def moment(self) -> tuple[int, int] | None:
        return (self.version, round(self.heard.timestamp()))

    def dates(self) -> dict[date, frozenset[str]]:
        days = self.rows["ts"].dt.date().unique().to_list()
        return {day: frozenset({f"part-{self.version}"}) for day in days}


def _with(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Columns that no row of these tests has are null."""
    missing = [pl.lit(None).alias(name) for name in columns if name not in rows.columns]
    return rows.with_columns(missing).select(columns)
