"""docs/analytics.md says what the derived tables are, and their files carry it into the catalog."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from autarco_portal import derived
from autarco_portal.derived_store import DerivedError, DerivedStore, frame
from autarco_portal.portal_paths import PortalDirectory

DOCUMENT = Path(__file__).parents[2] / "docs" / "analytics.md"
MAY, JUNE = date(2026, 5, 31), date(2026, 6, 1)


def state(site_id: str, day: date, cusum: float) -> pl.DataFrame:
    values = {"baseline": float("nan"), "spread": 0.1, "loss": 0.0, "run_days": 0, "blank_days": 0}
    columns = {"site_id": site_id, "date": day, "cusum": cusum, "recent": [None, 0.1], **values}
    return frame(derived.DETECTOR_STATE, {name: [value] for name, value in columns.items()})


@pytest.fixture
def store(tmp_path: Path) -> DerivedStore:
    return DerivedStore(PortalDirectory(tmp_path))


@pytest.mark.parametrize("table", derived.TABLES, ids=lambda table: table.name)
def test_the_document_names_every_column_as_it_is(table: derived.Derived) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    section = re.search(rf"^### {table.name}\n\n(.*?)(?=\n### |\Z)", text, re.MULTILINE | re.DOTALL)

    assert section is not None
    assert section[1].startswith(table.description)
    rows = [line.strip("|").split("|") for line in section[1].splitlines() if line[:3] == "| `"]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [f"`{one.name}`", str(one.type), one.unit or "", one.description] for one in table.columns
    ]


def test_the_document_has_no_other_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    named = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert named == [table.name for table in derived.TABLES]


def test_a_day_is_replaced_and_others_stay(store: DerivedStore) -> None:
    table = derived.DETECTOR_STATE
    both = pl.concat([state("a", MAY, 1), state("b", MAY, 2), state("a", JUNE, 3)])
    store.put(table, both, [MAY, JUNE])
    store.put(table, state("a", MAY, 5), [MAY], ["a"])

    found = store.everything(table).sort("date", "site_id")
    assert found.select("site_id", "cusum").rows() == [("a", 5), ("b", 2), ("a", 3)]
    assert found["baseline"].null_count() == 3
    assert found["recent"].to_list()[0] == [None, 0.1]
    assert [file.name for file in store.files(table)] == ["2026-05.parquet", "2026-06.parquet"]
    assert len(store.read(table, MAY, MAY)) == 2
    # A day that has no rows any more has none.
    store.put(table, both.clear(), [JUNE])
    assert len(store.read(table, JUNE, JUNE)) == 0


def test_files_carry_their_descriptions(store: DerivedStore) -> None:
    store.put(derived.DETECTOR_STATE, state("a", MAY, 1), [MAY])

    (file,) = store.files(derived.DETECTOR_STATE)
    carried = pq.read_schema(file)
    assert carried.metadata is not None
    assert carried.metadata[b"description"].decode() == derived.DETECTOR_STATE.description
    assert (carried.field("loss").metadata or {})[b"unit"] == b"kWh/kWp"


def test_a_damaged_file_is_named(store: DerivedStore) -> None:
    store.put(derived.DETECTOR_STATE, state("a", MAY, 1), [MAY])
    (file,) = store.files(derived.DETECTOR_STATE)
    file.write_bytes(b"PAR1 no more")

    with pytest.raises(DerivedError, match=str(file)):
        store.everything(derived.DETECTOR_STATE)


def test_a_forgotten_site_is_in_no_table(store: DerivedStore, tmp_path: Path) -> None:
    both = pl.concat([state("erase-me", MAY, 1), state("b", MAY, 2), state("erase-me", JUNE, 3)])
    store.put(derived.DETECTOR_STATE, both, [MAY, JUNE])

    assert store.forget(["erase-me"]) == 2
    assert store.everything(derived.DETECTOR_STATE)["site_id"].to_list() == ["b"]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"erase-me" in file.read_bytes() for file in files)
