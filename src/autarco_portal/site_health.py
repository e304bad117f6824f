"""How is a site, in one word? The vocabulary of the reference (8.3), and which word wins.

A word for what somebody should do something about: of several the first in the order of `ORDER`.
Programs of the old portal know only "OK"; see `site_view` for what they get. Pure.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.incidents import Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Collection


class Health(StrEnum):
    """How a site or an inverter is."""

    OK = "OK"
    NO_COMMS = "NO_COMMS"
    FAULT = "FAULT"
    UNDERPERFORMING = "UNDERPERFORMING"
    GRID_OFF = "GRID_OFF"
    UNMONITORED = "UNMONITORED"
    """Nothing was ever received."""
    RETIRED = "RETIRED"
    """Nothing hangs there any more."""


ORDER = (
    Health.RETIRED,
    Health.UNMONITORED,
    Health.FAULT,
    Health.GRID_OFF,
    Health.NO_COMMS,
    Health.UNDERPERFORMING,
    Health.OK,
)

SILENT_AFTER = timedelta(hours=24)
"""Shorter silence is a night, or a router that starts anew; rules judge it by daylight."""

SHOWS: dict[Cause, Health] = {
    Cause.COMMUNICATION_LOSS: Health.NO_COMMS,
    Cause.OUTAGE: Health.FAULT,
    Cause.GRID_OUTAGE: Health.GRID_OFF,
    Cause.ZERO_DAY: Health.FAULT,
    Cause.UNDERPERFORMANCE: Health.UNDERPERFORMING,
    Cause.MPPT_MISMATCH: Health.UNDERPERFORMING,
    Cause.OPEN_STRING: Health.FAULT,
    Cause.OVER_VOLTAGE: Health.UNDERPERFORMING,
    Cause.CLIPPING: Health.OK,
    Cause.FIXED_LIMIT: Health.UNDERPERFORMING,
    Cause.CLOCK: Health.OK,
    Cause.STALE: Health.NO_COMMS,
    Cause.THERMAL_DERATING: Health.UNDERPERFORMING,
}
"""What an open incident makes of a site; one for information alone makes nothing of it."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What an inverter said last."""

    ago: timedelta | None
    """None for one that was never heard."""
    reports_fault: bool = False
    grid_is_off: bool = False
    is_installed: bool = True


def health(
    inverters: Collection[Heard], open_incidents: Collection[tuple[Cause, Severity]] = ()
) -> Health:
    """Returns how the inverters are together, with the incidents that are open."""
    found = {Health.OK, *map(_of_one, inverters)}
    if not any(one.is_installed for one in inverters):
        return Health.RETIRED if inverters else Health.UNMONITORED
    # What was taken down says nothing of what still hangs there; what was never heard only if
    # nothing was.
    found.discard(Health.RETIRED)
    if any(one.ago is not None for one in inverters if one.is_installed):
        found.discard(Health.UNMONITORED)
    found |= {SHOWS[cause] for cause, severity in open_incidents if severity is not Severity.INFO}
    return next(word for word in ORDER if word in found)


def _of_one(heard: Heard) -> Health:
    if not heard.is_installed:
        return Health.RETIRED
    if heard.ago is None:
        return Health.UNMONITORED
    if heard.ago > SILENT_AFTER:
        return Health.NO_COMMS
    if heard.reports_fault:
        return Health.FAULT
    return Health.GRID_OFF if heard.grid_is_off else Health.OK
