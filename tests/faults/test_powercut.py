"""Claim: after a power cut at any instant, what was acknowledged is in the table exactly once.

A server is recorded while sticks send; then the disk is cut at many instants (see `powercut`) and
each image is recovered as the server does at its start. FAULT_POWERCUTS sets how many,
FAULT_POWERCUT_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import powercut
import pytest
import recording_disk
from load import FIRST_LOGGER_SN, STORED
from powercut import Disk, File
from recording_disk import Event, Operation
from report import note

from autarco_ingest import forgotten, server, settings
from autarco_ingest.paths import DataDirectory
from autarco_ingest.storage import Storage
from server_process import Wire, running
from test_server import OFFSET, data_frame, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STICKS = 3
SECONDS = 9.0
IMAGES = int(os.environ.get("FAULT_POWERCUTS", "40"))
FIRST_SEED = int(os.environ.get("FAULT_POWERCUT_SEED", "1"))
ANSWER_BYTES = 23
DATA_ANSWER = 0x12


class Recording(NamedTuple):
    """What the server asked of its disk, and which frames were answered at which position."""

    root: Path
    events: list[Event]
    answered: list[tuple[int, tuple[int, int]]]
    sent: set[tuple[int, int]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A few seconds of a loaded server with small segments and many flushes."""
    directory = tmp_path_factory.mktemp("powercut")
    root = directory / "data"
    root.mkdir()
    library = recording_disk.build(directory)
    # Checkpoints of the tables' logs, and the end of the entries they replace, are what a longer
    # run would bring.
    (directory / "sitecustomize.py").write_text(
        "from datetime import timedelta\n"
        "from autarco_ingest import lake, maintenance\n"
        "lake.ENTRIES_PER_CHECKPOINT = 4\n"
        "maintenance.LOG_KEPT = timedelta(seconds=0)\n"
    )
    environment = {
        **recording_disk.environment(library, root, directory / "record"),
        "PYTHONPATH": str(directory),
    }
    options = {
        "flush_seconds": "0.2",
        "segment_bytes": str(64 * 1024),
        "tail_seconds": "0.5",
        # Compaction, and the end of what it replaces, beside the server and recorded with it.
        "maintenance__every_s": "0.2",
        "maintenance__small_files_max": "2",
        "maintenance__retired_grace_s": "0.5",
    }
    sent = [0] * STICKS
    with (
        running(root, environment, log=directory / "log", **options) as process,
        ExitStack() as stack,
    ):
        wires = [stack.enter_context(Wire(process.port)) for _ in range(STICKS)]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for stick, wire in enumerate(wires):
                wire.send(_frame(stick, sent[stick]))
                if sent[stick] % 20 == 7:
                    # A stick that missed its answer repeats the frame.
                    wire.send(_frame(stick, sent[stick]))
                    wire.receive()
                sent[stick] += 1
            for wire in wires:
                wire.receive()
    events = recording_disk.load(directory / "record")
    answered = list(_answers(events))
    return Recording(
        root,
        events,
        answered,
        {(FIRST_LOGGER_SN + stick, n) for stick, count in enumerate(sent) for n in range(count)},
    )


def _frame(stick: int, number: int) -> bytes:
    """A frame whose answer tells which one it was: byte 6 comes back."""
    frame = bytearray(data_frame(number, logger_sn=FIRST_LOGGER_SN + stick))
    frame[6] = number % 256
    frame[-2] = sum(frame[1:-2]) % 256
    return bytes(frame)


