"""Claims about the running server: what is acknowledged is in the table, once, whatever happens."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import corpus
from autarco_ingest import catalog
from autarco_ingest.paths import DataDirectory
from server_process import ServerProcess, Wire, eventually, running

if TYPE_CHECKING:
    from pathlib import Path

LOGGER_SN = 4_012_345_678
OFFSET = 1_750_000_000


def data_frame(number: int, *, logger_sn: int = LOGGER_SN) -> bytes:
    """A live 0x0507 record of our own making; `number` makes it a measurement of its own."""
    payload = bytearray(233)
    payload[0] = 1
    payload[1:3] = (0x0507).to_bytes(2, "little")
    payload[3:7] = number.to_bytes(4, "little")
    payload[11:15] = OFFSET.to_bytes(4, "little")
    payload[21:37] = f"OWN{logger_sn % 10_000:04d}".encode().ljust(16)
    payload[57:59] = (2382).to_bytes(2, "little")
    payload[65:69] = number.to_bytes(4, "little")
    return envelope(0x42, bytes(payload), logger_sn=logger_sn)


def envelope(kind: int, payload: bytes, *, logger_sn: int = LOGGER_SN) -> bytes:
    """A V5 frame written from the protocol's description, not with the code under test."""
    inner = len(payload).to_bytes(2, "little") + bytes([0x10, kind, 1, 2])
    inner += logger_sn.to_bytes(4, "little") + payload
    return b"\xa5" + inner + bytes([sum(inner) % 256]) + b"\x15"


def rows(data: Path, sql: str) -> list[dict[str, Any]]:
    """Asks the catalog."""
    result: list[dict[str, Any]] = catalog.query(DataDirectory.at(data), sql).to_pylist()
    return result


def count(data: Path) -> int:
    """The readings that an analyst sees now."""
    found: int = rows(data, "SELECT count(*) AS n FROM readings")[0]["n"]
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server under test logs."""
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Its data directory."""
    return tmp_path / "data"


def test_the_analysts_query_answers_while_the_server_runs(data: Path, log: Path) -> None:
    with running(data, log=log) as server, Wire(server.port) as wire:
        for number in range(20):
            assert wire.exchange(data_frame(number))[4] == 0x12
        eventually("20 readings are visible", lambda: count(data) == 20)
        answer = rows(
            data,
            "SELECT inverter_sn, date, max(energy_today_wh) AS wh FROM readings GROUP BY ALL",
        )
        assert [(row["inverter_sn"], row["wh"]) for row in answer] == [("OWN5678", 190)]
        eventually("the newest is known", lambda: rows(data, "SELECT * FROM latest"))
        assert rows(data, "SELECT ac_voltage_l1 FROM latest")[0]["ac_voltage_l1"] == (
            pytest.approx(238.2)
        )


def test_a_graceful_stop_leaves_nothing_unflushed(data: Path, log: Path) -> None:
    with running(data, log=log, flush_seconds="3600", tail_seconds="3600") as server:
        with Wire(server.port) as wire:
            for number in range(50):
                wire.exchange(data_frame(number))
            assert server.stop() == 0
        directory = DataDirectory.at(data)
        assert count(data) == 50
        assert rows(data, "SELECT event FROM sessions") == [{"event": "close"}]
        assert directory.latest.exists()


def test_the_real_session_is_in_the_table_once_and_as_the_cloud_saw_it(
    data: Path, log: Path
) -> None:
    lines = corpus.lines("solis-session.jsonl")
    with running(data, log=log) as server, Wire(server.port) as wire:
        for request, answer in zip(lines[::2], lines[1::2], strict=True):
            ours = bytearray(wire.exchange(bytes.fromhex(request["hex"])))
            theirs = bytearray.fromhex(answer["hex"])
            for acknowledgement in (ours, theirs):
                # Server counter, time, zone, checksum.
                acknowledgement[5] = 0
                acknowledgement[13:22] = bytes(9)
            assert ours == theirs
        server.stop()
    table = rows(data, "SELECT * FROM readings")
    assert len(table) == 780
    assert len({tuple(row.items()) for row in map(_own_values, table)}) == 780
    by_record = {
        (row["uptime_s"], row["record_no"], int(row["ts"].timestamp())): row for row in table
    }
    compared = 0
    for line in lines:
        if "cloud_export" in line:
            payload = bytes.fromhex(line["hex"])[11:]
            key = (
                int.from_bytes(payload[7:11], "little"),
                int.from_bytes(payload[17:21], "little"),
                int.from_bytes(payload[3:7], "little") + int.from_bytes(payload[11:15], "little"),
            )
            _assert_equals_export(by_record[key], line["cloud_export"])
            compared += 1
    assert compared == 569


