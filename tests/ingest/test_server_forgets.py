"""Claims about forgetting under a running server: who is on the list leaves no trace in its files.

The tables' own files are not looked at where rows were committed before: rewriting them is another
command's work.
"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rows as table_rows
from autarco_ingest import forgotten, settings, stick
from autarco_ingest.paths import DataDirectory
from autarco_ingest.reload import Reload
from autarco_ingest.stick import Kind, Times
from autarco_ingest.storage import Storage
from server_process import ServerProcess, Wire, eventually, running
from test_server import rows
from test_stick import IDENTITY, MEASURED, NOON_S

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest import _core

ONE = dataclasses.replace(IDENTITY, logger_sn=4_012_345_678, inverter_sn="SIM0507AAAA0001")
OTHER = dataclasses.replace(IDENTITY, logger_sn=4_087_654_321, inverter_sn="SIM0507BBBB0002")
UNKNOWN_SENSOR = 0x7777

# Rows stay in journal and tail until a purge, a stop or a new start.
NEVER = "3600"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server under test logs."""
    return tmp_path / "server.log"


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """Its data directory."""
    directory = DataDirectory.at(tmp_path / "data")
    directory.create()
    return directory


def frame(kind: Kind, identity: stick.Identity, payload: bytes) -> bytes:
    return stick.encode(
        kind, server_counter=1, logger_counter=2, logger_sn=identity.logger_sn, payload=payload
    )


def sample(identity: stick.Identity, number: int) -> bytes:
    times = Times(number, 60, NOON_S)
    payload = stick.data_payload(identity, stick.LIVE, times, number, MEASURED)
    return frame(Kind.DATA, identity, payload)


def unknown_sample(identity: stick.Identity) -> bytes:
    """A record whose layout nobody knows, with the inverter's serial number where it always is."""
    payload = bytearray(stick.data_payload(identity, stick.LIVE, Times(9, 9, 9), 9, MEASURED))
    payload[1:3] = UNKNOWN_SENSOR.to_bytes(2, "little")
    return frame(Kind.DATA, identity, bytes(payload))


def handshake(identity: stick.Identity) -> bytes:
    return frame(Kind.HANDSHAKE, identity, stick.handshake_payload(identity, Times(1, 2, 3), 4))


def say_hello(port: int, *identities: stick.Identity) -> None:
    """Sends of each stick what becomes a session, a reading and a quarantined frame."""
    for identity in identities:
        with Wire(port) as wire:
            assert wire.exchange(handshake(identity))[4] == 0x11
            for number in range(3):
                stick.check_answer(
                    sample(identity, number), wire.exchange(sample(identity, number))
                )
            assert wire.exchange(unknown_sample(identity))[4] == 0x12


def gets_no_answer(port: int, *frames: bytes) -> bool:
    with Wire(port) as wire:
        wire.be_impatient(0.5)
        for refused in frames:
            wire.send(refused)
        with pytest.raises(TimeoutError):
            wire.receive()
    return True


def wait_for_purge(data: DataDirectory) -> None:
    revision = forgotten.load(data).revision
    eventually("the list is applied", lambda: forgotten.applied(data) == revision)


def traces_of_logger(data: DataDirectory, logger_sn: int) -> list[str]:
    return _traces(
        data,
        [str(logger_sn).encode(), logger_sn.to_bytes(4, "little")],
        lambda table: logger_sn in table.column("logger_sn").to_pylist(),
    )


def traces_of_inverter(data: DataDirectory, inverter_sn: str) -> list[str]:
    return _traces(
        data,
        [inverter_sn.encode()],
        lambda table: (
            "inverter_sn" in table.column_names
            and inverter_sn in table.column("inverter_sn").to_pylist()
        ),
    )


