"""How does a server get its tables looked after without holding up a stick?

In a process of its own at low priority: sorting a day takes a core for seconds and gigabytes that
a process gives back when it ends. It gets the server's settings on standard input, reports on
standard error like the server, and may be killed at any instant.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import msgspec
import structlog

from autarco_ingest import log, maintenance, settings

COMMAND = [sys.executable, "-m", "autarco_ingest.maintenance_process"]

NICENESS = 10
"""Sticks and queries come first."""


def order(chosen: settings.Settings) -> bytes:
    """Returns what the process reads on standard input."""
    return settings.to_json(chosen)


def main() -> int:
    """Does one round of maintenance; returns the exit code."""
    chosen = settings.from_json(sys.stdin.buffer.read())
    log.configure(chosen.log)
    os.nice(NICENESS)
    events = structlog.get_logger(__name__)
    try:
        outcome = maintenance.run(
            chosen,
            datetime.now(UTC),
            note=lambda day: events.info("compacted", **msgspec.structs.asdict(day)),
        )
    except maintenance.MaintenanceError as error:
        events.error("maintenance failed", error=str(error))
        return 1
    for table, dates in outcome.expired.items():
        if dates:
            events.info("expired", table=table, first=dates[0], last=dates[-1], days=len(dates))
    for day in outcome.aged:
        events.info("aged", **msgspec.structs.asdict(day))
    for table, dates in outcome.held.items():
        events.info("held rows stay", table=table, days=len(dates))
    if outcome.deleted:
        events.info("deleted replaced files", files=outcome.deleted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
