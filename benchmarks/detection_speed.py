"""Claim: 10,000 sites are compared with their peers for a year, and judged every night, in seconds.

Times the peer index over a year (10 s at most), the nightly detector over its window of 60 days
(5 s at most) and the search for neighbours, on made numbers: what they are does not change the
work. One process; numpy sorts with one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import record
from autarco_portal import detection, peers

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM = (
    "10,000 sites: peer index of 365 days in at most 10 s, nightly detection over 60 days in at "
    "most 5 s"
)
INDEX_S, NIGHT_S = 10.0, 5.0
YEAR, WINDOW = 365, 60

Result = TypeVar("Result")


def main() -> int:
    """Measures, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    random = np.random.default_rng(1)
    sites = options.sites
    # As dense as 10,000 households in the Netherlands are.
    places = random.uniform((50.8, 3.4), (53.4, 7.1), (sites, 2))
    azimuth, tilt = random.uniform(70, 290, sites), random.uniform(10, 50, sites)
    pdc0_kw = random.uniform(2, 9, sites)
    sky = 2.5 + 2 * np.cos(2 * np.pi * np.arange(YEAR)[:, None] / YEAR)
    model = sky * pdc0_kw
    energy = model * random.uniform(0.3, 1, (YEAR, 1)) * random.normal(1, 0.04, (YEAR, sites))
    energy[random.random((YEAR, sites)) < 0.02] = np.nan
    coverage = np.ones((YEAR, sites))

    found_s, near = _timed(1, lambda: peers.neighbours(places[:, 0], places[:, 1], tilt, azimuth))
    index_s, _ = _timed(options.rounds, lambda: peers.compare(energy, model, pdc0_kw, near))

    def night() -> detection.Detection:
        """Compares and judges: all days of the window, the first ones only to be a baseline."""
        compared = peers.compare(energy[-WINDOW:], model[-WINDOW:], pdc0_kw, near)
        return detection.underperformance(compared, coverage[-WINDOW:], near)

    night_s, _ = _timed(options.rounds, night)
    year_s, _ = _timed(
        1,
        lambda: detection.underperformance(
            peers.compare(energy, model, pdc0_kw, near), coverage, near
        ),
    )
    numbers: dict[str, Any] = {
        "holds": index_s <= INDEX_S and night_s <= NIGHT_S,
        "sites": sites,
        "peers_mean": round(float(near.count.mean()), 1),
        "neighbours_s": round(found_s, 2),
        "peer_index_365_days_s": round(index_s, 2),
        "nightly_60_days_s": round(night_s, 2),
        "compare_and_detect_365_days_s": round(year_s, 2),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n")
    if not options.dry:
        path = record.write("detection-speed", claim=CLAIM, numbers=numbers, on=on)
        sys.stdout.write(f"{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _timed(rounds: int, work: Callable[[], Result]) -> tuple[float, Result]:
    """Returns the median of the rounds in seconds, and the last result."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        result = work()
        took.append(time.perf_counter() - began)
    return statistics.median(took), result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="do not write the result")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
