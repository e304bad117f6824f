"""A server keeps its tables small by itself, and the commands do the same by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import corpus
from autarco_ingest import paths
from autarco_ingest.paths import DataDirectory
from server_process import Wire, eventually, running
from test_server import OFFSET, count, data_frame, rows

if TYPE_CHECKING:
    from pathlib import Path


def command(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs `autarco-ingest` as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "autarco_ingest", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files(data: Path) -> list[str]:
    """The data files of the readings that are on disk, by name."""
    root = DataDirectory.at(data).lake / "readings"
    return sorted(path.name for path in root.glob("date=*/*.parquet"))


def test_a_loaded_server_compacts_and_loses_nothing(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    options = {
        "flush_seconds": "0.2",
        "maintenance__every_s": "0.5",
        "maintenance__small_files_max": "3",
        "maintenance__retired_grace_s": "0.5",
    }
    with running(data, log=log, **options) as server, Wire(server.port) as wire:
        sent = 0
        deadline = time.monotonic() + 30
        compactions = 0
        while compactions < 3 and time.monotonic() < deadline:
            for _ in range(10):
                wire.exchange(data_frame(sent))
                sent += 1
            time.sleep(0.05)
            compactions = log.read_text().count('"event": "compacted"')
        assert compactions >= 3, log.read_text()
        eventually("all rows are visible", lambda: count(data) == sent)
        eventually(
            "replaced files are deleted", lambda: "deleted replaced files" in log.read_text()
        )
        assert server.stop() == 0
    assert count(data) == sent
    assert rows(data, "SELECT count(DISTINCT ts) AS n FROM readings") == [{"n": sent}]
    assert any(map(paths.is_compacted, files(data)))


def test_maintenance_that_fails_is_a_problem_of_health_and_not_of_sticks(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    options = {"maintenance__every_s": "0.3", "flush_seconds": "3600", "tail_seconds": "3600"}
    with running(data, log=log, **options) as server, Wire(server.port) as wire:
        entry = paths.log_entry(DataDirectory.at(data).lake / "quarantine", 0)
        sound = entry.read_bytes()
        entry.write_bytes(b"not JSON")
        served = next(line for line in log.read_text().splitlines() if '"serving"' in line)
        host, port = json.loads(served)["http_address"]

        def problems() -> list[str]:
            try:
                with urllib.request.urlopen(f"http://{host}:{port}/health") as answer:
                    page = json.load(answer)
            except urllib.error.HTTPError as error:
                page = json.load(error)
            return [problem["part"] for problem in page["problems"]]

        eventually("health tells", lambda: "maintenance" in problems())
        assert wire.exchange(data_frame(0))[4] == 0x12
        entry.write_bytes(sound)
        eventually("health is well again", lambda: problems() == [])


def test_the_real_session_compacts_to_its_distinct_measurements(tmp_path: Path) -> None:
    lines = corpus.lines("solis-session.jsonl")
    data = tmp_path / "data"
    with running(data, log=tmp_path / "log") as server, Wire(server.port) as wire:
        for line in lines[::2]:
            wire.exchange(bytes.fromhex(line["hex"]))
        server.stop()
    done = command(data, "compact")
    assert done.returncode == 0, done.stderr
    # Historic records reach back to the day before.
    assert " -> 1 files, 15 rows, " in done.stdout
    assert " -> 1 files, 765 rows, " in done.stdout
    # The truth that stands in the recording's description: 319 measurements in 780 frames.
    answer = rows(data, "SELECT count(*) AS n, count(*) FILTER (repeat) AS repeats FROM readings")
    assert answer == [{"n": 780, "repeats": 780 - 319}]


def test_commands_by_hand(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    with running(data, log=log, flush_seconds="0.1", tail_seconds="0.1") as server:
        with Wire(server.port) as wire:
            for number in range(5):
                wire.exchange(data_frame(number))
                eventually("it is flushed", lambda: len(files(data)) > number)  # noqa: B023
        # Beside the running server.
        assert "nothing has expired" in command(data, "retain").stdout
        done = command(data, "compact")
        assert (done.returncode, done.stderr) == (0, "")
        assert "readings 2025-06-15: 5 files, 5 rows, " in done.stdout
        assert " -> 1 files, 5 rows, " in done.stdout
        assert "nothing to compact" in command(data, "compact", "--due").stdout
        assert count(data) == 5
        server.stop()
    assert command(data, "check").returncode == 0
    assert OFFSET == 1_750_000_000, "the date above follows from it"
    (tmp_path / "empty").mkdir()
    for place, sentence in (("nowhere", "is no data directory"), ("empty", "no table at")):
        refused = command(tmp_path / place, "compact")
        assert refused.returncode == 2
        assert sentence in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert list((tmp_path / "empty").iterdir()) == []
