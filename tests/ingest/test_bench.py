"""Does `autarco-ingest bench` measure, count what is in the table, and leave nothing behind?"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from autarco_ingest import _core, bench, cli, server_process

SOUND = bench.Outcome(
    sticks=1,
    fleet_processes=1,
    seconds=1.0,
    frames=10,
    frames_per_s=10.0,
    ack_p50_ms=1.0,
    ack_p99_ms=2.0,
    ack_p999_ms=3.0,
    fleet_cpu_us_per_frame=1.0,
    server_cpu_us_per_frame=None,
    unanswered=0,
    acknowledged=10,
    stored=None,
    lost=None,
    doubled=None,
)


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AUTARCO_")]:
        monkeypatch.delenv(name)


def test_two_fleets_saturate_a_server_and_all_is_in_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(bench, "STICKS_PER_FLEET", 12)

    code = cli.main(["bench", "--sticks", "20", "--seconds", "2", "--format", "json"])

    shown = capfd.readouterr()
    assert code == 0
    outcome = json.loads(shown.out)
    assert (outcome["sticks"], outcome["fleet_processes"]) == (20, 2)
    assert 2.0 <= outcome["seconds"] < 4.0
    assert outcome["acknowledged"] == outcome["stored"] > 100
    assert (outcome["lost"], outcome["doubled"], outcome["unanswered"]) == (0, 0, 0)
    assert 0 < outcome["ack_p50_ms"] <= outcome["ack_p99_ms"] <= outcome["ack_p999_ms"]
    assert outcome["server_cpu_us_per_frame"] > 0 < outcome["fleet_cpu_us_per_frame"]
    assert "20 sticks connect from 2 processes" in shown.err
    assert not list(tmp_path.iterdir())


def test_a_server_that_runs_already_is_loaded_at_a_rate_after_a_yes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server_process.running(tmp_path, bench.SERVER_ENVIRONMENT) as server:
        arguments = ["bench", "--to", f"localhost:{server.port}", "--sticks", "5"]
        assert cli.main([*arguments, "--seconds", "1", "--rate", "50"]) == 2
        refused = capfd.readouterr()
        assert "made-up readings of loggers 1800000001 to 1800000005 stay" in refused.err
        assert "--yes" in refused.err

        assert cli.main([*arguments, "--seconds", "1", "--rate", "50", "--yes"]) == 0

    shown = capfd.readouterr()
    assert "warning: made-up readings" in shown.err
    lines = [line.strip() for line in shown.out.splitlines() if line.strip()]
    rows = dict(re.split(r" {2,}", line) for line in lines)
    assert rows["records acknowledged"] == "50"
    assert rows["lost"] == rows["server's CPU per frame, tables included, µs"] == "not known here"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "192.0.2.1:10000", "--yes"], "only a server on this machine"),
        (["--to", "example.net:10000", "--yes"], "only a server on this machine"),
        (["--to", "127.0.0.1:9", "--sticks", "1"], "--yes"),
        (["--sticks", "1", "--rate", "9000000", "--seconds", "9"], "over a million"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("autarco-ingest bench: ")
    assert complaint in last


def test_more_sticks_than_descriptors_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("autarco_ingest.descriptors.raise_limit", lambda: 1_256)

    assert cli.main(["bench", "--sticks", "1001"]) == 2

    assert "a process may hold 1000 connections here" in capsys.readouterr().err


def test_a_lost_record_does_not_hide_behind_one_that_nobody_answered() -> None:
    acknowledged = pa.array([1, 2, 3], pa.int64())

    kept = bench.compare(acknowledged, pa.chunked_array([[1, 2], [4, 4]], pa.int64()))

    assert kept == bench.Kept(stored=4, lost=1, doubled=1)
    nothing = bench.compare(acknowledged[:0], pa.chunked_array([], pa.int64()))
    assert nothing == bench.Kept(stored=0, lost=0, doubled=0)


def test_a_port_where_nobody_listens_is_told_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()

    code = cli.main(["bench", "--to", f"127.0.0.1:{port}", "--sticks", "1", "--yes"])

    assert code == 2
    assert f"no server at 127.0.0.1:{port}: Connection refused" in capfd.readouterr().err
    assert time.monotonic() - began < 5


def test_a_fleet_that_dies_before_it_begins_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    begin = bench._begin

    def killed(fleet: subprocess.Popen[str]) -> None:
        fleet.kill()
        fleet.wait()
        begin(fleet)

    monkeypatch.setattr(bench, "_begin", killed)

    assert cli.main(["bench", "--sticks", "2", "--seconds", "1"]) == 2

    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("autarco-ingest bench: a fleet ended before its time: ")
    assert not list(tmp_path.iterdir())


def test_sigterm_takes_server_and_directory_along(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autarco_ingest", "bench", "--sticks", "2", "--seconds", "60"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if "as fast as answers come" in line:
                break
        assert "as fast as answers come" in told[-1], told
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2, "a server and a fleet"
        process.terminate()
        process.stderr.read()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.parametrize(
    ("lost", "doubled", "is_sound"),
    [(0, 0, True), (1, 0, False), (0, 1, False), (None, None, True)],
)
def test_what_is_lost_or_doubled_is_a_finding(
    lost: int | None, doubled: int | None, is_sound: bool
) -> None:
    outcome = bench.Outcome(**{**vars(SOUND), "lost": lost, "doubled": doubled})
    assert outcome.is_sound is is_sound


def test_the_fleet_refuses_other_machines_and_nonsense_as_python_errors() -> None:
    with pytest.raises(ValueError, match="only a server on this machine"):
        _core.run_fleet(["--to", "192.0.2.1:1", "--sticks", "1"])
    with pytest.raises(ValueError, match="unknown option --frobnicate"):
        _core.run_fleet(["--frobnicate"])
    assert "--window K" in _core.run_fleet(["--help"])
