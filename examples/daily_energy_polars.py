"""What did each inverter generate on each UTC day? Asked with Polars, without the catalog.

    python daily_energy_polars.py /var/lib/autarco/lake/readings

takes a directory or an s3:// URL, with credentials and endpoint from the usual AWS_* variables, and
prints CSV. The energy is the growth of the total counter within the day, the simplest definition
that every engine computes the same way; the catalog's `daily_energy` knows more about counters.
"""

from __future__ import annotations

import sys

import polars as pl


def daily_energy(table: str) -> pl.DataFrame:
    """Returns inverter_sn, date and energy_wh, in that order."""
    return (
        pl.scan_delta(table)
        .group_by("inverter_sn", "date")
        .agg(energy_wh=pl.col("energy_total_wh").max() - pl.col("energy_total_wh").min())
        .sort("inverter_sn", "date")
        .collect()
    )


if __name__ == "__main__":
    sys.stdout.write(daily_energy(sys.argv[1]).write_csv())
