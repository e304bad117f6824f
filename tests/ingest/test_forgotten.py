"""Claims about the list of the forgotten: whom it means, and what may be kept beside it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import rows
from autarco_ingest import forgotten, schema
from autarco_ingest.forgotten import ForgottenError
from autarco_ingest.paths import DataDirectory
from test_server import data_frame, envelope

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
LOGGER_SN = 4_012_345_678


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """A data directory that no server has used yet."""
    return DataDirectory.at(tmp_path)


def digest_of(text: str) -> bytes:
    """What the description of the file says, computed from the standard's own words."""
    return hmac.new(KEY, text.encode(), hashlib.sha256).digest()[:16]


# --- the list -------------------------------------------------------------------------------


def test_digests_are_the_documented_ones(data: DataDirectory) -> None:
    data.forget_key.write_bytes(KEY)
    forgotten.add(data, "logger", LOGGER_SN)
    forgotten.add(data, "inverter", " TEST0001  ")

    entries = json.loads(data.forgotten.read_text())["entries"]

    assert [(entry["kind"], entry["digest"]) for entry in entries] == [
        ("logger", digest_of("logger:4012345678").hex()),
        ("inverter", digest_of("inverter:TEST0001").hex()),
    ]
    # The same two stand in the gateway's tests, so both sides agree.
    assert entries[0]["digest"] == "a67e0d6cc6de6e3429cdfc63e3f7c681"
    assert entries[1]["digest"] == "cda038f6c8cbb8d6db5dddcb512b4637"
    listed = forgotten.load(data)
    assert listed.digest("logger", "04012345678"[1:]) == digest_of("logger:4012345678")
    assert listed.matches("inverter", "TEST0001")
    assert not listed.matches("logger", LOGGER_SN + 1)


def test_no_file_of_the_list_holds_a_serial_number(data: DataDirectory) -> None:
    forgotten.add(data, "logger", LOGGER_SN)
    forgotten.add(data, "inverter", "TEST0001")

    written = b"".join(path.read_bytes() for path in data.root.iterdir())

    for serial in (b"4012345678", LOGGER_SN.to_bytes(4, "little"), b"TEST0001"):
        assert serial not in written


def test_the_key_is_random_and_for_its_owner_only(tmp_path: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        data = DataDirectory.at(tmp_path / name)
        data.root.mkdir()
        forgotten.add(data, "inverter", "TEST0001")
        assert stat.S_IMODE(data.forget_key.stat().st_mode) == 0o600
        keys.add(data.forget_key.read_bytes())
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 2


def test_every_change_and_every_request_raises_the_revision(data: DataDirectory) -> None:
    assert forgotten.load(data).revision == 0
    assert forgotten.add(data, "logger", LOGGER_SN) == 1
    assert forgotten.add(data, "logger", LOGGER_SN) == 2
    assert forgotten.request(data) == 3
    assert len(forgotten.load(data).entries) == 1
    assert forgotten.lift(data, "logger", LOGGER_SN)
    assert not forgotten.lift(data, "logger", LOGGER_SN)
    assert (forgotten.load(data).revision, forgotten.load(data).entries) == (4, ())


def test_a_kind_has_its_own_serial_numbers(data: DataDirectory) -> None:
    forgotten.add(data, "inverter", "4012345678")

    assert not forgotten.load(data).matches("logger", LOGGER_SN)
    assert not forgotten.lift(data, "logger", LOGGER_SN)


def test_callers_at_once_lose_no_entry(data: DataDirectory) -> None:
    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(lambda n: forgotten.add(data, "logger", n), range(40)))

    listed = forgotten.load(data)
    assert sorted(revisions) == list(range(1, 41))
    assert all(listed.matches("logger", n) for n in range(40))


@pytest.mark.parametrize("serial", ["", "-1", "4294967296", "SN17", "1.5", "٣", "9" * 5000])
def test_what_is_no_logger_serial_number_is_refused(data: DataDirectory, serial: str) -> None:
    with pytest.raises(ForgottenError, match="not a logger serial number"):
        forgotten.add(data, "logger", serial)
    assert not data.forgotten.exists()


@pytest.mark.parametrize("serial", ["", "  ", "A B", "ÄB", "A\nB", "A" * 17])
def test_what_is_no_inverter_serial_number_is_refused(data: DataDirectory, serial: str) -> None:
    with pytest.raises(ForgottenError, match="not an inverter serial number"):
        forgotten.add(data, "inverter", serial)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"revision": -1}',
        '{"revision": 1, "entries": [{"kind": "logger", "digest": "00"}]}',
        '{"revision": 1, "entries": [{"kind": "roof", "digest": "' + "0" * 32 + '",'
        ' "since": "2026-11-25T12:00:00Z"}]}',
        "\xff",
    ],
)
def test_a_list_that_cannot_be_read_is_not_an_empty_one(data: DataDirectory, content: str) -> None:
    data.forgotten.write_bytes(content.encode("latin-1"))
    for use in (
        lambda: forgotten.load(data),
        lambda: forgotten.add(data, "logger", 1),
        lambda: forgotten.request(data),
    ):
        with pytest.raises(ForgottenError, match=r"forgotten\.json: "):
            use()