def _answers(events: list[Event]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Which frame was answered at which position; numbers grow, so their last byte says enough."""
    newest: dict[int, int] = {}
    for position, event in enumerate(events):
        if event.operation is not Operation.ANSWER or event.data[:1] != b"\xa5":
            continue
        for at in range(0, len(event.data), ANSWER_BYTES):
            answer = event.data[at : at + ANSWER_BYTES]
            if answer[4] != DATA_ANSWER:
                continue
            logger_sn = int.from_bytes(answer[7:11], "little")
            before = newest.get(logger_sn, 0)
            number = before + (answer[6] - before) % 256
            newest[logger_sn] = number
            yield position, (logger_sn, number)


def test_the_recording_is_worth_cutting(recording: Recording) -> None:
    kinds = {event.operation for event in recording.events}
    assert {*Operation} - {Operation.RMDIR} <= kinds | {Operation.LINK}
    assert len(recording.answered) > 100
    names = "".join({event.path for event in recording.events})
    for part in (
        "journal/",
        ".json",
        ".checkpoint.parquet",
        "part-",
        "compact-",
        "catalog",
        "tail/",
        "latest/",
    ):
        assert part in names, part
    gone = "".join(event.path for event in recording.events if event.operation is Operation.UNLINK)
    for part in ("part-", "compact-", "_delta_log/0"):
        assert part in gone, f"nothing was deleted of {part}"


def test_acknowledged_frames_survive_a_power_cut_at_any_instant(
    recording: Recording, tmp_path: Path
) -> None:
    dice = random.Random(FIRST_SEED)
    # Most calls are writes of a few files; syncs and changes of names are where it matters.
    telling = [
        position
        for position, event in enumerate(recording.events)
        if event.operation not in (Operation.WRITE, Operation.ANSWER)
    ]
    wanted = dice.choices(telling, k=IMAGES // 2) + dice.choices(
        range(len(recording.events)), k=IMAGES - IMAGES // 2
    )
    slowest_s = 0.0
    seed = FIRST_SEED
    for position, disk in powercut.cuts(recording.events, recording.root, wanted):
        for _ in range(wanted.count(position)):
            image = tmp_path / "image"
            disk.cut(image, random.Random(seed))
            started = time.monotonic()
            try:
                _check(image, recording, position)
            except Exception as error:
                kept = shutil.move(image, tmp_path / f"image-{position}-{seed}")
                error.add_note(f"cut before event {position}, seed {seed}, image {kept}")
                raise
            slowest_s = max(slowest_s, time.monotonic() - started)
            shutil.rmtree(image)
            seed += 1
    note(
        f"power cut, {IMAGES} instants",
        "recorded writes cut, unsynced ones lost in part",
        acknowledged=len(recording.answered),
        lost=0,
        doubled=0,
        recovery=f"at most {slowest_s:.1f} s",
    )


def _check(image: Path, recording: Recording, position: int) -> None:
    acknowledged = {frame for at, frame in recording.answered if at < position}
    stored = _recovered(image)
    lost = acknowledged - set(stored)
    assert not lost, f"{len(lost)} of {len(acknowledged)} lost, such as {sorted(lost)[:5]}"
    doubled = {frame for frame, count in stored.items() if count != 1}
    assert not doubled, f"{len(doubled)} doubled, such as {sorted(doubled)[:5]}"
    assert set(stored) <= recording.sent
    assert _recovered(image) == stored, "a second start changes the table"


def _recovered(image: Path) -> dict[tuple[int, int], int]:
    """Starts as the server does, without serving; returns what the catalog shows."""
    options = {"data": str(image), "listen": "127.0.0.1:0", "time_zone": "Europe/London"}
    chosen = settings.load(overrides=options)
    directory = DataDirectory.at(image)
    directory.create()
    listed = forgotten.load(directory)
    storage = Storage(chosen, directory, listed)
    gateway = server._open_gateway(chosen, directory, storage, listed, 10)
    while batch := gateway.seal():
        storage.commit(batch)
        gateway.retire(batch.version)
    storage.show([gateway.tail()])
    storage.show_latest(gateway.take_latest())
    return {
        (row["logger_sn"], row["at"] - OFFSET): row["n"] for row in rows(directory.root, STORED)
    }


# --- the model itself -----------------------------------------------------------------------


def _event(operation: Operation, path: str, argument: int = 0, data: bytes = b"") -> Event:
    return Event(operation, argument, path, data)


def test_the_model_loses_what_was_not_synced_and_keeps_what_was(tmp_path: Path) -> None:
    file = str(tmp_path / "disk" / "file")
    root = tmp_path / "disk"
    root.mkdir()
    unsynced = [
        _event(Operation.CREATE, file),
        _event(Operation.WRITE, file, 0, b"x" * 2000),
    ]
    synced = [
        _event(Operation.SYNC, file),
        _event(Operation.SYNC_DIRECTORY, str(root)),
        _event(Operation.WRITE, file, 2000, b"y" * 2000),
    ]
    before: set[bytes | None] = set()
    after: set[bytes | None] = set()
    for seed in range(60):
        for events, seen in ((unsynced, before), (unsynced + synced, after)):
            disk = Disk(root)
            for event in events:
                disk.play(event)
            image = tmp_path / f"image-{seed}-{len(events)}"
            disk.cut(image, random.Random(seed))
            left = image / "file"
            seen.add(left.read_bytes() if left.exists() else None)
    assert None in before
    assert b"" in before
    assert b"x" * 2000 in before
    assert any(left and b"\0" in left for left in before), "no sector was ever lost alone"
    assert all(left is not None and left.startswith(b"x" * 2000) for left in after)
    assert len(after) > 2


def test_the_model_keeps_names_in_their_order(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    draft, final = str(root / "draft"), str(root / "final")
    seen = set()
    for seed in range(40):
        disk = Disk(root)
        disk.play(_event(Operation.CREATE, draft))
        disk.play(_event(Operation.RENAME, draft, 0, final.encode()))
        image = tmp_path / f"image-{seed}"
        disk.cut(image, random.Random(seed))
        seen.add(tuple(sorted(path.name for path in image.iterdir())))
    assert seen == {(), ("draft",), ("final",)}


def test_a_shorter_size_is_safe_only_after_a_sync() -> None:
    file = File()
    file.since = [(0, b"x" * 100)]
    file.sync()
    file.since = [(10, None)]
    left = {len(file.after_cut(random.Random(seed))) for seed in range(20)}
    assert left == {10, 100}
