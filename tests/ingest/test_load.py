"""Rows of another instance come in once, are visible, and a forgotten one's stay outside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rows
from autarco_ingest import catalog, cli, forgotten, load, paths
from autarco_ingest.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest.load import Loaded


def loaded(data: Path, *files: tuple[str, Path]) -> list[Loaded]:
    found: list[Loaded] = []
    load.run(Settings(data=data), files, found.append)
    return found


def asked(data: Path, sql: str) -> list[dict[str, object]]:
    return catalog.query(paths.DataDirectory.at(data), sql).to_pylist()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    days = (rows.samples(10, start=rows.NOON + timedelta(days=day)) for day in range(3))
    path = tmp_path / "handed-out.parquet"
    table = pa.concat_tables(days).drop_columns(["repeat"])
    pq.write_table(table, path)
    return path


def test_a_file_comes_in_once(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In pieces, each a commit.
    monkeypatch.setattr(load, "ROWS_PER_COMMIT", 7)
    data = tmp_path / "data"

    (first,) = loaded(data, ("readings", file))
    (again,) = loaded(data, ("readings", file))

    assert (first.rows, first.was_there) == (30, False)
    assert (again.rows, again.was_there) == (0, True)
    assert asked(data, "SELECT count(*) AS n, count(DISTINCT date) AS d FROM readings") == [
        {"n": 30, "d": 3}
    ]
    assert asked(data, "SELECT count(*) AS n FROM latest") == [{"n": 1}]


def test_other_rows_and_tables_stay_visible(tmp_path: Path, file: Path) -> None:
    data = tmp_path / "data"
    events = tmp_path / "events.parquet"
    pq.write_table(rows.sessions({}, {"event": "close"}), events)

    loaded(data, ("readings", file))
    loaded(data, ("sessions", events))

    assert asked(data, "SELECT count(*) AS n FROM readings") == [{"n": 30}]
    assert asked(data, "SELECT count(*) AS n FROM sessions") == [{"n": 2}]


def test_nothing_of_a_forgotten_inverter_comes_in(tmp_path: Path, file: Path) -> None:
    data = tmp_path / "data"
    directory = paths.DataDirectory.at(data)
    directory.create()
    forgotten.add(directory, "inverter", "SIM0001")

    (found,) = loaded(data, ("readings", file))

    assert (found.rows, found.refused) == (0, 30)
    assert asked(data, "SELECT count(*) AS n FROM readings") == [{"n": 0}]


def test_what_cannot_be_loaded_is_said_in_one_sentence(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(file.read_bytes()[:-40])
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)

    for given in (
        "readings",
        f"people={file}",
        f"readings={tmp_path / 'none.parquet'}",
        f"readings={damaged}",
        f"readings={other}",
    ):
        assert cli.main(["load", "--data", str(tmp_path / "data"), given]) == cli.WRONG_USE
        assert len(capsys.readouterr().err.splitlines()) == 1

    assert cli.main(["load", "--data", str(tmp_path / "data"), f"readings={file}"]) == cli.DONE
    assert capsys.readouterr().out == f"readings: {file}: 30 rows\n"