def _traces(data: DataDirectory, needles: list[bytes], is_in: object) -> list[str]:
    """Names the files below the data directory that still tell of somebody."""
    assert callable(is_in)
    found = []
    for path in sorted(path for path in data.root.rglob("*") if path.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            # A running server replaces its small files all the time.
            continue
        name = str(path.relative_to(data.root))
        if any(needle in content for needle in needles):
            found.append(name)
        elif path.suffix == ".parquet" and "_delta_log" not in name:
            table: pa.Table = pq.read_table(pa.BufferReader(content))
            if is_in(table):
                found.append(name)
    return found


def counts(data: DataDirectory, logger_sn: int) -> dict[str, int]:
    """How often the catalog's views name a logger."""
    return {
        view: rows(
            data.root,
            f"SELECT count(*) AS n FROM {view} WHERE logger_sn = {logger_sn}",  # noqa: S608
        )[0]["n"]
        for view in ("readings", "sessions", "quarantine", "latest")
    }


NOTHING = {"readings": 0, "sessions": 0, "quarantine": 0, "latest": 0}


def test_a_logger_forgotten_while_the_server_runs_leaves_no_trace(
    data: DataDirectory, log: Path
) -> None:
    with running(data.root, log=log, flush_seconds=NEVER) as server:
        say_hello(server.port, ONE, OTHER)
        eventually("both are shown", lambda: counts(data, ONE.logger_sn)["readings"] == 3)
        eventually("both are latest", lambda: counts(data, ONE.logger_sn)["latest"] == 1)
        (data.journal / "00000000000000000009.damaged").write_bytes(sample(ONE, 7))
        assert traces_of_logger(data, ONE.logger_sn)

        with Wire(server.port) as served:
            assert served.exchange(handshake(ONE))[4] == 0x11
            forgotten.add(data, "logger", ONE.logger_sn)
            wait_for_purge(data)

            assert traces_of_logger(data, ONE.logger_sn) == []
            assert "damaged segments of the journal are gone" in log.read_text()
            assert gets_no_answer(server.port, handshake(ONE), sample(ONE, 10))
        say_hello(server.port, OTHER)
        server.stop()

    # The connection that was open when its logger was forgotten left no goodbye either.
    assert traces_of_logger(data, ONE.logger_sn) == []
    assert counts(data, ONE.logger_sn) == NOTHING
    assert counts(data, OTHER.logger_sn)["readings"] == 3


def test_a_forgotten_inverter_leaves_no_trace_and_its_logger_stays(
    data: DataDirectory, log: Path
) -> None:
    with running(data.root, log=log, flush_seconds=NEVER) as server:
        say_hello(server.port, ONE, OTHER)
        eventually("both are shown", lambda: counts(data, ONE.logger_sn)["readings"] == 3)

        forgotten.add(data, "inverter", ONE.inverter_sn)
        wait_for_purge(data)

        assert traces_of_inverter(data, ONE.inverter_sn) == []
        assert gets_no_answer(server.port, sample(ONE, 10), unknown_sample(ONE))
        with Wire(server.port) as wire:
            assert wire.exchange(handshake(ONE))[4] == 0x11
        server.stop()
    assert traces_of_inverter(data, ONE.inverter_sn) == []
    found = counts(data, ONE.logger_sn)
    assert (found["readings"], found["quarantine"], found["latest"]) == (0, 0, 0)
    assert found["sessions"] > 0
    assert counts(data, OTHER.logger_sn)["readings"] == 3


def test_who_is_taken_off_the_list_is_served_again_and_nothing_answered_is_lost(
    data: DataDirectory, log: Path
) -> None:
    forgotten.add(data, "logger", ONE.logger_sn)
    with running(data.root, log=log, flush_seconds="0.1") as server:
        wait_for_purge(data)
        assert gets_no_answer(server.port, sample(ONE, 1))

        forgotten.lift(data, "logger", ONE.logger_sn)
        # From the very first answer on, while the list is still changing hands.
        with Wire(server.port) as wire:
            wire.be_impatient(0.02)
            eventually("it is served", lambda: _is_answered(wire, sample(ONE, 1)))
            wire.be_impatient(10)
            for number in range(2, 100):
                assert wire.exchange(sample(ONE, number))[4] == 0x12
        server.stop()
    assert counts(data, ONE.logger_sn)["readings"] == 99


def _is_answered(wire: Wire, sent: bytes) -> bool:
    try:
        return wire.exchange(sent)[4] == 0x12
    except TimeoutError:
        return False


def test_what_the_journal_holds_of_the_forgotten_never_reaches_the_tables(
    data: DataDirectory, log: Path
) -> None:
    server = ServerProcess(data.root, log=log, flush_seconds=NEVER)
    say_hello(server.port, ONE, OTHER)
    eventually("latest and tail have it", lambda: counts(data, ONE.logger_sn)["latest"] == 1)
    server.kill()
    for draft in (data.latest, data.refused):
        draft.with_name(f".{draft.name}.draft").write_bytes(sample(ONE, 1))
    assert traces_of_logger(data, ONE.logger_sn)

    forgotten.add(data, "logger", ONE.logger_sn)
    with running(data.root, log=log, flush_seconds=NEVER) as server:
        # A server that says that it is ready has purged.
        assert forgotten.applied(data) == 1
        assert traces_of_logger(data, ONE.logger_sn) == []
        assert gets_no_answer(server.port, sample(ONE, 10))
        server.stop()
    assert counts(data, ONE.logger_sn) == NOTHING
    assert counts(data, OTHER.logger_sn)["readings"] == 3
    assert traces_of_logger(data, ONE.logger_sn) == []


def test_a_journal_of_nobody_else_goes_as_well(data: DataDirectory, log: Path) -> None:
    server = ServerProcess(data.root, log=log, flush_seconds=NEVER)
    say_hello(server.port, ONE)
    server.kill()
    assert traces_of_logger(data, ONE.logger_sn)

    forgotten.add(data, "logger", ONE.logger_sn)
    with running(data.root, log=log, flush_seconds=NEVER):
        assert traces_of_logger(data, ONE.logger_sn) == []


def test_who_was_refused_and_is_forgotten_leaves_the_list_of_the_refused(
    data: DataDirectory, log: Path
) -> None:
    data.registry.write_text(f"{OTHER.logger_sn}\n")
    with running(data.root, log=log, registry__policy="known") as server:
        assert gets_no_answer(server.port, sample(ONE, 1))
        eventually("it is listed", data.refused.exists)

        forgotten.add(data, "logger", ONE.logger_sn)
        wait_for_purge(data)

        assert json.loads(data.refused.read_text()) == []
        assert gets_no_answer(server.port, sample(ONE, 1))
        eventually("its frames are counted", lambda: _look(log, server) >= 1)
    assert traces_of_logger(data, ONE.logger_sn) == []


def _look(log: Path, server: ServerProcess) -> int:
    server.stop()
    (line,) = [line for line in log.read_text().splitlines() if "forgotten_frames" in line]
    return int(line.partition("forgotten_frames")[2].lstrip('":=').split()[0].rstrip(","))


def test_a_request_alone_purges_again(data: DataDirectory, log: Path) -> None:
    with running(data.root, log=log, flush_seconds=NEVER) as server:
        say_hello(server.port, OTHER)
        forgotten.request(data)
        wait_for_purge(data)
        assert list(data.journal.glob("*.wal")) == []
        assert counts(data, OTHER.logger_sn)["readings"] == 3


def test_a_purge_that_fails_is_tried_again_and_nothing_else_stops(
    data: DataDirectory, log: Path
) -> None:
    with running(data.root, log=log, flush_seconds=NEVER) as server:
        say_hello(server.port, ONE, OTHER)
        eventually("latest has it", lambda: counts(data, ONE.logger_sn)["latest"] == 1)
        # Nobody can write the file of latest readings, which is a step in the middle.
        obstacle = data.latest.with_name(f".{data.latest.name}.draft")
        eventually("nobody writes it just now", lambda: not obstacle.exists())
        obstacle.mkdir()
        forgotten.add(data, "logger", ONE.logger_sn)
        eventually("it is logged", lambda: "not erased yet" in log.read_text())
        assert forgotten.applied(data) is None
        assert gets_no_answer(server.port, sample(ONE, 10))
        with Wire(server.port) as wire:
            assert wire.exchange(sample(OTHER, 10))[4] == 0x12

        obstacle.rmdir()
        wait_for_purge(data)
        assert traces_of_logger(data, ONE.logger_sn) == []


def test_a_list_that_cannot_be_used_leaves_the_one_before_in_force(
    data: DataDirectory, log: Path
) -> None:
    forgotten.add(data, "logger", ONE.logger_sn)
    with running(data.root, log=log) as server:
        sound = data.forgotten.read_bytes()
        data.forgotten.write_bytes(b"{")
        eventually("it is logged", lambda: "the one before stays" in log.read_text())
        assert gets_no_answer(server.port, sample(ONE, 1))

        data.forgotten.unlink()
        eventually("it is missed", lambda: "missing, although" in log.read_text())
        assert gets_no_answer(server.port, sample(ONE, 1))

        data.forgotten.write_bytes(sound)
        forgotten.lift(data, "logger", ONE.logger_sn)
        wait_for_purge(data)
        with Wire(server.port) as wire:
            assert wire.exchange(sample(ONE, 1))[4] == 0x12


def test_an_unusable_list_at_start_is_one_sentence(data: DataDirectory, log: Path) -> None:
    forgotten.add(data, "logger", ONE.logger_sn)
    data.forget_key.unlink()

    with pytest.raises(AssertionError, match=r"forget\.key: missing, so nobody can tell"):
        ServerProcess(data.root, log=log)

    assert "Traceback" not in log.read_text()


# --- what no list that changes at the wrong moment lets through --------------------------------


def storage_with(data: DataDirectory, listed: forgotten.Forgotten) -> Storage:
    return Storage(settings.load(overrides={"data": str(data.root)}), data, listed)


def listing(data: DataDirectory, identity: stick.Identity) -> forgotten.Forgotten:
    forgotten.add(data, "logger", identity.logger_sn)
    return forgotten.load(data)


def readings_of(*identities: stick.Identity) -> pa.Table:
    return table_rows.readings(
        *(
            table_rows.reading(logger_sn=identity.logger_sn, inverter_sn=identity.inverter_sn)
            for identity in identities
        )
    )


def batch_of(version: int, *identities: stick.Identity) -> _core.Batch:
    loggers = [{"logger_sn": identity.logger_sn} for identity in identities]
    batch = SimpleNamespace(
        version=version,
        readings=readings_of(*identities),
        sessions=table_rows.sessions(*loggers),
        quarantine=table_rows.quarantine(*loggers),
    )
    return cast("_core.Batch", batch)


def test_a_batch_sealed_before_its_logger_was_forgotten_is_committed_without_it(
    data: DataDirectory,
) -> None:
    batch = batch_of(1, ONE, OTHER)
    storage = storage_with(data, forgotten.Forgotten())
    storage.forget(listing(data, ONE))

    commit = storage.commit(batch)
    storage.show([readings_of(ONE)])
    storage.show_latest(readings_of(ONE, OTHER))

    assert (commit.readings.rows, commit.sessions.rows, commit.quarantine.rows) == (1, 1, 1)
    assert traces_of_logger(data, ONE.logger_sn) == []
    assert counts(data, OTHER.logger_sn) == {
        "readings": 1,
        "sessions": 1,
        "quarantine": 1,
        "latest": 1,
    }


def test_a_batch_of_forgotten_rows_alone_counts_as_committed(data: DataDirectory) -> None:
    storage = storage_with(data, listing(data, ONE))

    assert storage.commit(batch_of(7, ONE)).readings.rows == 0

    assert storage.committed_version() == 7


def test_files_of_before_are_not_shown_although_they_cannot_be_rewritten(
    data: DataDirectory,
) -> None:
    storage = storage_with(data, forgotten.Forgotten())
    storage.show_latest(readings_of(ONE, OTHER))
    storage.show([readings_of(ONE, OTHER)])
    assert counts(data, ONE.logger_sn)["latest"] == 1
    obstacle = data.latest.with_name(f".{data.latest.name}.draft")
    obstacle.mkdir()

    storage.forget(listing(data, ONE))
    storage.show([readings_of(ONE, OTHER)])

    assert counts(data, ONE.logger_sn) == NOTHING
    with pytest.raises(OSError, match="directory"):
        storage.purge([])
    obstacle.rmdir()
    storage.purge([readings_of(ONE, OTHER)])
    assert counts(data, OTHER.logger_sn)["latest"] == 1
    assert traces_of_logger(data, ONE.logger_sn) == []


class RecordingGateway:
    """What the gateway was told to refuse last."""

    def __init__(self) -> None:
        self.refuses: list[bytes] = []

    def set_forgotten(self, key: bytes, digests: list[bytes]) -> None:
        assert key or not digests
        self.refuses = digests

    def set_registry(self, loggers: list[int] | None) -> None:
        assert loggers is None

    def refused(self) -> list[tuple[int, int, int, int]]:
        return []


def test_the_gateway_serves_nobody_whose_rows_the_tables_still_drop(data: DataDirectory) -> None:
    before = listing(data, ONE)
    gateway = RecordingGateway()
    reload = Reload(settings.load(), data, cast("_core.Gateway", gateway), before)
    forgotten.lift(data, "logger", ONE.logger_sn)
    both = listing(data, OTHER).digests | before.digests

    reload.check()

    assert set(gateway.refuses) == both, (
        "who is new is refused at once, who has left not yet served"
    )
    reload.use_forgotten(before)
    assert set(gateway.refuses) == both, "a list that is not the newest changes nothing"
    reload.use_forgotten(reload.forgotten)
    assert set(gateway.refuses) == both - before.digests
