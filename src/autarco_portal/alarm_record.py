"""What does the portal keep of an incident besides what the rules say of it (`incidents`)?"""

from __future__ import annotations

import msgspec

from autarco_portal.incidents import Incident  # noqa: TC001 - msgspec looks at it when it decodes


class AlarmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with what a person did about it."""

    incident: Incident
    acknowledged_by: str | None = None
    """A person's identifier; when is in the incident."""
    acknowledgement: str | None = None
    """What he wrote."""
