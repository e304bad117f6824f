"""How did a site do in a month or a year, from the derived tables of its days?

`Days` reads the tables that `autarco-portal analyse` wrote; `comparison` divides sums, never means
of ratios. A table that nobody made yet has no days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import polars as pl
from litestar.di import NamedDependency

if TYPE_CHECKING:
    from datetime import date

    from autarco_portal.portal_paths import PortalDirectory

COLUMNS: dict[str, tuple[str, ...]] = {
    "site_day": ("energy_kwh",),
    "expected": ("energy_expected_kwh",),
    "performance_ratio": ("yr", "yf"),
    "peer_ratio": ("ratio", "n_peers", "usable"),
    "availability": ("producing_minutes", "outage_minutes"),
}
"""What is read of each table (`derived`), by `site_id` and `date`."""


class HistoryError(Exception):
    """A derived table cannot be read; the message is one sentence."""


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How a site did over some days; shares are of 1, None where nothing is known."""

    energy_kwh: float | None
    expected_kwh: float | None
    """Of the days whose energy is known too."""
    performance_index: float | None
    performance_ratio: float | None
    peer_ratio: float | None
    peers: int
    """Most that it was compared with on a day."""
    availability: float | None


class History:
    """The derived tables of one portal directory."""

    def __init__(self, portal: PortalDirectory) -> None:
        self._portal = portal

    def days(self, site_id: str, first: date, last: date) -> pl.DataFrame:
        """Returns a row for each day from `first` to `last`, with all of COLUMNS.

        What is not known is null. Raises HistoryError for a damaged file.
        """
        days = pl.date_range(first, last, eager=True).alias("date").to_frame()
        for table, columns in COLUMNS.items():
            days = days.join(
                self._read(table, columns, site_id, first, last), on="date", how="left"
            )
        return days

    def _read(
        self, table: str, columns: tuple[str, ...], site_id: str, first: date, last: date
    ) -> pl.DataFrame:
        files = [
            file
            for file in sorted(self._portal.table(table).glob("*.parquet"))
            if f"{first:%Y-%m}" <= file.stem <= f"{last:%Y-%m}"
        ]
        schema: dict[str, type[pl.DataType]] = {"date": pl.Date}
        schema |= {name: _TYPES.get(name, pl.Float64) for name in columns}
        if not files:
            return pl.DataFrame(schema=schema)
        try:
            return (
                pl.scan_parquet(files)
                .filter(pl.col("site_id") == site_id, pl.col("date").is_between(first, last))
                .select(pl.col(name).cast(kind) for name, kind in schema.items())
                .collect()
            )
        except (OSError, pl.exceptions.PolarsError) as error:
            raise HistoryError(f"cannot read the derived table {table}: {error}") from error


Past: TypeAlias = NamedDependency[History]
"""A handler's argument `history`."""

_TYPES: dict[str, type[pl.DataType]] = {"n_peers": pl.Int64, "usable": pl.Boolean}


def comparison(days: pl.DataFrame) -> Performance:
    """Returns how a site did over these rows of `History.days`."""
    energy, expected = pl.col("energy_kwh"), pl.col("energy_expected_kwh")
    both = energy.is_not_null() & expected.is_not_null()
    yields = pl.col("yr").is_not_null() & pl.col("yf").is_not_null()
    beside = energy.is_not_null() & pl.col("usable").fill_null(value=False) & (pl.col("ratio") > 0)
    row = days.select(
        energy=energy.sum(),
        energy_days=energy.count(),
        expected=expected.filter(both).sum(),
        energy_of_both=energy.filter(both).sum(),
        yr=pl.col("yr").filter(yields).sum(),
        yf=pl.col("yf").filter(yields).sum(),
        beside=energy.filter(beside).sum(),
        by_peers=(energy / pl.col("ratio")).filter(beside).sum(),
        peers=pl.col("n_peers").filter(beside).max(),
        producing=pl.col("producing_minutes").sum(),
        outage=pl.col("outage_minutes").sum(),
    ).row(0, named=True)
    return Performance(
        energy_kwh=row["energy"] if row["energy_days"] else None,
        expected_kwh=row["expected"] or None,
        performance_index=_share(row["energy_of_both"], row["expected"]),
        performance_ratio=_share(row["yf"], row["yr"]),
        peer_ratio=_share(row["beside"], row["by_peers"]),
        peers=row["peers"] or 0,
        availability=_share(row["producing"], row["producing"] + row["outage"]),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
