"""Claim: on an ill disk nothing acknowledged is lost, nothing is doubled, and the server recovers.

Faults are provoked for real: file systems that are full or read-only, system calls that fail or
take long, files that were damaged. Sticks send all the time (see `load`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from interposed import Faults, build
from load import Load, sending
from report import note

from autarco_ingest import catalog, paths
from autarco_ingest.paths import DataDirectory
from server_process import ServerProcess, Wire, eventually, running
from test_server import count, envelope, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = {"flush_seconds": "0.4", "segment_bytes": str(64 * 1024), "disk_free_warn_bytes": "0"}
BLOCK_BYTES = 4096


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server under test logs."""
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Its data directory."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes system calls fail."""
    return build(tmp_path_factory.mktemp("interpose"))


# --- file systems that are full or read-only -----------------------------------------------


@contextlib.contextmanager
def mounted(place: Path, *, megabytes: int) -> Iterator[Path]:
    """Mounts a file system of its own; skips where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    size = f"size={megabytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root: a really full disk is not tested")
    try:
        yield place
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Takes the last free byte of a file system; returns the file that holds it."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (1024 * 1024, BLOCK_BYTES):
            with contextlib.suppress(OSError):
                while file.write(bytes(block)) == block:
                    pass
    assert shutil.disk_usage(place).free < BLOCK_BYTES
    return ballast


@pytest.mark.parametrize("place", ["data directory", "journal"])
def test_a_full_disk_stops_the_acknowledgements_until_there_is_room(
    data: Path, log: Path, place: str
) -> None:
    directory = DataDirectory.at(data)
    where = directory.root if place == "data directory" else directory.journal
    with (
        mounted(where, megabytes=24),
        running(data, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        ballast = fill(where)
        eventually("nobody is answered", load.is_silent, seconds=40)
        with Wire(server.port) as wire:
            assert wire.exchange(envelope(0x47, b"\0"))[4] == 0x17, "heartbeats need no disk"
        ballast.unlink()
        first_s = load.goes_on(seconds=40)
        _all_is_there(server, load, data, f"full disk: {place}", "tmpfs filled", first_s)


def test_a_full_lake_stops_no_acknowledgement_and_heals(data: Path, log: Path) -> None:
    directory = DataDirectory.at(data)
    with (
        mounted(directory.lake, megabytes=24),
        running(data, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        ballast = fill(directory.lake)
        eventually("the lake is ill", lambda: "lake cannot be written" in log.read_text())
        during_s = load.goes_on()
        assert during_s < 2.0
        ballast.unlink()
        healed_s = _visible(load, data)
        _all_is_there(server, load, data, "full disk: lake", "tmpfs filled", during_s, healed_s)


def test_a_disk_that_turns_read_only_and_back(data: Path, log: Path) -> None:
    with (
        mounted(data, megabytes=64),
        running(data, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        _remount(data, "ro")
        eventually("nobody is answered", load.is_silent, seconds=40)
        _remount(data, "rw")
        first_s = load.goes_on(seconds=40)
        _all_is_there(server, load, data, "read-only disk", "tmpfs remounted", first_s)


def _remount(place: Path, mode: str) -> None:
    # A file system with files open for writing refuses; between two segments the server has none.
    command = ["mount", "-o", f"remount,{mode}", str(place)]
    eventually(
        f"{place} is {mode}",
        lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0,
        seconds=30,
    )


# --- system calls that fail or take long ---------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.3, 1.2])
def test_a_slow_disk_delays_answers_and_nothing_else(
    data: Path, log: Path, library: Path, tmp_path: Path, delay_s: float
) -> None:
    faults = Faults(library, tmp_path, data)
    with (
        running(data, faults.environment, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        faults.control.sync_delay_us = int(delay_s * 1e6)
        time.sleep(0.2)
        before = load.acknowledged
        with Wire(server.port) as wire:
            for _ in range(20):
                started = time.monotonic()
                wire.exchange(envelope(0x47, b"\0"))
                assert time.monotonic() - started < delay_s, "a heartbeat waited for the disk"
        eventually("answers come", lambda: load.acknowledged > before + 3, seconds=30)
        faults.control.sync_delay_us = 0
        first_s = load.goes_on()
        fault = f"slow disk: {delay_s} s per fsync"
        _all_is_there(server, load, data, fault, "fsync delayed in libc", first_s)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failed_journal_write_is_made_good_elsewhere(
    data: Path, log: Path, library: Path, tmp_path: Path, error: int
) -> None:
    faults = Faults(library, tmp_path, DataDirectory.at(data).journal)
    with (
        running(data, faults.environment, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        faults.control.error = error
        for kind in ("syncs_to_fail", "writes_to_fail"):
            setattr(faults.control, kind, 2)
            eventually("it has failed twice", lambda k=kind: getattr(faults.control, k) == 0)
        first_s = load.goes_on()
        assert faults.control.failed == 4
        assert "not acknowledging" in log.read_text()
        server.kill()
        log.write_text("")
        _restarted(load, data, log, f"journal: {errno.errorcode[error]} and kill -9", first_s)


def test_a_lake_whose_fsync_fails_is_taken_up_by_a_restart(
    data: Path, log: Path, library: Path, tmp_path: Path
) -> None:
    faults = Faults(library, tmp_path, DataDirectory.at(data).lake)
    with (
        running(data, faults.environment, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        faults.control.error = errno.EIO
        faults.control.syncs_to_fail = 3
        eventually("it has failed", lambda: faults.control.syncs_to_fail == 0)
        first_s = load.goes_on()
        server.stop()
        _restarted(load, data, log, "lake: EIO from fsync", first_s)


def test_a_clock_that_jumps_doubles_nothing_and_closes_nothing(
    data: Path, log: Path, library: Path, tmp_path: Path
) -> None:
    faults = Faults(library, tmp_path, data)
    with (
        running(data, faults.environment, log=log, **QUICK) as server,
        sending(server.port) as load,
    ):
        load.goes_on()
        for shift_s in (3_600, -3_600, 86_400, -86_400, 0):
            faults.control.clock_shift_s = shift_s
            first_s = load.goes_on(frames=120)
        assert load.connections == 3, "a jump has closed a connection"
        eventually("the jump is told", lambda: "clock jumped" in log.read_text())
        fault = "clock jumps of an hour and a day"
        _all_is_there(server, load, data, fault, "libc's clock shifted", first_s)


# --- processes that stop --------------------------------------------------------------------


def test_a_server_that_is_stopped_for_a_while_goes_on(data: Path, log: Path) -> None:
    with running(data, log=log, **QUICK) as server, sending(server.port) as load:
        load.goes_on()
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        server.process.send_signal(signal.SIGCONT)
        first_s = load.goes_on()
        _all_is_there(server, load, data, "process stopped for 3 s", "SIGSTOP", first_s)


def test_a_server_killed_while_it_recovers_recovers_the_next_time(data: Path, log: Path) -> None:
    options = {**QUICK, "flush_seconds": "3600"}
    with running(data, log=log, **options) as server, sending(server.port) as load:
        load.goes_on(frames=300)
        for delay_s in (0.3, 0.5, 0.7, 0.9):
            server.kill()
            interrupted = subprocess.Popen(
                [*server.command], env=server.environment, stdout=subprocess.DEVNULL
            )
            time.sleep(delay_s)
            interrupted.kill()
            interrupted.wait()
        started = time.monotonic()
        _restarted(load, data, log, "killed four times during recovery", None, started=started)


# --- files that were damaged ----------------------------------------------------------------


def test_a_torn_journal_tail_is_left_out(data: Path, log: Path) -> None:
    options = {**QUICK, "flush_seconds": "3600"}
    with running(data, log=log, **options) as server, sending(server.port) as load:
        load.goes_on(frames=100)
        server.kill()
        load.stop()
        newest = max(DataDirectory.at(data).journal.glob("*.wal"))
        content = newest.read_bytes()
        # Half a record that no stick was answered for.
        half = b"\x80\x00\x00\x00\x12\x34\x56\x78half a record"
        end = _records_end(content)
        newest.write_bytes(content[:end] + half + content[end + len(half) :])
        _recovered(load, data, log, "torn journal tail", "half a record appended")


def _records_end(segment: bytes | bytearray) -> int:
    """Where the records of a segment end: header of 32 bytes, then length, checksum, body."""
    at = 32
    while length := int.from_bytes(segment[at : at + 4], "little"):
        at += 8 + length
    return at


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_flipped_bit_in_one_segment_costs_no_other_segment(
    data: Path, log: Path, part: float
) -> None:
    """Frames behind the flipped bit of that segment are gone: the disk lost them, and says so."""
    options = {**QUICK, "flush_seconds": "3600"}
    with running(data, log=log, **options) as server, sending(server.port) as load:
        load.goes_on(frames=700, seconds=40)
        server.kill()
        load.stop()
    segments = sorted(DataDirectory.at(data).journal.glob("*.wal"))
    assert len(segments) >= 3
    content = bytearray(segments[1].read_bytes())
    content[int(32 + part * (_records_end(content) - 33))] ^= 0x10
    segments[1].write_bytes(content)
    with running(data, log=log, **QUICK) as server:
        assert server.stop() == 0
    assert "the disk has damaged the journal" in log.read_text()
    kept = segments[1].with_suffix(".damaged")
    assert kept.read_bytes() == content
    table = rows(data, "SELECT logger_sn, ts, count(*) AS n FROM readings GROUP BY ALL")
    assert {row["n"] for row in table} == {1}
    in_one_segment = load.acknowledged / len(segments)
    assert load.acknowledged - 1.5 * in_one_segment < len(table) <= load.acknowledged


@pytest.mark.parametrize("damage", ["torn entry", "empty entry", "torn checkpoint"])
def test_a_torn_end_of_the_tables_log_heals(data: Path, log: Path, damage: str) -> None:
    """What a power cut can leave: entries that were never reported as committed."""
    with running(data, log=log, **QUICK) as server, sending(server.port) as load:
        load.goes_on(frames=200)
        server.kill()
        load.stop()
    table = paths.table_directory(DataDirectory.at(data).lake, "readings")
    newest = max(paths.log_entries(table))
    if damage == "torn checkpoint":
        checkpoint = paths.log_directory(table) / f"{newest:020d}.checkpoint.parquet"
        checkpoint.write_bytes(b"PAR1 torn")
        paths.last_checkpoint(table).write_text(f'{{"version":{newest},"size":')
    else:
        entry = paths.log_entry(table, newest + 1)
        whole = paths.log_entry(table, newest).read_bytes()
        entry.write_bytes(whole[: len(whole) // 2] if damage == "torn entry" else b"")
    _recovered(load, data, log, f"table log: {damage}", "file cut as by a power cut")


def test_damaged_views_are_made_anew(data: Path, log: Path) -> None:
    directory = DataDirectory.at(data)
    with running(data, log=log, **QUICK) as server, sending(server.port) as load:
        load.goes_on(frames=100)
        server.kill()
        load.stop()
    for file in (directory.catalog, directory.latest, *directory.tail_files().values()):
        content = bytearray(file.read_bytes())
        content[len(content) // 3 :: 7] = bytes(len(content[len(content) // 3 :: 7]))
        file.write_bytes(content)
    _recovered(load, data, log, "catalog, latest and tail damaged", "bytes overwritten")


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_a_damaged_data_file_stops_nothing_and_is_named(data: Path, log: Path, damage: str) -> None:
    """Its rows are gone with the disk's bytes, until the file comes back from a backup."""
    with running(data, log=log, **QUICK) as server, sending(server.port) as load:
        load.goes_on(frames=150)
        eventually("a file is there", lambda: list(data.glob("lake/readings/date=*/*.parquet")))
        file = min(data.glob("lake/readings/date=*/*.parquet"))
        backup = file.with_suffix(".backup")
        shutil.copyfile(file, backup)
        content = file.read_bytes()
        file.write_bytes(b"\xff" * len(content) if damage == "overwritten" else content[:100])
        first_s = load.goes_on(frames=150)
        with pytest.raises(catalog.CatalogError, match=file.name):
            count(data)
        backup.replace(file)
        _all_is_there(server, load, data, f"data file {damage}", "bytes of a Parquet file", first_s)


