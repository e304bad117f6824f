"""What does the running server tell about itself: its health, its figures, and the pages of both?

The server's tasks note here what they did; pages are made when somebody asks, in a thread.
"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from autarco_ingest import metrics
from autarco_ingest.health import Health, Part
from autarco_ingest.status_page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from autarco_ingest import _core
    from autarco_ingest.lake import Commit
    from autarco_ingest.paths import DataDirectory

OK = 200
UNAVAILABLE = 503


class Status:
    """Health and figures of one server."""

    def __init__(
        self,
        directory: DataDirectory,
        gateway: _core.Gateway,
        waiting: Callable[[], Sequence[_core.Batch]],
        *,
        disk_free_warn_bytes: int,
    ) -> None:
        """Starts well. `waiting` tells which batches the lake has refused so far."""
        self.health = Health(lambda: datetime.now(UTC))
        self._gateway = gateway
        self._waiting = waiting
        self._disks = {"journal": directory.journal}
        if not directory.is_lake_remote:
            self._disks["lake"] = directory.lake
        self._disk_free_warn_bytes = disk_free_warn_bytes
        self._exhausted = 0
        self._flushes = 0
        self._flush_failures = 0
        self._flush_seconds = 0.0
        self._flushed_at = time.time()
        self._rows = {"readings": 0, "sessions": 0, "quarantine": 0}

    def note_flush(self, commit: Commit, seconds: float) -> None:
        """A batch is in the tables."""
        self._flushes += 1
        self._flush_seconds += seconds
        for table in self._rows:
            self._rows[table] += getattr(commit, table).rows
        self.health.recover(Part.LAKE)

    def note_flush_failure(self, reason: str) -> None:
        """The lake has refused a batch."""
        self._flush_failures += 1
        self.health.fail(Part.LAKE, reason)

    def note_flushed(self) -> None:
        """Nothing that was durable a moment ago waits for the tables."""
        self._flushed_at = time.time()

    def waiting_rows(self) -> int:
        """Counts durable rows that no table has yet; may wait for another thread's copy of them."""
        return self._gateway.rows() + sum(
            rows.num_rows
            for batch in self._waiting()
            for rows in (batch.readings, batch.sessions, batch.quarantine)
        )

    def look_around(self) -> None:
        """Looks at what fails without anybody trying: room on the disks, descriptors."""
        scarce = [
            f"{name}: {free / 1e6:.0f} MB left on {self._disks[name]}"
            for name, free in self._disk_free().items()
            if free < self._disk_free_warn_bytes
        ]
        self.health.report(Part.DISK_SPACE, "; ".join(scarce) or None)
        exhausted = self._gateway.counters()["accept_exhausted"]
        fresh = exhausted - self._exhausted
        self._exhausted = exhausted
        reason = f"{fresh} connections could not be accepted" if fresh else None
        self.health.report(Part.DESCRIPTORS, reason)

    def pages(self) -> dict[str, Callable[[], Page]]:
        """Returns what each path answers."""
        return {"/health": self._health_page, "/live": _live_page, "/metrics": self._metrics_page}

    def snapshot(self) -> metrics.Snapshot:
        """Returns the figures of this moment."""
        spans, seconds = self._gateway.answer_latency()
        return metrics.Snapshot(
            version=metadata.version("autarco-ingest"),
            counters=self._gateway.counters(),
            answer_spans=spans,
            answer_seconds=seconds,
            health=self.health.state(),
            waiting_rows=self.waiting_rows(),
            waiting_batches=len(self._waiting()),
            flushes=self._flushes,
            flush_failures=self._flush_failures,
            flushed_rows=dict(self._rows),
            flush_seconds=self._flush_seconds,
            last_flush_unix_s=self._flushed_at,
            disk_free_bytes=self._disk_free(),
        )

    def _disk_free(self) -> dict[str, int]:
        free = {name: _free_bytes(path) for name, path in self._disks.items()}
        return {name: found for name, found in free.items() if found is not None}

    def _health_page(self) -> Page:
        state = self.health.state()
        status = OK if state.status == "ready" else UNAVAILABLE
        return Page(status, "application/json", msgspec.json.encode(state) + b"\n")

    def _metrics_page(self) -> Page:
        return Page(OK, CONTENT_TYPE_LATEST, metrics.render(self.snapshot()))


def _live_page() -> Page:
    return Page(OK, "text/plain", b"alive\n")


def _free_bytes(path: Path) -> int | None:
    """Room for us; None for a directory that is not there, which its own part reports."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
