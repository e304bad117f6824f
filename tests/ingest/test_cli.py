"""Does each command do what it says, and answer bad input in one sentence?"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from autarco_ingest import catalog, cli, paths, render, stick

if TYPE_CHECKING:
    from pathlib import Path

HEARTBEAT = stick.encode(
    0x47, server_counter=3, logger_counter=9, logger_sn=1_700_000_001, payload=b"\0"
)
DEADLINE_S = 60


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AUTARCO_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Makes a data directory whose catalog holds no readings."""
    directory = paths.DataDirectory.at(tmp_path / "data")
    directory.create()
    nothing = catalog.Moment(readings=[], sessions=[], quarantine=[])
    catalog.rebuild(directory, nothing, time_zone="Europe/Amsterdam")
    return directory.root


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "autarco_ingest", *arguments],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )


# --- use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["simulate"],
        ["simulate", "--to", "nowhere"],
        ["simulate", "--to", "127.0.0.1:0"],
        ["simulate", "--to", "127.0.0.1:70000"],
        ["simulate", "--to", "127.0.0.1:9", "--sticks", "0"],
        ["simulate", "--to", "127.0.0.1:9", "--days", "many"],
        ["simulate", "--to", "127.0.0.1:9", "--end", "soon"],
        ["simulate", "--to", "127.0.0.1:9", "--timeout", "-1"],
        ["replay", "--to", "127.0.0.1:9"],
        ["sql", "--format", "xml", "SELECT 1"],
        ["bench", "--sticks", "0"],
        ["bench", "--rate", "none"],
        ["bench", "--seconds", "0"],
        ["bench", "--window", "129"],
        ["bench", "--to", "here"],
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)

    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert shown.out == ""
    assert shown.err.startswith("autarco-ingest")
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["decode", "/nowhere/at/all"], "cannot read /nowhere/at/all"),
        (["decode", "."], "cannot read ."),
        (["replay", "/nowhere", "--to", "127.0.0.1:9"], "cannot read /nowhere"),
        (["sql", "--data", "/nowhere", "SELECT 1"], "no catalog in /nowhere"),
        (["sql", "--config", "/nowhere.toml", "SELECT 1"], "cannot read /nowhere.toml"),
        (["serve", "--listen", "here"], "listen: expected HOST:PORT, got 'here'"),
        (["simulate", "--to", "127.0.0.1:9", "--truth", "/no/where"], "no such directory"),
    ],
)
def test_a_wrong_file_or_setting_is_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"autarco-ingest {arguments[0]}: ")
    assert complaint in shown


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-06-21T22:00", "2025-06-21T20:00:00+00:00"),
        ("2025-12-21T22:00", "2025-12-21T21:00:00+00:00"),
        ("2025-06-21T22:00Z", "2025-06-21T22:00:00+00:00"),
    ],
)
def test_a_moment_without_zone_is_the_fleets_local_time(text: str, utc: str) -> None:
    assert cli._moment(text).isoformat() == utc


def test_help_loads_nothing_heavy() -> None:
    heavy = ("trio", "polars", "pyarrow", "duckdb", "deltalake", "rich", "msgspec")
    program = (
        "import sys; from autarco_ingest import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=DEADLINE_S, check=True
    )

    assert done.stdout.endswith(b"[]\n")


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.startswith("autarco-ingest 0.1.0")


def test_the_configuration_file_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "autarco.toml"
    config.write_text("altitude = 3\n")
    monkeypatch.setenv("AUTARCO_CONFIG", str(config))

    assert cli.main(["version"]) == 2
    assert "altitude" in capsys.readouterr().err


# --- decode ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [HEARTBEAT, HEARTBEAT.hex().encode(), b'{"hex": "' + HEARTBEAT.hex().encode() + b'"}\n'],
    ids=["raw", "hex", "json"],
)
def test_decode_takes_hex_json_lines_and_raw_bytes(given: bytes) -> None:
    done = run("decode", stdin=given)

    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    shown = json.loads(line)
    assert (shown["protocol"], shown["logger_sn"]) == ("v5", 1_700_000_001)
    assert shown["kind"] == "heartbeat"


def test_decode_says_why_a_frame_is_rejected() -> None:
    damaged = HEARTBEAT[:-2] + bytes([HEARTBEAT[-2] ^ 1]) + HEARTBEAT[-1:]

    done = run("decode", stdin=damaged.hex().encode() + b"\n" + HEARTBEAT.hex().encode())

    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert shown[0]["rejected"] == "checksum"
    assert shown[-1]["kind"] == "heartbeat"


