"""Is everything well, and if not: what fails, since when, what happens meanwhile, what to do?

The server reports each part as it fails and as it recovers; operators, load balancers and alerts
read the state. Pure: the clock is passed in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Part(StrEnum):
    """What can fail by itself."""

    JOURNAL = "journal"
    LAKE = "lake"
    VIEWS = "views"
    LATEST = "latest"
    MEMORY = "memory"
    DISK_SPACE = "disk_space"
    DESCRIPTORS = "descriptors"
    CLOCK = "clock"
    REGISTRY = "registry"
    FORGOTTEN = "forgotten"
    TLS = "tls"
    ADDRESS_KEY = "address_key"
    MAINTENANCE = "maintenance"


CONSEQUENCE = {
    Part.JOURNAL: (
        "Nothing is acknowledged, connections stay, sticks keep their samples. Give the journal's "
        "disk room and let it be written; the server goes on by itself."
    ),
    Part.LAKE: (
        "Acknowledgements go on, the journal keeps every row. Give the lake's disk room and let it "
        "be written; the server goes on by itself, or after a restart where the reason says so."
    ),
    Part.VIEWS: (
        "The catalog shows an older moment; nothing is lost. Mended by itself with the lake."
    ),
    Part.LATEST: "The newest readings are shown late; nothing is lost.",
    Part.MEMORY: (
        "Too many rows wait for the tables, so nothing is read or acknowledged; sticks keep their "
        "samples. Mend the lake."
    ),
    Part.DISK_SPACE: "Nothing has failed yet. Make room before the disk is full.",
    Part.DESCRIPTORS: (
        "New connections wait. Raise the limit of open files (LimitNOFILE) or lower "
        "connections_max."
    ),
    Part.CLOCK: (
        "The machine's clock jumped, and answers set the clocks of sticks. Check NTP. Samples "
        "dated too far ahead went to quarantine."
    ),
    Part.REGISTRY: "The list of loggers before it stays in force. Replace the file by a sound one.",
    Part.FORGOTTEN: (
        "The list of the forgotten before it stays in force, or what is forgotten is not erased "
        "yet; that is tried again every few seconds. Bring the list back, or give the disk room."
    ),
    Part.TLS: "The certificate before it stays in force. Replace both files by sound ones.",
    Part.ADDRESS_KEY: "Addresses go on being encrypted with last month's key.",
    Part.MAINTENANCE: (
        "Days are not compacted and nothing expires; queries get slower. Tried again each "
        "maintenance.every_s; `autarco-ingest compact` shows the fault."
    ),
}
"""What happens while a part fails, and what to do; docs/operations.md has the same by part."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One part that fails now."""

    part: Part
    reason: str
    since: datetime
    consequence: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `/health` answers. `acknowledging`: whether sticks get answers for their samples."""

    status: Literal["ready", "degraded"]
    acknowledging: bool
    problems: list[Problem]


class Health:
    """The parts that fail now. Calls take no time and may come from any thread."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Starts well. `clock` gives aware times."""
        self._clock = clock
        self._problems: dict[Part, Problem] = {}

    def fail(self, part: Part, reason: str) -> None:
        """Notes that a part fails; one that failed before keeps its beginning."""
        before = self._problems.get(part)
        self._problems[part] = Problem(
            part=part,
            reason=reason,
            since=before.since if before else self._clock(),
            consequence=CONSEQUENCE[part],
        )

    def recover(self, part: Part) -> bool:
        """Notes that a part is well; returns whether it failed before."""
        return self._problems.pop(part, None) is not None

    def report(self, part: Part, reason: str | None) -> None:
        """Notes the reason a part fails for, or with None that it is well."""
        if reason is None:
            self.recover(part)
        else:
            self.fail(part, reason)

    def state(self) -> State:
        """Returns the present state, oldest problem first."""
        problems = sorted(self._problems.values(), key=lambda problem: problem.since)
        failing = {problem.part for problem in problems}
        return State(
            status="degraded" if problems else "ready",
            acknowledging=not failing & {Part.JOURNAL, Part.MEMORY},
            problems=problems,
        )
