"""Does `check` find what was damaged, nothing else, and does setting aside save the rest?"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
import pytest

import rows
from autarco_ingest import catalog, check_reader, cli, maintenance, paths, settings
from autarco_ingest.check_reader import Reader, ReaderError, ReadFile
from autarco_ingest.finding import Finding
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from server_process import Wire, running
from test_lake import make_version_1
from test_server import count, data_frame

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS_PER_BATCH = 40
BATCHES = 4


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AUTARCO_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a server under test logs."""
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> paths.DataDirectory:
    """Makes a data directory with four batches of readings, as a server leaves it."""
    directory = paths.DataDirectory.at(tmp_path / "data")
    directory.create()
    directory.lock.touch()
    lake = Lake(LocalStore(directory.lake), "node")
    for version in range(1, BATCHES + 1):
        lake.commit(
            version,
            rows.samples(ROWS_PER_BATCH, start=rows.NOON + timedelta(days=version)),
            rows.sessions({}),
            rows.quarantine({}),
        )
    moment = catalog.Moment(
        readings=lake.files("readings"),
        sessions=lake.files("sessions"),
        quarantine=lake.files("quarantine"),
    )
    catalog.rebuild(directory, moment, time_zone="Europe/Amsterdam")
    return directory


def check(data: paths.DataDirectory, *options: str) -> tuple[int, list[Finding], str]:
    """Runs the command; returns its exit code, findings and standard error."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "autarco_ingest", "check"),
            *("--data", str(data.root), "--format", "json", *options),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    findings = [msgspec.json.decode(line, type=Finding) for line in done.stdout.splitlines()]
    return done.returncode, findings, done.stderr.decode()


def readings_file(data: paths.DataDirectory, number: int) -> Path:
    """Returns a data file of the readings by the number of its batch."""
    (file,) = (data.lake / "readings").rglob(f"part-node-{number:012d}.*parquet")
    return file


def readings_count(data: paths.DataDirectory) -> int:
    """The readings that an analyst sees."""
    return count(data.root)


def place(data: paths.DataDirectory, path: Path) -> str:
    """How a finding names a file."""
    return str(path.relative_to(data.root))


def flip(path: Path, at: int, mask: int = 0x10) -> None:
    """Changes one bit of a file; a negative position counts from its end."""
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def shorten(path: Path) -> None:
    """Takes the end of a file away."""
    path.write_bytes(path.read_bytes()[:-50])


# --- nothing wrong --------------------------------------------------------------------------


def test_a_sound_directory_has_no_findings(data: paths.DataDirectory) -> None:
    assert check(data)[:2] == (0, [])


def test_beside_a_server_under_load_nothing_is_found(tmp_path: Path, log: Path) -> None:
    data = paths.DataDirectory.at(tmp_path / "data")
    stop = threading.Event()
    sent = [0, 0]

    def send(port: int, worker: int) -> None:
        with Wire(port) as wire:
            while not stop.is_set():
                number = sent[worker] + worker * 1_000_000
                wire.exchange(data_frame(number, logger_sn=4_000_000_000 + worker))
                sent[worker] += 1

    # Small segments and quick batches: everything changes several times during each check.
    options = {"flush_seconds": "0.2", "segment_bytes": "65536", "superseded_grace_s": "5"}
    with running(data.root, log=log, **options) as server:
        senders = [threading.Thread(target=send, args=(server.port, n)) for n in range(2)]
        for sender in senders:
            sender.start()
        try:
            for _ in range(5):
                before = sum(sent)
                assert check(data)[:2] == (0, [])
                assert sum(sent) > before
        finally:
            stop.set()
            for sender in senders:
                sender.join()
        assert server.stop() == 0
    assert check(data)[:2] == (0, [])
    assert readings_count(data) == sum(sent)


def test_what_kill_9_leaves_behind_is_no_finding(tmp_path: Path, log: Path) -> None:
    data = paths.DataDirectory.at(tmp_path / "data")
    with running(data.root, log=log, flush_seconds="3600") as server, Wire(server.port) as wire:
        for number in range(100):
            wire.exchange(data_frame(number))
        server.kill()

    assert check(data)[:2] == (0, [])


def test_what_is_no_data_directory_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--set-aside"], ["--bring-back"]):
        assert cli.main(["check", "--data", str(tmp_path), *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# --- tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda file: flip(file, 200), "cannot be read"),
        (lambda file: flip(file, -6), "cannot be read"),
        (shorten, "bytes"),
        (Path.unlink, "missing"),
    ],
    ids=["flipped value", "flipped footer", "cut off", "deleted"],
)
def test_a_damaged_data_file_is_named(
    data: paths.DataDirectory, damage: Callable[[Path], None], seen: str
) -> None:
    file = readings_file(data, 2)
    damage(file)

    code, findings, _ = check(data)

    assert code == 1
    found = next(finding for finding in findings if finding.place == place(data, file))
    assert found.severity == "damage"
    assert seen in found.seen


def test_no_flipped_byte_of_a_data_file_changes_a_value_unnoticed(
    data: paths.DataDirectory, tmp_path: Path
) -> None:
    original = readings_file(data, 1)
    content = original.read_bytes()
    truth = pq.ParquetFile(original).read()
    copy = tmp_path / "copy.parquet"
    dice = random.Random(1)
    found = 0
    with Reader() as reader:
        for at in sorted(dice.sample(range(len(content)), 300)):
            damaged = bytearray(content)
            damaged[at] ^= 1 << dice.randrange(8)
            copy.write_bytes(damaged)
            question = ReadFile(
                path=str(copy), columns="readings", partitioned=True, rows=ROWS_PER_BATCH
            )
            if reader.ask(question).fault:
                found += 1
            else:
                assert pq.ParquetFile(copy).read().equals(truth), at
    # The rest are page headers' and the footer's words that no reader of ours uses.
    assert found > 150


def test_another_number_of_rows_than_in_the_log_is_damage(data: paths.DataDirectory) -> None:
    file, other = readings_file(data, 1), readings_file(data, 2)
    table = pq.ParquetFile(file).read()
    entry = paths.log_entry(data.lake / "readings", 2)
    pq.write_table(
        table.slice(1), other, compression="zstd", store_schema=False, write_page_checksum=True
    )
    text = entry.read_text()
    size_before = text.partition('"size":')[2].partition(",")[0]
    entry.write_text(text.replace(size_before, str(other.stat().st_size)))

    _, findings, _ = check(data)

    assert [(finding.place, finding.seen) for finding in findings] == [
        (place(data, other), "cannot be read: 39 rows, 40 in the log")
    ]


def test_a_log_entry_that_would_let_readers_skip_rows_is_damage(
    data: paths.DataDirectory,
) -> None:
    entry = paths.log_entry(data.lake / "readings", 2)
    # One bit: 2026-06-17T12:00 became 2026-06-17T14:00.
    entry.write_text(entry.read_text().replace("2026-06-17T12:00:00", "2026-06-17T14:00:00", 1))

    _, findings, _ = check(data)

    assert [finding.place for finding in findings] == [place(data, readings_file(data, 2))]
    assert "than the log says" in findings[0].seen


def test_a_damaged_log_entry_is_named_and_files_are_read_all_the_same(
    data: paths.DataDirectory,
) -> None:
    entry = paths.log_entry(data.lake / "readings", 2)
    flip(entry, 2, 0x80)
    flip(readings_file(data, 3), 200)

    code, findings, _ = check(data)

    assert code == 1
    damaged = [finding.place for finding in findings if finding.severity == "damage"]
    assert damaged[:2] == [place(data, entry), place(data, readings_file(data, 3))]


def test_a_lost_log_entry_is_damage_and_a_torn_last_one_is_healed_by_the_server(
    data: paths.DataDirectory, log: Path
) -> None:
    newest = paths.log_entry(data.lake / "sessions", BATCHES)
    newest.write_bytes(b"")
    code, findings, _ = check(data)
    assert code == 1
    assert [(finding.severity, finding.place) for finding in findings] == [
        ("attention", place(data, newest))
    ]
    with running(data.root, log=log) as server:
        server.stop()
    assert check(data)[:2] == (0, [])

    lost = paths.log_entry(data.lake / "readings", 1)
    lost.unlink()
    assert (check(data)[1][0].severity, check(data)[1][0].place) == (
        "damage",
        place(data, lost),
    )


def test_a_damaged_checkpoint_costs_nothing_and_the_advice_works(
    data: paths.DataDirectory,
) -> None:
    lake = Lake(LocalStore(data.lake), "node")
    for version in range(BATCHES + 1, 105):
        lake.commit(version, rows.samples(1), rows.sessions(), rows.quarantine())
    (checkpoint,) = (
        path for files in paths.checkpoints(data.lake / "readings").values() for path in files
    )
    # The catalog names too few files, which is for the server to mend and no damage.
    assert check(data)[:2] == (0, [])
    content = checkpoint.read_bytes()
    hint = paths.last_checkpoint(data.lake / "readings")
    whole_hint = hint.read_bytes()
    hint.write_bytes(whole_hint[:20])
    assert [finding.place for finding in check(data)[1]] == [place(data, hint)]
    hint.write_bytes(whole_hint)
    actions = pq.read_table(checkpoint)
    is_added = actions.column("add").is_valid().to_pylist()
    pq.write_table(actions.take([at for at, add in enumerate(is_added) if not add]), checkpoint)
    assert "contradicts the entries" in check(data)[1][0].seen
    checkpoint.write_bytes(content[: len(content) // 2])

    code, findings, _ = check(data)

    assert code == 1
    assert checkpoint.name in findings[0].do
    checkpoint.unlink()
    hint.unlink()
    assert check(data)[:2] == (0, [])


def test_a_file_that_no_version_names_is_told_after_an_hour(data: paths.DataDirectory) -> None:
    file = readings_file(data, 1)
    left = file.with_name("part-node-000000000099.parquet")
    left.write_bytes(file.read_bytes())
    assert check(data)[:2] == (0, [])
    hours_ago = time.time() - 2 * 3600
    os.utime(left, (hours_ago, hours_ago))

    code, findings, _ = check(data)

    assert code == 1
    assert [(finding.severity, finding.place) for finding in findings] == [
        ("attention", place(data, left))
    ]


def test_a_reader_that_crashes_is_an_answer_and_one_that_is_killed_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def child(program: str) -> Callable[[Reader], subprocess.Popen[bytes]]:
        def start(reader: Reader) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=reader._complaints,
            )

        return start

    question = ReadFile(path="x.parquet", columns="readings", partitioned=True, rows=1)
    with Reader() as reader:
        crash = "import os, sys; print('bad footer', file=sys.stderr, flush=True); os.abort()"
        monkeypatch.setattr(Reader, "_start", child(crash))
        assert reader.ask(question).fault == "reading it crashes the reader: bad footer"
        monkeypatch.setattr(Reader, "_start", child("import os; os.kill(os.getpid(), 9)"))
        with pytest.raises(ReaderError):
            reader.ask(question)
        monkeypatch.setattr(check_reader, "ANSWER_S", 0.5)
        monkeypatch.setattr(Reader, "_start", child("import time; time.sleep(60)"))
        with pytest.raises(ReaderError):
            reader.ask(question)


# --- journal --------------------------------------------------------------------------------


@pytest.fixture
def killed(tmp_path: Path, log: Path) -> paths.DataDirectory:
    """Makes a data directory whose journal holds 100 acknowledged readings, not in the tables."""
    data = paths.DataDirectory.at(tmp_path / "killed")
    with running(data.root, log=log, flush_seconds="3600") as server, Wire(server.port) as wire:
        for number in range(100):
            wire.exchange(data_frame(number))
        server.kill()
    return data


def segments(data: paths.DataDirectory) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(data.journal.glob("*.wal"))


def written_bytes(segment: Path) -> int:
    """Where the zeros of a segment begin."""
    return len(segment.read_bytes().rstrip(b"\0"))


def test_damage_in_the_middle_of_a_segment_tells_what_is_hidden(
    killed: paths.DataDirectory,
) -> None:
    (segment,) = segments(killed)
    flip(segment, written_bytes(segment) // 2)

    code, findings, _ = check(killed)

    assert code == 1
    (found,) = findings
    assert (found.severity, found.place) == ("damage", place(killed, segment))
    read, _, hidden = (int(number) for number in re.findall(r"\d+", found.seen))
    assert read + hidden == 99
    assert "before a server starts" in found.do


def test_a_torn_tail_is_said_and_no_finding(killed: paths.DataDirectory) -> None:
    (segment,) = segments(killed)
    content = bytearray(segment.read_bytes())
    end = written_bytes(segment)
    sector = end // 512 * 512
    content[sector:end] = bytes(end - sector)
    segment.write_bytes(content)

    code, findings, said = check(killed)

    assert (code, findings) == (0, [])
    assert "nothing in them was acknowledged" in said


def test_a_missing_segment_that_no_table_has_is_damage(
    killed: paths.DataDirectory, log: Path
) -> None:
    first = segments(killed)[0].name
    # The next start stores the first segment; two more are needed, of which the older goes.
    for _ in range(2):
        with running(killed.root, log=log) as server:
            server.stop()
    with running(killed.root, log=log, flush_seconds="3600", segment_bytes="65536") as server:
        with Wire(server.port) as wire:
            for number in range(1000, 1800):
                wire.exchange(data_frame(number))
        server.kill()
    assert check(killed)[:2] == (0, [])
    waiting = [segment for segment in segments(killed) if segment.name > first]
    assert len(waiting) > 2
    waiting[-2].unlink()

    code, findings, _ = check(killed)

    assert code == 1
    assert [(finding.severity, finding.place) for finding in findings] == [
        ("damage", place(killed, waiting[-2]))
    ]


# --- catalog and directory ------------------------------------------------------------------


def test_a_catalog_that_is_damaged_or_gone_is_told_and_built_again(
    data: paths.DataDirectory, log: Path
) -> None:
    data.catalog.write_bytes(data.catalog.read_bytes()[:5000])
    code, findings, _ = check(data)
    assert code == 1
    assert [finding.place for finding in findings] == ["catalog.duckdb"]
    data.catalog.unlink()
    code, findings, _ = check(data)
    assert (code, [finding.seen for finding in findings]) == (1, ["missing"])

    with running(data.root, log=log) as server:
        server.stop()

    assert check(data)[:2] == (0, [])
    assert readings_count(data) == BATCHES * ROWS_PER_BATCH


def test_open_rights_and_small_files_that_are_wrong_are_told(data: paths.DataDirectory) -> None:
    data.address_keys.mkdir(mode=0o700)
    key = data.address_keys / "2026-06.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    assert check(data)[:2] == (0, [])
    key.chmod(0o644)
    data.root.chmod(0o777)
    data.registry.write_text("not a number\n")
    (data.address_keys / "2026-05.key").touch(mode=0o600)
    data.latest.write_bytes(b"PAR1")
    data.forgotten.write_bytes(b"{")
    data.forget_key.write_bytes(bytes(32))
    data.forget_key.chmod(0o640)

    code, findings, _ = check(data)

    assert code == 1
    told = {finding.place: finding.seen for finding in findings}
    assert "anybody" in told["."]
    assert "0644" in told[str(key)]
    assert "0 bytes" in told[str(data.address_keys / "2026-05.key")]
    assert "line 1" in told[str(data.registry)]
    assert "cannot be read" in told[place(data, data.latest)]
    assert "truncated" in told["forgotten.json"]
    assert "0640" in told["forget.key"]


# --- set aside and bring back ---------------------------------------------------------------


def test_setting_aside_saves_all_other_rows_and_the_server_goes_on(
    data: paths.DataDirectory, log: Path
) -> None:
    flip(readings_file(data, 1), 200)
    shorten(readings_file(data, 2))
    readings_file(data, 3).unlink()
    with pytest.raises(catalog.QueryError):
        readings_of_each_day(data)

    code, findings, _ = check(data, "--set-aside")

    assert code == 1
    assert len(findings) == 3
    for finding, day in zip(
        sorted(findings, key=lambda finding: finding.place), (16, 17, 18), strict=True
    ):
        assert f"lacks 40 rows of 2026-06-{day}" in finding.seen
    assert len([path for path in data.damaged.rglob("*") if path.is_file()]) == 2
    assert readings_of_each_day(data) == [40]
    assert check(data)[:2] == (0, [])
    with running(data.root, log=log, node="node") as server:
        with Wire(server.port) as wire:
            for number in range(10):
                wire.exchange(data_frame(number))
        assert server.stop() == 0
    assert sorted(readings_of_each_day(data)) == [10, 40]
    assert check(data)[:2] == (0, [])


def test_what_was_set_aside_comes_back_from_a_backup(data: paths.DataDirectory, log: Path) -> None:
    file = readings_file(data, 2)
    backup = file.read_bytes()
    shorten(file)
    check(data, "--set-aside")
    assert readings_count(data) == (BATCHES - 1) * ROWS_PER_BATCH
    # A copy that is no better than what was set aside stays out.
    file.write_bytes(backup[:-50])
    code, findings, _ = check(data, "--bring-back")
    assert (code, [finding.severity for finding in findings]) == (1, ["attention"])

    file.write_bytes(backup)
    assert "--bring-back" in check(data)[1][0].do
    code, findings, said = check(data, "--bring-back")

    assert (code, findings) == (0, [])
    assert "40 rows" in said
    assert readings_count(data) == BATCHES * ROWS_PER_BATCH
    with running(data.root, log=log) as server:
        server.stop()
    assert readings_count(data) == BATCHES * ROWS_PER_BATCH
    assert check(data, "--bring-back")[:2] == (0, [])


def test_what_was_set_aside_comes_back_after_maintenance_too(data: paths.DataDirectory) -> None:
    file = readings_file(data, 2)
    backup = file.read_bytes()
    shorten(file)
    check(data, "--set-aside")
    chosen = settings.load(overrides={"data": str(data.root), "retention.sessions_days": "0"})
    for table in maintenance.open_tables(chosen, data):
        table.checkpoint()
    file.write_bytes(backup)
    # Copied with the time it had.
    os.utime(file, (1_000_000_000, 1_000_000_000))

    maintenance.run(chosen, datetime.now(UTC) + timedelta(days=30), compact=False)

    assert file.exists()
    assert check(data, "--bring-back")[:2] == (0, [])
    assert readings_count(data) == BATCHES * ROWS_PER_BATCH


def test_setting_aside_that_was_interrupted_is_finished_by_the_next(
    data: paths.DataDirectory,
) -> None:
    file = readings_file(data, 2)
    away = data.damaged / "readings" / file.parent.name / file.name
    away.parent.mkdir(parents=True)
    file.rename(away)

    assert check(data, "--set-aside")[0] == 1
    assert check(data)[:2] == (0, [])
    assert readings_count(data) == (BATCHES - 1) * ROWS_PER_BATCH


def test_nothing_is_set_aside_while_a_server_runs(data: paths.DataDirectory, log: Path) -> None:
    file = readings_file(data, 2)
    with running(data.root, log=log):
        shorten(file)
        for option in ("--set-aside", "--bring-back"):
            code, findings, said = check(data, option)
            assert (code, findings) == (2, [])
            assert "stop it first" in said
        assert file.exists()
        assert check(data)[0] == 1


def readings_of_each_day(data: paths.DataDirectory) -> list[Any]:
    """Counts the readings of each day, reading a value of each."""
    result = catalog.query(
        data, "SELECT count(inverter_sn) AS n, max(ts) FROM readings GROUP BY date ORDER BY date"
    )
    return list(result.column("n").to_pylist())


def test_tables_of_an_older_version_are_no_damage(tmp_path: Path) -> None:
    data = paths.DataDirectory.at(tmp_path / "data")
    data.create()
    data.lock.touch()
    make_version_1(data.lake)

    code, findings, _ = check(data, "--set-aside")

    assert code == 1
    assert [finding for finding in findings if finding.severity == "damage"] == []
    (older,) = [finding for finding in findings if finding.place == "lake/sessions"]
    assert older.seen.startswith("schema version 1, older than this program")
    assert len(list((data.lake / "sessions").glob("*/*.parquet"))) == 2
