"""Claim: a guarantee year of 5-minute readings is settled in at most 0.2 s.

A made year of one inverter, 105,120 samples of its counter with nights, some gaps, a restart and a
replacement, from a table in memory to a settlement: counters judged, energy of days and spans,
uncovered time estimated, the contract applied. What stands around it is timed apart: the model's
hours under the weather, and the claim file with its hashes. Once per round, medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

import record
from autarco_portal import claim_file, settle, settle_evidence, settle_model
from autarco_portal.guarantee_contract import Contract, year_span
from autarco_portal.guarantee_terms import Guarantee
from autarco_portal.settle_model import Modelled
from autarco_portal.site import Inverter, RoofPlane, Site

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM_S = 0.2
CLAIM = f"a guarantee year of 5-minute readings is settled in at most {CLAIM_S} s"
STEP = timedelta(minutes=5)
DIED, REPLACED = datetime(2025, 9, 3, 14, tzinfo=UTC), datetime(2025, 9, 21, 10, tzinfo=UTC)
CONTRACT = Contract(
    contract_id="C-1", site_id="s", terms_version="1", starts_on=date(2025, 5, 1), term_years=15,
    p50_kwh=Decimal(4_500), price_eur_per_kwh=Decimal("0.10"),
)  # fmt: skip
GUARANTEED = Guarantee(contract=CONTRACT, monthly_share=(Decimal(1) / 12,) * 12)
SITE = Site(
    site_id="s", latitude=52.1, longitude=5.18, commissioned_on=date(2025, 1, 1),
    planes=(RoofPlane(name="r", surface_tilt=35, surface_azimuth=180, modules=12, pdc0=4_800),),
    inverters=(
        Inverter(
            serial_number="A", pac0=4_000, installed_at=datetime(2025, 1, 1, tzinfo=UTC),
            uninstalled_at=DIED,
        ),
        Inverter(serial_number="B", pac0=4_000, installed_at=REPLACED),
    ),
)  # fmt: skip

Result = TypeVar("Result")


def main() -> int:
    """Measures in rounds, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    begins, ends = (at.astimezone(UTC) for at in year_span(CONTRACT, 1))
    before, after = (
        begins - settle_evidence.READINGS_BEFORE,
        ends + settle_evidence.READINGS_AFTER,
    )
    steps = ("model", "evidence", "files", "settlement", "claim file")
    took: dict[str, list[float]] = {step: [] for step in steps}
    cpu: dict[str, list[float]] = {step: [] for step in steps}

    def timed(what: str, work: Callable[[], Result]) -> Result:
        began, worked = time.perf_counter(), time.process_time()
        result = work()
        took[what].append(time.perf_counter() - began)
        cpu[what].append(time.process_time() - worked)
        return result

    clear = settle_model.modelled(SITE, before, after, None)
    readings = _readings(clear)
    model = Modelled(
        begins_us=clear.begins_us,
        energy_wh=clear.clearsky_wh * 0.6,
        clearsky_wh=clear.clearsky_wh,
    )
    for _ in range(options.rounds):
        timed("model", partial(settle_model.modelled, SITE, before, after, None))
        prepared = timed(
            "evidence", partial(settle_evidence.prepare, GUARANTEED, 1, SITE, readings, model)
        )
        files = timed("files", partial(settle.evidence_files, [prepared], SITE))
        settled = timed(
            "settlement",
            partial(settle.settled, CONTRACT, [prepared.evidence], files, code_version="0"),
        )
        timed("claim file", partial(claim_file.sealed, settled, files))
    median_s = {what: statistics.median(seconds) for what, seconds in took.items()}
    rules_s = statistics.median(map(sum, zip(took["evidence"], took["settlement"], strict=True)))
    (year,) = settled.years
    numbers: dict[str, Any] = {
        "holds": rules_s <= CLAIM_S,
        "rounds": options.rounds,
        "readings": len(readings),
        "evidence_and_settlement_s": round(rules_s, 4),
        "median_s": {what: round(seconds, 4) for what, seconds in median_s.items()},
        "median_cpu_s": {
            what: round(statistics.median(seconds), 4) for what, seconds in cpu.items()
        },
        "spans": len(year.evidence.measured),
        "measured_kwh": round(float(year.measured_kwh), 1),
        "uncovered": len(year.evidence.uncovered),
    }
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n")
    if not options.dry:
        path = record.write("settlement-speed", claim=CLAIM, numbers=numbers, on=on)
        sys.stdout.write(f"{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _readings(clear: Modelled) -> pa.Table:
    """What two inverters send: counters of a clear year, with gaps and a restart."""
    source = np.random.default_rng(1)
    first = datetime.fromtimestamp(clear.begins_us / 1e6, UTC)
    steps = len(clear.clearsky_wh) * 12
    at = np.datetime64(first.replace(tzinfo=None), "ms") + np.arange(steps) * np.timedelta64(
        300_000, "ms"
    )
    power = (
        np.repeat(clear.clearsky_wh / 12, 12)
        * np.repeat(source.uniform(0.2, 1, steps // 288 + 1), 288)[:steps]
    )
    total = np.cumsum(power)
    died, replaced = (
        np.searchsorted(at, np.datetime64(moment.replace(tzinfo=None), "ms"))
        for moment in (DIED, REPLACED)
    )
    sent = source.random(steps) > 0.01
    sent[died:replaced] = False
    for gap in source.integers(0, steps, 12):
        sent[gap : gap + 400] = False
    total[replaced:] -= total[replaced]
    restarted = steps * 3 // 4
    total[restarted:] -= total[restarted]
    serial = np.where(np.arange(steps) < replaced, "A", "B")
    return pa.table(
        {
            "inverter_sn": pa.array(serial[sent]),
            "ts": pa.array(at[sent]).cast(pa.timestamp("us", "UTC")),
            "energy_total_wh": pa.array((total[sent] // 100 * 100).astype(np.int64)),
        }
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dry", action="store_true", help="do not write the result")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