def test_decode_of_nothing_is_nothing() -> None:
    done = run("decode", stdin=b"")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_decode_refuses_text_that_is_not_hex() -> None:
    done = run("decode", stdin=b"good morning\n")

    assert done.returncode == 2
    assert done.stderr == b"autarco-ingest decode: - line 1 is not hex: 'good morning'\n"


def test_a_reader_that_stops_early_is_no_failure(tmp_path: Path) -> None:
    many = tmp_path / "many.hex"
    many.write_text((HEARTBEAT.hex() + "\n") * 20_000)
    command = [sys.executable, "-m", "autarco_ingest", "decode", str(many)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        complaints = process.stderr.read()
        code = process.wait(DEADLINE_S)

    assert (code, complaints) == (0, b"")


def test_an_interrupt_ends_with_130() -> None:
    # A test run in the background has interrupts switched off, and its children inherit that.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from autarco_ingest import cli; sys.exit(cli.main(['decode', '-']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        # It is reading when it has taken more than a pipe holds.
        process.stdin.write(b"#" * 300_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, complaints) == (130, b"")


# --- sql ------------------------------------------------------------------------------------


def test_sql_without_a_question_lists_the_views(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))

    assert cli.main(["sql", "--data", str(data)]) == 0

    shown = capsys.readouterr().out
    for view in ("readings", "latest", "sessions", "daily_energy"):
        assert view in shown


def test_sql_reads_its_question_from_standard_input(data: Path) -> None:
    done = run("sql", "--data", str(data), "--format", "csv", stdin=b"SELECT 6 * 7 AS answer")

    assert done.stdout == b"answer\n42\n"


def test_sql_that_is_wrong_is_explained(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sql", "--data", str(data), "SELECT altitude FROM readings"]) == 2
    assert "altitude" in capsys.readouterr().err
    assert cli.main(["sql", "--data", str(data), "DROP VIEW readings"]) == 2
    assert "only reading statements" in capsys.readouterr().err


@pytest.fixture
def result() -> pa.Table:
    """Makes a result with each kind of value that a query can give."""
    return pa.table(
        {
            "name": pa.array(["a", None], pa.string()),
            "power": pa.array([235.8, None], pa.float32()),
            "count": pa.array([7, -1], pa.int64()),
            "at": pa.array([0, 1_500_000], pa.timestamp("us", "UTC")),
            "raw": pa.array([b"\xa5\x01", b""], pa.binary()),
            "many": pa.array([[1, 2], []], pa.list_(pa.int64())),
        }
    )


def test_a_table_is_aligned_and_counts_its_rows(result: pa.Table) -> None:
    out = io.StringIO()

    render.table(result, out)

    header, rule, first, second, count = out.getvalue().splitlines()
    assert first.split() == ["a", "235.8", "7", "1970-01-01", "00:00:00Z", "a501", "[1,", "2]"]
    assert second.startswith("-         -     -1  1970-01-01 00:00:01.500000Z")
    assert rule.index(" ") == header.index("  ") == 4
    assert count == "(2 rows)"


def test_csv_and_json_can_be_read_back(result: pa.Table) -> None:
    as_csv, as_json = io.StringIO(), io.StringIO()

    render.as_csv(result, as_csv)
    render.as_json(result, as_json)

    rows = list(csv.DictReader(io.StringIO(as_csv.getvalue())))
    assert [row["power"] for row in rows] == ["235.8", ""]
    objects = json.loads(as_json.getvalue())
    assert objects[0] == {
        "name": "a",
        "power": 235.8,
        "count": 7,
        "at": "1970-01-01T00:00:00Z",
        "raw": "a501",
        "many": [1, 2],
    }
    assert objects[1]["name"] is None
    empty = io.StringIO()
    render.as_json(result.slice(0, 0), empty)
    assert json.loads(empty.getvalue()) == []


def test_not_a_number_is_null_in_json_and_control_characters_stay_in_their_cell() -> None:
    odd = pa.table({"x": [float("nan")], "y": ["\x1b[2J\n"]})
    as_json, table = io.StringIO(), io.StringIO()

    render.as_json(odd, as_json)
    render.table(odd, table)

    assert json.loads(as_json.getvalue())[0]["x"] is None
    assert "\x1b" not in table.getvalue()
    assert len(table.getvalue().splitlines()) == 4
