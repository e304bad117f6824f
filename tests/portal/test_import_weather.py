"""Weather files come into the table once, by the command, and what cannot be read is named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from autarco_ingest.paths import DataDirectory
from autarco_portal import cli
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.weather_store import WeatherStore

if TYPE_CHECKING:
    from pathlib import Path

STATIONS = "260\nDe Bilt\nDB\n52.1\n5.18\n"
HEADER = "# STN,YYYYMMDD,   HH,   FH,    T,    Q,    S\n"
DAY = (datetime(2024, 6, 21, tzinfo=UTC), datetime(2024, 6, 22, tzinfo=UTC))


def uurgeg(path: Path, *, noon: int = 250) -> Path:
    lines = [f"  260,20240621,{hour:5},   30,  180,{noon if hour == 12 else 0:5},    0" for hour in
             range(1, 25)]  # fmt: skip
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def run(root: Path, *arguments: str) -> int:
    return cli.main(["import-weather", "--data", str(root), *arguments])


def store(root: Path) -> WeatherStore:
    return WeatherStore(PortalDirectory.of(DataDirectory.at(root)))


@pytest.fixture
def stations(tmp_path: Path) -> str:
    path = tmp_path / "stations.csv"
    path.write_text(STATIONS)
    return str(path)


def test_a_file_is_imported_once(
    tmp_path: Path, stations: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(uurgeg(tmp_path / "uurgeg_260.txt"))

    assert run(tmp_path, file, "--stations", stations) == 0
    first = store(tmp_path).rows(*DAY)
    assert run(tmp_path, file) == 0

    out = capsys.readouterr().out
    assert "BRON: KNMI" in out
    assert "uurgeg_260.txt: is in the table already" in out
    assert store(tmp_path).rows(*DAY).equals(first)
    assert first["ghi"].max() == pytest.approx(250 / 0.36)
    assert first["ts"].min() == DAY[0]
    (known,) = store(tmp_path).index().files
    assert (known.hours, known.hours_changed) == (24, 24)
    assert set(first["source_file_sha256"]) == {known.sha256}


def test_a_later_file_corrects_an_hour(tmp_path: Path, stations: str) -> None:
    run(tmp_path, str(uurgeg(tmp_path / "a.txt")), "--stations", stations)
    run(tmp_path, str(uurgeg(tmp_path / "b.txt", noon=260)), "--stations", stations)

    found = store(tmp_path)
    assert [known.hours_changed for known in found.index().files] == [24, 1]
    assert len(found.rows(*DAY)) == 24
    assert found.rows(*DAY)["ghi"].max() == pytest.approx(260 / 0.36)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.txt", "nothing says where station 260 is"), ("absent.txt", "cannot read"),
     ("binary.txt", "no KNMI hourly file")],
)  # fmt: skip
def test_what_cannot_be_taken_is_said_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    uurgeg(tmp_path / "a.txt")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))

    assert run(tmp_path, str(tmp_path / name)) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_there_must_be_a_data_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", str(uurgeg(tmp_path / "a.txt"))) == 2
    assert "is no data directory" in capsys.readouterr().err