def _own_values(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("received_at", "source")}


def _assert_equals_export(row: dict[str, Any], export: dict[str, str]) -> None:
    """Every column that exists on both sides; the cloud's total power is its own estimate."""
    for column, name in {
        "dc_voltage_mppt1": "DC Voltage PV1(V)",
        "dc_current_mppt1": "DC Current1(A)",
        "dc_power": "Total DC Input Power(W)",
        "ac_voltage_l1": "AC Voltage T/W/C(V)",
        "ac_current_l1": "AC Current T/W/C(A)",
        "ac_frequency": "AC Output Frequency R(Hz)",
        "ac_apparent_power": "Power Grid Total Apparent Power(VA)",
        "temp_inverter": "Inverter Temperature(\u2103)",
    }.items():
        assert row[column] == pytest.approx(float(export[name]), rel=1e-6), name
    for column, name in {
        "energy_today_wh": "Daily Generation (Active)(kWh)",
        "energy_total_wh": "Total Generation (Active)(kWh)",
        "energy_last_month_wh": "Generation of Last Month (Active)(kWh)",
        "energy_yesterday_wh": "Generation Yesterday(kWh)",
    }.items():
        assert row[column] == round(float(export[name]) * 1000), name
    assert row["phase_slot"] == 3
    shown = row["inverter_clock"]
    assert export["System Time"].split(" ")[0] == f"{shown.year - 2000}-{shown.month}-{shown.day}"
    clock = [int(part) for part in export["System Time"].split(" ")[1].split(":")]
    assert clock == [shown.hour, shown.minute, shown.second]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_acknowledged_frames_survive_kill_9_and_none_is_there_twice(
    data: Path, log: Path, seed: int
) -> None:
    """Kills the server at random moments under load; sticks repeat what was not acknowledged."""
    dice = random.Random(seed)
    acknowledged: set[int] = set()
    todo = list(range(600))
    for _ in range(6):
        with running(data, log=log, flush_seconds="0.4") as server:
            stop_after = dice.uniform(0.3, 1.5)
            timer = threading.Timer(stop_after, server.process.kill)
            timer.start()
            try:
                with Wire(server.port) as wire:
                    while todo:
                        wire.exchange(data_frame(todo[0]))
                        acknowledged.add(todo.pop(0))
                        if dice.random() < 0.02:
                            # A stick that missed its answer repeats the frame.
                            wire.exchange(data_frame(max(acknowledged)))
            except (OSError, EOFError):
                pass
            finally:
                timer.cancel()
                timer.join()
    with running(data, log=log) as server:
        with Wire(server.port) as wire:
            for number in todo:
                wire.exchange(data_frame(number))
                acknowledged.add(number)
        server.stop()
    table = rows(
        data, "SELECT energy_today_wh // 10 AS number, count(*) AS n FROM readings GROUP BY 1"
    )
    assert {row["number"] for row in table} == acknowledged == set(range(600))
    assert [row for row in table if row["n"] != 1] == []


def test_the_raw_address_is_in_no_file_and_no_log_line(data: Path, log: Path) -> None:
    address = "127.91.83.77"
    handshake = bytearray(86)
    handshake[65:76] = b"192.0.2.123"
    with running(data, log=log, log__level="debug") as server:
        with Wire(server.port, source=address) as wire:
            wire.exchange(data_frame(1))
            wire.exchange(envelope(0x41, bytes(handshake)))
            wire.send(b"noise")
        eventually("it is flushed", lambda: count(data) == 1)
        server.stop()
    assert rows(data, "SELECT DISTINCT source FROM readings") == [{"source": "127.91.83.0/24"}]
    packed = bytes(int(part) for part in address.split("."))
    for path in [log, *(path for path in data.rglob("*") if path.is_file())]:
        content = path.read_bytes()
        assert address.encode() not in content, path
        assert b"192.0.2.123" not in content, path
        assert packed not in content, path


def test_an_encrypted_source_is_one_pseudonym_per_address(data: Path, log: Path) -> None:
    with running(data, log=log, address__mode="ipcrypt-deterministic") as server:
        for number, source in enumerate(["127.0.0.5", "127.0.0.5", "127.0.0.6"]):
            with Wire(server.port, source=source) as wire:
                wire.exchange(data_frame(number))
        server.stop()
    sources = [row["source"] for row in rows(data, "SELECT source FROM readings ORDER BY ts")]
    assert sources[0] == sources[1] != sources[2]
    assert all(":" in source and "127.0.0" not in source for source in sources)
    keys = list(DataDirectory.at(data).address_keys.iterdir())
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600]


