"""A small fleet under one made sky, and a lake of it in memory, for the tests of analysis."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from autarco_portal import fleet_sky
from autarco_portal.counter import moment
from autarco_portal.energy import midnights
from autarco_portal.fleet import fleet
from autarco_portal.fleet_grid import COLUMNS
from autarco_portal.site import Inverter, RoofPlane, Site

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

ZONE = "Europe/Amsterdam"
FIRST = date(2025, 6, 1)
DAY = timedelta(days=1)
SENT_S = 5


def sites(count: int = 8) -> list[Site]:
    """Roofs a kilometre apart that look about south."""
    return [
        Site(
            site_id=f"site{number:04d}",
            latitude=52.0 + number / 100,
            longitude=5.1,
            commissioned_on=date(2024, 1, 1),
            planes=(
                RoofPlane(
                    name="roof", surface_tilt=30 + number, surface_azimuth=170 + 3 * number,
                    modules=12, pdc0=4_800,
                ),
            ),
            inverters=(
                Inverter(
                    serial_number=f"INV{number:04d}", pac0=4_200,
                    installed_at=datetime(2024, 1, 1, tzinfo=UTC), mppt_planes=("roof",),
                ),
            ),
        )
        for number in range(count)
    ]  # fmt: skip


class MadeLake:
    """Answers as `lake_reader.LakeReader` does, from rows in memory."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows = rows.sort("inverter_sn", "ts")

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """As the lake reader's."""
        chosen = self._of(inverters).filter(pl.col("ts") >= begins, pl.col("ts") < ends)
        return chosen.select(columns).to_arrow()

    def daily_energy(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """By the daily counter alone, which these inverters never fool."""
        local = pl.col("ts").dt.convert_time_zone(ZONE).dt.date().alias("day")
        return (
            self._of(inverters)
            .with_columns(local)
            .filter(pl.col("day").is_between(first, last))
            .group_by("inverter_sn", "day")
            .agg(
                (pl.col("energy_today_wh").max() / 1_000).alias("energy_kwh"),
                pl.lit("today").alias("method"),
                pl.lit(0, pl.Int64).alias("n_resets"),
                pl.lit(None, pl.Float64).alias("energy_gap_kwh"),
                pl.len().cast(pl.Int64).alias("readings"),
                pl.lit(300.0).alias("gap_max_s"),
                (pl.col("ac_power").sum() / 12_000).alias("energy_integral_kwh"),
            )
            .to_arrow()
        )

    def received(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """As the lake reader's."""
        return (
            self._of(inverters)
            .filter(pl.col("ts").dt.date().is_between(first, last))
            .group_by((pl.col("ts").dt.epoch("s") // 3_600).alias("hour"))
            .agg(pl.len().cast(pl.Int64).alias("readings"), pl.col("received_at").max())
            .to_arrow()
        )

    def around(
        self, inverters: Collection[str], begins: datetime, ends: datetime, within: timedelta
    ) -> pa.Table:
        """As the lake reader's."""
        mine = self._of(inverters)
        before = mine.filter(pl.col("ts").is_between(begins - within, begins, closed="left"))
        after = mine.filter(pl.col("ts").is_between(ends, ends + within, closed="left"))
        return (
            before.group_by("inverter_sn")
            .agg(
                pl.col("ts").last().alias("before_at"),
                pl.col("energy_total_wh").last().alias("before_wh"),
            )
            .join(
                after.group_by("inverter_sn").agg(
                    pl.col("ts").first().alias("after_at"),
                    pl.col("energy_total_wh").first().alias("after_wh"),
                ),
                on="inverter_sn",
                how="full",
                coalesce=True,
            )
            .to_arrow()
        )

    def _of(self, inverters: Collection[str] | None) -> pl.DataFrame:
        if inverters is None:
            return self.rows
        return self.rows.filter(pl.col("inverter_sn").is_in(list(inverters)))


def made_rows(
    roofs: Sequence[Site], days: int, *, factor: dict[tuple[int, int], float] | None = None
) -> pl.DataFrame:
    """Rows of `days` days of all roofs; `factor` of (site, day) multiplies its power.

    A day has its own clouds and each roof a little noise. Inverters sleep at night.
    """
    everything = fleet(roofs)
    last = FIRST + (days - 1) * DAY
    clear = fleet_sky.clear_days(everything, FIRST, last)
    dice = np.random.default_rng(3)
    clouds = dice.uniform(0.35, 1.0, days)
    starts = midnights(FIRST, last, ZONE)[0] + 300_000_000 * np.arange(clear.edges[-1])
    parts = []
    for site, roof in enumerate(roofs):
        total = 1_000_000.0
        for day in range(days):
            span = slice(int(clear.edges[day]), int(clear.edges[day + 1]))
            noise = 1 + 0.01 * dice.standard_normal()
            share = clouds[day] * noise * (factor or {}).get((site, day), 1.0)
            power = np.round(clear.ac_power[site, span].astype(float) * share)
            awake = clear.sun_elevation[clear.cell[site], span] > 1.5
            made = np.cumsum(power) / 12
            ts = [moment(int(at) + 20_000_000) for at in starts[span][awake]]
            parts.append(
                pl.DataFrame(
                    {
                        "inverter_sn": [roof.inverters[0].serial_number] * len(ts),
                        "ts": ts,
                        "received_at": [at + timedelta(seconds=SENT_S) for at in ts],
                        "ac_power": power[awake],
                        "ac_voltage_l1": np.full(len(ts), 231.0),
                        "energy_today_wh": np.floor(made[awake] / 100) * 100,
                        "energy_total_wh": np.floor((total + made[awake]) / 100) * 100,
                    }
                )
            )
            total += float(made[-1])
    rows = pl.concat(parts)
    absent = [pl.lit(None, pl.Float64).alias(name) for name in COLUMNS if name not in rows.columns]
    return rows.with_columns(absent).with_columns(
        pl.lit(value=False).alias("repeat"), pl.lit(4, pl.Int64).alias("status")
    )
