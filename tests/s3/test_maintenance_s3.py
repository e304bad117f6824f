"""Does maintenance keep its promises when the tables are on object storage?"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

import rows
from autarco_ingest import catalog, day_rewrite, lake, lake_table, maintenance, schema, settings
from autarco_ingest.lake import Lake
from autarco_ingest.lake_table import LakeTable
from autarco_ingest.paths import DataDirectory
from s3_server import KEYS
from server_process import Wire, eventually, running
from test_server import data_frame

if TYPE_CHECKING:
    from pathlib import Path

    from deltalake.transaction import AddAction

    from autarco_ingest.settings import Settings
    from s3_place import Place

NOW = rows.NOON + timedelta(days=2)
FORGOTTEN, OTHER = 4_012_345_678, 4_012_349_999


@pytest.fixture
def chosen(place: Place, data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a node that keeps its lake there."""
    for name, text in KEYS.items():
        monkeypatch.setenv(name, text)
    DataDirectory.at(data, place.location).create()
    there = {name.replace("__", "."): text for name, text in place.settings.items()}
    return settings.load(overrides={"data": str(data), **there})


def commit(target: Lake, version: int, minute: int, inverter_sn: str = "SIM0001") -> None:
    batch = rows.samples(3, start=rows.NOON + timedelta(minutes=minute), inverter_sn=inverter_sn)
    target.commit(version, batch, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))


def test_days_are_compacted_and_swept(
    place: Place, chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 4)
    node = Lake(place.store, "n1")
    for version in range(1, 8):
        commit(node, version, version)
    before = place.table().sort_by("ts").drop_columns(["repeat"])

    outcome = maintenance.run(chosen, NOW, every_day=True)

    assert [(day.files_before, day.files_after) for day in outcome.days] == [(7, 1)]
    assert place.table().drop_columns(["repeat"]).equals(before)
    assert len(place.store.names("readings")) == 8
    late = datetime.now(UTC) + timedelta(days=2)
    assert maintenance.run(chosen, late).deleted == 7
    assert len(place.store.names("readings")) == 1
    entries = [file for file in place.store.log_files("readings") if file.name.endswith(".json")]
    assert len(entries) < 8, "the log is as short as its checkpoint allows"
    # Another node's handle, older than what was deleted, goes on.
    commit(node, 8, 8)
    assert place.table().num_rows == before.num_rows + 3


def test_of_two_nodes_that_compact_one_day_the_second_finds_out(
    place: Place, chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Lake(place.store, "n1")
    for version in range(1, 4):
        commit(node, version, version)
    other = LakeTable(place.store, schema.READINGS)
    replace = LakeTable.replace
    todo = [lambda: day_rewrite.rewrite_day(other, "2026-06-15")]

    def second(table: LakeTable, old: list[lake_table.DataFile], new: list[AddAction]) -> None:
        if todo:
            todo.pop()()
        replace(table, old, new)

    monkeypatch.setattr(LakeTable, "replace", second)
    maintenance.run(chosen, NOW, every_day=True)
    assert place.table().num_rows == 9
    assert len(other.refresh()) == 1


def test_forget_leaves_nothing_in_any_object(place: Place, chosen: Settings, log: Path) -> None:
    there = place.settings | {"flush_seconds": "0.3"}
    with running(chosen.data, KEYS, log=log, **there) as server:
        for logger_sn in (FORGOTTEN, OTHER):
            with Wire(server.port) as wire:
                for number in range(5):
                    wire.exchange(data_frame(number, logger_sn=logger_sn))
        store = place.store
        eventually("all rows are in the table", lambda: place.table().num_rows == 10)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "autarco_ingest", "forget"),
                *("--logger", str(FORGOTTEN), "--yes", "--data", str(chosen.data)),
            ],
            env=os.environ | {f"AUTARCO_{name.upper()}": text for name, text in there.items()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, "traces left: 0" in done.stdout) == (0, True), done.stderr
        assert "5 rows of readings" in done.stdout
    assert set(place.table().column("logger_sn").to_pylist()) == {OTHER}
    for table in schema.TABLES:
        for file in [*store.names(table.name), *store.log_files(table.name)]:
            with store.open(table.name, file.name) as source:
                content = source.read()
            assert str(FORGOTTEN).encode() not in content, file.name
            assert b"OWN5678" not in content, file.name
    assert catalog.files(DataDirectory.at(chosen.data)) >= {
        store.full_name("readings", file.name) for file in store.names("readings")
    }
    assert msgspec.json.decode((chosen.data / "erasures.jsonl").read_bytes())["traces"] == []
