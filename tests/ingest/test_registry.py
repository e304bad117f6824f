"""Claims about who may send: the list of known loggers and what follows from a change of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from autarco_ingest import registry
from autarco_ingest.paths import DataDirectory
from server_process import ServerProcess, Wire, eventually, running
from test_server import data_frame, envelope, rows

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = 4_012_345_678
UNKNOWN = 4_087_654_321
HEARTBEAT = 0x47


def heartbeat(logger_sn: int) -> bytes:
    return envelope(HEARTBEAT, b"\0", logger_sn=logger_sn)


def test_comments_and_blank_lines_are_no_loggers() -> None:
    text = "# our fleet\n4012345678\n\n  17 # the roof of the town hall\n"
    assert registry.parse(text) == [4_012_345_678, 17]


@pytest.mark.parametrize("word", ["SN4012345678", "4294967296", "-1", "1.5", "9" * 5000, "1 2"])
def test_a_line_that_is_no_serial_number_is_named(word: str) -> None:
    with pytest.raises(registry.RegistryError, match="line 2"):
        registry.parse(f"17\n{word}\n")


def test_a_binary_file_is_no_registry(tmp_path: Path) -> None:
    file = tmp_path / "registry.txt"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(registry.RegistryError, match="not plain text"):
        registry.load(file)


def test_a_changed_registry_is_taken_over_without_dropping_a_connection(tmp_path: Path) -> None:
    directory = DataDirectory.at(tmp_path / "data")
    directory.create()
    directory.registry.write_text(f"{KNOWN}\n")
    log = tmp_path / "server.log"
    with running(directory.root, log=log, registry__policy="known") as server:
        with Wire(server.port) as known, Wire(server.port, source="127.91.83.77") as unknown:
            assert known.exchange(data_frame(1, logger_sn=KNOWN))[4] == 0x12
            unknown.send(data_frame(2, logger_sn=UNKNOWN))
            unknown.send(data_frame(3, logger_sn=UNKNOWN))
            eventually("who was refused is told", directory.refused.exists)
            eventually("both frames are told", lambda: _refused(directory) == {UNKNOWN: 2})
            assert "127.91.83" not in directory.refused.read_text()

            # Nothing usable: the list before stays.
            _replace(directory.registry, "not a number\n")
            eventually("the bad list is logged", lambda: "line 1" in log.read_text())
            assert known.exchange(heartbeat(KNOWN))[4] == 0x17

            # Nothing that can be read: it is not taken for gone.
            directory.registry.unlink()
            directory.registry.symlink_to(directory.registry)
            eventually("that is logged", lambda: "symbolic links" in log.read_text())
            assert known.exchange(heartbeat(KNOWN))[4] == 0x17
            directory.registry.unlink()

            _replace(directory.registry, f"{KNOWN}\n{UNKNOWN}\n")
            eventually("nobody is refused", lambda: _refused(directory) == {})
            assert unknown.exchange(data_frame(4, logger_sn=UNKNOWN))[4] == 0x12
            assert known.exchange(heartbeat(KNOWN))[4] == 0x17
        server.stop()
    stored = rows(directory.root, "SELECT energy_today_wh // 10 AS n FROM readings ORDER BY n")
    assert [row["n"] for row in stored] == [1, 4]
    claims = rows(directory.root, "SELECT DISTINCT claimed FROM sessions")
    assert claims == [{"claimed": True}]


def test_an_unusable_registry_at_start_is_one_sentence(tmp_path: Path) -> None:
    directory = DataDirectory.at(tmp_path / "data")
    directory.create()
    directory.registry.write_text("17\nseventeen\n")
    with pytest.raises(AssertionError, match="line 2: not a logger serial number: 'seventeen'"):
        ServerProcess(directory.root, log=tmp_path / "server.log")


def _replace(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


def _refused(directory: DataDirectory) -> dict[int, int]:
    entries = json.loads(directory.refused.read_text())
    return {entry["logger_sn"]: entry["frames"] for entry in entries}