# --- what has to hold after each ------------------------------------------------------------


def _visible(load: Load, data: Path) -> float:
    """Waits until everything acknowledged by now is seen; returns the seconds that took."""
    started, wanted = time.monotonic(), load.acknowledged
    eventually("all rows are visible", lambda: count(data) >= wanted, seconds=40)
    return time.monotonic() - started


def _all_is_there(
    server: ServerProcess,
    load: Load,
    data: Path,
    fault: str,
    how: str,
    first_s: float,
    visible_s: float | None = None,
) -> None:
    if visible_s is None:
        visible_s = _visible(load, data)
    load.stop()
    assert server.stop() == 0
    lost, doubled = load.check(data)
    note(
        fault,
        how,
        acknowledged=load.acknowledged,
        lost=lost,
        doubled=doubled,
        recovery=f"answers {first_s:.1f} s, rows {visible_s:.1f} s",
    )


def _restarted(
    load: Load,
    data: Path,
    log: Path,
    fault: str,
    first_s: float | None,
    *,
    started: float | None = None,
) -> None:
    started = time.monotonic() if started is None else started
    with running(data, log=log, **QUICK) as server:
        load.move_to(server.port)
        load.goes_on()
        if first_s is None:
            first_s = time.monotonic() - started
        _all_is_there(server, load, data, fault, "injected in libc, restarted", first_s)


def _recovered(load: Load, data: Path, log: Path, fault: str, how: str) -> None:
    started = time.monotonic()
    with running(data, log=log, **QUICK) as server:
        ready_s = time.monotonic() - started
        visible_s = _visible(load, data)
        assert server.stop() == 0
    lost, doubled = load.check(data)
    note(
        fault,
        how,
        acknowledged=load.acknowledged,
        lost=lost,
        doubled=doubled,
        recovery=f"start {ready_s:.1f} s, rows {visible_s:.1f} s",
    )
