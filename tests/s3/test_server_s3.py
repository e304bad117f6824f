"""Does the promise of the server hold when its tables are on object storage?"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from load import sending

from autarco_ingest import paths
from autarco_ingest.lake import open_delta
from s3_server import KEYS
from server_process import ServerProcess, Wire, eventually, running
from test_server import data_frame

if TYPE_CHECKING:
    from pathlib import Path

    from s3_place import Place
    from s3_server import Proxy

KILLS = int(os.environ.get("S3_KILLS", "6"))


def counted(place: Place) -> list[dict[str, Any]]:
    """How often each sample is in the table, by Polars."""
    return (
        place.scan()
        .group_by("logger_sn", at=pl.col("ts").dt.epoch("s"))
        .agg(n=pl.len())
        .collect()
        .to_dicts()
    )


def of_sticks(rows: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    return [row for row in rows if first <= row["logger_sn"] - 4_100_000_000 < first + 100]


def ingest(
    command: str, data: Path, place: Place, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    server = {f"AUTARCO_{name.upper()}": text for name, text in place.settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "autarco_ingest", command, "--data", str(data), *arguments],
        env=os.environ | KEYS | server,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_two_nodes_write_one_lake_while_one_is_killed_again_and_again(
    place: Place, proxy: Proxy, tmp_path: Path
) -> None:
    """Each kill comes in the middle of a commit: around the n-th write since the start.

    Both nodes compact all the time, so the writes are of batches, compacted days and checkpoints.
    """
    dice = random.Random(4)

    def start(node: str, port: int) -> ServerProcess:
        settings = place.through(port).settings | {
            "flush_seconds": "0.15",
            "maintenance__every_s": "0.5",
            "maintenance__small_files_max": "3",
        }
        return ServerProcess(
            tmp_path / node, KEYS, log=tmp_path / f"{node}.log", node=node, **settings
        )

    def kill_in_a_commit(server: ServerProcess) -> None:
        left = dice.randint(1, 8)

        def look(request: bytes) -> None:
            nonlocal left
            left -= request.startswith(b"PUT ")
            if left == 0:
                server.process.kill()

        setattr(proxy, dice.choice(["before", "after"]), look)
        eventually("it is dead", lambda: server.process.poll() is not None, seconds=20)
        proxy.before = proxy.after = lambda _: None
        server.kill()

    steady, unlucky = start("steady", place.port), start("unlucky", proxy.port)
    try:
        with (
            sending(steady.port, sticks=3) as first,
            sending(unlucky.port, sticks=3, first=100) as second,
        ):
            for _ in range(KILLS):
                second.goes_on(frames=20)
                kill_in_a_commit(unlucky)
                unlucky = start("unlucky", proxy.port)
                second.move_to(unlucky.port)
            second.goes_on(frames=20)
        assert steady.stop() == 0
        assert unlucky.stop() == 0
    finally:
        steady.kill()
        unlucky.kill()

    rows = counted(place)
    assert sum(row["n"] for row in rows) == len(rows)
    assert first.judge(of_sticks(rows, 0)) == (0, 0)
    assert second.judge(of_sticks(rows, 100)) == (0, 0)
    assert len(rows) >= first.acknowledged + second.acknowledged > 200
    assert any(paths.is_compacted(file.name) for file in place.store.names("readings"))
    entries = open_delta(place.store, "readings").version()
    print(f"{KILLS} kills, {len(rows)} rows, {entries} log entries, lost 0, doubled 0")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_killed_around_its_log_entry_stores_each_frame_once(
    place: Place, proxy: Proxy, data: Path, log: Path, moment: str
) -> None:
    """Before: data files without a log entry. After: an entry whose journal was not retired."""
    server = ServerProcess(
        data, KEYS, log=log, **place.through(proxy.port).settings, flush_seconds="0.3"
    )
    killed: list[bytes] = []

    def kill(request: bytes) -> None:
        if request.startswith(b"PUT ") and b"/readings/_delta_log/000" in request and not killed:
            killed.append(request)
            server.process.kill()
            server.process.wait(30)
            if moment == "before":
                raise OSError("the server is gone, its request goes nowhere")

    try:
        setattr(proxy, moment, kill)
        acknowledged = 0
        try:
            with Wire(server.port) as wire:
                for number in range(2_000):
                    wire.exchange(data_frame(number))
                    acknowledged += 1
        except (OSError, EOFError):
            pass
    finally:
        server.kill()
    # Entry 0 makes the table, 1 claims the node's name, 2 is the first batch.
    assert [request.rpartition(b"/")[2] for request in killed] == [b"00000000000000000002.json"]
    assert place.store.names("readings")
    assert place.table().num_rows == 0 if moment == "before" else place.table().num_rows > 0

    with running(data, KEYS, log=log, **place.settings) as restarted:
        assert restarted.stop() == 0

    rows = counted(place)
    assert {row["n"] for row in rows} == {1}
    assert acknowledged <= len(rows) <= acknowledged + 1


def test_acknowledgements_go_on_while_the_service_hangs(
    place: Place, proxy: Proxy, data: Path, log: Path
) -> None:
    with (
        running(data, KEYS, log=log, **place.through(proxy.port).settings) as server,
        Wire(server.port) as wire,
    ):
        wire.exchange(data_frame(0))
        eventually("the first row is stored", lambda: place.table().num_rows == 1)

        proxy.hold()
        slowest_s = 0.0
        started = time.monotonic()
        number = 1
        while time.monotonic() - started < 4.0:
            sent = time.monotonic()
            wire.exchange(data_frame(number))
            slowest_s = max(slowest_s, time.monotonic() - sent)
            number += 1
        proxy.release()

        assert slowest_s < 1.0
        eventually("all rows are stored", lambda: place.table().num_rows == number, seconds=30)
        assert server.stop() == 0


def test_a_second_data_directory_cannot_take_a_nodes_name(
    place: Place, data: Path, tmp_path: Path, log: Path
) -> None:
    for _ in range(2):
        with running(data, KEYS, log=log, **place.settings) as server:
            assert server.stop() == 0

    answer = ingest("serve", tmp_path / "second", place, "--listen", "127.0.0.1:0")

    assert answer.returncode == 2
    assert "node name 'node' belongs to another data directory" in answer.stderr


def test_sql_and_check_work_on_a_lake_on_object_storage(
    place: Place, data: Path, log: Path
) -> None:
    with running(data, KEYS, log=log, **place.settings) as server:
        with Wire(server.port) as wire:
            for number in range(20):
                wire.exchange(data_frame(number))
        assert server.stop() == 0

    answer = ingest("sql", data, place, "--format", "csv", "SELECT count(*) AS n FROM readings")
    assert (answer.stdout.split(), answer.stderr, answer.returncode) == (["n", "20"], "", 0)
    sound = ingest("check", data, place)
    assert (sound.stdout, sound.returncode) == ("", 0)
    assert "not read: the values in its 1 data files" in sound.stderr
    (file,) = place.store.names("readings")
    place.store.delete("readings", [file.name])
    damaged = ingest("check", data, place)
    assert damaged.returncode == 1
    assert f"damage: {place.location}/readings/{file.name}: missing; " in damaged.stdout
    refused = ingest("check", data, place, "--set-aside")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "lake" not in {path.name for path in data.iterdir()}


def test_no_key_is_in_any_file_or_line(place: Place, data: Path, log: Path) -> None:
    with running(data, KEYS, log=log, log__level="debug", **place.settings) as server:
        with Wire(server.port) as wire:
            wire.exchange(data_frame(1))
        assert server.stop() == 0

    secret = KEYS["AWS_SECRET_ACCESS_KEY"].encode()
    for path in [log, *(path for path in data.rglob("*") if path.is_file())]:
        assert secret not in path.read_bytes(), path


def test_a_service_that_is_not_there_stops_the_start_with_one_sentence(
    place: Place, data: Path
) -> None:
    started = time.monotonic()
    answer = ingest("serve", data, place.through(1), "--listen", "127.0.0.1:0")

    assert answer.returncode == 2
    assert answer.stderr.startswith("autarco-ingest: table ")
    assert len(answer.stderr.splitlines()) == 1
    assert time.monotonic() - started < 40
