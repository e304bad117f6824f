"""Do DuckDB, Polars and a distributed engine find the same in one table, to the watt-hour?"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rows
from autarco_ingest import catalog, day_rewrite, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.lake_table import LakeTable
from autarco_ingest.table_store import LocalStore

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = Path(__file__).parent.parent.parent
ENGINES = ROOT / os.environ.get("AUTARCO_ENGINES_VENV", ".venv-engines") / "bin" / "python"

NO_QUARANTINE = schema.empty(schema.QUARANTINE)

DAILY_ENERGY = """
SELECT inverter_sn, date, max(energy_total_wh) - min(energy_total_wh) AS energy_wh
FROM readings GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> paths.DataDirectory:
    """Two nodes, several batches and days, samples without a counter, a day without any.

    One day is compacted, with samples that came later, behind a checkpoint.
    """
    data = paths.DataDirectory.at(tmp_path_factory.mktemp("engines"))
    data.create()
    store = LocalStore(data.lake)
    lakes = [Lake(store, node) for node in ("n1", "n2")]
    for version in range(1, 4):
        for number, lake in enumerate(lakes):
            batch = (_batch(version * 2 + number), rows.sessions({}), NO_QUARANTINE)
            lake.commit(version, *batch)
        if version == 2:
            table = LakeTable(store, schema.READINGS)
            day_rewrite.rewrite_day(table, rows.NOON.date().isoformat())
            table.checkpoint()
    files = lakes[0].files("readings")
    moment = catalog.Moment(readings=files, sessions=[], quarantine=[])
    catalog.rebuild(data, moment, time_zone="UTC")
    return data


def _batch(number: int) -> pa.Table:
    return rows.readings(
        *(
            rows.reading(
                ts=rows.NOON + timedelta(minutes=37 * minute + number),
                inverter_sn=f"SIM{minute % 5}",
                energy_total_wh=None if minute % 7 == 0 else 3_000_000_000 + 11 * minute * number,
            )
            for minute in range(200)
        ),
        rows.reading(ts=rows.NOON + timedelta(days=30), inverter_sn="NONE"),
    )


def by_duckdb(data: paths.DataDirectory) -> list[list[str]]:
    found = catalog.query(data, DAILY_ENERGY).to_pylist()
    return [["" if value is None else str(value) for value in row.values()] for row in found]


def by_script(python: Path, name: str, data: paths.DataDirectory) -> list[list[str]]:
    table = LocalStore(data.lake).uri("readings")
    done = subprocess.run(
        [python, ROOT / "examples" / name, table], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    header, *found = csv.reader(io.StringIO(done.stdout))
    assert header == ["inverter_sn", "date", "energy_wh"]
    return found


def test_three_engines_find_the_same(data: paths.DataDirectory) -> None:
    duck = by_duckdb(data)

    assert len(duck) > 25
    assert duck[0] == ["NONE", "2026-07-15", ""]
    assert by_script(Path(sys.executable), "daily_energy_polars.py", data) == duck
    assert by_script(ENGINES, "daily_energy_daft.py", data) == duck
