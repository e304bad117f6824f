"""Claim: all data of a person with 3 years of readings of 2 inverters is out within 30 s.

Made-up readings every 5 minutes, day and night, with noise in every column that an inverter fills
(real ones compress better), in the lake as daily compacted files are. Measured: the bundle out,
into an empty instance, and out again, which must give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import record
from autarco_ingest import load, schema
from autarco_ingest.paths import DataDirectory
from autarco_ingest.settings import Settings
from autarco_portal import bundle_export, bundle_import
from autarco_portal.lake_reader import LakeReader
from autarco_portal.people import SELF, SiteOwner
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import Store, migrate, open_store

CLAIM_S = 30.0
CLAIM = f"a bundle of 3 years of 5-minute readings of 2 inverters takes at most {CLAIM_S:.0f} s"
BEGIN = datetime(2023, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP_US = 300_000_000
EMAIL = "owner@example.org"


def main() -> int:
    """Measures once, records, and tells whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep the figures")
    options = parser.parse_args()
    on = record.machine()
    with tempfile.TemporaryDirectory() as place:
        numbers = _measure(Path(place))
    print(json.dumps(numbers, indent=2))
    holds = numbers["out_s"] <= CLAIM_S and numbers["same_bytes"]
    print(f"{CLAIM}: {'yes' if holds else 'NO'}", file=sys.stderr)
    if options.record:
        print(record.write("person_bundle", claim=CLAIM, numbers=numbers, on=on), file=sys.stderr)
    return 0 if holds else 1


def _measure(place: Path) -> dict[str, Any]:
    here, there = place / "here", place / "there"
    file = place / "made.parquet"
    rows = _made(file)
    load.run(Settings(data=here), [("readings", file)])
    with _opened(here) as store:
        person = store.people.add(name="Eigenaar", email=EMAIL, source=SELF, now=BEGIN)
        store.sites.add(_site(person.person_id), BEGIN)
        first, out_s, cpu_s = _out(store, here, place / "first.zip")
    with _opened(there) as store:
        began = time.perf_counter()
        directory = PortalDirectory.of(DataDirectory.at(there))
        manifest = bundle_import.take_in(first, store, there, directory, NOW)
        in_s = time.perf_counter() - began
        second, again_s, _ = _out(store, there, place / "second.zip")
    sizes = {
        kind: sum(one.bytes for name, one in manifest.members.items() if name.endswith(kind))
        for kind in (".csv", ".parquet", ".json")
    }
    return {
        "rows": rows,
        "out_s": round(out_s, 2),
        "out_cpu_s": round(cpu_s, 2),
        "in_s": round(in_s, 2),
        "out_again_s": round(again_s, 2),
        "same_bytes": first.read_bytes() == second.read_bytes(),
        "bundle_bytes": first.stat().st_size,
        "member_bytes": sizes,
    }


def _opened(data: Path) -> Store:
    directory = DataDirectory.at(data)
    directory.create()
    PortalDirectory.of(directory).root.mkdir()
    database = str(PortalDirectory.of(directory).root / "portal.sqlite")
    migrate(database)
    return open_store(database)


def _out(store: Store, data: Path, out: Path) -> tuple[Path, float, float]:
    directory = DataDirectory.at(data)
    person = store.people.by_email(EMAIL)
    assert person is not None
    began, cpu = time.perf_counter(), time.process_time()
    bundle_export.export(
        store.person_data.collect(person.person_id, NOW),
        LakeReader(directory),
        PortalDirectory.of(directory),
        out,
        profile="access",
        now=NOW,
    )
    return out, time.perf_counter() - began, time.process_time() - cpu


def _site(owner: str) -> NewSite:
    plane = RoofPlane(name="south", surface_tilt=35, surface_azimuth=180, modules=20, pdc0=8_000)
    return NewSite(
        name="Huis",
        address=Address(street="Dorpsstraat 1", postcode="3511 AA", city="Utrecht"),
        latitude=52.09,
        longitude=5.12,
        commissioned_on=BEGIN.date(),
        planes=(plane,),
        inverters=tuple(
            Inverter(
                serial_number=f"SIM{n}", pac0=4_000, installed_at=BEGIN, logger_sn=4_100_000_000 + n
            )
            for n in range(2)
        ),
        owners=(SiteOwner(person_id=owner, from_at=BEGIN),),
    )


def _made(file: Path) -> int:
    """Writes the readings of both inverters and returns how many there are."""
    count = (NOW - BEGIN) // timedelta(minutes=5)
    noise = np.random.default_rng(3)
    at = int(BEGIN.timestamp()) * 1_000_000 + np.arange(count, dtype=np.int64) * STEP_US
    total = 0
    with pq.ParquetWriter(file, _columns()) as writer:
        for inverter in range(2):
            known: dict[str, Any] = {
                "ts": at,
                "received_at": at + noise.integers(1_000_000, 4_000_000, count),
                "time_source": np.full(count, "stick"),
                "inverter_sn": np.full(count, f"SIM{inverter}"),
                "logger_sn": np.full(count, 4_100_000_000 + inverter),
                "protocol": np.full(count, "v5"),
                "sensor_type": np.full(count, 0x0507),
                "historic": np.zeros(count, bool),
                "record_no": np.arange(count),
                "source": np.full(count, "203.0.113.0/24"),
                "status": np.full(count, 4),
                "energy_total_wh": np.cumsum(noise.integers(0, 300, count)),
                "energy_today_wh": noise.integers(0, 30_000, count),
                "inverter_clock": at,
            }
            for name in (
                "ac_power", "ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3", "ac_current_l1",
                "ac_current_l2", "ac_current_l3", "ac_frequency", "dc_voltage_mppt1",
                "dc_voltage_mppt2", "dc_current_mppt1", "dc_current_mppt2", "dc_power",
                "temp_inverter",
            ):  # fmt: skip
                known[name] = np.round(noise.uniform(0, 400, count), 1)
            arrays = [
                pa.array(known[one.name], one.type) if one.name in known else _nothing(one, count)
                for one in schema.READINGS.columns
                if one.name != "date"
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=_columns()))
            total += count
    return total


def _nothing(column: schema.Column, count: int) -> pa.Array[Any]:
    return pa.array([None] * count, column.type)


def _columns() -> pa.Schema:
    return pa.schema(
        [pa.field(one.name, one.type) for one in schema.READINGS.columns if one.name != "date"]
    )


if __name__ == "__main__":
    sys.exit(main())
