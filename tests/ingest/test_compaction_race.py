"""Claim: a reader sees whole commits only, while batches come in and days are compacted.

One thread commits batches and shows their rows before and after, as a server does; another process
compacts, and deletes what it replaced, without pause; the test reads as people do. Each row holds
its own number, so the sum over any prefix of the rows is known: a gap or a double would show.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import rows
from autarco_ingest import catalog, maintenance, schema, settings
from autarco_ingest.forgotten import Forgotten
from autarco_ingest.paths import DataDirectory
from autarco_ingest.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

READS = 1_000
ROWS_PER_BATCH = 25
SECONDS_MAX = 120.0

QUESTION = """
SELECT count(*) AS rows, sum(energy_total_wh)::BIGINT AS total, count(DISTINCT record_no) AS numbers
FROM readings
"""

COMPACTING = """
import sys, time
from datetime import UTC, datetime
from autarco_ingest import maintenance, settings
chosen = settings.from_json(sys.stdin.buffer.readline())
print("ready", flush=True)
rounds = days = 0
while not sys.stdin.closed:
    outcome = maintenance.run(chosen, datetime.now(UTC))
    rounds, days = rounds + 1, days + len(outcome.days)
    print(rounds, days, outcome.deleted, flush=True)
    time.sleep(0.05)
"""


class Batch:
    """What `Storage.commit` takes of a gateway's batch."""

    def __init__(self, version: int, readings: pa.Table) -> None:
        self.version = version
        self.readings = readings
        self.sessions = schema.empty(schema.SESSIONS)
        self.quarantine = schema.empty(schema.QUARANTINE)


def numbered(first: int) -> pa.Table:
    """Rows of today and of the two days before, each with its number."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return rows.readings(
        *(
            rows.reading(
                inverter_sn=f"SIM{number % 7:04d}",
                ts=start - timedelta(days=number % 3) + timedelta(milliseconds=number),
                record_no=number,
                energy_total_wh=number,
            )
            for number in range(first, first + ROWS_PER_BATCH)
        )
    )


class Committing(threading.Thread):
    """Commits batches until told to stop; says how many rows have been shown."""

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage
        self._ended = threading.Event()
        self.failure: BaseException | None = None
        self.shown = 0
        self.boundaries = {0}

    def run(self) -> None:
        version = 0
        while not self._ended.is_set():
            version += 1
            batch = numbered((version - 1) * ROWS_PER_BATCH)
            self.boundaries.add(version * ROWS_PER_BATCH)
            try:
                self._storage.show([batch])
                self.shown = version * ROWS_PER_BATCH
                self._storage.commit(Batch(version, batch))  # type: ignore[arg-type]
                self._storage.show([])
                # On two cores the reader has to come to something as well.
                self._ended.wait(0.05)
            except BaseException as error:
                self.failure = error
                raise

    def end(self) -> None:
        self._ended.set()
        self.join()


def test_a_reader_sees_whole_commits_only(tmp_path: Path) -> None:
    chosen = settings.load(
        overrides={
            "data": str(tmp_path / "data"),
            "superseded_grace_s": "2",
            "maintenance.small_files_max": "4",
            "maintenance.late_wait_s": "0",
            "maintenance.retired_grace_s": "2",
        }
    )
    directory = DataDirectory.at(chosen.data)
    directory.create()
    committing = Committing(Storage(chosen, directory, Forgotten()))
    compacting = subprocess.Popen(
        [sys.executable, "-c", COMPACTING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert compacting.stdin is not None
    assert compacting.stdout is not None
    committing.start()
    try:
        while not directory.catalog.exists():
            time.sleep(0.01)
        compacting.stdin.write(settings.to_json(chosen) + b"\n")
        compacting.stdin.flush()
        assert compacting.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + SECONDS_MAX
        seen = 0
        for _ in range(READS):
            assert committing.failure is None
            shown_before = committing.shown
            (answer,) = catalog.query(directory, QUESTION).to_pylist()
            count = answer["rows"]
            assert count in committing.boundaries, "a commit was seen in part"
            assert answer["total"] == count * (count - 1) // 2, "a row is missing or doubled"
            assert answer["numbers"] == count
            assert count >= max(seen, shown_before), "rows that had been shown are gone"
            seen = count
            assert time.monotonic() < deadline, f"too slow for {READS} reads"
    finally:
        committing.end()
        compacting.kill()
        progress = compacting.stdout.read().split(b"\n")[:-1]
        compacting.stdout.close()
        compacting.stdin.close()
        compacting.wait()
    _, days, _ = (int(word) for word in progress[-1].split())
    deleted = sum(int(line.split()[2]) for line in progress)
    assert days > 20, "days were hardly compacted meanwhile"
    assert deleted > 20, "replaced files were hardly deleted meanwhile"
    assert len(committing.boundaries) > 20, "hardly anything was committed meanwhile"
    # What is left in the end is right as well, and small.
    maintenance.run(chosen, datetime.now(UTC) + timedelta(days=1), every_day=True)
