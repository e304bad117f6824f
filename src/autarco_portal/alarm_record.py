"""What does the portal keep of an incident besides what the rules say of it (`incidents`)?"""

from __future__ import annotations

from typing import Literal

import msgspec

from autarco_portal.incidents import (  # noqa: TC001 - msgspec looks at them when it decodes
    Cause,
    Incident,
    Severity,
)


class AlarmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with what a person did about it."""

    incident: Incident
    acknowledged_by: str | None = None
    """A person's identifier; when is in the incident."""
    acknowledgement: str | None = None
    """What he wrote."""


class AlarmFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents a list has."""

    state: Literal["open", "acknowledged", "all"] = "open"
    """`acknowledged`: open ones that somebody looks at."""
    cause: Cause | None = None
    severity: Severity | None = None
    site: str | None = None
    """By its public key."""
