"""Claim: after `forget` no stored byte knows the serial number, and everybody else is untouched."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import rows as ingest_rows
from autarco_ingest import erasure_search, paths, schema
from autarco_ingest.forget import Subject
from autarco_ingest.forgotten import ForgottenError
from autarco_ingest.paths import DataDirectory
from server_process import Wire, eventually, running
from test_server import count, data_frame, envelope, rows
from test_server_maintains import command

if TYPE_CHECKING:
    from pathlib import Path

# The inverter of each is OWN followed by the logger's last four digits.
FORGOTTEN, OTHER = 4_012_345_678, 4_012_349_999
SAMPLES = 12
OF_OTHER = f"SELECT * FROM readings WHERE logger_sn = {OTHER} ORDER BY ts"  # noqa: S608


def handshake(logger_sn: int) -> bytes:
    return envelope(0x41, bytes(60), logger_sn=logger_sn)


def unknown_layout(logger_sn: int) -> bytes:
    """A frame that ends in quarantine and names its inverter all the same."""
    frame = bytearray(data_frame(77, logger_sn=logger_sn)[11:-2])
    frame[1:3] = (0x7777).to_bytes(2, "little")
    return envelope(0x42, bytes(frame), logger_sn=logger_sn)


def live(data: Path, port: int, *, first: int = 0) -> None:
    """Two sticks send samples, events and frames of an unknown layout, over several flushes."""
    for logger_sn in (FORGOTTEN, OTHER):
        with Wire(port) as wire:
            wire.exchange(handshake(logger_sn))
            wire.exchange(unknown_layout(logger_sn))
            for number in range(first, first + SAMPLES):
                wire.exchange(data_frame(number, logger_sn=logger_sn))
                if number % 4 == 3:
                    shown = count(data) if DataDirectory.at(data).catalog.exists() else 0
                    eventually("more is visible", lambda: count(data) > shown)  # noqa: B023


def occurrences(data: Path, serial: str, number: int | None) -> list[str]:
    """Files that hold the serial, found here with other means than the command's own."""
    found = []
    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        needles = [serial.encode()]
        if number is not None:
            needles.append(b"\x10\x42\x01\x02" + number.to_bytes(4, "little"))
        held = any(needle in content for needle in needles)
        if path.suffix == ".parquet" and "_delta_log" not in path.parts:
            for row in pq.read_table(path, partitioning=None).to_pylist():
                held = held or serial in str(row) or (number is not None and number in row.values())
                held = held or serial.encode() in (row.get("frame") or b"")
        elif path.suffix == ".parquet":
            held = held or serial in str(pq.read_table(path).to_pylist())
        if held:
            found.append(str(path.relative_to(data)))
    return found


SUBJECTS = {
    "logger": (str(FORGOTTEN), FORGOTTEN, {"readings": SAMPLES, "sessions": 2, "quarantine": 1}),
    "inverter": ("OWN5678", None, {"readings": SAMPLES, "sessions": 0, "quarantine": 1}),
}