def test_unknown_and_implausible_frames_are_acknowledged_and_quarantined(
    data: Path, log: Path
) -> None:
    future = bytearray(data_frame(1)[11:-2])
    future[11:15] = (4_000_000_000).to_bytes(4, "little")
    with running(data, log=log) as server:
        with Wire(server.port) as wire:
            assert wire.exchange(envelope(0x42, bytes(future)))[4] == 0x12
            assert wire.exchange(envelope(0x42, b"\x01\x01\xdd" + bytes(60)))[4] == 0x12
        server.stop()
    found = rows(data, "SELECT reason, sensor_type FROM quarantine ORDER BY reason")
    assert found == [
        {"reason": "time_implausible", "sensor_type": 0x0507},
        {"reason": "unknown_sensor", "sensor_type": 0xDD01},
    ]
    assert count(data) == 0


def test_an_ill_lake_stops_no_acknowledgement_and_heals(
    data: Path, log: Path, tmp_path: Path
) -> None:
    directory = DataDirectory.at(data)
    with running(data, log=log, flush_seconds="0.3") as server, Wire(server.port) as wire:
        wire.exchange(data_frame(1))
        eventually("the first is in the table", lambda: _flushed(log) == 1)
        directory.lake.rename(tmp_path / "away")
        directory.lake.write_text("not a directory")
        wire.exchange(data_frame(2))
        eventually("the failure is logged", lambda: "lake cannot be written" in log.read_text())
        wire.exchange(data_frame(3))
        directory.lake.unlink()
        (tmp_path / "away").rename(directory.lake)
        eventually("all are visible", lambda: count(data) == 3, seconds=20)
        assert server.stop() == 0
    assert count(data) == 3


def test_too_many_rows_for_an_ill_lake_stop_the_acknowledgements_until_it_heals(
    data: Path, log: Path, tmp_path: Path
) -> None:
    directory = DataDirectory.at(data)
    options = {"flush_seconds": "0.3", "unflushed_rows_max": "1000"}
    with running(data, log=log, **options) as server, Wire(server.port) as wire:
        directory.lake.rename(tmp_path / "away")
        directory.lake.write_text("not a directory")
        acknowledged = 0

        def is_held() -> bool:
            nonlocal acknowledged
            for _ in range(100):
                wire.send(data_frame(acknowledged))
                try:
                    wire.receive()
                except TimeoutError:
                    return True
                acknowledged += 1
            return False

        wire.be_impatient(2.0)
        eventually("the server reads no more", is_held, seconds=60)
        assert acknowledged >= 1000
        directory.lake.unlink()
        (tmp_path / "away").rename(directory.lake)
        wire.be_impatient(40.0)
        assert wire.receive()[4] == 0x12, "what waited is acknowledged"
        assert server.stop() == 0
    assert count(data) == acknowledged + 1


def test_without_a_journal_nothing_is_acknowledged_until_it_is_back(
    data: Path, log: Path, tmp_path: Path
) -> None:
    directory = DataDirectory.at(data)
    with running(data, log=log, flush_seconds="0.3") as server, Wire(server.port) as wire:
        wire.exchange(data_frame(1))
        eventually("the segment is ended", lambda: _flushed(log) == 1)
        directory.journal.rename(tmp_path / "away")
        wire.send(data_frame(2))
        eventually("the failure is logged", lambda: "not acknowledging" in log.read_text())
        with Wire(server.port) as other:
            assert other.exchange(envelope(0x47, b"\0"))[4] == 0x17, "heartbeats need no disk"
        (tmp_path / "away").rename(directory.journal)
        assert wire.receive()[4] == 0x12
        assert server.stop() == 0
    assert count(data) == 2


def _flushed(log: Path) -> int:
    return log.read_text().count('"event": "flushed"')


def test_a_second_server_on_the_same_data_is_refused(data: Path, log: Path) -> None:
    with running(data, log=log), pytest.raises(AssertionError, match="another server is using"):
        ServerProcess(data, log=log)


def test_wrong_settings_are_one_sentence_and_exit_code_2(data: Path) -> None:
    for options, words in [
        (["--listen", "127.0.0.1:99999"], "99999"),
        (["--listen", "192.0.2.1:10000"], "cannot listen on 192.0.2.1:10000"),
        (["--data", "/proc/autarco"], "cannot create /proc/autarco"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "autarco_ingest", "serve", "--data", str(data), *options],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        # A developer's build says that it is slow.
        lines = [line for line in done.stderr.splitlines() if "debug build" not in line]
        assert len(lines) == 1