def test_a_list_without_its_key_cannot_be_used(data: DataDirectory) -> None:
    forgotten.add(data, "logger", LOGGER_SN)
    data.forget_key.write_bytes(b"short")
    with pytest.raises(ForgottenError, match="key of 5 bytes, wanted 32"):
        forgotten.load(data)
    data.forget_key.unlink()
    with pytest.raises(ForgottenError, match=r"forget\.key: missing"):
        forgotten.load(data)
    # A new key would make the old entries meaningless.
    with pytest.raises(FileNotFoundError):
        forgotten.add(data, "logger", 17)
    assert not data.forget_key.exists()


def test_a_list_that_was_applied_and_is_gone_is_missed(data: DataDirectory) -> None:
    forgotten.note_applied(data, forgotten.add(data, "logger", LOGGER_SN))
    assert forgotten.applied(data) == 1
    data.forgotten.unlink()

    with pytest.raises(ForgottenError, match="missing, although a server has applied one"):
        forgotten.load(data)


def test_a_damaged_record_of_a_purge_asks_for_another(data: DataDirectory) -> None:
    assert forgotten.applied(data) is None
    data.forgotten_applied.write_bytes(b"\xff{")
    assert forgotten.applied(data) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_key_that_root_makes_belongs_to_the_services_user(data: DataDirectory) -> None:
    os.chown(data.root, 1234, 2345)

    forgotten.add(data, "logger", LOGGER_SN)

    status = data.forget_key.stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)


# --- what may be kept ------------------------------------------------------------------------


def test_rows_of_forgotten_loggers_and_inverters_go(data: DataDirectory) -> None:
    forgotten.add(data, "logger", 17)
    forgotten.add(data, "inverter", "GONE")
    listed = forgotten.load(data)
    readings = schema.conform(
        schema.READINGS,
        rows.readings(
            rows.reading(logger_sn=17, inverter_sn="KEPT1"),
            rows.reading(logger_sn=18, inverter_sn="KEPT2"),
            rows.reading(logger_sn=18, inverter_sn="GONE"),
            rows.reading(logger_sn=18, inverter_sn="KEPT3"),
        ),
    )
    sessions = schema.conform(schema.SESSIONS, rows.sessions({"logger_sn": 17}, {"logger_sn": 18}))

    kept = listed.without(schema.READINGS, readings)

    assert kept.column("inverter_sn").to_pylist() == ["KEPT2", "KEPT3"]
    assert kept.schema == readings.schema
    assert listed.without(schema.SESSIONS, sessions).column("logger_sn").to_pylist() == [18]


def test_quarantined_frames_go_with_their_logger_and_with_their_inverter(
    data: DataDirectory,
) -> None:
    forgotten.add(data, "logger", 17)
    forgotten.add(data, "inverter", "OWN5678")
    unknown = bytearray(60)
    unknown[:3] = b"\x01\x77\x77"
    unknown[21:37] = b"OWN5678".ljust(16)
    table = schema.conform(
        schema.QUARANTINE,
        rows.quarantine(
            {"logger_sn": 17},
            {"frame": envelope(0x42, bytes(unknown))},
            {"frame": data_frame(1)},
            {"frame": data_frame(1, logger_sn=4_000_001_111)},
            {"frame": b"\xa5rubbish"},
        ),
    )

    kept = forgotten.load(data).without(schema.QUARANTINE, table)

    assert kept.column("frame").to_pylist() == [
        data_frame(1, logger_sn=4_000_001_111),
        b"\xa5rubbish",
    ]


def test_what_nobody_on_the_list_has_sent_stays_the_same_object(data: DataDirectory) -> None:
    table = schema.conform(schema.READINGS, rows.samples(5))

    assert forgotten.load(data).without(schema.READINGS, table) is table
    forgotten.add(data, "logger", 17)
    assert forgotten.load(data).without(schema.READINGS, table) is table
    empty = schema.empty(schema.READINGS)
    assert forgotten.load(data).without(schema.READINGS, empty) is empty


def test_rows_in_several_chunks_are_all_looked_at(data: DataDirectory) -> None:
    forgotten.add(data, "inverter", "GONE")
    parts = [
        schema.conform(schema.READINGS, rows.samples(3, inverter_sn=name))
        for name in ("GONE", "KEPT", "GONE")
    ]

    kept = forgotten.load(data).without(schema.READINGS, pa.concat_tables(parts))

    assert kept.column("inverter_sn").to_pylist() == ["KEPT"] * 3


def test_a_list_shows_neither_key_nor_digests(data: DataDirectory) -> None:
    forgotten.add(data, "logger", LOGGER_SN)

    assert repr(forgotten.load(data)) == "Forgotten(revision=1, entries=1)"