@pytest.mark.parametrize(
    ("kind", "is_running"),
    [("logger", True), ("inverter", False)],
    ids=["logger beside a server", "inverter without one"],
)
def test_no_byte_is_left(tmp_path: Path, kind: str, is_running: bool) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    serial, number, expected = SUBJECTS[kind]
    options = {"flush_seconds": "0.3", "tail_seconds": "0.2", "superseded_grace_s": "900"}
    with running(data, log=log, **options) as server:
        live(data, server.port)
        (data / "registry.txt").write_text(f"# ours\n{FORGOTTEN}  # to go\n{OTHER}\n")
        eventually(
            "events are flushed",
            lambda: rows(data, "SELECT count(*) AS n FROM sessions")[0]["n"] >= 4,
        )
        # Old files and old log entries have to go too.
        assert command(data, "compact").returncode == 0
        others = rows(data, OF_OTHER)
        assert len(others) == SAMPLES
        assert occurrences(data, serial, number), "the search of this test finds nothing"
        if not is_running:
            server.kill()
        done = command(data, "forget", f"--{kind}", serial, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert occurrences(data, serial, number) == []
        assert serial not in done.stdout
        told = {
            table: int(rows_erased)
            for rows_erased, table in re.findall(r"(\d+) rows of (\w+)", done.stdout)
        }
        assert told == {table: n for table, n in expected.items() if n or table in told}
        # Everybody else has what they had.
        assert rows(data, "SELECT * FROM readings ORDER BY ts") == [
            row | {"repeat": kept["repeat"]}
            for row, kept in zip(
                others, rows(data, "SELECT * FROM readings ORDER BY ts"), strict=True
            )
        ]
        proof = json.loads((data / "erasures.jsonl").read_text())
        assert proof["traces"] == []
        assert proof["rows"]["readings"] == SAMPLES
        assert proof["kind"] == kind
        if kind == "logger":
            assert (data / "registry.txt").read_text() == f"# ours\n{OTHER}\n"
        if is_running:
            with Wire(server.port) as wire:
                wire.be_impatient(0.5)
                with pytest.raises((TimeoutError, EOFError)):
                    wire.exchange(data_frame(100, logger_sn=FORGOTTEN))
            with Wire(server.port) as wire:
                assert wire.exchange(data_frame(100, logger_sn=OTHER))[4] == 0x12
    assert command(data, "check").returncode == 0, command(data, "check").stdout
    # Lifted, it is served again; nothing comes back.
    assert command(data, "forget", f"--{kind}", serial, "--lift").stdout == "served again\n"
    with running(data, log=log, **options) as server, Wire(server.port) as wire:
        assert wire.exchange(data_frame(200, logger_sn=FORGOTTEN))[4] == 0x12
        eventually(
            "one row of it",
            lambda: count(data) > SAMPLES + is_running,
        )


def test_forgetting_twice_and_forgetting_nobody(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    with running(data, log=log) as server:
        with Wire(server.port) as wire:
            wire.exchange(data_frame(0, logger_sn=OTHER))
        for _ in range(2):
            done = command(data, "forget", "--logger", "7", "--yes")
            assert done.returncode == 0, done.stderr
            assert "erased: 0 rows of readings" in done.stdout
        assert count(data) == 1
    lift = command(data, "forget", "--logger", "8", "--lift")
    assert (lift.returncode, lift.stdout) == (0, "it was not refused\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--logger", "12ab", "--yes"], "not a logger serial number"),
        (["--logger", "4294967296", "--yes"], "not a logger serial number"),
        (["--inverter", "", "--yes"], "not an inverter serial number"),
        (["--inverter", "WITH BLANK", "--yes"], "not an inverter serial number"),
        (["--logger", "4012345678"], "say --yes"),
        (["--logger", "1", "--inverter", "A", "--yes"], "not allowed with"),
        ([], "required"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    (tmp_path / "data").mkdir()
    done = command(tmp_path / "data", "forget", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    nowhere = command(tmp_path / "nowhere", "forget", "--logger", "1", "--yes")
    assert nowhere.returncode == 2
    assert "is no data directory" in nowhere.stderr


def test_short_serial_numbers_are_told_by_values_only(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"7 A")
    pq.write_table(pa.table({"logger_sn": [7], "inverter_sn": ["A"]}), tmp_path / "a.parquet")
    for needle in (erasure_search.logger_needle(7), erasure_search.inverter_needle("A")):
        assert erasure_search.search([tmp_path], [], needle).traces == ["a.parquet"]


def test_an_inverter_whose_serial_holds_another_is_somebody_else() -> None:
    frames = [unknown_layout(logger_sn) for logger_sn in (FORGOTTEN, OTHER)]
    table = schema.conform(
        schema.QUARANTINE, ingest_rows.quarantine(*({"frame": frame} for frame in frames))
    )
    assert Subject.of("inverter", "OWN5678").mask(schema.QUARANTINE, table).to_pylist() == [
        True,
        False,
    ]
    for other in ("OWN567", "WN5678", "OWN"):
        assert not any(Subject.of("inverter", other).mask(schema.QUARANTINE, table).to_pylist())


class TestSearch:
    LOGGER = erasure_search.logger_needle(FORGOTTEN)
    INVERTER = erasure_search.inverter_needle("OWN5678")

    @pytest.mark.parametrize(
        ("content", "is_trace"),
        [
            (b'{"logger_sn":4012345678}', True),
            (b"40123456789", False),
            (b"x" + data_frame(0, logger_sn=FORGOTTEN), True),
            (b"x" + data_frame(0, logger_sn=OTHER), False),
            # Four bytes alone are in any large file by chance.
            (FORGOTTEN.to_bytes(4, "little"), False),
            (b"", False),
            (b"\x68\x59\x41\xb0" + FORGOTTEN.to_bytes(4, "little") * 2, True),
        ],
    )
    def test_a_logger_in_bytes(self, tmp_path: Path, content: bytes, is_trace: bool) -> None:
        (tmp_path / "file").write_bytes(content)
        search = erasure_search.search([tmp_path], [], self.LOGGER)
        assert search.traces == (["file"] if is_trace else [])
        assert search.bytes == len(content)

    def test_an_inverter_in_bytes_is_no_part_of_a_longer_one(self, tmp_path: Path) -> None:
        for content, is_trace in (
            (b"\0OWN5678  \0", True),
            (b"OWN56789", False),
            (b"XOWN5678", False),
        ):
            (tmp_path / "file").write_bytes(content)
            assert bool(erasure_search.search([tmp_path], [], self.INVERTER).traces) is is_trace

    def test_values_in_compressed_pages(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "logger_sn": pa.array([OTHER] * 500 + [FORGOTTEN] + [OTHER] * 500),
                "inverter_sn": ["A"] * 500 + ["OWN5678"] + ["B"] * 500,
                "frame": pa.array([b""] * 1001, pa.binary()),
            }
        )
        pq.write_table(table, tmp_path / "a.parquet", compression="zstd", write_statistics=False)
        for needle in (self.LOGGER, self.INVERTER):
            assert erasure_search.search([tmp_path], [], needle).traces == ["a.parquet"]
        others = table.filter(pc.field("logger_sn") == OTHER)
        pq.write_table(others, tmp_path / "a.parquet", compression="zstd")
        for needle in (self.LOGGER, self.INVERTER):
            assert erasure_search.search([tmp_path], [], needle).traces == []

    def test_what_cannot_be_read_counts_as_a_trace(self, tmp_path: Path) -> None:
        (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
        assert erasure_search.search([tmp_path], [], self.LOGGER).traces == [
            "torn.parquet: cannot be read as Parquet"
        ]


def test_a_serial_number_is_taken_as_the_tables_have_it() -> None:
    assert Subject.of("logger", "0000000007").serial == "7"
    with pytest.raises(ForgottenError):
        Subject.of("inverter", "é")
    assert paths.is_compacted("date=2026-01-01/compact-00.parquet")
