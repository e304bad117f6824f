"""What did each inverter generate on each UTC day? Asked with Daft, which can use many machines.

    pip install daft deltalake
    python daily_energy_daft.py /var/lib/autarco/lake/readings

takes a directory or an s3:// URL, with credentials from the usual AWS_* variables (a service
without TLS needs an IOConfig), and prints CSV. On one machine as it is;
`daft.set_runner_ray(ADDRESS)` before the query spreads it over a Ray cluster. The energy is defined
as in daily_energy_polars.py.
"""

from __future__ import annotations

import csv
import sys

import daft
from daft import col


def daily_energy(table: str) -> daft.DataFrame:
    """Returns inverter_sn, date and energy_wh, in that order."""
    total = col("energy_total_wh")
    return (
        daft.read_deltalake(table)
        .groupby("inverter_sn", "date")
        .agg(total.max().alias("largest"), total.min().alias("smallest"))
        .select("inverter_sn", "date", (col("largest") - col("smallest")).alias("energy_wh"))
        .sort(["inverter_sn", "date"])
    )


if __name__ == "__main__":
    columns = daily_energy(sys.argv[1]).to_pydict()
    output = csv.writer(sys.stdout, lineterminator="\n")
    output.writerow(columns)
    output.writerows(zip(*columns.values(), strict=True))
